//! One command, applied.

use serde::{Deserialize, Serialize};
use storage::NodeId;
use uuid::Uuid;

use super::accounts::{Changed, NewToken, Newcomer, Opening};
use super::hook::NewHook;
use super::mark::{ACCOUNTS, JOBS, OUTSIDE};
use super::once::{Wish, once};
use super::separation::Wanted;
use super::transaction::{Applied, refuse};
use super::{
    Asker, Attempt, Audience, Ending, Event, Job, JobState, Line, Model, Output, Priority, Read, Road, Selection, Song,
    Stems, Task, TaskId, TaskKind, TaskState, Transaction, ViewError,
};
use super::{
    Legacy, SongEdit, accounts, history, hook, index, keys, line, listening, playlist, raise, separation, sharing,
};
use crate::command::{Answer, Command, Refusal};

/// How far back in the log answers are remembered. A request is retried for seconds; this is hours of a busy cluster.
const REMEMBERED: u64 = 50_000;
/// How many entries of the log apart answers are forgotten. It is done for many at once, and none is looked for twice:
/// what has been removed from the front of a range costs whoever reads it from the front again.
const FORGET_EVERY: u64 = 64;
/// How many attempts of a task are kept to be looked at.
const ATTEMPTS_KEPT: usize = 30;

/// An answer, and which request it is remembered for.
#[derive(Serialize, Deserialize)]
struct Remembered(Result<Answer, Refusal>);

/// Applies the `place`-th request of log entry `index`: a request that was applied before gets the same answer again
/// and changes nothing.
pub fn apply(state: &mut Transaction, request: &Uuid, command: &Command, index: u64, place: u32) -> Applied<Answer> {
    if let Some(Remembered(answer)) = state.value(&keys::answer(request))? {
        return Ok(answer);
    }
    let answer = run(state, command)?;
    state.put(keys::answer(request), &Remembered(answer.clone()))?;
    state.put(keys::answered_at(index, place), request)?;
    if place == 0 {
        forget(state, index)?;
    }
    Ok(answer)
}

/// Forgets the requests that were answered too long before the entry `index`.
fn forget(state: &mut Transaction, index: u64) -> Result<(), ViewError> {
    let until = index.saturating_sub(REMEMBERED);
    let at_once = state.has_level(ACCOUNTS)?;
    if until == 0 || (at_once && !index.is_multiple_of(FORGET_EVERY)) {
        return Ok(());
    }
    let from = if at_once { state.value(&keys::forgotten())?.unwrap_or(0) } else { 0 };
    for (key, request) in state.scan(keys::answered_between(from, until))? {
        state.delete(keys::answer(&storage::wire::decode(&request)?));
        state.delete(key);
    }
    if at_once {
        state.put(keys::forgotten(), &until)?;
    }
    Ok(())
}

fn run(state: &mut Transaction, command: &Command) -> Applied<Answer> {
    match command {
        Command::AddSong {
            title,
            hash,
            size,
            format,
            uploader_id,
            credits,
            plan,
            model,
            formats,
            max_attempts,
            priority,
            owner,
            jobs_per_owner,
            road,
            at,
        } => {
            if plan.segments == 0 || plan.segments_per_task == 0 {
                refuse!(Refusal::EmptyPlan);
            }
            if let Some(user) = *uploader_id
                && state.has_level(ACCOUNTS)?
                && state.user(user)?.is_none()
            {
                refuse!(Refusal::NoSuchUser(user));
            }
            let (priority, owner, limit) = match state.has_level(JOBS)? {
                true => (*priority, owner.as_str(), *jobs_per_owner),
                false => (Priority::Normal, "", 0),
            };
            let outside = *road != Road::Inside && state.has_level(OUTSIDE)?;
            let job = match state.job_for(hash, model, formats, &Selection::All)? {
                Some(job) => join(state, job, owner, priority)?,
                None => {
                    if let Err(refusal) = state.admits(owner, limit)? {
                        refuse!(refusal);
                    }
                    let job = Job {
                        id: state.next("job")?,
                        hash: *hash,
                        model: model.clone(),
                        formats: formats.clone(),
                        plan: *plan,
                        format: format.clone(),
                        priority,
                        owner: owner.into(),
                        road: if outside { Road::Outside } else { Road::Inside },
                        state: JobState::Pending,
                        tasks: 0,
                        done: 0,
                        max_attempts: *max_attempts,
                        error: None,
                        created_at: *at,
                        finished_at: None,
                        stems: None,
                        selection: Selection::All,
                        history: Vec::new(),
                    };
                    add_job(state, job)?
                }
            };
            let song = Song {
                id: state.next("song")?,
                title: title.clone(),
                hash: *hash,
                size: *size,
                format: format.clone(),
                frames: plan.frames,
                uploader_id: *uploader_id,
                credits: (**credits).clone(),
                job,
                added_at: *at,
            };
            index::put_song(state, &song)?;
            state.put(keys::song_of(hash, song.id), &song.id)?;
            if state.has_level(ACCOUNTS)? {
                sharing::show(state, &song)?;
            }
            state.tell(Event::Song { id: song.id });
            Ok(Ok(Answer::Song(song)))
        }
        Command::RemoveSong { song, .. } => remove_song(state, *song),
        Command::ClaimTask { task, attempt, node, at } => claim(state, *task, *attempt, *node, *at),
        Command::FinishTask { task, attempt, node, output, lines, at } => {
            match claimed(state, *task, *attempt, Some(*node))? {
                Ok((job, task)) => {
                    keep_lines(state, &task, lines)?;
                    finish(state, job, task, *node, output, *at)
                }
                Err(refusal) => Ok(Err(refusal)),
            }
        }
        Command::FailTask { task, attempt, node, reason, lines, at } => {
            match claimed(state, *task, *attempt, Some(*node))? {
                Ok((job, task)) => {
                    keep_lines(state, &task, lines)?;
                    fail(state, job, task, Ending::Failed, reason, *at)
                }
                Err(refusal) => Ok(Err(refusal)),
            }
        }
        Command::ExpireTask { task, attempt, reason, at } => match claimed(state, *task, *attempt, None)? {
            Ok((job, task)) => fail(state, job, task, Ending::Expired, reason, *at),
            Err(refusal) => Ok(Err(refusal)),
        },
        Command::ReleaseTask { task, attempt, node, lines, at } => {
            match claimed(state, *task, *attempt, Some(*node))? {
                Ok((_, mut task)) => {
                    keep_lines(state, &task, lines)?;
                    if state.has_level(JOBS)? {
                        end_attempt(state, &mut task, Ending::HandedBack, None, *at)?;
                    } else {
                        task.attempts.pop();
                    }
                    to_pending(state, &mut task)
                }
                Err(refusal) => Ok(Err(refusal)),
            }
        }
        Command::ReopenTask { task, reason, at } => reopen(state, *task, reason, *at),
        Command::CancelJob { job, asker, at } => cancel(state, *job, *asker, *at),
        Command::RetryJob { job, jobs_per_owner, at } => retry(state, *job, *jobs_per_owner, *at),
        Command::SetPriority { job, priority, asker } => set_priority(state, *job, *priority, *asker),
        Command::SendOutside { job } => send_outside(state, *job),
        Command::TakeInside { job } => take_inside(state, *job),
        Command::FinishOutside { job, stems, at } => finish_outside(state, *job, stems, *at),
        Command::AddModel { model } => add_model(state, model),
        Command::RemoveModel { name } => {
            if state.value::<Model>(&keys::model(name))?.is_none() {
                refuse!(Refusal::NoSuchModel(name.clone()));
            }
            state.delete(keys::model(name));
            Ok(Ok(Answer::Done))
        }
        Command::SetLevel { level, cluster } => raise::raise(state, *level, *cluster),
        Command::RetireNode { node } => {
            state.put(keys::retired(*node), node)?;
            Ok(Ok(Answer::Done))
        }
        _ if !state.has_level(ACCOUNTS)? => refuse!(Refusal::NoAccounts),
        Command::Register { name, email, password, closed, at } => {
            accounts::register(state, &Newcomer { name, email: email.as_ref(), password }, *closed, *at)
        }
        Command::CountTry { counts, at } => accounts::count(state, counts, *at),
        Command::OpenSession { secret, user, password, seen, expires_at, clears, at } => {
            let opening = Opening { secret, user: *user, password, seen, expires_at: *expires_at, clears };
            accounts::open(state, &opening, *at)
        }
        Command::EndSession { user, session } => accounts::end(state, *user, *session),
        Command::EndSessionsOf { user, keep } => {
            accounts::end_all(state, *user, *keep)?;
            Ok(Ok(Answer::Done))
        }
        Command::MakeToken { secret, sealed, user, name, expires_at, at } => {
            let new = NewToken { secret, sealed, user: *user, name, expires_at: *expires_at };
            accounts::make_token(state, &new, *at)
        }
        Command::RevokeToken { user, token } => accounts::revoke(state, *user, *token),
        Command::ChangeUser { user, name, email, password, old_password, administrator, keep } => {
            let changed = Changed {
                name: name.as_ref(),
                email: email.as_ref(),
                password: password.as_ref(),
                old_password: old_password.as_ref(),
                administrator: *administrator,
                keep: *keep,
            };
            accounts::change(state, *user, &changed)
        }
        Command::RemoveUser { user, songs } => remove_user(state, *user, *songs),
        Command::ShareSong { song, owner, audience } => sharing::share(state, *song, *owner, *audience),
        Command::UnshareSong { song, audience } => sharing::unshare(state, *song, *audience),
        Command::MakeLink { secret, song, expires_at, at } => {
            accounts::sweep(state, *at)?;
            sharing::make_link(state, secret, *song, *expires_at, *at)
        }
        Command::Once { key, owner, content, until, add, at } => {
            let wish = Wish { key, owner, content, until: *until };
            once(state, &wish, *at, |state| run(state, add))
        }
        Command::RemoveLink { song, link } => sharing::unlink(state, *song, *link),
        Command::Separate {
            song,
            asker,
            plan,
            model,
            formats,
            selection,
            max_attempts,
            priority,
            owner,
            jobs_per_owner,
            at,
        } => {
            let wanted = Wanted {
                song: *song,
                asker: *asker,
                plan,
                model,
                formats,
                selection,
                max_attempts: *max_attempts,
                priority: *priority,
                owner,
                jobs_per_owner: *jobs_per_owner,
            };
            separation::separate(state, &wanted, *at)
        }
        Command::DropSeparation { song, asker, job } => separation::drop(state, *song, *asker, *job),
        Command::MakeHook { user, url, events, sealed, at } => {
            hook::make(state, &NewHook { user: *user, url, events, sealed }, *at)
        }
        Command::ChangeHook { user, hook, url, events, active } => {
            let changed = hook::Changed { url: url.as_ref(), events: events.as_ref(), active: *active };
            hook::change(state, *user, *hook, &changed)
        }
        Command::RemoveHook { user, hook } => hook::remove(state, *user, *hook),
        Command::NoteDelivery { hook, delivery, number, tried, made } => {
            hook::note(state, (*hook, *delivery), *number, *tried, made)
        }
        Command::ChangeSong { song, asker, edit } => change_song(state, *song, *asker, edit),
        Command::MakePlaylist { owner, name, description, at } => playlist::make(state, *owner, name, description, *at),
        Command::ChangePlaylist { playlist, name, description, at } => {
            playlist::change(state, *playlist, name.as_ref(), description.as_ref(), *at)
        }
        Command::RemovePlaylist { playlist } => playlist::remove(state, *playlist),
        Command::AddToPlaylist { playlist, songs, place, without, at } => {
            playlist::add(state, *playlist, &playlist::Change { songs, place: *place, without }, *at)
        }
        Command::TakeFromPlaylist { playlist, entry, at } => playlist::take(state, *playlist, *entry, *at),
        Command::OrderPlaylist { playlist, entries, at } => playlist::order(state, *playlist, entries, *at),
        Command::SharePlaylist { playlist, audience } => playlist::share(state, *playlist, *audience),
        Command::UnsharePlaylist { playlist, audience } => playlist::unshare(state, *playlist, *audience),
        Command::SetFavourite { user, song, favourite } => listening::favour(state, *user, *song, *favourite),
        Command::CountPlay { song, user, count, at } => listening::play(state, *song, *user, count, *at),
    }
}

/// Removes a user and what is theirs.
fn remove_user(state: &mut Transaction, id: u64, legacy: Option<Legacy>) -> Applied<Answer> {
    let user = match accounts::leaving(state, id)? {
        Ok(user) => user,
        Err(refusal) => refuse!(refusal),
    };
    let mut songs = Vec::new();
    for song in state.values::<u64>(keys::all_visible(Audience::User(id), None))? {
        songs.extend(state.song(song)?.filter(|song| song.uploader_id == Some(id)));
    }
    if legacy.is_none() && !songs.is_empty() {
        refuse!(Refusal::HasSongs(songs.len() as u64));
    }
    for song in songs {
        let number = song.id;
        let stays = legacy == Some(Legacy::HandOver) && sharing::hand_over(state, song)?;
        if !stays && let Err(refusal) = remove_song(state, number)? {
            refuse!(refusal);
        }
    }
    hook::forget_user(state, id)?;
    accounts::remove(state, &user)?;
    Ok(Ok(Answer::Done))
}

/// Adds a model. The same one again, from another node perhaps, is no mistake.
fn add_model(state: &mut Transaction, model: &Model) -> Applied<Answer> {
    if let Some(known) = state.value::<Model>(&keys::model(&model.name))? {
        let same = Model { added_at: known.added_at, ..model.clone() } == known;
        return Ok(if same { Ok(Answer::Done) } else { Err(Refusal::ModelTaken(model.name.clone())) });
    }
    state.put(keys::model(&model.name), model)?;
    Ok(Ok(Answer::Done))
}

/// One more asks for a job: it becomes as urgent as any of them wants it, and belongs to whoever has fewer open jobs, so
/// that nobody waits longer for it because somebody else asked as well.
pub(super) fn join(state: &mut Transaction, mut job: Job, owner: &str, priority: Priority) -> Result<u64, ViewError> {
    let id = job.id;
    if !job.state.is_open() {
        return Ok(id);
    }
    let yields = !owner.is_empty()
        && !job.owner.is_empty()
        && state.open_jobs_of(owner)? < state.open_jobs_of(&job.owner)?.saturating_sub(1);
    if yields {
        state.delete(keys::open_job_of(&job.owner, id));
        job.owner = owner.into();
    }
    if yields || priority > job.priority {
        job.priority = job.priority.max(priority);
        put_job(state, &job)?;
    }
    Ok(id)
}

/// Adds a job with the tasks of its plan.
pub(super) fn add_job(state: &mut Transaction, mut job: Job) -> Result<u64, ViewError> {
    let (begins, at) = (job.state, job.created_at);
    history::enter(state, &mut job, begins, at)?;
    for kind in job.plan.kinds() {
        let begins = match kind {
            TaskKind::Separate { .. } if !job.road.is_outside() => TaskState::Pending,
            TaskKind::Separate { .. } | TaskKind::Merge => TaskState::Waiting,
        };
        put_task(state, &fresh(TaskId { job: job.id, index: job.tasks }, kind, begins))?;
        job.tasks += 1;
    }
    state.put(keys::job(job.id), &job)?;
    history::list(state, None, &job)?;
    mark_job(state, &job)?;
    // A job that failed or was cancelled before stays with the songs that have it.
    state.put(keys::job_of(&job.hash, &job.model, &job.formats, &job.selection), &job.id)?;
    state.tell(Event::Job { id: job.id });
    Ok(job.id)
}

/// A task that nobody has tried yet.
fn fresh(id: TaskId, kind: TaskKind, state: TaskState) -> Task {
    Task { id, kind, state, attempt: 1, failures: 0, attempts: Vec::new(), output: None }
}

/// Stores a task and keeps the marks of open tasks true.
fn put_task(state: &mut Transaction, task: &Task) -> Result<(), ViewError> {
    match task.state {
        TaskState::Pending | TaskState::Running { .. } => state.put(keys::open(task.id), &task.id)?,
        TaskState::Waiting | TaskState::Done { .. } | TaskState::Failed => state.delete(keys::open(task.id)),
    }
    state.put(keys::task(task.id), task)?;
    state.tell(Event::Job { id: task.id.job });
    Ok(())
}

/// Keeps the marks of each owner's open jobs and of those outside true.
fn mark_job(state: &mut Transaction, job: &Job) -> Result<(), ViewError> {
    if job.state.is_open() && job.road.is_outside() {
        state.put(keys::outside(job.id), &job.id)?;
    } else {
        state.delete(keys::outside(job.id));
    }
    let mark = keys::open_job_of(&job.owner, job.id);
    if job.state.is_open() && !job.owner.is_empty() {
        return state.put(mark, &job.id);
    }
    state.delete(mark);
    Ok(())
}

/// Stores a job, and tells of the songs whose status it decides when that has changed. Hooks are told when it has ended.
fn put_job(state: &mut Transaction, job: &Job) -> Result<(), ViewError> {
    let before = state.job(job.id)?;
    state.put(keys::job(job.id), job)?;
    history::list(state, before.as_ref(), job)?;
    mark_job(state, job)?;
    state.tell(Event::Job { id: job.id });
    if before.map(|job| job.state) != Some(job.state) {
        hook::announce(state, job)?;
        for song in state.values::<u64>(keys::songs_of(&job.hash))? {
            state.tell(Event::Song { id: song });
        }
        // What was found in the songs is known.
        if job.state == JobState::Done {
            for song in state.songs_with(job)? {
                index::put(state, &song)?;
            }
        }
    }
    Ok(())
}

fn change_song(state: &mut Transaction, id: u64, asker: Asker, edit: &SongEdit) -> Applied<Answer> {
    let Some(mut song) = state.song(id)?.filter(|song| asker.may_change(song)) else {
        refuse!(Refusal::NoSuchSong(id));
    };
    edit.apply(&mut song);
    index::put_song(state, &song)?;
    state.tell(Event::Song { id });
    Ok(Ok(Answer::Done))
}

fn remove_song(state: &mut Transaction, id: u64) -> Applied<Answer> {
    let Some(song) = state.song(id)? else { refuse!(Refusal::NoSuchSong(id)) };
    state.delete(keys::song(id));
    state.delete(keys::song_of(&song.hash, id));
    sharing::hide(state, &song)?;
    separation::forget_song(state, &song)?;
    index::remove(state, id)?;
    playlist::forget_song(state, &song)?;
    listening::forget_song(state, id)?;
    Ok(Ok(Answer::Done))
}

/// Removes a job that no song has any more. A worker that is still at it loses its claim.
pub(super) fn remove_job(state: &mut Transaction, id: u64) -> Result<(), ViewError> {
    let Some(job) = state.job(id)? else {
        return Ok(());
    };
    for task in state.tasks(id)? {
        state.delete(keys::task(task.id));
        state.delete(keys::open(task.id));
    }
    state.delete(keys::job(id));
    state.delete(keys::open_job_of(&job.owner, id));
    state.delete(keys::outside(id));
    history::unlist(state, &job);
    line::forget(state, id)?;
    let of = keys::job_of(&job.hash, &job.model, &job.formats, &job.selection);
    if state.value::<u64>(&of)? == Some(id) {
        state.delete(of);
    }
    state.tell(Event::Job { id });
    Ok(())
}

fn claim(state: &mut Transaction, id: TaskId, attempt: u32, node: NodeId, at: u64) -> Applied<Answer> {
    let (Some(mut job), Some(mut task)) = (state.job(id.job)?, state.task(id)?) else { refuse!(Refusal::ClaimLost) };
    if !job.state.is_open() || task.state != TaskState::Pending || task.attempt != attempt {
        refuse!(Refusal::ClaimLost);
    }
    task.state = TaskState::Running { node, since: at };
    task.attempts.push(Attempt { number: attempt, node, started: at, ended: None, error: None, ending: None });
    if state.has_level(JOBS)? {
        let old = task.attempts.len().saturating_sub(ATTEMPTS_KEPT);
        task.attempts.drain(..old);
    }
    put_task(state, &task)?;
    if job.state == JobState::Pending {
        history::enter(state, &mut job, JobState::Running, at)?;
        put_job(state, &job)?;
    }
    Ok(Ok(Answer::Claimed(task)))
}

/// The job and task of a claim that still stands; `node` is whose it should be, or anybody's.
fn claimed(state: &Transaction, id: TaskId, attempt: u32, node: Option<NodeId>) -> Applied<(Job, Task)> {
    let (Some(job), Some(task)) = (state.job(id.job)?, state.task(id)?) else { refuse!(Refusal::ClaimLost) };
    let TaskState::Running { node: owner, .. } = task.state else { refuse!(Refusal::ClaimLost) };
    if !job.state.is_open() || task.attempt != attempt || node.is_some_and(|node| node != owner) {
        refuse!(Refusal::ClaimLost);
    }
    Ok(Ok((job, task)))
}

/// Keeps what the worker said of the attempt that ends.
fn keep_lines(state: &mut Transaction, task: &Task, lines: &[Line]) -> Result<(), ViewError> {
    let oldest = task.attempts.first().map_or(0, |attempt| attempt.number);
    line::keep(state, task.id, task.attempt, oldest, lines)
}

fn finish(
    state: &mut Transaction,
    mut job: Job,
    mut task: Task,
    node: NodeId,
    output: &Output,
    at: u64,
) -> Applied<Answer> {
    end_attempt(state, &mut task, Ending::Done, None, at)?;
    task.state = TaskState::Done { node };
    task.output = Some(output.clone());
    put_task(state, &task)?;
    job.done += 1;
    match output {
        Output::Part(_) => {
            if job.done + 1 == job.tasks {
                let merge = TaskId { job: job.id, index: job.tasks - 1 };
                if let Some(mut merge) = state.task(merge)? {
                    merge.state = TaskState::Pending;
                    put_task(state, &merge)?;
                }
            }
        }
        Output::Stems(stems) => end_with(state, &mut job, stems, at)?,
    }
    put_job(state, &job)?;
    Ok(Ok(Answer::Done))
}

/// The job is done; its parts are not needed any more.
fn end_with(state: &mut Transaction, job: &mut Job, stems: &Stems, at: u64) -> Result<(), ViewError> {
    history::enter(state, job, JobState::Done, at)?;
    job.stems = Some(stems.clone());
    job.finished_at = Some(at);
    for mut task in state.tasks(job.id)? {
        task.output = None;
        put_task(state, &task)?;
    }
    Ok(())
}

/// Writes down how the attempt that runs has ended.
fn end_attempt(
    state: &Transaction,
    task: &mut Task,
    ending: Ending,
    error: Option<&str>,
    at: u64,
) -> Result<(), ViewError> {
    let ending = state.has_level(JOBS)?.then_some(ending);
    if let Some(attempt) = task.attempts.last_mut() {
        attempt.ended = Some(at);
        attempt.error = error.map(str::to_owned);
        attempt.ending = ending;
    }
    Ok(())
}

fn fail(
    state: &mut Transaction,
    mut job: Job,
    mut task: Task,
    ending: Ending,
    reason: &str,
    at: u64,
) -> Applied<Answer> {
    end_attempt(state, &mut task, ending, Some(reason), at)?;
    count_failure(state, &mut job, &mut task, reason, at)
}

/// A failure more: the task is tried again, or has failed its job.
fn count_failure(state: &mut Transaction, job: &mut Job, task: &mut Task, reason: &str, at: u64) -> Applied<Answer> {
    task.failures += 1;
    if task.failures < job.max_attempts {
        return to_pending(state, task);
    }
    task.state = TaskState::Failed;
    put_task(state, task)?;
    history::enter(state, job, JobState::Failed, at)?;
    let endings = task.attempts.iter().rev().filter_map(|attempt| attempt.ending);
    let mut failures = endings.filter(|ending| *ending != Ending::HandedBack).take(task.failures as usize);
    let mute = state.has_level(JOBS)? && failures.all(|ending| ending == Ending::Expired);
    let poison = if mute { "; no worker lived to say why, so the song or the model may be what ends them" } else { "" };
    job.error = Some(format!("task {} failed {} times, at last: {reason}{poison}", task.id, task.failures));
    job.finished_at = Some(at);
    close_tasks(state, job.id, at)?;
    put_job(state, job)?;
    Ok(Ok(Answer::Done))
}

fn to_pending(state: &mut Transaction, task: &mut Task) -> Applied<Answer> {
    task.state = TaskState::Pending;
    task.attempt += 1;
    put_task(state, task)?;
    Ok(Ok(Answer::Done))
}

/// Takes the tasks of a job that has ended from the workers.
fn close_tasks(state: &mut Transaction, job: u64, at: u64) -> Result<(), ViewError> {
    for mut task in state.tasks(job)? {
        if matches!(task.state, TaskState::Pending | TaskState::Running { .. }) {
            if matches!(task.state, TaskState::Running { .. }) {
                end_attempt(state, &mut task, Ending::Withdrawn, None, at)?;
            }
            task.state = TaskState::Waiting;
            task.attempt += 1;
            put_task(state, &task)?;
        }
    }
    Ok(())
}

fn reopen(state: &mut Transaction, id: TaskId, reason: &str, at: u64) -> Applied<Answer> {
    let (Some(mut job), Some(mut task)) = (state.job(id.job)?, state.task(id)?) else { refuse!(Refusal::ClaimLost) };
    if !job.state.is_open() || !matches!(task.state, TaskState::Done { .. }) {
        refuse!(Refusal::ClaimLost);
    }
    let counts = state.has_level(JOBS)?;
    if let Some(attempt) = task.attempts.last_mut() {
        attempt.error = Some(reason.into());
        attempt.ending = counts.then_some(Ending::Withdrawn);
    }
    task.output = None;
    job.done -= 1;
    if let Some(mut merge) = state.task(TaskId { job: job.id, index: job.tasks - 1 })? {
        // The merge waits again, and whoever is at it has lost it.
        if matches!(merge.state, TaskState::Running { .. }) {
            end_attempt(state, &mut merge, Ending::Withdrawn, Some(reason), at)?;
        }
        merge.state = TaskState::Waiting;
        merge.attempt += 1;
        put_task(state, &merge)?;
    }
    put_job(state, &job)?;
    if !counts {
        return to_pending(state, &mut task);
    }
    // It counts, or a job whose parts are lost again and again would never end.
    count_failure(state, &mut job, &mut task, reason, at)
}

/// Whether a job is done for songs, too, that are not the asker's to change.
fn is_for_others(state: &Transaction, job: &Job, asker: Asker) -> Result<bool, ViewError> {
    Ok(asker != Asker::Anybody && state.songs_with(job)?.iter().any(|song| !asker.may_change(song)))
}

fn cancel(state: &mut Transaction, id: u64, asker: Asker, at: u64) -> Applied<Answer> {
    let Some(mut job) = state.job(id)? else { refuse!(Refusal::NoSuchJob(id)) };
    if !job.state.is_open() {
        refuse!(Refusal::WrongState { job: id, state: job.state.to_string(), wish: "cancelled".into() });
    }
    if is_for_others(state, &job, asker)? {
        return leave(state, &job, asker, at);
    }
    close_tasks(state, id, at)?;
    history::enter(state, &mut job, JobState::Cancelled, at)?;
    job.finished_at = Some(at);
    put_job(state, &job)?;
    Ok(Ok(Answer::Done))
}

/// The asker's songs leave a job that is done for others as well, for one of their own, which is cancelled. Tried again,
/// it finds the other one.
fn leave(state: &mut Transaction, job: &Job, asker: Asker, at: u64) -> Applied<Answer> {
    let mut songs = state.songs_with(job)?;
    songs.retain(|song| asker.may_change(song));
    if songs.is_empty() {
        refuse!(Refusal::NoSuchJob(job.id));
    }
    let mut left =
        Job { id: state.next("job")?, state: JobState::Cancelled, done: 0, finished_at: Some(at), ..job.clone() };
    left.tasks = 0;
    left.history = Vec::new();
    history::enter(state, &mut left, JobState::Cancelled, at)?;
    for kind in left.plan.kinds() {
        let id = TaskId { job: left.id, index: left.tasks };
        put_task(state, &fresh(id, kind, TaskState::Waiting))?;
        left.tasks += 1;
    }
    separation::hand_on(state, songs, job.id, left.id)?;
    put_job(state, &left)?;
    Ok(Ok(Answer::Job(left.id)))
}

/// An open job that is outside.
fn job_outside(state: &Transaction, id: u64, wish: &str) -> Applied<Job> {
    let Some(job) = state.job(id)? else { refuse!(Refusal::NoSuchJob(id)) };
    if !job.state.is_open() || !job.road.is_outside() {
        refuse!(Refusal::WrongState { job: id, state: job.state.to_string(), wish: wish.into() });
    }
    Ok(Ok(job))
}

fn send_outside(state: &mut Transaction, id: u64) -> Applied<Answer> {
    let mut job = match job_outside(state, id, "sent outside")? {
        Ok(job) => job,
        Err(refusal) => refuse!(refusal),
    };
    job.road = Road::Sent;
    put_job(state, &job)?;
    Ok(Ok(Answer::Done))
}

fn take_inside(state: &mut Transaction, id: u64) -> Applied<Answer> {
    let mut job = match job_outside(state, id, "taken inside")? {
        Ok(job) => job,
        Err(refusal) => refuse!(refusal),
    };
    job.road = Road::Returned;
    for mut task in state.tasks(id)? {
        if matches!(task.kind, TaskKind::Separate { .. }) {
            task.state = TaskState::Pending;
            put_task(state, &task)?;
        }
    }
    put_job(state, &job)?;
    Ok(Ok(Answer::Done))
}

fn finish_outside(state: &mut Transaction, id: u64, stems: &Stems, at: u64) -> Applied<Answer> {
    let Some(mut job) = state.job(id)? else { refuse!(Refusal::NoSuchJob(id)) };
    if !job.state.is_open() || job.road == Road::Inside {
        refuse!(Refusal::WrongState { job: id, state: job.state.to_string(), wish: "finished from outside".into() });
    }
    close_tasks(state, id, at)?;
    end_with(state, &mut job, stems, at)?;
    put_job(state, &job)?;
    Ok(Ok(Answer::Done))
}

fn set_priority(state: &mut Transaction, id: u64, priority: Priority, asker: Asker) -> Applied<Answer> {
    let Some(mut job) = state.job(id)? else { refuse!(Refusal::NoSuchJob(id)) };
    if !job.state.is_open() {
        let wish = format!("given {priority} priority");
        refuse!(Refusal::WrongState { job: id, state: job.state.to_string(), wish });
    }
    job.priority = if is_for_others(state, &job, asker)? { priority.max(job.priority) } else { priority };
    put_job(state, &job)?;
    Ok(Ok(Answer::Done))
}

fn retry(state: &mut Transaction, id: u64, jobs_per_owner: u32, at: u64) -> Applied<Answer> {
    let Some(mut job) = state.job(id)? else { refuse!(Refusal::NoSuchJob(id)) };
    if !matches!(job.state, JobState::Failed | JobState::Cancelled) {
        refuse!(Refusal::WrongState { job: id, state: job.state.to_string(), wish: "tried again".into() });
    }
    let whole = state.has_level(JOBS)?;
    if let Some(other) = state.job_for(&job.hash, &job.model, &job.formats, &job.selection)?.filter(|_| whole) {
        let songs = state.songs_with(&job)?;
        separation::hand_on(state, songs, id, other.id)?;
        remove_job(state, id)?;
        return Ok(Ok(Answer::Job(other.id)));
    }
    if let Err(refusal) = state.admits(&job.owner, jobs_per_owner)? {
        refuse!(refusal);
    }
    let parts_made = job.done + 1 == job.tasks;
    for mut task in state.tasks(id)? {
        let open = matches!(task.state, TaskState::Waiting | TaskState::Failed);
        if open || whole {
            task.failures = 0;
        }
        if open {
            task.state = match task.kind {
                TaskKind::Merge if !parts_made => TaskState::Waiting,
                _ => TaskState::Pending,
            };
            task.attempt += 1;
        }
        put_task(state, &task)?;
    }
    if job.road.is_outside() {
        job.road = Road::Returned;
    }
    history::enter(state, &mut job, JobState::Pending, at)?;
    job.error = None;
    job.finished_at = None;
    state.put(keys::job_of(&job.hash, &job.model, &job.formats, &job.selection), &id)?;
    put_job(state, &job)?;
    Ok(Ok(if whole { Answer::Job(id) } else { Answer::Done }))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::super::LEVEL;
    use super::super::scripted::Machine;
    use super::*;

    #[test]
    fn an_answer_is_remembered_for_long_and_not_for_ever() {
        for level in [OUTSIDE, LEVEL] {
            let mut machine = Machine::at_level(level);
            let [early, late] = [Uuid::new_v4(), Uuid::new_v4()];
            let command = Command::RetireNode { node: 9 };
            let remembered = |machine: &Machine| {
                [early, late].map(|request| machine.view().get(&keys::answer(&request)).unwrap().is_some())
            };
            let busy = |machine: &mut Machine| {
                for _ in 0..FORGET_EVERY {
                    machine.apply(Uuid::new_v4(), &command).0.unwrap();
                }
            };
            machine.apply(early, &command).0.unwrap();
            machine.skip(500);
            machine.apply(late, &command).0.unwrap();
            machine.skip(REMEMBERED - 500 - 2 * FORGET_EVERY);
            busy(&mut machine);
            assert_eq!(remembered(&machine), [true, true]);
            busy(&mut machine);
            busy(&mut machine);
            assert_eq!(remembered(&machine), [false, true]);
            machine.skip(500);
            busy(&mut machine);
            assert_eq!(remembered(&machine), [false, false]);
            let left = machine.view().scan(keys::answered_between(0, u64::MAX)).unwrap().len() as u64;
            assert_eq!(left, 4 * FORGET_EVERY);
        }
    }
}

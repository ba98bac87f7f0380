//! Jobs: what users asked for.
//!
//! Invariants: of the jobs that do the same, one at most is open or done; it is the one that is found by what it does. A
//! job belongs to a song at least, and goes with the last one that has it.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use storage::blobs::Hash;

use super::mark::JOBS;
use super::transaction::{Applied, granted, refuse};
use super::{
    Asker, Event, Plan, Read, Road, Selection, Stems, Task, TaskId, TaskKind, TaskState, Transaction, ViewError,
    history, hook, index, keys, line, separation, task,
};
use crate::command::{Answer, Refusal};

/// How urgent a job is. What each is worth, the dispatcher says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Priority {
    /// It may wait while others do not.
    Low,
    /// As everybody's.
    #[default]
    Normal,
    /// Somebody waits for it.
    High,
}

impl fmt::Display for Priority {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Low => "low",
            Self::Normal => "normal",
            Self::High => "high",
        })
    }
}

/// The word is no priority.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a priority is high, normal or low")]
pub struct NoPriority;

impl FromStr for Priority {
    type Err = NoPriority;

    fn from_str(word: &str) -> Result<Self, NoPriority> {
        [Self::Low, Self::Normal, Self::High]
            .into_iter()
            .find(|priority| priority.to_string() == word)
            .ok_or(NoPriority)
    }
}

/// What a user asked for: one file separated by one model into files of some formats.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Job {
    /// Its number.
    pub id: u64,
    /// The file.
    pub hash: Hash,
    /// The model.
    pub model: String,
    /// The formats of the stems, as `inference` writes them; no two with the same extension.
    pub formats: Vec<String>,
    /// How it is cut.
    pub plan: Plan,
    /// The file's extension in lower case.
    pub format: String,
    /// How urgent it is.
    #[serde(default)]
    pub priority: Priority,
    /// Whose turn it takes when workers are shared out; empty when nobody can tell.
    #[serde(default)]
    pub owner: String,
    /// Who does it.
    #[serde(default)]
    pub road: Road,
    /// How far it is.
    pub state: JobState,
    /// How many tasks it has, the merge among them.
    pub tasks: u32,
    /// How many of them are done.
    pub done: u32,
    /// How often each task may fail.
    pub max_attempts: u32,
    /// Why it failed.
    pub error: Option<String>,
    /// When it was made, in milliseconds since 1970.
    pub created_at: u64,
    /// When it ended.
    pub finished_at: Option<u64>,
    /// Its result.
    pub stems: Option<Stems>,
    /// Which stems it makes.
    #[serde(default)]
    pub selection: Selection,
    /// The states it has been in, the oldest first; of very many the latest. Older programs wrote none.
    #[serde(default)]
    pub history: Vec<Passage>,
}

/// Since when a job was in a state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Passage {
    /// The state.
    pub state: JobState,
    /// When it began, in milliseconds since 1970.
    pub at: u64,
}

/// How far a job is. The numbers are in keys and never change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum JobState {
    /// No task was taken yet.
    Pending = 0,
    /// Workers are at it.
    Running = 1,
    /// The stems are there.
    Done = 2,
    /// A task failed too often.
    Failed = 3,
    /// It is not wanted any more.
    Cancelled = 4,
}

impl JobState {
    /// All of them.
    pub const EVERY: [Self; 5] = [Self::Pending, Self::Running, Self::Done, Self::Failed, Self::Cancelled];

    /// Whether the job may still come to an end.
    pub fn is_open(self) -> bool {
        matches!(self, Self::Pending | Self::Running)
    }
}

impl fmt::Display for JobState {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Pending => "pending",
            Self::Running => "running",
            Self::Done => "done",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
        })
    }
}

impl FromStr for JobState {
    type Err = NoState;

    fn from_str(word: &str) -> Result<Self, NoState> {
        Self::EVERY.into_iter().find(|state| state.to_string() == word).ok_or(NoState)
    }
}

/// The word is no job's state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a job is pending, running, done, failed or cancelled")]
pub struct NoState;

/// A separation of some file that somebody asks for.
#[derive(Clone, Copy)]
pub(super) struct Wanted<'a> {
    pub(super) plan: Plan,
    pub(super) model: &'a str,
    pub(super) formats: &'a [String],
    pub(super) selection: &'a Selection,
    pub(super) max_attempts: u32,
    pub(super) priority: Priority,
    pub(super) owner: &'a str,
    pub(super) jobs_per_owner: u32,
    pub(super) road: Road,
}

impl Job {
    /// Its last task.
    pub(super) fn merge(&self) -> TaskId {
        TaskId { job: self.id, index: self.tasks - 1 }
    }
}

/// The job that does what is wanted for a file: the one that does it already, or else a new one.
pub(super) fn find_or_add(
    state: &mut Transaction,
    hash: &Hash,
    format: &str,
    wanted: &Wanted<'_>,
    at: u64,
) -> Applied<u64> {
    if let Some(job) = state.job_for(hash, wanted.model, wanted.formats, wanted.selection)? {
        return Ok(Ok(join(state, job, wanted.owner, wanted.priority)?));
    }
    granted!(state.admits(wanted.owner, wanted.jobs_per_owner)?);
    let mut job = Job {
        id: state.next("job")?,
        hash: *hash,
        model: wanted.model.into(),
        formats: wanted.formats.to_vec(),
        plan: wanted.plan,
        format: format.into(),
        priority: wanted.priority,
        owner: wanted.owner.into(),
        road: wanted.road,
        state: JobState::Pending,
        tasks: 0,
        done: 0,
        max_attempts: wanted.max_attempts,
        error: None,
        created_at: at,
        finished_at: None,
        stems: None,
        selection: wanted.selection.clone(),
        history: Vec::new(),
    };
    history::enter(state, &mut job, JobState::Pending, at)?;
    let begins = if job.road.is_outside() { TaskState::Waiting } else { TaskState::Pending };
    add_tasks(state, &mut job, begins)?;
    state.put(keys::job(job.id), &job)?;
    history::list(state, None, &job)?;
    mark(state, &job)?;
    // A job that failed or was cancelled before stays with the songs that have it.
    state.put(key_of(&job), &job.id)?;
    state.tell(Event::Job { id: job.id });
    Ok(Ok(job.id))
}

/// Makes the tasks of a job's plan, of which those that separate begin so.
fn add_tasks(state: &mut Transaction, job: &mut Job, begins: TaskState) -> Result<(), ViewError> {
    for kind in job.plan.kinds() {
        let begins = if kind == TaskKind::Merge { TaskState::Waiting } else { begins };
        task::put(state, &Task::new(TaskId { job: job.id, index: job.tasks }, kind, begins))?;
        job.tasks += 1;
    }
    Ok(())
}

/// One more asks for a job: it becomes as urgent as any of them wants it, and belongs to whoever has fewer open jobs, so
/// that nobody waits longer for it because somebody else asked as well.
fn join(state: &mut Transaction, mut job: Job, owner: &str, priority: Priority) -> Result<u64, ViewError> {
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
        put(state, &job)?;
    }
    Ok(id)
}

pub(super) fn cancel(state: &mut Transaction, id: u64, asker: Asker, at: u64) -> Applied<Answer> {
    let mut job = granted!(that_can_be(state, id, "cancelled", |job| job.state.is_open())?);
    if is_for_others(state, &job, asker)? {
        return leave(state, &job, asker, at);
    }
    task::close_all(state, id, at)?;
    history::enter(state, &mut job, JobState::Cancelled, at)?;
    job.finished_at = Some(at);
    put(state, &job)?;
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
        Job { id: state.next("job")?, tasks: 0, done: 0, finished_at: Some(at), history: Vec::new(), ..job.clone() };
    history::enter(state, &mut left, JobState::Cancelled, at)?;
    add_tasks(state, &mut left, TaskState::Waiting)?;
    separation::hand_on(state, songs, job.id, left.id)?;
    put(state, &left)?;
    Ok(Ok(Answer::Job(left.id)))
}

pub(super) fn set_priority(state: &mut Transaction, id: u64, priority: Priority, asker: Asker) -> Applied<Answer> {
    let wish = format!("given {priority} priority");
    let mut job = granted!(that_can_be(state, id, &wish, |job| job.state.is_open())?);
    job.priority = if is_for_others(state, &job, asker)? { priority.max(job.priority) } else { priority };
    put(state, &job)?;
    Ok(Ok(Answer::Done))
}

/// Tries a job again that came to nothing, or gives its songs to another one that does the same by now.
pub(super) fn retry(state: &mut Transaction, id: u64, jobs_per_owner: u32, at: u64) -> Applied<Answer> {
    let came_to_nothing = |job: &Job| matches!(job.state, JobState::Failed | JobState::Cancelled);
    let mut job = granted!(that_can_be(state, id, "tried again", came_to_nothing)?);
    let whole = state.has_level(JOBS)?;
    if let Some(other) = state.job_for(&job.hash, &job.model, &job.formats, &job.selection)?.filter(|_| whole) {
        let songs = state.songs_with(&job)?;
        separation::hand_on(state, songs, id, other.id)?;
        remove(state, id)?;
        return Ok(Ok(Answer::Job(other.id)));
    }
    granted!(state.admits(&job.owner, jobs_per_owner)?);
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
        task::put(state, &task)?;
    }
    if job.road.is_outside() {
        job.road = Road::Returned;
    }
    history::enter(state, &mut job, JobState::Pending, at)?;
    job.error = None;
    job.finished_at = None;
    state.put(key_of(&job), &id)?;
    put(state, &job)?;
    Ok(Ok(if whole { Answer::Job(id) } else { Answer::Done }))
}

/// The job is done; its parts are not needed any more.
pub(super) fn end_with(state: &mut Transaction, job: &mut Job, stems: &Stems, at: u64) -> Result<(), ViewError> {
    history::enter(state, job, JobState::Done, at)?;
    job.stems = Some(stems.clone());
    job.finished_at = Some(at);
    for mut task in state.tasks(job.id)? {
        task.output = None;
        task::put(state, &task)?;
    }
    Ok(())
}

/// Removes a job that no song has any more. A worker that is still at it loses its claim.
pub(super) fn remove(state: &mut Transaction, id: u64) -> Result<(), ViewError> {
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
    let of = key_of(&job);
    if state.value::<u64>(&of)? == Some(id) {
        state.delete(of);
    }
    state.tell(Event::Job { id });
    Ok(())
}

/// Stores a job, and tells of the songs whose status it decides when that has changed. Hooks are told when it has ended.
pub(super) fn put(state: &mut Transaction, job: &Job) -> Result<(), ViewError> {
    let before = state.job(job.id)?;
    state.put(keys::job(job.id), job)?;
    history::list(state, before.as_ref(), job)?;
    mark(state, job)?;
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

/// Keeps the marks of each owner's open jobs and of those outside true.
fn mark(state: &mut Transaction, job: &Job) -> Result<(), ViewError> {
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

/// Where the job is found by what it does.
fn key_of(job: &Job) -> Vec<u8> {
    keys::job_of(&job.hash, &job.model, &job.formats, &job.selection)
}

/// A job, if it is one of those of which the wish can come true.
pub(super) fn that_can_be(state: &Transaction, id: u64, wish: &str, can: impl FnOnce(&Job) -> bool) -> Applied<Job> {
    let Some(job) = state.job(id)? else { refuse!(Refusal::NoSuchJob(id)) };
    if !can(&job) {
        refuse!(Refusal::WrongState { job: id, state: job.state.to_string(), wish: wish.into() });
    }
    Ok(Ok(job))
}

/// Whether a job is done for songs, too, that are not the asker's to change.
fn is_for_others(state: &Transaction, job: &Job, asker: Asker) -> Result<bool, ViewError> {
    Ok(asker != Asker::Anybody && state.songs_with(job)?.iter().any(|song| !asker.may_change(song)))
}

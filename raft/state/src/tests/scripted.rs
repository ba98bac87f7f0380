//! The state machine by example: each file in `scripts/` holds commands, and below each what comes of it.
//!
//! An attempt is shown as `number@node`, and behind it `!` when it failed, `?` when it expired, `<` when it was handed
//! back and `~` when it was withdrawn.
//!
//! `UPDATE=1 cargo test -p raft` writes the files anew; read the difference before you commit it.

use std::fmt::Write;
use std::path::Path;

use storage::blobs::Hash;
use uuid::Uuid;

use super::Machine;
use crate::command::*;
use crate::tables::JOBS_OF_SONG;
use crate::{
    Actor, Audience, Cover, DeliveryAttempt, DeliveryStatus, Edit, Ending, Executor, Facts, JobOptions, JobResult,
    JobState, LogLevel, LogLine, Model, ModelFile, Order, OrphanPolicy, Output, Plan, Priority, RateLimit, Read,
    Sealed, Selection, SeparationSpec, SongEdit, Stems, Task, TaskId, TaskKind, TaskState, Verifier, View,
};

fn hash(name: &str) -> Hash {
    Hash::of(name.as_bytes())
}

fn task_id(text: &str) -> TaskId {
    let (job, index) = text.split_once('.').unwrap();
    TaskId { job: job.parse().unwrap(), index: index.parse().unwrap() }
}

/// `key=value` among the words.
fn value<'a>(words: &'a [&str], key: &str) -> Option<&'a str> {
    words.iter().find_map(|word| word.strip_prefix(key)?.strip_prefix('='))
}

fn number(words: &[&str], key: &str, otherwise: u64) -> u64 {
    value(words, key).map_or(otherwise, |value| value.parse().unwrap())
}

/// One stem in these formats.
fn stems(formats: &[&str]) -> Stems {
    let files = formats.iter().map(|format| ((*format).to_owned(), hash(format))).collect();
    Stems { files: [("drums".to_owned(), files)].into(), facts: None, peaks: None }
}

/// Who asks: anybody, `as=nobody`, or `as=` a user's number.
fn actor(words: &[&str]) -> Actor {
    match value(words, "as") {
        None => Actor::Admin,
        Some("nobody") => Actor::Anonymous,
        Some(user) => Actor::User(user.parse().unwrap()),
    }
}

/// Commands about accounts and sharing; none for other words.
fn parse_accounts(words: &[&str], at: u64) -> Option<Command> {
    let id = || words[1].parse().unwrap();
    let second = || words[2].parse().unwrap();
    let keep = || value(words, "keep").map(|session| session.parse().unwrap());
    let password = |key: &str| value(words, key).map(|word| Verifier(word.into()));
    let audience = || match words[2] {
        "everybody" => Audience::Everybody,
        user => Audience::User(user.parse().unwrap()),
    };
    let text = |key: &str| value(words, key).map(str::to_owned);
    let ends = || number(words, "ends", 1_000_000_000);
    Some(match words[0] {
        "register" => Command::from(Register {
            name: words[1].into(),
            email: text("email"),
            password: password("password").unwrap_or(Verifier("old".into())),
            closed: words.contains(&"closed"),
            at,
        }),
        "try" => {
            let (max, window) = (number(words, "most", 2) as u32, number(words, "within", 5000));
            let of = words[1].split(',').map(|what| RateLimit { key: hash(what), max, window });
            Command::from(CheckRateLimits { limits: of.collect(), at: number(words, "at", at) })
        }
        "login" => Command::from(OpenSession {
            secret: hash(words[2]),
            user: id(),
            password: password("password").unwrap_or(Verifier("old".into())),
            user_agent: "browser".into(),
            expires_at: ends(),
            clears: value(words, "clears").map(hash).into_iter().collect(),
            at: number(words, "at", at),
        }),
        "logout" => Command::from(EndSession { user: id(), session: second() }),
        "logout-all" => Command::from(EndSessions { user: id(), keep: keep() }),
        "token" => Command::from(MakeToken {
            secret: hash(words[2]),
            sealed: Sealed(Vec::new()),
            user: id(),
            name: words[2].into(),
            expires_at: value(words, "ends").map(|_| ends()),
            at,
        }),
        "revoke" => Command::from(RevokeToken { user: id(), token: second() }),
        "change" => Command::from(ChangeUser {
            user: id(),
            name: text("name"),
            email: text("email"),
            password: password("password"),
            old_password: password("old"),
            administrator: value(words, "administrator").map(|word| word == "yes"),
            keep: keep(),
        }),
        "remove-user" => Command::from(RemoveUser {
            user: id(),
            songs: value(words, "songs").map(|word| match word {
                "delete" => OrphanPolicy::Delete,
                _ => OrphanPolicy::Transfer,
            }),
        }),
        "share" => {
            let owner = value(words, "of").map(|user| user.parse().unwrap());
            Command::from(ShareSong { song: id(), owner, audience: audience() })
        }
        "unshare" => Command::from(UnshareSong { song: id(), audience: audience() }),
        "link" => Command::from(MakeLink { secret: hash(words[2]), song: id(), expires_at: ends(), at }),
        "unlink" => Command::from(RemoveLink { song: id(), link: second() }),
        _ => return None,
    })
}

/// `stems=a,b` or `two=a`; all without either.
fn selection(words: &[&str]) -> Selection {
    match (value(words, "stems"), value(words, "two")) {
        (Some(stems), _) => Selection::Only(stems.split(',').map(str::to_owned).collect()),
        (None, Some(stem)) => Selection::Two(stem.into()),
        (None, None) => Selection::All,
    }
}

/// What a worker says of an attempt: `says=` words with underscores.
fn lines(words: &[&str], at: u64) -> Vec<LogLine> {
    let said = value(words, "says").into_iter().flat_map(|said| said.split(','));
    said.map(|said| LogLine { at, level: LogLevel::Info, message: said.replace('_', " ") }).collect()
}

fn formats(words: &[&str]) -> Vec<String> {
    value(words, "formats").unwrap_or("mp3:320,wav:int16").split(',').map(str::to_owned).collect()
}

fn separation(words: &[&str]) -> SeparationSpec {
    SeparationSpec {
        model: value(words, "model").unwrap_or("spectral").into(),
        formats: formats(words),
        plan: Plan {
            frames: 44_100,
            segments: number(words, "segments", 3) as u32,
            segments_per_task: number(words, "per-task", 2) as u32,
        },
        selection: selection(words),
    }
}

fn options(words: &[&str]) -> JobOptions {
    JobOptions {
        max_attempts: number(words, "attempts", 3) as u32,
        priority: value(words, "priority").map_or(Priority::Normal, |word| word.parse().unwrap()),
        owner: value(words, "owner").unwrap_or_default().into(),
        jobs_per_owner: number(words, "limit", 0) as u32,
        external: words.contains(&"outside"),
    }
}

/// Commands about separations and hooks; none for other words.
fn parse_jobs(words: &[&str], at: u64) -> Option<Command> {
    let id = || words[1].parse().unwrap();
    let second = || words[2].parse().unwrap();
    let events =
        |key| value(words, key).map(|ends| ends.split(',').map(|end| end.parse::<JobState>().unwrap()).collect());
    Some(match words[0] {
        "separate" => Command::from(Separate {
            song: id(),
            actor: actor(words),
            separation: separation(words),
            job: options(words),
            at,
        }),
        "drop" => Command::from(DropSeparation { song: id(), actor: actor(words), job: second() }),
        "hook" => Command::from(MakeHook {
            user: id(),
            url: words[2].into(),
            events: events("of").unwrap_or_else(|| vec![JobState::Done, JobState::Failed, JobState::Cancelled]),
            sealed: Sealed(Vec::new()),
            at,
        }),
        "change-hook" => Command::from(ChangeHook {
            user: id(),
            hook: second(),
            url: value(words, "url").map(str::to_owned),
            events: events("of"),
            active: value(words, "active").map(|word| word == "yes"),
        }),
        "remove-hook" => Command::from(RemoveHook { user: id(), hook: second() }),
        "told" => Command::from(RecordDelivery {
            hook: id(),
            delivery: second(),
            number: number(words, "try", 1) as u32,
            status: match value(words, "again") {
                Some(at) => DeliveryStatus::Pending { at: at.parse().unwrap() },
                None if words.contains(&"never") => DeliveryStatus::GivenUp,
                None => DeliveryStatus::Delivered,
            },
            attempt: DeliveryAttempt {
                at,
                took: 5,
                status: Some(if words.len() == 3 { 200 } else { 500 }),
                error: None,
            },
        }),
        _ => return None,
    })
}

/// `once KEY` before `add ...`; `as=` says whose key it is, `content=` what else is asked for than the file.
fn parse_once(words: &[&str], at: u64) -> Command {
    Command::from(AddSongOnce {
        key: hash(words[1]),
        owner: hash(value(words, "as").unwrap_or_default()),
        content: hash(value(words, "content").unwrap_or("the same")),
        until: number(words, "until", 1_000_000_000),
        add: match parse(&words[2..], at) {
            Command::AddSong(add) => add,
            other => panic!("{other:?} adds no song"),
        },
        at: number(words, "at", at),
    })
}

/// Commands about what songs are called, playlists and listening; none for other words.
fn parse_library(words: &[&str], at: u64) -> Option<Command> {
    let id = || words[1].parse().unwrap();
    let second = || words[2].parse().unwrap();
    let numbers = |text: &str| text.split(',').map(|number| number.parse().unwrap()).collect();
    let audience = || match words[2] {
        "everybody" => Audience::Everybody,
        user => Audience::User(user.parse().unwrap()),
    };
    let text = |key: &str| match value(words, key) {
        None => Edit::Keep,
        Some("") => Edit::Clear,
        Some(text) => Edit::Set(text.replace('_', " ")),
    };
    let number = |key: &str| match value(words, key) {
        None => Edit::Keep,
        Some("") => Edit::Clear,
        Some(text) => Edit::Set(text.parse().unwrap()),
    };
    let bpm = || match value(words, "bpm") {
        None => Edit::Keep,
        Some("") => Edit::Clear,
        Some(text) => Edit::Set(text.parse().unwrap()),
    };
    let cover = || match value(words, "cover") {
        None => Edit::Keep,
        Some("") => Edit::Clear,
        Some(name) => Edit::Set(Cover { hash: hash(name), mime: "image/png".into() }),
    };
    Some(match words[0] {
        "edit" => {
            let title = value(words, "title").map(str::to_owned);
            let (artist, album, genre) = (text("artist"), text("album"), text("genre"));
            let (year, track, bpm, key, cover) = (number("year"), number("track"), bpm(), text("key"), cover());
            let edit = SongEdit { title, artist, album, genre, year, track, bpm, key, cover };
            Command::from(ChangeSong { song: id(), actor: actor(words), edit: Box::new(edit) })
        }
        "playlist" => {
            Command::from(MakePlaylist { owner: id(), name: words[2].into(), description: String::new(), at })
        }
        "rename" => {
            Command::from(ChangePlaylist { playlist: id(), name: Some(words[2].into()), description: None, at })
        }
        "remove-playlist" => Command::from(RemovePlaylist { playlist: id() }),
        "put" => {
            let place = value(words, "place").map(|place| place.parse().unwrap());
            let without = value(words, "without").map(numbers).unwrap_or_default();
            Command::from(AddToPlaylist { playlist: id(), songs: numbers(words[2]), place, without, at })
        }
        "take" => Command::from(RemoveFromPlaylist { playlist: id(), entry: second(), at }),
        "order" => Command::from(ReorderPlaylist { playlist: id(), entries: numbers(words[2]), at }),
        "share-playlist" => Command::from(SharePlaylist { playlist: id(), audience: audience() }),
        "unshare-playlist" => Command::from(UnsharePlaylist { playlist: id(), audience: audience() }),
        "favour" => Command::from(SetFavourite { user: id(), song: second(), favourite: !words.contains(&"not") }),
        "play" => {
            let user = value(words, "by").map(|user| user.parse().unwrap());
            let limit = RateLimit { key: hash(&format!("plays of {user:?}")), max: 3, window: 1_000_000 };
            Command::from(CountPlay { song: id(), user, limit, at })
        }
        _ => return None,
    })
}

fn parse(words: &[&str], at: u64) -> Command {
    if words[0] == "once" {
        return parse_once(words, at);
    }
    if let Some(command) =
        parse_accounts(words, at).or_else(|| parse_jobs(words, at)).or_else(|| parse_library(words, at))
    {
        return command;
    }
    let attempt = number(words, "attempt", 1) as u32;
    let node = number(words, "node", 0);
    let reason = value(words, "reason").unwrap_or("broken").replace('_', " ");
    let task = || task_id(words[1]);
    let id = || words[1].parse().unwrap();
    match words[0] {
        "add" => Command::from(AddSong {
            title: words[1].into(),
            hash: hash(value(words, "file").unwrap_or("file")),
            size: 1000,
            format: "mp3".into(),
            uploader_id: value(words, "by").map(|user| user.parse().unwrap()),
            credits: Box::default(),
            separation: separation(words),
            job: options(words),
            at,
        }),
        "remove" => Command::from(RemoveSong { song: id() }),
        "claim" => Command::from(ClaimTask { task: task(), attempt, node, at }),
        "finish" => {
            let (output, lines) = (Output::Part(hash(words[1])), lines(words, at));
            Command::from(FinishTask { task: task(), attempt, node, output, lines, at })
        }
        "send" => Command::from(QueueJob { job: id() }),
        "inside" => Command::from(ReclaimJob { job: id(), at }),
        "deliver" => {
            Command::from(FinishJob { job: id(), result: Box::new(JobResult::Separation(stems(&["mp3"]))), at })
        }
        "merge" => {
            let mut stems = stems(&["mp3", "wav"]);
            if let Some(bpm) = value(words, "bpm") {
                let (tempo, key) = (Some((bpm.parse().unwrap(), 0.9)), Some(("C major".into(), 0.9)));
                stems.facts = Some(Box::new(Facts { tempo, key, ..Facts::default() }));
            }
            let output = Output::Stems(stems);
            Command::from(FinishTask { task: task(), attempt, node, output, lines: lines(words, at), at })
        }
        "fail" => Command::from(FailTask { task: task(), attempt, node, reason, lines: lines(words, at), at }),
        "release" => Command::from(ReleaseTask { task: task(), attempt, node, lines: lines(words, at), at }),
        "expire" => Command::from(ExpireTask { task: task(), attempt, reason, at }),
        "reopen" => Command::from(ReopenTask { task: task(), reason, at }),
        "cancel" => Command::from(CancelJob { job: id(), actor: actor(words), at }),
        "retry" => Command::from(RetryJob { job: id(), jobs_per_owner: number(words, "limit", 0) as u32, at }),
        "priority" => {
            Command::from(SetPriority { job: id(), priority: words[2].parse().unwrap(), actor: actor(words) })
        }
        "add-model" => Command::from(AddModel {
            model: Box::new(Model {
                name: words[1].into(),
                files: vec![ModelFile {
                    name: "file.th".into(),
                    hash: hash(value(words, "file").unwrap_or("file")),
                    size: 1000,
                }],
                weights: None,
                sources: vec!["drums".into()],
                segment: 100,
                stride: 75,
                added_at: at,
            }),
        }),
        "remove-model" => Command::from(RemoveModel { name: words[1].into() }),
        other => panic!("there is no command {other}"),
    }
}

/// The whole state, for people.
fn shown(view: &View) -> String {
    let mut out = String::new();
    for song in view.songs(None, 100).unwrap().iter().rev() {
        let status = view.song_status(song).unwrap();
        let of = song.uploader_id.map_or(String::new(), |user| format!(" of user {user}"));
        let others = view.list(JOBS_OF_SONG, JOBS_OF_SONG.under(song.id)).unwrap();
        let others = if others.is_empty() { String::new() } else { format!(" and {others:?}") };
        writeln!(out, "song {} {:?} job {}{others} {status:?}{of}", song.id, song.title, song.job).unwrap();
    }
    for job in view.jobs(None, 100).unwrap().iter().rev() {
        let error = job.error.as_ref().map_or(String::new(), |error| format!(" because {error}"));
        let owner = if job.owner.is_empty() { String::new() } else { format!(" of {}", job.owner) };
        let priority = if job.priority == Priority::Normal { String::new() } else { format!(" {}", job.priority) };
        let road = match job.executor {
            Executor::Cluster => "",
            Executor::External => " outside",
            Executor::Queued => " sent",
            Executor::Reclaimed => " returned",
        };
        let selection = &job.separation().unwrap().selection;
        let stems = if *selection == Selection::All { String::new() } else { format!(" {selection}") };
        writeln!(out, "job {} {}{stems}{road}{priority}{owner} {}/{}{error}", job.id, job.state, job.done, job.tasks)
            .unwrap();
        for task in view.tasks(job.id).unwrap() {
            writeln!(out, "  {}", task_shown(&task)).unwrap();
            for attempt in &task.attempts {
                for line in view.log(task.id, attempt.number).unwrap() {
                    writeln!(out, "    {}: {}", attempt.number, line.message).unwrap();
                }
            }
        }
    }
    for model in view.models().unwrap() {
        writeln!(out, "model {} of {} file", model.name, model.files.len()).unwrap();
    }
    accounts_shown(view, &mut out);
    library_shown(view, &mut out);
    let open: Vec<_> = view.open_tasks().unwrap().iter().map(|task| task.id.to_string()).collect();
    writeln!(out, "open: {}", open.join(" ")).unwrap();
    let outside: Vec<_> = view.external_jobs().unwrap().iter().map(|job| job.id.to_string()).collect();
    if !outside.is_empty() {
        writeln!(out, "outside: {}", outside.join(" ")).unwrap();
    }
    out
}

/// The lists in which jobs stand, and the states they have been in.
fn histories(view: &View) -> String {
    let mut out = String::new();
    let ids = |jobs: Vec<crate::Job>| jobs.iter().map(|job| job.id.to_string()).collect::<Vec<_>>().join(" ");
    for state in JobState::EVERY {
        writeln!(out, "{state}: {}", ids(view.jobs_in(&[state], None, 100).unwrap())).unwrap();
    }
    writeln!(out, "ended, latest first: {}", ids(view.jobs_ended_since(0, 100).unwrap())).unwrap();
    for job in view.jobs(None, 100).unwrap().iter().rev() {
        let passages: Vec<_> = job.history.iter().map(|was| format!("{} at {}", was.state, was.at)).collect();
        writeln!(out, "job {}: {}", job.id, passages.join(", ")).unwrap();
    }
    out
}

/// Users with what is theirs, and whose lists the songs stand in. A state without users shows nothing of it.
fn accounts_shown(view: &View, out: &mut String) {
    let users = view.users(None, 100).unwrap();
    if users.is_empty() {
        return;
    }
    let list = |audience| {
        let songs = view.in_lists(&[audience], None, true, 100).unwrap();
        songs.iter().map(|(_, song)| song.to_string()).collect::<Vec<_>>().join(" ")
    };
    for user in users.iter().rev() {
        let administrator = if user.administrator { ", administrator" } else { "" };
        let email = user.email.as_ref().map_or(String::new(), |email| format!(" <{email}>"));
        writeln!(out, "user {} {}{email}{administrator}", user.id, user.name).unwrap();
        for session in view.sessions_of(user.id).unwrap() {
            writeln!(out, "  session {} until {}", session.id, session.expires_at).unwrap();
        }
        for token in view.tokens_of(user.id).unwrap() {
            writeln!(out, "  token {} {:?} until {:?}", token.id, token.name, token.expires_at).unwrap();
        }
        writeln!(out, "  hears: {}", list(Audience::User(user.id))).unwrap();
        for hook in view.hooks_of(user.id).unwrap() {
            let events: Vec<_> = hook.events.iter().map(ToString::to_string).collect();
            let active = if hook.active { "" } else { ", turned off" };
            writeln!(out, "  hook {} at {} for {}{active}", hook.id, hook.url, events.join(", ")).unwrap();
            for told in view.deliveries_of(hook.id).unwrap() {
                let songs: Vec<_> = told.songs.iter().map(|(id, title)| format!("{id} {title:?}")).collect();
                let fate = match told.status {
                    DeliveryStatus::Pending { at } => format!("due at {at}"),
                    DeliveryStatus::Delivered => "delivered".into(),
                    DeliveryStatus::GivenUp => "given up".into(),
                };
                let (id, job, event, tried) = (told.id, told.job, told.event, told.attempts_made);
                writeln!(out, "    {id}: job {job} {event} for {}: {fate}, tried {tried}", songs.join(" ")).unwrap();
            }
        }
    }
    writeln!(out, "everybody hears: {}", list(Audience::Everybody)).unwrap();
    for song in view.songs(None, 100).unwrap().iter().rev() {
        for link in view.links_of(song.id).unwrap() {
            writeln!(out, "link {} to song {} until {}", link.id, song.id, link.expires_at).unwrap();
        }
    }
}

/// What songs are found by, where somebody has said more than a title, and what users made of them.
fn library_shown(view: &View, out: &mut String) {
    let mut timed = false;
    for song in view.songs(None, 100).unwrap().iter().rev() {
        let credits = &song.credits;
        if *credits != Default::default() {
            let texts = [&credits.artist, &credits.album, &credits.genre].map(|text| text.as_deref().unwrap_or("-"));
            let numbers = [credits.year, credits.track].map(|n| n.map_or("-".into(), |n| n.to_string()));
            let words = view.index_entry(song.id).unwrap().map_or(Vec::new(), |entry| entry.words).join(" ");
            writeln!(out, "song {} is {} {}; words: {words}", song.id, texts.join(" / "), numbers.join(" ")).unwrap();
            if let Some(cover) = &credits.cover {
                let kept = view.files().unwrap().contains(&cover.hash);
                writeln!(out, "  with a picture of {}{}", cover.mime, if kept { "" } else { " that is lost" }).unwrap();
            }
        }
        let facts = view.job(song.job).unwrap().and_then(|job| job.facts().cloned());
        let (bpm, key) = (song.bpm(facts.as_ref()), song.key(facts.as_ref()));
        if bpm.is_some() || key.is_some() {
            timed = true;
            writeln!(out, "song {} has the tempo {bpm:?} and the key {key:?}", song.id).unwrap();
        }
        let plays = view.plays(song.id).unwrap();
        if plays > 0 {
            writeln!(out, "song {} was played {plays} times", song.id).unwrap();
        }
    }
    if timed {
        let songs = view.in_order(Order::Tempo, None, false, 100).unwrap();
        let songs: Vec<_> = songs.iter().map(|(_, song)| song.to_string()).collect();
        writeln!(out, "by tempo: {}", songs.join(" ")).unwrap();
    }
    for user in view.users(None, 100).unwrap().iter().rev() {
        let likes: Vec<_> = view.favourites_of(user.id).unwrap().iter().map(u64::to_string).collect();
        if !likes.is_empty() {
            writeln!(out, "user {} likes {}", user.id, likes.join(" ")).unwrap();
        }
        let played = view.in_order_played(user.id, None, true, 100).unwrap();
        let played: Vec<_> = played.iter().map(|(_, song)| song.to_string()).collect();
        if !played.is_empty() {
            writeln!(out, "user {} played {}", user.id, played.join(" ")).unwrap();
        }
        for playlist in view.playlists_of(user.id).unwrap() {
            let entries = view.entries(playlist.id).unwrap();
            let entries: Vec<_> = entries.iter().map(|entry| format!("{}:{}", entry.id, entry.song)).collect();
            let shares = view.playlist_shares(playlist.id).unwrap();
            let shares = if shares.is_empty() { String::new() } else { format!(" shared with {shares:?}") };
            let (id, name, songs, frames) = (playlist.id, &playlist.name, playlist.songs, playlist.frames);
            writeln!(out, "playlist {id} {name:?} of user {}, {songs} songs, {frames} frames{shares}", user.id)
                .unwrap();
            writeln!(out, "  entries: {}", entries.join(" ")).unwrap();
        }
    }
}

fn task_shown(task: &Task) -> String {
    let kind = match task.kind {
        TaskKind::Separate { first, count } => format!("segments {first}..{}", first + count),
        TaskKind::Merge => "merge".into(),
    };
    let state = match task.state {
        TaskState::Running { node, .. } => format!("running on {node}"),
        TaskState::Done { node } => format!("done by {node}"),
        other => format!("{other:?}").to_lowercase(),
    };
    let tries: Vec<_> = task
        .attempts
        .iter()
        .map(|tried| {
            let how = match tried.ending {
                None | Some(Ending::Done) => "",
                Some(Ending::Failed) => "!",
                Some(Ending::Expired) => "?",
                Some(Ending::HandedBack) => "<",
                Some(Ending::Withdrawn) => "~",
            };
            format!("{}@{}{how}", tried.number, tried.node)
        })
        .collect();
    let output = if task.output.is_some() { ", has output" } else { "" };
    format!("{} {kind}: {state}, attempt {}, tried [{}]{output}", task.id, task.attempt, tries.join(" "))
}

fn answer_shown(answer: &Result<Answer, Refusal>) -> String {
    match answer {
        Ok(Answer::Done) => "done".into(),
        Ok(Answer::Song(song)) => format!("song {} of job {}", song.id, song.job),
        Ok(Answer::Job(job)) => format!("job {job}"),
        Ok(Answer::Made(number)) => format!("made {number}"),
        Ok(Answer::Claimed(task)) => format!("claimed {}", task_shown(task)),
        Err(refusal) => format!("refused: {refusal}"),
    }
}

/// Runs a script and writes down what it should say.
fn run(script: &str) -> String {
    let mut machine = Machine::new();
    let (mut out, mut last) = (String::new(), None);
    for line in script.lines() {
        if line.starts_with('#') || line.is_empty() {
            writeln!(out, "{line}").unwrap();
        }
        let Some(command) = line.strip_prefix("> ") else {
            continue;
        };
        writeln!(out, "{line}").unwrap();
        let words: Vec<&str> = command.split_whitespace().collect();
        if words[0] == "history" {
            out.push_str(&histories(&machine.view()));
            continue;
        }
        if words[0] == "show" {
            out.push_str(&shown(&machine.view()));
            continue;
        }
        let (id, command) = match (words[0], last) {
            // The request before, as it comes when its answer was lost on the way.
            ("again", Some(before)) => before,
            _ => (Uuid::new_v4(), parse(&words, 1000 * (machine.index + 2))),
        };
        let (answer, events) = machine.apply_as(id, &command);
        last = Some((id, command));
        writeln!(out, "{}", answer_shown(&answer)).unwrap();
        if !events.is_empty() {
            let events: Vec<_> = events.iter().map(|event| format!("{event:?}")).collect();
            writeln!(out, "told: {}", events.join(", ")).unwrap();
        }
    }
    out
}

#[test]
fn scripts_say_what_happens() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/tests/scripts");
    let mut ran = 0;
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let expected = std::fs::read_to_string(&path).unwrap();
        let found = run(&expected);
        if std::env::var_os("UPDATE").is_some() {
            std::fs::write(&path, &found).unwrap();
        } else {
            assert!(found == expected, "{} now gives:\n{found}", path.display());
        }
        ran += 1;
    }
    assert!(ran > 0);
}

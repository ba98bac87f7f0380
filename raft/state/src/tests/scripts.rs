//! The state machine by example: each file in `scripts` has commands, and what comes of each below `---`.
//!
//! A command has the name and the arguments of a command of the state machine, in the order of the fields; fields that
//! seldom matter have defaults. Every command is applied a second after the one before. It prints its answer or refusal, and
//! then all that it changed: values with their changed fields, rows of indexes (`+` added, `-` removed), and events. Files
//! appear under their names, as `#file`. Left out are the rows of songs by sort key and word, which follow from the index
//! entries, and what every command changes: the answers for repeated requests, and counters.
//!
//! `UPDATE_GOLDENFILES=1 cargo test -p state` writes the files anew. Read the difference before you commit it.

use std::collections::BTreeSet;
use std::error::Error;
use std::fmt::Write;
use std::path::Path;
use std::str::FromStr;

use goldenscript::{ArgumentConsumer, Context};
use storage::blobs::Hash;
use test_each_file::test_each_path;
use uuid::Uuid;

use super::Machine;
use super::readable::{self, Names};
use crate::command::*;
use crate::{
    Actor, Audience, Cover, DeliveryAttempt, DeliveryStatus, Edit, Event, Facts, JobOptions, JobResult, JobState,
    LogLevel, LogLine, Model, ModelFile, Order, OrphanPolicy, Output, Plan, RateLimit, Sealed, Selection,
    SeparationSpec, SongEdit, Stems, TaskId, Verifier,
};

test_each_path! { in "./raft/state/src/tests/scripts" as script => run }

fn run(path: &Path) {
    goldenscript::run(&mut Script::new(), path).unwrap();
}

type Failure = Box<dyn Error>;

/// A state machine that runs a script.
struct Script {
    machine: Machine,
    /// The last request.
    last: Option<(Uuid, Command)>,
    names: Names,
}

impl goldenscript::Runner for Script {
    type Command = goldenscript::Command;

    fn run(&mut self, command: &goldenscript::Command, _: &Context) -> Result<String, Failure> {
        let at = 1000 * (self.machine.applied() + 2);
        let mut args = Args { args: command.consume_args(), names: &mut self.names, at };
        let shown = command.to_string();
        if let Some(found) = query(&self.machine, &command.name, &mut args)? {
            return Ok(format!("{shown} → {found}"));
        }
        let (request, parsed) = match &command.name[..] {
            "repeat" => self.last.clone().ok_or("there is no request before")?,
            name => (Uuid::new_v4(), parse(name, &mut args)?),
        };
        args.args.reject_next()?;
        let before = self.machine.view();
        let (outcome, changes) = self.machine.prepare(request, &parsed);
        let mut out = format!("{shown} → {}", readable::outcome(&outcome));
        readable::changes(&mut out, &before, changes.values(), &self.names);
        let events: Vec<_> = changes.events.iter().map(event).collect();
        if !events.is_empty() {
            write!(out, "\n  events: {}", events.join(", "))?;
        }
        self.machine.commit(changes);
        self.last = Some((request, parsed));
        Ok(out)
    }
}

impl Script {
    fn new() -> Self {
        Self { machine: Machine::new(), last: None, names: Names::default() }
    }
}

fn event(event: &Event) -> String {
    match event {
        Event::Song { id } => format!("song {id}"),
        Event::SongRemoved { id, audience } => format!("song {id} removed for {}", readable::audience(*audience)),
        Event::Job { id } => format!("job {id}"),
    }
}

/// The arguments of a command.
struct Args<'a> {
    args: ArgumentConsumer<'a>,
    names: &'a mut Names,
    at: u64,
}

impl Args<'_> {
    /// The next argument without a key.
    fn next<T: FromStr<Err: Error + 'static>>(&mut self) -> Result<T, Failure> {
        Ok(self.args.next_pos().ok_or("an argument is missing")?.parse()?)
    }

    /// The argument with this key.
    fn get<T: FromStr<Err: Error + 'static>>(&mut self, key: &str) -> Result<Option<T>, Failure> {
        Ok(self.args.take_key(key).map(str::parse).transpose()?)
    }

    fn get_or<T: FromStr<Err: Error + 'static>>(&mut self, key: &str, otherwise: T) -> Result<T, Failure> {
        Ok(self.get(key)?.unwrap_or(otherwise))
    }

    /// Whether the argument with this key is `yes`.
    fn is(&mut self, key: &str) -> Result<Option<bool>, Failure> {
        match self.args.take_key(key) {
            None => Ok(None),
            Some("yes") => Ok(Some(true)),
            Some("no") => Ok(Some(false)),
            Some(other) => Err(format!("{key} is yes or no, not {other}").into()),
        }
    }

    /// The parts of a list, which commas separate.
    fn list<T: FromStr<Err: Error + 'static>>(list: &str) -> Result<Vec<T>, Failure> {
        list.split(',').map(|part| Ok(part.parse()?)).collect()
    }

    fn lists<T: FromStr<Err: Error + 'static>>(&mut self, key: &str) -> Result<Option<Vec<T>>, Failure> {
        self.args.take_key(key).map(Self::list).transpose()
    }

    /// A file or secret with this name.
    fn hash(&mut self, name: &str) -> Hash {
        self.names.hash(name)
    }

    fn file(&mut self, otherwise: &str) -> Hash {
        let name = self.args.take_key("file").unwrap_or(otherwise);
        self.names.hash(name)
    }

    fn task(&mut self) -> Result<TaskId, Failure> {
        let text: String = self.next()?;
        let (job, index) = text.split_once('.').ok_or("a task is JOB.INDEX")?;
        Ok(TaskId { job: job.parse()?, index: index.parse()? })
    }

    fn audience(&mut self) -> Result<Audience, Failure> {
        Ok(match self.args.next_pos().ok_or("an audience is missing")? {
            "everybody" => Audience::Everybody,
            user => Audience::User(user.parse()?),
        })
    }

    fn actor(&mut self) -> Result<Actor, Failure> {
        Ok(match self.args.take_key("actor") {
            None => Actor::Admin,
            Some("anonymous") => Actor::Anonymous,
            Some(user) => Actor::User(user.parse()?),
        })
    }

    fn edit<T: FromStr<Err: Error + 'static>>(&mut self, key: &str) -> Result<Edit<T>, Failure> {
        Ok(match self.args.take_key(key) {
            None => Edit::Keep,
            Some("") => Edit::Clear,
            Some(text) => Edit::Set(text.parse()?),
        })
    }

    fn verifier(&mut self, key: &str) -> Option<Verifier> {
        self.args.take_key(key).map(|word| Verifier(word.into()))
    }

    fn log(&mut self) -> Vec<LogLine> {
        let lines = self.args.take_key("log").into_iter().flat_map(|log| log.split(','));
        lines.map(|line| LogLine { at: self.at, level: LogLevel::Info, message: line.into() }).collect()
    }

    /// `stems=a,b` or `two=a`; all stems without either.
    fn separation(&mut self) -> Result<SeparationSpec, Failure> {
        let selection = match (self.lists("stems")?, self.get("two")?) {
            (Some(stems), _) => Selection::Only(stems),
            (None, Some(stem)) => Selection::Two(stem),
            (None, None) => Selection::All,
        };
        Ok(SeparationSpec {
            model: self.get_or("model", "spectral".into())?,
            formats: self.lists("formats")?.unwrap_or_else(|| vec!["mp3:320".into(), "wav:int16".into()]),
            plan: Plan {
                frames: 44_100,
                segments: self.get_or("segments", 3)?,
                segments_per_task: self.get_or("per_task", 2)?,
            },
            selection,
        })
    }

    fn options(&mut self) -> Result<JobOptions, Failure> {
        Ok(JobOptions {
            max_attempts: self.get_or("attempts", 3)?,
            priority: self.get("priority")?.unwrap_or_default(),
            owner: self.get("owner")?.unwrap_or_default(),
            jobs_per_owner: self.get_or("limit", 0)?,
            external: self.is("external")?.unwrap_or(false),
        })
    }

    fn song(&mut self) -> Result<AddSong, Failure> {
        Ok(AddSong {
            title: self.next()?,
            hash: self.file("file"),
            size: 1000,
            format: "mp3".into(),
            uploader_id: self.get("user")?,
            credits: Box::default(),
            separation: self.separation()?,
            job: self.options()?,
            at: self.at,
        })
    }

    /// The drums in these formats.
    fn stems(&mut self, formats: &[&str]) -> Result<Stems, Failure> {
        let files = formats.iter().map(|format| ((*format).to_owned(), self.names.hash(format))).collect();
        let bpm: Option<f64> = self.get("bpm")?;
        let facts = bpm.map(|bpm| {
            let (tempo, key) = (Some((bpm, 0.9)), Some(("C major".into(), 0.9)));
            Box::new(Facts { tempo, key, ..Facts::default() })
        });
        Ok(Stems { files: [("drums".to_owned(), files)].into(), facts, peaks: None })
    }

    /// A part, or with `output=stems` the stems.
    fn output(&mut self, task: TaskId) -> Result<Output, Failure> {
        match self.args.take_key("output") {
            Some("stems") => Ok(Output::Stems(self.stems(&["mp3", "wav"])?)),
            _ => Ok(Output::Part(self.hash(&format!("part-{task}")))),
        }
    }
}

/// A look at the state that is no command.
fn query(machine: &Machine, name: &str, args: &mut Args<'_>) -> Result<Option<String>, Failure> {
    let view = machine.view();
    Ok(Some(match name {
        // Songs with status, tempo and key.
        "songs" => {
            let mut found = Vec::new();
            for song in view.songs(None, 100)?.iter().rev() {
                let job = view.job(song.job)?;
                let facts = job.as_ref().and_then(|job| job.facts());
                let mut shown = format!("{} {} {:?}", song.id, song.title, view.song_status(song)?);
                if let Some(bpm) = song.bpm(facts) {
                    write!(shown, " {bpm} bpm")?;
                }
                if let Some(key) = song.key(facts) {
                    write!(shown, " {key}")?;
                }
                found.push(shown);
            }
            found.join(", ")
        }
        // Songs in the order of their tempo.
        "by_tempo" => {
            let songs = view.in_order(Order::Tempo, None, false, 100)?;
            songs.iter().map(|(_, song)| song.to_string()).collect::<Vec<_>>().join(", ")
        }
        // The files that the state refers to.
        "files" => {
            let files: BTreeSet<_> = view.files()?.iter().map(|file| args.names.shown(&file.to_string())).collect();
            files.into_iter().collect::<Vec<_>>().join(", ")
        }
        _ => return Ok(None),
    }))
}

#[rustfmt::skip]
fn parse(name: &str, args: &mut Args<'_>) -> Result<Command, Failure> {
    let at = args.at;
    Ok(match name {
        "add_song" => args.song()?.into(),
        "add_song_once" => {
            let (key, client): (String, String) = (args.next()?, args.get_or("client", "client".into())?);
            let content: String = args.get_or("content", "the same".into())?;
            let (until, at) = (args.get_or("until", 1_000_000_000)?, args.get_or("at", at)?);
            let (key, owner, content) = (args.hash(&key), args.hash(&client), args.hash(&content));
            AddSongOnce { key, owner, content, until, add: args.song()?, at }.into()
        }
        "change_song" => {
            let (song, actor) = (args.next()?, args.actor()?);
            let cover = match args.edit::<String>("cover")? {
                Edit::Keep => Edit::Keep,
                Edit::Clear => Edit::Clear,
                Edit::Set(name) => Edit::Set(Cover { hash: args.hash(&name), mime: "image/png".into() }),
            };
            let edit = SongEdit {
                title: args.get("title")?,
                artist: args.edit("artist")?,
                album: args.edit("album")?,
                genre: args.edit("genre")?,
                year: args.edit("year")?,
                track: args.edit("track")?,
                bpm: args.edit("bpm")?,
                key: args.edit("key")?,
                cover,
            };
            ChangeSong { song, actor, edit: Box::new(edit) }.into()
        }
        "remove_song" => RemoveSong { song: args.next()? }.into(),

        "separate" => {
            let (song, actor) = (args.next()?, args.actor()?);
            Separate { song, actor, separation: args.separation()?, job: args.options()?, at }.into()
        }
        "drop_separation" => DropSeparation { song: args.next()?, actor: args.actor()?, job: args.next()? }.into(),

        "cancel_job" => CancelJob { job: args.next()?, actor: args.actor()?, at }.into(),
        "retry_job" => RetryJob { job: args.next()?, jobs_per_owner: args.get_or("limit", 0)?, at }.into(),
        "set_priority" => SetPriority { job: args.next()?, priority: args.next()?, actor: args.actor()? }.into(),
        "queue_job" => QueueJob { job: args.next()? }.into(),
        "reclaim_job" => ReclaimJob { job: args.next()?, at }.into(),
        "finish_job" => {
            let result = JobResult::Separation(args.stems(&["mp3"])?);
            FinishJob { job: args.next()?, result: Box::new(result), at }.into()
        }

        "claim_task" => {
            let (task, attempt, node) = (args.task()?, args.get_or("attempt", 1)?, args.get_or("node", 0)?);
            ClaimTask { task, attempt, node, at }.into()
        }
        "finish_task" => {
            let (task, attempt, node) = (args.task()?, args.get_or("attempt", 1)?, args.get_or("node", 0)?);
            FinishTask { task, attempt, node, output: args.output(task)?, lines: args.log(), at }.into()
        }
        "fail_task" => {
            let (task, attempt, node) = (args.task()?, args.get_or("attempt", 1)?, args.get_or("node", 0)?);
            let reason = args.get_or("reason", "broken".into())?;
            FailTask { task, attempt, node, reason, lines: args.log(), at }.into()
        }
        "release_task" => {
            let (task, attempt, node) = (args.task()?, args.get_or("attempt", 1)?, args.get_or("node", 0)?);
            ReleaseTask { task, attempt, node, lines: args.log(), at }.into()
        }
        "expire_task" => {
            let (task, attempt) = (args.task()?, args.get_or("attempt", 1)?);
            ExpireTask { task, attempt, reason: args.get_or("reason", "broken".into())?, at }.into()
        }
        "reopen_task" => ReopenTask { task: args.task()?, reason: args.get_or("reason", "broken".into())?, at }.into(),

        "add_model" => {
            let name = args.next()?;
            let files = vec![ModelFile { name: "file.th".into(), hash: args.file("file"), size: 1000 }];
            let (sources, weights) = (vec!["drums".into()], None);
            let model = Model { name, files, weights, sources, segment: 100, stride: 75, added_at: at };
            AddModel { model: Box::new(model) }.into()
        }
        "remove_model" => RemoveModel { name: args.next()? }.into(),

        "retire_node" => RetireNode { node: args.next()? }.into(),

        "register" => {
            let password = args.verifier("password").unwrap_or(Verifier("old".into()));
            let closed = args.is("closed")?.unwrap_or(false);
            Register { name: args.next()?, email: args.get("email")?, password, closed, at }.into()
        }
        "change_user" => ChangeUser {
            user: args.next()?,
            name: args.get("name")?,
            email: args.get("email")?,
            password: args.verifier("password"),
            old_password: args.verifier("old"),
            administrator: args.is("administrator")?,
            keep: args.get("keep")?,
        }.into(),
        "remove_user" => {
            let songs = match args.args.take_key("songs") {
                None => None,
                Some("delete") => Some(OrphanPolicy::Delete),
                Some("transfer") => Some(OrphanPolicy::Transfer),
                Some(other) => return Err(format!("there is no policy {other}").into()),
            };
            RemoveUser { user: args.next()?, songs }.into()
        }
        "open_session" => {
            let (user, secret) = (args.next()?, args.next::<String>()?);
            let clears = args.get::<String>("clears")?.map(|key| args.hash(&key)).into_iter().collect();
            let password = args.verifier("password").unwrap_or(Verifier("old".into()));
            let (expires_at, at) = (args.get_or("expires", 1_000_000_000)?, args.get_or("at", at)?);
            let (secret, user_agent) = (args.hash(&secret), "browser".into());
            OpenSession { secret, user, password, user_agent, expires_at, clears, at }.into()
        }
        "end_session" => EndSession { user: args.next()?, session: args.next()? }.into(),
        "end_sessions" => EndSessions { user: args.next()?, keep: args.get("keep")? }.into(),
        "make_token" => {
            let (user, name): (u64, String) = (args.next()?, args.next()?);
            let (secret, sealed) = (args.hash(&name), Sealed(Vec::new()));
            MakeToken { secret, sealed, user, name, expires_at: args.get("expires")?, at }.into()
        }
        "revoke_token" => RevokeToken { user: args.next()?, token: args.next()? }.into(),

        "check_rate_limits" => {
            let (keys, at) = (args.next::<String>()?, args.get_or("at", at)?);
            let limit = |key| RateLimit { key: args.hash(key), max: 2, window: 5000 };
            CheckRateLimits { limits: keys.split(',').map(limit).collect(), at }.into()
        }

        "share_song" => {
            ShareSong { song: args.next()?, owner: args.get("owner")?, audience: args.audience()? }.into()
        }
        "unshare_song" => UnshareSong { song: args.next()?, audience: args.audience()? }.into(),
        "make_link" => {
            let (song, secret) = (args.next()?, args.next::<String>()?);
            let expires_at = args.get_or("expires", 1_000_000_000)?;
            MakeLink { secret: args.hash(&secret), song, expires_at, at }.into()
        }
        "remove_link" => RemoveLink { song: args.next()?, link: args.next()? }.into(),

        "make_hook" => {
            let ends = vec![JobState::Done, JobState::Failed, JobState::Cancelled];
            let events = args.lists("events")?.unwrap_or(ends);
            MakeHook { user: args.next()?, url: args.next()?, events, sealed: Sealed(Vec::new()), at }.into()
        }
        "change_hook" => ChangeHook {
            user: args.next()?,
            hook: args.next()?,
            url: args.get("url")?,
            events: args.lists("events")?,
            active: args.is("active")?,
        }.into(),
        "remove_hook" => RemoveHook { user: args.next()?, hook: args.next()? }.into(),
        "record_delivery" => {
            let status = match (args.get("again")?, args.is("given_up")?) {
                (Some(at), _) => DeliveryStatus::Pending { at },
                (None, Some(true)) => DeliveryStatus::GivenUp,
                (None, _) => DeliveryStatus::Delivered,
            };
            let attempt = DeliveryAttempt { at, took: 5, status: Some(args.get_or("status", 200)?), error: None };
            let (hook, delivery, number) = (args.next()?, args.next()?, args.get_or("attempt", 1)?);
            RecordDelivery { hook, delivery, number, status, attempt }.into()
        }

        "make_playlist" => {
            MakePlaylist { owner: args.next()?, name: args.next()?, description: String::new(), at }.into()
        }
        "change_playlist" => {
            ChangePlaylist { playlist: args.next()?, name: Some(args.next()?), description: None, at }.into()
        }
        "remove_playlist" => RemovePlaylist { playlist: args.next()? }.into(),
        "add_to_playlist" => AddToPlaylist {
            playlist: args.next()?,
            songs: Args::list(&args.next::<String>()?)?,
            place: args.get("place")?,
            without: args.lists("without")?.unwrap_or_default(),
            at,
        }.into(),
        "remove_from_playlist" => RemoveFromPlaylist { playlist: args.next()?, entry: args.next()?, at }.into(),
        "reorder_playlist" => {
            ReorderPlaylist { playlist: args.next()?, entries: Args::list(&args.next::<String>()?)?, at }.into()
        }
        "share_playlist" => SharePlaylist { playlist: args.next()?, audience: args.audience()? }.into(),
        "unshare_playlist" => UnsharePlaylist { playlist: args.next()?, audience: args.audience()? }.into(),

        "set_favourite" => {
            let favourite = args.is("favourite")?.unwrap_or(true);
            SetFavourite { user: args.next()?, song: args.next()?, favourite }.into()
        }
        "count_play" => {
            let user: Option<u64> = args.get("user")?;
            let listener = user.map_or("anonymous".into(), |user| format!("user-{user}"));
            let limit = RateLimit { key: args.hash(&format!("plays-of-{listener}")), max: 3, window: 1_000_000 };
            CountPlay { song: args.next()?, user, limit, at }.into()
        }
        other => return Err(format!("there is no command {other}").into()),
    })
}

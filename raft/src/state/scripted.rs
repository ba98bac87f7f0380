//! The state machine by example: each file in `scripts/` holds commands, and below each what comes of it.
//!
//! An attempt is shown as `number@node`, and behind it `!` when it failed, `?` when it expired, `<` when it was handed
//! back and `~` when it was withdrawn.
//!
//! `UPDATE=1 cargo test -p raft` writes the files anew; read the difference before you commit it.

use std::fmt::Write;
use std::path::Path;

use storage::blobs::Hash;
use storage::database::{Batch, Database};
use tempfile::TempDir;
use uuid::Uuid;

use super::{
    Ending, Event, LEVEL, Model, ModelFile, Output, Plan, Priority, Road, Stems, Task, TaskId, TaskKind, TaskState,
    Transaction, View, apply,
};
use crate::command::{Answer, Command, Refusal};

const GENERATION: u8 = 0;

/// A state machine on a disk of its own.
pub(super) struct Machine {
    _folder: TempDir,
    database: Database,
    index: u64,
}

impl Machine {
    /// A cluster that takes the commands of this level.
    pub(super) fn at_level(level: u32) -> Self {
        let folder = TempDir::new().unwrap();
        let database = Database::open(folder.path()).unwrap();
        let mut machine = Self { _folder: folder, database, index: 0 };
        machine.apply(Uuid::new_v4(), &Command::SetLevel { level, cluster: Uuid::nil() }).0.unwrap();
        machine
    }

    pub(super) fn view(&self) -> View {
        View::new(self.database.clone(), GENERATION)
    }

    pub(super) fn apply(&mut self, id: Uuid, command: &Command) -> (Result<Answer, Refusal>, Vec<Event>) {
        self.index += 1;
        let mut state = Transaction::over(self.view());
        let answer = apply(&mut state, &id, command, self.index, 0).unwrap();
        let mut batch = Batch::new();
        let events = state.finish().write(GENERATION, &mut batch);
        self.database.write(batch).unwrap();
        (answer, events.into_iter().collect())
    }
}

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

fn parse(words: &[&str], at: u64) -> Command {
    let attempt = number(words, "attempt", 1) as u32;
    let node = number(words, "node", 0);
    let reason = value(words, "reason").unwrap_or("broken").replace('_', " ");
    let task = || task_id(words[1]);
    let id = || words[1].parse().unwrap();
    match words[0] {
        "add" => Command::AddSong {
            title: words[1].into(),
            hash: hash(value(words, "file").unwrap_or("file")),
            size: 1000,
            format: "mp3".into(),
            uploader_id: None,
            credits: Box::default(),
            plan: Plan {
                frames: 44_100,
                segments: number(words, "segments", 3) as u32,
                segments_per_task: number(words, "per-task", 2) as u32,
            },
            model: value(words, "model").unwrap_or("spectral").into(),
            formats: value(words, "formats").unwrap_or("mp3:320,wav:int16").split(',').map(str::to_owned).collect(),
            max_attempts: number(words, "attempts", 3) as u32,
            priority: value(words, "priority").map_or(Priority::Normal, |word| word.parse().unwrap()),
            owner: value(words, "owner").unwrap_or_default().into(),
            jobs_per_owner: number(words, "limit", 0) as u32,
            road: if words.contains(&"outside") { Road::Outside } else { Road::Inside },
            at,
        },
        "remove" => Command::RemoveSong { song: id(), at },
        "claim" => Command::ClaimTask { task: task(), attempt, node, at },
        "finish" => Command::FinishTask { task: task(), attempt, node, output: Output::Part(hash(words[1])), at },
        "send" => Command::SendOutside { job: id() },
        "inside" => Command::TakeInside { job: id() },
        "deliver" => Command::FinishOutside { job: id(), stems: Box::new(stems(&["mp3"])), at },
        "merge" => {
            let output = Output::Stems(stems(&["mp3", "wav"]));
            Command::FinishTask { task: task(), attempt, node, output, at }
        }
        "fail" => Command::FailTask { task: task(), attempt, node, reason, at },
        "release" => Command::ReleaseTask { task: task(), attempt, node, at },
        "expire" => Command::ExpireTask { task: task(), attempt, reason, at },
        "reopen" => Command::ReopenTask { task: task(), reason, at },
        "cancel" => Command::CancelJob { job: id(), asker: asker(words), at },
        "retry" => Command::RetryJob { job: id(), jobs_per_owner: number(words, "limit", 0) as u32, at },
        "level" => Command::SetLevel { level: words[1].parse().unwrap(), cluster: Uuid::nil() },
        "priority" => Command::SetPriority { job: id(), priority: words[2].parse().unwrap(), asker: asker(words) },
        "add-model" => Command::AddModel {
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
        },
        "remove-model" => Command::RemoveModel { name: words[1].into() },
        other => panic!("there is no command {other}"),
    }
}

/// The whole state, for people.
fn shown(view: &View) -> String {
    let mut out = String::new();
    for song in view.songs(None, 100).unwrap().iter().rev() {
        let status = view.song_status(song).unwrap();
        writeln!(out, "song {} {:?} job {} {status:?}", song.id, song.title, song.job).unwrap();
    }
    for job in view.jobs(None, 100).unwrap().iter().rev() {
        let error = job.error.as_ref().map_or(String::new(), |error| format!(" because {error}"));
        let owner = if job.owner.is_empty() { String::new() } else { format!(" of {}", job.owner) };
        let priority = if job.priority == Priority::Normal { String::new() } else { format!(" {}", job.priority) };
        let road = match job.road {
            Road::Inside => String::new(),
            road => format!(" {}", format!("{road:?}").to_lowercase()),
        };
        writeln!(out, "job {} {}{road}{priority}{owner} {}/{}{error}", job.id, job.state, job.done, job.tasks).unwrap();
        for task in view.tasks(job.id).unwrap() {
            writeln!(out, "  {}", task_shown(&task)).unwrap();
        }
    }
    for model in view.models().unwrap() {
        writeln!(out, "model {} of {} file", model.name, model.files.len()).unwrap();
    }
    let open: Vec<_> = view.open_tasks().unwrap().iter().map(|task| task.id.to_string()).collect();
    writeln!(out, "open: {}", open.join(" ")).unwrap();
    let outside: Vec<_> = view.outside().unwrap().iter().map(|job| job.id.to_string()).collect();
    if !outside.is_empty() {
        writeln!(out, "outside: {}", outside.join(" ")).unwrap();
    }
    out
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
        Ok(Answer::Claimed(task)) => format!("claimed {}", task_shown(task)),
        Err(refusal) => format!("refused: {refusal}"),
    }
}

/// Runs a script and writes down what it should say.
fn run(script: &str) -> String {
    // A script may begin at an older level.
    let level = if script.contains("> level ") { 1 } else { LEVEL };
    let mut machine = Machine::at_level(level);
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
        if words[0] == "show" {
            out.push_str(&shown(&machine.view()));
            continue;
        }
        let (id, command) = match (words[0], last) {
            // The request before, as it comes when its answer was lost on the way.
            ("again", Some(before)) => before,
            _ => (Uuid::new_v4(), parse(&words, 1000 * (machine.index + 1))),
        };
        let (answer, events) = machine.apply(id, &command);
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
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/state/scripts");
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

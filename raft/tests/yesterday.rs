//! What older programs have left on a disk is read and gone on with.
//!
//! `yesterday/level-N` is the whole database of a node alone in its cluster, written by the last program of that level:
//! a table, a key and a value in each line. When the level is to be raised, the last program before writes its own first:
//! `UPDATE=1 cargo test -p raft --test yesterday`.

#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used)]

mod nodes;

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use nodes::{add, free_ports, start, wait_until};
use state::View;
use state::command::{Answer, Command, Refusal};
use state::{
    Asker, Cover, Credits, Facts, Job, JobState, LEVEL, Model, ModelFile, Output, Priority, Road, SongStatus, Stems,
    Task, TaskId, TaskState,
};
use storage::blobs::Hash;
use storage::database::{Batch, Database, Table};
use tempfile::TempDir;

const TABLES: [(&str, Table); 3] = [("meta", Table::Meta), ("log", Table::Log), ("state", Table::State)];

fn file(level: u32) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/yesterday/level-{level}"))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").unwrap();
        text
    })
}

fn unhex(text: &str) -> Vec<u8> {
    (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap()).collect()
}

fn hash(name: &str) -> Hash {
    Hash::of(name.as_bytes())
}

fn task(job: u64, index: u32) -> TaskId {
    TaskId { job, index }
}

fn stems() -> Stems {
    Stems {
        files: [("drums".to_owned(), [("mp3".to_owned(), hash("mp3")), ("wav".to_owned(), hash("wav"))].into())].into(),
        facts: Some(Box::new(Facts { loudness: Some(-14.5), key: Some(("F# minor".into(), 0.5)), ..Facts::default() })),
        peaks: Some(hash("peaks")),
    }
}

fn model() -> Model {
    Model {
        name: "magic".into(),
        files: vec![ModelFile { name: "magic.th".into(), hash: hash("magic"), size: 7 }],
        weights: Some(vec![vec![1.0, 0.5]]),
        sources: vec!["drums".into(), "vocals".into()],
        segment: 343_980,
        stride: 257_985,
        added_at: 3,
    }
}

fn song(title: &str) -> Command {
    let mut song = add(title);
    if let Command::AddSong { credits, uploader_id, .. } = &mut song {
        let cover = Some(Cover { hash: hash("cover"), mime: "image/jpeg".into() });
        **credits = Credits { artist: Some("Ann".into()), cover, ..Credits::default() };
        *uploader_id = Some(7);
    }
    song
}

/// What happens in the life of every level, in the order of the levels.
fn life() -> Vec<Command> {
    let (at, node) = (1_000, 0);
    let claim = |task, attempt| Command::ClaimTask { task, attempt, node, at };
    let part = |task: TaskId, attempt| Command::FinishTask {
        task,
        attempt,
        node,
        output: Output::Part(hash(&task.to_string())),
        lines: Vec::new(),
        at,
    };
    let mut life = vec![
        song("Done"),
        claim(task(1, 0), 1),
        part(task(1, 0), 1),
        claim(task(1, 1), 1),
        part(task(1, 1), 1),
        claim(task(1, 2), 1),
        Command::FinishTask {
            task: task(1, 2),
            attempt: 1,
            node,
            output: Output::Stems(stems()),
            lines: Vec::new(),
            at,
        },
        // The same file: the same job.
        song("Done"),
        song("Running"),
        claim(task(2, 0), 1),
        Command::ReleaseTask { task: task(2, 0), attempt: 1, node, lines: Vec::new(), at },
        claim(task(2, 0), 2),
        Command::FailTask { task: task(2, 0), attempt: 2, node, reason: "broken".into(), lines: Vec::new(), at },
        claim(task(2, 0), 3),
        claim(task(2, 1), 1),
        part(task(2, 1), 1),
        Command::ReopenTask { task: task(2, 1), reason: "its part is lost".into(), at },
        claim(task(2, 1), 2),
        Command::ExpireTask { task: task(2, 1), attempt: 2, reason: "its worker is gone".into(), at },
        song("Cancelled"),
        Command::CancelJob { job: 3, asker: Asker::Anybody, at },
        Command::AddModel { model: Box::new(model()) },
        song("Gone"),
        Command::RemoveSong { song: 5, at },
        // Refused, which is remembered as well.
        Command::RemoveSong { song: 77, at },
    ];
    // Level 2.
    life.push(Command::RetireNode { node: 9 });
    // Level 3.
    let mut urgent = song("Urgent");
    if let Command::AddSong { owner, jobs_per_owner, priority, .. } = &mut urgent {
        (*owner, *jobs_per_owner, *priority) = ("ann".into(), 1, Priority::Low);
    }
    life.extend([urgent, Command::SetPriority { job: 5, priority: Priority::High, asker: Asker::Anybody }]);
    // Level 4.
    let mut outside = song("Outside");
    if let Command::AddSong { road, .. } = &mut outside {
        *road = Road::Outside;
    }
    life.extend([
        outside,
        Command::SendOutside { job: 6 },
        Command::FinishOutside { job: 6, stems: Box::new(stems()), at },
    ]);
    life
}

/// Lives the life, and writes down what it leaves on the disk.
async fn write_down() {
    let root = TempDir::new().unwrap();
    let members = free_ports(1);
    let node = start(0, &members, root.path()).await.unwrap();
    wait_until("the level", async || node.cluster.peek().mark().unwrap().is_some()).await;
    for command in life() {
        let _answer = node.cluster.propose(command).await.unwrap();
    }
    node.stop().await;
    let database = opened(root.path()).await;
    let mut text = String::new();
    for (name, table) in TABLES {
        for pair in database.scan(table, &[], &[255; 40]).unwrap() {
            let (key, value) = pair.unwrap();
            writeln!(text, "{name} {} {}", hex(&key), hex(&value)).unwrap();
        }
    }
    std::fs::write(file(LEVEL), text).unwrap();
}

async fn opened(root: &Path) -> Database {
    let folder = root.join("0/database");
    wait_until("the database to be free", async || Database::open(&folder).is_ok()).await;
    Database::open(&folder).unwrap()
}

/// Everything in a state that people and nodes ask for, but the cluster's name and level.
fn everything(view: &View) -> impl PartialEq + std::fmt::Debug + use<> {
    let songs = view.songs(None, 100).unwrap();
    let statuses: Vec<SongStatus> = songs.iter().map(|song| view.song_status(song).unwrap()).collect();
    let jobs = view.jobs(None, 100).unwrap();
    let tasks: Vec<Vec<Task>> = jobs.iter().map(|job| view.tasks(job.id).unwrap()).collect();
    let open = view.open_tasks().unwrap();
    let files: BTreeSet<Hash> = view.references().unwrap().into_iter().collect();
    let rest = (view.models().unwrap(), view.retired().unwrap(), view.outside().unwrap());
    (songs, statuses, jobs, tasks, open, files, rest)
}

/// Starts this program on what an older one has left, but for what is `forgotten`.
async fn gone_on_with(left: &str, forgotten: impl Fn(&str, &[u8]) -> bool, root: &TempDir) -> nodes::Node {
    let mut batch = Batch::new();
    for line in left.lines() {
        let words: Vec<&str> = line.split(' ').collect();
        let (_, table) = TABLES.into_iter().find(|(name, _)| *name == words[0]).unwrap();
        let key = unhex(words[1]);
        if !forgotten(words[0], &key) {
            batch.put(table, key, unhex(words.get(2).copied().unwrap_or_default()));
        }
    }
    opened(root.path()).await.write(batch).unwrap();
    let node = start(0, &free_ports(1), root.path()).await.unwrap();
    wait_until("the newest level", async || {
        node.cluster.peek().mark().unwrap().is_some_and(|mark| mark.level == LEVEL)
    })
    .await;
    node
}

async fn is_gone_on_with(level: u32) {
    let left = std::fs::read_to_string(file(level)).unwrap();
    let (root, empty) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    let node = gone_on_with(&left, |_, _| false, &root).await;
    let view = node.cluster.read().await.unwrap();

    let titles: Vec<String> = view.songs(None, 100).unwrap().into_iter().map(|song| song.title).collect();
    let newest = match level {
        1 | 2 => &[][..],
        3 => &["Urgent"],
        _ => &["Outside", "Urgent"],
    };
    assert_eq!(titles, [newest, &["Cancelled", "Running", "Done", "Done"]].concat());
    let job = |id| -> Job { view.job(id).unwrap().unwrap() };
    assert_eq!((job(1).state, job(1).stems), (JobState::Done, Some(stems())));
    assert_eq!(view.song(1).unwrap().unwrap().credits.cover.unwrap().hash, hash("cover"));
    assert_eq!((job(2).state, job(3).state), (JobState::Running, JobState::Cancelled));
    assert!(matches!(view.task(task(2, 0)).unwrap().unwrap().state, TaskState::Running { node: 0, .. }));
    assert_eq!(view.models().unwrap(), [model()]);
    assert_eq!(view.retired().unwrap().contains(&9), level >= 2);
    if level >= 3 {
        assert_eq!((job(5).owner.as_str(), job(5).priority), ("ann", Priority::High));
    }
    if level >= 4 {
        assert_eq!((job(6).road, job(6).stems), (Road::Sent, Some(stems())));
    }

    // The log alone leads this program to the state that the older one came to.
    let again = gone_on_with(&left, |table, key| table == "state" || key.starts_with(b"state/"), &empty).await;
    let applied = again.cluster.read().await.unwrap();
    assert_eq!(everything(&applied), everything(&view));
    // At the first level it had no name, and got one just now.
    let name = |view: &View| view.mark().unwrap().unwrap().cluster;
    assert!(level == 1 || name(&applied) == name(&view));
    again.stop().await;

    // A worker that had its task before is not told that it lost it, and the song comes to its end.
    let propose = async |command| node.cluster.propose(command).await.unwrap();
    let (at, me) = (2_000, 0);
    for (index, attempt, claimed) in [(0, 3, true), (1, 3, false), (2, 2, false)] {
        let task = task(2, index);
        if !claimed {
            let claimed = propose(Command::ClaimTask { task, attempt, node: me, at }).await;
            assert!(matches!(claimed, Ok(Answer::Claimed(_))), "{task}: {claimed:?}");
        }
        let output = if index == 2 { Output::Stems(stems()) } else { Output::Part(hash("part")) };
        let finish = Command::FinishTask { task, attempt, node: me, output, lines: Vec::new(), at };
        assert_eq!(propose(finish).await, Ok(Answer::Done));
    }
    assert_eq!(node.cluster.read().await.unwrap().job(2).unwrap().unwrap().state, JobState::Done);
    assert_eq!(propose(Command::RemoveSong { song: 5 + 77, at }).await, Err(Refusal::NoSuchSong(82)));
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_every_level_has_left_is_gone_on_with() {
    if std::env::var_os("UPDATE").is_some() {
        write_down().await;
    }
    for level in 1..LEVEL {
        is_gone_on_with(level).await;
    }
}

//! Random commands: the invariants hold after each, and two replicas are equal.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use proptest::prelude::*;
use storage::blobs::Hash;
use uuid::Uuid;

use super::{Machine, add_song, separation};
use crate::command::*;
use crate::key::Range;
use crate::songs::index::rows;
use crate::tables::*;
use crate::{
    Actor, Audience, DeliveryAttempt, DeliveryStatus, Edit, Facts, IndexEntry, JobOptions, JobResult, JobState,
    LogLevel, LogLine, OrphanPolicy, Output, RateLimit, Read, Sealed, Selection, SeparationSpec, SongEdit, Stems, Task,
    TaskId, TaskState, Verifier, folded,
};

fn stems() -> Stems {
    let file = Hash::of(b"drums");
    let facts = Facts { loudness: None, loudness_range: None, true_peak: None, tempo: Some((120.5, 1.0)), key: None };
    Stems {
        files: [("drums".to_owned(), [("mp3".to_owned(), file)].into())].into(),
        facts: Some(Box::new(facts)),
        peaks: Some(file),
    }
}

fn actor() -> impl Strategy<Value = Actor> {
    prop::sample::select(vec![Actor::Anonymous, Actor::User(1), Actor::User(2)])
}

fn accounts() -> impl Strategy<Value = Command> {
    let secret = (0u8..4).prop_map(|secret| Hash::of(&[secret]));
    let audience = prop::sample::select(vec![Audience::Everybody, Audience::User(1), Audience::User(2)]);
    let owner = prop::sample::select(vec![None, Some(1), Some(2)]);
    let word = || Verifier("word".into());
    prop_oneof![
        3 => prop::sample::select(vec!["Ada", "ada", "Bob", "cleo"]).prop_map(move |name| Command::from(Register {
            name: name.into(),
            email: None,
            password: word(),
            closed: false,
            at: 0,
        })),
        2 => (1u64..4, secret.clone(), 0u64..3).prop_map(move |(user, secret, at)| Command::from(OpenSession {
            secret,
            user,
            password: word(),
            user_agent: String::new(),
            expires_at: at,
            clears: vec![Hash::of(b"tries")],
            at: at * 100_000_000,
        })),
        1 => (1u64..4, 1u64..6).prop_map(|(user, session)| Command::from(EndSession { user, session })),
        1 => (1u64..4).prop_map(|user| Command::from(EndSessions { user, keep: Some(2) })),
        1 => (1u64..4, secret.clone()).prop_map(|(user, secret)| Command::from(MakeToken {
            secret,
            sealed: Sealed(Vec::new()),
            user,
            name: String::new(),
            expires_at: Some(1),
            at: 0,
        })),
        1 => (1u64..4, 1u64..4).prop_map(|(user, token)| Command::from(RevokeToken { user, token })),
        1 => (0u64..20).prop_map(|at| Command::from(CheckRateLimits {
            limits: vec![RateLimit { key: Hash::of(b"tries"), max: 3, window: 5 }],
            at,
        })),
        1 => (1u64..4, any::<bool>()).prop_map(|(user, administrator)| Command::from(ChangeUser {
            user,
            name: None,
            email: None,
            password: None,
            old_password: None,
            administrator: Some(administrator),
            keep: None,
        })),
        1 => (1u64..4, prop::sample::select(vec![None, Some(OrphanPolicy::Delete), Some(OrphanPolicy::Transfer)]))
            .prop_map(|(user, songs)| Command::from(RemoveUser { user, songs })),
        3 => (1u64..6, owner, audience.clone())
            .prop_map(|(song, owner, audience)| Command::from(ShareSong { song, owner, audience })),
        1 => (1u64..6, audience).prop_map(|(song, audience)| Command::from(UnshareSong { song, audience })),
        1 => (1u64..6, secret).prop_map(|(song, secret)| Command::from(MakeLink { secret, song, expires_at: 1, at: 0 })),
        1 => (1u64..6, 1u64..4).prop_map(|(song, link)| Command::from(RemoveLink { song, link })),
    ]
}

fn library() -> impl Strategy<Value = Command> {
    let (song, user, playlist) = (1u64..6, 1u64..4, 1u64..4);
    let text =
        prop::sample::select(vec![Edit::Keep, Edit::Clear, Edit::Set("Ænima".to_owned()), Edit::Set("b c".into())]);
    let bpm = prop::sample::select(vec![Edit::Keep, Edit::Clear, Edit::Set(9000)]);
    let audience = prop::sample::select(vec![Audience::Everybody, Audience::User(1), Audience::User(2)]);
    let at = 0u64..20;
    prop_oneof![
        2 => (song.clone(), actor(), text, bpm).prop_map(|(song, actor, artist, bpm)| Command::from(ChangeSong {
            song,
            actor,
            edit: Box::new(SongEdit { artist, bpm, ..SongEdit::default() }),
        })),
        2 => user.clone().prop_map(|owner| Command::from(MakePlaylist {
            owner,
            name: "list".into(),
            description: String::new(),
            at: 0,
        })),
        3 => (
            playlist.clone(),
            prop::collection::vec(song.clone(), 0..4),
            prop::option::of(0u64..3),
            prop::collection::vec(1u64..6, 0..2),
        )
            .prop_map(|(playlist, songs, place, without)| Command::from(AddToPlaylist {
                playlist,
                songs,
                place,
                without,
                at: 0,
            })),
        1 => (playlist.clone(), 1u64..6).prop_map(|(playlist, entry)| Command::from(RemoveFromPlaylist { playlist, entry, at: 0 })),
        1 => (playlist.clone(), prop::collection::vec(1u64..4, 0..4))
            .prop_map(|(playlist, entries)| Command::from(ReorderPlaylist { playlist, entries, at: 0 })),
        1 => playlist.clone().prop_map(|playlist| Command::from(RemovePlaylist { playlist })),
        1 => (playlist.clone(), audience.clone())
            .prop_map(|(playlist, audience)| Command::from(SharePlaylist { playlist, audience })),
        1 => (playlist, audience).prop_map(|(playlist, audience)| Command::from(UnsharePlaylist { playlist, audience })),
        2 => (user.clone(), song.clone(), any::<bool>())
            .prop_map(|(user, song, favourite)| Command::from(SetFavourite { user, song, favourite })),
        3 => (song, prop::option::of(user), at).prop_map(|(song, user, at)| Command::from(CountPlay {
            song,
            user,
            limit: RateLimit { key: Hash::of(b"tries"), max: 9, window: 5 },
            at,
        })),
    ]
}

/// Every song stands in the rows of its index entry and in no others. The songs and users of playlists, favourites and plays
/// exist.
fn check_library(machine: &Machine) {
    let view = machine.view();
    let songs = view.songs(None, 100).unwrap();
    let users: Vec<u64> = view.users(None, 100).unwrap().iter().map(|user| user.id).collect();
    let mut expected = BTreeSet::new();
    for song in &songs {
        let facts = view.job(song.job).unwrap().and_then(|job| job.facts().cloned());
        let entry = IndexEntry::of(song, facts.as_ref(), view.plays(song.id).unwrap());
        assert_eq!(view.index_entry(song.id).unwrap().as_ref(), Some(&entry), "{song:?}");
        expected.extend(rows(&entry, song.id));
    }
    let keys = |range: Range| view.scan(range, usize::MAX).unwrap().into_iter().map(|(key, _)| key);
    let count = |range: Range| view.count(range, usize::MAX).unwrap();
    assert_eq!(keys(SORTED.all()).chain(keys(WORDS.all())).collect::<BTreeSet<_>>(), expected);
    assert_eq!(count(INDEX_ENTRIES.all()), songs.len());

    let (mut entered, mut lists, mut shares) = (BTreeSet::new(), 0, 0);
    for playlist in users.iter().flat_map(|user| view.playlists_of(*user).unwrap()) {
        let entries = view.entries(playlist.id).unwrap();
        let numbers: BTreeSet<u64> = entries.iter().map(|entry| entry.id).collect();
        assert_eq!((numbers.len(), playlist.songs), (entries.len(), entries.len() as u64));
        let songs: Vec<_> =
            entries.iter().map(|entry| songs.iter().find(|song| song.id == entry.song).unwrap()).collect();
        assert_eq!(songs.iter().map(|song| song.frames).sum::<u64>(), playlist.frames);
        entered.extend(songs.iter().map(|song| PLAYLISTS_WITH_SONG.key((song.id, playlist.owner, playlist.id))));
        lists += 1;
        for audience in view.playlist_shares(playlist.id).unwrap() {
            assert!(view.is_playlist_for(playlist.id, &[audience]).unwrap());
            assert!(audience == Audience::Everybody || users.contains(&audience.number()), "{audience:?} is gone");
            shares += 1;
        }
    }
    assert_eq!((count(PLAYLISTS.all()), count(PLAYLISTS_OF_USER.all())), (lists, lists));
    assert_eq!((count(PLAYLISTS_FOR.all()), count(PLAYLIST_SHARES.all())), (shares, shares));
    assert_eq!(keys(PLAYLISTS_WITH_SONG.all()).collect::<BTreeSet<_>>(), entered);

    // Each row has its counterpart, and both a user and a song.
    let (mut liked, mut played) = (0, 0);
    for (user, song) in users.iter().flat_map(|user| songs.iter().map(move |song| (*user, song.id))) {
        liked += usize::from(view.is_favourite(user, song).unwrap());
        if let Some(last) = view.played(user, song).unwrap() {
            assert!(view.has(PLAYED_AT, (user, last.at, song)).unwrap());
            played += 1;
        }
    }
    assert_eq!((count(FAVOURITES.all()), count(FAVOURED_BY.all())), (liked, liked));
    assert_eq!((count(PLAYED.all()), count(PLAYED_AT.all()), count(PLAYED_BY.all())), (played, played, played));
    assert!(count(PLAYS.all()) <= songs.len());
}

/// Everything of a user is removed together with the user, the indexes are right, and there is an administrator.
fn check_accounts(machine: &Machine) {
    let view = machine.view();
    let users = view.users(None, 100).unwrap();
    assert!(users.is_empty() || users.iter().any(|user| user.administrator), "{users:?}");
    let songs = view.songs(None, 100).unwrap();
    let mut audiences = vec![Audience::Everybody];
    for user in &users {
        assert_eq!(view.user_named(&folded(&user.name).unwrap()).unwrap().unwrap(), *user);
        for session in view.sessions_of(user.id).unwrap() {
            assert_eq!(session.user, user.id);
        }
        for token in view.tokens_of(user.id).unwrap() {
            assert_eq!(token.user, user.id);
        }
        audiences.push(Audience::User(user.id));
    }
    for gone in (1..6).filter(|id| users.iter().all(|user| user.id != *id)) {
        assert!(view.sessions_of(gone).unwrap().is_empty() && view.tokens_of(gone).unwrap().is_empty());
    }
    for song in &songs {
        assert!(song.uploader_id.is_none_or(|owner| users.iter().any(|user| user.id == owner)), "{song:?}");
        let shares = view.shares_of(song.id).unwrap();
        for audience in &audiences {
            let wanted = Audience::of(song.uploader_id) == *audience || shares.contains(audience);
            assert_eq!(view.is_for(song, *audience).unwrap(), wanted, "{song:?} for {audience:?}");
            let listed = view.is_listed(song.id, &[*audience]).unwrap();
            assert_eq!(listed, wanted, "{song:?} in the list of {audience:?}");
        }
        assert!(view.links_of(song.id).unwrap().iter().all(|link| link.song == song.id));
    }
    for audience in (1..6).map(Audience::User).chain([Audience::Everybody]) {
        for id in view.list(VISIBLE, VISIBLE.under(audience)).unwrap() {
            let song = songs.iter().find(|song| song.id == id).unwrap();
            let wanted = Audience::of(song.uploader_id) == audience || view.shares_of(id).unwrap().contains(&audience);
            assert!(wanted, "{song:?} stands in the list of {audience:?}");
        }
    }
    // Everything that expires is scheduled once.
    assert!(view.count(EXPIRING.until(u64::MAX), usize::MAX).unwrap() <= 16);
    let owner = Hash::of(b"owner");
    for key in view.list(IDEMPOTENCY_OF_OWNER, IDEMPOTENCY_OF_OWNER.under(&owner)).unwrap() {
        assert!(view.idempotency_record(&key).unwrap().is_some(), "a key stands for nothing");
    }
}

/// The log of an attempt.
fn lines() -> Vec<LogLine> {
    vec![LogLine { at: 0, level: LogLevel::Info, message: "working".into() }]
}

fn separations() -> impl Strategy<Value = Command> {
    let selection = prop::sample::select(vec![
        Selection::All,
        Selection::Only(vec!["drums".into()]),
        Selection::Two("drums".into()),
    ]);
    prop_oneof![
        3 => (1u64..6, actor(), selection, prop::sample::select(vec!["", "ip:1"])).prop_map(
            |(song, actor, selection, owner)| Command::from(Separate {
                song,
                actor,
                separation: SeparationSpec { selection, ..separation() },
                job: JobOptions { owner: owner.into(), jobs_per_owner: 1, max_attempts: 2, ..JobOptions::default() },
                at: 0,
            })
        ),
        1 => (1u64..6, actor(), 1u64..6).prop_map(|(song, actor, job)| Command::from(DropSeparation { song, actor, job })),
    ]
}

fn hooks() -> impl Strategy<Value = Command> {
    let status = prop::sample::select(vec![
        DeliveryStatus::Delivered,
        DeliveryStatus::Pending { at: 7 },
        DeliveryStatus::GivenUp,
    ]);
    prop_oneof![
        3 => (1u64..3).prop_map(|user| Command::from(MakeHook {
            user,
            url: "https://example.org".into(),
            events: vec![JobState::Done, JobState::Cancelled],
            sealed: Sealed(Vec::new()),
            at: 0,
        })),
        1 => (1u64..3, 1u64..4, any::<bool>()).prop_map(|(user, hook, active)| Command::from(ChangeHook {
            user,
            hook,
            url: None,
            events: None,
            active: Some(active),
        })),
        1 => (1u64..3, 1u64..4).prop_map(|(user, hook)| Command::from(RemoveHook { user, hook })),
        3 => (1u64..4, 1u64..6, 1u32..3, status).prop_map(|(hook, delivery, number, status)| Command::from(RecordDelivery {
            hook,
            delivery,
            number,
            status,
            attempt: DeliveryAttempt { at: 0, took: 0, status: None, error: None },
        })),
    ]
}

/// Pending deliveries, and no others, are listed. Deliveries are removed together with their hook, and hooks together with
/// their user.
fn check_hooks(machine: &Machine) {
    let view = machine.view();
    let mut due = HashSet::new();
    for user in 1..6 {
        let hooks = view.hooks_of(user).unwrap();
        assert!(hooks.is_empty() || view.user(user).unwrap().is_some(), "{hooks:?} without a user");
        for hook in hooks {
            for delivery in view.deliveries_of(hook.id).unwrap() {
                assert!(hook.events.contains(&delivery.event) && delivery.user == user, "{delivery:?}");
                if let DeliveryStatus::Pending { at } = delivery.status {
                    assert!(hook.active, "{delivery:?} of a hook that is turned off");
                    due.insert((at, hook.id, delivery.id));
                }
            }
        }
    }
    let marked: HashSet<_> =
        view.pending_deliveries(100).unwrap().iter().map(|due| (due.at, due.hook, due.id)).collect();
    assert_eq!(marked, due);
}

fn commands() -> impl Strategy<Value = Command> {
    let at = 0;
    let file = (0u8..2).prop_map(|file| Hash::of(&[file]));
    let owner = prop::sample::select(vec!["", "ip:1", "ip:2"]);
    let user = prop::sample::select(vec![None, None, Some(1), Some(2)]);
    let task = (1u64..4, 0u32..3).prop_map(|(job, index)| TaskId { job, index });
    let claim = (task.clone(), 1u32..4, 0u64..2);
    let output = |task: TaskId| {
        // The third task of this plan is the merge.
        if task.index == 2 { Output::Stems(stems()) } else { Output::Part(Hash::of(task.to_string().as_bytes())) }
    };
    let add = (file, owner, any::<bool>(), user).prop_map(|(hash, owner, external, user)| AddSong {
        hash,
        uploader_id: user,
        job: JobOptions { owner: owner.into(), jobs_per_owner: 1, external, max_attempts: 2, ..JobOptions::default() },
        ..add_song("song")
    });
    let once = (0u8..2, 0u8..2, 0u64..3, add.clone()).prop_map(|(key, content, at, add)| {
        Command::from(AddSongOnce {
            key: Hash::of(&[key]),
            owner: Hash::of(b"owner"),
            content: Hash::of(&[content]),
            until: at + 1,
            add,
            at,
        })
    });
    prop_oneof![
        1 => add.prop_map(Command::from),
        1 => once,
        1 => (1u64..6).prop_map(move |song| Command::from(RemoveSong { song })),
        4 => claim.clone().prop_map(move |(task, attempt, node)| Command::from(ClaimTask { task, attempt, node, at })),
        4 => claim.clone().prop_map(move |(task, attempt, node)| Command::from(FinishTask {
            task,
            attempt,
            node,
            output: output(task),
            lines: lines(),
            at,
        })),
        1 => claim.clone().prop_map(move |(task, attempt, node)| Command::from(FailTask {
            task,
            attempt,
            node,
            reason: String::new(),
            lines: lines(),
            at,
        })),
        1 => claim.clone().prop_map(move |(task, attempt, node)| Command::from(ReleaseTask {
            task,
            attempt,
            node,
            lines: lines(),
            at,
        })),
        1 => claim.prop_map(move |(task, attempt, _)| Command::from(ExpireTask { task, attempt, reason: String::new(), at })),
        1 => task.prop_map(move |task| Command::from(ReopenTask { task, reason: String::new(), at })),
        1 => (1u64..4, actor()).prop_map(move |(job, actor)| Command::from(CancelJob { job, actor, at })),
        3 => accounts(),
        3 => separations(),
        3 => hooks(),
        4 => library(),
        1 => (1u64..4).prop_map(|job| Command::from(QueueJob { job })),
        1 => (1u64..4).prop_map(move |job| Command::from(ReclaimJob { job, at })),
        1 => (1u64..4).prop_map(move |job| Command::from(FinishJob { job, result: Box::new(JobResult::Separation(stems())), at })),
        1 => (1u64..4).prop_map(move |job| Command::from(CancelJob { job, actor: Actor::Admin, at })),
        1 => (1u64..4).prop_map(move |job| Command::from(RetryJob { job, jobs_per_owner: 1, at })),
    ]
}

/// The last transition of a job is to its state.
fn check_history(machine: &Machine) {
    for job in machine.view().jobs(None, 100).unwrap() {
        assert_eq!(job.history.last().map(|was| was.state), Some(job.state), "{job:?}");
    }
}

fn check(machine: &Machine) {
    let view = machine.view();
    let mut open = Vec::new();
    let mut served = HashSet::new();
    let mut owned: BTreeMap<String, usize> = BTreeMap::new();
    for job in view.jobs(None, 100).unwrap().iter().rev() {
        if matches!(job.state, JobState::Pending | JobState::Running | JobState::Done) {
            let what = job.spec.dedup_key();
            assert!(served.insert(what), "{job:?} equals another one");
        }
        *owned.entry(job.owner.clone()).or_default() += usize::from(job.state.is_open());
        let tasks = view.tasks(job.id).unwrap();
        let done = |task: &&Task| matches!(task.state, TaskState::Done { .. });
        assert_eq!(tasks.iter().filter(done).count(), job.done as usize, "{job:?}");
        assert_eq!(tasks.len(), job.tasks as usize);
        assert_eq!(job.state == JobState::Done, job.result.is_some());
        assert_eq!(job.state.is_open(), job.finished_at.is_none());
        assert!(!view.songs_with(job).unwrap().is_empty(), "{job:?} has no song");
        for state in JobState::EVERY {
            let listed = view.jobs_in(&[state], None, 100).unwrap().contains(job);
            assert_eq!(listed, job.state == state, "{job:?} in the list of those {state}");
        }
        let ended = view.jobs_ended_since(0, 100).unwrap();
        assert_eq!(ended.contains(job), !job.state.is_open(), "{job:?} in the list of those that ended");
        for task in &tasks {
            if matches!(task.state, TaskState::Pending | TaskState::Running { .. }) {
                assert!(job.state.is_open(), "{task:?} of {job:?}");
                open.push(task.id);
                let before = tasks.iter().filter(|other| other.stage < task.stage);
                assert!(before.into_iter().all(Task::is_done), "{task:?} of {job:?}");
            }
        }
        let external = job.state.is_open() && job.executor.is_external();
        assert_eq!(view.external_jobs().unwrap().contains(job), external, "{job:?}");
        let internal = tasks.iter().any(|task| open.contains(&task.id));
        assert!(!(external && internal), "{job:?} is external and has open tasks: {tasks:?}");
        let stuck = job.state.is_open() && !external && !internal;
        assert!(!stuck, "nothing is left to do for {job:?}: {tasks:?}");
    }
    let listed: usize =
        JobState::EVERY.iter().map(|state| view.count(JOBS_IN_STATE.under(*state), usize::MAX).unwrap()).sum();
    assert_eq!(listed, view.jobs(None, 100).unwrap().len(), "a list names a job that is none");
    let known: Vec<_> = view.open_tasks().unwrap().iter().map(|task| task.id).collect();
    assert_eq!(known, open);
    for (owner, open) in owned.into_iter().filter(|(owner, _)| !owner.is_empty()) {
        assert_eq!(view.open_jobs_of(&owner).unwrap(), open, "the open jobs of {owner}");
        // The limit is one. An owner gets another job only from an owner with more open jobs.
        assert!(open <= 1, "{owner} has {open} open jobs");
    }
    for song in view.songs(None, 100).unwrap() {
        assert!(view.job(song.job).unwrap().is_some(), "{song:?} has no job");
        let jobs = Read::jobs_of(&view, &song).unwrap();
        assert_eq!(jobs.len(), jobs.iter().collect::<HashSet<_>>().len(), "{song:?} has a job twice: {jobs:?}");
        assert_eq!(jobs.len(), view.jobs_of(&song).unwrap().len(), "{song:?} has a job that does not exist: {jobs:?}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn random_commands_keep_the_invariants(commands in prop::collection::vec(commands(), 1..60)) {
        let (mut one, mut two) = (Machine::new(), Machine::new());
        for command in &commands {
            let id = Uuid::new_v4();
            prop_assert_eq!(one.apply_as(id, command), two.apply_as(id, command));
            check(&one);
            check_history(&one);
            check_accounts(&one);
            check_hooks(&one);
            check_library(&one);
        }
        prop_assert_eq!(one.view().references().unwrap(), two.view().references().unwrap());
    }
}

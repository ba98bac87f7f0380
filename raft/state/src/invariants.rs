//! Whatever is asked in whatever order, the state stays sound, and two replicas stay the same.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use proptest::prelude::*;
use storage::blobs::Hash;
use uuid::Uuid;

use super::scripted::Machine;
use super::{
    Asker, Audience, Card, Count, Edit, Facts, Fate, JobState, LEVEL, Legacy, Level, Line, Output, Plan, Priority,
    Read, Road, Sealed, Selection, SongEdit, Stems, TaskId, TaskKind, TaskState, Tried, Try, Verifier, folded, keys,
};
use crate::command::Command;

fn stems() -> Stems {
    let file = Hash::of(b"drums");
    let facts = Facts { loudness: None, loudness_range: None, true_peak: None, tempo: Some((120.5, 1.0)), key: None };
    Stems {
        files: [("drums".to_owned(), [("mp3".to_owned(), file)].into())].into(),
        facts: Some(Box::new(facts)),
        peaks: Some(file),
    }
}

fn asker() -> impl Strategy<Value = Asker> {
    prop::sample::select(vec![Asker::Anonymous, Asker::User(1), Asker::User(2)])
}

fn accounts() -> impl Strategy<Value = Command> {
    let secret = (0u8..4).prop_map(|secret| Hash::of(&[secret]));
    let audience = prop::sample::select(vec![Audience::Everybody, Audience::User(1), Audience::User(2)]);
    let owner = prop::sample::select(vec![None, Some(1), Some(2)]);
    let word = || Verifier("word".into());
    prop_oneof![
        3 => prop::sample::select(vec!["Ada", "ada", "Bob", "cleo"]).prop_map(move |name| Command::Register {
            name: name.into(),
            email: None,
            password: word(),
            closed: false,
            at: 0,
        }),
        2 => (1u64..4, secret.clone(), 0u64..3).prop_map(move |(user, secret, at)| Command::OpenSession {
            secret,
            user,
            password: word(),
            seen: String::new(),
            expires_at: at,
            clears: vec![Hash::of(b"tries")],
            at: at * 100_000_000,
        }),
        1 => (1u64..4, 1u64..6).prop_map(|(user, session)| Command::EndSession { user, session }),
        1 => (1u64..4).prop_map(|user| Command::EndSessionsOf { user, keep: Some(2) }),
        1 => (1u64..4, secret.clone()).prop_map(|(user, secret)| Command::MakeToken {
            secret,
            sealed: Sealed(Vec::new()),
            user,
            name: String::new(),
            expires_at: Some(1),
            at: 0,
        }),
        1 => (1u64..4, 1u64..4).prop_map(|(user, token)| Command::RevokeToken { user, token }),
        1 => (0u64..20).prop_map(|at| Command::CountTry {
            counts: vec![Count { of: Hash::of(b"tries"), most: 3, within: 5 }],
            at,
        }),
        1 => (1u64..4, any::<bool>()).prop_map(|(user, administrator)| Command::ChangeUser {
            user,
            name: None,
            email: None,
            password: None,
            old_password: None,
            administrator: Some(administrator),
            keep: None,
        }),
        1 => (1u64..4, prop::sample::select(vec![None, Some(Legacy::Delete), Some(Legacy::HandOver)]))
            .prop_map(|(user, songs)| Command::RemoveUser { user, songs }),
        3 => (1u64..6, owner, audience.clone())
            .prop_map(|(song, owner, audience)| Command::ShareSong { song, owner, audience }),
        1 => (1u64..6, audience).prop_map(|(song, audience)| Command::UnshareSong { song, audience }),
        1 => (1u64..6, secret).prop_map(|(song, secret)| Command::MakeLink { secret, song, expires_at: 1, at: 0 }),
        1 => (1u64..6, 1u64..4).prop_map(|(song, link)| Command::RemoveLink { song, link }),
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
        2 => (song.clone(), asker(), text, bpm).prop_map(|(song, asker, artist, bpm)| Command::ChangeSong {
            song,
            asker,
            edit: Box::new(SongEdit { artist, bpm, ..SongEdit::default() }),
        }),
        2 => user.clone().prop_map(|owner| Command::MakePlaylist {
            owner,
            name: "list".into(),
            description: String::new(),
            at: 0,
        }),
        3 => (
            playlist.clone(),
            prop::collection::vec(song.clone(), 0..4),
            prop::option::of(0u64..3),
            prop::collection::vec(1u64..6, 0..2),
        )
            .prop_map(|(playlist, songs, place, without)| Command::AddToPlaylist {
                playlist,
                songs,
                place,
                without,
                at: 0,
            }),
        1 => (playlist.clone(), 1u64..6).prop_map(|(playlist, entry)| Command::TakeFromPlaylist { playlist, entry, at: 0 }),
        1 => (playlist.clone(), prop::collection::vec(1u64..4, 0..4))
            .prop_map(|(playlist, entries)| Command::OrderPlaylist { playlist, entries, at: 0 }),
        1 => playlist.clone().prop_map(|playlist| Command::RemovePlaylist { playlist }),
        1 => (playlist.clone(), audience.clone())
            .prop_map(|(playlist, audience)| Command::SharePlaylist { playlist, audience }),
        1 => (playlist, audience).prop_map(|(playlist, audience)| Command::UnsharePlaylist { playlist, audience }),
        2 => (user.clone(), song.clone(), any::<bool>())
            .prop_map(|(user, song, favourite)| Command::SetFavourite { user, song, favourite }),
        3 => (song, prop::option::of(user), at).prop_map(|(song, user, at)| Command::CountPlay {
            song,
            user,
            count: Count { of: Hash::of(b"tries"), most: 9, within: 5 },
            at,
        }),
    ]
}

/// Every song stands in the rows of its card and in no others, and nobody's playlist, favourite or play is of a song or
/// for a user that is gone.
fn check_library(machine: &Machine) {
    let view = machine.view();
    let songs = view.songs(None, 100).unwrap();
    let users: Vec<u64> = view.users(None, 100).unwrap().iter().map(|user| user.id).collect();
    let mut rows = BTreeSet::new();
    for song in &songs {
        let facts = view.job(song.job).unwrap().and_then(|job| job.stems?.facts);
        let card = Card::of(song, facts.as_deref(), view.plays(song.id).unwrap());
        assert_eq!(view.card(song.id).unwrap().as_ref(), Some(&card), "{song:?}");
        rows.extend(card.rows(song.id));
    }
    let there = |prefix: u8| view.scan((vec![prefix], vec![prefix + 1])).unwrap();
    let found: BTreeSet<_> = there(b'I').into_iter().chain(there(b'W')).map(|(key, _)| key).collect();
    assert_eq!(found, rows);
    assert_eq!(there(b'k').len(), songs.len());

    let (mut entered, mut lists, mut shares) = (BTreeSet::new(), 0, 0);
    for playlist in users.iter().flat_map(|user| view.playlists_of(*user).unwrap()) {
        let entries = view.entries(playlist.id).unwrap();
        let numbers: BTreeSet<u64> = entries.iter().map(|entry| entry.id).collect();
        assert_eq!((numbers.len(), playlist.songs), (entries.len(), entries.len() as u64));
        let songs: Vec<_> =
            entries.iter().map(|entry| songs.iter().find(|song| song.id == entry.song).unwrap()).collect();
        assert_eq!(songs.iter().map(|song| song.frames).sum::<u64>(), playlist.frames);
        entered.extend(songs.iter().map(|song| keys::entry_of(song.id, playlist.owner, playlist.id)));
        lists += 1;
        for audience in view.playlist_shares(playlist.id).unwrap() {
            assert!(view.is_playlist_for(playlist.id, &[audience]).unwrap());
            assert!(audience == Audience::Everybody || users.contains(&audience.number()), "{audience:?} is gone");
            shares += 1;
        }
    }
    assert_eq!(
        (there(b'P').len(), there(b'Q').len(), there(b'V').len(), there(b'g').len()),
        (lists, lists, shares, shares)
    );
    assert_eq!(there(b'e').into_iter().map(|(key, _)| key).collect::<BTreeSet<_>>(), entered);

    // Each mark has its other side, and both a user and a song.
    let (mut liked, mut played) = (0, 0);
    for (user, song) in users.iter().flat_map(|user| songs.iter().map(move |song| (*user, song.id))) {
        liked += usize::from(view.is_favourite(user, song).unwrap());
        if let Some(last) = view.played(user, song).unwrap() {
            assert!(view.get(&keys::played_at(user, last.at, song)).unwrap().is_some());
            played += 1;
        }
    }
    assert_eq!((there(b'f').len(), there(b'b').len()), (liked, liked));
    assert_eq!((there(b'Y').len(), there(b'R').len(), there(b'J').len()), (played, played, played));
    assert!(there(b'C').len() <= songs.len());
}

/// Users, and what is theirs: nothing outlives its owner, no index lies, and somebody can put things right.
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
    for audience in (0..6).map(Audience::from_number) {
        for id in view.values::<u64>(keys::all_visible(audience, None)).unwrap() {
            let song = songs.iter().find(|song| song.id == id).unwrap();
            let wanted = Audience::of(song.uploader_id) == audience || view.shares_of(id).unwrap().contains(&audience);
            assert!(wanted, "{song:?} stands in the list of {audience:?}");
        }
    }
    // What ends can be swept, and what is swept is not forgotten elsewhere.
    assert!(view.scan(keys::passed(u64::MAX)).unwrap().len() <= 16);
    let owner = Hash::of(b"owner");
    for key in view.values::<Hash>(keys::all_done_of(&owner)).unwrap() {
        assert!(view.done(&key).unwrap().is_some(), "a key stands for nothing");
    }
}

/// One line, for any attempt.
fn lines() -> Vec<Line> {
    vec![Line { at: 0, level: Level::Info, message: "working".into() }]
}

fn separations() -> impl Strategy<Value = Command> {
    let selection = prop::sample::select(vec![
        Selection::All,
        Selection::Only(vec!["drums".into()]),
        Selection::Two("drums".into()),
    ]);
    prop_oneof![
        3 => (1u64..6, asker(), selection, prop::sample::select(vec!["", "ip:1"])).prop_map(
            |(song, asker, selection, owner)| Command::Separate {
                song,
                asker,
                plan: Plan { frames: 10, segments: 3, segments_per_task: 2 },
                model: "spectral".into(),
                formats: vec!["mp3".into()],
                selection,
                max_attempts: 2,
                priority: Priority::Normal,
                owner: owner.into(),
                jobs_per_owner: 1,
                at: 0,
            }
        ),
        1 => (1u64..6, asker(), 1u64..6).prop_map(|(song, asker, job)| Command::DropSeparation { song, asker, job }),
    ]
}

fn hooks() -> impl Strategy<Value = Command> {
    let tried = prop::sample::select(vec![Tried::Delivered, Tried::Again { at: 7 }, Tried::GivenUp]);
    prop_oneof![
        3 => (1u64..3).prop_map(|user| Command::MakeHook {
            user,
            url: "https://example.org".into(),
            events: vec![JobState::Done, JobState::Cancelled],
            sealed: Sealed(Vec::new()),
            at: 0,
        }),
        1 => (1u64..3, 1u64..4, any::<bool>()).prop_map(|(user, hook, active)| Command::ChangeHook {
            user,
            hook,
            url: None,
            events: None,
            active: Some(active),
        }),
        1 => (1u64..3, 1u64..4).prop_map(|(user, hook)| Command::RemoveHook { user, hook }),
        3 => (1u64..4, 1u64..6, 1u32..3, tried).prop_map(|(hook, delivery, number, tried)| Command::NoteDelivery {
            hook,
            delivery,
            number,
            tried,
            made: Try { at: 0, took: 0, status: None, error: None },
        }),
    ]
}

/// Deliveries are due where a mark says so and nowhere else, and go with their hook, as hooks go with their user.
fn check_hooks(machine: &Machine) {
    let view = machine.view();
    let mut due = HashSet::new();
    for user in 1..6 {
        let hooks = view.hooks_of(user).unwrap();
        assert!(hooks.is_empty() || view.user(user).unwrap().is_some(), "{hooks:?} of nobody");
        for hook in hooks {
            for delivery in view.deliveries_of(hook.id).unwrap() {
                assert!(hook.events.contains(&delivery.event) && delivery.user == user, "{delivery:?}");
                if let Fate::Due { at } = delivery.fate {
                    assert!(hook.active, "{delivery:?} of a hook that is turned off");
                    due.insert((at, hook.id, delivery.id));
                }
            }
        }
    }
    let marked: HashSet<_> = view.due(100).unwrap().iter().map(|due| (due.at, due.hook, due.id)).collect();
    assert_eq!(marked, due);
}

fn commands() -> impl Strategy<Value = Command> {
    let (at, plan) = (0, Plan { frames: 10, segments: 3, segments_per_task: 2 });
    let file = (0u8..2).prop_map(|file| Hash::of(&[file]));
    let owner = prop::sample::select(vec!["", "ip:1", "ip:2"]);
    let user = prop::sample::select(vec![None, None, Some(1), Some(2)]);
    let road = prop::sample::select(vec![Road::Inside, Road::Outside]);
    let task = (1u64..4, 0u32..3).prop_map(|(job, index)| TaskId { job, index });
    let claim = (task.clone(), 1u32..4, 0u64..2);
    let output = |task: TaskId| {
        // The third task of this plan is the merge.
        if task.index == 2 { Output::Stems(stems()) } else { Output::Part(Hash::of(task.to_string().as_bytes())) }
    };
    let add = (file, owner, road, user).prop_map(move |(hash, owner, road, user)| Command::AddSong {
        title: "song".into(),
        hash,
        size: 1,
        format: "wav".into(),
        uploader_id: user,
        credits: Box::default(),
        plan,
        model: "spectral".into(),
        formats: vec!["mp3".into()],
        max_attempts: 2,
        priority: Priority::Normal,
        owner: owner.into(),
        jobs_per_owner: 1,
        road,
        at,
    });
    let once = (0u8..2, 0u8..2, 0u64..3, add.clone()).prop_map(|(key, content, at, add)| Command::Once {
        key: Hash::of(&[key]),
        owner: Hash::of(b"owner"),
        content: Hash::of(&[content]),
        until: at + 1,
        add: Box::new(add),
        at,
    });
    prop_oneof![
        1 => add,
        1 => once,
        1 => (1u64..6).prop_map(move |song| Command::RemoveSong { song, at }),
        4 => claim.clone().prop_map(move |(task, attempt, node)| Command::ClaimTask { task, attempt, node, at }),
        4 => claim.clone().prop_map(move |(task, attempt, node)| Command::FinishTask {
            task,
            attempt,
            node,
            output: output(task),
            lines: lines(),
            at,
        }),
        1 => claim.clone().prop_map(move |(task, attempt, node)| Command::FailTask {
            task,
            attempt,
            node,
            reason: String::new(),
            lines: lines(),
            at,
        }),
        1 => claim.clone().prop_map(move |(task, attempt, node)| Command::ReleaseTask {
            task,
            attempt,
            node,
            lines: lines(),
            at,
        }),
        1 => claim.prop_map(move |(task, attempt, _)| Command::ExpireTask { task, attempt, reason: String::new(), at }),
        1 => task.prop_map(move |task| Command::ReopenTask { task, reason: String::new(), at }),
        1 => (1u64..4, asker()).prop_map(move |(job, asker)| Command::CancelJob { job, asker, at }),
        3 => accounts(),
        3 => separations(),
        3 => hooks(),
        4 => library(),
        1 => (1u64..4).prop_map(|job| Command::SendOutside { job }),
        1 => (1u64..4).prop_map(|job| Command::TakeInside { job }),
        1 => (1u64..4).prop_map(move |job| Command::FinishOutside { job, stems: Box::new(stems()), at }),
        1 => (1u64..4).prop_map(move |job| Command::CancelJob { job, asker: Asker::Anybody, at }),
        1 => (1u64..4).prop_map(move |job| Command::RetryJob { job, jobs_per_owner: 1, at }),
    ]
}

/// Jobs that never were below the level of accounts know which states they have been in.
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
            let what = (job.hash, job.formats.clone(), job.selection.to_string());
            assert!(served.insert(what), "{job:?} does what another one does");
        }
        *owned.entry(job.owner.clone()).or_default() += usize::from(job.state.is_open());
        let tasks = view.tasks(job.id).unwrap();
        let done = |task: &&super::Task| matches!(task.state, TaskState::Done { .. });
        assert_eq!(tasks.iter().filter(done).count(), job.done as usize, "{job:?}");
        assert_eq!(tasks.len(), job.tasks as usize);
        assert_eq!(job.state == JobState::Done, job.stems.is_some());
        assert_eq!(job.state.is_open(), job.finished_at.is_none());
        assert!(!view.songs_with(job).unwrap().is_empty(), "{job:?} is for nobody");
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
                if task.kind == TaskKind::Merge {
                    assert_eq!(job.done + 1, job.tasks, "{task:?} of {job:?}");
                }
            }
        }
        let outside = job.state.is_open() && job.road.is_outside();
        assert_eq!(view.outside().unwrap().contains(job), outside, "{job:?}");
        let inside = tasks.iter().any(|task| open.contains(&task.id));
        assert!(!(outside && inside), "{job:?} is outside and inside: {tasks:?}");
        let stuck = job.state.is_open() && !outside && !inside;
        assert!(!stuck, "nothing is left to do for {job:?}: {tasks:?}");
    }
    let listed: usize = JobState::EVERY.iter().map(|state| view.scan(keys::jobs_in(*state, None)).unwrap().len()).sum();
    assert_eq!(listed, view.jobs(None, 100).unwrap().len(), "a list names a job that is none");
    let known: Vec<_> = view.open_tasks().unwrap().iter().map(|task| task.id).collect();
    assert_eq!(known, open);
    for (owner, open) in owned.into_iter().filter(|(owner, _)| !owner.is_empty()) {
        assert_eq!(view.open_jobs_of(&owner).unwrap(), open, "the open jobs of {owner}");
        // The limit is one, and a second job comes only by yielding, which leaves its first owner with one less.
        assert!(open <= 1, "{owner} has {open} open jobs");
    }
    for song in view.songs(None, 100).unwrap() {
        assert!(view.job(song.job).unwrap().is_some(), "{song:?} has no job");
        let jobs = Read::jobs_of(&view, &song).unwrap();
        assert_eq!(jobs.len(), jobs.iter().collect::<HashSet<_>>().len(), "{song:?} has a job twice: {jobs:?}");
        assert_eq!(jobs.len(), view.jobs_of(&song).unwrap().len(), "{song:?} has a job that is none: {jobs:?}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn the_state_stays_sound(commands in prop::collection::vec(commands(), 1..60)) {
        let (mut one, mut two) = (Machine::at_level(LEVEL), Machine::at_level(LEVEL));
        for command in &commands {
            let id = Uuid::new_v4();
            prop_assert_eq!(one.apply(id, command), two.apply(id, command));
            check(&one);
            check_history(&one);
            check_accounts(&one);
            check_hooks(&one);
            check_library(&one);
        }
        prop_assert_eq!(one.view().references().unwrap(), two.view().references().unwrap());
    }

    #[test]
    fn the_state_is_sound_however_the_level_was_raised(
        before in prop::collection::vec(commands(), 1..60),
        meanwhile in prop::collection::vec((commands(), any::<bool>()), 1..60),
    ) {
        let raise = Command::SetLevel { level: LEVEL, cluster: Uuid::nil() };
        let mut machine = Machine::at_level(LEVEL - 1);
        for (mut command, nearer) in before.into_iter().map(|command| (command, false)).chain(meanwhile) {
            // Nobody has an account yet.
            if let Command::AddSong { uploader_id, .. } = &mut command {
                *uploader_id = None;
            }
            let _ = machine.apply(Uuid::new_v4(), &command);
            if nearer {
                machine.apply(Uuid::new_v4(), &raise).0.unwrap();
            }
        }
        for _ in 0..40 {
            machine.apply(Uuid::new_v4(), &raise).0.unwrap();
        }
        prop_assert!(machine.view().has_level(LEVEL).unwrap());
        prop_assert!(machine.view().get(&keys::reached()).unwrap().is_none());
        check(&machine);
        check_accounts(&machine);
        check_hooks(&machine);
        check_library(&machine);
    }
}

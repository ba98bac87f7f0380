//! Where the state's values are: a letter for the kind, then numbers big-endian, so that the order of the keys is the
//! order of the numbers.

use storage::NodeId;
use storage::blobs::Hash;
use uuid::Uuid;

use super::{Audience, JobState, Order, Selection, TaskId};

/// The first byte of a key. Two alike would not compile, and none may ever change.
#[derive(Clone, Copy)]
#[repr(u8)]
enum Kind {
    Song = b's',
    Job = b'j',
    Task = b't',
    Open = b'o',
    SongOf = b'h',
    JobOf = b'm',
    OpenJobOf = b'w',
    Model = b'n',
    Answer = b'r',
    AnsweredAt = b'q',
    Forgotten = b'Z',
    Counter = b'c',
    Mark = b'i',
    Reached = b'M',
    Retired = b'x',
    Outside = b'u',
    User = b'U',
    UserNamed = b'N',
    Administrator = b'A',
    Session = b'S',
    SessionOf = b'B',
    Token = b'K',
    TokenOf = b'T',
    Tries = b'F',
    Passing = b'E',
    Visible = b'v',
    SharedWith = b'G',
    Link = b'L',
    LinkOf = b'l',
    Separation = b'p',
    JobIn = b'a',
    Ended = b'z',
    Lines = b'y',
    Hook = b'H',
    Delivery = b'D',
    Due = b'd',
    Done = b'0',
    DoneOf = b'1',
    Card = b'k',
    Row = b'I',
    Word = b'W',
    Playlist = b'P',
    PlaylistOf = b'Q',
    Entries = b'O',
    EntryOf = b'e',
    PlaylistSharedWith = b'g',
    PlaylistFor = b'V',
    Favourite = b'f',
    FavouredBy = b'b',
    Plays = b'C',
    Played = b'Y',
    PlayedAt = b'R',
    PlayedBy = b'J',
}

fn key(kind: Kind, parts: &[&[u8]]) -> Vec<u8> {
    // One more byte, for the generation that is put before it.
    let mut key = Vec::with_capacity(2 + parts.iter().map(|part| part.len()).sum::<usize>());
    key.push(kind as u8);
    for part in parts {
        key.extend_from_slice(part);
    }
    key
}

/// The keys that begin so: from the first, to and without the second.
pub(crate) type Range = (Vec<u8>, Vec<u8>);

/// Everything that begins with `prefix`, which does not end in 255s only.
fn under(prefix: Vec<u8>) -> Range {
    let mut end = prefix.clone();
    while let Some(last) = end.pop() {
        if last < u8::MAX {
            end.push(last + 1);
            break;
        }
    }
    (prefix, end)
}

/// All keys of a kind.
fn all(kind: Kind) -> Range {
    under(key(kind, &[]))
}

/// All keys of a kind, or those before one of them.
fn up_to(kind: Kind, before: Option<Vec<u8>>) -> Range {
    let (from, to) = all(kind);
    (from, before.unwrap_or(to))
}

/// A song.
pub(crate) fn song(id: u64) -> Vec<u8> {
    key(Kind::Song, &[&id.to_be_bytes()])
}

/// How many bytes of a song's key come before its number.
pub(crate) const SONG_HEAD: usize = 1;

/// All songs, or those with a lower number.
pub(crate) fn songs(before: Option<u64>) -> Range {
    up_to(Kind::Song, before.map(song))
}

/// The songs with a higher number.
pub(crate) fn songs_behind(id: u64) -> Range {
    (song(id.saturating_add(1)), all(Kind::Song).1)
}

/// A job.
pub(crate) fn job(id: u64) -> Vec<u8> {
    key(Kind::Job, &[&id.to_be_bytes()])
}

/// All jobs, or those with a lower number.
pub(crate) fn jobs(before: Option<u64>) -> Range {
    up_to(Kind::Job, before.map(job))
}

/// The jobs with a higher number.
pub(crate) fn jobs_behind(id: u64) -> Range {
    (job(id.saturating_add(1)), all(Kind::Job).1)
}

/// A model.
pub(crate) fn model(name: &str) -> Vec<u8> {
    key(Kind::Model, &[name.as_bytes()])
}

/// All models, in the order of their names.
pub(crate) fn models() -> Range {
    all(Kind::Model)
}

/// A task.
pub(crate) fn task(id: TaskId) -> Vec<u8> {
    key(Kind::Task, &[&id.job.to_be_bytes(), &id.index.to_be_bytes()])
}

/// A job's tasks.
pub(crate) fn tasks(job: u64) -> Range {
    under(key(Kind::Task, &[&job.to_be_bytes()]))
}

/// The mark that a task is pending or running; its value is the task's number.
pub(crate) fn open(id: TaskId) -> Vec<u8> {
    key(Kind::Open, &[&id.job.to_be_bytes(), &id.index.to_be_bytes()])
}

/// All such marks.
pub(crate) fn all_open() -> Range {
    all(Kind::Open)
}

/// A job's such marks.
pub(crate) fn open_of(job: u64) -> Range {
    under(key(Kind::Open, &[&job.to_be_bytes()]))
}

/// The mark that a job which has not ended is this owner's; its value is the job's number.
pub(crate) fn open_job_of(owner: &str, job: u64) -> Vec<u8> {
    key(Kind::OpenJobOf, &[&(owner.len() as u64).to_be_bytes(), owner.as_bytes(), &job.to_be_bytes()])
}

/// All such marks for an owner.
pub(crate) fn open_jobs_of(owner: &str) -> Range {
    under(key(Kind::OpenJobOf, &[&(owner.len() as u64).to_be_bytes(), owner.as_bytes()]))
}

/// The mark that a job is outside; its value is the job's number.
pub(crate) fn outside(job: u64) -> Vec<u8> {
    key(Kind::Outside, &[&job.to_be_bytes()])
}

/// All such marks.
pub(crate) fn all_outside() -> Range {
    all(Kind::Outside)
}

/// The mark that a song has this file.
pub(crate) fn song_of(hash: &Hash, song: u64) -> Vec<u8> {
    key(Kind::SongOf, &[hash.as_bytes(), &song.to_be_bytes()])
}

/// All such marks for a file.
pub(crate) fn songs_of(hash: &Hash) -> Range {
    under(key(Kind::SongOf, &[hash.as_bytes()]))
}

/// The job of a file, a model, formats and a selection of stems.
pub(crate) fn job_of(hash: &Hash, model: &str, formats: &[String], selection: &Selection) -> Vec<u8> {
    let mut key = key(Kind::JobOf, &[hash.as_bytes(), model.as_bytes(), b"\0", formats.join(",").as_bytes()]);
    if *selection != Selection::All {
        key.push(0);
        key.extend_from_slice(selection.to_string().as_bytes());
    }
    key
}

/// The mark that a job separates a song besides the song's own job; its value is the job's number.
pub(crate) fn separation(song: u64, job: u64) -> Vec<u8> {
    key(Kind::Separation, &[&song.to_be_bytes(), &job.to_be_bytes()])
}

/// All such marks for a song.
pub(crate) fn separations_of(song: u64) -> Range {
    under(key(Kind::Separation, &[&song.to_be_bytes()]))
}

/// The mark that a job is in this state; its value is the job's number.
pub(crate) fn job_in(state: JobState, job: u64) -> Vec<u8> {
    key(Kind::JobIn, &[&[state as u8], &job.to_be_bytes()])
}

/// All such marks for a state, or those of jobs with a lower number.
pub(crate) fn jobs_in(state: JobState, before: Option<u64>) -> Range {
    let (from, to) = under(key(Kind::JobIn, &[&[state as u8]]));
    (from, before.map_or(to, |before| job_in(state, before)))
}

/// The mark that a job ended at this time; its value is the job's number.
pub(crate) fn ended(at: u64, job: u64) -> Vec<u8> {
    key(Kind::Ended, &[&at.to_be_bytes(), &job.to_be_bytes()])
}

/// All such marks from this time on.
pub(crate) fn ended_since(at: u64) -> Range {
    (key(Kind::Ended, &[&at.to_be_bytes()]), all(Kind::Ended).1)
}

/// What a worker said of an attempt.
pub(crate) fn lines(task: TaskId, attempt: u32) -> Vec<u8> {
    key(Kind::Lines, &[&task.job.to_be_bytes(), &task.index.to_be_bytes(), &attempt.to_be_bytes()])
}

/// What workers said of all attempts at a job.
pub(crate) fn lines_of(job: u64) -> Range {
    under(key(Kind::Lines, &[&job.to_be_bytes()]))
}

/// What workers said of the attempts at a task before this one.
pub(crate) fn lines_before(task: TaskId, attempt: u32) -> Range {
    (lines(task, 0), lines(task, attempt))
}

/// A user's web hook.
pub(crate) fn hook(user: u64, id: u64) -> Vec<u8> {
    key(Kind::Hook, &[&user.to_be_bytes(), &id.to_be_bytes()])
}

/// All web hooks of a user.
pub(crate) fn hooks_of(user: u64) -> Range {
    under(key(Kind::Hook, &[&user.to_be_bytes()]))
}

/// What a web hook is to be told, or was.
pub(crate) fn delivery(hook: u64, id: u64) -> Vec<u8> {
    key(Kind::Delivery, &[&hook.to_be_bytes(), &id.to_be_bytes()])
}

/// All of it.
pub(crate) fn deliveries_of(hook: u64) -> Range {
    under(key(Kind::Delivery, &[&hook.to_be_bytes()]))
}

/// The mark that a delivery is to be tried at this time; its value names it.
pub(crate) fn due(at: u64, delivery: u64) -> Vec<u8> {
    key(Kind::Due, &[&at.to_be_bytes(), &delivery.to_be_bytes()])
}

/// All such marks.
pub(crate) fn all_due() -> Range {
    all(Kind::Due)
}

/// The answer to a request.
pub(crate) fn answer(request: &Uuid) -> Vec<u8> {
    key(Kind::Answer, &[request.as_bytes()])
}

/// Which request was answered at this place of the log.
pub(crate) fn answered_at(index: u64, place: u32) -> Vec<u8> {
    key(Kind::AnsweredAt, &[&index.to_be_bytes(), &place.to_be_bytes()])
}

/// The requests answered from one place of the log up to and without another.
pub(crate) fn answered_between(from: u64, until: u64) -> Range {
    (answered_at(from, 0), answered_at(until, 0))
}

/// The place of the log up to which the requests answered are forgotten.
pub(crate) fn forgotten() -> Vec<u8> {
    key(Kind::Forgotten, &[])
}

/// The last number given to something.
pub(crate) fn counter(name: &str) -> Vec<u8> {
    key(Kind::Counter, &[name.as_bytes()])
}

/// What the cluster is called and which commands it takes.
pub(crate) fn mark() -> Vec<u8> {
    key(Kind::Mark, &[])
}

/// How far songs and jobs are listed while the level is raised.
pub(crate) fn reached() -> Vec<u8> {
    key(Kind::Reached, &[])
}

/// The mark that a node leaves or has left.
pub(crate) fn retired(node: NodeId) -> Vec<u8> {
    key(Kind::Retired, &[&node.to_be_bytes()])
}

/// All such marks.
pub(crate) fn all_retired() -> Range {
    all(Kind::Retired)
}

/// A user.
pub(crate) fn user(id: u64) -> Vec<u8> {
    key(Kind::User, &[&id.to_be_bytes()])
}

/// All users, or those with a lower number.
pub(crate) fn users(before: Option<u64>) -> Range {
    up_to(Kind::User, before.map(user))
}

/// The number of the user with this folded name.
pub(crate) fn user_named(folded: &str) -> Vec<u8> {
    key(Kind::UserNamed, &[folded.as_bytes()])
}

/// The mark that a user is an administrator; its value is the user's number.
pub(crate) fn administrator(user: u64) -> Vec<u8> {
    key(Kind::Administrator, &[&user.to_be_bytes()])
}

/// All such marks.
pub(crate) fn administrators() -> Range {
    all(Kind::Administrator)
}

/// A session, by the hash of its secret.
pub(crate) fn session(secret: &Hash) -> Vec<u8> {
    key(Kind::Session, &[secret.as_bytes()])
}

/// The mark that a session is a user's; its value is the hash of its secret.
pub(crate) fn session_of(user: u64, id: u64) -> Vec<u8> {
    key(Kind::SessionOf, &[&user.to_be_bytes(), &id.to_be_bytes()])
}

/// All such marks for a user.
pub(crate) fn sessions_of(user: u64) -> Range {
    under(key(Kind::SessionOf, &[&user.to_be_bytes()]))
}

/// A token, by the hash of its secret.
pub(crate) fn token(secret: &Hash) -> Vec<u8> {
    key(Kind::Token, &[secret.as_bytes()])
}

/// The mark that a token is a user's; its value is the hash of its secret.
pub(crate) fn token_of(user: u64, id: u64) -> Vec<u8> {
    key(Kind::TokenOf, &[&user.to_be_bytes(), &id.to_be_bytes()])
}

/// All such marks for a user.
pub(crate) fn tokens_of(user: u64) -> Range {
    under(key(Kind::TokenOf, &[&user.to_be_bytes()]))
}

/// How often something was tried.
pub(crate) fn tries(of: &Hash) -> Vec<u8> {
    key(Kind::Tries, &[of.as_bytes()])
}

/// The mark that something goes at this time; its value says what.
pub(crate) fn passing(at: u64, what: &Hash) -> Vec<u8> {
    key(Kind::Passing, &[&at.to_be_bytes(), what.as_bytes()])
}

/// All such marks before this time.
pub(crate) fn passed(at: u64) -> Range {
    (all(Kind::Passing).0, key(Kind::Passing, &[&at.to_be_bytes()]))
}

/// The mark that a song is in an audience's list; its value is the song's number.
pub(crate) fn visible(audience: Audience, song: u64) -> Vec<u8> {
    key(Kind::Visible, &[&audience.number().to_be_bytes(), &song.to_be_bytes()])
}

/// All such marks for an audience, or those of songs with a lower number.
pub(crate) fn all_visible(audience: Audience, before: Option<u64>) -> Range {
    let (from, to) = under(key(Kind::Visible, &[&audience.number().to_be_bytes()]));
    (from, before.map_or(to, |before| visible(audience, before)))
}

/// The mark that a song is shared; its value is the number of the audience.
pub(crate) fn shared_with(song: u64, audience: Audience) -> Vec<u8> {
    key(Kind::SharedWith, &[&song.to_be_bytes(), &audience.number().to_be_bytes()])
}

/// All such marks for a song.
pub(crate) fn shares_of(song: u64) -> Range {
    under(key(Kind::SharedWith, &[&song.to_be_bytes()]))
}

/// A link, by the hash of its secret.
pub(crate) fn link(secret: &Hash) -> Vec<u8> {
    key(Kind::Link, &[secret.as_bytes()])
}

/// The mark that a link opens a song; its value is the hash of its secret.
pub(crate) fn link_of(song: u64, id: u64) -> Vec<u8> {
    key(Kind::LinkOf, &[&song.to_be_bytes(), &id.to_be_bytes()])
}

/// All such marks for a song.
pub(crate) fn links_of(song: u64) -> Range {
    under(key(Kind::LinkOf, &[&song.to_be_bytes()]))
}

/// What a client's key stands for.
pub(crate) fn done(key_of: &Hash) -> Vec<u8> {
    key(Kind::Done, &[key_of.as_bytes()])
}

/// The mark that a key is this owner's, in the order of their coming; its value is the key.
pub(crate) fn done_of(owner: &Hash, number: u64) -> Vec<u8> {
    key(Kind::DoneOf, &[owner.as_bytes(), &number.to_be_bytes()])
}

/// All such marks for an owner.
pub(crate) fn all_done_of(owner: &Hash) -> Range {
    under(key(Kind::DoneOf, &[owner.as_bytes()]))
}

/// A song's card.
pub(crate) fn card(song: u64) -> Vec<u8> {
    key(Kind::Card, &[&song.to_be_bytes()])
}

/// The row of a song in an order; its value is the song's number.
pub(crate) fn row(order: Order, place: &[u8]) -> Vec<u8> {
    key(Kind::Row, &[&[order as u8], place])
}

/// All rows of an order.
pub(crate) fn rows(order: Order) -> Range {
    under(key(Kind::Row, &[&[order as u8]]))
}

/// The rows of an order whose places begin so.
pub(crate) fn rows_at(order: Order, place: &[u8]) -> Range {
    under(row(order, place))
}

/// How many bytes of a row's key come before the place.
pub(crate) const ROW_HEAD: usize = 2;

/// The mark that a song has a word; its value is the song's number.
pub(crate) fn word(word: &str, song: u64) -> Vec<u8> {
    key(Kind::Word, &[word.as_bytes(), b"\0", &song.to_be_bytes()])
}

/// All such marks of words that begin so.
pub(crate) fn words(beginning: &str) -> Range {
    under(key(Kind::Word, &[beginning.as_bytes()]))
}

/// A playlist.
pub(crate) fn playlist(id: u64) -> Vec<u8> {
    key(Kind::Playlist, &[&id.to_be_bytes()])
}

/// A playlist's entries, in their order.
pub(crate) fn entries(playlist: u64) -> Vec<u8> {
    key(Kind::Entries, &[&playlist.to_be_bytes()])
}

/// The mark that a playlist of this owner has a song; its value is the playlist's number.
pub(crate) fn entry_of(song: u64, owner: u64, playlist: u64) -> Vec<u8> {
    key(Kind::EntryOf, &[&song.to_be_bytes(), &owner.to_be_bytes(), &playlist.to_be_bytes()])
}

/// All such marks for a song.
pub(crate) fn entries_with(song: u64) -> Range {
    under(key(Kind::EntryOf, &[&song.to_be_bytes()]))
}

/// All such marks for a song and the playlists of one owner.
pub(crate) fn entries_with_of(song: u64, owner: u64) -> Range {
    under(key(Kind::EntryOf, &[&song.to_be_bytes(), &owner.to_be_bytes()]))
}

/// The mark that a playlist is shared; its value is the number of the audience.
pub(crate) fn playlist_shared_with(playlist: u64, audience: Audience) -> Vec<u8> {
    key(Kind::PlaylistSharedWith, &[&playlist.to_be_bytes(), &audience.number().to_be_bytes()])
}

/// All such marks for a playlist.
pub(crate) fn playlist_shares(playlist: u64) -> Range {
    under(key(Kind::PlaylistSharedWith, &[&playlist.to_be_bytes()]))
}

/// The mark that a playlist is shared with this audience; its value is the playlist's number.
pub(crate) fn playlist_for(audience: Audience, playlist: u64) -> Vec<u8> {
    key(Kind::PlaylistFor, &[&audience.number().to_be_bytes(), &playlist.to_be_bytes()])
}

/// All such marks for an audience.
pub(crate) fn playlists_for(audience: Audience) -> Range {
    under(key(Kind::PlaylistFor, &[&audience.number().to_be_bytes()]))
}

/// The mark that a playlist is a user's; its value is the playlist's number.
pub(crate) fn playlist_of(user: u64, playlist: u64) -> Vec<u8> {
    key(Kind::PlaylistOf, &[&user.to_be_bytes(), &playlist.to_be_bytes()])
}

/// All such marks for a user.
pub(crate) fn playlists_of(user: u64) -> Range {
    under(key(Kind::PlaylistOf, &[&user.to_be_bytes()]))
}

/// The mark that a user likes a song; its value is the song's number.
pub(crate) fn favourite(user: u64, song: u64) -> Vec<u8> {
    key(Kind::Favourite, &[&user.to_be_bytes(), &song.to_be_bytes()])
}

/// All such marks for a user.
pub(crate) fn favourites_of(user: u64) -> Range {
    under(key(Kind::Favourite, &[&user.to_be_bytes()]))
}

/// The mark that a song is liked by a user; its value is the user's number.
pub(crate) fn favoured_by(song: u64, user: u64) -> Vec<u8> {
    key(Kind::FavouredBy, &[&song.to_be_bytes(), &user.to_be_bytes()])
}

/// All such marks for a song.
pub(crate) fn all_favoured_by(song: u64) -> Range {
    under(key(Kind::FavouredBy, &[&song.to_be_bytes()]))
}

/// How often a song was played.
pub(crate) fn plays(song: u64) -> Vec<u8> {
    key(Kind::Plays, &[&song.to_be_bytes()])
}

/// How a user has played a song.
pub(crate) fn played(user: u64, song: u64) -> Vec<u8> {
    key(Kind::Played, &[&user.to_be_bytes(), &song.to_be_bytes()])
}

/// The mark that a user last played a song at this time; its value is the song's number.
pub(crate) fn played_at(user: u64, at: u64, song: u64) -> Vec<u8> {
    key(Kind::PlayedAt, &[&user.to_be_bytes(), &at.to_be_bytes(), &song.to_be_bytes()])
}

/// All such marks for a user.
pub(crate) fn all_played(user: u64) -> Range {
    under(key(Kind::PlayedAt, &[&user.to_be_bytes()]))
}

/// How many bytes of such a mark come before the time.
pub(crate) const PLAYED_HEAD: usize = 9;

/// The mark that a song was played by a user; its value is the user's number.
pub(crate) fn played_by(song: u64, user: u64) -> Vec<u8> {
    key(Kind::PlayedBy, &[&song.to_be_bytes(), &user.to_be_bytes()])
}

/// All such marks for a song.
pub(crate) fn all_played_by(song: u64) -> Range {
    under(key(Kind::PlayedBy, &[&song.to_be_bytes()]))
}

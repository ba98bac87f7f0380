//! Where the state's values are: a letter for the kind, then numbers big-endian, so that the order of the keys is the
//! order of the numbers.

use storage::NodeId;
use storage::blobs::Hash;
use uuid::Uuid;

use super::{Audience, JobState, Order, Selection, TaskId};

const SONG: u8 = b's';
const JOB: u8 = b'j';
const TASK: u8 = b't';
const OPEN: u8 = b'o';
const SONG_OF: u8 = b'h';
const JOB_OF: u8 = b'm';
const OPEN_JOB_OF: u8 = b'w';
const MODEL: u8 = b'n';
const ANSWER: u8 = b'r';
const ANSWERED_AT: u8 = b'q';
const FORGOTTEN: u8 = b'Z';
const COUNTER: u8 = b'c';
const MARK: u8 = b'i';
const REACHED: u8 = b'M';
const RETIRED: u8 = b'x';
const OUTSIDE: u8 = b'u';
const USER: u8 = b'U';
const USER_NAMED: u8 = b'N';
const ADMINISTRATOR: u8 = b'A';
const SESSION: u8 = b'S';
const SESSION_OF: u8 = b'B';
const TOKEN: u8 = b'K';
const TOKEN_OF: u8 = b'T';
const TRIES: u8 = b'F';
const PASSING: u8 = b'E';
const VISIBLE: u8 = b'v';
const SHARED_WITH: u8 = b'G';
const LINK: u8 = b'L';
const LINK_OF: u8 = b'l';
const SEPARATION: u8 = b'p';
const JOB_IN: u8 = b'a';
const ENDED: u8 = b'z';
const LINES: u8 = b'y';
const HOOK: u8 = b'H';
const DELIVERY: u8 = b'D';
const DUE: u8 = b'd';
const DONE: u8 = b'0';
const DONE_OF: u8 = b'1';
const CARD: u8 = b'k';
const ROW: u8 = b'I';
const WORD: u8 = b'W';
const PLAYLIST: u8 = b'P';
const PLAYLIST_OF: u8 = b'Q';
const ENTRIES: u8 = b'O';
const ENTRY_OF: u8 = b'e';
const PLAYLIST_SHARED_WITH: u8 = b'g';
const PLAYLIST_FOR: u8 = b'V';
const FAVOURITE: u8 = b'f';
const FAVOURED_BY: u8 = b'b';
const PLAYS: u8 = b'C';
const PLAYED: u8 = b'Y';
const PLAYED_AT: u8 = b'R';
const PLAYED_BY: u8 = b'J';

fn key(kind: u8, parts: &[&[u8]]) -> Vec<u8> {
    // One more byte, for the generation that is put before it.
    let mut key = Vec::with_capacity(2 + parts.iter().map(|part| part.len()).sum::<usize>());
    key.push(kind);
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

/// A song.
pub(crate) fn song(id: u64) -> Vec<u8> {
    key(SONG, &[&id.to_be_bytes()])
}

/// How many bytes of a song's key come before its number.
pub(crate) const SONG_HEAD: usize = 1;

/// All songs, or those with a lower number.
pub(crate) fn songs(before: Option<u64>) -> Range {
    (vec![SONG], before.map_or_else(|| vec![SONG + 1], song))
}

/// The songs with a higher number.
pub(crate) fn songs_behind(id: u64) -> Range {
    (song(id.saturating_add(1)), vec![SONG + 1])
}

/// A job.
pub(crate) fn job(id: u64) -> Vec<u8> {
    key(JOB, &[&id.to_be_bytes()])
}

/// All jobs, or those with a lower number.
pub(crate) fn jobs(before: Option<u64>) -> Range {
    (vec![JOB], before.map_or_else(|| vec![JOB + 1], job))
}

/// The jobs with a higher number.
pub(crate) fn jobs_behind(id: u64) -> Range {
    (job(id.saturating_add(1)), vec![JOB + 1])
}

/// A model.
pub(crate) fn model(name: &str) -> Vec<u8> {
    key(MODEL, &[name.as_bytes()])
}

/// All models, in the order of their names.
pub(crate) fn models() -> Range {
    under(vec![MODEL])
}

/// A task.
pub(crate) fn task(id: TaskId) -> Vec<u8> {
    key(TASK, &[&id.job.to_be_bytes(), &id.index.to_be_bytes()])
}

/// A job's tasks.
pub(crate) fn tasks(job: u64) -> Range {
    under(key(TASK, &[&job.to_be_bytes()]))
}

/// The mark that a task is pending or running; its value is the task's number.
pub(crate) fn open(id: TaskId) -> Vec<u8> {
    key(OPEN, &[&id.job.to_be_bytes(), &id.index.to_be_bytes()])
}

/// All such marks.
pub(crate) fn all_open() -> Range {
    under(vec![OPEN])
}

/// A job's such marks.
pub(crate) fn open_of(job: u64) -> Range {
    under(key(OPEN, &[&job.to_be_bytes()]))
}

/// The mark that a job which has not ended is this owner's; its value is the job's number.
pub(crate) fn open_job_of(owner: &str, job: u64) -> Vec<u8> {
    key(OPEN_JOB_OF, &[&(owner.len() as u64).to_be_bytes(), owner.as_bytes(), &job.to_be_bytes()])
}

/// All such marks for an owner.
pub(crate) fn open_jobs_of(owner: &str) -> Range {
    under(key(OPEN_JOB_OF, &[&(owner.len() as u64).to_be_bytes(), owner.as_bytes()]))
}

/// The mark that a job is outside; its value is the job's number.
pub(crate) fn outside(job: u64) -> Vec<u8> {
    key(OUTSIDE, &[&job.to_be_bytes()])
}

/// All such marks.
pub(crate) fn all_outside() -> Range {
    under(vec![OUTSIDE])
}

/// The mark that a song has this file.
pub(crate) fn song_of(hash: &Hash, song: u64) -> Vec<u8> {
    key(SONG_OF, &[hash.as_bytes(), &song.to_be_bytes()])
}

/// All such marks for a file.
pub(crate) fn songs_of(hash: &Hash) -> Range {
    under(key(SONG_OF, &[hash.as_bytes()]))
}

/// The job of a file, a model, formats and a selection of stems.
pub(crate) fn job_of(hash: &Hash, model: &str, formats: &[String], selection: &Selection) -> Vec<u8> {
    let mut key = key(JOB_OF, &[hash.as_bytes(), model.as_bytes(), b"\0", formats.join(",").as_bytes()]);
    if *selection != Selection::All {
        key.push(0);
        key.extend_from_slice(selection.to_string().as_bytes());
    }
    key
}

/// The mark that a job separates a song besides the song's own job; its value is the job's number.
pub(crate) fn separation(song: u64, job: u64) -> Vec<u8> {
    key(SEPARATION, &[&song.to_be_bytes(), &job.to_be_bytes()])
}

/// All such marks for a song.
pub(crate) fn separations_of(song: u64) -> Range {
    under(key(SEPARATION, &[&song.to_be_bytes()]))
}

/// The mark that a job is in this state; its value is the job's number.
pub(crate) fn job_in(state: JobState, job: u64) -> Vec<u8> {
    key(JOB_IN, &[&[state as u8], &job.to_be_bytes()])
}

/// All such marks for a state, or those of jobs with a lower number.
pub(crate) fn jobs_in(state: JobState, before: Option<u64>) -> Range {
    let (from, to) = under(key(JOB_IN, &[&[state as u8]]));
    (from, before.map_or(to, |before| job_in(state, before)))
}

/// The mark that a job ended at this time; its value is the job's number.
pub(crate) fn ended(at: u64, job: u64) -> Vec<u8> {
    key(ENDED, &[&at.to_be_bytes(), &job.to_be_bytes()])
}

/// All such marks from this time on.
pub(crate) fn ended_since(at: u64) -> Range {
    (key(ENDED, &[&at.to_be_bytes()]), vec![ENDED + 1])
}

/// What a worker said of an attempt.
pub(crate) fn lines(task: TaskId, attempt: u32) -> Vec<u8> {
    key(LINES, &[&task.job.to_be_bytes(), &task.index.to_be_bytes(), &attempt.to_be_bytes()])
}

/// What workers said of all attempts at a job.
pub(crate) fn lines_of(job: u64) -> Range {
    under(key(LINES, &[&job.to_be_bytes()]))
}

/// What workers said of the attempts at a task before this one.
pub(crate) fn lines_before(task: TaskId, attempt: u32) -> Range {
    (lines(task, 0), lines(task, attempt))
}

/// A user's web hook.
pub(crate) fn hook(user: u64, id: u64) -> Vec<u8> {
    key(HOOK, &[&user.to_be_bytes(), &id.to_be_bytes()])
}

/// All web hooks of a user.
pub(crate) fn hooks_of(user: u64) -> Range {
    under(key(HOOK, &[&user.to_be_bytes()]))
}

/// What a web hook is to be told, or was.
pub(crate) fn delivery(hook: u64, id: u64) -> Vec<u8> {
    key(DELIVERY, &[&hook.to_be_bytes(), &id.to_be_bytes()])
}

/// All of it.
pub(crate) fn deliveries_of(hook: u64) -> Range {
    under(key(DELIVERY, &[&hook.to_be_bytes()]))
}

/// The mark that a delivery is to be tried at this time; its value names it.
pub(crate) fn due(at: u64, delivery: u64) -> Vec<u8> {
    key(DUE, &[&at.to_be_bytes(), &delivery.to_be_bytes()])
}

/// All such marks.
pub(crate) fn all_due() -> Range {
    under(vec![DUE])
}

/// The answer to a request.
pub(crate) fn answer(request: &Uuid) -> Vec<u8> {
    key(ANSWER, &[request.as_bytes()])
}

/// Which request was answered at this place of the log.
pub(crate) fn answered_at(index: u64, place: u32) -> Vec<u8> {
    key(ANSWERED_AT, &[&index.to_be_bytes(), &place.to_be_bytes()])
}

/// The requests answered from one place of the log up to and without another.
pub(crate) fn answered_between(from: u64, until: u64) -> Range {
    (answered_at(from, 0), answered_at(until, 0))
}

/// The place of the log up to which the requests answered are forgotten.
pub(crate) fn forgotten() -> Vec<u8> {
    vec![FORGOTTEN]
}

/// The last number given to something.
pub(crate) fn counter(name: &str) -> Vec<u8> {
    key(COUNTER, &[name.as_bytes()])
}

/// What the cluster is called and which commands it takes.
pub(crate) fn mark() -> Vec<u8> {
    vec![MARK]
}

/// How far songs and jobs are listed while the level is raised.
pub(crate) fn reached() -> Vec<u8> {
    vec![REACHED]
}

/// The mark that a node leaves or has left.
pub(crate) fn retired(node: NodeId) -> Vec<u8> {
    key(RETIRED, &[&node.to_be_bytes()])
}

/// All such marks.
pub(crate) fn all_retired() -> Range {
    under(vec![RETIRED])
}

/// A user.
pub(crate) fn user(id: u64) -> Vec<u8> {
    key(USER, &[&id.to_be_bytes()])
}

/// All users, or those with a lower number.
pub(crate) fn users(before: Option<u64>) -> Range {
    (vec![USER], before.map_or_else(|| vec![USER + 1], user))
}

/// The number of the user with this folded name.
pub(crate) fn user_named(folded: &str) -> Vec<u8> {
    key(USER_NAMED, &[folded.as_bytes()])
}

/// The mark that a user is an administrator; its value is the user's number.
pub(crate) fn administrator(user: u64) -> Vec<u8> {
    key(ADMINISTRATOR, &[&user.to_be_bytes()])
}

/// All such marks.
pub(crate) fn administrators() -> Range {
    under(vec![ADMINISTRATOR])
}

/// A session, by the hash of its secret.
pub(crate) fn session(secret: &Hash) -> Vec<u8> {
    key(SESSION, &[secret.as_bytes()])
}

/// The mark that a session is a user's; its value is the hash of its secret.
pub(crate) fn session_of(user: u64, id: u64) -> Vec<u8> {
    key(SESSION_OF, &[&user.to_be_bytes(), &id.to_be_bytes()])
}

/// All such marks for a user.
pub(crate) fn sessions_of(user: u64) -> Range {
    under(key(SESSION_OF, &[&user.to_be_bytes()]))
}

/// A token, by the hash of its secret.
pub(crate) fn token(secret: &Hash) -> Vec<u8> {
    key(TOKEN, &[secret.as_bytes()])
}

/// The mark that a token is a user's; its value is the hash of its secret.
pub(crate) fn token_of(user: u64, id: u64) -> Vec<u8> {
    key(TOKEN_OF, &[&user.to_be_bytes(), &id.to_be_bytes()])
}

/// All such marks for a user.
pub(crate) fn tokens_of(user: u64) -> Range {
    under(key(TOKEN_OF, &[&user.to_be_bytes()]))
}

/// How often something was tried.
pub(crate) fn tries(of: &Hash) -> Vec<u8> {
    key(TRIES, &[of.as_bytes()])
}

/// The mark that something goes at this time; its value says what.
pub(crate) fn passing(at: u64, what: &Hash) -> Vec<u8> {
    key(PASSING, &[&at.to_be_bytes(), what.as_bytes()])
}

/// All such marks before this time.
pub(crate) fn passed(at: u64) -> Range {
    (vec![PASSING], key(PASSING, &[&at.to_be_bytes()]))
}

/// The mark that a song is in an audience's list; its value is the song's number.
pub(crate) fn visible(audience: Audience, song: u64) -> Vec<u8> {
    key(VISIBLE, &[&audience.number().to_be_bytes(), &song.to_be_bytes()])
}

/// All such marks for an audience, or those of songs with a lower number.
pub(crate) fn all_visible(audience: Audience, before: Option<u64>) -> Range {
    let (from, to) = under(key(VISIBLE, &[&audience.number().to_be_bytes()]));
    (from, before.map_or(to, |before| visible(audience, before)))
}

/// The mark that a song is shared; its value is the number of the audience.
pub(crate) fn shared_with(song: u64, audience: Audience) -> Vec<u8> {
    key(SHARED_WITH, &[&song.to_be_bytes(), &audience.number().to_be_bytes()])
}

/// All such marks for a song.
pub(crate) fn shares_of(song: u64) -> Range {
    under(key(SHARED_WITH, &[&song.to_be_bytes()]))
}

/// A link, by the hash of its secret.
pub(crate) fn link(secret: &Hash) -> Vec<u8> {
    key(LINK, &[secret.as_bytes()])
}

/// The mark that a link opens a song; its value is the hash of its secret.
pub(crate) fn link_of(song: u64, id: u64) -> Vec<u8> {
    key(LINK_OF, &[&song.to_be_bytes(), &id.to_be_bytes()])
}

/// All such marks for a song.
pub(crate) fn links_of(song: u64) -> Range {
    under(key(LINK_OF, &[&song.to_be_bytes()]))
}

/// What a client's key stands for.
pub(crate) fn done(key_of: &Hash) -> Vec<u8> {
    key(DONE, &[key_of.as_bytes()])
}

/// The mark that a key is this owner's, in the order of their coming; its value is the key.
pub(crate) fn done_of(owner: &Hash, number: u64) -> Vec<u8> {
    key(DONE_OF, &[owner.as_bytes(), &number.to_be_bytes()])
}

/// All such marks for an owner.
pub(crate) fn all_done_of(owner: &Hash) -> Range {
    under(key(DONE_OF, &[owner.as_bytes()]))
}

/// A song's card.
pub(crate) fn card(song: u64) -> Vec<u8> {
    key(CARD, &[&song.to_be_bytes()])
}

/// The row of a song in an order; its value is the song's number.
pub(crate) fn row(order: Order, place: &[u8]) -> Vec<u8> {
    key(ROW, &[&[order as u8], place])
}

/// All rows of an order.
pub(crate) fn rows(order: Order) -> Range {
    under(key(ROW, &[&[order as u8]]))
}

/// The rows of an order whose places begin so.
pub(crate) fn rows_at(order: Order, place: &[u8]) -> Range {
    under(row(order, place))
}

/// How many bytes of a row's key come before the place.
pub(crate) const ROW_HEAD: usize = 2;

/// The mark that a song has a word; its value is the song's number.
pub(crate) fn word(word: &str, song: u64) -> Vec<u8> {
    key(WORD, &[word.as_bytes(), b"\0", &song.to_be_bytes()])
}

/// All such marks of words that begin so.
pub(crate) fn words(beginning: &str) -> Range {
    under(key(WORD, &[beginning.as_bytes()]))
}

/// A playlist.
pub(crate) fn playlist(id: u64) -> Vec<u8> {
    key(PLAYLIST, &[&id.to_be_bytes()])
}

/// A playlist's entries, in their order.
pub(crate) fn entries(playlist: u64) -> Vec<u8> {
    key(ENTRIES, &[&playlist.to_be_bytes()])
}

/// The mark that a playlist of this owner has a song; its value is the playlist's number.
pub(crate) fn entry_of(song: u64, owner: u64, playlist: u64) -> Vec<u8> {
    key(ENTRY_OF, &[&song.to_be_bytes(), &owner.to_be_bytes(), &playlist.to_be_bytes()])
}

/// All such marks for a song.
pub(crate) fn entries_with(song: u64) -> Range {
    under(key(ENTRY_OF, &[&song.to_be_bytes()]))
}

/// All such marks for a song and the playlists of one owner.
pub(crate) fn entries_with_of(song: u64, owner: u64) -> Range {
    under(key(ENTRY_OF, &[&song.to_be_bytes(), &owner.to_be_bytes()]))
}

/// The mark that a playlist is shared; its value is the number of the audience.
pub(crate) fn playlist_shared_with(playlist: u64, audience: Audience) -> Vec<u8> {
    key(PLAYLIST_SHARED_WITH, &[&playlist.to_be_bytes(), &audience.number().to_be_bytes()])
}

/// All such marks for a playlist.
pub(crate) fn playlist_shares(playlist: u64) -> Range {
    under(key(PLAYLIST_SHARED_WITH, &[&playlist.to_be_bytes()]))
}

/// The mark that a playlist is shared with this audience; its value is the playlist's number.
pub(crate) fn playlist_for(audience: Audience, playlist: u64) -> Vec<u8> {
    key(PLAYLIST_FOR, &[&audience.number().to_be_bytes(), &playlist.to_be_bytes()])
}

/// All such marks for an audience.
pub(crate) fn playlists_for(audience: Audience) -> Range {
    under(key(PLAYLIST_FOR, &[&audience.number().to_be_bytes()]))
}

/// The mark that a playlist is a user's; its value is the playlist's number.
pub(crate) fn playlist_of(user: u64, playlist: u64) -> Vec<u8> {
    key(PLAYLIST_OF, &[&user.to_be_bytes(), &playlist.to_be_bytes()])
}

/// All such marks for a user.
pub(crate) fn playlists_of(user: u64) -> Range {
    under(key(PLAYLIST_OF, &[&user.to_be_bytes()]))
}

/// The mark that a user likes a song; its value is the song's number.
pub(crate) fn favourite(user: u64, song: u64) -> Vec<u8> {
    key(FAVOURITE, &[&user.to_be_bytes(), &song.to_be_bytes()])
}

/// All such marks for a user.
pub(crate) fn favourites_of(user: u64) -> Range {
    under(key(FAVOURITE, &[&user.to_be_bytes()]))
}

/// The mark that a song is liked by a user; its value is the user's number.
pub(crate) fn favoured_by(song: u64, user: u64) -> Vec<u8> {
    key(FAVOURED_BY, &[&song.to_be_bytes(), &user.to_be_bytes()])
}

/// All such marks for a song.
pub(crate) fn all_favoured_by(song: u64) -> Range {
    under(key(FAVOURED_BY, &[&song.to_be_bytes()]))
}

/// How often a song was played.
pub(crate) fn plays(song: u64) -> Vec<u8> {
    key(PLAYS, &[&song.to_be_bytes()])
}

/// How a user has played a song.
pub(crate) fn played(user: u64, song: u64) -> Vec<u8> {
    key(PLAYED, &[&user.to_be_bytes(), &song.to_be_bytes()])
}

/// The mark that a user last played a song at this time; its value is the song's number.
pub(crate) fn played_at(user: u64, at: u64, song: u64) -> Vec<u8> {
    key(PLAYED_AT, &[&user.to_be_bytes(), &at.to_be_bytes(), &song.to_be_bytes()])
}

/// All such marks for a user.
pub(crate) fn all_played(user: u64) -> Range {
    under(key(PLAYED_AT, &[&user.to_be_bytes()]))
}

/// How many bytes of such a mark come before the time.
pub(crate) const PLAYED_HEAD: usize = 9;

/// The mark that a song was played by a user; its value is the user's number.
pub(crate) fn played_by(song: u64, user: u64) -> Vec<u8> {
    key(PLAYED_BY, &[&song.to_be_bytes(), &user.to_be_bytes()])
}

/// All such marks for a song.
pub(crate) fn all_played_by(song: u64) -> Range {
    under(key(PLAYED_BY, &[&song.to_be_bytes()]))
}

//! The outcome of a command: an answer or a refusal.
//!
//! Both follow from the state and the command alone, so every replica comes to the same. They are stored under the id of
//! the request that they answer, and sent to the node that asked.

use serde::{Deserialize, Serialize};

use crate::{JobState, Song, Task, TaskId};

/// What a command has done.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Answer {
    /// It is done.
    Done,
    /// The new song.
    Song(Song),
    /// The task, which now belongs to the worker that claimed it.
    Claimed(Task),
    /// The number of the job that does what was asked for.
    Job(u64),
    /// The number of the new user, session, token, link, hook or playlist.
    Made(u64),
}

/// Why a command was not applied.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum Refusal {
    /// The song does not exist.
    #[error("there is no song {0}")]
    NoSuchSong(u64),
    /// The job does not exist.
    #[error("there is no job {0}")]
    NoSuchJob(u64),
    /// Another worker has the task, or it needs no work any more.
    #[error("the task is not this worker's")]
    ClaimLost,
    /// A task of this kind has no such output.
    #[error("task {0} does not have such an output")]
    WrongOutput(TaskId),
    /// The job's state does not allow the command.
    #[error("job {job} is {state}; it cannot be {wish}")]
    WrongState {
        /// The job's number.
        job: u64,
        /// Its state.
        state: JobState,
        /// What was asked for, as a participle.
        wish: String,
    },
    /// The owner has the highest number of open jobs.
    #[error("there may be {limit} open jobs for one user; wait until one of them has ended, or cancel one")]
    TooManyJobs {
        /// The highest number.
        limit: u32,
    },
    /// Another model has this name.
    #[error("there is another model {0} already; remove it first")]
    ModelTaken(String),
    /// The model does not exist.
    #[error("there is no model {0}")]
    NoSuchModel(String),
    /// The plan has no segments, or tasks without segments.
    #[error("a song needs at least one segment, and a task too")]
    EmptyPlan,
    /// Not a name for a user.
    #[error("{0}", crate::NoName)]
    NoName,
    /// Another user has this name.
    #[error("the name {0} is taken; choose another one")]
    NameTaken(String),
    /// Registration is closed.
    #[error("this cluster takes no new users; ask an administrator for an account")]
    Closed,
    /// The user does not exist.
    #[error("there is no user {0}")]
    NoSuchUser(u64),
    /// The password was changed in the meantime.
    #[error("the password has just been changed; use the new one")]
    PasswordChanged,
    /// The session does not exist.
    #[error("there is no session {0}")]
    NoSuchSession(u64),
    /// The token does not exist.
    #[error("there is no token {0}")]
    NoSuchToken(u64),
    /// The user has the highest number of tokens.
    #[error("there may be {0} tokens for one user; revoke one first")]
    TooManyTokens(usize),
    /// The link does not exist.
    #[error("there is no link {0}")]
    NoSuchLink(u64),
    /// The song has the highest number of shares or links.
    #[error("a song may be shared in {0} ways; end one of them first")]
    TooManyShares(usize),
    /// The song is not shared with this audience.
    #[error("the song {0} is not shared so")]
    NotShared(u64),
    /// A rate limit is reached.
    #[error("that was tried too often; try again in {} seconds", .wait_ms.div_ceil(1000))]
    RateLimited {
        /// Milliseconds until the limit allows more.
        wait_ms: u64,
    },
    /// There must always be an administrator.
    #[error("this is the last administrator; make somebody else one first")]
    LastAdministrator,
    /// The command does not say what becomes of the user's songs.
    #[error("the user has {0} songs; say what becomes of them")]
    HasSongs(u64),
    /// The song has the highest number of separations.
    #[error("a song may have {0} separations besides its first one; remove one of them first")]
    TooManySeparations(usize),
    /// The job is the song's own.
    #[error("job {job} is the song {song}'s own; it goes with the song")]
    OwnJob {
        /// The song's number.
        song: u64,
        /// The job's number.
        job: u64,
    },
    /// The user has the highest number of hooks.
    #[error("there may be {0} web hooks for one user; remove one first")]
    TooManyHooks(usize),
    /// The hook does not exist.
    #[error("there is no web hook {0}")]
    NoSuchHook(u64),
    /// The delivery is not pending, or another attempt was recorded first.
    #[error("the delivery {0} is not to be made")]
    NoSuchDelivery(u64),
    /// The idempotency key stands for another upload.
    #[error("this key was used for another upload; take a new one for each song, and the same only to send it again")]
    KeyTaken,
    /// The song that the idempotency key stands for was removed.
    #[error("the song {0} was uploaded with this key and has been deleted since; take a new key to upload it again")]
    SongOfKeyGone(u64),
    /// The playlist does not exist.
    #[error("there is no playlist {0}")]
    NoSuchPlaylist(u64),
    /// The playlist has no such entry.
    #[error("the playlist has no entry {0}")]
    NoSuchEntry(u64),
    /// The user has the highest number of playlists.
    #[error("there may be {0} playlists for one user; delete one first")]
    TooManyPlaylists(usize),
    /// The playlist has the highest number of entries.
    #[error("a playlist may have {0} songs; begin another one")]
    PlaylistFull(usize),
    /// The playlist has the highest number of shares.
    #[error("a playlist may be shared in {0} ways; end one of them first")]
    PlaylistSharedTooOften(usize),
    /// The playlist is not shared with this audience.
    #[error("the playlist {0} is not shared so")]
    PlaylistNotShared(u64),
    /// The new order does not name each entry once.
    #[error("these are not the playlist's entries, each once; read it again, it may have changed")]
    OtherEntries,
    /// The user has the highest number of favourites.
    #[error("there may be {0} favourites for one user; make a playlist of them")]
    TooManyFavourites(usize),
    /// The command is newer than the cluster's feature level.
    #[error(
        "this needs feature level {needed} and the cluster is at {level}: it works when all members run this version"
    )]
    NotYet {
        /// The level that introduced the command.
        needed: u32,
        /// The cluster's level.
        level: u32,
    },
}

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
    /// The number of the job that the request joined or added.
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
    /// Another worker has the task, or the task needs no work any more.
    #[error("another worker has the task, or it needs no work any more")]
    ClaimLost,
    /// A task of this kind has no such output.
    #[error("task {0} cannot have this output")]
    WrongOutput(TaskId),
    /// The job's state does not allow the command.
    #[error("job {job} is {state}; it cannot be {wish}")]
    WrongState {
        /// The job's number.
        job: u64,
        /// Its state.
        state: JobState,
        /// The requested change, as a participle.
        wish: String,
    },
    /// The owner has the highest number of open jobs.
    #[error("a user can have at most {limit} open jobs: wait until one has ended, or cancel one")]
    TooManyJobs {
        /// The highest number.
        limit: u32,
    },
    /// Another model has this name.
    #[error("another model has the name {0}: remove it first")]
    ModelTaken(String),
    /// The model does not exist.
    #[error("there is no model {0}")]
    NoSuchModel(String),
    /// The plan has no segments, or tasks without segments.
    #[error("the plan is empty: a song and a task need at least one segment")]
    EmptyPlan,
    /// Not a name for a user.
    #[error("{0}", crate::NoName)]
    NoName,
    /// Another user has this name.
    #[error("the name {0} is taken: choose another one")]
    NameTaken(String),
    /// Registration is closed.
    #[error("registration is closed: ask an administrator for an account")]
    Closed,
    /// The user does not exist.
    #[error("there is no user {0}")]
    NoSuchUser(u64),
    /// The password was changed in the meantime.
    #[error("the password was changed: use the new one")]
    PasswordChanged,
    /// The session does not exist.
    #[error("there is no session {0}")]
    NoSuchSession(u64),
    /// The token does not exist.
    #[error("there is no token {0}")]
    NoSuchToken(u64),
    /// The user has the highest number of tokens.
    #[error("a user can have at most {0} tokens: revoke one first")]
    TooManyTokens(usize),
    /// The link does not exist.
    #[error("there is no link {0}")]
    NoSuchLink(u64),
    /// The song has the highest number of shares or links.
    #[error("a song can have at most {0} shares and {0} links: remove one first")]
    TooManyShares(usize),
    /// The song is not shared with this audience.
    #[error("song {0} has no such share")]
    NotShared(u64),
    /// A rate limit is reached.
    #[error("too many attempts: try again in {} seconds", .wait_ms.div_ceil(1000))]
    RateLimited {
        /// Milliseconds until the limit allows more.
        wait_ms: u64,
    },
    /// There must always be an administrator.
    #[error("this is the last administrator: make another user an administrator first")]
    LastAdministrator,
    /// The user has songs, and the command names no policy for them.
    #[error("the user has {0} songs: choose whether to delete or to transfer them")]
    HasSongs(u64),
    /// The song has the highest number of separations.
    #[error("a song can have at most {0} separations besides its own: remove one first")]
    TooManySeparations(usize),
    /// The job is the song's own.
    #[error("job {job} is the own job of song {song}: it is removed together with the song")]
    OwnJob {
        /// The song's number.
        song: u64,
        /// The job's number.
        job: u64,
    },
    /// The user has the highest number of hooks.
    #[error("a user can have at most {0} web hooks: remove one first")]
    TooManyHooks(usize),
    /// The hook does not exist.
    #[error("there is no web hook {0}")]
    NoSuchHook(u64),
    /// The delivery is not pending, or another attempt was recorded first.
    #[error("delivery {0} is not pending, or another attempt was recorded first")]
    NoSuchDelivery(u64),
    /// The idempotency key stands for another upload.
    #[error(
        "this key was used for another upload: use a new key for each song, and the same key only to repeat an upload"
    )]
    KeyTaken,
    /// The song that the idempotency key stands for was removed.
    #[error("song {0} was uploaded with this key and was deleted since: use a new key to upload it again")]
    SongOfKeyGone(u64),
    /// The playlist does not exist.
    #[error("there is no playlist {0}")]
    NoSuchPlaylist(u64),
    /// The playlist has no such entry.
    #[error("the playlist has no entry {0}")]
    NoSuchEntry(u64),
    /// The user has the highest number of playlists.
    #[error("a user can have at most {0} playlists: delete one first")]
    TooManyPlaylists(usize),
    /// The playlist has the highest number of entries.
    #[error("a playlist can have at most {0} songs: start another one")]
    PlaylistFull(usize),
    /// The playlist has the highest number of shares.
    #[error("a playlist can have at most {0} shares: remove one first")]
    PlaylistSharedTooOften(usize),
    /// The playlist is not shared with this audience.
    #[error("playlist {0} has no such share")]
    PlaylistNotShared(u64),
    /// The new order does not name each entry once.
    #[error("the order must name each entry of the playlist once: read the playlist again, it may have changed")]
    OtherEntries,
    /// The user has the highest number of favourites.
    #[error("a user can have at most {0} favourites: make a playlist of them")]
    TooManyFavourites(usize),
    /// The command is newer than the cluster's feature level.
    #[error(
        "this needs feature level {needed}, and the cluster is at {level}: it works when all members run this version"
    )]
    NotYet {
        /// The level that introduced the command.
        needed: u32,
        /// The cluster's level.
        level: u32,
    },
}

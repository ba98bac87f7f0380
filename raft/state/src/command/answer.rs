//! What a command comes to: an answer, or a refusal.
//!
//! Both follow from the state and the command alone, so every replica comes to the same. They are remembered under
//! the id of the request that they answer, and travel to whoever asked.

use serde::{Deserialize, Serialize};

use crate::{Song, Task};

/// What a command came to.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Answer {
    /// It is so.
    Done,
    /// The new song.
    Song(Song),
    /// The task, now the asker's.
    Claimed(Task),
    /// The job that does what was asked for.
    Job(u64),
    /// The number of the new user, session, token, link, hook or playlist.
    Made(u64),
}

/// Why a command did not do what it is for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum Refusal {
    /// No such song.
    #[error("there is no song {0}")]
    NoSuchSong(u64),
    /// No such job.
    #[error("there is no job {0}")]
    NoSuchJob(u64),
    /// Somebody else has the task, or it needs no work any more.
    #[error("the task is not this worker's")]
    ClaimLost,
    /// The job is in a state in which this cannot be done.
    #[error("job {job} is {state}; it cannot be {wish}")]
    WrongState {
        /// Which.
        job: u64,
        /// What it is.
        state: String,
        /// What was wanted.
        wish: String,
    },
    /// The owner has as many open jobs as one may have.
    #[error("there may be {limit} open jobs for one user; wait until one of them has ended, or cancel one")]
    TooManyJobs {
        /// How many there may be.
        limit: u32,
    },
    /// Another model has this name.
    #[error("there is another model {0} already; remove it first")]
    ModelTaken(String),
    /// No such model.
    #[error("there is no model {0}")]
    NoSuchModel(String),
    /// The plan has no segments, or tasks without any.
    #[error("a song needs at least one segment, and a task too")]
    EmptyPlan,
    /// What cannot be a name.
    #[error("{0}", crate::NoName)]
    NoName,
    /// Another user has this name.
    #[error("the name {0} is taken; choose another one")]
    NameTaken(String),
    /// Nobody may register.
    #[error("this cluster takes no new users; ask an administrator for an account")]
    Closed,
    /// No such user.
    #[error("there is no user {0}")]
    NoSuchUser(u64),
    /// The password was changed in the meantime.
    #[error("the password has just been changed; use the new one")]
    PasswordChanged,
    /// No such session.
    #[error("there is no session {0}")]
    NoSuchSession(u64),
    /// No such token.
    #[error("there is no token {0}")]
    NoSuchToken(u64),
    /// As many tokens as one may have.
    #[error("there may be {0} tokens for one user; revoke one first")]
    TooManyTokens(usize),
    /// No such link.
    #[error("there is no link {0}")]
    NoSuchLink(u64),
    /// As many links or shares as one song may have.
    #[error("a song may be shared in {0} ways; end one of them first")]
    TooManyShares(usize),
    /// The song is not shared so.
    #[error("the song {0} is not shared so")]
    NotShared(u64),
    /// It was tried too often.
    #[error("that was tried too often; try again in {} seconds", .wait_ms.div_ceil(1000))]
    TooManyTries {
        /// For how long nothing more is tried.
        wait_ms: u64,
    },
    /// Somebody must be able to put things right.
    #[error("this is the last administrator; make somebody else one first")]
    LastAdministrator,
    /// What becomes of the songs was not said.
    #[error("the user has {0} songs; say what becomes of them")]
    HasSongs(u64),
    /// As many separations as one song may have.
    #[error("a song may have {0} separations besides its first one; remove one of them first")]
    TooManySeparations(usize),
    /// The job is the song's own.
    #[error("job {job} is the song {song}'s own; it goes with the song")]
    OwnJob {
        /// Which song.
        song: u64,
        /// Which job.
        job: u64,
    },
    /// As many hooks as one may have.
    #[error("there may be {0} web hooks for one user; remove one first")]
    TooManyHooks(usize),
    /// No such hook.
    #[error("there is no web hook {0}")]
    NoSuchHook(u64),
    /// No such delivery that is still to be made, or another try came first.
    #[error("the delivery {0} is not to be made")]
    NoSuchDelivery(u64),
    /// The client's key stands for something else.
    #[error("this key was used for another upload; take a new one for each song, and the same only to send it again")]
    KeyTaken,
    /// The song that the key stands for is deleted.
    #[error("the song {0} was uploaded with this key and has been deleted since; take a new key to upload it again")]
    SongOfKeyGone(u64),
    /// No such playlist.
    #[error("there is no playlist {0}")]
    NoSuchPlaylist(u64),
    /// No such entry of a playlist.
    #[error("the playlist has no entry {0}")]
    NoSuchEntry(u64),
    /// As many playlists as a user may have.
    #[error("there may be {0} playlists for one user; delete one first")]
    TooManyPlaylists(usize),
    /// The playlist is full.
    #[error("a playlist may have {0} songs; begin another one")]
    PlaylistFull(usize),
    /// As many shares as one playlist may have.
    #[error("a playlist may be shared in {0} ways; end one of them first")]
    PlaylistSharedTooOften(usize),
    /// The playlist is not shared so.
    #[error("the playlist {0} is not shared so")]
    PlaylistNotShared(u64),
    /// The order does not name each entry once.
    #[error("these are not the playlist's entries, each once; read it again, it may have changed")]
    OtherEntries,
    /// As many favourites as a user may have.
    #[error("there may be {0} favourites for one user; make a playlist of them")]
    TooManyFavourites(usize),
    /// Not all members understand accounts.
    #[error("a member still runs a version without accounts; upgrade it first")]
    NoAccounts,
}

//! What the cluster knows: pure functions from a state and a command to a state, events and an answer.
//!
//! Invariants, on which the replicas' equality rests: applying reads no clock, no random number and no map in hash
//! order; a refusal changes nothing, but that what has ended may be swept away before it; an error that is not a refusal
//! stops the node.
//!
//! The state lives in the database. A `Transaction` lays the changes of a log entry's commands over it, and the caller
//! writes them in one batch together with the log's position.
//!
//! `apply` says which file's step a command is. A file says what its things are, and below that how they are made and
//! changed; `view` is for readers.

#![cfg_attr(test, allow(clippy::unwrap_used))]

mod accounts;
mod apply;
pub mod card;
pub mod command;
mod history;
mod hook;
mod index;
#[cfg(test)]
mod invariants;
mod job;
pub(crate) mod keys;
mod line;
mod listening;
mod mark;
mod model;
mod once;
mod outside;
mod passing;
mod playlist;
mod raise;
mod read;
mod remembered;
#[cfg(test)]
mod scripted;
mod separation;
mod session;
mod share;
mod sharing;
mod song;
mod stems;
mod task;
mod transaction;
mod tries;
mod user;
mod view;

use serde::{Deserialize, Serialize};
use storage::codec::CodecError;
use storage::database::DatabaseError;

pub use apply::apply;
pub use card::{Card, Order};
pub use hook::{Delivery, Due, Fate, Hook, Tried, Try};
pub use job::{Job, JobState, NoPriority, NoState, Passage, Priority};
pub use line::{LINES_BYTES, LINES_KEPT, Level, Line};
pub use listening::Played;
pub use mark::{ACCOUNTS, JOBS, LEVEL, Mark, OUTSIDE, new_cluster};
pub use model::{Model, ModelFile};
pub use once::Done;
pub use outside::Road;
pub use playlist::{Entry, MOST_PLAYLISTS, Playlist};
pub(crate) use read::Read;
pub use session::{Sealed, Session, Token};
pub use share::{Audience, Legacy, Link};
pub use song::{Cover, Credits, Edit, Song, SongEdit, SongStatus};
pub use stems::{Facts, Selection, Stems};
pub use task::{Attempt, Ending, Output, Plan, Task, TaskId, TaskKind, TaskState};
pub use transaction::{Changes, Transaction};
pub use tries::{Count, Tries};
pub use user::{Asker, NAME_LENGTH, NoName, User, Verifier, folded};
pub use view::{View, within};

/// The state could not be read.
#[derive(Debug, thiserror::Error)]
pub enum ViewError {
    /// The disk failed.
    #[error(transparent)]
    Database(#[from] DatabaseError),
    /// A value is not what it should be.
    #[error("the state holds a value that cannot be read: {0}")]
    Wire(#[from] CodecError),
}

/// Something about this changed; look at the state to see what.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Event {
    /// A song is new or has another status.
    Song {
        /// Which.
        id: u64,
    },
    /// A song is gone, or is not for this audience any more.
    SongRemoved {
        /// Which.
        id: u64,
        /// Who had it.
        audience: Audience,
    },
    /// A job or one of its tasks.
    Job {
        /// Which.
        id: u64,
    },
}

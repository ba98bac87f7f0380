//! What the cluster knows: pure functions from a state and a command to a state, events and an answer.
//!
//! Invariants, on which the replicas' equality rests: applying reads no clock, no random number and no map in hash
//! order; a refusal changes nothing; an error that is not a refusal stops the node.
//!
//! The state lives in the database. [`Transaction`] lays a command's changes over it, and the caller writes them in
//! one batch together with the log's position.

mod accounts;
mod apply;
pub mod card;
mod history;
pub mod hook;
mod index;
#[cfg(test)]
mod invariants;
pub mod job;
pub mod keys;
pub mod line;
pub mod listening;
mod mark;
pub mod model;
mod once;
pub mod playlist;
mod raise;
#[cfg(test)]
mod scripted;
mod separation;
pub mod session;
pub mod share;
mod sharing;
pub mod song;
mod transaction;
pub mod user;
mod view;

use serde::{Deserialize, Serialize};
use storage::database::DatabaseError;
use storage::wire::WireError;

pub use apply::apply;
pub use card::{Card, Order};
pub use hook::{Delivery, Due, Fate, Hook, MOST_HOOKS, Tried, Try};
pub use job::{
    Attempt, Ending, Facts, Job, JobState, NoPriority, NoState, Output, Passage, Plan, Priority, Road, Selection,
    Stems, Task, TaskId, TaskKind, TaskState,
};
pub use line::{LINES_BYTES, LINES_KEPT, Level, Line};
pub use listening::{MOST_FAVOURITES, Played};
pub use mark::{ACCOUNTS, JOBS, LEVEL, Mark, OUTSIDE};
pub use model::{Model, ModelFile};
pub use once::Done;
pub use playlist::{Entry, MOST_ENTRIES, MOST_PLAYLISTS, Playlist};
pub(crate) use session::Passing;
pub use session::{Count, Sealed, Session, Token, Tries};
pub use share::{Audience, Legacy, Link};
pub use song::{Cover, Credits, Edit, Song, SongEdit, SongStatus};
pub use transaction::{Changes, Transaction};
pub use user::{Asker, NAME_LENGTH, NoName, User, Verifier, folded};
pub use view::View;
pub(crate) use view::{Read, within};

/// The state could not be read.
#[derive(Debug, thiserror::Error)]
pub enum ViewError {
    /// The disk failed.
    #[error(transparent)]
    Database(#[from] DatabaseError),
    /// A value is not what it should be.
    #[error("the state holds a value that cannot be read: {0}")]
    Wire(#[from] WireError),
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

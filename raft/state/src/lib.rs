//! The cluster's state: pure functions from a state and a command to changes, events and an answer.
//!
//! The state lies in the database. A [`Transaction`] lays the changes of the commands of a log entry over it, and the
//! caller writes them in one batch together with the log's position.
//!
//! Invariants, on which the equality of all replicas rests:
//! - Applying reads no clock, no random numbers and no map in hash order.
//! - A refusal leaves no change behind, except that expired things may be removed before.
//! - An error that is not a refusal stops the node.
//!
//! Each family of commands has its module: its values in a file of their own, its commands, and the functions that other
//! families call. [`command`] lists all commands, `tables` all tables, and [`View`] is for readers.
//!
//! Not in this crate: consensus, files, HTTP, the clock. `docs/contributing/adding-a-command.md` describes how to add a
//! command.

#![cfg_attr(test, allow(clippy::unwrap_used))]

mod accounts;
mod actor;
mod apply;
mod cluster;
pub mod command;
mod dedup;
mod expiry;
mod hooks;
mod idempotency;
mod jobs;
mod key;
mod level;
mod listening;
mod models;
mod playlists;
mod rate_limits;
mod read;
mod separations;
mod sharing;
mod songs;
mod tables;
mod tasks;
#[cfg(test)]
mod tests;
mod transaction;
mod view;

use codec::CodecError;
use serde::{Deserialize, Serialize};
use storage::database::DatabaseError;

pub use accounts::session::{Sealed, Session, Token};
pub use accounts::user::{NAME_LENGTH, NoName, User, Verifier, folded};
pub use actor::Actor;
pub use apply::apply;
pub use cluster::new_cluster;
pub use hooks::types::{Delivery, DeliveryAttempt, DeliveryStatus, Hook, RetryAt};
pub use idempotency::types::IdempotencyRecord;
pub use jobs::job::{
    Executor, Job, JobError, JobOptions, JobSpec, JobState, NoPriority, NoState, Priority, Transition,
};
pub use jobs::separation::{Plan, Separation, SeparationSpec};
pub use jobs::spec::JobResult;
pub use jobs::stems::{Facts, Selection, Stems};
pub use jobs::task::{
    Attempt, Ending, LOG_BYTES, LOG_LINES, LogLevel, LogLine, Output, Task, TaskId, TaskKind, TaskState,
};
pub use level::{ClusterMeta, FEATURE_LEVEL};
pub use listening::types::Played;
pub use models::types::{Model, ModelFile};
pub use playlists::types::{Entry, MOST_PLAYLISTS, Playlist};
pub use rate_limits::types::{RateCounter, RateLimit};
pub(crate) use read::Read;
pub use sharing::audience::{Audience, Link, OrphanPolicy};
pub use songs::index_entry::{self, IndexEntry, Order};
pub use songs::song::{Cover, Credits, Edit, Song, SongEdit, SongStatus};
pub use transaction::{Changes, Transaction};
pub use view::{View, within};

/// The id of a node. Ids are never reused.
pub type NodeId = u64;

/// The state could not be read.
#[derive(Debug, thiserror::Error)]
pub enum ViewError {
    /// The database failed.
    #[error(transparent)]
    Database(#[from] DatabaseError),
    /// A value cannot be decoded.
    #[error("the state holds a value that cannot be read: {0}")]
    Wire(#[from] CodecError),
}

/// Something has changed. Readers look at the state to see what.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Event {
    /// A song is new or has changed.
    Song {
        /// The song.
        id: u64,
    },
    /// A song was removed, or an audience has lost it.
    SongRemoved {
        /// The song.
        id: u64,
        /// The audience that had it.
        audience: Audience,
    },
    /// A job or one of its tasks has changed.
    Job {
        /// The job.
        id: u64,
    },
}

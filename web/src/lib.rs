//! What people and programs touch: the HTTP interface, live events, and the page inside the binary.
//!
//! Every node serves all of it, and it does not matter which one is asked: what a request changes is committed in the
//! cluster before the answer, and what it reads is as new as the newest committed change, whoever made that. Only
//! what says so in its description (`/cluster`, the event streams, and whatever is asked for with `stale`) may be a moment
//! old; and while there is no majority, files and models are given as this node last knew of them.
//!
//! Invariants: an upload is acknowledged after its file lies on a majority and its song is committed, never before. A
//! request that fails or breaks off leaves nothing on the disk. No upload, file or mix is ever whole in memory.
//!
//! Everybody finds what is for them and nothing else: what is not answers as what never was. Who asks is looked up in the
//! same view of the state as what is asked for, so ending a session at one node ends it at all.

pub mod accounts;
pub mod answer;
pub mod api;
mod archive;
pub mod cache;
mod caller;
pub mod client;
mod codes;
mod conditional;
mod dates;
pub mod error;
pub mod events;
mod facts;
mod fields;
pub mod file_name;
mod guard;
pub mod hooks;
mod incoming;
pub mod outside;
mod part_header;
mod passwords;
mod probes;
mod query;
pub mod ranges;
mod remembered;
mod router;
mod search;
mod secret;
mod sending;
mod shared;
mod stored;
mod subsonic;
mod text;
mod tries;
mod turns;
mod ui;
mod zip;

use std::path::PathBuf;
use std::sync::Arc;

use audio::sandbox::Sandbox;
use live::{BrokerStatus, Live};
use raft::Cluster;
pub(crate) use raft::now;
use replication::Sharing;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::accounts::Accounts;
use crate::error::ApiError;
use crate::hooks::Hooks;
use crate::outside::Outside;
pub use crate::router::router;
pub(crate) use crate::shared::{Shared, State};

/// What an upload may be.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// The largest file in bytes.
    pub max_upload_bytes: u64,
    /// The longest song in seconds.
    pub max_seconds: u64,
    /// Jobs that one user may have open; 0 is any number.
    pub jobs_per_user: u32,
}

/// All that the interface needs of its node.
pub struct App {
    /// The state that all nodes agree on.
    pub cluster: Cluster,
    /// The files.
    pub sharing: Sharing,
    /// The status of the nodes.
    pub live: Live,
    /// The status of the broker, if one is configured.
    pub broker: Option<watch::Receiver<BrokerStatus>>,
    /// Where uploads and stored files are read.
    pub sandbox: Sandbox,
    /// What an upload may be.
    pub limits: Limits,
    /// Who may do what.
    pub accounts: Accounts,
    /// Where web hooks may lead, and what their secrets are kept under.
    pub hooks: Hooks,
    /// Workers outside of the cluster, if it has any.
    pub outside: Option<Outside>,
    /// A folder for files that can be made again; it must exist and may be emptied at any start.
    pub cache: PathBuf,
    /// The model that uploaded songs are separated with.
    pub model: String,
    /// How often a task may fail.
    pub max_attempts: u32,
    /// How many of the model's segments make a task.
    pub segments_per_task: u32,
    /// Writes down the node's numbers for `/metrics`, in Prometheus' text format. It may look at the disk.
    pub metrics: Arc<dyn Fn() -> String + Send + Sync>,
    /// Raised when the node stops: event streams end then.
    pub stopping: CancellationToken,
}

/// Runs what may wait for the disk on a thread where it may.
pub(crate) async fn blocking<T: Send + 'static>(
    doing: &str,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, ApiError> {
    tokio::task::spawn_blocking(work).await.map_err(|error| ApiError::internal(doing, &error))
}

//! What all Quartet nodes agree on.
//!
//! [`command`] is everything that can be asked of the cluster, [`state`] what it comes to. The consensus that makes
//! every node apply the same commands in the same order stays inside this crate; others use a [`Cluster`] handle.

#![cfg_attr(test, allow(clippy::unwrap_used))]

pub mod archive;
mod bootstrap;
mod call;
mod change;
mod clock;
mod cluster;
mod consensus;
mod membership;
mod remote;
mod service;
mod start;

pub use bootstrap::StartError;
pub use change::{Change, Obstacle};
pub use clock::now;
pub use cluster::{Cluster, ClusterError, Status};
pub use remote::{Remote, RemoteError};
pub use start::ClusterConfig;

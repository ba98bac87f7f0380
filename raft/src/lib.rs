//! What all Quartet nodes agree on.
//!
//! [`command`] is everything that can be asked of the cluster, [`state`] what it comes to. The consensus that makes
//! every node apply the same commands in the same order stays inside this crate; others use a [`Cluster`] handle.

#![cfg_attr(test, allow(clippy::unwrap_used))]

mod bootstrap;
mod cluster;
pub mod command;
mod consensus;
pub mod state;

pub use cluster::{Cluster, ClusterConfig, ClusterError, StartError, Status};
pub use state::{Event, View, ViewError};

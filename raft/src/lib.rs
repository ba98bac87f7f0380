//! Consensus: every node applies the same commands in the same order.
//!
//! The crate runs openraft on the node's database and network, starts and changes the membership, and offers the
//! [`Cluster`] handle. No openraft type leaves the crate. The crate `state` defines the commands and what they do;
//! files and live data are not replicated here.

#![cfg_attr(test, allow(clippy::unwrap_used))]

pub mod archive;
mod bootstrap;
mod change;
mod clock;
mod cluster;
mod consensus;
mod disk;
mod error;
mod leader;
mod membership;
mod protocol;
mod reconcile;
mod remote;
mod service;
mod start;
mod writer;

pub use change::{Change, MembershipError};
pub use clock::now;
pub use cluster::{Cluster, Status};
pub use error::{ClusterError, StartError};
pub use remote::{Remote, RemoteError};
pub use start::ClusterConfig;

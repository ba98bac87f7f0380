//! Authenticated calls between the nodes of a cluster, over QUIC.
//!
//! [`Peer`] is a node's endpoint. It proves and verifies identities with the cluster's [`Secret`] (mutual TLS), passes
//! incoming requests to the [`Service`] of their [`Protocol`], and makes outgoing calls. [`request`] holds the id that
//! follows a request from node to node. [`secret_box`] encrypts, signs and generates secrets.
//!
//! Invariants:
//! - Each pair of node and protocol has its own connection, so a large file never delays a heartbeat. A call dials the
//!   connection when there is none or when the last one is closed.
//! - Both sides verify the node id of the other side. Nodes of other clusters are rejected, and so are nodes that are
//!   not members, except where [`Protocol`] allows them.
//! - Consensus runs on its own thread ([`ConsensusRuntime`]): no upload and no browser delays an election.
//!
//! What is left out: the crate does not interpret messages, does not retry calls, and does not store anything. It
//! depends on `codec` for the encoding and on nothing else of the workspace, so it does not link the database.

#![cfg_attr(test, allow(clippy::unwrap_used))]

mod accept;
mod call;
mod close;
mod endpoint;
mod error;
mod handshake;
mod identity;
mod liveness;
mod members;
mod metrics;
mod protocol;
pub mod request;
mod runtime;
pub mod secret_box;
mod stream;
#[cfg(any(test, feature = "testing"))]
pub mod testing;
#[cfg(test)]
mod tests;
mod transport;

pub use accept::{ServeFuture, Service};
pub use endpoint::{Peer, PeerConfig};
pub use error::PeerError;
pub use identity::{Secret, SecretError};
pub use protocol::Protocol;
pub use runtime::ConsensusRuntime;
pub use stream::{MAX_FRAME_BYTES, Stream};

/// The id of a node. Ids are never reused.
pub type NodeId = u64;

/// The id under which the command line of an operator connects. No node has this id.
pub const OPERATOR: NodeId = NodeId::MAX;

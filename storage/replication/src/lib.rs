//! Which nodes hold which blob, and how blobs move between nodes.
//!
//! There is no table of holders. The order in which nodes should hold a blob follows from its hash (rendezvous
//! hashing), and a node that needs a blob asks the members in that order. They answer from their disks, so no answer is
//! outdated.
//!
//! Invariants:
//! - A blob is safe when a majority of the members hold it. [`Replication::replicate`] returns then, and not before.
//! - Receivers verify all bytes: each piece when it arrives, and the whole blob before it is stored.
//!
//! It hardly matters which members hold a blob. [`Replication::replicate`] pushes it to the first ones in its order
//! that answer, [`Replication::fetch`] brings it to this node, and [`repair`] restores missing copies.
//!
//! What is left out: when to repair and what to collect. The background loops of a node decide that.

mod error;
mod fetch;
mod placement;
mod protocol;
mod push;
pub mod repair;
mod service;
#[cfg(test)]
mod testing;
mod timing;
mod transfer;

use std::collections::HashMap;
use std::sync::Arc;

use net::{NodeId, Peer, Protocol};
use parking_lot::Mutex;
use storage::blobs::{Blobs, Hash};

pub use error::ReplicationError;
use service::BlobService;
use timing::{TIMING, Timing};

/// The size of a majority of `members` nodes.
fn majority(members: usize) -> usize {
    members / 2 + 1
}

struct Inner {
    blobs: Blobs,
    peer: Peer,
    timing: Timing,
    /// Held while a blob is fetched, so that concurrent callers share one transfer. This is not a cache of results,
    /// because a fetched blob may be removed again.
    fetching: Mutex<HashMap<Hash, Arc<tokio::sync::Mutex<()>>>>,
}

/// The replication of one node's blobs. Cheap to clone.
#[derive(Clone)]
pub struct Replication(Arc<Inner>);

impl Replication {
    /// Starts to serve the blobs to other nodes.
    pub fn start(blobs: Blobs, peer: Peer) -> Self {
        Self::start_with(TIMING, blobs, peer)
    }

    fn start_with(timing: Timing, blobs: Blobs, peer: Peer) -> Self {
        peer.serve(Protocol::Blobs, Arc::new(BlobService(blobs.clone())));
        Self(Arc::new(Inner { blobs, peer, timing, fetching: Mutex::default() }))
    }

    /// The blobs of this node.
    pub fn blobs(&self) -> &Blobs {
        &self.0.blobs
    }

    /// The nodes except this one, in the order in which they should hold the blob. Unresponsive nodes come last.
    fn others(&self, hash: &Hash, nodes: &[NodeId]) -> Vec<NodeId> {
        let mut order = placement::order(hash, nodes);
        order.retain(|member| *member != self.0.peer.id());
        order.sort_by_key(|member| self.0.peer.is_unresponsive(*member));
        order
    }
}

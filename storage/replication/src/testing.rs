//! Nodes on the loopback with blobs in temporary folders, for tests.

#![allow(clippy::unwrap_used)]

use std::time::Duration;

use net::Peer;
use net::testing::peers;
use storage::blobs::{Blobs, Hash, Quota};

use crate::Replication;
use crate::timing::Timing;

/// The timeout of calls and waits. It only matters when a test fails.
pub(crate) const TIMEOUT: Duration = Duration::from_secs(120);

/// No node is skipped because it is slow, however busy the machine is.
const PATIENT: Timing = Timing { answer: TIMEOUT, hedge: TIMEOUT, fresh: TIMEOUT };

pub(crate) struct Node {
    pub(crate) folder: tempfile::TempDir,
    pub(crate) replication: Replication,
    pub(crate) peer: Peer,
}

pub(crate) fn start(peer: Peer, folder: tempfile::TempDir, quota: Quota) -> Node {
    let blobs = Blobs::open(folder.path(), quota).unwrap();
    Node { replication: Replication::start_with(PATIENT, blobs, peer.clone()), peer, folder }
}

/// `count` nodes of one cluster, with the ids 0, 1, and so on.
pub(crate) fn nodes(count: u64) -> Vec<Node> {
    let start = |peer| start(peer, tempfile::tempdir().unwrap(), Quota::default());
    peers(count).into_iter().map(start).collect()
}

/// Stores a blob with these bytes on one node.
pub(crate) async fn put(node: &Node, bytes: &[u8]) -> Hash {
    let mut staged = node.replication.blobs().stage(0).await.unwrap();
    staged.write(bytes).await.unwrap();
    staged.commit().await.unwrap().0
}

/// The nodes that have the blob on disk.
pub(crate) fn holders(nodes: &[Node], hash: &Hash) -> Vec<u64> {
    let holding = nodes.iter().filter(|node| node.replication.blobs().contains(hash));
    holding.map(|node| node.peer.id()).collect()
}

/// Damages a node's copy.
pub(crate) fn flip_last(node: &Node, hash: &Hash) {
    let path = node.replication.blobs().path(hash);
    let mut bytes = std::fs::read(&path).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    std::fs::write(&path, bytes).unwrap();
}

/// Waits until the node has found that its copy is damaged.
pub(crate) async fn is_quarantined(node: &Node, hash: &Hash) {
    let mut damaged = node.replication.blobs().damaged();
    let found = damaged.wait_for(|count| *count > 0);
    tokio::time::timeout(TIMEOUT, found).await.unwrap().unwrap();
    assert!(!node.replication.blobs().contains(hash));
}

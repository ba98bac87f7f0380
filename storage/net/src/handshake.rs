//! The first frame in each direction on a new connection, and what it is checked against.

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::close::CloseCode;
use crate::{NodeId, Peer, Protocol};

/// The first frame on a connection, in both directions. The dialling side completes its TLS handshake before the other
/// side has verified its certificate, so it learns of a rejection when it reads this frame.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Hello {
    pub(crate) id: NodeId,
    /// The random id of the sender's process.
    run: Uuid,
    /// The id of the sender's cluster, if it knows it.
    #[serde(default)]
    cluster: Option<Uuid>,
    /// Whether the sender's streams begin with a request's id, and whether it expects that of others.
    #[serde(default)]
    pub(crate) request_ids: bool,
}

impl Peer {
    /// Sets the id of this node's cluster. Nodes of other clusters are rejected, even with the same secret.
    pub fn set_cluster(&self, cluster: Uuid) {
        *self.0.cluster.lock() = Some(cluster);
    }

    pub(crate) fn hello(&self) -> Hello {
        Hello { id: self.0.id, run: self.0.process, cluster: *self.0.cluster.lock(), request_ids: true }
    }

    /// The reason to reject a connection, if there is one.
    pub(crate) fn rejection(&self, hello: &Hello, protocol: Protocol) -> Option<&'static str> {
        let own = *self.0.cluster.lock();
        if own.zip(hello.cluster).is_some_and(|(own, other)| own != other) {
            return Some("that node belongs to another cluster with the same secret");
        }
        let is_member = {
            let members = self.0.members.read();
            !members.agreed || members.addresses.contains_key(&hello.id)
        };
        (!protocol.is_open_to(hello.id, is_member)).then_some("you are not a member of this cluster")
    }

    /// Stores the process of a node. When the node restarted, this closes the connections to its old process, which
    /// would otherwise only time out.
    pub(crate) fn note_process(&self, hello: &Hello) {
        let known = self.0.processes.lock().insert(hello.id, hello.run);
        if known.is_some_and(|known| known != hello.run) {
            self.close_connections(hello.id, CloseCode::Restarted, b"you were restarted");
        }
    }
}

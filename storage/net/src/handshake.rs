//! The first frames on a connection.

use std::sync::PoisonError;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::{NodeId, Peer, Protocol};

/// The first words on a connection, in both directions. A dialler whose certificate is refused learns it here.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Hello {
    pub(crate) id: NodeId,
    /// The random name of this run of the process.
    run: Uuid,
    /// The cluster that it belongs to, if it knows.
    #[serde(default)]
    cluster: Option<Uuid>,
    /// Whether it reads the id of a request at the beginning of a stream, and writes one.
    #[serde(default)]
    pub(crate) request_ids: bool,
}

impl Peer {
    /// Says which cluster this node belongs to. Nodes of another one are refused, though they know the same secret.
    pub fn set_cluster(&self, cluster: Uuid) {
        *self.0.cluster.lock().unwrap_or_else(PoisonError::into_inner) = Some(cluster);
    }

    /// Why a connection is not to be, if so.
    pub(crate) fn objection(&self, hello: &Hello, protocol: Protocol) -> Option<&'static str> {
        let mine = *self.0.cluster.lock().unwrap_or_else(PoisonError::into_inner);
        if mine.zip(hello.cluster).is_some_and(|(mine, theirs)| mine != theirs) {
            return Some("that node belongs to another cluster with the same secret");
        }
        let is_member = {
            let members = self.read_members();
            !members.agreed || members.addresses.contains_key(&hello.id)
        };
        (!protocol.open_to(hello.id, is_member)).then_some("you are no member of this cluster")
    }

    pub(crate) fn hello(&self) -> Hello {
        let cluster = *self.0.cluster.lock().unwrap_or_else(PoisonError::into_inner);
        Hello { id: self.0.id, run: self.0.run, cluster, request_ids: true }
    }

    /// Notes who a member is now. If it was another process before, connections to that one are of no use, and only
    /// their silence would tell.
    pub(crate) fn met(&self, hello: &Hello) {
        let before = self.0.runs.lock().unwrap_or_else(PoisonError::into_inner).insert(hello.id, hello.run);
        if before.is_none_or(|before| before == hello.run) {
            return;
        }
        self.drop_connections(hello.id, 3, b"you were started anew");
    }
}

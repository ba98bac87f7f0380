//! The members of the cluster, as this node knows them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{PoisonError, RwLockReadGuard, RwLockWriteGuard};

use crate::{NodeId, Peer};

/// Who belongs to the cluster.
#[derive(Default)]
pub(crate) struct Members {
    pub(crate) addresses: BTreeMap<NodeId, String>,
    /// Whether the cluster itself has said so. Before, these are a file's words, and others may ask as well.
    pub(crate) agreed: bool,
    /// Those that should hold no files: they are about to leave, or have only begun to join.
    pub(crate) apart: BTreeSet<NodeId>,
}

impl Peer {
    pub(crate) fn read_members(&self) -> RwLockReadGuard<'_, Members> {
        self.0.members.read().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn write_members(&self) -> RwLockWriteGuard<'_, Members> {
        self.0.members.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// All members, this node among them.
    pub fn members(&self) -> Vec<NodeId> {
        self.read_members().addresses.keys().copied().collect()
    }

    /// Those members that should hold files: all but the ones that are about to leave or have only begun to join.
    pub fn holders(&self) -> Vec<NodeId> {
        let members = self.read_members();
        members.addresses.keys().filter(|member| !members.apart.contains(member)).copied().collect()
    }

    /// Says where a node listens, so that it can be asked.
    pub fn set_address(&self, node: NodeId, address: String) {
        self.write_members().addresses.insert(node, address);
    }

    /// Says who belongs to the cluster, as it has agreed itself, and who of them should hold no files. From now on
    /// nobody else is served.
    pub fn set_members(&self, addresses: BTreeMap<NodeId, String>, apart: BTreeSet<NodeId>) {
        let moved = |(node, address): (&NodeId, &String)| (addresses.get(node) != Some(address)).then_some(*node);
        let gone: Vec<NodeId> = {
            let mut members = self.write_members();
            let gone = members.addresses.iter().filter_map(moved).collect();
            *members = Members { addresses, agreed: true, apart };
            gone
        };
        for node in gone {
            self.0.liveness.forget(node);
            self.drop_connections(node, 4, b"you are no member at that address any more");
        }
    }
}

//! The members of the cluster and their addresses.

use std::collections::{BTreeMap, BTreeSet};

use crate::close::CloseCode;
use crate::{NodeId, Peer};

/// The members as this node knows them.
#[derive(Default)]
pub(crate) struct Members {
    /// The QUIC address of each member.
    pub(crate) addresses: BTreeMap<NodeId, String>,
    /// Whether the list comes from the replicated state. Before, it comes from a configuration file, which may be
    /// outdated, so nodes that are not listed are served too.
    pub(crate) agreed: bool,
    /// Members that should hold no blobs, because they are leaving or still joining.
    pub(crate) excluded: BTreeSet<NodeId>,
}

impl Peer {
    /// The ids of all members, including this node.
    pub fn members(&self) -> Vec<NodeId> {
        self.0.members.read().addresses.keys().copied().collect()
    }

    /// The members that should hold blobs: all except those that are leaving or still joining.
    pub fn holders(&self) -> Vec<NodeId> {
        let members = self.0.members.read();
        members.addresses.keys().filter(|member| !members.excluded.contains(member)).copied().collect()
    }

    /// Sets the address of one node, so that calls can reach it.
    pub fn set_address(&self, node: NodeId, address: String) {
        self.0.members.write().addresses.insert(node, address);
    }

    /// Replaces the members by those of the replicated state. `excluded` members should hold no blobs. From now on,
    /// protocols for members serve only these nodes.
    pub fn set_members(&self, addresses: BTreeMap<NodeId, String>, excluded: BTreeSet<NodeId>) {
        let moved = |(node, address): (&NodeId, &String)| (addresses.get(node) != Some(address)).then_some(*node);
        let gone: Vec<NodeId> = {
            let mut members = self.0.members.write();
            let gone = members.addresses.iter().filter_map(moved).collect();
            *members = Members { addresses, agreed: true, excluded };
            gone
        };
        for node in gone {
            self.0.liveness.remove(node);
            self.close_connections(node, CloseCode::Removed, b"you are not a member at that address any more");
        }
    }
}

//! How a node comes into its cluster, without a manual step and without ever making two clusters.
//!
//! Each disk has a random name, made when it is first used, and the membership says which disk each member has.
//! A fresh disk asks all other members who they are, and waits until it knows enough:
//!
//! - All are fresh too: the cluster begins, with one membership that every node composes alike from what all said, so
//!   it does not matter who is first (openraft allows the same initialization on several nodes).
//! - One belongs to a cluster in which this node has this disk: the others began a moment ago. It joins them.
//! - One belongs to a cluster in which this node has another disk: the disk was wiped, and with it the node's vote. It
//!   must not come back under its old id, or two leaders could be elected; it stops and says so.

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use storage::NodeId;
use storage::database::{Batch, Database, Table};
use storage::peer::{Peer, Protocol};
use storage::wire;
use uuid::Uuid;

use crate::StartError;
use crate::cluster::Call;
use crate::consensus::{Member, Raft};

const DISK: &[u8] = b"node/disk";
const ASK_AGAIN: Duration = Duration::from_millis(300);
const SAY_EVERY: Duration = Duration::from_secs(5);

/// Whose disk this is.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
struct Disk {
    name: Uuid,
    node: NodeId,
}

/// The name of this node's disk, made now if it has none.
pub(crate) fn disk(database: &Database, node: NodeId) -> Result<Uuid, StartError> {
    if let Some(bytes) = database.get(Table::Meta, DISK)? {
        let disk: Disk = wire::decode(&bytes)?;
        if disk.node != node {
            return Err(StartError::AnothersDisk { node, owner: disk.node });
        }
        return Ok(disk.name);
    }
    let disk = Disk { name: Uuid::new_v4(), node };
    let mut batch = Batch::new();
    batch.put(Table::Meta, DISK, wire::encode(&disk)?);
    database.write(batch)?;
    Ok(disk.name)
}

/// What a node says of itself to one that starts.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Introduction {
    disk: Uuid,
    /// The members, if it belongs to a cluster.
    members: Option<BTreeMap<NodeId, Member>>,
}

/// Answers nodes that start, from before this node's own Raft runs.
#[derive(Clone)]
pub(crate) struct Introducer {
    pub(crate) disk: Uuid,
    pub(crate) raft: Arc<OnceLock<Raft>>,
}

impl Introducer {
    pub(crate) fn introduce(&self) -> Introduction {
        let members = self.raft.get().map(|raft| {
            let metrics = raft.metrics();
            let membership = Arc::clone(&metrics.borrow().membership_config);
            membership.nodes().map(|(id, member)| (*id, member.clone())).collect::<BTreeMap<_, _>>()
        });
        Introduction { disk: self.disk, members: members.filter(|members| !members.is_empty()) }
    }
}

/// What a fresh disk learnt.
pub(crate) enum Finding {
    /// All are fresh: begin with these members.
    Begin(BTreeMap<NodeId, Member>),
    /// The others have begun with this node among them.
    Join,
}

/// Asks the other members until it is clear what a fresh disk has to do.
pub(crate) async fn find_cluster(
    peer: &Peer,
    disk: Uuid,
    addresses: &BTreeMap<NodeId, String>,
) -> Result<Finding, StartError> {
    let me = peer.id();
    let mut said = Instant::now();
    loop {
        let mut members = BTreeMap::new();
        let mut silent = Vec::new();
        for (id, address) in addresses {
            if *id == me {
                members.insert(me, Member { disk, address: address.clone() });
                continue;
            }
            match peer.call::<_, Introduction>(*id, Protocol::Cluster, &Call::Hello, Duration::from_secs(1)).await {
                Ok(Introduction { members: Some(known), .. }) => match known.get(&me) {
                    Some(member) if member.disk == disk => return Ok(Finding::Join),
                    Some(_) => return Err(StartError::WipedDisk(me)),
                    None => return Err(StartError::NotAMember(me)),
                },
                Ok(Introduction { disk, .. }) => {
                    members.insert(*id, Member { disk, address: address.clone() });
                }
                Err(error) => silent.push(error.to_string()),
            }
        }
        if silent.is_empty() {
            return Ok(Finding::Begin(members));
        }
        if said.elapsed() > SAY_EVERY {
            said = Instant::now();
            tracing::info!(
                "this disk is new; a cluster begins once all its nodes have answered each other: {}",
                silent.join("; ")
            );
        }
        tokio::time::sleep(ASK_AGAIN).await;
    }
}

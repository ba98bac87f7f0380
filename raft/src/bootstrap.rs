//! How a node comes into its cluster, without a manual step and without ever making two clusters.
//!
//! Each disk has a random name, made when it is first used, and the membership says which disk each member has.
//! A fresh disk asks all other members who they are, and waits until it knows enough:
//!
//! - One has a past and is still starting: it does not know yet what it belongs to, and is asked again.
//! - All are fresh too: the cluster begins, with one membership that every node composes alike from what all said, so
//!   it does not matter who is first (openraft allows the same initialization on several nodes).
//! - One belongs to a cluster in which this node has this disk: the others began a moment ago. It joins them.
//! - One belongs to a cluster in which this node has another disk: the disk was wiped, and with it the node's vote. It
//!   must not come back under its old id, or two leaders could be elected; it stops and says so.
//! - One belongs to a cluster that does not know this node: it waits until it is let in ([`crate::membership`]).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use codec::CodecError;
use net::{NodeId, Peer, Protocol};
use serde::{Deserialize, Serialize};
use storage::database::{Batch, Database, DatabaseError, Table};
use tokio::sync::watch;
use uuid::Uuid;

use crate::call::Call;
use crate::consensus::machine::Machine;
use crate::consensus::{Member, Raft};

const DISK: &[u8] = b"node/disk";
const LEFT: &[u8] = b"node/left";
const ASK_AGAIN: Duration = Duration::from_millis(300);
const SAY_EVERY: Duration = Duration::from_secs(5);

/// The node cannot take part.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The database failed.
    #[error(transparent)]
    Database(#[from] DatabaseError),
    /// A value on the disk is unreadable.
    #[error("the node's own marks cannot be read: {0}")]
    Wire(#[from] CodecError),
    /// The folder belongs to another node.
    #[error(
        "this data folder belongs to node {owner}, not to node {node}; start it with --id {owner}, or name another folder"
    )]
    AnothersDisk {
        /// Who started.
        node: NodeId,
        /// Whose it is.
        owner: NodeId,
    },
    /// The disk was emptied.
    #[error(
        "node {0} has taken part in this cluster with another disk. A node that has lost its disk has forgotten its \
         vote and must not come back under its old id: bring the old data folder back, or give this machine a new id \
         in cluster.toml, start it, and let it in with `node --id NEW --cluster cluster.toml join --replace {0}`"
    )]
    WipedDisk(NodeId),
    /// The node has left.
    #[error(
        "node {0} has left its cluster, and its data folder is of no more use: remove it. To bring this machine back, \
         give it an id that was never used, start it, and let it in with `node --id NEW --cluster cluster.toml join`"
    )]
    Left(NodeId),
    /// A node of this number has left.
    #[error("a node {0} has left this cluster before, and numbers are not used again: give this machine another id")]
    Used(NodeId),
    /// A newer version wrote the state.
    #[error("a newer version wrote the data folder (feature level {found}, this one knows {known}); start that one")]
    TooNew {
        /// The state's feature level.
        found: u32,
        /// The highest feature level that this version knows.
        known: u32,
    },
    /// Raft refused.
    #[error("consensus cannot start: {0}")]
    Consensus(String),
}

/// Whose disk this is.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
struct Disk {
    name: Uuid,
    node: NodeId,
}

/// The name of this node's disk, made now if it has none.
pub(crate) fn disk(database: &Database, node: NodeId) -> Result<Uuid, StartError> {
    if let Some(bytes) = database.get(Table::Meta, DISK)? {
        let disk: Disk = codec::decode(&bytes)?;
        if disk.node != node {
            return Err(StartError::AnothersDisk { node, owner: disk.node });
        }
        if database.get(Table::Meta, LEFT)?.is_some() {
            return Err(StartError::Left(node));
        }
        return Ok(disk.name);
    }
    let disk = Disk { name: Uuid::new_v4(), node };
    let mut batch = Batch::new();
    batch.put(Table::Meta, DISK, codec::encode(&disk)?);
    database.write(batch)?;
    Ok(disk.name)
}

/// What a node says of itself.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Introduction {
    pub(crate) disk: Uuid,
    /// The members, if it belongs to a cluster.
    pub(crate) members: Option<BTreeMap<NodeId, Member>>,
    /// The nodes that it knows to leave or to have left.
    pub(crate) retired: BTreeSet<NodeId>,
    /// The highest feature level that its version knows.
    pub(crate) level: u32,
    /// Whether it has a past, of which it cannot speak before it has started.
    pub(crate) starting: bool,
}

impl Introduction {
    /// Whether the node that speaks knows that `node` was a member and is none any more.
    pub(crate) fn removed(&self, node: NodeId) -> bool {
        self.retired.contains(&node) && self.members.as_ref().is_some_and(|members| !members.contains_key(&node))
    }
}

/// Answers others who this node is, from before its own Raft runs.
#[derive(Clone)]
pub(crate) struct Introducer {
    pub(crate) disk: Uuid,
    /// Whether the disk was fresh when the process began.
    pub(crate) fresh: bool,
    /// The highest feature level that this version knows.
    pub(crate) level: u32,
    pub(crate) raft: Arc<OnceLock<(Raft, Machine)>>,
}

impl Introducer {
    pub(crate) fn introduce(&self) -> Introduction {
        let (members, retired) = match self.raft.get() {
            Some((raft, machine)) => {
                let metrics = raft.metrics();
                let membership = Arc::clone(&metrics.borrow().membership_config);
                let members: BTreeMap<_, _> = membership.nodes().map(|(id, member)| (*id, member.clone())).collect();
                ((!members.is_empty()).then_some(members), machine.view().retired().unwrap_or_default())
            }
            None => Default::default(),
        };
        let starting = !self.fresh && members.is_none();
        Introduction { disk: self.disk, members, retired, level: self.level, starting }
    }
}

/// Notes for ever that this node has left the cluster, and tells the process.
#[derive(Clone)]
pub(crate) struct Left {
    pub(crate) database: Database,
    pub(crate) told: watch::Sender<bool>,
}

impl Left {
    /// This node has left.
    pub(crate) fn leave(&self) {
        let mut batch = Batch::new();
        batch.put(Table::Meta, LEFT, [1]);
        if let Err(error) = self.database.write(batch) {
            // It will be told again the next time it starts.
            tracing::error!(%error, "that this node has left the cluster could not be noted");
        }
        self.told.send_replace(true);
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
    // Said at once, and then now and then.
    let mut said = Instant::now().checked_sub(SAY_EVERY).unwrap_or_else(Instant::now);
    loop {
        let mut members = BTreeMap::new();
        let mut silent = Vec::new();
        let mut outside = false;
        for (id, address) in addresses {
            if *id == me {
                members.insert(me, Member { disk, address: address.clone(), replaces: None });
                continue;
            }
            match peer.call::<_, Introduction>(*id, Protocol::Cluster, &Call::Hello, Duration::from_secs(1)).await {
                Ok(Introduction { members: Some(known), retired, .. }) => match known.get(&me) {
                    Some(member) if member.disk == disk => return Ok(Finding::Join),
                    Some(_) => return Err(StartError::WipedDisk(me)),
                    None if retired.contains(&me) => return Err(StartError::Used(me)),
                    None => outside = true,
                },
                Ok(Introduction { starting: true, .. }) => silent.push(format!("node {id} is still starting")),
                Ok(Introduction { disk, .. }) => {
                    members.insert(*id, Member { disk, address: address.clone(), replaces: None });
                }
                Err(error) => silent.push(error.to_string()),
            }
        }
        if silent.is_empty() && !outside {
            return Ok(Finding::Begin(members));
        }
        if said.elapsed() > SAY_EVERY {
            said = Instant::now();
            if outside {
                tracing::info!(
                    "this node is not in the cluster yet; let it in with:  node --id {me} --cluster cluster.toml join"
                );
            } else {
                tracing::info!(
                    "this disk is new; a cluster begins once all its nodes have answered each other: {}",
                    silent.join("; ")
                );
            }
        }
        tokio::time::sleep(ASK_AGAIN).await;
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::sync::Mutex;

    use net::{PeerConfig, PeerError, Secret, ServeFuture, Service, Stream};

    use super::*;

    /// Introduces a node as it is told to, and counts.
    #[derive(Clone)]
    struct Scripted {
        says: Arc<Mutex<Introduction>>,
        asked: watch::Sender<u32>,
    }

    impl Service for Scripted {
        fn serve(&self, _from: NodeId, mut stream: Stream) -> ServeFuture {
            let scripted = self.clone();
            Box::pin(async move {
                let _: Call = stream.read_frame().await?;
                let says = scripted.says.lock().map_err(|error| PeerError::Refused(error.to_string()))?.clone();
                scripted.asked.send_modify(|asked| *asked += 1);
                stream.write_frame(&says).await?;
                stream.finish()
            })
        }
    }

    #[tokio::test]
    async fn a_wiped_disk_waits_for_the_word_of_those_that_are_still_starting() {
        let folder = tempfile::TempDir::new().unwrap();
        let secret = folder.path().join("secret");
        std::fs::write(&secret, "a secret of more than thirty-two characters").unwrap();
        let peer = |id| {
            let (listen, members) = ("127.0.0.1:0".parse().unwrap(), BTreeMap::new());
            let secret = Secret::read(&secret).unwrap();
            Peer::bind(PeerConfig { id, listen, members, secret, consensus_runtime: None }).unwrap()
        };
        let peers = [0, 1, 2].map(peer);
        let addresses: BTreeMap<_, _> =
            peers.iter().map(|peer| (peer.id(), peer.local_addr().unwrap().to_string())).collect();
        let told = |peer: &Peer, fresh| {
            for (id, address) in &addresses {
                peer.set_address(*id, address.clone());
            }
            // Its Raft does not run so far, whether it has a past or not.
            let introducer = Introducer { disk: Uuid::new_v4(), fresh, level: 1, raft: Arc::default() };
            let says = Arc::new(Mutex::new(introducer.introduce()));
            let scripted = Scripted { says, asked: watch::Sender::new(0) };
            peer.serve(Protocol::Cluster, Arc::new(scripted.clone()));
            scripted
        };
        let wiped = Uuid::new_v4();
        let members = |disk| Member { disk, address: String::new(), replaces: None };

        let (one, two) = (told(&peers[1], false), told(&peers[2], false));
        told(&peers[0], true);
        let mut finding = Box::pin(find_cluster(&peers[0], wiped, &addresses));
        let mut asked = (one.asked.subscribe(), two.asked.subscribe());
        let often = async {
            (asked.0.wait_for(|asked| *asked > 2).await.is_ok(), asked.1.wait_for(|asked| *asked > 2).await.is_ok())
        };
        tokio::select! {
            _ = &mut finding => panic!("it took members with a past for fresh ones"),
            answered = often => assert_eq!(answered, (true, true)),
        }
        // The first that has started knows the disk that was there before.
        let (known, before) = (one.says.lock().unwrap().disk, Uuid::new_v4());
        let membership = BTreeMap::from([(0, members(before)), (1, members(known))]);
        let said = one.says.lock().unwrap().clone();
        *one.says.lock().unwrap() = Introduction { members: Some(membership), starting: false, ..said };
        assert!(matches!(finding.as_mut().await, Err(StartError::WipedDisk(0))));

        // Where all are fresh, the cluster begins.
        let others = [told(&peers[1], true), told(&peers[2], true)].map(|other| other.says.lock().unwrap().disk);
        let Ok(Finding::Begin(begun)) = find_cluster(&peers[0], wiped, &addresses).await else {
            panic!("no cluster begins");
        };
        let disks: Vec<_> = begun.values().map(|member| member.disk).collect();
        assert_eq!(disks, [wiped, others[0], others[1]]);
        for peer in &peers {
            peer.close().await;
        }
    }
}

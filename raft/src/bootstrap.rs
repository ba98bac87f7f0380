//! How a fresh node finds its cluster, without a manual step and without ever starting two clusters.
//!
//! Each disk has a random name ([`crate::disk`]), and the membership holds the disk of each member. A node with a fresh
//! disk asks all other members to introduce themselves, and repeats that until the answer is clear:
//!
//! - A member has a history and is still starting: it cannot tell its membership yet and is asked again.
//! - All members are fresh: the cluster begins. Every node composes the same membership from the introductions, so the
//!   order does not matter (openraft allows the same initialization on several nodes).
//! - A member's cluster holds this node with this disk: the others began a moment ago, and this node joins them.
//! - A member's cluster holds this node with another disk: the disk was wiped, and the node's vote with it. Under its
//!   old id the node could help to elect two leaders, so it stops with an error.
//! - A member's cluster does not hold this node: it waits until it is added ([`crate::membership`]).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use net::{NodeId, Peer, Protocol};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::consensus::machine::Machine;
use crate::consensus::{Member, Raft};
use crate::error::StartError;
use crate::protocol::ClusterCall;

const HELLO_TIMEOUT: Duration = Duration::from_secs(1);
const RETRY_DELAY: Duration = Duration::from_millis(300);
const LOG_INTERVAL: Duration = Duration::from_secs(5);

/// A node's answer to [`ClusterCall::Hello`].
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Introduction {
    pub(crate) disk: Uuid,
    /// The members of its cluster, if it belongs to one.
    pub(crate) members: Option<BTreeMap<NodeId, Member>>,
    /// The nodes that are leaving or have left.
    #[serde(default)]
    pub(crate) retired: BTreeSet<NodeId>,
    /// The highest level of commands that its program knows.
    #[serde(default = "first_level")]
    pub(crate) level: u32,
    /// Whether its disk has a history but its Raft does not run yet, so that its membership is unknown.
    #[serde(default)]
    pub(crate) starting: bool,
}

fn first_level() -> u32 {
    1
}

impl Introduction {
    /// Whether `node` was a member of this node's cluster and has been removed.
    pub(crate) fn removed(&self, node: NodeId) -> bool {
        self.retired.contains(&node) && self.members.as_ref().is_some_and(|members| !members.contains_key(&node))
    }
}

/// Who this node is. It introduces itself to others before its own Raft runs.
#[derive(Clone)]
pub(crate) struct Identity {
    pub(crate) disk: Uuid,
    /// Whether the disk was fresh when the process started.
    pub(crate) fresh: bool,
    /// The highest feature level that this version knows.
    pub(crate) level: u32,
    /// Set when the membership is known here.
    pub(crate) raft: Arc<OnceLock<(Raft, Machine)>>,
}

impl Identity {
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

/// What a node with a fresh disk has to do.
pub(crate) enum Discovery {
    /// All nodes are fresh: begin a cluster with these members.
    Begin(BTreeMap<NodeId, Member>),
    /// The others have begun a cluster that includes this node.
    Join,
}

/// Calls the other members until it is clear what this node, whose disk is fresh, has to do.
pub(crate) async fn discover(
    peer: &Peer,
    disk: Uuid,
    addresses: &BTreeMap<NodeId, String>,
) -> Result<Discovery, StartError> {
    let me = peer.id();
    // Log at once, then at intervals.
    let mut logged = Instant::now().checked_sub(LOG_INTERVAL).unwrap_or_else(Instant::now);
    loop {
        let mut members = BTreeMap::new();
        let mut missing = Vec::new();
        let mut not_a_member = false;
        for (id, address) in addresses {
            if *id == me {
                members.insert(me, Member { disk, address: address.clone(), replaces: None });
                continue;
            }
            match peer.call::<_, Introduction>(*id, Protocol::Cluster, &ClusterCall::Hello, HELLO_TIMEOUT).await {
                Ok(Introduction { members: Some(known), retired, .. }) => match known.get(&me) {
                    Some(member) if member.disk == disk => return Ok(Discovery::Join),
                    Some(_) => return Err(StartError::WipedDisk(me)),
                    None if retired.contains(&me) => return Err(StartError::Used(me)),
                    None => not_a_member = true,
                },
                Ok(Introduction { starting: true, .. }) => missing.push(format!("node {id} is still starting")),
                Ok(Introduction { disk, .. }) => {
                    members.insert(*id, Member { disk, address: address.clone(), replaces: None });
                }
                Err(error) => missing.push(error.to_string()),
            }
        }
        if missing.is_empty() && !not_a_member {
            return Ok(Discovery::Begin(members));
        }
        if logged.elapsed() > LOG_INTERVAL {
            logged = Instant::now();
            if not_a_member {
                tracing::info!(
                    "this node is not a member of the cluster yet; add it with:  node --id {me} --cluster cluster.toml join"
                );
            } else {
                tracing::info!(
                    "this disk is new; the cluster begins when all its nodes have answered each other: {}",
                    missing.join("; ")
                );
            }
        }
        tokio::time::sleep(RETRY_DELAY).await;
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use net::{PeerConfig, Secret, ServeFuture, Service, Stream};
    use parking_lot::Mutex;
    use tokio::sync::watch;

    use super::*;

    /// Answers with a given introduction and counts the calls.
    #[derive(Clone)]
    struct Scripted {
        introduction: Arc<Mutex<Introduction>>,
        calls: watch::Sender<u32>,
    }

    impl Service for Scripted {
        fn serve(&self, _from: NodeId, mut stream: Stream) -> ServeFuture {
            let scripted = self.clone();
            Box::pin(async move {
                let _: ClusterCall = stream.read_frame().await?;
                let introduction = scripted.introduction.lock().clone();
                scripted.calls.send_modify(|calls| *calls += 1);
                stream.write_frame(&introduction).await?;
                stream.finish()
            })
        }
    }

    #[tokio::test]
    async fn wiped_disk_waits_for_members_that_are_still_starting() {
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
        let serve = |peer: &Peer, fresh| {
            for (id, address) in &addresses {
                peer.set_address(*id, address.clone());
            }
            // Its Raft does not run yet, whether the disk has a history or not.
            let identity = Identity { disk: Uuid::new_v4(), fresh, level: 1, raft: Arc::default() };
            let introduction = Arc::new(Mutex::new(identity.introduce()));
            let scripted = Scripted { introduction, calls: watch::Sender::new(0) };
            peer.serve(Protocol::Cluster, Arc::new(scripted.clone()));
            scripted
        };
        let wiped = Uuid::new_v4();
        let members = |disk| Member { disk, address: String::new(), replaces: None };

        let (one, two) = (serve(&peers[1], false), serve(&peers[2], false));
        serve(&peers[0], true);
        let mut discovery = Box::pin(discover(&peers[0], wiped, &addresses));
        let mut calls = (one.calls.subscribe(), two.calls.subscribe());
        let repeated = async {
            (calls.0.wait_for(|calls| *calls > 2).await.is_ok(), calls.1.wait_for(|calls| *calls > 2).await.is_ok())
        };
        tokio::select! {
            _ = &mut discovery => panic!("members with a history were taken for fresh ones"),
            answered = repeated => assert_eq!(answered, (true, true)),
        }
        // The first member that has started knows the disk that was there before.
        let (known, before) = (one.introduction.lock().disk, Uuid::new_v4());
        let membership = BTreeMap::from([(0, members(before)), (1, members(known))]);
        let earlier = one.introduction.lock().clone();
        *one.introduction.lock() = Introduction { members: Some(membership), starting: false, ..earlier };
        assert!(matches!(discovery.as_mut().await, Err(StartError::WipedDisk(0))));

        // When all are fresh, the cluster begins.
        let others = [serve(&peers[1], true), serve(&peers[2], true)].map(|other| other.introduction.lock().disk);
        let Ok(Discovery::Begin(begun)) = discover(&peers[0], wiped, &addresses).await else {
            panic!("the cluster does not begin");
        };
        let disks: Vec<_> = begun.values().map(|member| member.disk).collect();
        assert_eq!(disks, [wiped, others[0], others[1]]);
        for peer in &peers {
            peer.close().await;
        }
    }
}

//! Keeps this node and the membership in step, in the background.
//!
//! Every node passes the addresses of the membership to its connections, announces a changed address of its own, and
//! detects its own removal. The leader also raises the feature level, makes voters of learners that have caught
//! up, and completes changes that an earlier leader left between their two steps.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use net::NodeId;
use openraft::ChangeMembers;
use storage::database::Database;
use tokio::sync::watch;

use crate::change::Change;
use crate::cluster::Cluster;
use crate::consensus::Metrics;
use crate::disk;
use crate::membership::{ChangeResult, into_error, members};

/// The longest pause between two rounds.
const INTERVAL: Duration = Duration::from_millis(250);
/// The shortest pause between two rounds.
const MIN_INTERVAL: Duration = Duration::from_millis(50);
/// A learner that lacks at most this many log entries becomes a voter.
const CAUGHT_UP: u64 = 200;
/// A node without a leader for this long asks the other nodes whether it was removed, and repeats that at this interval.
const LEADERLESS: Duration = Duration::from_secs(2);

/// Addresses of all members, and the members that hold no files: learners and retired nodes.
type Members = (BTreeMap<NodeId, String>, BTreeSet<NodeId>);

/// The background task.
pub(crate) struct Reconciler {
    pub(crate) cluster: Cluster,
    /// Where this node's QUIC endpoint listens, as `host:port`.
    pub(crate) address: String,
    pub(crate) database: Database,
    /// Set to true when this node has been removed from the cluster.
    pub(crate) left: watch::Sender<bool>,
    /// The highest feature level that this version knows.
    pub(crate) feature_level: u32,
}

impl Reconciler {
    /// Runs until consensus ends or this node is removed from the cluster.
    pub(crate) async fn run(self) {
        let cluster = &self.cluster;
        let mut metrics = cluster.raft().metrics();
        let mut published = None;
        let mut asked = Instant::now();
        loop {
            if metrics.borrow().running_state.is_err() {
                return;
            }
            publish_members(cluster, &mut published);
            let status = cluster.status();
            if is_removed(cluster) {
                self.leave();
                return;
            }
            match status.leader {
                Some(leader) => {
                    if leader == status.id {
                        if let Err(error) = lead(cluster, self.feature_level).await {
                            tracing::debug!(%error, "the membership could not be reconciled, will retry");
                        }
                    } else if let Some(change) = address_change(cluster, &self.address) {
                        // Rejected while another change is under way; the next round repeats it.
                        let _ = cluster.change(change).await;
                    }
                }
                // The others may have removed this node while it was down. They do not call a removed node.
                None if cluster.leaderless() > LEADERLESS && asked.elapsed() > LEADERLESS => {
                    asked = Instant::now();
                    let others: Vec<NodeId> =
                        cluster.peer().members().into_iter().filter(|id| *id != status.id).collect();
                    let introductions = cluster.introductions(&others).await;
                    if introductions.into_iter().flatten().any(|other| other.removed(status.id)) {
                        self.leave();
                        return;
                    }
                }
                None => {}
            }
            // React to changes at once, and check conditions on other nodes at intervals.
            let _ = tokio::time::timeout(INTERVAL, metrics.changed()).await;
            tokio::time::sleep(MIN_INTERVAL).await;
        }
    }

    fn leave(&self) {
        if let Err(error) = disk::mark_left(&self.database) {
            // After the next start this node asks the others again.
            tracing::error!(%error, "cannot record on the disk that this node has left the cluster");
        }
        self.left.send_replace(true);
    }
}

/// Passes the cluster's name and the members to the connections when they have changed.
fn publish_members(cluster: &Cluster, published: &mut Option<Members>) {
    let (known, voters) = members(&cluster.raft().metrics().borrow());
    let view = cluster.peek();
    let (Ok(retired), Ok(meta)) = (view.retired(), view.cluster_meta()) else {
        tracing::error!("the state cannot be read");
        return;
    };
    if let Some(meta) = meta {
        cluster.peer().set_cluster(meta.cluster);
    }
    if known.is_empty() {
        return;
    }
    let apart = known.keys().copied().filter(|id| retired.contains(id) || !voters.contains(id)).collect();
    let addresses = known.into_iter().map(|(id, member)| (id, member.address)).collect();
    let now = Some((addresses, apart));
    if *published != now {
        if let Some((addresses, apart)) = now.clone() {
            cluster.peer().set_members(addresses, apart);
        }
        *published = now;
    }
}

/// Whether the last membership entry is committed and applied.
fn is_committed(metrics: &Metrics) -> bool {
    *metrics.membership_config.log_id() <= metrics.last_applied
}

/// Whether this node's own log says that it was removed.
fn is_removed(cluster: &Cluster) -> bool {
    let id = cluster.status().id;
    let metrics = cluster.raft().metrics();
    let (known, _) = members(&metrics.borrow());
    is_committed(&metrics.borrow())
        && !known.is_empty()
        && !known.contains_key(&id)
        && cluster.peek().retired().is_ok_and(|retired| retired.contains(&id))
}

/// The leader's part: raises the level, completes a change, and makes one learner a voter.
async fn lead(cluster: &Cluster, level: u32) -> ChangeResult {
    let meta = cluster.peek().cluster_meta().map_err(into_error)?;
    if meta.is_none_or(|meta| meta.level < level) && cluster.is_leader() {
        cluster.raise_level(level).await?;
    }
    let joint = {
        let metrics = cluster.raft().metrics();
        let metrics = metrics.borrow();
        let configs = metrics.membership_config.membership().get_joint_config();
        (is_committed(&metrics) && configs.len() > 1).then(|| configs.last().cloned()).flatten()
    };
    if let Some(voters) = joint {
        // An earlier leader died between the two steps of a change, or openraft is about to take the second step.
        return cluster.commit(ChangeMembers::ReplaceAllVoters(voters)).await;
    }
    let (known, voters) = members(&cluster.raft().metrics().borrow());
    for (learner, member) in known.iter().filter(|(id, _)| !voters.contains(id)) {
        if cluster.lag(*learner).is_none_or(|lag| lag > CAUGHT_UP) {
            continue;
        }
        let change = match member.replaces {
            // Does not list the other voters, so a node that became a voter meanwhile stays one.
            None => ChangeMembers::AddVoterIds([*learner].into()),
            Some(old) => {
                let others = voters.iter().copied().filter(|voter| *voter != old);
                ChangeMembers::ReplaceAllVoters(others.chain([*learner]).collect())
            }
        };
        cluster.commit(change).await?;
        tracing::info!(node = learner, replaces = member.replaces, "a node has joined");
        // The membership has changed; the next round handles the next learner.
        return Ok(());
    }
    Ok(())
}

/// The change to announce when this node listens at another address than the membership says.
fn address_change(cluster: &Cluster, address: &str) -> Option<Change> {
    let node = cluster.status().id;
    let (known, _) = members(&cluster.raft().metrics().borrow());
    // Nobody can connect to port 0.
    let differs = known.get(&node).is_some_and(|member| member.address != address) && !address.ends_with(":0");
    differs.then(|| Change::Move { node, address: address.to_owned() })
}

//! Who belongs to the cluster, and how that changes while it runs.
//!
//! A node joins in two steps. The leader takes it in as a learner, which gets the log and has no vote; when it has
//! caught up, whoever leads then makes it a voter. What is intended stands in the membership itself, so a leader that
//! dies in between leaves nothing half done.
//!
//! A node leaves in two steps as well. First it is marked as retired: it gets no more files, and the others make the
//! copies that will be missed. Then it goes out of the membership. Its number is never used again: a node that comes
//! with a used number and an empty disk could vote twice in one term. The mark is never taken off again, or a node could
//! go without it while somebody changes his mind; a command that broke off between the two steps is given once more.
//!
//! Nothing is begun that would leave the cluster without a majority of nodes that answer.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use net::{NodeId, OPERATOR, Protocol};
use openraft::ChangeMembers;
use openraft::error::{ChangeMembershipError, ClientWriteError, RaftError};
use uuid::Uuid;

use crate::bootstrap::{Introduction, Left};
use crate::call::{Call, Miss};
use crate::change::{Change, Obstacle};
use crate::cluster::{Cluster, ClusterError};
use crate::consensus::{Member, Metrics};
use state::command::{Command, Refusal, RetireNode, SetLevel};

/// How often a node looks after the membership.
const TICK: Duration = Duration::from_millis(250);
/// How long a node may take to say who it is.
const HELLO_WITHIN: Duration = Duration::from_secs(1);
/// A learner this close to the end of the log is a voter next.
const CAUGHT_UP: u64 = 200;
/// A node that knows no leader for this long asks whether it still belongs here.
const LEADERLESS: Duration = Duration::from_secs(2);

type Outcome = Result<(), Obstacle>;

/// The members and learners as the last membership entry has them, and which of them vote.
fn members(metrics: &Metrics) -> (BTreeMap<NodeId, Member>, BTreeSet<NodeId>) {
    let membership = &metrics.membership_config;
    (membership.nodes().map(|(id, member)| (*id, member.clone())).collect(), membership.voter_ids().collect())
}

impl Cluster {
    /// Changes the membership. A change that was made already is none, so asking again is safe.
    pub async fn change(&self, change: Change) -> Result<Result<(), Obstacle>, ClusterError> {
        self.persist(Call::Change(change.clone()), |cluster| {
            let change = change.clone();
            async move { cluster.change_if_leader(change).await }
        })
        .await
    }

    pub(crate) async fn change_if_leader(&self, change: Change) -> Result<Result<(), Obstacle>, Miss> {
        self.refuse_without_majority()?;
        Ok(self.change_here(change).await)
    }

    /// Changes the membership, if this node leads.
    pub(crate) async fn change_here(&self, change: Change) -> Outcome {
        let level = self.level()?;
        let (known, voters) = members(&self.raft().metrics().borrow());
        let retired = self.peek().retired().map_err(|error| Obstacle::Consensus(error.to_string()))?;
        match change {
            // Who gives the command again did not hear how it ended.
            Change::Retire { node } | Change::Leave { node }
                if !known.contains_key(&node) && retired.contains(&node) =>
            {
                Ok(())
            }
            Change::Join { node, address, replaces } => self.let_in(&known, node, address, replaces, level).await,
            Change::Retire { node } => {
                if !known.contains_key(&node) {
                    return Err(Obstacle::NoMember(node));
                }
                self.majority_without(&known, &voters, node).await?;
                self.retire(node).await
            }
            Change::Leave { node } => {
                if !known.contains_key(&node) {
                    return Err(Obstacle::NoMember(node));
                }
                // Before it is marked: a node that cannot go should not be left half gone.
                self.majority_without(&known, &voters, node).await?;
                self.retire(node).await?;
                if voters.contains(&node) {
                    self.commit(ChangeMembers::RemoveVoters([node].into())).await
                } else {
                    self.commit(ChangeMembers::RemoveNodes([node].into())).await
                }
            }
            Change::Move { node, address } => {
                let member = known.get(&node).ok_or(Obstacle::NoMember(node))?;
                if member.address == address {
                    return Ok(());
                }
                let moved = Member { address, ..member.clone() };
                self.commit(ChangeMembers::SetNodes([(node, moved)].into())).await
            }
        }
    }

    /// The level of the cluster's commands.
    fn level(&self) -> Result<u32, Obstacle> {
        let meta = self.peek().cluster_meta().map_err(|error| Obstacle::Consensus(error.to_string()))?;
        Ok(meta.map_or(1, |meta| meta.level))
    }

    async fn let_in(
        &self,
        known: &BTreeMap<NodeId, Member>,
        node: NodeId,
        address: String,
        replaces: Option<NodeId>,
        level: u32,
    ) -> Outcome {
        if node == OPERATOR {
            return Err(Obstacle::NoNumber(node));
        }
        if self.peek().retired().map_err(|error| Obstacle::Consensus(error.to_string()))?.contains(&node) {
            return Err(if known.contains_key(&node) { Obstacle::Leaving(node) } else { Obstacle::Used(node) });
        }
        if let Some(old) = replaces
            && (old == node || !known.contains_key(&old))
        {
            return Err(Obstacle::NoMember(old));
        }
        if !known.contains_key(&node) {
            self.peer().set_address(node, address.clone());
        }
        let said: Result<Introduction, _> = self.peer().call(node, Protocol::Cluster, &Call::Hello, HELLO_WITHIN).await;
        let said =
            said.map_err(|error| Obstacle::Unreachable { node, address: address.clone(), reason: error.to_string() })?;
        match known.get(&node) {
            Some(member) if member.disk == said.disk => return Ok(()),
            Some(_) => return Err(Obstacle::Taken(node)),
            None if said.members.is_some() => return Err(Obstacle::NotFresh(node)),
            None if said.level < level => {
                return Err(Obstacle::TooOld { node, level: said.level, needed: level });
            }
            None => {}
        }
        if let Some(old) = replaces {
            self.retire(old).await?;
        }
        let member = Member { disk: said.disk, address, replaces };
        self.commit(ChangeMembers::AddNodes([(node, member)].into())).await
    }

    /// Marks a node as about to leave.
    async fn retire(&self, node: NodeId) -> Outcome {
        self.order(RetireNode { node }).await
    }

    /// Names the cluster if it has no name, and raises its feature level to `level` if all members know that one.
    async fn raise(&self, level: u32) -> Outcome {
        let (known, _) = members(&self.raft().metrics().borrow());
        // This node need not be asked, and one that is alone may have no address that it could be asked at.
        let all: Vec<NodeId> = known.keys().copied().filter(|id| *id != self.status().id).collect();
        let said = self.introductions(&all).await;
        if said.iter().all(|said| said.as_ref().is_some_and(|said| said.level >= level)) {
            self.order(SetLevel { level, cluster: Uuid::new_v4() }).await?;
        }
        Ok(())
    }

    async fn order(&self, command: impl Into<Command>) -> Outcome {
        let told = |error: &dyn std::fmt::Display| Obstacle::Consensus(error.to_string());
        match self.propose(command).await.map_err(|error| told(&error))? {
            Ok(_) => Ok(()),
            Err(Refusal::NotYet { .. }) => Err(Obstacle::Upgrading),
            Err(refusal) => Err(told(&refusal)),
        }
    }

    /// Whether enough of the voters answer once `gone` is no more.
    async fn majority_without(
        &self,
        known: &BTreeMap<NodeId, Member>,
        voters: &BTreeSet<NodeId>,
        gone: NodeId,
    ) -> Outcome {
        let left: Vec<NodeId> =
            voters.iter().copied().filter(|voter| *voter != gone && known.contains_key(voter)).collect();
        if left.is_empty() {
            return Err(Obstacle::Last(gone));
        }
        let alive = self.introductions(&left).await.into_iter().flatten().count();
        if alive < left.len() / 2 + 1 {
            return Err(Obstacle::NoMajorityLeft { alive, members: left.len() });
        }
        Ok(())
    }

    /// What these nodes say of themselves, in their order; nothing for one that does not answer.
    async fn introductions(&self, nodes: &[NodeId]) -> Vec<Option<Introduction>> {
        let asked = nodes.iter().map(|node| self.peer().call(*node, Protocol::Cluster, &Call::Hello, HELLO_WITHIN));
        futures_util::future::join_all(asked).await.into_iter().map(Result::ok).collect()
    }

    async fn commit(&self, change: ChangeMembers<NodeId, Member>) -> Outcome {
        match self.raft().change_membership(change, false).await {
            Ok(_) => Ok(()),
            Err(RaftError::APIError(ClientWriteError::ChangeMembershipError(ChangeMembershipError::InProgress(_)))) => {
                Err(Obstacle::Busy)
            }
            Err(error) => Err(Obstacle::Consensus(error.to_string())),
        }
    }
}

/// Looks after the membership for as long as the node runs: tells the connections who belongs to the cluster, raises
/// the feature level, makes voters of learners, and notices that this node has been removed, which ends it.
pub(crate) async fn look_after(cluster: Cluster, address: String, left: Left, level: u32) {
    let mut metrics = cluster.raft().metrics();
    let mut told = None;
    let mut asked = Instant::now();
    loop {
        if metrics.borrow().running_state.is_err() {
            return;
        }
        follow(&cluster, &mut told);
        let status = cluster.status();
        if outside(&cluster) {
            left.leave();
            return;
        }
        match status.leader {
            Some(leader) => {
                if leader == status.id {
                    if let Err(error) = lead(&cluster, level).await {
                        tracing::debug!(%error, "the membership is not as it is meant to be yet");
                    }
                } else if let Some(change) = moved(&cluster, &address) {
                    // The leader says no for a while when another change is under way.
                    let _ = cluster.change(change).await;
                }
            }
            // The others may have removed this node while it was away; they do not tell it of themselves.
            None if cluster.leaderless() > LEADERLESS && asked.elapsed() > LEADERLESS => {
                asked = Instant::now();
                let others: Vec<NodeId> = cluster.peer().members().into_iter().filter(|id| *id != status.id).collect();
                let said = cluster.introductions(&others).await;
                if said.into_iter().flatten().any(|said| said.removed(status.id)) {
                    left.leave();
                    return;
                }
            }
            None => {}
        }
        // A change is noticed at once, and what depends on other nodes is looked at again now and then.
        let _ = tokio::time::timeout(TICK, metrics.changed()).await;
        tokio::time::sleep(TICK / 5).await;
    }
}

/// Tells the connections what the membership says.
fn follow(cluster: &Cluster, told: &mut Option<(BTreeMap<NodeId, String>, BTreeSet<NodeId>)>) {
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
    if *told != now {
        if let Some((addresses, apart)) = now.clone() {
            cluster.peer().set_members(addresses, apart);
        }
        *told = now;
    }
}

/// Whether the last membership entry is committed.
fn settled(metrics: &Metrics) -> bool {
    *metrics.membership_config.log_id() <= metrics.last_applied
}

/// Whether this node has itself heard that it was removed.
fn outside(cluster: &Cluster) -> bool {
    let id = cluster.status().id;
    let metrics = cluster.raft().metrics();
    let (known, _) = members(&metrics.borrow());
    settled(&metrics.borrow())
        && !known.is_empty()
        && !known.contains_key(&id)
        && cluster.peek().retired().is_ok_and(|retired| retired.contains(&id))
}

/// What the leader owes the membership: the level, and a vote for each learner that has caught up.
async fn lead(cluster: &Cluster, level: u32) -> Outcome {
    let meta = cluster.peek().cluster_meta().map_err(|error| Obstacle::Consensus(error.to_string()))?;
    if meta.is_none_or(|meta| meta.level < level) && cluster.is_leader() {
        cluster.raise(level).await?;
    }
    let joint = {
        let metrics = cluster.raft().metrics();
        let metrics = metrics.borrow();
        let configs = metrics.membership_config.membership().get_joint_config();
        (settled(&metrics) && configs.len() > 1).then(|| configs.last().cloned()).flatten()
    };
    if let Some(voters) = joint {
        // The leader before died between the two steps of a change; or this one is about to make the second itself.
        return cluster.commit(ChangeMembers::ReplaceAllVoters(voters)).await;
    }
    let (known, voters) = members(&cluster.raft().metrics().borrow());
    for (learner, member) in known.iter().filter(|(id, _)| !voters.contains(id)) {
        if cluster.lag(*learner).is_none_or(|lag| lag > CAUGHT_UP) {
            continue;
        }
        let change = match member.replaces {
            // Says nothing of the other voters, so one that became a voter just now stays one.
            None => ChangeMembers::AddVoterIds([*learner].into()),
            Some(old) => {
                let others = voters.iter().copied().filter(|voter| *voter != old);
                ChangeMembers::ReplaceAllVoters(others.chain([*learner]).collect())
            }
        };
        cluster.commit(change).await?;
        tracing::info!(node = learner, replaces = member.replaces, "a node has joined");
        // The next one comes to a membership that is another one by then.
        return Ok(());
    }
    Ok(())
}

/// The change that this node needs when it listens elsewhere than the membership says.
fn moved(cluster: &Cluster, address: &str) -> Option<Change> {
    let node = cluster.status().id;
    let (known, _) = members(&cluster.raft().metrics().borrow());
    // Port 0 is no address that anybody could use.
    let differs = known.get(&node).is_some_and(|member| member.address != address) && !address.ends_with(":0");
    differs.then(|| Change::Move { node, address: address.to_owned() })
}

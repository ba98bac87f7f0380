//! Changes of the membership while the cluster runs.
//!
//! A node joins in two steps. The leader adds it as a learner, which receives the log and has no vote. When the learner
//! has caught up, the leader makes it a voter ([`crate::reconcile`]). The membership itself holds the intention, so a
//! new leader completes the change when the old one dies in between.
//!
//! A node leaves in two steps as well. First it is retired: it gets no more files, and the other nodes make the copies
//! that will be missing. Then it is removed from the membership. A command that was interrupted between the steps is
//! repeated by the operator.
//!
//! Invariants:
//!
//! - A node id is never used again: a node with a used id and an empty disk could vote twice in one term.
//! - A retired node stays retired. Otherwise it could be removed while an operator takes the retirement back.
//! - No change starts that would leave the cluster without a majority of nodes that answer.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use net::{NodeId, OPERATOR, Protocol};
use openraft::ChangeMembers;
use openraft::error::{ChangeMembershipError, ClientWriteError, RaftError};
use uuid::Uuid;

use crate::bootstrap::Introduction;
use crate::change::{Change, MembershipError};
use crate::cluster::Cluster;
use crate::consensus::{Member, Metrics};
use crate::error::ClusterError;
use crate::protocol::{ClusterCall, ForwardError};
use state::command::{Command, Refusal, RetireNode, SetLevel};

/// How long a node may take to introduce itself.
const HELLO_TIMEOUT: Duration = Duration::from_secs(1);

/// The outcome of a change of the membership.
pub(crate) type ChangeResult = Result<(), MembershipError>;

/// The members including learners, and the voters, of the last membership entry.
pub(crate) fn members(metrics: &Metrics) -> (BTreeMap<NodeId, Member>, BTreeSet<NodeId>) {
    let membership = &metrics.membership_config;
    (membership.nodes().map(|(id, member)| (*id, member.clone())).collect(), membership.voter_ids().collect())
}

/// A failure of consensus or of reading the state.
pub(crate) fn into_error(error: impl std::fmt::Display) -> MembershipError {
    MembershipError::Consensus(error.to_string())
}

impl Cluster {
    /// Changes the membership. A change that is already in effect succeeds, so callers may repeat it.
    pub async fn change(&self, change: Change) -> Result<ChangeResult, ClusterError> {
        self.call_leader(ClusterCall::Change(change.clone()), |cluster| {
            let change = change.clone();
            async move { cluster.change_if_leader(change).await }
        })
        .await
    }

    pub(crate) async fn change_if_leader(&self, change: Change) -> Result<ChangeResult, ForwardError> {
        self.check_quorum()?;
        Ok(self.change_as_leader(change).await)
    }

    async fn change_as_leader(&self, change: Change) -> ChangeResult {
        let level = self.level()?;
        let (known, voters) = members(&self.raft().metrics().borrow());
        let retired = self.peek().retired().map_err(into_error)?;
        match change {
            // A repetition of a command whose answer was lost.
            Change::Retire { node } | Change::Leave { node }
                if !known.contains_key(&node) && retired.contains(&node) =>
            {
                Ok(())
            }
            Change::Join { node, address, replaces } => self.add(&known, node, address, replaces, level).await,
            Change::Retire { node } => {
                if !known.contains_key(&node) {
                    return Err(MembershipError::NoMember(node));
                }
                self.majority_without(&known, &voters, node).await?;
                self.retire(node).await
            }
            Change::Leave { node } => {
                if !known.contains_key(&node) {
                    return Err(MembershipError::NoMember(node));
                }
                // Checked before the retirement, which cannot be taken back.
                self.majority_without(&known, &voters, node).await?;
                self.retire(node).await?;
                if voters.contains(&node) {
                    self.commit(ChangeMembers::RemoveVoters([node].into())).await
                } else {
                    self.commit(ChangeMembers::RemoveNodes([node].into())).await
                }
            }
            Change::Move { node, address } => {
                let member = known.get(&node).ok_or(MembershipError::NoMember(node))?;
                if member.address == address {
                    return Ok(());
                }
                let moved = Member { address, ..member.clone() };
                self.commit(ChangeMembers::SetNodes([(node, moved)].into())).await
            }
        }
    }

    /// The feature level of the cluster.
    fn level(&self) -> Result<u32, MembershipError> {
        let meta = self.peek().cluster_meta().map_err(into_error)?;
        Ok(meta.map_or(1, |meta| meta.level))
    }

    async fn add(
        &self,
        known: &BTreeMap<NodeId, Member>,
        node: NodeId,
        address: String,
        replaces: Option<NodeId>,
        level: u32,
    ) -> ChangeResult {
        if node == OPERATOR {
            return Err(MembershipError::NoNumber(node));
        }
        if self.peek().retired().map_err(into_error)?.contains(&node) {
            return Err(if known.contains_key(&node) {
                MembershipError::Leaving(node)
            } else {
                MembershipError::Used(node)
            });
        }
        if let Some(old) = replaces
            && (old == node || !known.contains_key(&old))
        {
            return Err(MembershipError::NoMember(old));
        }
        if !known.contains_key(&node) {
            self.peer().set_address(node, address.clone());
        }
        let introduction: Result<Introduction, _> =
            self.peer().call(node, Protocol::Cluster, &ClusterCall::Hello, HELLO_TIMEOUT).await;
        let introduction = introduction.map_err(|error| MembershipError::Unreachable {
            node,
            address: address.clone(),
            reason: error.to_string(),
        })?;
        match known.get(&node) {
            Some(member) if member.disk == introduction.disk => return Ok(()),
            Some(_) => return Err(MembershipError::Taken(node)),
            None if introduction.members.is_some() => return Err(MembershipError::NotFresh(node)),
            None if introduction.level < level => {
                return Err(MembershipError::TooOld { node, level: introduction.level, needed: level });
            }
            None => {}
        }
        if let Some(old) = replaces {
            self.retire(old).await?;
        }
        let member = Member { disk: introduction.disk, address, replaces };
        self.commit(ChangeMembers::AddNodes([(node, member)].into())).await
    }

    /// Records that a node is leaving.
    async fn retire(&self, node: NodeId) -> ChangeResult {
        self.order(RetireNode { node }).await
    }

    /// Names the cluster if it has no name, and raises its feature level to `level` if all members know that one.
    pub(crate) async fn raise_level(&self, level: u32) -> ChangeResult {
        let (known, _) = members(&self.raft().metrics().borrow());
        // This node is not called: the only node of a cluster may have no address.
        let others: Vec<NodeId> = known.keys().copied().filter(|id| *id != self.status().id).collect();
        let introductions = self.introductions(&others).await;
        if introductions.iter().all(|other| other.as_ref().is_some_and(|other| other.level >= level)) {
            self.order(SetLevel { level, cluster: Uuid::new_v4() }).await?;
        }
        Ok(())
    }

    async fn order(&self, command: impl Into<Command>) -> ChangeResult {
        match self.propose(command).await.map_err(into_error)? {
            Ok(_) => Ok(()),
            Err(Refusal::NotYet { .. }) => Err(MembershipError::Upgrading),
            Err(refusal) => Err(into_error(refusal)),
        }
    }

    /// Fails unless a majority of the voters other than `gone` answers.
    async fn majority_without(
        &self,
        known: &BTreeMap<NodeId, Member>,
        voters: &BTreeSet<NodeId>,
        gone: NodeId,
    ) -> ChangeResult {
        let remaining: Vec<NodeId> =
            voters.iter().copied().filter(|voter| *voter != gone && known.contains_key(voter)).collect();
        if remaining.is_empty() {
            return Err(MembershipError::Last(gone));
        }
        let alive = self.introductions(&remaining).await.into_iter().flatten().count();
        if alive < remaining.len() / 2 + 1 {
            return Err(MembershipError::NoMajorityLeft { alive, members: remaining.len() });
        }
        Ok(())
    }

    /// The introductions of these nodes, in their order; `None` for a node that does not answer.
    pub(crate) async fn introductions(&self, nodes: &[NodeId]) -> Vec<Option<Introduction>> {
        let calls =
            nodes.iter().map(|node| self.peer().call(*node, Protocol::Cluster, &ClusterCall::Hello, HELLO_TIMEOUT));
        futures_util::future::join_all(calls).await.into_iter().map(Result::ok).collect()
    }

    /// Commits a change of the membership to the log.
    pub(crate) async fn commit(&self, change: ChangeMembers<NodeId, Member>) -> ChangeResult {
        match self.raft().change_membership(change, false).await {
            Ok(_) => Ok(()),
            Err(RaftError::APIError(ClientWriteError::ChangeMembershipError(ChangeMembershipError::InProgress(_)))) => {
                Err(MembershipError::Busy)
            }
            Err(error) => Err(into_error(error)),
        }
    }
}

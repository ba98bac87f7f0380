//! Restoring missing copies and removing surplus ones.
//!
//! Each node repairs its own disk. It asks the others which blobs they hold. If too few members hold a blob, the
//! missing copies belong to the first members in the blob's order that do not hold it. All nodes compute the same
//! order, so each knows its part without agreement. Nodes with different answers at worst create a surplus copy for a
//! while.
//!
//! Invariant: a node removes its copy only if enough members before it in the order hold one. These remove theirs only
//! if enough members before them hold one. So the first copies stay, however many nodes remove theirs at the same time.

use std::collections::{HashMap, HashSet};
use std::time::Instant;

use futures_util::future::join_all;

use net::{NodeId, Protocol};
use storage::blobs::{BlobError, Hash, blocking};

use crate::protocol::BlobRequest;
use crate::{Replication, majority, placement};

/// How many blobs one request asks about.
pub const BATCH: usize = 512;

/// Where some blobs are.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Survey {
    /// The number of blobs that fewer members hold than a majority.
    pub under_replicated: u64,
    /// Those of them that this node should fetch.
    pub to_fetch: Vec<Hash>,
    /// Blobs that this node holds although enough members before it in the order hold them.
    pub surplus: Vec<Hash>,
    /// Members that did not answer. The survey assumes that they hold all blobs.
    pub unanswered: Vec<NodeId>,
}

impl Survey {
    /// Adds the results of another survey, of other blobs.
    pub fn merge(&mut self, other: Self) {
        self.under_replicated += other.under_replicated;
        self.to_fetch.extend(other.to_fetch);
        self.surplus.extend(other.surplus);
        self.unanswered.extend(other.unanswered);
        self.unanswered.sort_unstable();
        self.unanswered.dedup();
    }
}

/// For each member that answered, which of the blobs it holds.
struct Holdings(HashMap<NodeId, Vec<bool>>);

impl Holdings {
    /// Whether the member holds blob `index`. `None` if it did not answer.
    fn has(&self, member: NodeId, index: usize) -> Option<bool> {
        self.0.get(&member)?.get(index).copied()
    }
}

impl Replication {
    async fn holdings(&self, members: &[NodeId], hashes: &[Hash]) -> Holdings {
        let me = self.0.peer.id();
        let asked = members.iter().map(async |member| {
            if *member == me {
                let (blobs, hashes) = (self.0.blobs.clone(), hashes.to_vec());
                let held = blocking(move || Ok(hashes.iter().map(|hash| blobs.contains(hash)).collect()));
                return held.await.ok().map(|held| (me, held));
            }
            let request = BlobRequest::Holds(hashes.to_vec());
            let held: Vec<bool> =
                self.0.peer.call(*member, Protocol::Blobs, &request, self.0.timing.answer).await.ok()?;
            (held.len() == hashes.len()).then_some((*member, held))
        });
        Holdings(join_all(asked).await.into_iter().flatten().collect())
    }

    /// Asks the members which of these blobs they hold, [`BATCH`] blobs per request. Copies of the members in `away` do
    /// not count. Other members that do not answer are restarting or busy; the survey assumes that they hold all blobs.
    pub async fn survey(&self, hashes: &[Hash], away: &HashSet<NodeId>) -> Survey {
        let (me, members) = (self.0.peer.id(), self.0.peer.holders());
        let needed = majority(members.len());
        let present: Vec<NodeId> = members.into_iter().filter(|member| !away.contains(member)).collect();
        let mut survey = Survey::default();
        for hashes in hashes.chunks(BATCH) {
            let holdings = self.holdings(&present, hashes).await;
            let unanswered = present.iter().copied().filter(|member| !holdings.0.contains_key(member));
            let mut found = Survey { unanswered: unanswered.collect(), ..Survey::default() };
            for (index, hash) in hashes.iter().enumerate() {
                let order = placement::order(hash, &present);
                let (holders, others): (Vec<NodeId>, Vec<NodeId>) =
                    order.into_iter().partition(|member| holdings.has(*member, index).unwrap_or(true));
                if holders.len() < needed {
                    found.under_replicated += 1;
                    if others.iter().take(needed - holders.len()).any(|member| *member == me) {
                        found.to_fetch.push(*hash);
                    }
                } else if holdings.has(me, index) == Some(true) {
                    let before = holders.iter().take_while(|member| **member != me);
                    if before.filter(|member| holdings.has(**member, index).is_some()).count() >= needed {
                        found.surplus.push(*hash);
                    }
                }
            }
            survey.merge(found);
        }
        survey
    }

    /// Removes this node's copies of these blobs, if a new survey finds them to be surplus and they were not confirmed
    /// here since `since`. Returns how many were removed.
    pub async fn drop_surplus(&self, hashes: &[Hash], since: Instant) -> Result<usize, BlobError> {
        // A member without an answer does not count as a holder of surplus blobs.
        let surplus = self.survey(hashes, &HashSet::new()).await.surplus;
        let blobs = self.0.blobs.clone();
        blocking(move || {
            let mut removed = 0;
            for hash in &surplus {
                removed += usize::from(blobs.remove_unconfirmed(hash, since)?);
            }
            Ok(removed)
        })
        .await
    }

    /// The number of these blobs that fewer than a majority of `nodes` hold. Nodes that do not answer count as holding
    /// nothing. At 0, all other nodes can leave without a loss.
    pub async fn under_replicated_among(&self, nodes: &[NodeId], hashes: &[Hash]) -> usize {
        let mut short = 0;
        for hashes in hashes.chunks(BATCH) {
            let holdings = self.holdings(nodes, hashes).await;
            let holders = |index| nodes.iter().filter(|node| holdings.has(**node, index) == Some(true)).count();
            short += (0..hashes.len()).filter(|index| holders(*index) < majority(nodes.len())).count();
        }
        short
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]

    use std::collections::{BTreeMap, BTreeSet};

    use net::PeerError;

    use crate::testing::{Node, TIMEOUT, holders, nodes, put};

    use super::*;

    /// All nodes except those that are away make a survey at the same time, then fetch their missing copies.
    async fn repair(nodes: &[Node], hashes: &[Hash], away: &[u64]) {
        let away: HashSet<u64> = away.iter().copied().collect();
        let present = || nodes.iter().filter(|node| !away.contains(&node.peer.id()));
        let surveys = join_all(present().map(|node| node.replication.survey(hashes, &away))).await;
        for (node, survey) in present().zip(surveys) {
            for hash in survey.to_fetch {
                node.replication.fetch(&hash).await.unwrap();
            }
        }
    }

    #[tokio::test]
    async fn lost_copies_are_restored() {
        let nodes = nodes(5);
        let mut hashes = Vec::new();
        for number in 0..20u8 {
            let hash = put(&nodes[0], &[number; 1000]).await;
            nodes[0].replication.replicate(&[hash]).await.unwrap();
            assert_eq!(holders(&nodes, &hash).len(), 3);
            hashes.push(hash);
        }
        for node in &nodes {
            let survey = node.replication.survey(&hashes, &HashSet::new()).await;
            assert_eq!((survey.under_replicated, survey.to_fetch.len(), survey.unanswered.len()), (0, 0, 0));
        }
        // One disk loses all blobs.
        for hash in &hashes {
            nodes[0].replication.blobs().remove(hash).unwrap();
        }
        assert_eq!(nodes[3].replication.survey(&hashes, &HashSet::new()).await.under_replicated, 20);
        repair(&nodes, &hashes, &[]).await;
        for hash in &hashes {
            assert_eq!(holders(&nodes, hash).len(), 3, "exactly the missing copies are restored");
        }
    }

    #[tokio::test]
    async fn members_that_are_away_are_replaced_and_restarting_ones_are_not() {
        let nodes = nodes(3);
        let hash = put(&nodes[0], b"song").await;
        nodes[0].replication.replicate(&[hash]).await.unwrap();
        let gone = holders(&nodes, &hash)[1];
        let left = 3 - gone;
        nodes[gone as usize].peer.close().await;
        let survey = nodes[left as usize].replication.survey(&[hash], &HashSet::new()).await;
        assert_eq!((survey.under_replicated, survey.to_fetch, survey.unanswered), (0, vec![], vec![gone]));
        repair(&nodes, &[hash], &[gone]).await;
        assert!(nodes[left as usize].replication.blobs().contains(&hash));
    }

    #[tokio::test]
    async fn only_surplus_copies_are_removed() {
        let nodes = nodes(3);
        let hash = put(&nodes[0], b"song").await;
        for node in &nodes {
            node.replication.fetch(&hash).await.unwrap();
        }
        // A copy that was confirmed a moment ago stays.
        let before = Instant::now().checked_sub(std::time::Duration::from_secs(60)).unwrap();
        for node in &nodes {
            assert_eq!(node.replication.drop_surplus(&[hash], before).await.unwrap(), 0);
        }
        // A majority keeps the blob when all nodes remove surplus copies at once, several times.
        for _ in 0..3 {
            join_all(
                nodes.iter().map(async |node| node.replication.drop_surplus(&[hash], Instant::now()).await.unwrap()),
            )
            .await;
            assert_eq!(holders(&nodes, &hash).len(), 2);
        }
        // A node that does not answer does not count as a holder.
        let gone = holders(&nodes, &hash)[0];
        for node in &nodes {
            node.replication.fetch(&hash).await.unwrap();
        }
        nodes[gone as usize].peer.close().await;
        for node in nodes.iter().filter(|node| node.peer.id() != gone) {
            assert_eq!(node.replication.drop_surplus(&[hash], Instant::now()).await.unwrap(), 0);
        }
    }

    #[tokio::test]
    async fn leaving_nodes_do_not_count_but_still_serve() {
        let nodes = nodes(4);
        let hash = put(&nodes[3], b"song").await;
        let other = put(&nodes[0], b"another").await;
        let addresses: BTreeMap<u64, String> =
            nodes.iter().map(|node| (node.peer.id(), node.peer.local_addr().unwrap().to_string())).collect();
        for node in &nodes {
            node.peer.set_members(addresses.clone(), BTreeSet::from([3]));
        }
        assert_eq!(nodes[3].replication.under_replicated_among(&[0, 1, 2], &[hash]).await, 1);
        repair(&nodes, &[hash], &[]).await;
        assert_eq!(holders(&nodes[..3], &hash).len(), 2);
        assert_eq!(nodes[3].replication.under_replicated_among(&[0, 1, 2], &[hash]).await, 0);
        nodes[0].replication.replicate(&[other]).await.unwrap();
        assert!(!nodes[3].replication.blobs().contains(&other));
        // It passes on a blob that it received last.
        let late = put(&nodes[3], b"late").await;
        nodes[3].replication.replicate(&[late]).await.unwrap();
        assert_eq!(holders(&nodes[..3], &late).len(), 2);
        // A node that does not answer does not count as a holder.
        nodes[holders(&nodes, &late)[0] as usize].peer.close().await;
        assert_eq!(nodes[3].replication.under_replicated_among(&[0, 1, 2], &[late]).await, 1);
    }

    #[tokio::test]
    async fn unknown_requests_reset_the_stream() {
        let nodes = nodes(2);
        #[derive(serde::Serialize)]
        enum UnknownRequest {
            Sing,
        }
        let asked = nodes[0].peer.call::<_, Vec<bool>>(1, Protocol::Blobs, &UnknownRequest::Sing, TIMEOUT).await;
        assert!(matches!(asked, Err(PeerError::Read(_))), "{asked:?}");
    }
}

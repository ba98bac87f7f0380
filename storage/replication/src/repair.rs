//! Keeping the number of copies: who should take one, who may drop one, and when one may leave.
//!
//! Every node looks after itself. It asks the others which files they hold, and where too few do, the missing copies
//! are for the members that rank first in the file's order among those that are there and hold none. All who look see
//! the same order, so each knows its own part with nothing to agree on; should two see different things, there is a
//! copy too many for a while.
//!
//! A copy may be dropped only by a node before which enough others rank that hold one. Those others would drop theirs
//! only for the sake of ones that rank before them again, so however many drop at the same time, the first ones stay.

use std::collections::{HashMap, HashSet};
use std::time::Instant;

use futures_util::future::join_all;

use super::protocol::Question;
use super::{Replication, majority, placement};
use net::{NodeId, Protocol};
use storage::blobs::{BlobError, Hash, blocking};

/// How many files are asked about at a time.
pub const BATCH: usize = 512;

/// What asking about some files has shown.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Survey {
    /// Files of which there are fewer copies than make a majority.
    pub under_replicated: u64,
    /// Those of them of which this node should take a copy.
    pub to_fetch: Vec<Hash>,
    /// Files of which enough members hold a copy that rank before this node, which holds one too.
    pub surplus: Vec<Hash>,
    /// Members that did not answer and were taken to hold everything.
    pub unanswered: Vec<NodeId>,
}

impl Survey {
    /// Adds what another one has shown.
    pub fn merge(&mut self, other: Self) {
        self.under_replicated += other.under_replicated;
        self.to_fetch.extend(other.to_fetch);
        self.surplus.extend(other.surplus);
        self.unanswered.extend(other.unanswered);
        self.unanswered.sort_unstable();
        self.unanswered.dedup();
    }
}

/// Which of some files the members hold, as far as they say.
struct Holdings {
    held: HashMap<NodeId, Vec<bool>>,
}

impl Holdings {
    fn has(&self, member: NodeId, index: usize) -> Option<bool> {
        self.held.get(&member)?.get(index).copied()
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
            let question = Question::Holds(hashes.to_vec());
            let held: Vec<bool> =
                self.0.peer.call(*member, Protocol::Blobs, &question, self.0.pace.answer).await.ok()?;
            (held.len() == hashes.len()).then_some((*member, held))
        });
        Holdings { held: join_all(asked).await.into_iter().flatten().collect() }
    }

    /// Looks where these files are, [`BATCH`] of them at a time. The members in `away` count for nothing; one that is
    /// not away and does not answer is restarting, or busy, and is taken to hold whatever it should.
    pub async fn survey(&self, hashes: &[Hash], away: &HashSet<NodeId>) -> Survey {
        let (me, members) = (self.0.peer.id(), self.0.peer.holders());
        let needed = majority(members.len());
        let present: Vec<NodeId> = members.into_iter().filter(|member| !away.contains(member)).collect();
        let mut survey = Survey::default();
        for hashes in hashes.chunks(BATCH) {
            let holdings = self.holdings(&present, hashes).await;
            let unanswered = present.iter().copied().filter(|member| !holdings.held.contains_key(member));
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

    /// Drops this node's copies of these files where, asked once more, enough members that rank before it hold one and
    /// nobody here has used it since `since`. Returns how many went.
    pub async fn drop_surplus(&self, hashes: &[Hash], since: Instant) -> Result<usize, BlobError> {
        // Who is away holds nothing that can be relied upon; who does not answer is not counted for a surplus.
        let surplus = self.survey(hashes, &HashSet::new()).await.surplus;
        let blobs = self.0.blobs.clone();
        blocking(move || {
            let mut dropped = 0;
            for hash in &surplus {
                dropped += usize::from(blobs.remove_unconfirmed(hash, since)?);
            }
            Ok(dropped)
        })
        .await
    }

    /// How many of these files fewer than a majority of these nodes hold, as far as they answer. When it is none, a node
    /// that is not among them may leave and takes nothing with it.
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

    use super::super::tests::{Node, nodes, put};
    use super::*;
    use net::PeerError;

    fn holders(nodes: &[Node], hash: &Hash) -> Vec<u64> {
        let holding = nodes.iter().filter(|node| node.sharing.blobs().contains(hash));
        holding.map(|node| node.peer.id()).collect()
    }

    /// Every node but those that are away looks once, all at the same time, and then takes what it should.
    async fn repair(nodes: &[Node], hashes: &[Hash], away: &[u64]) {
        let away: HashSet<u64> = away.iter().copied().collect();
        let present = || nodes.iter().filter(|node| !away.contains(&node.peer.id()));
        let surveys = join_all(present().map(|node| node.sharing.survey(hashes, &away))).await;
        for (node, survey) in present().zip(surveys) {
            for hash in survey.to_fetch {
                node.sharing.fetch(&hash).await.unwrap();
            }
        }
    }

    #[tokio::test]
    async fn copies_that_are_lost_are_made_up_for() {
        let nodes = nodes(5);
        let mut hashes = Vec::new();
        for number in 0..20u8 {
            let hash = put(&nodes[0], &[number; 1000]).await;
            nodes[0].sharing.replicate(&[hash]).await.unwrap();
            assert_eq!(holders(&nodes, &hash).len(), 3);
            hashes.push(hash);
        }
        for node in &nodes {
            let survey = node.sharing.survey(&hashes, &HashSet::new()).await;
            assert_eq!((survey.under_replicated, survey.to_fetch.len(), survey.unanswered.len()), (0, 0, 0));
        }
        // One disk loses everything.
        for hash in &hashes {
            nodes[0].sharing.blobs().remove(hash).unwrap();
        }
        assert_eq!(nodes[3].sharing.survey(&hashes, &HashSet::new()).await.under_replicated, 20);
        repair(&nodes, &hashes, &[]).await;
        for hash in &hashes {
            assert_eq!(holders(&nodes, hash).len(), 3, "no copy too few and none too many");
        }
    }

    #[tokio::test]
    async fn a_member_that_is_away_is_replaced_and_one_that_restarts_is_not() {
        let nodes = nodes(3);
        let hash = put(&nodes[0], b"song").await;
        nodes[0].sharing.replicate(&[hash]).await.unwrap();
        let gone = holders(&nodes, &hash)[1];
        let left = 3 - gone;
        nodes[gone as usize].peer.close().await;
        let survey = nodes[left as usize].sharing.survey(&[hash], &HashSet::new()).await;
        assert_eq!((survey.under_replicated, survey.to_fetch, survey.unanswered), (0, vec![], vec![gone]));
        repair(&nodes, &[hash], &[gone]).await;
        assert!(nodes[left as usize].sharing.blobs().contains(&hash));
    }

    #[tokio::test]
    async fn a_surplus_copy_goes_and_the_others_stay() {
        let nodes = nodes(3);
        let hash = put(&nodes[0], b"song").await;
        for node in &nodes {
            node.sharing.fetch(&hash).await.unwrap();
        }
        // Used a moment ago, it stays wherever it is.
        let before = Instant::now().checked_sub(std::time::Duration::from_secs(60)).unwrap();
        for node in &nodes {
            assert_eq!(node.sharing.drop_surplus(&[hash], before).await.unwrap(), 0);
        }
        // All at once, as often as they like: a majority keeps it.
        for _ in 0..3 {
            join_all(nodes.iter().map(async |node| node.sharing.drop_surplus(&[hash], Instant::now()).await.unwrap()))
                .await;
            assert_eq!(holders(&nodes, &hash).len(), 2);
        }
        // With one that does not answer, nobody relies on it.
        let gone = holders(&nodes, &hash)[0];
        for node in &nodes {
            node.sharing.fetch(&hash).await.unwrap();
        }
        nodes[gone as usize].peer.close().await;
        for node in nodes.iter().filter(|node| node.peer.id() != gone) {
            assert_eq!(node.sharing.drop_surplus(&[hash], Instant::now()).await.unwrap(), 0);
        }
    }

    #[tokio::test]
    async fn who_is_about_to_leave_counts_for_nothing_and_still_gives() {
        let nodes = nodes(4);
        let hash = put(&nodes[3], b"song").await;
        let other = put(&nodes[0], b"another").await;
        let addresses: BTreeMap<u64, String> =
            nodes.iter().map(|node| (node.peer.id(), node.peer.local_addr().unwrap().to_string())).collect();
        for node in &nodes {
            node.peer.set_members(addresses.clone(), BTreeSet::from([3]));
        }
        assert_eq!(nodes[3].sharing.under_replicated_among(&[0, 1, 2], &[hash]).await, 1);
        repair(&nodes, &[hash], &[]).await;
        assert_eq!(holders(&nodes[..3], &hash).len(), 2);
        assert_eq!(nodes[3].sharing.under_replicated_among(&[0, 1, 2], &[hash]).await, 0);
        nodes[0].sharing.replicate(&[other]).await.unwrap();
        assert!(!nodes[3].sharing.blobs().contains(&other));
        // What it is given at the last moment, it passes on.
        let late = put(&nodes[3], b"late").await;
        nodes[3].sharing.replicate(&[late]).await.unwrap();
        assert_eq!(holders(&nodes[..3], &late).len(), 2);
        // Who does not answer cannot be relied upon.
        nodes[holders(&nodes, &late)[0] as usize].peer.close().await;
        assert_eq!(nodes[3].sharing.under_replicated_among(&[0, 1, 2], &[late]).await, 1);
    }

    #[tokio::test]
    async fn a_question_that_an_older_node_does_not_know_is_no_answer() {
        let nodes = nodes(2);
        #[derive(serde::Serialize)]
        enum Later {
            Sing,
        }
        let asked =
            nodes[0].peer.call::<_, Vec<bool>>(1, Protocol::Blobs, &Later::Sing, nodes[0].sharing.0.pace.answer).await;
        assert!(matches!(asked, Err(PeerError::Read(_))), "{asked:?}");
    }
}

//! Which nodes hold which blob, and how blobs move between them.
//!
//! There is no register of holders: a blob's place follows from its hash (rendezvous hashing), and whoever looks for one
//! asks the members in that order. What is asked is the disk itself, which cannot be out of date.
//!
//! A blob is safe when as many members hold it as make a majority. Which ones hardly matters: it is pushed to those
//! that rank first and answer, and [`repair`] makes up for those that are gone.

mod fetch;
mod placement;
mod protocol;
pub mod repair;

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use futures_util::stream::{FuturesUnordered, StreamExt, TryStreamExt};

use net::{NodeId, Peer, PeerError, Protocol};
pub use protocol::ReceiveError;
use protocol::{BlobService, PushAnswer, Question, STALLED, doubt, write_pieces};
use storage::blobs::{BlobError, Blobs, Hash, Manifest, blocking};

/// How long others are waited for.
#[derive(Debug, Clone, Copy)]
struct Pace {
    /// How long a member may take to say whether it holds a blob.
    answer: Duration,
    /// A member that has not answered for this long is not waited for alone.
    hedge: Duration,
    /// Confirmations older than this are asked for again before anything is built on them.
    fresh: Duration,
}

const PACE: Pace =
    Pace { answer: Duration::from_millis(1500), hedge: Duration::from_millis(200), fresh: Duration::from_secs(5) };

/// How often blobs are spread until all is fresh: once to send them, the rest for nodes that are slow to confirm.
const ROUNDS: usize = 4;

/// How many blobs are spread at a time.
const AT_A_TIME: usize = 4;

/// A blob could not be shared.
#[derive(Debug, thiserror::Error)]
pub enum ReplicationError {
    /// Too few nodes could take the blob.
    #[error("only {stored} of the {needed} nodes that make a majority hold the file: {reasons}")]
    NoMajority {
        /// How many hold it.
        stored: usize,
        /// How many should.
        needed: usize,
        /// What the others said.
        reasons: String,
    },
    /// Too few nodes have room for the blob.
    #[error("only {stored} of the {needed} nodes that make a majority have room for the file")]
    Full {
        /// How many hold it.
        stored: usize,
        /// How many should.
        needed: usize,
    },
    /// Nobody who can be reached holds the blob.
    #[error("no node that can be reached holds the file {hash}: {reasons}")]
    Unavailable {
        /// Which.
        hash: Hash,
        /// What the members said.
        reasons: String,
    },
    /// This node's disk failed.
    #[error(transparent)]
    Blob(#[from] BlobError),
}

/// How many of `members` make a majority.
fn majority(members: usize) -> usize {
    members / 2 + 1
}

/// What became of a push to a member that answered.
enum Pushed {
    /// The member holds the blob on its disk.
    Stored,
    /// It has no room.
    Full,
}

struct Inner {
    blobs: Blobs,
    peer: Peer,
    pace: Pace,
    fetching: Mutex<HashMap<Hash, Arc<tokio::sync::Mutex<()>>>>,
}

/// This node's part in sharing blobs. Cheap to clone.
#[derive(Clone)]
pub struct Replication(Arc<Inner>);

impl Replication {
    /// Begins to answer the other nodes.
    pub fn start(blobs: Blobs, peer: Peer) -> Self {
        Self::start_at(PACE, blobs, peer)
    }

    fn start_at(pace: Pace, blobs: Blobs, peer: Peer) -> Self {
        peer.serve(Protocol::Blobs, Arc::new(BlobService(blobs.clone())));
        Self(Arc::new(Inner { blobs, peer, pace, fetching: Mutex::default() }))
    }

    /// This node's own blobs.
    pub fn blobs(&self) -> &Blobs {
        &self.0.blobs
    }

    /// These nodes but for this one, in the order in which they should hold the blob; those that do not answer come
    /// last.
    fn others(&self, hash: &Hash, nodes: &[NodeId]) -> Vec<NodeId> {
        let mut order = placement::order(hash, nodes);
        order.retain(|member| *member != self.0.peer.id());
        order.sort_by_key(|member| self.0.peer.is_unresponsive(*member));
        order
    }

    /// Pushes blobs of this node's until a majority of the members that should hold files do hold each on disk. This
    /// node counts unless it is about to leave. A member that is slow to answer is not waited for: the next one is asked
    /// as well.
    ///
    /// When this returns, all of them have confirmed all of it within the last seconds: what begins with a command
    /// that refers to these blobs has a collection's whole grace to commit. So a round that took long is followed by
    /// another, which finds everything in place.
    pub async fn replicate(&self, hashes: &[Hash]) -> Result<(), ReplicationError> {
        for _ in 0..ROUNDS {
            let began = Instant::now();
            let spread: Vec<_> = hashes.iter().map(|hash| self.replicate_one(hash)).collect();
            futures_util::stream::iter(spread).buffer_unordered(AT_A_TIME).try_collect::<Vec<()>>().await?;
            if began.elapsed() < self.0.pace.fresh {
                return Ok(());
            }
        }
        let reasons = format!("they take longer than {} s to confirm what they hold", self.0.pace.fresh.as_secs());
        Err(ReplicationError::NoMajority { stored: 1, needed: majority(self.0.peer.holders().len()), reasons })
    }

    async fn replicate_one(&self, hash: &Hash) -> Result<(), ReplicationError> {
        let (blobs, wanted) = (self.0.blobs.clone(), *hash);
        let manifest = blocking(move || match blobs.confirm(&wanted) {
            true => blobs.manifest(&wanted),
            false => Err(BlobError::Missing(wanted)),
        });
        let manifest = manifest.await?;
        let nodes = self.0.peer.holders();
        let needed = majority(nodes.len());
        let (mut stored, mut full) = (usize::from(nodes.contains(&self.0.peer.id())), 0);
        let unanswered = AtomicUsize::new(0);
        let push = |member| {
            unanswered.fetch_add(1, Ordering::Relaxed);
            self.push(member, *hash, &manifest, &unanswered)
        };
        let mut candidates = self.others(hash, &nodes).into_iter();
        let mut pushes: FuturesUnordered<_> = candidates.by_ref().take(needed - stored).map(push).collect();
        let mut reasons = Vec::new();
        while stored < needed {
            let finished = tokio::select! {
                finished = pushes.next() => finished,
                () = tokio::time::sleep(self.0.pace.hedge) => {
                    if unanswered.load(Ordering::Relaxed) > 0 {
                        pushes.extend(candidates.next().map(push));
                    }
                    continue;
                }
            };
            match finished {
                Some(Ok(Pushed::Stored)) => stored += 1,
                Some(Ok(Pushed::Full)) => {
                    full += 1;
                    reasons.push("one has no room".into());
                    pushes.extend(candidates.next().map(push));
                }
                Some(Err(error)) => {
                    reasons.push(error.to_string());
                    pushes.extend(candidates.next().map(push));
                }
                None if stored + full >= needed => return Err(ReplicationError::Full { stored, needed }),
                None => {
                    return Err(ReplicationError::NoMajority { stored, needed, reasons: reasons.join("; ") });
                }
            }
        }
        Ok(())
    }

    async fn push(
        &self,
        member: NodeId,
        hash: Hash,
        manifest: &Manifest,
        unanswered: &AtomicUsize,
    ) -> Result<Pushed, PeerError> {
        let timeout = |_| {
            self.0.peer.note_timeout(member);
            PeerError::Timeout(member)
        };
        let question = Question::Push { hash, manifest: manifest.clone() };
        let asked = async {
            let mut stream = self.0.peer.open(member, Protocol::Blobs).await?;
            stream.write_frame(&question).await?;
            let answer = stream.read_frame::<PushAnswer>().await?;
            Ok::<_, PeerError>((stream, answer))
        };
        let answered = tokio::time::timeout(self.0.pace.answer, asked).await;
        unanswered.fetch_sub(1, Ordering::Relaxed);
        let (mut stream, answer) = answered.map_err(timeout)??;
        let answer = match answer {
            PushAnswer::Wanted => {
                let began = Instant::now();
                write_pieces(&self.0.blobs, &mut stream, hash, manifest, 0).await?;
                stream.finish()?;
                let answer = tokio::time::timeout(STALLED, stream.read_frame()).await.map_err(timeout)??;
                if matches!(answer, PushAnswer::Stored) {
                    metrics::counter!("quartet_blobs_pushed_total").increment(1);
                    metrics::counter!("quartet_blobs_pushed_bytes_total").increment(manifest.length);
                    metrics::histogram!("quartet_blobs_push_seconds").record(began.elapsed().as_secs_f64());
                }
                answer
            }
            answer => answer,
        };
        match answer {
            PushAnswer::Stored => Ok(Pushed::Stored),
            PushAnswer::Full => Ok(Pushed::Full),
            PushAnswer::Refused(reason) => Err(PeerError::Refused(reason)),
            PushAnswer::WrongBytes => {
                doubt(&self.0.blobs, hash, member).await;
                Err(PeerError::Refused(ReceiveError::WrongBytes(hash).to_string()))
            }
            PushAnswer::Wanted => Err(PeerError::Protocol("the file is wanted twice".into())),
        }
    }

    /// The members that hold the blob, of those that answer.
    pub async fn holders(&self, hash: &Hash) -> Vec<NodeId> {
        let mut holders = Vec::new();
        if self.0.blobs.contains(hash) {
            holders.push(self.0.peer.id());
        }
        for member in self.others(hash, &self.0.peer.members()) {
            let question = Question::Manifest(*hash);
            let within = self.0.pace.answer;
            let answer = self.0.peer.call::<_, Option<Manifest>>(member, Protocol::Blobs, &question, within);
            if matches!(answer.await, Ok(Some(_))) {
                holders.push(member);
            }
        }
        holders
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]

    use std::collections::HashSet;

    use super::*;
    use net::testing::peers;
    use storage::blobs::Quota;

    /// Nobody is slow enough to be passed over, however busy the machine is.
    const PATIENT: Pace =
        Pace { answer: Duration::from_secs(120), hedge: Duration::from_secs(120), fresh: Duration::from_secs(120) };

    pub(super) struct Node {
        pub(super) folder: tempfile::TempDir,
        pub(super) sharing: Replication,
        pub(super) peer: Peer,
    }

    fn start(peer: Peer, folder: tempfile::TempDir, allowance: Quota) -> Node {
        let blobs = Blobs::open(folder.path(), allowance).unwrap();
        Node { sharing: Replication::start_at(PATIENT, blobs, peer.clone()), peer, folder }
    }

    pub(super) fn nodes(count: u64) -> Vec<Node> {
        let start = |peer| start(peer, tempfile::tempdir().unwrap(), Quota::default());
        peers(count).into_iter().map(start).collect()
    }

    pub(super) async fn put(node: &Node, bytes: &[u8]) -> Hash {
        let mut staged = node.sharing.blobs().stage(0).await.unwrap();
        staged.write(bytes).await.unwrap();
        staged.commit().await.unwrap().0
    }

    fn flip_last(node: &Node, hash: &Hash) {
        let path = node.sharing.blobs().path(hash);
        let mut bytes = std::fs::read(&path).unwrap();
        *bytes.last_mut().unwrap() ^= 1;
        std::fs::write(&path, bytes).unwrap();
    }

    #[tokio::test]
    async fn a_blob_is_spread_to_a_majority_and_fetched_by_the_rest() {
        let nodes = nodes(3);
        let bytes: Vec<u8> = (0..3_500_000u32).map(|at| (at / 7) as u8).collect();
        let (hash, empty) = (put(&nodes[0], &bytes).await, put(&nodes[0], b"").await);
        nodes[0].sharing.replicate(&[hash, empty]).await.unwrap();
        assert_eq!(nodes[1].sharing.holders(&hash).await.len(), 2);
        for node in &nodes {
            node.sharing.fetch(&hash).await.unwrap();
            assert_eq!(std::fs::read(node.sharing.blobs().path(&hash)).unwrap(), bytes);
        }
        nodes[2].sharing.fetch(&empty).await.unwrap();
        let never = nodes[0].sharing.replicate(&[Hash::of(b"never stored")]).await;
        assert!(matches!(never, Err(ReplicationError::Blob(BlobError::Missing(_)))));
    }

    #[tokio::test]
    async fn without_a_majority_nothing_is_promised() {
        let nodes = nodes(3);
        let hash = put(&nodes[0], b"song").await;
        nodes[1].peer.close().await;
        nodes[0].sharing.replicate(&[hash]).await.unwrap();
        nodes[2].peer.close().await;
        let lonely = put(&nodes[0], b"another").await;
        let error = nodes[0].sharing.replicate(&[lonely]).await.unwrap_err();
        assert!(matches!(error, ReplicationError::NoMajority { stored: 1, needed: 2, .. }), "{error}");
        assert!(matches!(nodes[0].sharing.fetch(&Hash::of(b"?")).await, Err(ReplicationError::Unavailable { .. })));
    }

    #[tokio::test]
    async fn a_full_node_is_passed_over_and_a_full_majority_is_told() {
        let quotas = [None, Some(100), None].into_iter();
        let allowances = quotas.map(|quota| Quota { reserve_bytes: 0, max_bytes: quota });
        let nodes: Vec<Node> = peers(3)
            .into_iter()
            .zip(allowances)
            .map(|(peer, allowance)| start(peer, tempfile::tempdir().unwrap(), allowance))
            .collect();
        // Whichever ranks first, it is the one with room that takes it.
        for number in 0..8u8 {
            let hash = put(&nodes[0], &[number; 101]).await;
            nodes[0].sharing.replicate(&[hash]).await.unwrap();
            assert!(nodes[2].sharing.blobs().contains(&hash));
        }
        nodes[2].peer.close().await;
        let hash = put(&nodes[0], &[9; 101]).await;
        let error = nodes[0].sharing.replicate(&[hash]).await.unwrap_err();
        assert!(matches!(error, ReplicationError::Full { stored: 1, needed: 2 }), "{error}");
        let fetched = nodes[1].sharing.fetch(&hash).await;
        assert!(matches!(fetched, Err(ReplicationError::Blob(BlobError::Full))));
        assert_eq!(std::fs::read_dir(nodes[1].folder.path().join("staging")).unwrap().count(), 0);
        let small = put(&nodes[0], &[9; 100]).await;
        nodes[0].sharing.replicate(&[small]).await.unwrap();
    }

    #[tokio::test]
    async fn a_damaged_copy_is_never_passed_on() {
        let nodes = nodes(3);
        let hash = put(&nodes[0], &vec![5; 2_000_000]).await;
        put(&nodes[1], &vec![5; 2_000_000]).await;
        flip_last(&nodes[0], &hash);
        // Whichever is asked first, the bytes that arrive are right.
        nodes[2].sharing.fetch(&hash).await.unwrap();
        nodes[2].sharing.blobs().verify(&hash).await.unwrap();
        nodes[1].sharing.blobs().remove(&hash).unwrap();
        nodes[2].sharing.blobs().remove(&hash).unwrap();
        assert!(nodes[2].sharing.fetch(&hash).await.is_err());
        assert!(nodes[2].sharing.blobs().names().unwrap().is_empty());
        is_set_aside(&nodes[0], &hash).await;
    }

    /// Waits until the node has examined its copy.
    async fn is_set_aside(node: &Node, hash: &Hash) {
        let mut damaged = node.sharing.blobs().damaged();
        let aside = damaged.wait_for(|count| *count > 0);
        tokio::time::timeout(Duration::from_secs(120), aside).await.unwrap().unwrap();
        assert!(!node.sharing.blobs().contains(hash));
    }

    #[tokio::test]
    async fn who_pushes_a_damaged_copy_hears_of_it() {
        let nodes = nodes(3);
        let hash = put(&nodes[0], &vec![5; 2_000_000]).await;
        flip_last(&nodes[0], &hash);
        let error = nodes[0].sharing.replicate(&[hash]).await.unwrap_err();
        assert!(matches!(error, ReplicationError::NoMajority { stored: 1, needed: 2, .. }), "{error}");
        is_set_aside(&nodes[0], &hash).await;
        for node in &nodes[1..] {
            assert!(node.sharing.blobs().names().unwrap().is_empty());
        }
    }

    #[tokio::test]
    async fn who_is_told_wrongly_that_a_copy_is_damaged_keeps_it() {
        let nodes = nodes(2);
        let hash = put(&nodes[0], b"song").await;
        let question = Question::Doubt(hash);
        assert!(nodes[1].peer.call::<_, bool>(0, Protocol::Blobs, &question, PATIENT.answer).await.unwrap());
        doubt(nodes[0].sharing.blobs(), hash, 1).await;
        nodes[1].sharing.fetch(&hash).await.unwrap();
        assert_eq!(*nodes[0].sharing.blobs().damaged().borrow(), 0);
    }

    #[tokio::test]
    async fn who_reads_a_file_by_name_gets_a_whole_one() {
        let nodes = nodes(2);
        let hash = put(&nodes[0], b"a song").await;
        nodes[0].sharing.replicate(&[hash]).await.unwrap();
        flip_last(&nodes[0], &hash);
        let path = nodes[0].sharing.fetch_verified(&hash).await.unwrap();
        assert_eq!(std::fs::read(path).unwrap(), b"a song");
        // Where nobody has a right one, there is none.
        flip_last(&nodes[0], &hash);
        nodes[1].sharing.blobs().remove(&hash).unwrap();
        assert!(nodes[0].sharing.fetch_verified(&hash).await.is_err());
    }

    #[tokio::test]
    async fn what_is_spread_is_confirmed_wherever_it_is_counted() {
        let nodes = nodes(3);
        let hash = put(&nodes[0], b"song").await;
        nodes[0].sharing.replicate(&[hash]).await.unwrap();
        // The song is deleted; as every node begins to collect, it is uploaded again.
        let began = Instant::now();
        nodes[0].sharing.replicate(&[hash]).await.unwrap();
        let collect =
            |node: &Node| node.sharing.blobs().collect_garbage(&HashSet::new(), began, Duration::ZERO).unwrap();
        assert_eq!(nodes.iter().map(collect).sum::<usize>(), 0);
        assert_eq!(nodes.iter().filter(|node| node.sharing.blobs().contains(&hash)).count(), 2);
    }
}

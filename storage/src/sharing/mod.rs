//! Which nodes hold which blob, and how blobs move between them.
//!
//! There is no register of holders: a blob's place follows from its hash (rendezvous hashing), and whoever looks for one
//! asks the members in that order. What is asked is the disk itself, which cannot be out of date.

mod placement;
mod protocol;

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use futures_util::stream::{FuturesUnordered, StreamExt};

use crate::NodeId;
use crate::blobs::{BlobError, Blobs, Hash, Manifest, blocking};
use crate::peer::{Peer, PeerError, Protocol};
pub use protocol::ReceiveError;
use protocol::{BlobService, PushAnswer, Question, STALLED, read_piece, store, write_pieces};

/// How long a member may take to say whether it holds a blob.
const ASK_WITHIN: Duration = Duration::from_millis(1500);

/// A member that has not answered for this long is not waited for alone.
const HEDGE: Duration = Duration::from_millis(200);

/// A blob could not be shared.
#[derive(Debug, thiserror::Error)]
pub enum ShareError {
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
    /// Nobody who can be reached holds the blob.
    #[error("no node that can be reached holds the file {hash}: {reasons}")]
    Nowhere {
        /// Which.
        hash: Hash,
        /// What the members said.
        reasons: String,
    },
    /// This node's disk failed.
    #[error(transparent)]
    Blob(#[from] BlobError),
}

struct Inner {
    blobs: Blobs,
    peer: Peer,
    fetching: Mutex<HashMap<Hash, Arc<tokio::sync::Mutex<()>>>>,
}

/// This node's part in sharing blobs. Cheap to clone.
#[derive(Clone)]
pub struct Sharing(Arc<Inner>);

impl Sharing {
    /// Begins to answer the other nodes.
    pub fn start(blobs: Blobs, peer: Peer) -> Self {
        peer.serve(Protocol::Blobs, Arc::new(BlobService(blobs.clone())));
        Self(Arc::new(Inner { blobs, peer, fetching: Mutex::default() }))
    }

    /// This node's own blobs.
    pub fn blobs(&self) -> &Blobs {
        &self.0.blobs
    }

    /// The other members, in the order in which they should hold the blob; those that do not answer come last.
    fn others(&self, hash: &Hash) -> Vec<NodeId> {
        let mut order = placement::order(hash, &self.0.peer.members());
        order.retain(|member| *member != self.0.peer.id());
        order.sort_by_key(|member| self.0.peer.is_silent(*member));
        order
    }

    /// Pushes a blob of this node's until a majority of the members, this node among them, hold it on disk. Returns
    /// how many do. A member that is slow to answer is not waited for: the next one is asked as well.
    pub async fn spread(&self, hash: &Hash) -> Result<usize, ShareError> {
        let (blobs, wanted) = (self.0.blobs.clone(), *hash);
        let manifest = blocking(move || blobs.manifest(&wanted)).await?;
        let needed = self.0.peer.members().len() / 2 + 1;
        let unanswered = AtomicUsize::new(0);
        let push = |member| {
            unanswered.fetch_add(1, Ordering::Relaxed);
            self.push(member, *hash, &manifest, &unanswered)
        };
        let mut candidates = self.others(hash).into_iter();
        let mut pushes: FuturesUnordered<_> = candidates.by_ref().take(needed - 1).map(push).collect();
        let mut stored = 1;
        let mut reasons = Vec::new();
        while stored < needed {
            let finished = tokio::select! {
                finished = pushes.next() => finished,
                () = tokio::time::sleep(HEDGE) => {
                    if unanswered.load(Ordering::Relaxed) > 0 {
                        pushes.extend(candidates.next().map(push));
                    }
                    continue;
                }
            };
            match finished {
                Some(Ok(())) => stored += 1,
                Some(Err(error)) => {
                    reasons.push(error.to_string());
                    pushes.extend(candidates.next().map(push));
                }
                None => {
                    return Err(ShareError::NoMajority { stored, needed, reasons: reasons.join("; ") });
                }
            }
        }
        Ok(stored)
    }

    async fn push(
        &self,
        member: NodeId,
        hash: Hash,
        manifest: &Manifest,
        unanswered: &AtomicUsize,
    ) -> Result<(), PeerError> {
        let timeout = |_| {
            self.0.peer.fell_silent(member);
            PeerError::Timeout(member)
        };
        let question = Question::Push { hash, manifest: manifest.clone() };
        let asked = async {
            let mut stream = self.0.peer.open(member, Protocol::Blobs).await?;
            stream.write_frame(&question).await?;
            let answer = stream.read_frame::<PushAnswer>().await?;
            Ok::<_, PeerError>((stream, answer))
        };
        let answered = tokio::time::timeout(ASK_WITHIN, asked).await;
        unanswered.fetch_sub(1, Ordering::Relaxed);
        let (mut stream, answer) = answered.map_err(timeout)??;
        let answer = match answer {
            PushAnswer::Wanted => {
                write_pieces(&self.0.blobs, &mut stream, hash, manifest, 0).await?;
                stream.finish()?;
                tokio::time::timeout(STALLED, stream.read_frame()).await.map_err(timeout)??
            }
            answer => answer,
        };
        match answer {
            PushAnswer::Stored => Ok(()),
            PushAnswer::Refused(reason) => Err(PeerError::Refused(reason)),
            PushAnswer::Wanted => Err(PeerError::Protocol("the file is wanted twice".into())),
        }
    }

    /// Brings a blob to this node's disk, from whoever holds it; a transfer that breaks off goes on at the next
    /// holder. Several who want the same blob wait for one transfer.
    pub async fn fetch(&self, hash: &Hash) -> Result<(), ShareError> {
        if self.0.blobs.contains(hash) {
            return Ok(());
        }
        let turn = Arc::clone(self.0.fetching.lock().unwrap_or_else(PoisonError::into_inner).entry(*hash).or_default());
        let fetched = {
            let _turn = turn.lock().await;
            if self.0.blobs.contains(hash) { Ok(()) } else { self.fetch_from_others(*hash).await }
        };
        let mut fetching = self.0.fetching.lock().unwrap_or_else(PoisonError::into_inner);
        // Two hold it when nobody else waits: the map and this call.
        if Arc::strong_count(&turn) <= 2 {
            fetching.remove(hash);
        }
        fetched
    }

    async fn fetch_from_others(&self, hash: Hash) -> Result<(), ShareError> {
        let mut reasons = Vec::new();
        let mut staged = None;
        for member in self.others(&hash) {
            match self.fetch_from(member, hash, &mut staged).await {
                Ok(true) => return Ok(()),
                Ok(false) => {}
                Err(ReceiveError::Blob(error)) => return Err(error.into()),
                Err(error) => reasons.push(format!("node {member}: {error}")),
            }
        }
        let reasons = if reasons.is_empty() { "none has it".into() } else { reasons.join("; ") };
        Err(ShareError::Nowhere { hash, reasons })
    }

    /// Fetches from one member; false when it does not hold the blob. `begun` carries over what another has sent.
    async fn fetch_from(
        &self,
        member: NodeId,
        hash: Hash,
        begun: &mut Option<(Manifest, usize, crate::blobs::Staged)>,
    ) -> Result<bool, ReceiveError> {
        let question = Question::Manifest(hash);
        let Some(manifest): Option<Manifest> = self.0.peer.call(member, Protocol::Blobs, &question, ASK_WITHIN).await?
        else {
            return Ok(false);
        };
        if !manifest.is_sound() {
            return Err(ReceiveError::WrongBytes(hash));
        }
        if begun.as_ref().is_none_or(|(known, ..)| *known != manifest) {
            *begun = Some((manifest, 0, self.0.blobs.stage().await?));
        }
        let Some((manifest, done, staged)) = begun.as_mut() else {
            return Ok(false);
        };
        let mut stream = self.0.peer.open(member, Protocol::Blobs).await?;
        stream.write_frame(&Question::Pieces { hash, first: *done }).await?;
        stream.finish()?;
        if !stream.read_frame::<bool>().await? {
            return Ok(false);
        }
        while *done < manifest.pieces.len() {
            let piece = read_piece(&mut stream, hash, manifest, *done).await?;
            staged.write(&piece).await?;
            *done += 1;
        }
        match begun.take() {
            Some((_, _, staged)) => store(staged, hash).await.map(|()| true),
            None => Ok(false),
        }
    }

    /// The members that hold the blob, of those that answer.
    pub async fn holders(&self, hash: &Hash) -> Vec<NodeId> {
        let mut holders = Vec::new();
        if self.0.blobs.contains(hash) {
            holders.push(self.0.peer.id());
        }
        for member in self.others(hash) {
            let question = Question::Manifest(*hash);
            let answer = self.0.peer.call::<_, Option<Manifest>>(member, Protocol::Blobs, &question, ASK_WITHIN);
            if matches!(answer.await, Ok(Some(_))) {
                holders.push(member);
            }
        }
        holders
    }

    /// Removes this node's blobs that are not in `keep` and were neither stored nor confirmed within `grace`. Returns
    /// how many went.
    pub async fn collect(&self, keep: &HashSet<Hash>, grace: Duration) -> Result<usize, BlobError> {
        let blobs = self.0.blobs.clone();
        let listed = blocking(move || blobs.list()).await?;
        let limit = SystemTime::now().checked_sub(grace).unwrap_or(SystemTime::UNIX_EPOCH);
        let unneeded: Vec<Hash> = listed
            .into_iter()
            .filter(|(hash, _, confirmed)| !keep.contains(hash) && *confirmed < limit)
            .map(|(hash, ..)| hash)
            .collect();
        let (blobs, count) = (self.0.blobs.clone(), unneeded.len());
        blocking(move || unneeded.iter().try_for_each(|hash| blobs.remove(hash))).await?;
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]

    use super::*;
    use crate::peer::tests::peers;

    struct Node {
        _folder: tempfile::TempDir,
        sharing: Sharing,
        peer: Peer,
    }

    fn nodes(count: u64) -> Vec<Node> {
        peers(count)
            .into_iter()
            .map(|peer| {
                let folder = tempfile::tempdir().unwrap();
                let blobs = Blobs::open(folder.path(), 0).unwrap();
                Node { sharing: Sharing::start(blobs, peer.clone()), peer, _folder: folder }
            })
            .collect()
    }

    async fn put(node: &Node, bytes: &[u8]) -> Hash {
        let mut staged = node.sharing.blobs().stage().await.unwrap();
        staged.write(bytes).await.unwrap();
        staged.commit().await.unwrap().0
    }

    #[tokio::test]
    async fn a_blob_is_spread_to_a_majority_and_fetched_by_the_rest() {
        let nodes = nodes(3);
        let bytes: Vec<u8> = (0..3_500_000u32).map(|at| (at / 7) as u8).collect();
        let hash = put(&nodes[0], &bytes).await;
        assert_eq!(nodes[0].sharing.spread(&hash).await.unwrap(), 2);
        assert_eq!(nodes[1].sharing.holders(&hash).await.len(), 2);
        for node in &nodes {
            node.sharing.fetch(&hash).await.unwrap();
            assert_eq!(std::fs::read(node.sharing.blobs().path(&hash)).unwrap(), bytes);
        }
        let empty = put(&nodes[0], b"").await;
        nodes[2].sharing.fetch(&empty).await.unwrap();
    }

    #[tokio::test]
    async fn without_a_majority_nothing_is_promised() {
        let nodes = nodes(3);
        let hash = put(&nodes[0], b"song").await;
        nodes[1].peer.close().await;
        assert_eq!(nodes[0].sharing.spread(&hash).await.unwrap(), 2);
        nodes[2].peer.close().await;
        let lonely = put(&nodes[0], b"another").await;
        let error = nodes[0].sharing.spread(&lonely).await.unwrap_err();
        assert!(matches!(error, ShareError::NoMajority { stored: 1, needed: 2, .. }), "{error}");
        assert!(matches!(nodes[0].sharing.fetch(&Hash::of(b"?")).await, Err(ShareError::Nowhere { .. })));
    }

    #[tokio::test]
    async fn a_damaged_copy_is_never_passed_on() {
        let nodes = nodes(3);
        let hash = put(&nodes[0], &vec![5; 2_000_000]).await;
        put(&nodes[1], &vec![5; 2_000_000]).await;
        let path = nodes[0].sharing.blobs().path(&hash);
        let mut bytes = std::fs::read(&path).unwrap();
        bytes[1_999_999] = 6;
        std::fs::write(&path, bytes).unwrap();
        // Whichever is asked first, the bytes that arrive are right.
        nodes[2].sharing.fetch(&hash).await.unwrap();
        nodes[2].sharing.blobs().verify(&hash).await.unwrap();
        nodes[1].sharing.blobs().remove(&hash).unwrap();
        nodes[2].sharing.blobs().remove(&hash).unwrap();
        assert!(nodes[2].sharing.fetch(&hash).await.is_err());
        assert!(nodes[2].sharing.blobs().list().unwrap().is_empty());
        assert!(!path.exists());
    }

    #[tokio::test]
    async fn only_what_nobody_needs_is_collected() {
        let nodes = nodes(1);
        let (needed, unneeded) = (put(&nodes[0], b"needed").await, put(&nodes[0], b"not").await);
        let keep = HashSet::from([needed]);
        let sharing = &nodes[0].sharing;
        assert_eq!(sharing.collect(&keep, Duration::from_secs(600)).await.unwrap(), 0);
        tokio::time::sleep(Duration::from_millis(20)).await;
        assert_eq!(sharing.collect(&keep, Duration::ZERO).await.unwrap(), 1);
        assert!(sharing.blobs().contains(&needed) && !sharing.blobs().contains(&unneeded));
    }
}

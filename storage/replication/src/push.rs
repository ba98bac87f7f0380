//! Pushing blobs to other nodes until a majority holds them.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use futures_util::stream::{FuturesUnordered, StreamExt, TryStreamExt};

use net::{NodeId, PeerError, Protocol};
use storage::blobs::{BlobError, Hash, Manifest, blocking};

use crate::protocol::{BlobRequest, PushAnswer};
use crate::service::verify_reported;
use crate::timing::STALL_TIMEOUT;
use crate::transfer::{TransferError, send_pieces};
use crate::{Replication, ReplicationError, majority};

/// How often blobs are pushed until all confirmations are fresh: once to send them, then again where nodes were slow.
const ROUNDS: usize = 4;

/// How many blobs are pushed at the same time.
const CONCURRENT_BLOBS: usize = 4;

/// The result of a push to a member that answered.
enum Pushed {
    /// The member holds the blob on disk.
    Stored,
    /// The member has no space for it.
    Full,
}

impl Replication {
    /// Pushes blobs of this node until a majority of the members that should hold blobs have each of them on disk. This
    /// node counts, unless it is leaving. While a member is slow to answer, the next one is asked as well.
    ///
    /// When this returns, a majority has confirmed all blobs within the last seconds. So a command that refers to them
    /// has almost the whole grace period of garbage collection to commit. If a round takes longer, another round
    /// follows, which finds the blobs in place.
    pub async fn replicate(&self, hashes: &[Hash]) -> Result<(), ReplicationError> {
        for _ in 0..ROUNDS {
            let began = Instant::now();
            let pushes: Vec<_> = hashes.iter().map(|hash| self.replicate_one(hash)).collect();
            futures_util::stream::iter(pushes).buffer_unordered(CONCURRENT_BLOBS).try_collect::<Vec<()>>().await?;
            if began.elapsed() < self.0.timing.fresh {
                return Ok(());
            }
        }
        let reasons = format!("confirmations take longer than {} s", self.0.timing.fresh.as_secs());
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
                () = tokio::time::sleep(self.0.timing.hedge) => {
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
                    reasons.push("one node has no space".into());
                    pushes.extend(candidates.next().map(push));
                }
                Some(Err(error)) => {
                    reasons.push(error.to_string());
                    pushes.extend(candidates.next().map(push));
                }
                None if stored + full >= needed => return Err(ReplicationError::Full { stored, needed }),
                None => return Err(ReplicationError::NoMajority { stored, needed, reasons: reasons.join("; ") }),
            }
        }
        Ok(())
    }

    /// Pushes a blob to one member. Decrements `unanswered` once the member answered or timed out.
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
        let request = BlobRequest::Push { hash, manifest: manifest.clone() };
        let offer = async {
            let mut stream = self.0.peer.open(member, Protocol::Blobs).await?;
            stream.write_frame(&request).await?;
            let answer = stream.read_frame::<PushAnswer>().await?;
            Ok::<_, PeerError>((stream, answer))
        };
        let answered = tokio::time::timeout(self.0.timing.answer, offer).await;
        unanswered.fetch_sub(1, Ordering::Relaxed);
        let (mut stream, answer) = answered.map_err(timeout)??;
        let answer = match answer {
            PushAnswer::Wanted => {
                let began = Instant::now();
                send_pieces(&self.0.blobs, &mut stream, hash, manifest, 0).await?;
                stream.finish()?;
                let answer = tokio::time::timeout(STALL_TIMEOUT, stream.read_frame()).await.map_err(timeout)??;
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
                verify_reported(&self.0.blobs, hash, member).await;
                Err(PeerError::Refused(TransferError::WrongBytes(hash).to_string()))
            }
            PushAnswer::Wanted => Err(PeerError::Protocol("the node asked twice for a file".into())),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]

    use std::collections::HashSet;
    use std::time::Duration;

    use net::testing::peers;
    use storage::blobs::Quota;

    use crate::testing::{Node, flip_last, holders, is_quarantined, nodes, put, start};

    use super::*;

    #[tokio::test]
    async fn a_blob_is_pushed_to_a_majority_and_fetched_by_the_rest() {
        let nodes = nodes(3);
        let bytes: Vec<u8> = (0..3_500_000u32).map(|at| (at / 7) as u8).collect();
        let (hash, empty) = (put(&nodes[0], &bytes).await, put(&nodes[0], b"").await);
        nodes[0].replication.replicate(&[hash, empty]).await.unwrap();
        assert_eq!(holders(&nodes, &hash).len(), 2);
        for node in &nodes {
            node.replication.fetch(&hash).await.unwrap();
            assert_eq!(std::fs::read(node.replication.blobs().path(&hash)).unwrap(), bytes);
        }
        nodes[2].replication.fetch(&empty).await.unwrap();
        let missing = nodes[0].replication.replicate(&[Hash::of(b"never stored")]).await;
        assert!(matches!(missing, Err(ReplicationError::Blob(BlobError::Missing(_)))));
    }

    #[tokio::test]
    async fn replication_fails_without_a_majority() {
        let nodes = nodes(3);
        let hash = put(&nodes[0], b"song").await;
        nodes[1].peer.close().await;
        nodes[0].replication.replicate(&[hash]).await.unwrap();
        nodes[2].peer.close().await;
        let lonely = put(&nodes[0], b"another").await;
        let error = nodes[0].replication.replicate(&[lonely]).await.unwrap_err();
        assert!(matches!(error, ReplicationError::NoMajority { stored: 1, needed: 2, .. }), "{error}");
        let fetched = nodes[0].replication.fetch(&Hash::of(b"?")).await;
        assert!(matches!(fetched, Err(ReplicationError::Unavailable { .. })));
    }

    #[tokio::test]
    async fn a_full_node_is_skipped_and_a_full_majority_reported() {
        let quotas = [None, Some(100), None].into_iter();
        let quotas = quotas.map(|max_bytes| Quota { reserve_bytes: 0, max_bytes });
        let nodes: Vec<Node> = peers(3)
            .into_iter()
            .zip(quotas)
            .map(|(peer, quota)| start(peer, tempfile::tempdir().unwrap(), quota))
            .collect();
        // Whichever node ranks first, the one with space stores the blob.
        for number in 0..8u8 {
            let hash = put(&nodes[0], &[number; 101]).await;
            nodes[0].replication.replicate(&[hash]).await.unwrap();
            assert!(nodes[2].replication.blobs().contains(&hash));
        }
        nodes[2].peer.close().await;
        let hash = put(&nodes[0], &[9; 101]).await;
        let error = nodes[0].replication.replicate(&[hash]).await.unwrap_err();
        assert!(matches!(error, ReplicationError::Full { stored: 1, needed: 2 }), "{error}");
        let fetched = nodes[1].replication.fetch(&hash).await;
        assert!(matches!(fetched, Err(ReplicationError::Blob(BlobError::Full))));
        assert_eq!(std::fs::read_dir(nodes[1].folder.path().join("staging")).unwrap().count(), 0);
        let small = put(&nodes[0], &[9; 100]).await;
        nodes[0].replication.replicate(&[small]).await.unwrap();
    }

    #[tokio::test]
    async fn pushing_a_damaged_copy_quarantines_it() {
        let nodes = nodes(3);
        let hash = put(&nodes[0], &vec![5; 2_000_000]).await;
        flip_last(&nodes[0], &hash);
        let error = nodes[0].replication.replicate(&[hash]).await.unwrap_err();
        assert!(matches!(error, ReplicationError::NoMajority { stored: 1, needed: 2, .. }), "{error}");
        is_quarantined(&nodes[0], &hash).await;
        for node in &nodes[1..] {
            assert!(node.replication.blobs().names().unwrap().is_empty());
        }
    }

    #[tokio::test]
    async fn replicated_blobs_are_confirmed_on_all_holders() {
        let nodes = nodes(3);
        let hash = put(&nodes[0], b"song").await;
        nodes[0].replication.replicate(&[hash]).await.unwrap();
        // The song is deleted. When all nodes start to collect garbage, it is uploaded again.
        let began = Instant::now();
        nodes[0].replication.replicate(&[hash]).await.unwrap();
        let collect =
            |node: &Node| node.replication.blobs().collect_garbage(&HashSet::new(), began, Duration::ZERO).unwrap();
        assert_eq!(nodes.iter().map(collect).sum::<usize>(), 0);
        assert_eq!(holders(&nodes, &hash).len(), 2);
    }
}

//! Fetching blobs and pieces from other nodes.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use net::{NodeId, PeerError, Protocol, Stream};
use storage::blobs::{BlobError, Hash, Manifest, Staged, blocking};

use crate::protocol::BlobRequest;
use crate::timing::STALL_TIMEOUT;
use crate::transfer::{TransferError, commit, receive_piece, receive_pieces};
use crate::{Replication, ReplicationError};

/// A blob of which some pieces have arrived.
struct PartialBlob {
    manifest: Manifest,
    /// The number of pieces that have arrived.
    done: usize,
    staged: Staged,
}

impl Replication {
    /// Stores a blob on this node, if it is not here yet. If a transfer fails, it continues at the next holder.
    /// Concurrent calls for the same blob wait for one transfer; if it fails, the next one tries again.
    pub async fn fetch(&self, hash: &Hash) -> Result<(), ReplicationError> {
        if self.confirm(hash).await? {
            return Ok(());
        }
        let lock = {
            let mut fetching = self.0.fetching.lock();
            // Remove the locks of calls that have ended. The map has the last reference to these.
            fetching.retain(|_, lock| Arc::strong_count(lock) > 1);
            Arc::clone(fetching.entry(*hash).or_default())
        };
        let _guard = lock.lock().await;
        if self.confirm(hash).await? { Ok(()) } else { self.fetch_from_others(*hash).await }
    }

    async fn confirm(&self, hash: &Hash) -> Result<bool, BlobError> {
        let (blobs, hash) = (self.0.blobs.clone(), *hash);
        blocking(move || Ok(blobs.confirm(&hash))).await
    }

    /// Fetches a blob if necessary, verifies all of it, and returns its path. This is for programs that read the file
    /// by its path, which does not detect damage. A damaged copy is fetched again.
    pub async fn fetch_verified(&self, hash: &Hash) -> Result<PathBuf, ReplicationError> {
        self.fetch(hash).await?;
        match self.0.blobs.verify(hash).await {
            Err(BlobError::Corrupt(_) | BlobError::Missing(_)) => {
                self.fetch(hash).await?;
                self.0.blobs.verify(hash).await?;
            }
            verified => drop(verified?),
        }
        Ok(self.0.blobs.path(hash))
    }

    async fn fetch_from_others(&self, hash: Hash) -> Result<(), ReplicationError> {
        let began = Instant::now();
        let mut reasons = Vec::new();
        let mut partial = None;
        for member in self.others(&hash, &self.0.peer.members()) {
            match self.fetch_from(member, hash, &mut partial).await {
                Ok(true) => {
                    metrics::histogram!("quartet_blobs_fetch_seconds").record(began.elapsed().as_secs_f64());
                    return Ok(());
                }
                Ok(false) => {}
                Err(TransferError::Blob(error)) => return Err(error.into()),
                Err(error) => reasons.push(self.report_failure(member, error).await),
            }
        }
        Err(ReplicationError::unavailable(hash, &reasons))
    }

    /// The hashes of a blob's pieces, from another node. Together with [`Replication::remote_piece`] this reads a blob
    /// that does not fit on this node.
    pub async fn remote_manifest(&self, hash: &Hash) -> Result<Manifest, ReplicationError> {
        let mut reasons = Vec::new();
        for member in self.others(hash, &self.0.peer.members()) {
            match self.manifest_at(member, *hash).await {
                Ok(Some(manifest)) => return Ok(manifest),
                Ok(None) => {}
                Err(error) => reasons.push(format!("node {member}: {error}")),
            }
        }
        Err(ReplicationError::unavailable(*hash, &reasons))
    }

    /// One piece of a blob from another node, verified.
    pub async fn remote_piece(
        &self,
        hash: &Hash,
        manifest: &Manifest,
        index: usize,
    ) -> Result<Vec<u8>, ReplicationError> {
        let mut reasons = Vec::new();
        for member in self.others(hash, &self.0.peer.members()) {
            let read = async {
                match self.pieces_at(member, *hash, index).await? {
                    Some(mut stream) => receive_piece(&mut stream, *hash, manifest, index).await.map(Some),
                    None => Ok(None),
                }
            };
            match read.await {
                Ok(Some(piece)) => return Ok(piece),
                Ok(None) => {}
                Err(error) => reasons.push(self.report_failure(member, error).await),
            }
        }
        Err(ReplicationError::unavailable(*hash, &reasons))
    }

    /// Describes a failed transfer. Asks a member that sent wrong bytes to verify its copy.
    async fn report_failure(&self, member: NodeId, error: TransferError) -> String {
        if let TransferError::WrongBytes(hash) = error {
            let (request, timeout) = (BlobRequest::Verify(hash), self.0.timing.answer);
            if let Err(error) = self.0.peer.call::<_, bool>(member, Protocol::Blobs, &request, timeout).await {
                tracing::warn!(%hash, member, %error, "cannot tell node {member} that it sent wrong bytes");
            }
        }
        format!("node {member}: {error}")
    }

    async fn manifest_at(&self, member: NodeId, hash: Hash) -> Result<Option<Manifest>, TransferError> {
        let (request, timeout) = (BlobRequest::Manifest(hash), self.0.timing.answer);
        let manifest: Option<Manifest> = self.0.peer.call(member, Protocol::Blobs, &request, timeout).await?;
        match manifest {
            Some(manifest) if !manifest.is_consistent() => Err(TransferError::WrongBytes(hash)),
            manifest => Ok(manifest),
        }
    }

    /// A stream of the pieces from `first` on, if the member holds the blob.
    async fn pieces_at(&self, member: NodeId, hash: Hash, first: usize) -> Result<Option<Stream>, TransferError> {
        let asked = async {
            let mut stream = self.0.peer.open(member, Protocol::Blobs).await?;
            stream.write_frame(&BlobRequest::Pieces { hash, first }).await?;
            stream.finish()?;
            let follow = stream.read_frame::<bool>().await?;
            Ok::<_, PeerError>(follow.then_some(stream))
        };
        Ok(tokio::time::timeout(STALL_TIMEOUT, asked).await.map_err(|_| PeerError::Timeout(member))??)
    }

    /// Fetches a blob from one member. False if the member does not hold it. `partial` keeps the pieces that arrived
    /// for the next member.
    async fn fetch_from(
        &self,
        member: NodeId,
        hash: Hash,
        partial: &mut Option<PartialBlob>,
    ) -> Result<bool, TransferError> {
        let Some(manifest) = self.manifest_at(member, hash).await? else {
            return Ok(false);
        };
        if partial.as_ref().is_none_or(|partial| partial.manifest != manifest) {
            let staged = self.0.blobs.stage(manifest.length).await?;
            *partial = Some(PartialBlob { manifest, done: 0, staged });
        }
        let Some(PartialBlob { manifest, done, staged }) = partial.as_mut() else {
            return Ok(false);
        };
        let Some(mut stream) = self.pieces_at(member, hash, *done).await? else {
            return Ok(false);
        };
        receive_pieces(&mut stream, hash, manifest, done, staged).await?;
        match partial.take() {
            Some(complete) => {
                commit(complete.staged, hash).await?;
                metrics::counter!("quartet_blobs_fetched_total").increment(1);
                metrics::counter!("quartet_blobs_fetched_bytes_total").increment(complete.manifest.length);
                Ok(true)
            }
            None => Ok(false),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use crate::testing::{TIMEOUT, flip_last, is_quarantined, nodes, put};

    use super::*;

    #[tokio::test]
    async fn damaged_copies_are_never_passed_on() {
        let nodes = nodes(3);
        let hash = put(&nodes[0], &vec![5; 2_000_000]).await;
        put(&nodes[1], &vec![5; 2_000_000]).await;
        flip_last(&nodes[0], &hash);
        // Whichever node is asked first, the right bytes arrive.
        nodes[2].replication.fetch(&hash).await.unwrap();
        nodes[2].replication.blobs().verify(&hash).await.unwrap();
        nodes[1].replication.blobs().remove(&hash).unwrap();
        nodes[2].replication.blobs().remove(&hash).unwrap();
        assert!(nodes[2].replication.fetch(&hash).await.is_err());
        assert!(nodes[2].replication.blobs().names().unwrap().is_empty());
        is_quarantined(&nodes[0], &hash).await;
    }

    #[tokio::test]
    async fn locks_of_finished_calls_are_removed() {
        let nodes = nodes(2);
        let hash = put(&nodes[0], &vec![5; 2_000_000]).await;
        let fetched = futures_util::future::join_all((0..8).map(|_| nodes[1].replication.fetch(&hash))).await;
        assert!(fetched.iter().all(Result::is_ok));
        assert_eq!(nodes[1].replication.blobs().usage().files, 1);
        let other = put(&nodes[0], b"another").await;
        nodes[1].replication.fetch(&other).await.unwrap();
        assert_eq!(nodes[1].replication.0.fetching.lock().len(), 1, "only the last call's");
    }

    #[tokio::test]
    async fn a_false_report_of_wrong_bytes_removes_nothing() {
        let nodes = nodes(2);
        let hash = put(&nodes[0], b"song").await;
        let request = BlobRequest::Verify(hash);
        assert!(nodes[1].peer.call::<_, bool>(0, Protocol::Blobs, &request, TIMEOUT).await.unwrap());
        crate::service::verify_reported(nodes[0].replication.blobs(), hash, 1).await;
        nodes[1].replication.fetch(&hash).await.unwrap();
        assert_eq!(*nodes[0].replication.blobs().damaged().borrow(), 0);
    }

    #[tokio::test]
    async fn a_verified_fetch_replaces_a_damaged_copy() {
        let nodes = nodes(2);
        let hash = put(&nodes[0], b"a song").await;
        nodes[0].replication.replicate(&[hash]).await.unwrap();
        flip_last(&nodes[0], &hash);
        let path = nodes[0].replication.fetch_verified(&hash).await.unwrap();
        assert_eq!(std::fs::read(path).unwrap(), b"a song");
        // It fails when no node has an intact copy.
        flip_last(&nodes[0], &hash);
        nodes[1].replication.blobs().remove(&hash).unwrap();
        assert!(nodes[0].replication.fetch_verified(&hash).await.is_err());
    }
}

//! Bringing blobs to this node.

use std::path::PathBuf;
use std::sync::{Arc, PoisonError};
use std::time::Instant;

use super::protocol::{Question, STALLED, read_piece, store, take_pieces};
use super::{ReceiveError, Replication, ReplicationError};
use net::{NodeId, PeerError, Protocol, Stream};
use storage::blobs::{BlobError, Hash, Manifest, Staged, blocking};

/// What has come of a blob so far, and how many pieces that is.
struct Begun {
    manifest: Manifest,
    done: usize,
    staged: Staged,
}

fn unavailable(hash: Hash, reasons: &[String]) -> ReplicationError {
    let reasons = if reasons.is_empty() { "none has it".into() } else { reasons.join("; ") };
    ReplicationError::Unavailable { hash, reasons }
}

impl Replication {
    /// Brings a blob to this node's disk, from whoever holds it; a transfer that breaks off goes on at the next
    /// holder. Several who want the same blob wait for one transfer.
    pub async fn fetch(&self, hash: &Hash) -> Result<(), ReplicationError> {
        if self.confirm(hash).await? {
            return Ok(());
        }
        let turn = Arc::clone(self.0.fetching.lock().unwrap_or_else(PoisonError::into_inner).entry(*hash).or_default());
        let fetched = {
            let _turn = turn.lock().await;
            if self.confirm(hash).await? { Ok(()) } else { self.fetch_from_others(*hash).await }
        };
        let mut fetching = self.0.fetching.lock().unwrap_or_else(PoisonError::into_inner);
        // Two hold it when nobody else waits: the map and this call.
        if Arc::strong_count(&turn) <= 2 {
            fetching.remove(hash);
        }
        fetched
    }

    async fn confirm(&self, hash: &Hash) -> Result<bool, BlobError> {
        let (blobs, hash) = (self.0.blobs.clone(), *hash);
        blocking(move || Ok(blobs.confirm(&hash))).await
    }

    /// The file of a blob that was brought here if need be and read to its end: for those who read files by name, and
    /// so could not notice that one is damaged. A damaged one is fetched again.
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
        let mut staged = None;
        for member in self.others(&hash, &self.0.peer.members()) {
            match self.fetch_from(member, hash, &mut staged).await {
                Ok(true) => {
                    metrics::histogram!("quartet_blobs_fetch_seconds").record(began.elapsed().as_secs_f64());
                    return Ok(());
                }
                Ok(false) => {}
                Err(ReceiveError::Blob(error)) => return Err(error.into()),
                Err(error) => reasons.push(self.complain(member, error).await),
            }
        }
        Err(unavailable(hash, &reasons))
    }

    /// The hashes of a blob's pieces from whoever holds it, for a node that has no room for the blob itself.
    pub async fn remote_manifest(&self, hash: &Hash) -> Result<Manifest, ReplicationError> {
        let mut reasons = Vec::new();
        for member in self.others(hash, &self.0.peer.members()) {
            match self.manifest_at(member, *hash).await {
                Ok(Some(manifest)) => return Ok(manifest),
                Ok(None) => {}
                Err(error) => reasons.push(format!("node {member}: {error}")),
            }
        }
        Err(unavailable(*hash, &reasons))
    }

    /// One piece from whoever holds the blob, verified.
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
                    Some(mut stream) => read_piece(&mut stream, *hash, manifest, index).await.map(Some),
                    None => Ok(None),
                }
            };
            match read.await {
                Ok(Some(piece)) => return Ok(piece),
                Ok(None) => {}
                Err(error) => reasons.push(self.complain(member, error).await),
            }
        }
        Err(unavailable(*hash, &reasons))
    }

    /// Tells a member whose bytes were wrong, so that it examines its copy; returns what to say of it.
    async fn complain(&self, member: NodeId, error: ReceiveError) -> String {
        if let ReceiveError::WrongBytes(hash) = error {
            let question = Question::Doubt(hash);
            if let Err(error) =
                self.0.peer.call::<_, bool>(member, Protocol::Blobs, &question, self.0.pace.answer).await
            {
                tracing::warn!(%hash, member, %error, "a node that sent wrong bytes could not be told");
            }
        }
        format!("node {member}: {error}")
    }

    async fn manifest_at(&self, member: NodeId, hash: Hash) -> Result<Option<Manifest>, ReceiveError> {
        let question = Question::Manifest(hash);
        let manifest: Option<Manifest> =
            self.0.peer.call(member, Protocol::Blobs, &question, self.0.pace.answer).await?;
        match manifest {
            Some(manifest) if !manifest.is_sound() => Err(ReceiveError::WrongBytes(hash)),
            manifest => Ok(manifest),
        }
    }

    /// A stream of the pieces from `first` on, if the member holds the blob.
    async fn pieces_at(&self, member: NodeId, hash: Hash, first: usize) -> Result<Option<Stream>, ReceiveError> {
        let asked = async {
            let mut stream = self.0.peer.open(member, Protocol::Blobs).await?;
            stream.write_frame(&Question::Pieces { hash, first }).await?;
            stream.finish()?;
            let comes = stream.read_frame::<bool>().await?;
            Ok::<_, PeerError>(comes.then_some(stream))
        };
        Ok(tokio::time::timeout(STALLED, asked).await.map_err(|_| PeerError::Timeout(member))??)
    }

    /// Fetches from one member; false when it does not hold the blob. `begun` carries over what another has sent.
    async fn fetch_from(&self, member: NodeId, hash: Hash, begun: &mut Option<Begun>) -> Result<bool, ReceiveError> {
        let Some(manifest) = self.manifest_at(member, hash).await? else {
            return Ok(false);
        };
        if begun.as_ref().is_none_or(|begun| begun.manifest != manifest) {
            let staged = self.0.blobs.stage(manifest.length).await?;
            *begun = Some(Begun { manifest, done: 0, staged });
        }
        let Some(Begun { manifest, done, staged }) = begun.as_mut() else {
            return Ok(false);
        };
        let Some(mut stream) = self.pieces_at(member, hash, *done).await? else {
            return Ok(false);
        };
        take_pieces(&mut stream, hash, manifest, done, staged).await?;
        match begun.take() {
            Some(begun) => {
                store(begun.staged, hash).await?;
                metrics::counter!("quartet_blobs_fetched_total").increment(1);
                metrics::counter!("quartet_blobs_fetched_bytes_total").increment(begun.manifest.length);
                Ok(true)
            }
            None => Ok(false),
        }
    }
}

//! Answers the requests of other nodes about blobs.

use net::{NodeId, PeerError, ServeFuture, Service, Stream};
use storage::blobs::{BlobError, Blobs, Hash, Manifest, blocking};

use crate::protocol::{BlobRequest, PushAnswer};
use crate::transfer::{TransferError, commit, receive_pieces, send_pieces};

pub(crate) struct BlobService(pub(crate) Blobs);

impl Service for BlobService {
    fn serve(&self, from: NodeId, mut stream: Stream) -> ServeFuture {
        let blobs = self.0.clone();
        Box::pin(async move {
            match stream.read_frame::<BlobRequest>().await? {
                BlobRequest::Manifest(hash) => {
                    let manifest = confirmed_manifest(&blobs, hash).await.ok();
                    stream.write_frame(&manifest).await?;
                }
                BlobRequest::Pieces { hash, first } => match confirmed_manifest(&blobs, hash).await {
                    Ok(manifest) => {
                        stream.write_frame(&true).await?;
                        send_pieces(&blobs, &mut stream, hash, &manifest, first).await?;
                    }
                    Err(_) => stream.write_frame(&false).await?,
                },
                BlobRequest::Push { hash, manifest } => {
                    let answer = match receive(&blobs, &mut stream, hash, &manifest).await {
                        Ok(()) => PushAnswer::Stored,
                        Err(TransferError::Blob(BlobError::Full)) => PushAnswer::Full,
                        Err(TransferError::WrongBytes(_)) => PushAnswer::WrongBytes,
                        Err(error) => {
                            tracing::warn!(%hash, from, %error, "cannot store a pushed file");
                            PushAnswer::Refused(error.to_string())
                        }
                    };
                    stream.write_frame(&answer).await?;
                }
                BlobRequest::Holds(hashes) => {
                    let held = blocking(move || Ok(hashes.iter().map(|hash| blobs.contains(hash)).collect::<Vec<_>>()));
                    let held = held.await.map_err(|error| PeerError::Refused(error.to_string()))?;
                    stream.write_frame(&held).await?;
                }
                BlobRequest::Verify(hash) => {
                    stream.write_frame(&true).await?;
                    verify_reported(&blobs, hash, from).await;
                }
            }
            stream.finish()
        })
    }
}

/// The manifest of a blob that is here. This confirms the blob, so it is not collected for a while.
async fn confirmed_manifest(blobs: &Blobs, hash: Hash) -> Result<Manifest, BlobError> {
    let blobs = blobs.clone();
    blocking(move || if blobs.confirm(&hash) { blobs.manifest(&hash) } else { Err(BlobError::Missing(hash)) }).await
}

/// Receives a pushed blob, unless it is here already.
async fn receive(blobs: &Blobs, stream: &mut Stream, hash: Hash, manifest: &Manifest) -> Result<(), TransferError> {
    if !manifest.is_consistent() {
        return Err(TransferError::WrongBytes(hash));
    }
    // This quarantines a truncated copy, which is then received again.
    if confirmed_manifest(blobs, hash).await.is_ok() {
        return Ok(());
    }
    let mut staged = blobs.stage(manifest.length).await?;
    stream.write_frame(&PushAnswer::Wanted).await?;
    receive_pieces(stream, hash, manifest, &mut 0, &mut staged).await?;
    commit(staged, hash).await?;
    storage::failpoint!("push.stored");
    Ok(())
}

/// Verifies this node's copy after node `by` received wrong bytes. A damaged copy is quarantined.
pub(crate) async fn verify_reported(blobs: &Blobs, hash: Hash, by: NodeId) {
    match blobs.verify(&hash).await {
        Ok(_) => tracing::warn!(%hash, by, "node {by} received wrong bytes of a file that is intact here"),
        Err(BlobError::Missing(_) | BlobError::Corrupt(_)) => {}
        Err(error) => tracing::warn!(%hash, by, %error, "cannot verify a file of which node {by} received wrong bytes"),
    }
}

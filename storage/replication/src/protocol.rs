//! What nodes say to each other about blobs, and the answering side.
//!
//! | question | answer | then |
//! | --- | --- | --- |
//! | `Manifest` | the manifest, or none | |
//! | `Pieces` | whether they come | the pieces from `first` on, as bare bytes |
//! | `Push` | whether it is wanted | the sender's bytes; then `Stored`, `Full`, `WrongBytes` or `Refused` |
//! | `Holds` | which of these are here | |
//! | `Doubt` | that it was heard | whoever was asked examines its copy |
//!
//! A node of an earlier version breaks off at a question that it does not know, which is no answer.
//!
//! Bytes are verified by whoever receives them, piece by piece as they come and as a whole in the end, and by nobody else:
//! who sends them could only say what they were before they left. A sender whose bytes were found wrong is told so, and
//! examines its copy then.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use net::{NodeId, PeerError, ServeFuture, Service, Stream};
use storage::blobs::{BlobError, Blobs, Hash, Manifest, Staged, blocking};

/// A sender or receiver that moves nothing for this long is given up.
pub(super) const STALLED: Duration = Duration::from_secs(10);

#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Question {
    /// The pieces' hashes, if the blob is there; whoever answers keeps the blob for a while.
    Manifest(Hash),
    /// The bytes, from this piece on.
    Pieces { hash: Hash, first: usize },
    /// Here is a blob.
    Push { hash: Hash, manifest: Manifest },
    /// Which of these blobs are there? Asking keeps none of them.
    Holds(Vec<Hash>),
    /// What came of this blob was wrong: is the copy there right?
    Doubt(Hash),
}

#[derive(Debug, Serialize, Deserialize)]
pub(super) enum PushAnswer {
    /// Send the bytes.
    Wanted,
    /// The blob is on this node's disk.
    Stored,
    /// It cannot be stored here.
    Refused(String),
    /// There is no room for it here.
    Full,
    /// What came was not what the manifest or the name says.
    WrongBytes,
}

pub(super) struct BlobService(pub(super) Blobs);

impl Service for BlobService {
    fn serve(&self, from: NodeId, mut stream: Stream) -> ServeFuture {
        let blobs = self.0.clone();
        Box::pin(async move {
            match stream.read_frame::<Question>().await? {
                Question::Manifest(hash) => {
                    let found = held(&blobs, hash).await.ok();
                    stream.write_frame(&found).await?;
                }
                Question::Pieces { hash, first } => send_pieces(&blobs, &mut stream, hash, first).await?,
                Question::Push { hash, manifest } => {
                    let answer = match receive(&blobs, &mut stream, hash, &manifest).await {
                        Ok(()) => PushAnswer::Stored,
                        Err(ReceiveError::Blob(BlobError::Full)) => PushAnswer::Full,
                        Err(ReceiveError::WrongBytes(_)) => PushAnswer::WrongBytes,
                        Err(error) => {
                            tracing::warn!(%hash, from, %error, "a file was not taken");
                            PushAnswer::Refused(error.to_string())
                        }
                    };
                    stream.write_frame(&answer).await?;
                }
                Question::Holds(hashes) => {
                    let held = blocking(move || Ok(hashes.iter().map(|hash| blobs.contains(hash)).collect::<Vec<_>>()));
                    let held = held.await.map_err(|error| PeerError::Refused(error.to_string()))?;
                    stream.write_frame(&held).await?;
                }
                Question::Doubt(hash) => {
                    stream.write_frame(&true).await?;
                    doubt(&blobs, hash, from).await;
                }
            }
            stream.finish()
        })
    }
}

/// The manifest of a blob that is here, which is then kept from collection for another while.
async fn held(blobs: &Blobs, hash: Hash) -> Result<Manifest, BlobError> {
    let blobs = blobs.clone();
    blocking(move || if blobs.confirm(&hash) { blobs.manifest(&hash) } else { Err(BlobError::Missing(hash)) }).await
}

/// Examines the copy that is here, since what came of it at another node was wrong. A damaged one is set aside.
pub(super) async fn doubt(blobs: &Blobs, hash: Hash, at: NodeId) {
    match blobs.verify(&hash).await {
        Ok(_) => tracing::warn!(%hash, at, "what was sent of a file arrived wrong, though it is right here"),
        Err(BlobError::Missing(_) | BlobError::Corrupt(_)) => {}
        Err(error) => {
            tracing::warn!(%hash, at, %error, "what was sent of a file arrived wrong, and it cannot be examined")
        }
    }
}

async fn send_pieces(blobs: &Blobs, stream: &mut Stream, hash: Hash, first: usize) -> Result<(), PeerError> {
    let Ok(manifest) = held(blobs, hash).await else {
        return stream.write_frame(&false).await;
    };
    stream.write_frame(&true).await?;
    write_pieces(blobs, stream, hash, &manifest, first).await
}

/// Writes pieces as they lie on the disk; on one that cannot be read the stream breaks off, and the other side goes on
/// elsewhere. While one is on its way, the next one is read.
pub(super) async fn write_pieces(
    blobs: &Blobs,
    stream: &mut Stream,
    hash: Hash,
    manifest: &Manifest,
    first: usize,
) -> Result<(), PeerError> {
    let manifest = Arc::new(manifest.clone());
    let read = async |index| {
        if index >= manifest.pieces.len() {
            return Ok(Bytes::new());
        }
        let (blobs, known) = (blobs.clone(), Arc::clone(&manifest));
        let piece = blocking(move || blobs.piece_on_disk(&hash, &known, index)).await;
        piece.map(Bytes::from).map_err(|error| PeerError::Refused(error.to_string()))
    };
    let mut piece = read(first).await?;
    for index in first..manifest.pieces.len() {
        let sent = tokio::time::timeout(STALLED, stream.send.write_chunk(piece));
        let (sent, next) = tokio::join!(sent, read(index + 1));
        sent.map_err(|_| PeerError::Protocol("the receiver stalled".into()))??;
        piece = next?;
    }
    Ok(())
}

/// A blob could not be taken in.
#[derive(Debug, thiserror::Error)]
pub enum ReceiveError {
    /// The connection or the sender failed.
    #[error(transparent)]
    Peer(#[from] PeerError),
    /// This node's disk failed.
    #[error(transparent)]
    Blob(#[from] BlobError),
    /// The bytes are not what the manifest or the name says.
    #[error("the bytes that came are not those of {0}")]
    WrongBytes(Hash),
}

async fn receive(blobs: &Blobs, stream: &mut Stream, hash: Hash, manifest: &Manifest) -> Result<(), ReceiveError> {
    if !manifest.is_sound() {
        return Err(ReceiveError::WrongBytes(hash));
    }
    // A copy that lost its end is no copy; `held` has then set it aside.
    if held(blobs, hash).await.is_ok() {
        return Ok(());
    }
    let mut staged = blobs.stage(manifest.length).await?;
    stream.write_frame(&PushAnswer::Wanted).await?;
    take_pieces(stream, hash, manifest, &mut 0, &mut staged).await?;
    store(staged, hash).await?;
    storage::failpoint!("push.stored");
    Ok(())
}

/// Takes in the pieces from `done` on, and counts them there. While one is verified and written, the next one is read.
pub(super) async fn take_pieces(
    stream: &mut Stream,
    hash: Hash,
    manifest: &Manifest,
    done: &mut usize,
    staged: &mut Staged,
) -> Result<(), ReceiveError> {
    let first = *done;
    let mut piece = read_bytes(stream, manifest, first).await?;
    for (index, expected) in manifest.pieces.iter().enumerate().skip(first) {
        let (kept, next) = tokio::join!(staged.write_piece(piece, *expected), read_bytes(stream, manifest, index + 1));
        if !kept? {
            return Err(ReceiveError::WrongBytes(hash));
        }
        *done += 1;
        piece = next?;
    }
    Ok(())
}

/// Reads one piece and verifies it.
pub(super) async fn read_piece(
    stream: &mut Stream,
    hash: Hash,
    manifest: &Manifest,
    index: usize,
) -> Result<Vec<u8>, ReceiveError> {
    let piece = read_bytes(stream, manifest, index).await?;
    if Some(&Hash::of(&piece)) != manifest.pieces.get(index) {
        return Err(ReceiveError::WrongBytes(hash));
    }
    Ok(piece)
}

/// Reads as many bytes as the piece has; after the last piece, none.
async fn read_bytes(stream: &mut Stream, manifest: &Manifest, index: usize) -> Result<Vec<u8>, PeerError> {
    let length = usize::try_from(manifest.piece_length(index)).unwrap_or(usize::MAX);
    let mut bytes = vec![0; length];
    match tokio::time::timeout(STALLED, stream.recv.read_exact(&mut bytes)).await {
        Ok(read) => read?,
        Err(_) => return Err(PeerError::Protocol("the sender stalled".into())),
    }
    Ok(bytes)
}

/// Commits a staged blob under the name that was promised, and under no other.
pub(super) async fn store(staged: Staged, hash: Hash) -> Result<(), ReceiveError> {
    match staged.commit_as(hash).await? {
        true => Ok(()),
        false => Err(ReceiveError::WrongBytes(hash)),
    }
}

//! Moving the pieces of a blob over a stream.

use std::sync::Arc;

use bytes::Bytes;

use net::{PeerError, Stream};
use storage::blobs::{BlobError, Blobs, Hash, Manifest, Staged, blocking};

use crate::timing::STALL_TIMEOUT;

/// A blob could not be received.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TransferError {
    /// The connection or the sender failed.
    #[error(transparent)]
    Peer(#[from] PeerError),
    /// This node could not store the blob.
    #[error(transparent)]
    Blob(#[from] BlobError),
    /// The bytes do not match the manifest or the hash.
    #[error("wrong bytes arrived for the file {0}")]
    WrongBytes(Hash),
}

/// Sends the pieces from `first` on without verification. The next piece is read while one is sent. If a piece cannot
/// be read, the stream is reset, and the receiver continues at another node.
pub(crate) async fn send_pieces(
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
        let (blobs, manifest) = (blobs.clone(), Arc::clone(&manifest));
        let piece = blocking(move || blobs.piece_on_disk(&hash, &manifest, index)).await;
        piece.map(Bytes::from).map_err(|error| PeerError::Refused(error.to_string()))
    };
    let mut piece = read(first).await?;
    for index in first..manifest.pieces.len() {
        let sent = tokio::time::timeout(STALL_TIMEOUT, stream.send.write_chunk(piece));
        let (sent, next) = tokio::join!(sent, read(index + 1));
        sent.map_err(|_| PeerError::Protocol("the receiver stalled".into()))??;
        piece = next?;
    }
    Ok(())
}

/// Receives the pieces from `done` on, verifies and writes them, and adds them to `done`. The next piece is received
/// while one is written.
pub(crate) async fn receive_pieces(
    stream: &mut Stream,
    hash: Hash,
    manifest: &Manifest,
    done: &mut usize,
    staged: &mut Staged,
) -> Result<(), TransferError> {
    let first = *done;
    let mut piece = read_bytes(stream, manifest, first).await?;
    for (index, expected) in manifest.pieces.iter().enumerate().skip(first) {
        let (written, next) =
            tokio::join!(staged.write_piece(piece, *expected), read_bytes(stream, manifest, index + 1));
        if !written? {
            return Err(TransferError::WrongBytes(hash));
        }
        *done += 1;
        piece = next?;
    }
    Ok(())
}

/// Receives and verifies one piece.
pub(crate) async fn receive_piece(
    stream: &mut Stream,
    hash: Hash,
    manifest: &Manifest,
    index: usize,
) -> Result<Vec<u8>, TransferError> {
    let piece = read_bytes(stream, manifest, index).await?;
    if Some(&Hash::of(&piece)) != manifest.pieces.get(index) {
        return Err(TransferError::WrongBytes(hash));
    }
    Ok(piece)
}

/// Receives as many bytes as the piece has; none after the last piece.
async fn read_bytes(stream: &mut Stream, manifest: &Manifest, index: usize) -> Result<Vec<u8>, PeerError> {
    let length = usize::try_from(manifest.piece_length(index)).unwrap_or(usize::MAX);
    let mut bytes = vec![0; length];
    match tokio::time::timeout(STALL_TIMEOUT, stream.recv.read_exact(&mut bytes)).await {
        Ok(read) => read?,
        Err(_) => return Err(PeerError::Protocol("the sender stalled".into())),
    }
    Ok(bytes)
}

/// Stores a received blob, if its bytes have this hash.
pub(crate) async fn commit(staged: Staged, hash: Hash) -> Result<(), TransferError> {
    match staged.commit_as(hash).await? {
        true => Ok(()),
        false => Err(TransferError::WrongBytes(hash)),
    }
}

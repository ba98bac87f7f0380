//! Where a file's bytes are, and reading them.
//!
//! A blob is read in pieces, each compared with its hash before it is given. A damaged or missing piece is fetched from
//! another node in the middle of the reading, and the listener hears nothing of it. A large blob that this node does not
//! hold is passed on piece by piece, from the first byte that is asked for, while it is brought here for the next
//! listener: nobody who seeks in a long song waits for the whole of it.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use axum::body::{Body, Bytes};
use futures_util::{StreamExt, stream};
use replication::{ShareError, Sharing};
use storage::blobs::{BlobError, Hash, Manifest, PIECE};
use tokio::io::{AsyncReadExt, AsyncSeekExt};
use tokio_util::io::ReaderStream;

use crate::error::ApiError;

/// A file of more pieces than these is passed on while it is fetched; a shorter one is here as soon as its first piece.
const AT_ONCE: usize = 4;

/// Where a file's bytes are.
pub(crate) enum Source {
    /// In a blob, somewhere in the cluster.
    Blob(Hash),
    /// In a file that this node made.
    Made(PathBuf),
}

/// A blob, on this node's disk or passed on from another's.
#[derive(Clone)]
pub(crate) struct Blob {
    sharing: Sharing,
    hash: Hash,
    manifest: Arc<Manifest>,
}

/// A file whose length is known.
pub(crate) enum Opened {
    Blob(Blob),
    Made { file: tokio::fs::File, length: u64 },
}

pub(crate) async fn open(sharing: &Sharing, source: &Source) -> Result<Opened, ApiError> {
    match source {
        Source::Blob(hash) => {
            let manifest = match long_and_elsewhere(sharing, hash).await? {
                Some(manifest) => {
                    let (sharing, hash) = (sharing.clone(), *hash);
                    tokio::spawn(async move {
                        if let Err(error) = sharing.fetch(&hash).await {
                            tracing::debug!(%hash, %error, "a file that is passed on is not kept");
                        }
                    });
                    manifest
                }
                None => match sharing.fetch(hash).await {
                    Ok(()) => {
                        let (blobs, wanted) = (sharing.blobs().clone(), *hash);
                        crate::blocking("reading a manifest", move || blobs.manifest(&wanted)).await??
                    }
                    // What this node has no room for it hands through.
                    Err(ShareError::Blob(BlobError::Full)) => sharing.manifest_elsewhere(hash).await?,
                    Err(error) => return Err(error.into()),
                },
            };
            Ok(Opened::Blob(Blob { sharing: sharing.clone(), hash: *hash, manifest: Arc::new(manifest) }))
        }
        Source::Made(path) => {
            let opening = async {
                let file = tokio::fs::File::open(path).await?;
                let length = file.metadata().await?.len();
                Ok(Opened::Made { file, length })
            };
            opening.await.map_err(|error: io::Error| ApiError::io("opening a file", &error))
        }
    }
}

/// The manifest of a blob that this node does not hold and that takes a while to fetch.
async fn long_and_elsewhere(sharing: &Sharing, hash: &Hash) -> Result<Option<Manifest>, ApiError> {
    let (blobs, wanted) = (sharing.blobs().clone(), *hash);
    if crate::blocking("looking for a file", move || blobs.contains(&wanted)).await? {
        return Ok(None);
    }
    let manifest = sharing.manifest_elsewhere(hash).await?;
    Ok(Some(manifest).filter(|manifest| manifest.length > AT_ONCE as u64 * PIECE))
}

impl Opened {
    pub(crate) fn length(&self) -> u64 {
        match self {
            Self::Blob(blob) => blob.manifest.length,
            Self::Made { length, .. } => *length,
        }
    }

    /// The bytes `first..end`. What cannot be had at all is known before the answer begins.
    pub(crate) async fn body(self, first: u64, end: u64) -> Result<Body, ApiError> {
        match self {
            Self::Made { mut file, .. } => {
                file.seek(io::SeekFrom::Start(first)).await.map_err(|error| ApiError::io("reading a file", &error))?;
                Ok(Body::from_stream(ReaderStream::with_capacity(file.take(end - first), 64 << 10)))
            }
            Self::Blob(blob) => {
                if first == end {
                    return Ok(Body::empty());
                }
                let beginning = blob.bytes(first, end).await?;
                let at = first + beginning.len() as u64;
                let rest = stream::unfold(at, move |at| {
                    let blob = blob.clone();
                    async move {
                        if at >= end {
                            return None;
                        }
                        match blob.bytes(at, end).await {
                            Ok(bytes) => {
                                let next = at + bytes.len() as u64;
                                Some((Ok(bytes), next))
                            }
                            // The answer is shorter than it promised, so the client knows that it broke off.
                            Err(error) => Some((Err(io::Error::other(error)), end)),
                        }
                    }
                });
                let beginning = stream::once(async move { Ok::<_, io::Error>(beginning) });
                Ok(Body::from_stream(beginning.chain(rest)))
            }
        }
    }
}

impl Blob {
    /// The verified bytes from `at` to the end of their piece, or to `end`.
    async fn bytes(&self, at: u64, end: u64) -> Result<Bytes, ApiError> {
        let index = usize::try_from(at / PIECE).unwrap_or(usize::MAX);
        let bytes = match self.read(index).await? {
            Err(BlobError::Missing(_)) => self.elsewhere(index).await?,
            Err(BlobError::Corrupt(_)) => match self.sharing.fetch(&self.hash).await {
                Ok(()) => self.read(index).await??,
                Err(ShareError::Blob(BlobError::Full)) => self.elsewhere(index).await?,
                Err(error) => return Err(error.into()),
            },
            read => read?,
        };
        let start = index as u64 * PIECE;
        let from = usize::try_from(at - start).unwrap_or(usize::MAX).min(bytes.len());
        let to = usize::try_from(end - start).unwrap_or(usize::MAX).min(bytes.len());
        if from >= to {
            return Err(ApiError::Internal("reading a file that is shorter than it should be".into()));
        }
        Ok(Bytes::from(bytes).slice(from..to))
    }

    async fn elsewhere(&self, index: usize) -> Result<Vec<u8>, ShareError> {
        let piece = self.sharing.piece_elsewhere(&self.hash, &self.manifest, index).await?;
        metrics::counter!("quartet_blobs_passed_bytes_total").increment(piece.len() as u64);
        Ok(piece)
    }

    async fn read(&self, index: usize) -> Result<Result<Vec<u8>, BlobError>, ApiError> {
        let (blobs, manifest, hash) = (self.sharing.blobs().clone(), Arc::clone(&self.manifest), self.hash);
        crate::blocking("reading a file", move || blobs.piece(&hash, &manifest, index)).await
    }
}

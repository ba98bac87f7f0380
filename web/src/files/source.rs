//! The sources of files: blobs of the cluster, and files that this node generated.
//!
//! A blob is read in pieces, and each piece is verified before it is sent. A damaged or missing piece is fetched from
//! another node during the response. A large blob that this node does not hold is passed on piece by piece from the
//! first requested byte, and fetched for later requests meanwhile, so a listener who seeks in a long song need not wait
//! for all of it.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use axum::body::{Body, Bytes};
use futures_util::{StreamExt, stream};
use replication::{Replication, ReplicationError};
use storage::blobs::{BlobError, Hash, Manifest, PIECE};
use tokio::io::{AsyncReadExt, AsyncSeekExt};
use tokio_util::io::ReaderStream;

use crate::http::error::ApiError;

/// A file with more pieces is passed on while it is fetched. A shorter one is fetched completely first.
const AT_ONCE: usize = 4;

/// The source of a file.
pub(crate) enum Source {
    /// A blob at any node.
    Blob(Hash),
    /// A file that this node generated.
    Made(PathBuf),
}

/// A blob, on this node's disk or at another node.
#[derive(Clone)]
pub(crate) struct Blob {
    replication: Replication,
    hash: Hash,
    manifest: Arc<Manifest>,
}

/// An open file, whose length is known.
pub(crate) enum Opened {
    Blob(Blob),
    Made { file: tokio::fs::File, length: u64 },
}

pub(crate) async fn open(replication: &Replication, source: &Source) -> Result<Opened, ApiError> {
    match source {
        Source::Blob(hash) => {
            let manifest = match large_and_elsewhere(replication, hash).await? {
                Some(manifest) => {
                    let (replication, hash) = (replication.clone(), *hash);
                    tokio::spawn(async move {
                        if let Err(error) = replication.fetch(&hash).await {
                            tracing::debug!(%hash, %error, "a file that is passed on could not be fetched");
                        }
                    });
                    manifest
                }
                None => match replication.fetch(hash).await {
                    Ok(()) => {
                        let (blobs, wanted) = (replication.blobs().clone(), *hash);
                        crate::http::blocking("reading a manifest", move || blobs.manifest(&wanted)).await??
                    }
                    // Without space for the blob, the node passes it on.
                    Err(ReplicationError::Blob(BlobError::Full)) => replication.remote_manifest(hash).await?,
                    Err(error) => return Err(error.into()),
                },
            };
            Ok(Opened::Blob(Blob { replication: replication.clone(), hash: *hash, manifest: Arc::new(manifest) }))
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

/// The manifest of a blob that this node does not hold and that is large.
async fn large_and_elsewhere(replication: &Replication, hash: &Hash) -> Result<Option<Manifest>, ApiError> {
    let (blobs, wanted) = (replication.blobs().clone(), *hash);
    if crate::http::blocking("looking up a file", move || blobs.contains(&wanted)).await? {
        return Ok(None);
    }
    let manifest = replication.remote_manifest(hash).await?;
    Ok(Some(manifest).filter(|manifest| manifest.length > AT_ONCE as u64 * PIECE))
}

impl Opened {
    pub(crate) fn length(&self) -> u64 {
        match self {
            Self::Blob(blob) => blob.manifest.length,
            Self::Made { length, .. } => *length,
        }
    }

    /// The bytes `first..end`. A blob that no node has is an error before the response begins.
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
                            // The response is shorter than its Content-Length, so the client notices the error.
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
    /// The verified bytes from `at` to the end of the piece, or to `end`.
    async fn bytes(&self, at: u64, end: u64) -> Result<Bytes, ApiError> {
        let index = usize::try_from(at / PIECE).unwrap_or(usize::MAX);
        let bytes = match self.read(index).await? {
            Err(BlobError::Missing(_)) => self.elsewhere(index).await?,
            Err(BlobError::Corrupt(_)) => match self.replication.fetch(&self.hash).await {
                Ok(()) => self.read(index).await??,
                Err(ReplicationError::Blob(BlobError::Full)) => self.elsewhere(index).await?,
                Err(error) => return Err(error.into()),
            },
            read => read?,
        };
        let start = index as u64 * PIECE;
        let from = usize::try_from(at - start).unwrap_or(usize::MAX).min(bytes.len());
        let to = usize::try_from(end - start).unwrap_or(usize::MAX).min(bytes.len());
        if from >= to {
            return Err(ApiError::Internal("reading a file that is too short".into()));
        }
        Ok(Bytes::from(bytes).slice(from..to))
    }

    async fn elsewhere(&self, index: usize) -> Result<Vec<u8>, ReplicationError> {
        let piece = self.replication.remote_piece(&self.hash, &self.manifest, index).await?;
        metrics::counter!("quartet_blobs_passed_bytes_total").increment(piece.len() as u64);
        Ok(piece)
    }

    async fn read(&self, index: usize) -> Result<Result<Vec<u8>, BlobError>, ApiError> {
        let (blobs, manifest, hash) = (self.replication.blobs().clone(), Arc::clone(&self.manifest), self.hash);
        crate::http::blocking("reading a file", move || blobs.piece(&hash, &manifest, index)).await
    }
}

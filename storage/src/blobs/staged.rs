//! Blobs that arrive in parts. They are hashed while they are written.

use std::fs::File;
use std::io::{self, Write};
use std::path::Path;

use tokio::task::JoinHandle;

use super::error::io_error;
use super::manifest::Hasher;
use super::{BlobError, Blobs, Hash, StagedFile, blocking};

/// A file is flushed each time it has grown by this many bytes, while more arrives. So the final fsync is short, and
/// other writers to the disk, above all the Raft log, never wait for a whole file.
const FLUSH_BYTES: u64 = 32 << 20;

struct Open {
    file: File,
    hasher: Hasher,
    flusher: Flusher,
}

/// Flushes a growing file in the background.
#[derive(Default)]
struct Flusher {
    /// The length of the file when the last flush started.
    length: u64,
    running: Option<JoinHandle<io::Result<()>>>,
}

impl Flusher {
    /// Starts a flush of a file that has grown to `length`, unless it has grown too little or a flush is running.
    async fn flush(&mut self, file: &File, length: u64) -> io::Result<()> {
        let idle = self.running.as_ref().is_none_or(JoinHandle::is_finished);
        if !idle || length - self.length < FLUSH_BYTES {
            return Ok(());
        }
        self.wait().await?;
        let file = file.try_clone()?;
        self.running = Some(tokio::task::spawn_blocking(move || file.sync_data()));
        self.length = length;
        Ok(())
    }

    /// Waits for the running flush. The system reports a failed write only once, so each result must be checked before
    /// the file is committed.
    async fn wait(&mut self) -> io::Result<()> {
        match self.running.take() {
            Some(flush) => flush.await.map_err(io::Error::other)?,
            None => Ok(()),
        }
    }
}

/// A blob that arrives in parts. Dropping it without [`Staged::commit`] removes the file.
pub struct Staged {
    blobs: Blobs,
    target: StagedFile,
    /// `None` while a write runs on another thread, and after a write failed.
    open: Option<Open>,
    length: u64,
}

impl Blobs {
    /// Creates a staged blob. `expected` is its length in bytes, or 0 if it is unknown. This fails with
    /// [`BlobError::Full`] at once if so many bytes do not fit.
    pub async fn stage(&self, expected: u64) -> Result<Staged, BlobError> {
        let blobs = self.clone();
        blocking(move || Staged::new(blobs, expected)).await
    }
}

impl Staged {
    fn new(blobs: Blobs, expected: u64) -> Result<Self, BlobError> {
        let target = StagedFile::new(blobs.clone(), expected)?;
        let path = target.path();
        let file =
            File::options().write(true).read(true).create_new(true).open(path).map_err(io_error("create", path))?;
        let open = Open { file, hasher: Hasher::default(), flusher: Flusher::default() };
        Ok(Self { blobs, target, open: Some(open), length: 0 })
    }

    /// Appends bytes.
    pub async fn write(&mut self, bytes: &[u8]) -> Result<(), BlobError> {
        self.append(bytes.to_vec(), |hasher, bytes| {
            hasher.update(bytes);
            true
        })
        .await
        .map(drop)
    }

    /// Appends a piece if it has this hash. Otherwise returns false and appends nothing.
    pub async fn write_piece(&mut self, piece: Vec<u8>, expected: Hash) -> Result<bool, BlobError> {
        // The piece is hashed once, for the comparison and for the manifest.
        self.append(piece, move |hasher, piece| Hash::of(piece) == expected && hasher.add_piece(piece, expected)).await
    }

    /// Hashes bytes on a blocking thread, and appends them if `hash` returns true.
    async fn append(
        &mut self,
        bytes: Vec<u8>,
        hash: impl FnOnce(&mut Hasher, &[u8]) -> bool + Send + 'static,
    ) -> Result<bool, BlobError> {
        let mut open = self.open.take().ok_or(BlobError::Interrupted)?;
        if let Some(claim) = &mut self.target.claim {
            claim.cover(self.length + bytes.len() as u64)?;
        }
        let path = self.target.path().to_owned();
        let (mut open, matches) = blocking(move || {
            let matches = hash(&mut open.hasher, &bytes);
            if matches {
                open.file.write_all(&bytes).map_err(io_error("write", &path))?;
            }
            Ok((open, matches))
        })
        .await?;
        self.length = open.hasher.length();
        open.flusher.flush(&open.file, self.length).await.map_err(io_error("flush", self.target.path()))?;
        self.open = Some(open);
        if let Some(claim) = &mut self.target.claim {
            claim.wrote(self.length);
        }
        Ok(matches)
    }

    /// The bytes so far.
    pub fn len(&self) -> u64 {
        self.length
    }

    /// Whether there are no bytes yet.
    pub fn is_empty(&self) -> bool {
        self.length == 0
    }

    /// The path of the file until it is committed.
    pub fn path(&self) -> &Path {
        self.target.path()
    }

    /// The hash of the bytes so far, which is the name that [`Staged::commit`] would give them.
    pub fn hash(&self) -> Result<Hash, BlobError> {
        Ok(self.open.as_ref().ok_or(BlobError::Interrupted)?.hasher.so_far())
    }

    /// Stores the bytes as a blob. Returns its hash and length in bytes; it is on disk then.
    pub async fn commit(self) -> Result<(Hash, u64), BlobError> {
        let (hash, length, _) = self.finish(None).await?;
        Ok((hash, length))
    }

    /// Like [`Staged::commit`], if the bytes have this hash. Otherwise returns false and stores nothing.
    pub async fn commit_as(self, expected: Hash) -> Result<bool, BlobError> {
        Ok(self.finish(Some(expected)).await?.2)
    }

    async fn finish(mut self, expected: Option<Hash>) -> Result<(Hash, u64, bool), BlobError> {
        let mut open = self.open.take().ok_or(BlobError::Interrupted)?;
        open.flusher.wait().await.map_err(io_error("flush", self.target.path()))?;
        blocking(move || {
            let (hash, manifest) = open.hasher.finish();
            let matches = expected.is_none_or(|expected| expected == hash);
            if matches {
                open.file.sync_all().map_err(io_error("fsync", self.target.path()))?;
                self.blobs.publish(self.target.path(), &hash, &manifest)?;
            }
            Ok((hash, manifest.length, matches))
        })
        .await
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]

    use crate::blobs::testing::{open, staged_files};

    use super::*;

    #[tokio::test]
    async fn a_blob_without_commit_leaves_no_file() {
        let folder = tempfile::tempdir().unwrap();
        let blobs = open(&folder);
        let mut staged = blobs.stage(0).await.unwrap();
        staged.write(&vec![7; 100_000]).await.unwrap();
        drop(staged);
        assert_eq!(staged_files(&folder), 0);
    }

    #[tokio::test]
    async fn a_large_file_is_flushed_while_it_grows() {
        let folder = tempfile::tempdir().unwrap();
        let blobs = open(&folder);
        let mut staged = blobs.stage(0).await.unwrap();
        let bytes = vec![3; usize::try_from(FLUSH_BYTES).unwrap()];
        staged.write(&bytes[1..]).await.unwrap();
        assert!(staged.open.as_ref().unwrap().flusher.running.is_none());
        staged.write(&bytes[..1]).await.unwrap();
        assert!(staged.open.as_ref().unwrap().flusher.running.is_some());
        assert_eq!(staged.hash().unwrap(), Hash::of(&bytes));
        assert_eq!(staged.commit().await.unwrap(), (Hash::of(&bytes), FLUSH_BYTES));
    }

    #[tokio::test]
    async fn a_failed_flush_is_reported_at_the_end() {
        // No system can flush a pipe.
        let (_reader, pipe) = io::pipe().unwrap();
        let pipe = File::from(std::os::fd::OwnedFd::from(pipe));
        let mut flusher = Flusher::default();
        flusher.flush(&pipe, FLUSH_BYTES - 1).await.unwrap();
        flusher.wait().await.unwrap();
        flusher.flush(&pipe, FLUSH_BYTES).await.unwrap();
        assert!(flusher.wait().await.is_err());
    }

    #[tokio::test]
    async fn a_disk_that_fills_up_during_a_write_leaves_no_file() {
        let folder = tempfile::tempdir().unwrap();
        let blobs = open(&folder);
        let mut staged = blobs.stage(0).await.unwrap();
        staged.write(&[1; 1000]).await.unwrap();
        // Writes to this device fail with ENOSPC.
        staged.open.as_mut().unwrap().file = File::options().write(true).open("/dev/full").unwrap();
        assert!(matches!(staged.write(&[2; 1000]).await, Err(BlobError::Full)));
        assert!(matches!(staged.write(&[2; 1000]).await, Err(BlobError::Interrupted)));
        drop(staged);
        assert_eq!(staged_files(&folder), 0);
        assert_eq!(blobs.usage().files, 0);
    }
}

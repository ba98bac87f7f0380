//! Files that are still arriving.

use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::PoisonError;

use tokio::task::JoinHandle;

use super::quota::Claim;
use super::{BlobError, Blobs, Hash, Hasher, blocking, told};

/// After so many bytes, what was written begins to go to the disk while more arrives. So little is left to wait for in
/// the end, and others who write to the same disk (Raft's log above all) never stand behind a whole file.
const FLUSHED_AT_ONCE: u64 = 32 << 20;

/// A path in the staging folder; whatever lies there goes with this value.
pub struct StagedFile {
    blobs: Blobs,
    path: PathBuf,
    /// The room that the file takes; none for what is too small to count.
    claim: Option<Claim>,
}

impl StagedFile {
    pub(super) fn new(blobs: Blobs, expected: u64) -> Result<Self, BlobError> {
        let claim = blobs.0.space.claim(expected)?;
        let mut staged = Self::unclaimed(blobs);
        staged.claim = Some(claim);
        Ok(staged)
    }

    pub(super) fn unclaimed(blobs: Blobs) -> Self {
        let path = blobs.0.staging.join(uuid::Uuid::new_v4().to_string());
        blobs.0.staged.lock().unwrap_or_else(PoisonError::into_inner).insert(path.clone());
        Self { blobs, path, claim: None }
    }

    /// Where to write.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for StagedFile {
    fn drop(&mut self) {
        match std::fs::remove_file(&self.path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                tracing::warn!(%error, path = %self.path.display(), "a staged file cannot be removed");
            }
            _ => {}
        }
        self.blobs.0.staged.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.path);
    }
}

struct Open {
    file: File,
    hasher: Hasher,
    flush: Flush,
}

/// The part of a file that is on its way to the disk, or is there.
#[derive(Default)]
struct Flush {
    length: u64,
    under_way: Option<JoinHandle<io::Result<()>>>,
}

impl Flush {
    /// Goes on flushing a file that has grown to `length`, unless that is still under way for what came before.
    async fn follow(&mut self, file: &File, length: u64) -> io::Result<()> {
        let idle = self.under_way.as_ref().is_none_or(JoinHandle::is_finished);
        if !idle || length - self.length < FLUSHED_AT_ONCE {
            return Ok(());
        }
        self.end().await?;
        let file = file.try_clone()?;
        self.under_way = Some(tokio::task::spawn_blocking(move || file.sync_data()));
        self.length = length;
        Ok(())
    }

    /// Waits for what is under way. A disk tells once that it failed, so this must have been heard of before the file
    /// is believed.
    async fn end(&mut self) -> io::Result<()> {
        match self.under_way.take() {
            Some(flush) => flush.await.map_err(io::Error::other)?,
            None => Ok(()),
        }
    }
}

/// A blob that arrives in pieces and is hashed on its way to the disk.
pub struct Staged {
    blobs: Blobs,
    at: StagedFile,
    // Away while a write is under way on another thread; a write that failed does not bring it back.
    open: Option<Open>,
    length: u64,
}

impl Staged {
    pub(super) fn new(blobs: Blobs, expected: u64) -> Result<Self, BlobError> {
        let at = StagedFile::new(blobs.clone(), expected)?;
        let file =
            File::options().write(true).read(true).create_new(true).open(at.path()).map_err(told("make", at.path()))?;
        Ok(Self { blobs, at, open: Some(Open { file, hasher: Hasher::default(), flush: Flush::default() }), length: 0 })
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

    /// Appends a piece; false, and nothing appended, if it does not have this hash.
    pub async fn write_piece(&mut self, piece: Vec<u8>, expected: Hash) -> Result<bool, BlobError> {
        // One look at the bytes serves the comparison and the manifest.
        self.append(piece, move |hasher, piece| Hash::of(piece) == expected && hasher.add_piece(piece, expected)).await
    }

    /// Hashes bytes on a thread where that holds nobody up, and appends them unless `hash` finds fault with them.
    async fn append(
        &mut self,
        bytes: Vec<u8>,
        hash: impl FnOnce(&mut Hasher, &[u8]) -> bool + Send + 'static,
    ) -> Result<bool, BlobError> {
        let mut open = self.open.take().ok_or(BlobError::Broken)?;
        if let Some(claim) = &mut self.at.claim {
            claim.cover(self.length + bytes.len() as u64)?;
        }
        let path = self.at.path().to_owned();
        let (mut open, right) = blocking(move || {
            let right = hash(&mut open.hasher, &bytes);
            if right {
                open.file.write_all(&bytes).map_err(told("write", &path))?;
            }
            Ok((open, right))
        })
        .await?;
        self.length = open.hasher.length();
        open.flush.follow(&open.file, self.length).await.map_err(told("flush", self.at.path()))?;
        self.open = Some(open);
        if let Some(claim) = &mut self.at.claim {
            claim.wrote(self.length);
        }
        Ok(right)
    }

    /// Bytes so far.
    pub fn len(&self) -> u64 {
        self.length
    }

    /// Whether nothing has arrived yet.
    pub fn is_empty(&self) -> bool {
        self.length == 0
    }

    /// Where the bytes lie until they are committed.
    pub fn path(&self) -> &Path {
        self.at.path()
    }

    /// The hash of what has arrived so far, under which it would be committed.
    pub fn hash(&self) -> Result<Hash, BlobError> {
        Ok(self.open.as_ref().ok_or(BlobError::Broken)?.hasher.so_far())
    }

    /// What has arrived so far becomes a blob: it is on the disk when this returns its hash and length.
    pub async fn commit(self) -> Result<(Hash, u64), BlobError> {
        let (hash, length, _) = self.finish(None).await?;
        Ok((hash, length))
    }

    /// Like [`Staged::commit`], but only under this name; false, and nothing stored, when the bytes have another.
    pub async fn commit_as(self, expected: Hash) -> Result<bool, BlobError> {
        Ok(self.finish(Some(expected)).await?.2)
    }

    async fn finish(mut self, expected: Option<Hash>) -> Result<(Hash, u64, bool), BlobError> {
        let mut open = self.open.take().ok_or(BlobError::Broken)?;
        open.flush.end().await.map_err(told("flush", self.at.path()))?;
        blocking(move || {
            let (hash, manifest) = open.hasher.finish();
            let right = expected.is_none_or(|expected| expected == hash);
            if right {
                open.file.sync_all().map_err(told("fsync", self.at.path()))?;
                self.blobs.adopt(self.at.path(), &hash, &manifest)?;
            }
            Ok((hash, manifest.length, right))
        })
        .await
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]

    use super::super::tests::open;
    use super::*;

    #[tokio::test]
    async fn a_file_is_flushed_while_more_of_it_arrives() {
        let folder = tempfile::tempdir().unwrap();
        let blobs = open(&folder);
        let mut staged = blobs.stage(0).await.unwrap();
        let bytes = vec![3; usize::try_from(FLUSHED_AT_ONCE).unwrap()];
        staged.write(&bytes[1..]).await.unwrap();
        assert!(staged.open.as_ref().unwrap().flush.under_way.is_none());
        staged.write(&bytes[..1]).await.unwrap();
        assert!(staged.open.as_ref().unwrap().flush.under_way.is_some());
        assert_eq!(staged.hash().unwrap(), Hash::of(&bytes));
        assert_eq!(staged.commit().await.unwrap(), (Hash::of(&bytes), FLUSHED_AT_ONCE));
    }

    #[tokio::test]
    async fn a_disk_that_fails_while_more_arrives_is_heard_of_in_the_end() {
        // What cannot be flushed on any system: a pipe.
        let (_reader, pipe) = io::pipe().unwrap();
        let pipe = File::from(std::os::fd::OwnedFd::from(pipe));
        let mut flush = Flush::default();
        flush.follow(&pipe, FLUSHED_AT_ONCE - 1).await.unwrap();
        flush.end().await.unwrap();
        flush.follow(&pipe, FLUSHED_AT_ONCE).await.unwrap();
        assert!(flush.end().await.is_err());
    }

    #[tokio::test]
    async fn a_disk_that_fills_up_in_the_middle_leaves_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let blobs = open(&folder);
        let mut staged = blobs.stage(0).await.unwrap();
        staged.write(&[1; 1000]).await.unwrap();
        // What every system has for this: a device on which nothing fits.
        staged.open.as_mut().unwrap().file = File::options().write(true).open("/dev/full").unwrap();
        assert!(matches!(staged.write(&[2; 1000]).await, Err(BlobError::Full)));
        assert!(matches!(staged.write(&[2; 1000]).await, Err(BlobError::Broken)));
        drop(staged);
        assert_eq!(std::fs::read_dir(folder.path().join("staging")).unwrap().count(), 0);
        assert_eq!(blobs.usage().files, 0);
    }
}

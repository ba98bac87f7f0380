//! Files that are still arriving.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};

use super::{BlobError, Blobs, Hash, Hasher, blocking, told};

/// Bytes between two looks at the free space.
const MEASURE_EVERY: u64 = 4 << 20;

/// A path in the staging folder; whatever lies there goes with this value.
pub struct StagedFile(PathBuf);

impl StagedFile {
    pub(super) fn new(path: PathBuf) -> Self {
        Self(path)
    }

    /// Where to write.
    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for StagedFile {
    fn drop(&mut self) {
        match std::fs::remove_file(&self.0) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                tracing::warn!(%error, path = %self.0.display(), "a staged file cannot be removed");
            }
            _ => {}
        }
    }
}

struct Open {
    file: File,
    hasher: Hasher,
}

/// A blob that arrives in pieces and is hashed on its way to the disk.
pub struct Staged {
    blobs: Blobs,
    at: StagedFile,
    // Away while a write is under way on another thread; a write that failed does not bring it back.
    open: Option<Open>,
    length: u64,
    measure_at: u64,
}

impl Staged {
    pub(super) fn new(blobs: Blobs) -> Result<Self, BlobError> {
        let at = blobs.stage_file()?;
        let file =
            File::options().write(true).read(true).create_new(true).open(at.path()).map_err(told("make", at.path()))?;
        Ok(Self {
            blobs,
            at,
            open: Some(Open { file, hasher: Hasher::default() }),
            length: 0,
            measure_at: MEASURE_EVERY,
        })
    }

    /// Appends bytes.
    pub async fn write(&mut self, bytes: &[u8]) -> Result<(), BlobError> {
        let mut open = self.open.take().ok_or(BlobError::Broken)?;
        let (bytes, path) = (bytes.to_vec(), self.at.path().to_owned());
        let open = blocking(move || {
            open.file.write_all(&bytes).map_err(told("write", &path))?;
            open.hasher.update(&bytes);
            Ok(open)
        })
        .await?;
        self.length = open.hasher.length();
        self.open = Some(open);
        // The reserve is looked at now and then; the disk itself refuses what it cannot hold.
        if self.length >= self.measure_at {
            self.measure_at = self.length + MEASURE_EVERY;
            if self.blobs.free_bytes()? == 0 {
                return Err(BlobError::Full);
            }
        }
        Ok(())
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
        let open = self.open.take().ok_or(BlobError::Broken)?;
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

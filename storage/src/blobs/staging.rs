//! The staging folder, for files that are not complete yet.

use std::io;
use std::path::{Path, PathBuf};

use super::error::io_error;
use super::quota::Claim;
use super::{BlobError, Blobs};

/// A path in the staging folder. Dropping this removes the file there.
pub struct StagedFile {
    blobs: Blobs,
    path: PathBuf,
    /// The claim on space for the file. Manifests have none, because they are small.
    pub(super) claim: Option<Claim>,
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
        blobs.0.staged.lock().insert(path.clone());
        Self { blobs, path, claim: None }
    }

    /// The path to write to.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for StagedFile {
    fn drop(&mut self) {
        match std::fs::remove_file(&self.path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                tracing::warn!(%error, path = %self.path.display(), "cannot remove a staged file");
            }
            _ => {}
        }
        self.blobs.0.staged.lock().remove(&self.path);
    }
}

impl Blobs {
    /// A path in the staging folder, for programs that write files by name. See [`Blobs::commit_file`].
    pub fn stage_file(&self) -> Result<StagedFile, BlobError> {
        StagedFile::new(self.clone(), 0)
    }

    /// The number of files that are being written.
    pub fn staged_files(&self) -> usize {
        self.0.staged.lock().len()
    }

    /// Removes files in the staging folder that nobody writes: those of a killed process, or of a thread whose caller
    /// gave up. Returns how many files were removed.
    pub fn sweep_staging(&self) -> Result<usize, BlobError> {
        let staging = &self.0.staging;
        let mut removed = 0;
        for entry in std::fs::read_dir(staging).map_err(io_error("list", staging))? {
            let path = entry.map_err(io_error("list", staging))?.path();
            // A path is registered before its file is created, so an unregistered file is not in use.
            if self.0.staged.lock().contains(&path) {
                continue;
            }
            match std::fs::remove_file(&path) {
                Ok(()) => removed += 1,
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(io_error("remove", &path)(error)),
            }
        }
        Ok(removed)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use crate::blobs::testing::{open, staged_files};

    #[tokio::test]
    async fn opening_removes_files_of_a_killed_process() {
        let folder = tempfile::tempdir().unwrap();
        open(&folder);
        std::fs::write(folder.path().join("staging/left"), b"over").unwrap();
        open(&folder);
        assert_eq!(staged_files(&folder), 0);
    }

    #[tokio::test]
    async fn a_sweep_removes_only_files_that_nobody_writes() {
        let folder = tempfile::tempdir().unwrap();
        let blobs = open(&folder);
        let mut running = blobs.stage(0).await.unwrap();
        running.write(b"still ").await.unwrap();
        std::fs::write(folder.path().join("staging/left"), b"over").unwrap();
        assert_eq!(blobs.sweep_staging().unwrap(), 1);
        assert_eq!(staged_files(&folder), 1);
        running.write(b"running").await.unwrap();
        let (hash, _) = running.commit().await.unwrap();
        assert_eq!(std::fs::read(blobs.path(&hash)).unwrap(), b"still running");
    }
}

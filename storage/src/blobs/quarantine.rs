//! The folder of damaged files. They are not served any more, but kept for an operator to examine.
//!
//! The number and the bytes of files are limited, because a failing disk damages many files. The oldest are removed
//! first.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::error::io_error;
use super::{BlobError, Hash};

/// The most files.
const MAX_FILES: usize = 32;
/// The most bytes.
const MAX_BYTES: u64 = 512 << 20;

pub(super) struct Quarantine(PathBuf);

impl Quarantine {
    pub(super) fn new(folder: PathBuf) -> Self {
        Self(folder)
    }

    pub(super) fn folder(&self) -> &Path {
        &self.0
    }

    /// Moves the file at `from` here. False if it does not exist any more.
    pub(super) fn take(&self, hash: &Hash, from: &Path) -> Result<bool, BlobError> {
        match std::fs::rename(from, self.0.join(hash.to_string())) {
            Ok(()) => {}
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(false),
            Err(error) => return Err(io_error("quarantine", from)(error)),
        }
        if let Err(error) = self.shrink(MAX_FILES, MAX_BYTES) {
            tracing::warn!(%error, "cannot remove old files from the quarantine");
        }
        Ok(true)
    }

    fn shrink(&self, files: usize, bytes: u64) -> std::io::Result<()> {
        let mut kept = Vec::new();
        for entry in std::fs::read_dir(&self.0)? {
            let entry = entry?;
            let metadata = entry.metadata()?;
            // The time of the last rename (ctime), not of the last write (mtime).
            kept.push(((metadata.ctime(), metadata.ctime_nsec()), entry.path(), metadata.len()));
        }
        kept.sort();
        let mut total: u64 = kept.iter().map(|(.., length)| length).sum();
        let mut count = kept.len();
        for (_, path, length) in kept {
            if count <= files && total <= bytes {
                break;
            }
            std::fs::remove_file(&path)?;
            count -= 1;
            total -= length;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]

    use super::*;

    /// Waits until new files get a later ctime than `path`. Timestamps of file systems are coarse.
    fn wait_for_later_ctime(path: &Path, probe: &Path) {
        let ctime = |path: &Path| {
            let metadata = std::fs::metadata(path).unwrap();
            (metadata.ctime(), metadata.ctime_nsec())
        };
        loop {
            std::fs::write(probe, b"now").unwrap();
            let now = ctime(probe);
            std::fs::remove_file(probe).unwrap();
            if now > ctime(path) {
                return;
            }
            std::thread::yield_now();
        }
    }

    #[test]
    fn the_oldest_files_are_removed_first() {
        let folder = tempfile::tempdir().unwrap();
        let quarantine = Quarantine::new(folder.path().join("corrupt"));
        std::fs::create_dir(quarantine.folder()).unwrap();
        let hashes: Vec<Hash> = (0..3u8).map(|number| Hash::of(&[number])).collect();
        for hash in &hashes {
            let from = folder.path().join("damaged");
            std::fs::write(&from, [0; 10]).unwrap();
            assert!(quarantine.take(hash, &from).unwrap());
            assert!(!quarantine.take(hash, &from).unwrap());
            wait_for_later_ctime(&quarantine.folder().join(hash.to_string()), &folder.path().join("probe"));
        }
        let kept = |hash: &Hash| quarantine.folder().join(hash.to_string()).exists();
        quarantine.shrink(2, 100).unwrap();
        assert_eq!(hashes.iter().map(kept).collect::<Vec<_>>(), [false, true, true]);
        quarantine.shrink(2, 19).unwrap();
        assert_eq!(hashes.iter().map(kept).collect::<Vec<_>>(), [false, false, true]);
    }
}

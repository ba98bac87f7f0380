//! Where damaged files go: out of service, but kept for whoever wants to know why.
//!
//! The folder is bounded in number and bytes, for a disk that dies damages many files; the oldest go first.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::{BlobError, Hash, told};

/// The most files that are kept.
const FILES: usize = 32;
/// The most bytes that are kept.
const BYTES: u64 = 512 << 20;

pub(super) struct Quarantine(PathBuf);

impl Quarantine {
    pub(super) fn new(folder: PathBuf) -> Self {
        Self(folder)
    }

    pub(super) fn folder(&self) -> &Path {
        &self.0
    }

    /// Moves the file at `from` in here; false when it is gone already.
    pub(super) fn take(&self, hash: &Hash, from: &Path) -> Result<bool, BlobError> {
        match std::fs::rename(from, self.0.join(hash.to_string())) {
            Ok(()) => {}
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(false),
            Err(error) => return Err(told("set aside", from)(error)),
        }
        if let Err(error) = self.shrink(FILES, BYTES) {
            tracing::warn!(%error, "the folder of damaged files cannot be kept small");
        }
        Ok(true)
    }

    fn shrink(&self, files: usize, bytes: u64) -> std::io::Result<()> {
        let mut kept = Vec::new();
        for entry in std::fs::read_dir(&self.0)? {
            let entry = entry?;
            let about = entry.metadata()?;
            // When it was set aside: the change of its name, not of its bytes.
            kept.push(((about.ctime(), about.ctime_nsec()), entry.path(), about.len()));
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

    /// Returns when a change of a file's name is noted with a later time than that of `path`. Times on a disk are coarse.
    fn wait_for_a_later_time(path: &Path, probe: &Path) {
        let noted = |path: &Path| {
            let about = std::fs::metadata(path).unwrap();
            (about.ctime(), about.ctime_nsec())
        };
        loop {
            std::fs::write(probe, b"now").unwrap();
            let now = noted(probe);
            std::fs::remove_file(probe).unwrap();
            if now > noted(path) {
                return;
            }
            std::thread::yield_now();
        }
    }

    #[test]
    fn the_oldest_go_when_there_are_too_many_or_too_much() {
        let folder = tempfile::tempdir().unwrap();
        let quarantine = Quarantine::new(folder.path().join("corrupt"));
        std::fs::create_dir(quarantine.folder()).unwrap();
        let hashes: Vec<Hash> = (0..3u8).map(|number| Hash::of(&[number])).collect();
        for hash in &hashes {
            let from = folder.path().join("damaged");
            std::fs::write(&from, [0; 10]).unwrap();
            assert!(quarantine.take(hash, &from).unwrap());
            assert!(!quarantine.take(hash, &from).unwrap());
            wait_for_a_later_time(&quarantine.folder().join(hash.to_string()), &folder.path().join("probe"));
        }
        let kept = |hash: &Hash| quarantine.folder().join(hash.to_string()).exists();
        quarantine.shrink(2, 100).unwrap();
        assert_eq!(hashes.iter().map(kept).collect::<Vec<_>>(), [false, true, true]);
        quarantine.shrink(2, 19).unwrap();
        assert_eq!(hashes.iter().map(kept).collect::<Vec<_>>(), [false, false, true]);
    }
}

//! The temporary folder of a worker.
//!
//! A killed worker leaves its folder behind, and the next worker that starts on this machine removes it. A folder is in use
//! while a process holds the lock of the file in it.

use std::fs::{self, File};
use std::io;
use std::path::Path;

use tempfile::TempDir;

/// The prefix of the folders' names.
const PREFIX: &str = "quartet-worker-";
/// The file whose lock marks the folder as used.
const LOCK: &str = "lock";

/// A folder that is removed on drop.
pub(crate) struct Scratch {
    folder: TempDir,
    /// Held until the folder is removed.
    _lock: File,
}

impl Scratch {
    /// Creates a folder in `parent`, and removes unused ones there.
    pub(crate) fn open(parent: &Path) -> io::Result<Self> {
        remove_unused(parent);
        let folder = tempfile::Builder::new().prefix(PREFIX).tempdir_in(parent)?;
        let lock = File::create(folder.path().join(LOCK))?;
        lock.lock()?;
        Ok(Self { folder, _lock: lock })
    }

    /// A folder for one song, removed on drop.
    pub(crate) fn for_song(&self) -> io::Result<TempDir> {
        tempfile::tempdir_in(self.folder.path())
    }
}

fn remove_unused(parent: &Path) {
    let Ok(entries) = fs::read_dir(parent) else { return };
    for entry in entries.flatten() {
        let ours = entry.file_name().to_str().is_some_and(|name| name.starts_with(PREFIX));
        // A folder without a lock file is being created, or belongs to another user.
        let Some(lock) = Some(entry.path().join(LOCK)).filter(|_| ours).and_then(|lock| File::open(lock).ok()) else {
            continue;
        };
        if lock.try_lock().is_ok()
            && let Err(error) = fs::remove_dir_all(entry.path())
        {
            tracing::warn!(%error, path = %entry.path().display(), "cannot remove the folder of a killed worker");
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn unused_folders_are_removed_and_used_ones_stay() {
        let within = TempDir::new().unwrap();
        let left = within.path().join("quartet-worker-left");
        fs::create_dir(&left).unwrap();
        fs::write(left.join(LOCK), "").unwrap();
        fs::write(left.join("song"), "music").unwrap();
        let others = within.path().join("other-program");
        fs::create_dir(&others).unwrap();
        fs::write(others.join(LOCK), "").unwrap();

        let first = Scratch::open(within.path()).unwrap();
        assert!(!left.exists() && others.exists());
        let song = first.for_song().unwrap();
        let second = Scratch::open(within.path()).unwrap();
        assert!(song.path().exists());
        drop((song, first, second));
        assert_eq!(fs::read_dir(within.path()).unwrap().count(), 1);
    }
}

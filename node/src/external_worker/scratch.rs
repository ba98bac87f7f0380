//! The folder in which a worker keeps the song at hand.
//!
//! A worker that is killed leaves it behind, and the next one to start on this machine removes it: a folder is in use as
//! long as somebody holds the lock on the file in it.

use std::fs::{self, File};
use std::io;
use std::path::Path;

use tempfile::TempDir;

/// What the folders' names begin with.
const PREFIX: &str = "quartet-worker-";
/// The file whose lock says that the folder is in use.
const LOCK: &str = "lock";

/// A folder that goes with this value.
pub(crate) struct Scratch {
    folder: TempDir,
    /// Held as long as the folder is.
    _lock: File,
}

impl Scratch {
    /// Makes a folder in `within`, and removes those there that nobody uses any more.
    pub(crate) fn open(within: &Path) -> io::Result<Self> {
        sweep(within);
        let folder = tempfile::Builder::new().prefix(PREFIX).tempdir_in(within)?;
        let lock = File::create(folder.path().join(LOCK))?;
        lock.lock()?;
        Ok(Self { folder, _lock: lock })
    }

    /// A folder for one song, which goes with the value.
    pub(crate) fn for_song(&self) -> io::Result<TempDir> {
        tempfile::tempdir_in(self.folder.path())
    }
}

fn sweep(within: &Path) {
    let Ok(entries) = fs::read_dir(within) else { return };
    for entry in entries.flatten() {
        let ours = entry.file_name().to_str().is_some_and(|name| name.starts_with(PREFIX));
        // One without a lock is being made just now, or another user's.
        let Some(lock) = Some(entry.path().join(LOCK)).filter(|_| ours).and_then(|lock| File::open(lock).ok()) else {
            continue;
        };
        if lock.try_lock().is_ok()
            && let Err(error) = fs::remove_dir_all(entry.path())
        {
            tracing::warn!(%error, path = %entry.path().display(), "what a killed worker left cannot be removed");
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn what_a_killed_worker_left_goes_and_what_is_in_use_stays() {
        let within = TempDir::new().unwrap();
        let left = within.path().join("quartet-worker-left");
        fs::create_dir(&left).unwrap();
        fs::write(left.join(LOCK), "").unwrap();
        fs::write(left.join("song"), "music").unwrap();
        let others = within.path().join("somebody-elses");
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

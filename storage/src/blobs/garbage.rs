//! Removal of blobs that nothing refers to.
//!
//! A command that refers to a new blob commits some time after the blob is stored, so a blob without a reference may
//! still be needed. Storing and confirming a blob therefore keep it for a grace period.
//!
//! Ages are measured with the monotonic clock of this process, so a jump of the system clock removes nothing too early.
//! Blobs that were here when the process started count as confirmed at that time.

use std::collections::{HashMap, HashSet};
use std::io;
use std::time::{Duration, Instant};

use super::error::io_error;
use super::{BlobError, Blobs, Hash};

impl Blobs {
    /// Marks the blob as needed: [`Blobs::collect_garbage`] keeps it for the grace period. False if it is not here.
    pub fn confirm(&self, hash: &Hash) -> bool {
        let _lock = self.lock(hash);
        let here = self.contains(hash);
        if here {
            self.0.confirmed.lock().insert(*hash, Instant::now());
        }
        here
    }

    /// Removes blobs that have had no reference for `grace`, and were neither stored nor confirmed for as long. `keep`
    /// holds all references, and `seen` is a time before they were read. Returns how many blobs were removed.
    ///
    /// A blob is removed only if an earlier call has seen it without a reference too, `grace` ago. Its last
    /// confirmation alone does not suffice: while the cluster had no majority, a command that refers to the blob may
    /// have waited for longer than `grace`.
    pub fn collect_garbage(&self, keep: &HashSet<Hash>, seen: Instant, grace: Duration) -> Result<usize, BlobError> {
        let Some(since) = seen.checked_sub(grace) else {
            return Ok(0);
        };
        let mut unreferenced = self.0.unreferenced.lock();
        let mut remaining = HashMap::new();
        let mut removed = 0;
        for hash in self.names()?.into_iter().filter(|hash| !keep.contains(hash)) {
            let first = unreferenced.get(&hash).copied().unwrap_or(seen);
            if first <= since && self.remove_unconfirmed(&hash, since)? {
                removed += 1;
            } else {
                remaining.insert(hash, first);
            }
        }
        *unreferenced = remaining;
        // Blobs without an entry count as confirmed at the start of the process, which is old enough as well.
        self.0.confirmed.lock().retain(|_, at| *at >= since);
        Ok(removed)
    }

    /// Removes the blob if it was neither stored nor confirmed since `since`. Returns whether it was removed.
    pub fn remove_unconfirmed(&self, hash: &Hash, since: Instant) -> Result<bool, BlobError> {
        let _lock = self.lock(hash);
        let last = self.0.confirmed.lock().get(hash).copied().unwrap_or(self.0.opened);
        if last >= since { Ok(false) } else { self.remove_locked(hash).map(|()| true) }
    }

    /// Removes the blob. Does nothing if it is not here.
    pub fn remove(&self, hash: &Hash) -> Result<(), BlobError> {
        let _lock = self.lock(hash);
        self.remove_locked(hash)
    }

    fn remove_locked(&self, hash: &Hash) -> Result<(), BlobError> {
        // The bytes are removed first: a leftover manifest is harmless, but a blob must have one.
        if let Ok(length) = self.size(hash) {
            let path = self.path(hash);
            std::fs::remove_file(&path).map_err(io_error("remove", &path))?;
            self.0.space.subtract(length);
        }
        self.remove_manifest(hash)
    }

    pub(super) fn remove_manifest(&self, hash: &Hash) -> Result<(), BlobError> {
        let path = self.manifest_path(hash);
        match std::fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(io_error("remove", &path)(error)),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use crate::blobs::testing::{open, put};

    use super::*;

    const NOTHING: [Hash; 0] = [];

    fn collect(blobs: &Blobs, keep: &[Hash], seen: Instant) -> usize {
        blobs.collect_garbage(&keep.iter().copied().collect(), seen, Duration::ZERO).unwrap()
    }

    #[tokio::test]
    async fn a_confirmed_blob_is_kept_and_an_old_one_removed() {
        let folder = tempfile::tempdir().unwrap();
        let blobs = open(&folder);
        let (wanted, old) = (put(&blobs, b"wanted").await, put(&blobs, b"old").await);
        // Both songs are deleted. After the collection started, the first one is uploaded again.
        let began = Instant::now();
        assert!(blobs.confirm(&wanted));
        assert_eq!(collect(&blobs, &NOTHING, began), 1);
        assert!(blobs.contains(&wanted) && !blobs.contains(&old));
        assert!(!blobs.confirm(&old));
        // Storing it again confirms it as well.
        let began = Instant::now();
        put(&blobs, b"wanted").await;
        assert_eq!(collect(&blobs, &NOTHING, began), 0);
        assert_eq!(collect(&blobs, &NOTHING, Instant::now()), 1);
    }

    #[tokio::test]
    async fn blobs_of_an_earlier_process_are_as_old_as_this_one() {
        let folder = tempfile::tempdir().unwrap();
        let hash = put(&open(&folder), b"before").await;
        let before = Instant::now();
        let blobs = open(&folder);
        assert_eq!(collect(&blobs, &NOTHING, before), 0);
        assert_eq!(collect(&blobs, &[hash], Instant::now()), 0);
        assert_eq!(collect(&blobs, &NOTHING, Instant::now()), 1);
    }

    #[tokio::test]
    async fn a_blob_is_removed_after_the_whole_grace_period_without_a_reference() {
        let folder = tempfile::tempdir().unwrap();
        let blobs = open(&folder);
        let hash = put(&blobs, b"a song").await;
        let grace = Duration::from_secs(60);
        let collect = |keep: &[Hash], minute: u32| {
            let seen = Instant::now() + Duration::from_secs(3600) + grace * minute;
            blobs.collect_garbage(&keep.iter().copied().collect(), seen, grace).unwrap()
        };
        // It was stored an hour ago. A song that refers to it is deleted, added, and deleted again.
        assert_eq!(collect(&[hash], 0), 0);
        assert_eq!(collect(&NOTHING, 1), 0);
        assert_eq!(collect(&[hash], 2), 0);
        assert_eq!(collect(&NOTHING, 3), 0);
        assert_eq!(collect(&NOTHING, 4), 1);
    }
}

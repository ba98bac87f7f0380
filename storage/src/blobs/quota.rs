//! How much space blobs may use: the free space of the disk except for a reserve, and optionally a quota.
//!
//! The reserve is for the database, which must always be able to write the log, the vote and the state. Writers of
//! blobs stop before they use it, so a node with a full disk rejects uploads but still votes.
//!
//! Invariant: a writer holds a [`Claim`] on the bytes of its file from before the first byte until after the last one.
//! So two files do not both start where only one fits.
//!
//! The usage is counted as blobs come and go, because listing all files for each report would be slow. A regular
//! [`Blobs::recount`] corrects it after changes by hand.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::Mutex;

use super::error::io_error;
use super::{BlobError, Blobs};

/// How many bytes a file of unknown length claims at a time.
const STEP_BYTES: u64 = 4 << 20;

/// The limits of one node.
#[derive(Debug, Clone, Copy, Default)]
pub struct Quota {
    /// Bytes of the disk that blobs leave free.
    pub reserve_bytes: u64,
    /// The most bytes of blobs. `None` means as many as the disk holds.
    pub max_bytes: Option<u64>,
}

/// The blobs that a node holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Usage {
    /// The number of blobs.
    pub files: u64,
    /// The sum of their lengths in bytes.
    pub bytes: u64,
}

#[derive(Default)]
struct Ledger {
    usage: Usage,
    /// The claimed bytes of all files that are being written.
    claimed: u64,
    /// The part of `claimed` that is not on disk yet.
    unwritten: u64,
    /// How often `usage` has changed.
    changes: u64,
}

/// Accounts for the space of blobs.
pub(super) struct Space {
    folder: PathBuf,
    quota: Quota,
    ledger: Mutex<Ledger>,
}

impl Space {
    pub(super) fn new(folder: &Path, quota: Quota) -> Arc<Self> {
        Arc::new(Self { folder: folder.to_owned(), quota, ledger: Mutex::default() })
    }

    /// Counts a new blob of `bytes`.
    pub(super) fn add(&self, bytes: u64) {
        let mut ledger = self.ledger.lock();
        ledger.usage.files += 1;
        ledger.usage.bytes += bytes;
        ledger.changes += 1;
    }

    /// Counts a removed blob of `bytes`.
    pub(super) fn subtract(&self, bytes: u64) {
        let mut ledger = self.ledger.lock();
        ledger.usage.files = ledger.usage.files.saturating_sub(1);
        ledger.usage.bytes = ledger.usage.bytes.saturating_sub(bytes);
        ledger.changes += 1;
    }

    /// Sets the usage to the result of `count`, unless a blob was added or removed meanwhile.
    fn recount(&self, count: impl FnOnce() -> Result<Usage, BlobError>) -> Result<(), BlobError> {
        let before = self.ledger.lock().changes;
        let usage = count()?;
        let mut ledger = self.ledger.lock();
        if ledger.changes == before {
            ledger.usage = usage;
        }
        Ok(())
    }

    fn free_bytes(&self) -> Result<u64, BlobError> {
        self.unclaimed_bytes(&self.ledger.lock())
    }

    fn unclaimed_bytes(&self, ledger: &Ledger) -> Result<u64, BlobError> {
        let disk = rustix::fs::statvfs(&self.folder)
            .map_err(|error| io_error("measure the free space of", &self.folder)(error.into()))?;
        let free = disk.f_bavail.saturating_mul(disk.f_frsize);
        let free = free.saturating_sub(self.quota.reserve_bytes).saturating_sub(ledger.unwritten);
        let max = self.quota.max_bytes.unwrap_or(u64::MAX);
        Ok(free.min(max.saturating_sub(ledger.usage.bytes).saturating_sub(ledger.claimed)))
    }

    fn is_nearly_full(&self) -> Result<bool, BlobError> {
        let reserve = self.quota.reserve_bytes;
        let margin = self.quota.max_bytes.map_or(reserve, |max| reserve.min(max / 8));
        Ok(self.free_bytes()? < margin)
    }

    /// Claims space for a file of `bytes`.
    pub(super) fn claim(self: &Arc<Self>, bytes: u64) -> Result<Claim, BlobError> {
        let mut claim = Claim { space: Arc::clone(self), bytes: 0, written: 0 };
        claim.extend(bytes)?;
        Ok(claim)
    }
}

/// Space for one file that is being written. Dropping it releases the space.
pub(super) struct Claim {
    space: Arc<Space>,
    bytes: u64,
    written: u64,
}

impl Claim {
    fn extend(&mut self, more: u64) -> Result<(), BlobError> {
        let mut ledger = self.space.ledger.lock();
        let free = self.space.unclaimed_bytes(&ledger)?;
        if free == 0 || more > free {
            return Err(BlobError::Full);
        }
        ledger.claimed += more;
        ledger.unwritten += more;
        self.bytes += more;
        Ok(())
    }

    /// Extends the claim to a file of `length` bytes. Call this before the file grows to that length.
    pub(super) fn cover(&mut self, length: u64) -> Result<(), BlobError> {
        match length.checked_sub(self.bytes) {
            None | Some(0) => Ok(()),
            // Where a whole step does not fit, the bytes that are needed may.
            Some(more) => self.extend(more.max(STEP_BYTES)).or_else(|_| self.extend(more)),
        }
    }

    /// Records that the file has `length` bytes on disk.
    pub(super) fn wrote(&mut self, length: u64) {
        let more = length.saturating_sub(self.written).min(self.bytes - self.written);
        self.written += more;
        let mut ledger = self.space.ledger.lock();
        ledger.unwritten = ledger.unwritten.saturating_sub(more);
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        let mut ledger = self.space.ledger.lock();
        ledger.claimed = ledger.claimed.saturating_sub(self.bytes);
        ledger.unwritten = ledger.unwritten.saturating_sub(self.bytes - self.written);
    }
}

impl Blobs {
    /// The number and the bytes of the blobs here.
    pub fn usage(&self) -> Usage {
        self.0.space.ledger.lock().usage
    }

    /// The quota in bytes, if the node has one.
    pub fn max_bytes(&self) -> Option<u64> {
        self.0.space.quota.max_bytes
    }

    /// The bytes that this node can still store: the free space of the disk without the reserve, within the quota.
    pub fn free_bytes(&self) -> Result<u64, BlobError> {
        self.0.space.free_bytes()
    }

    /// Whether so little space is free that this node should drop copies that other nodes hold.
    pub fn is_nearly_full(&self) -> Result<bool, BlobError> {
        self.0.space.is_nearly_full()
    }

    /// Fails with [`BlobError::Full`] if a file of `bytes` does not fit now.
    pub fn check_free(&self, bytes: u64) -> Result<(), BlobError> {
        self.0.space.claim(bytes).map(drop)
    }

    /// Counts all blobs on disk, which corrects [`Blobs::usage`] after changes by hand.
    pub fn recount(&self) -> Result<(), BlobError> {
        self.0.space.recount(|| {
            let mut usage = Usage::default();
            for hash in self.names()? {
                // A blob may be removed while this counts.
                if let Ok(size) = self.size(&hash) {
                    usage.files += 1;
                    usage.bytes += size;
                }
            }
            Ok(usage)
        })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]

    use crate::blobs::testing::{open, put, staged_files};

    use super::*;

    #[test]
    fn claims_add_up_and_are_released() {
        let folder = tempfile::tempdir().unwrap();
        let space = Space::new(folder.path(), Quota { reserve_bytes: 0, max_bytes: Some(100) });
        space.add(30);
        let mut first = space.claim(50).unwrap();
        assert_eq!(space.free_bytes().unwrap(), 20);
        assert!(matches!(space.claim(21), Err(BlobError::Full)));
        // A file of unknown length claims whole steps, or what is free if a step does not fit.
        let mut second = space.claim(0).unwrap();
        second.cover(15).unwrap();
        assert!(matches!(second.cover(21), Err(BlobError::Full)));
        first.wrote(50);
        drop(first);
        assert_eq!(space.free_bytes().unwrap(), 55);
        drop(second);
        space.subtract(30);
        assert_eq!((space.free_bytes().unwrap(), space.ledger.lock().usage), (100, Usage::default()));
    }

    #[test]
    fn the_reserve_cannot_be_claimed() {
        let folder = tempfile::tempdir().unwrap();
        let space = Space::new(folder.path(), Quota { reserve_bytes: u64::MAX, max_bytes: None });
        assert_eq!(space.free_bytes().unwrap(), 0);
        assert!(matches!(space.claim(0), Err(BlobError::Full)));
        assert!(space.is_nearly_full().unwrap());
    }

    #[test]
    fn a_recount_during_changes_is_discarded() {
        let folder = tempfile::tempdir().unwrap();
        let space = Space::new(folder.path(), Quota::default());
        space.add(7);
        let counted = Usage { files: 9, bytes: 99 };
        space
            .recount(|| {
                space.add(1);
                Ok(counted)
            })
            .unwrap();
        assert_eq!(space.ledger.lock().usage, Usage { files: 2, bytes: 8 });
        space.recount(|| Ok(counted)).unwrap();
        assert_eq!(space.ledger.lock().usage, counted);
    }

    #[tokio::test]
    async fn usage_follows_stored_and_removed_blobs() {
        let folder = tempfile::tempdir().unwrap();
        let blobs = open(&folder);
        let (first, second) = (put(&blobs, b"first").await, put(&blobs, b"the second").await);
        put(&blobs, b"first").await;
        assert_eq!(blobs.usage(), Usage { files: 2, bytes: 15 });
        blobs.remove(&first).unwrap();
        blobs.remove(&first).unwrap();
        assert_eq!(blobs.usage(), Usage { files: 1, bytes: 10 });
        assert_eq!(open(&folder).usage(), blobs.usage());
        // The next count corrects the usage after a change by hand.
        std::fs::remove_file(blobs.path(&second)).unwrap();
        blobs.recount().unwrap();
        assert_eq!(blobs.usage(), Usage::default());
    }

    #[tokio::test]
    async fn the_quota_limits_stored_and_staged_bytes() {
        let folder = tempfile::tempdir().unwrap();
        let blobs = Blobs::open(folder.path(), Quota { reserve_bytes: 0, max_bytes: Some(1000) }).unwrap();
        let hash = put(&blobs, &[1; 600]).await;
        assert_eq!(blobs.free_bytes().unwrap(), 400);
        assert!(matches!(blobs.stage(401).await, Err(BlobError::Full)));
        let mut staged = blobs.stage(300).await.unwrap();
        assert!(matches!(blobs.check_free(200), Err(BlobError::Full)));
        staged.write(&[2; 300]).await.unwrap();
        // A file may grow beyond its announced length while it fits.
        staged.write(&[2; 100]).await.unwrap();
        assert!(matches!(staged.write(&[2; 1]).await, Err(BlobError::Full)));
        drop(staged);
        assert_eq!((staged_files(&folder), blobs.free_bytes().unwrap()), (0, 400));
        blobs.remove(&hash).unwrap();
        assert_eq!(blobs.free_bytes().unwrap(), 1000);
        let source = folder.path().join("source");
        std::fs::write(&source, [3; 1001]).unwrap();
        assert!(matches!(blobs.import(&source).await, Err(BlobError::Full)));
        assert_eq!(staged_files(&folder), 0);
    }
}

//! How much this node may still take: the disk's free space beyond a reserve, and a quota of its own.
//!
//! The reserve is for what must never be refused: the log, the vote and the state. Files stop before it begins, so a
//! full disk takes no uploads and still votes. Whoever writes a file holds a [`Claim`] on its bytes from before the
//! first to after the last, so that two who each fit do not both begin where only one does.
//!
//! The counts of what is usage are kept as files come and go, for a report that looks at every file would be slow.
//! Somebody may have changed the folder by hand, so a [`Space::recount`] now and then puts them right.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::{BlobError, told};

/// Bytes that are claimed at a time by a file whose length nobody has told.
const STEP: u64 = 4 << 20;

/// What a node allows itself.
#[derive(Debug, Clone, Copy, Default)]
pub struct Quota {
    /// Bytes of the disk that files leave free.
    pub reserve_bytes: u64,
    /// The most bytes of files; none is as many as the disk takes.
    pub max_bytes: Option<u64>,
}

/// What a node holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Usage {
    /// How many files.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
}

#[derive(Default)]
struct Ledger {
    usage: Usage,
    /// Bytes that files on their way will have.
    claimed: u64,
    /// Those of them that are not on the disk yet.
    unwritten: u64,
    /// How often `usage` has changed.
    changes: u64,
}

pub(super) struct Space {
    folder: PathBuf,
    quota: Quota,
    ledger: Mutex<Ledger>,
}

impl Space {
    pub(super) fn new(folder: &Path, quota: Quota) -> Arc<Self> {
        Arc::new(Self { folder: folder.to_owned(), quota, ledger: Mutex::default() })
    }

    fn ledger(&self) -> MutexGuard<'_, Ledger> {
        self.ledger.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn usage(&self) -> Usage {
        self.ledger().usage
    }

    pub(super) fn max_bytes(&self) -> Option<u64> {
        self.quota.max_bytes
    }

    pub(super) fn add(&self, bytes: u64) {
        let mut ledger = self.ledger();
        ledger.usage.files += 1;
        ledger.usage.bytes += bytes;
        ledger.changes += 1;
    }

    pub(super) fn subtract(&self, bytes: u64) {
        let mut ledger = self.ledger();
        ledger.usage.files = ledger.usage.files.saturating_sub(1);
        ledger.usage.bytes = ledger.usage.bytes.saturating_sub(bytes);
        ledger.changes += 1;
    }

    /// Sets the counts to what `count` finds, unless a file came or went meanwhile.
    pub(super) fn recount(&self, count: impl FnOnce() -> Result<Usage, BlobError>) -> Result<(), BlobError> {
        let before = self.ledger().changes;
        let usage = count()?;
        let mut ledger = self.ledger();
        if ledger.changes == before {
            ledger.usage = usage;
        }
        Ok(())
    }

    /// Bytes that can still be claimed.
    pub(super) fn free_bytes(&self) -> Result<u64, BlobError> {
        self.free_beside(&self.ledger())
    }

    fn free_beside(&self, ledger: &Ledger) -> Result<u64, BlobError> {
        let disk = rustix::fs::statvfs(&self.folder)
            .map_err(|error| told("measure the disk of", &self.folder)(error.into()))?;
        let free = disk.f_bavail.saturating_mul(disk.f_frsize);
        let free = free.saturating_sub(self.quota.reserve_bytes).saturating_sub(ledger.unwritten);
        let quota = self.quota.max_bytes.unwrap_or(u64::MAX);
        Ok(free.min(quota.saturating_sub(ledger.usage.bytes).saturating_sub(ledger.claimed)))
    }

    /// Whether so little is left that what others hold anyway should make space.
    pub(super) fn is_nearly_full(&self) -> Result<bool, BlobError> {
        let margin =
            self.quota.max_bytes.map_or(self.quota.reserve_bytes, |quota| self.quota.reserve_bytes.min(quota / 8));
        Ok(self.free_bytes()? < margin)
    }

    /// Claims space for a file of `bytes`.
    pub(super) fn claim(self: &Arc<Self>, bytes: u64) -> Result<Claim, BlobError> {
        let mut claim = Claim { space: Arc::clone(self), bytes: 0, written: 0 };
        claim.extend(bytes)?;
        Ok(claim)
    }
}

/// Space for one file on its way; given back when it is dropped.
pub(super) struct Claim {
    space: Arc<Space>,
    bytes: u64,
    written: u64,
}

impl Claim {
    fn extend(&mut self, more: u64) -> Result<(), BlobError> {
        let mut ledger = self.space.ledger();
        let left = self.space.free_beside(&ledger)?;
        if left == 0 || more > left {
            return Err(BlobError::Full);
        }
        ledger.claimed += more;
        ledger.unwritten += more;
        self.bytes += more;
        Ok(())
    }

    /// Sees that the claim covers a file that grows to `length`, before it does.
    pub(super) fn cover(&mut self, length: u64) -> Result<(), BlobError> {
        match length.checked_sub(self.bytes) {
            None | Some(0) => Ok(()),
            // As much as is needed if a whole step does not fit.
            Some(more) => self.extend(more.max(STEP)).or_else(|_| self.extend(more)),
        }
    }

    /// Notes how much of the file is on the disk.
    pub(super) fn wrote(&mut self, length: u64) {
        let more = length.saturating_sub(self.written).min(self.bytes - self.written);
        self.written += more;
        let mut ledger = self.space.ledger();
        ledger.unwritten = ledger.unwritten.saturating_sub(more);
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        let mut ledger = self.space.ledger();
        ledger.claimed = ledger.claimed.saturating_sub(self.bytes);
        ledger.unwritten = ledger.unwritten.saturating_sub(self.bytes - self.written);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]

    use super::*;

    #[test]
    fn claims_add_up_and_are_given_back() {
        let folder = tempfile::tempdir().unwrap();
        let space = Space::new(folder.path(), Quota { reserve_bytes: 0, max_bytes: Some(100) });
        space.add(30);
        let mut first = space.claim(50).unwrap();
        assert_eq!(space.free_bytes().unwrap(), 20);
        assert!(matches!(space.claim(21), Err(BlobError::Full)));
        // A file whose length was not told claims in steps, and what is there when a step is not.
        let mut second = space.claim(0).unwrap();
        second.cover(15).unwrap();
        assert!(matches!(second.cover(21), Err(BlobError::Full)));
        first.wrote(50);
        drop(first);
        assert_eq!(space.free_bytes().unwrap(), 55);
        drop(second);
        space.subtract(30);
        assert_eq!((space.free_bytes().unwrap(), space.usage()), (100, Usage::default()));
    }

    #[test]
    fn the_reserve_is_nobodys() {
        let folder = tempfile::tempdir().unwrap();
        let space = Space::new(folder.path(), Quota { reserve_bytes: u64::MAX, max_bytes: None });
        assert_eq!(space.free_bytes().unwrap(), 0);
        assert!(matches!(space.claim(0), Err(BlobError::Full)));
        assert!(space.is_nearly_full().unwrap());
    }

    #[test]
    fn a_recount_gives_way_to_what_changes_meanwhile() {
        let folder = tempfile::tempdir().unwrap();
        let space = Space::new(folder.path(), Quota::default());
        space.add(7);
        let found = Usage { files: 9, bytes: 99 };
        space
            .recount(|| {
                space.add(1);
                Ok(found)
            })
            .unwrap();
        assert_eq!(space.usage(), Usage { files: 2, bytes: 8 });
        space.recount(|| Ok(found)).unwrap();
        assert_eq!(space.usage(), found);
    }
}

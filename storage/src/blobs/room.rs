//! How much this node may still take: the disk's free space beyond a reserve, and a quota of its own.
//!
//! The reserve is for what must never be refused: the log, the vote and the state. Files stop before it begins, so a
//! full disk takes no uploads and still votes. Whoever writes a file holds a [`Claim`] on its bytes from before the
//! first to after the last, so that two who each fit do not both begin where only one does.
//!
//! The counts of what is held are kept as files come and go, for a report that looks at every file would be slow.
//! Somebody may have changed the folder by hand, so a [`Room::recount`] now and then puts them right.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::{BlobError, told};

/// Bytes that are claimed at a time by a file whose length nobody has told.
const STEP: u64 = 4 << 20;

/// What a node allows itself.
#[derive(Debug, Clone, Copy, Default)]
pub struct Allowance {
    /// Bytes of the disk that files leave free.
    pub reserve: u64,
    /// The most bytes of files; none is as many as the disk takes.
    pub quota: Option<u64>,
}

/// What a node holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Held {
    /// How many files.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
}

#[derive(Default)]
struct Ledger {
    held: Held,
    /// Bytes that files on their way will have.
    claimed: u64,
    /// Those of them that are not on the disk yet.
    unwritten: u64,
    /// How often `held` has changed.
    changes: u64,
}

pub(super) struct Room {
    folder: PathBuf,
    allowance: Allowance,
    ledger: Mutex<Ledger>,
}

impl Room {
    pub(super) fn new(folder: &Path, allowance: Allowance) -> Arc<Self> {
        Arc::new(Self { folder: folder.to_owned(), allowance, ledger: Mutex::default() })
    }

    fn ledger(&self) -> MutexGuard<'_, Ledger> {
        self.ledger.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn held(&self) -> Held {
        self.ledger().held
    }

    pub(super) fn quota(&self) -> Option<u64> {
        self.allowance.quota
    }

    pub(super) fn came(&self, bytes: u64) {
        let mut ledger = self.ledger();
        ledger.held.files += 1;
        ledger.held.bytes += bytes;
        ledger.changes += 1;
    }

    pub(super) fn went(&self, bytes: u64) {
        let mut ledger = self.ledger();
        ledger.held.files = ledger.held.files.saturating_sub(1);
        ledger.held.bytes = ledger.held.bytes.saturating_sub(bytes);
        ledger.changes += 1;
    }

    /// Sets the counts to what `count` finds, unless a file came or went meanwhile.
    pub(super) fn recount(&self, count: impl FnOnce() -> Result<Held, BlobError>) -> Result<(), BlobError> {
        let before = self.ledger().changes;
        let held = count()?;
        let mut ledger = self.ledger();
        if ledger.changes == before {
            ledger.held = held;
        }
        Ok(())
    }

    /// Bytes that can still be claimed.
    pub(super) fn left(&self) -> Result<u64, BlobError> {
        self.left_beside(&self.ledger())
    }

    fn left_beside(&self, ledger: &Ledger) -> Result<u64, BlobError> {
        let disk = rustix::fs::statvfs(&self.folder)
            .map_err(|error| told("measure the disk of", &self.folder)(error.into()))?;
        let free = disk.f_bavail.saturating_mul(disk.f_frsize);
        let free = free.saturating_sub(self.allowance.reserve).saturating_sub(ledger.unwritten);
        let quota = self.allowance.quota.unwrap_or(u64::MAX);
        Ok(free.min(quota.saturating_sub(ledger.held.bytes).saturating_sub(ledger.claimed)))
    }

    /// Whether so little is left that what others hold anyway should make room.
    pub(super) fn is_tight(&self) -> Result<bool, BlobError> {
        let margin = self.allowance.quota.map_or(self.allowance.reserve, |quota| self.allowance.reserve.min(quota / 8));
        Ok(self.left()? < margin)
    }

    /// Claims room for a file of `bytes`.
    pub(super) fn claim(self: &Arc<Self>, bytes: u64) -> Result<Claim, BlobError> {
        let mut claim = Claim { room: Arc::clone(self), bytes: 0, written: 0 };
        claim.extend(bytes)?;
        Ok(claim)
    }
}

/// Room for one file on its way; given back when it is dropped.
pub(super) struct Claim {
    room: Arc<Room>,
    bytes: u64,
    written: u64,
}

impl Claim {
    fn extend(&mut self, more: u64) -> Result<(), BlobError> {
        let mut ledger = self.room.ledger();
        let left = self.room.left_beside(&ledger)?;
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
        let mut ledger = self.room.ledger();
        ledger.unwritten = ledger.unwritten.saturating_sub(more);
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        let mut ledger = self.room.ledger();
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
        let room = Room::new(folder.path(), Allowance { reserve: 0, quota: Some(100) });
        room.came(30);
        let mut first = room.claim(50).unwrap();
        assert_eq!(room.left().unwrap(), 20);
        assert!(matches!(room.claim(21), Err(BlobError::Full)));
        // A file whose length was not told claims in steps, and what is there when a step is not.
        let mut second = room.claim(0).unwrap();
        second.cover(15).unwrap();
        assert!(matches!(second.cover(21), Err(BlobError::Full)));
        first.wrote(50);
        drop(first);
        assert_eq!(room.left().unwrap(), 55);
        drop(second);
        room.went(30);
        assert_eq!((room.left().unwrap(), room.held()), (100, Held::default()));
    }

    #[test]
    fn the_reserve_is_nobodys() {
        let folder = tempfile::tempdir().unwrap();
        let room = Room::new(folder.path(), Allowance { reserve: u64::MAX, quota: None });
        assert_eq!(room.left().unwrap(), 0);
        assert!(matches!(room.claim(0), Err(BlobError::Full)));
        assert!(room.is_tight().unwrap());
    }

    #[test]
    fn a_recount_gives_way_to_what_changes_meanwhile() {
        let folder = tempfile::tempdir().unwrap();
        let room = Room::new(folder.path(), Allowance::default());
        room.came(7);
        let found = Held { files: 9, bytes: 99 };
        room.recount(|| {
            room.came(1);
            Ok(found)
        })
        .unwrap();
        assert_eq!(room.held(), Held { files: 2, bytes: 8 });
        room.recount(|| Ok(found)).unwrap();
        assert_eq!(room.held(), found);
    }
}

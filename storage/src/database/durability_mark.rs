//! How far the database is known to have been on the disk, noted outside of it.
//!
//! RocksDB takes whatever of its write-ahead log it cannot read for the end of what was written when the process died. Mostly
//! that is so. But a file that was damaged, cut off or removed later looks the same, and a node that starts
//! with less than it had has forgotten its vote and entries that it has confirmed to others. So after each sync the
//! number of the last write that it covered goes into a small file beside RocksDB's own, and a database that ends before
//! that number is not opened.
//!
//! The note itself is not synced, which would cost as much as what it speaks of: it is on its way to the disk only after
//! what it says is there, so one that is too old, or that a power failure took, proves less and never anything wrong.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use crate::blobs::Hash;

const FILE: &str = "SYNCED";
const CHECK: usize = 8;

/// The note.
pub(super) struct DurabilityMark {
    file: File,
    noted: Mutex<u64>,
}

impl DurabilityMark {
    /// Opens the note in the database's folder, and makes one that says nothing if there is none that can be read.
    pub(super) fn open(folder: &Path) -> io::Result<Self> {
        let file = File::options().read(true).write(true).create(true).truncate(false).open(folder.join(FILE))?;
        let mut bytes = [0; 8 + CHECK];
        let noted = match file.read_exact_at(&mut bytes, 0) {
            Ok(()) => read(&bytes),
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => None,
            Err(error) => return Err(error),
        };
        Ok(Self { file, noted: Mutex::new(noted.unwrap_or(0)) })
    }

    /// The number of a write that was on the disk, with all before it.
    pub(super) fn noted(&self) -> u64 {
        *self.noted.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes that the writes up to `number` are on the disk.
    pub(super) fn note(&self, number: u64) {
        let mut noted = self.noted.lock().unwrap_or_else(PoisonError::into_inner);
        if number <= *noted {
            return;
        }
        *noted = number;
        // An older note is no harm, and a disk that fails shows in the database itself.
        let _ = self.file.write_all_at(&written(number), 0);
    }
}

fn written(number: u64) -> [u8; 8 + CHECK] {
    let mut bytes = [0; 8 + CHECK];
    bytes[..8].copy_from_slice(&number.to_be_bytes());
    let hash = Hash::of(&number.to_be_bytes());
    bytes[8..].copy_from_slice(&hash.as_bytes()[..CHECK]);
    bytes
}

fn read(bytes: &[u8; 8 + CHECK]) -> Option<u64> {
    let number = u64::from_be_bytes(*bytes.first_chunk()?);
    (written(number) == *bytes).then_some(number)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn a_note_is_found_again_and_only_a_whole_one_counts() {
        let folder = tempfile::tempdir().unwrap();
        let synced = DurabilityMark::open(folder.path()).unwrap();
        assert_eq!(synced.noted(), 0);
        synced.note(258);
        synced.note(7);
        assert_eq!(DurabilityMark::open(folder.path()).unwrap().noted(), 258);
        synced.file.write_all_at(&[1], 0).unwrap();
        assert_eq!(DurabilityMark::open(folder.path()).unwrap().noted(), 0);
    }
}

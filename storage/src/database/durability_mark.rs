//! A file that records how much of the database was on disk.
//!
//! RocksDB treats the first unreadable entry of its write-ahead log as the end of what was written before the process
//! died. That is usually right. But a file that was damaged, truncated or deleted later looks the same, and a node that
//! starts with less than it had may lack its vote and entries that it confirmed to others. So after each sync, the
//! sequence number of the last synced write goes into this file, and a database that ends before that number does not
//! open.
//!
//! Invariant: the mark is never ahead of the disk, because it is written after the sync that it records. It is not
//! synced itself, since that would double the cost of a write. A mark that is old, or lost in a power failure, detects
//! less loss but never reports a loss that did not happen.
//!
//! The file has 16 bytes: the number (big-endian), then the first 8 bytes of its SHA-256.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

use parking_lot::Mutex;
use sha2::{Digest, Sha256};

const FILE: &str = "SYNCED";
const NUMBER_BYTES: usize = 8;
const CHECKSUM_BYTES: usize = 8;

type Encoded = [u8; NUMBER_BYTES + CHECKSUM_BYTES];

/// The open file, and the number in it.
pub(super) struct DurabilityMark {
    file: File,
    number: Mutex<u64>,
}

impl DurabilityMark {
    /// Opens the mark in the database's folder. If it is missing or invalid, the number is 0.
    pub(super) fn open(folder: &Path) -> io::Result<Self> {
        let file = File::options().read(true).write(true).create(true).truncate(false).open(folder.join(FILE))?;
        let mut bytes = Encoded::default();
        let number = match file.read_exact_at(&mut bytes, 0) {
            Ok(()) => decode(&bytes),
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => None,
            Err(error) => return Err(error),
        };
        Ok(Self { file, number: Mutex::new(number.unwrap_or(0)) })
    }

    /// The sequence number of a write that was on disk, and all earlier writes with it.
    pub(super) fn get(&self) -> u64 {
        *self.number.lock()
    }

    /// Records that all writes up to `number` are on disk.
    pub(super) fn advance(&self, number: u64) {
        let mut current = self.number.lock();
        if number <= *current {
            return;
        }
        *current = number;
        // An old mark is harmless. A failing disk causes errors of the database itself.
        let _ = self.file.write_all_at(&encode(number), 0);
    }
}

fn encode(number: u64) -> Encoded {
    let mut bytes = Encoded::default();
    let (head, checksum) = bytes.split_at_mut(NUMBER_BYTES);
    head.copy_from_slice(&number.to_be_bytes());
    checksum.copy_from_slice(&Sha256::digest(number.to_be_bytes())[..CHECKSUM_BYTES]);
    bytes
}

fn decode(bytes: &Encoded) -> Option<u64> {
    let number = u64::from_be_bytes(*bytes.first_chunk()?);
    (encode(number) == *bytes).then_some(number)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn a_mark_only_advances_and_an_invalid_one_counts_as_zero() {
        let folder = tempfile::tempdir().unwrap();
        let mark = DurabilityMark::open(folder.path()).unwrap();
        assert_eq!(mark.get(), 0);
        mark.advance(258);
        mark.advance(7);
        assert_eq!(DurabilityMark::open(folder.path()).unwrap().get(), 258);
        mark.file.write_all_at(&[1], 0).unwrap();
        assert_eq!(DurabilityMark::open(folder.path()).unwrap().get(), 0);
    }
}

//! The hashes of a blob's pieces.
//!
//! The SHA-256 of a blob verifies only the whole. The manifest beside each blob holds the SHA-256 of each piece of 1
//! MiB. So a node can verify a range before it serves it, and can continue a broken transfer at another node.

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::Hash;

/// The bytes of a piece. The last piece of a blob may be shorter.
pub const PIECE: u64 = 1 << 20;

/// A blob's length and the hashes of its pieces.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// The blob's length in bytes.
    pub length: u64,
    /// The hash of each piece.
    pub pieces: Vec<Hash>,
}

impl Manifest {
    /// The length of piece `index` in bytes; 0 after the last piece.
    pub fn piece_length(&self, index: usize) -> u64 {
        PIECE.min(self.length.saturating_sub(index as u64 * PIECE))
    }

    /// Whether the number of hashes matches the length.
    pub fn is_consistent(&self) -> bool {
        self.pieces.len() as u64 == self.length.div_ceil(PIECE)
    }
}

/// Hashes a blob that arrives in parts: the whole and each piece.
#[derive(Default)]
pub(super) struct Hasher {
    whole: Sha256,
    piece: Sha256,
    length: u64,
    pieces: Vec<Hash>,
}

impl Hasher {
    pub(super) fn update(&mut self, mut bytes: &[u8]) {
        self.whole.update(bytes);
        while !bytes.is_empty() {
            let missing = PIECE - self.length % PIECE;
            let (now, later) = bytes.split_at(bytes.len().min(usize::try_from(missing).unwrap_or(usize::MAX)));
            self.piece.update(now);
            self.length += now.len() as u64;
            if self.length.is_multiple_of(PIECE) {
                self.pieces.push(Hash::finish(std::mem::take(&mut self.piece)));
            }
            bytes = later;
        }
    }

    /// Adds a piece that has this hash. The piece must be complete, or the last one. Between pieces only: in the middle
    /// of a piece this returns false and adds nothing.
    pub(super) fn add_piece(&mut self, bytes: &[u8], hash: Hash) -> bool {
        let at_start = self.length.is_multiple_of(PIECE) && bytes.len() as u64 <= PIECE;
        if at_start {
            self.whole.update(bytes);
            self.length += bytes.len() as u64;
            self.pieces.push(hash);
        }
        at_start
    }

    pub(super) fn length(&self) -> u64 {
        self.length
    }

    /// The hash of the bytes so far.
    pub(super) fn so_far(&self) -> Hash {
        Hash::finish(self.whole.clone())
    }

    pub(super) fn finish(mut self) -> (Hash, Manifest) {
        if (self.pieces.len() as u64) < self.length.div_ceil(PIECE) {
            self.pieces.push(Hash::finish(self.piece));
        }
        (Hash::finish(self.whole), Manifest { length: self.length, pieces: self.pieces })
    }
}

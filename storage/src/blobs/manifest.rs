//! The hashes of a blob's pieces.
//!
//! SHA-256 of the whole verifies only the whole. The manifest beside each blob holds the SHA-256 of every piece of
//! 1 MiB, so that a range can be verified before it is served and a transfer can go on at another holder.

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::Hash;

/// Bytes in a piece; the last one may be shorter.
pub const PIECE: u64 = 1 << 20;

/// A blob's length and the hashes of its pieces.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// The blob's length in bytes.
    pub length: u64,
    /// One hash for each piece.
    pub pieces: Vec<Hash>,
}

impl Manifest {
    /// How long piece `index` is.
    pub fn piece_length(&self, index: usize) -> u64 {
        PIECE.min(self.length.saturating_sub(index as u64 * PIECE))
    }

    /// Whether the number of hashes fits the length.
    pub fn is_sound(&self) -> bool {
        self.pieces.len() as u64 == self.length.div_ceil(PIECE)
    }
}

/// Hashes a blob while it streams by: the whole and each piece.
#[derive(Default)]
pub(crate) struct Hasher {
    whole: Sha256,
    piece: Sha256,
    length: u64,
    pieces: Vec<Hash>,
}

impl Hasher {
    pub(crate) fn update(&mut self, mut bytes: &[u8]) {
        self.whole.update(bytes);
        while !bytes.is_empty() {
            let room = PIECE - self.length % PIECE;
            let (now, later) = bytes.split_at(bytes.len().min(usize::try_from(room).unwrap_or(usize::MAX)));
            self.piece.update(now);
            self.length += now.len() as u64;
            if self.length.is_multiple_of(PIECE) {
                self.pieces.push(Hash::finish(std::mem::take(&mut self.piece)));
            }
            bytes = later;
        }
    }

    /// Goes on with a whole piece, or the last one, whose hash was compared already. False, and nothing done, in the middle
    /// of a piece.
    pub(crate) fn add_piece(&mut self, bytes: &[u8], hash: Hash) -> bool {
        let between = self.length.is_multiple_of(PIECE) && bytes.len() as u64 <= PIECE;
        if between {
            self.whole.update(bytes);
            self.length += bytes.len() as u64;
            self.pieces.push(hash);
        }
        between
    }

    pub(crate) fn length(&self) -> u64 {
        self.length
    }

    /// The hash of all bytes so far.
    pub(crate) fn so_far(&self) -> Hash {
        Hash::finish(self.whole.clone())
    }

    pub(crate) fn finish(mut self) -> (Hash, Manifest) {
        if (self.pieces.len() as u64) < self.length.div_ceil(PIECE) {
            self.pieces.push(Hash::finish(self.piece));
        }
        (Hash::finish(self.whole), Manifest { length: self.length, pieces: self.pieces })
    }
}

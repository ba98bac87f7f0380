//! Snapshots: the whole state as one file, streamed in both directions and never whole in memory.
//!
//! The file is a sequence of pairs, each a key and a value with their lengths as big-endian `u32`, followed by an end
//! marker and the SHA-256 of everything before the hash. A file with a wrong hash is rejected before any of it is
//! installed.

use std::fs::File;
use std::io::{self, BufReader, BufWriter, Read, Write};
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};
use storage::database::Pair;

/// The most bytes in a key or a value; a longer one means a damaged file.
const MAX_LENGTH: u32 = 64 << 20;
const END: u32 = u32::MAX;

/// The file of a snapshot. A temporary file is removed when this value is dropped.
#[derive(Debug)]
pub(crate) struct SnapshotFile {
    path: PathBuf,
    temporary: bool,
}

impl SnapshotFile {
    /// An existing file, which is kept.
    pub(crate) fn kept(path: PathBuf) -> Self {
        Self { path, temporary: false }
    }

    /// A file to be received or written in `folder`.
    pub(crate) fn temporary(folder: &Path) -> Self {
        Self { path: folder.join(format!("receiving-{}", uuid::Uuid::new_v4())), temporary: true }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for SnapshotFile {
    fn drop(&mut self) {
        if self.temporary {
            // The file may not exist yet.
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

/// Bytes to write between two syncs. One sync of the whole file at its end would delay the log's syncs.
const SYNC_BYTES: u64 = 8 << 20;

/// Writes pairs to a new file and syncs it.
pub(crate) struct SnapshotWriter {
    file: BufWriter<File>,
    hash: Sha256,
    unsynced: u64,
}

impl SnapshotWriter {
    pub(crate) fn create(path: &Path) -> io::Result<Self> {
        Ok(Self { file: BufWriter::with_capacity(1 << 18, File::create(path)?), hash: Sha256::new(), unsynced: 0 })
    }

    fn bytes(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.hash.update(bytes);
        self.file.write_all(bytes)?;
        self.unsynced += bytes.len() as u64;
        if self.unsynced >= SYNC_BYTES {
            self.unsynced = 0;
            self.file.flush()?;
            self.file.get_ref().sync_data()?;
        }
        Ok(())
    }

    fn framed(&mut self, bytes: &[u8]) -> io::Result<()> {
        let length = u32::try_from(bytes.len()).ok().filter(|length| *length <= MAX_LENGTH);
        let length = length.ok_or_else(|| io::Error::other("a key or value is too long for a snapshot"))?;
        self.bytes(&length.to_be_bytes())?;
        self.bytes(bytes)
    }

    pub(crate) fn pair(&mut self, key: &[u8], value: &[u8]) -> io::Result<()> {
        self.framed(key)?;
        self.framed(value)
    }

    pub(crate) fn finish(mut self) -> io::Result<()> {
        self.bytes(&END.to_be_bytes())?;
        let hash = self.hash.finalize();
        self.file.write_all(&hash)?;
        self.file.into_inner().map_err(io::IntoInnerError::into_error)?.sync_all()
    }
}

/// Iterates over the pairs of a file. The last item is an error when the checksum does not match.
pub(crate) struct SnapshotReader {
    file: BufReader<File>,
    hash: Sha256,
    ended: bool,
}

impl SnapshotReader {
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        Ok(Self { file: BufReader::with_capacity(1 << 18, File::open(path)?), hash: Sha256::new(), ended: false })
    }

    /// Reads the file to its end and checks it.
    pub(crate) fn verify(path: &Path) -> io::Result<()> {
        Self::open(path)?.try_for_each(|pair| pair.map(drop))
    }

    fn bytes(&mut self, length: usize) -> io::Result<Vec<u8>> {
        let mut bytes = vec![0; length];
        self.file.read_exact(&mut bytes)?;
        self.hash.update(&bytes);
        Ok(bytes)
    }

    fn length(&mut self) -> io::Result<u32> {
        let mut bytes = [0; 4];
        self.file.read_exact(&mut bytes)?;
        self.hash.update(bytes);
        Ok(u32::from_be_bytes(bytes))
    }

    fn framed(&mut self, length: u32) -> io::Result<Vec<u8>> {
        if length > MAX_LENGTH {
            return Err(damaged());
        }
        self.bytes(length as usize)
    }

    fn pair(&mut self) -> io::Result<Option<Pair>> {
        let length = self.length()?;
        if length == END {
            let mut expected = [0; 32];
            self.file.read_exact(&mut expected)?;
            let hash: [u8; 32] = std::mem::take(&mut self.hash).finalize().into();
            return if hash == expected { Ok(None) } else { Err(damaged()) };
        }
        let key = self.framed(length)?;
        let length = self.length()?;
        Ok(Some((key, self.framed(length)?)))
    }
}

fn damaged() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "the snapshot is damaged")
}

impl Iterator for SnapshotReader {
    type Item = io::Result<Pair>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.ended {
            return None;
        }
        let pair = self.pair().transpose();
        self.ended = !matches!(pair, Some(Ok(_)));
        pair
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]

    use super::*;

    #[test]
    fn damaged_snapshots_are_rejected() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("snapshot");
        let pairs: Vec<Pair> = (0..1000u32).map(|n| (n.to_be_bytes().to_vec(), vec![7; n as usize])).collect();
        let mut writer = SnapshotWriter::create(&path).unwrap();
        for (key, value) in &pairs {
            writer.pair(key, value).unwrap();
        }
        writer.finish().unwrap();
        assert_eq!(SnapshotReader::open(&path).unwrap().map(Result::unwrap).collect::<Vec<_>>(), pairs);

        let whole = std::fs::read(&path).unwrap();
        for cut in [0, 3, 100, whole.len() - 1] {
            std::fs::write(&path, &whole[..cut]).unwrap();
            assert!(SnapshotReader::verify(&path).is_err(), "cut at {cut}");
        }
        for flip in [0, 5, 5000, whole.len() - 1] {
            let mut bytes = whole.clone();
            bytes[flip] ^= 1;
            std::fs::write(&path, bytes).unwrap();
            assert!(SnapshotReader::verify(&path).is_err(), "flipped at {flip}");
        }
    }
}

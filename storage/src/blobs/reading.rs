//! Verified reads.
//!
//! If a piece does not match its manifest, either of them may be damaged. Then the whole file is hashed and compared
//! with its name: if it matches, the manifest is written again, otherwise the file is quarantined.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use rustix::fs::{Advice, fadvise};

use super::error::io_error;
use super::manifest::Hasher;
use super::{BlobError, Blobs, Hash, Manifest, PIECE, blocking};

/// The size of the read buffer in bytes.
const BUFFER_BYTES: usize = 1 << 18;

/// The result of reading a whole blob whose bytes match its hash.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verified {
    /// The hashes of its pieces.
    pub manifest: Manifest,
    /// Whether the manifest on disk was missing or wrong, and was written again.
    pub manifest_rebuilt: bool,
}

/// Whether a read failed because the disk cannot read these bytes. Then the file is damaged, but the system works.
fn is_unreadable(error: &io::Error) -> bool {
    error.raw_os_error() == Some(rustix::io::Errno::IO.raw_os_error())
}

/// Hashes a file to its end.
pub(super) fn hash_file(file: &mut File) -> io::Result<(Hash, Manifest)> {
    let mut hasher = Hasher::default();
    let mut buffer = vec![0; BUFFER_BYTES];
    loop {
        match file.read(&mut buffer) {
            Ok(0) => return Ok(hasher.finish()),
            Ok(read) => hasher.update(&buffer[..read]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

impl Blobs {
    fn open_file(&self, hash: &Hash) -> Result<File, BlobError> {
        let path = self.path(hash);
        File::open(&path).map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => BlobError::Missing(*hash),
            _ => io_error("open", &path)(error),
        })
    }

    /// The manifest on disk. `None` if it is missing, unreadable, or does not fit a file of this length.
    fn stored_manifest(&self, hash: &Hash, length: u64) -> Result<Option<Manifest>, BlobError> {
        let path = self.manifest_path(hash);
        let bytes = match std::fs::read(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound || is_unreadable(&error) => return Ok(None),
            Err(error) => return Err(io_error("read", &path)(error)),
        };
        let manifest: Option<Manifest> = codec::decode(&bytes).ok();
        Ok(manifest.filter(|manifest| manifest.is_consistent() && manifest.length == length))
    }

    /// The hashes of the blob's pieces. If they are not on disk, this reads the whole blob.
    pub fn manifest(&self, hash: &Hash) -> Result<Manifest, BlobError> {
        match self.stored_manifest(hash, self.size(hash)?)? {
            Some(manifest) => Ok(manifest),
            None => Ok(self.verify_blocking(hash)?.manifest),
        }
    }

    /// One piece, verified. A damaged blob is quarantined.
    pub fn piece(&self, hash: &Hash, manifest: &Manifest, index: usize) -> Result<Vec<u8>, BlobError> {
        let matches = |manifest: &Manifest, bytes: &[u8]| manifest.pieces.get(index) == Some(&Hash::of(bytes));
        match self.read_piece(hash, manifest, index)? {
            Some(bytes) if matches(manifest, &bytes) => return Ok(bytes),
            _ => {}
        }
        let verified = self.verify_blocking(hash)?;
        match self.read_piece(hash, &verified.manifest, index)? {
            Some(bytes) if matches(&verified.manifest, &bytes) => Ok(bytes),
            _ => Err(BlobError::Corrupt(*hash)),
        }
    }

    /// One piece without verification, for senders whose receiver verifies it.
    pub fn piece_on_disk(&self, hash: &Hash, manifest: &Manifest, index: usize) -> Result<Vec<u8>, BlobError> {
        match self.read_piece(hash, manifest, index)? {
            Some(bytes) if bytes.len() as u64 == manifest.piece_length(index) => Ok(bytes),
            _ => self.piece(hash, manifest, index),
        }
    }

    /// The bytes of a piece. `None` if the disk cannot read them.
    fn read_piece(&self, hash: &Hash, manifest: &Manifest, index: usize) -> Result<Option<Vec<u8>>, BlobError> {
        let mut file = self.open_file(hash)?;
        let length = manifest.piece_length(index);
        let mut bytes = Vec::with_capacity(usize::try_from(length).unwrap_or_default());
        let read =
            file.seek(SeekFrom::Start(index as u64 * PIECE)).and_then(|_| file.take(length).read_to_end(&mut bytes));
        match read {
            Ok(_) => Ok(Some(bytes)),
            Err(error) if is_unreadable(&error) => Ok(None),
            Err(error) => Err(io_error("read", &self.path(hash))(error)),
        }
    }

    /// Reads the whole blob and compares it with its hash. This quarantines a damaged blob and writes a wrong manifest
    /// again.
    pub async fn verify(&self, hash: &Hash) -> Result<Verified, BlobError> {
        let (blobs, hash) = (self.clone(), *hash);
        blocking(move || blobs.verify_blocking(&hash)).await
    }

    fn verify_blocking(&self, hash: &Hash) -> Result<Verified, BlobError> {
        let file = self.open_file(hash)?;
        self.verify_file(hash, file)
    }

    /// Like [`Blobs::verify`], but reads the disk and not the system's cache.
    pub(super) fn verify_on_disk(&self, hash: &Hash) -> Result<Verified, BlobError> {
        let file = self.open_file(hash)?;
        // Only a hint: the system may keep its cached pages.
        let _ = fadvise(&file, 0, None, Advice::DontNeed);
        let verified = self.verify_file(hash, file);
        if let Ok(file) = self.open_file(hash) {
            let _ = fadvise(&file, 0, None, Advice::DontNeed);
        }
        verified
    }

    fn verify_file(&self, hash: &Hash, mut file: File) -> Result<Verified, BlobError> {
        let path = self.path(hash);
        let manifest = match hash_file(&mut file) {
            Ok((found, manifest)) if found == *hash => Some(manifest),
            Ok(_) => None,
            Err(error) if is_unreadable(&error) => None,
            Err(error) => return Err(io_error("read", &path)(error)),
        };
        let Some(manifest) = manifest else {
            self.quarantine(hash, &file)?;
            return Err(BlobError::Corrupt(*hash));
        };
        let manifest_rebuilt = self.stored_manifest(hash, manifest.length)?.as_ref() != Some(&manifest);
        if manifest_rebuilt {
            let _lock = self.lock(hash);
            // A blob that was removed meanwhile gets no manifest.
            if !self.contains(hash) {
                return Err(BlobError::Missing(*hash));
            }
            tracing::warn!(%hash, "a manifest was missing or wrong and was rebuilt");
            self.write_manifest(hash, &manifest)?;
        }
        Ok(Verified { manifest, manifest_rebuilt })
    }

    /// Moves a damaged blob to the quarantine, unless it was replaced since it was opened as `damaged`.
    fn quarantine(&self, hash: &Hash, damaged: &File) -> Result<(), BlobError> {
        let path = self.path(hash);
        let _lock = self.lock(hash);
        if !is_same_file(damaged, &path) {
            return Ok(());
        }
        let length = self.size(hash)?;
        if self.0.quarantine.take(hash, &path)? {
            tracing::error!(%hash, "a damaged file was quarantined; it will be fetched again");
            metrics::counter!("quartet_blobs_damaged_total").increment(1);
            self.0.space.subtract(length);
            self.0.damaged.send_modify(|count| *count += 1);
        }
        self.remove_manifest(hash)
    }
}

/// Whether the open file is the one at this path.
fn is_same_file(file: &File, path: &Path) -> bool {
    match (file.metadata(), std::fs::metadata(path)) {
        (Ok(open), Ok(current)) => (open.dev(), open.ino()) == (current.dev(), current.ino()),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]

    use crate::blobs::testing::{open, put};

    use super::*;

    fn flip(path: &Path, at: usize) {
        let mut bytes = std::fs::read(path).unwrap();
        bytes[at] ^= 4;
        std::fs::write(path, bytes).unwrap();
    }

    #[tokio::test]
    async fn a_flipped_bit_is_detected_and_quarantined() {
        let folder = tempfile::tempdir().unwrap();
        let blobs = open(&folder);
        let hash = put(&blobs, &vec![1; 3_000_000]).await;
        assert!(!blobs.verify(&hash).await.unwrap().manifest_rebuilt);
        flip(&blobs.path(&hash), 2_500_000);
        let manifest = blobs.manifest(&hash).unwrap();
        assert_eq!(manifest.pieces.len(), 3);
        assert!(blobs.piece(&hash, &manifest, 0).is_ok());
        let mut damaged = blobs.damaged();
        assert!(matches!(blobs.piece(&hash, &manifest, 2), Err(BlobError::Corrupt(_))));
        assert!(damaged.has_changed().unwrap() && *damaged.borrow_and_update() == 1);
        assert!(!blobs.contains(&hash) && blobs.usage().files == 0);
        assert!(matches!(blobs.verify_on_disk(&hash), Err(BlobError::Missing(_))));
        assert!(folder.path().join("corrupt").join(hash.to_string()).exists());
    }

    #[tokio::test]
    async fn a_truncated_file_is_detected() {
        let folder = tempfile::tempdir().unwrap();
        let blobs = open(&folder);
        let hash = put(&blobs, &vec![1; 3_000_000]).await;
        File::options().write(true).open(blobs.path(&hash)).unwrap().set_len(2_000_000).unwrap();
        assert!(matches!(blobs.manifest(&hash), Err(BlobError::Corrupt(_))));
        assert!(!blobs.contains(&hash));
    }

    #[tokio::test]
    async fn a_wrong_manifest_is_rebuilt_from_the_file() {
        let folder = tempfile::tempdir().unwrap();
        let blobs = open(&folder);
        let bytes: Vec<u8> = (0..3_000_000u32).map(|at| (at / 5) as u8).collect();
        let hash = put(&blobs, &bytes).await;
        let right = blobs.manifest(&hash).unwrap();
        let path = blobs.manifest_path(&hash);
        let written = std::fs::read(&path).unwrap();

        // Truncated, missing, or with the hashes of other bytes.
        std::fs::write(&path, &written[..written.len() / 2]).unwrap();
        assert_eq!(blobs.manifest(&hash).unwrap(), right);
        std::fs::remove_file(&path).unwrap();
        assert!(blobs.verify(&hash).await.unwrap().manifest_rebuilt);
        let mut wrong = right.clone();
        wrong.pieces[1] = Hash::of(b"something else");
        std::fs::write(&path, codec::encode(&wrong).unwrap()).unwrap();
        assert_eq!(blobs.piece(&hash, &wrong, 1).unwrap(), bytes[1 << 20..2 << 20]);
        assert_eq!(std::fs::read(&path).unwrap(), written);
    }
}

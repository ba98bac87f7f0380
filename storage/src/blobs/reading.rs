//! Reading blobs: nothing leaves here that was not hashed a moment before, but for a peer that hashes what comes.
//!
//! A piece that does not match its manifest may be the manifest's fault. Then the whole file is read and its name
//! decides: if the file is right the manifest is made anew, otherwise the file is set aside.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use rustix::fs::{Advice, fadvise};

use super::{BlobError, Blobs, Hash, Hasher, Manifest, PIECE, blocking, told};

/// Bytes that are read at a time.
const BUFFER: usize = 1 << 18;

/// A blob that was read whole and is right.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Examined {
    /// The hashes of its pieces.
    pub manifest: Manifest,
    /// Whether the manifest beside it was missing or wrong, and was made anew.
    pub mended: bool,
}

/// What a read came to: the bytes may be unreadable without anything being wrong with the system.
fn damage(error: &io::Error) -> bool {
    error.raw_os_error() == Some(rustix::io::Errno::IO.raw_os_error())
}

/// Hashes a file to its end.
pub(super) fn hash_file(file: &mut File) -> io::Result<(Hash, Manifest)> {
    let mut hasher = Hasher::default();
    let mut buffer = vec![0; BUFFER];
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
            _ => told("open", &path)(error),
        })
    }

    /// The manifest as it lies on the disk, if it can be one for a file of this length.
    fn written_manifest(&self, hash: &Hash, length: u64) -> Result<Option<Manifest>, BlobError> {
        let path = self.manifest_path(hash);
        let bytes = match std::fs::read(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound || damage(&error) => return Ok(None),
            Err(error) => return Err(told("read", &path)(error)),
        };
        let manifest: Option<Manifest> = codec::decode(&bytes).ok();
        Ok(manifest.filter(|manifest| manifest.is_sound() && manifest.length == length))
    }

    /// The hashes of the blob's pieces.
    pub fn manifest(&self, hash: &Hash) -> Result<Manifest, BlobError> {
        match self.written_manifest(hash, self.size(hash)?)? {
            Some(manifest) => Ok(manifest),
            None => Ok(self.examine(hash)?.manifest),
        }
    }

    /// One piece, verified. A damaged blob is set aside.
    pub fn piece(&self, hash: &Hash, manifest: &Manifest, index: usize) -> Result<Vec<u8>, BlobError> {
        let right = |manifest: &Manifest, bytes: &[u8]| manifest.pieces.get(index) == Some(&Hash::of(bytes));
        match self.read_piece(hash, manifest, index)? {
            Some(bytes) if right(manifest, &bytes) => return Ok(bytes),
            _ => {}
        }
        let examined = self.examine(hash)?;
        match self.read_piece(hash, &examined.manifest, index)? {
            Some(bytes) if right(&examined.manifest, &bytes) => Ok(bytes),
            _ => Err(BlobError::Corrupt(*hash)),
        }
    }

    /// One piece as it lies on the disk, for whoever verifies what comes.
    pub fn piece_on_disk(&self, hash: &Hash, manifest: &Manifest, index: usize) -> Result<Vec<u8>, BlobError> {
        match self.read_piece(hash, manifest, index)? {
            Some(bytes) if bytes.len() as u64 == manifest.piece_length(index) => Ok(bytes),
            _ => self.piece(hash, manifest, index),
        }
    }

    /// The bytes where the piece should be; none when the disk cannot give them.
    fn read_piece(&self, hash: &Hash, manifest: &Manifest, index: usize) -> Result<Option<Vec<u8>>, BlobError> {
        let mut file = self.open_file(hash)?;
        let length = manifest.piece_length(index);
        let mut bytes = Vec::with_capacity(usize::try_from(length).unwrap_or_default());
        let read =
            file.seek(SeekFrom::Start(index as u64 * PIECE)).and_then(|_| file.take(length).read_to_end(&mut bytes));
        match read {
            Ok(_) => Ok(Some(bytes)),
            Err(error) if damage(&error) => Ok(None),
            Err(error) => Err(told("read", &self.path(hash))(error)),
        }
    }

    /// Reads the whole blob and compares it with its name. A damaged blob is set aside, a wrong manifest made anew.
    pub fn examine(&self, hash: &Hash) -> Result<Examined, BlobError> {
        let file = self.open_file(hash)?;
        self.examine_file(hash, file)
    }

    /// Like [`Blobs::examine`], but of what is on the disk and not of what memory keeps of it.
    pub fn scrub(&self, hash: &Hash) -> Result<Examined, BlobError> {
        let file = self.open_file(hash)?;
        // A hint; without it the scrub may read what was read a moment ago.
        let _ = fadvise(&file, 0, None, Advice::DontNeed);
        let examined = self.examine_file(hash, file);
        if let Ok(file) = self.open_file(hash) {
            let _ = fadvise(&file, 0, None, Advice::DontNeed);
        }
        examined
    }

    fn examine_file(&self, hash: &Hash, mut file: File) -> Result<Examined, BlobError> {
        let path = self.path(hash);
        let found = match hash_file(&mut file) {
            Ok((found, manifest)) if found == *hash => Some(manifest),
            Ok(_) => None,
            Err(error) if damage(&error) => None,
            Err(error) => return Err(told("read", &path)(error)),
        };
        let Some(manifest) = found else {
            self.set_aside(hash, &file)?;
            return Err(BlobError::Corrupt(*hash));
        };
        let mended = self.written_manifest(hash, manifest.length)?.as_ref() != Some(&manifest);
        if mended {
            let _turn = self.turn(hash);
            // A blob that went while it was read gets no manifest.
            if !self.contains(hash) {
                return Err(BlobError::Missing(*hash));
            }
            tracing::warn!(%hash, "a manifest was missing or wrong and was made anew");
            self.write_manifest(hash, &manifest)?;
        }
        Ok(Examined { manifest, mended })
    }

    /// Like [`Blobs::examine`], away from the runtime's threads.
    pub async fn verify(&self, hash: &Hash) -> Result<Examined, BlobError> {
        let (blobs, hash) = (self.clone(), *hash);
        blocking(move || blobs.examine(&hash)).await
    }

    /// Takes a damaged blob out of service, unless it was replaced since it was read as `read`.
    fn set_aside(&self, hash: &Hash, read: &File) -> Result<(), BlobError> {
        let path = self.path(hash);
        let _turn = self.turn(hash);
        if !is_at(read, &path) {
            return Ok(());
        }
        let length = self.size(hash)?;
        if self.0.quarantine.take(hash, &path)? {
            tracing::error!(%hash, "a damaged file was set aside; it will be fetched again");
            metrics::counter!("quartet_blobs_damaged_total").increment(1);
            self.0.space.subtract(length);
            self.0.damaged.send_modify(|count| *count += 1);
        }
        self.remove_manifest(hash)
    }
}

/// Whether the open file is the one that is at this path now.
fn is_at(file: &File, path: &Path) -> bool {
    match (file.metadata(), std::fs::metadata(path)) {
        (Ok(open), Ok(there)) => (open.dev(), open.ino()) == (there.dev(), there.ino()),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]

    use super::super::tests::{open, put};
    use super::*;

    fn flip(path: &Path, at: usize) {
        let mut bytes = std::fs::read(path).unwrap();
        bytes[at] ^= 4;
        std::fs::write(path, bytes).unwrap();
    }

    #[tokio::test]
    async fn a_flipped_bit_is_found_and_set_aside() {
        let folder = tempfile::tempdir().unwrap();
        let blobs = open(&folder);
        let hash = put(&blobs, &vec![1; 3_000_000]).await;
        assert!(!blobs.verify(&hash).await.unwrap().mended);
        flip(&blobs.path(&hash), 2_500_000);
        let manifest = blobs.manifest(&hash).unwrap();
        assert_eq!(manifest.pieces.len(), 3);
        assert!(blobs.piece(&hash, &manifest, 0).is_ok());
        let mut damaged = blobs.damaged();
        assert!(matches!(blobs.piece(&hash, &manifest, 2), Err(BlobError::Corrupt(_))));
        assert!(damaged.has_changed().unwrap() && *damaged.borrow_and_update() == 1);
        assert!(!blobs.contains(&hash) && blobs.usage().files == 0);
        assert!(matches!(blobs.scrub(&hash), Err(BlobError::Missing(_))));
        assert!(folder.path().join("corrupt").join(hash.to_string()).exists());
    }

    #[tokio::test]
    async fn a_file_that_lost_its_end_is_damaged() {
        let folder = tempfile::tempdir().unwrap();
        let blobs = open(&folder);
        let hash = put(&blobs, &vec![1; 3_000_000]).await;
        File::options().write(true).open(blobs.path(&hash)).unwrap().set_len(2_000_000).unwrap();
        assert!(matches!(blobs.manifest(&hash), Err(BlobError::Corrupt(_))));
        assert!(!blobs.contains(&hash));
    }

    #[tokio::test]
    async fn a_wrong_manifest_costs_no_file() {
        let folder = tempfile::tempdir().unwrap();
        let blobs = open(&folder);
        let bytes: Vec<u8> = (0..3_000_000u32).map(|at| (at / 5) as u8).collect();
        let hash = put(&blobs, &bytes).await;
        let right = blobs.manifest(&hash).unwrap();
        let path = blobs.manifest_path(&hash);
        let written = std::fs::read(&path).unwrap();

        // Half written, gone, or with hashes of something else: the file's name decides.
        std::fs::write(&path, &written[..written.len() / 2]).unwrap();
        assert_eq!(blobs.manifest(&hash).unwrap(), right);
        std::fs::remove_file(&path).unwrap();
        assert!(blobs.verify(&hash).await.unwrap().mended);
        let mut wrong = right.clone();
        wrong.pieces[1] = Hash::of(b"something else");
        std::fs::write(&path, codec::encode(&wrong).unwrap()).unwrap();
        assert_eq!(blobs.piece(&hash, &wrong, 1).unwrap(), bytes[1 << 20..2 << 20]);
        assert_eq!(std::fs::read(&path).unwrap(), written);
    }
}

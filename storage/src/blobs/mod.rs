//! Content-addressed files.
//!
//! ```text
//! blobs/ab/abcd...            the bytes
//! blobs/ab/abcd....manifest   the hashes of their pieces
//! staging/                    what is still arriving; swept at start
//! corrupt/                    what was found damaged
//! ```
//!
//! Invariants: a file under its hash in `blobs/` was complete, hashed and fsynced before it got that name, and its
//! manifest was there first. A file is never changed after that.

mod hash;
mod manifest;
mod staged;

use std::fs::{File, Metadata};
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

pub use hash::{Hash, NotAHash};
pub(crate) use manifest::Hasher;
pub use manifest::{Manifest, PIECE};
pub use staged::{Staged, StagedFile};

use crate::wire::{self, WireError};

/// A blob could not be read or stored.
#[derive(Debug, thiserror::Error)]
pub enum BlobError {
    /// The disk is full, or so nearly that the reserve begins.
    #[error("the disk is full; free some space and try again")]
    Full,
    /// No such blob on this node.
    #[error("this node has no file {0}")]
    Missing(Hash),
    /// The bytes on the disk are not those that the hash names; the file was set aside.
    #[error("the file {0} is damaged on this node and was set aside")]
    Corrupt(Hash),
    /// The system refused an operation.
    #[error("cannot {operation} {path}: {source}")]
    Io {
        /// What was tried.
        operation: &'static str,
        /// On which file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A manifest is unreadable.
    #[error("a manifest is unreadable: {0}")]
    Manifest(#[from] WireError),
    /// A thread broke down.
    #[error("a file operation broke off")]
    Broken,
}

/// Attaches an operation and a path to what the system said.
pub(crate) fn told(operation: &'static str, path: &Path) -> impl FnOnce(io::Error) -> BlobError {
    let path = path.to_owned();
    move |source| match source.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => BlobError::Full,
        _ => BlobError::Io { operation, path, source },
    }
}

/// Runs file work on a thread where it may block.
pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, BlobError> + Send + 'static,
) -> Result<T, BlobError> {
    tokio::task::spawn_blocking(work).await.unwrap_or(Err(BlobError::Broken))
}

/// Makes the names in a folder durable.
pub(crate) fn sync_folder(folder: &Path) -> Result<(), BlobError> {
    File::open(folder).and_then(|folder| folder.sync_all()).map_err(told("fsync", folder))
}

struct Folders {
    blobs: PathBuf,
    staging: PathBuf,
    corrupt: PathBuf,
    reserve: u64,
}

/// The blobs of one node. Cheap to clone.
#[derive(Clone)]
pub struct Blobs(Arc<Folders>);

impl Blobs {
    /// Opens the blobs below `data` and sweeps what a killed process left half-made. New blobs are refused while
    /// fewer than `reserve` bytes are free on the disk.
    pub fn open(data: &Path, reserve: u64) -> Result<Self, BlobError> {
        let folders = Folders {
            blobs: data.join("blobs"),
            staging: data.join("staging"),
            corrupt: data.join("corrupt"),
            reserve,
        };
        if folders.staging.exists() {
            std::fs::remove_dir_all(&folders.staging).map_err(told("sweep", &folders.staging))?;
        }
        for folder in [&folders.blobs, &folders.staging, &folders.corrupt] {
            std::fs::create_dir_all(folder).map_err(told("make", folder))?;
        }
        sync_folder(data)?;
        Ok(Self(Arc::new(folders)))
    }

    /// Where the blob is, or would be.
    pub fn path(&self, hash: &Hash) -> PathBuf {
        let name = hash.to_string();
        self.0.blobs.join(&name[..2]).join(name)
    }

    fn manifest_path(&self, hash: &Hash) -> PathBuf {
        self.path(hash).with_extension("manifest")
    }

    /// Whether the blob is here.
    pub fn contains(&self, hash: &Hash) -> bool {
        self.path(hash).is_file()
    }

    /// The blob's length in bytes.
    pub fn size(&self, hash: &Hash) -> Result<u64, BlobError> {
        Ok(self.metadata(hash)?.len())
    }

    fn metadata(&self, hash: &Hash) -> Result<Metadata, BlobError> {
        let path = self.path(hash);
        std::fs::metadata(&path).map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => BlobError::Missing(*hash),
            _ => told("look at", &path)(error),
        })
    }

    /// Bytes free on the disk beyond the reserve.
    pub fn free_bytes(&self) -> Result<u64, BlobError> {
        let disk = rustix::fs::statvfs(&self.0.blobs)
            .map_err(|error| told("measure the disk of", &self.0.blobs)(error.into()))?;
        Ok((disk.f_bavail * disk.f_frsize).saturating_sub(self.0.reserve))
    }

    /// All blobs: name, length, and when they were stored or last confirmed.
    pub fn list(&self) -> Result<Vec<(Hash, u64, SystemTime)>, BlobError> {
        let mut found = Vec::new();
        for folder in std::fs::read_dir(&self.0.blobs).map_err(told("list", &self.0.blobs))? {
            let folder = folder.map_err(told("list", &self.0.blobs))?.path();
            for file in std::fs::read_dir(&folder).map_err(told("list", &folder))? {
                let file = file.map_err(told("list", &folder))?;
                let Some(hash) = file.file_name().to_str().and_then(|name| name.parse().ok()) else {
                    continue;
                };
                // A file may go while the list is made.
                let Ok(about) = file.metadata() else { continue };
                found.push((hash, about.len(), about.modified().unwrap_or(SystemTime::UNIX_EPOCH)));
            }
        }
        Ok(found)
    }

    /// Begins a blob that arrives in pieces; dropped without [`Staged::commit`], it leaves nothing.
    pub async fn stage(&self) -> Result<Staged, BlobError> {
        let blobs = self.clone();
        blocking(move || Staged::new(blobs)).await
    }

    /// A path in the staging folder for somebody who writes files by name.
    pub fn stage_file(&self) -> Result<StagedFile, BlobError> {
        if self.free_bytes()? == 0 {
            return Err(BlobError::Full);
        }
        Ok(StagedFile::new(self.0.staging.join(uuid::Uuid::new_v4().to_string())))
    }

    /// Stores a finished staged file.
    pub async fn commit_file(&self, staged: StagedFile) -> Result<(Hash, u64), BlobError> {
        let blobs = self.clone();
        blocking(move || {
            let path = staged.path();
            let mut file = File::open(path).map_err(told("open", path))?;
            let mut hasher = Hasher::default();
            let mut buffer = vec![0; 1 << 18];
            loop {
                let read = file.read(&mut buffer).map_err(told("read", path))?;
                if read == 0 {
                    break;
                }
                hasher.update(&buffer[..read]);
            }
            file.sync_all().map_err(told("fsync", path))?;
            let (hash, manifest) = hasher.finish();
            blobs.adopt(path, &hash, &manifest)?;
            Ok((hash, manifest.length))
        })
        .await
    }

    /// Stores a copy of the file at `path`.
    pub async fn import(&self, path: &Path) -> Result<(Hash, u64), BlobError> {
        let (staged, from) = (self.stage_file()?, path.to_owned());
        let to = staged.path().to_owned();
        blocking(move || std::fs::copy(&from, &to).map(drop).map_err(told("copy", &from))).await?;
        self.commit_file(staged).await
    }

    /// Gives a complete, fsynced file its name. The manifest comes first, so that no blob is ever without one.
    pub(crate) fn adopt(&self, staged: &Path, hash: &Hash, manifest: &Manifest) -> Result<(), BlobError> {
        if self.touch(hash)? {
            let _ = std::fs::remove_file(staged);
            return Ok(());
        }
        let path = self.path(hash);
        let folder = path.parent().unwrap_or(&self.0.blobs);
        if !folder.exists() {
            std::fs::create_dir_all(folder).map_err(told("make", folder))?;
            sync_folder(&self.0.blobs)?;
        }
        let written = self.0.staging.join(uuid::Uuid::new_v4().to_string());
        std::fs::write(&written, wire::encode(manifest)?).map_err(told("write", &written))?;
        File::open(&written).and_then(|file| file.sync_all()).map_err(told("fsync", &written))?;
        std::fs::rename(&written, self.manifest_path(hash)).map_err(told("rename", &written))?;
        std::fs::rename(staged, &path).map_err(told("rename", staged))?;
        sync_folder(folder)
    }

    /// Confirms that the blob is here and wanted: its age begins anew for [`crate::sharing::Sharing::collect`].
    /// False when it is not here.
    pub fn touch(&self, hash: &Hash) -> Result<bool, BlobError> {
        let path = self.path(hash);
        match File::options().append(true).open(&path) {
            Ok(file) => {
                file.set_modified(SystemTime::now()).map_err(told("touch", &path))?;
                Ok(true)
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(told("open", &path)(error)),
        }
    }

    /// The hashes of the blob's pieces.
    pub fn manifest(&self, hash: &Hash) -> Result<Manifest, BlobError> {
        let path = self.manifest_path(hash);
        match std::fs::read(&path) {
            Ok(bytes) => Ok(wire::decode(&bytes)?),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Err(BlobError::Missing(*hash)),
            Err(error) => Err(told("read", &path)(error)),
        }
    }

    /// One piece, verified. A damaged blob is set aside.
    pub fn piece(&self, hash: &Hash, manifest: &Manifest, index: usize) -> Result<Vec<u8>, BlobError> {
        let path = self.path(hash);
        let mut file = File::open(&path).map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => BlobError::Missing(*hash),
            _ => told("open", &path)(error),
        })?;
        file.seek(SeekFrom::Start(index as u64 * PIECE)).map_err(told("seek in", &path))?;
        let mut bytes = Vec::new();
        file.take(manifest.piece_length(index)).read_to_end(&mut bytes).map_err(told("read", &path))?;
        if manifest.pieces.get(index) != Some(&Hash::of(&bytes)) {
            self.set_aside(hash)?;
            return Err(BlobError::Corrupt(*hash));
        }
        Ok(bytes)
    }

    /// Reads the whole blob and compares it with its manifest; a damaged one is set aside.
    pub async fn verify(&self, hash: &Hash) -> Result<(), BlobError> {
        let (blobs, hash) = (self.clone(), *hash);
        blocking(move || {
            let manifest = blobs.manifest(&hash)?;
            if blobs.size(&hash)? != manifest.length {
                blobs.set_aside(&hash)?;
                return Err(BlobError::Corrupt(hash));
            }
            (0..manifest.pieces.len()).try_for_each(|index| blobs.piece(&hash, &manifest, index).map(drop))
        })
        .await
    }

    /// Takes a damaged blob out of service, and keeps it for whoever wants to know why.
    pub fn set_aside(&self, hash: &Hash) -> Result<(), BlobError> {
        tracing::error!(%hash, "a damaged file was set aside; it will be fetched again");
        let path = self.path(hash);
        std::fs::rename(&path, self.0.corrupt.join(hash.to_string())).map_err(told("set aside", &path))?;
        self.remove(hash)
    }

    /// Removes the blob if it is here.
    pub fn remove(&self, hash: &Hash) -> Result<(), BlobError> {
        // The bytes go first: a manifest without bytes is no blob, bytes without manifest would be half of one.
        for path in [self.path(hash), self.manifest_path(hash)] {
            match std::fs::remove_file(&path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    return Err(told("remove", &path)(error));
                }
                _ => {}
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]

    use super::*;

    fn open(folder: &tempfile::TempDir) -> Blobs {
        Blobs::open(folder.path(), 0).unwrap()
    }

    #[tokio::test]
    async fn a_blob_is_named_by_its_hash() {
        let folder = tempfile::tempdir().unwrap();
        let blobs = open(&folder);
        let mut staged = blobs.stage().await.unwrap();
        staged.write(b"a").await.unwrap();
        staged.write(b"bc").await.unwrap();
        let (hash, length) = staged.commit().await.unwrap();
        assert_eq!(hash.to_string(), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
        assert_eq!(length, 3);
        assert_eq!(std::fs::read(blobs.path(&hash)).unwrap(), b"abc");
        assert_eq!(blobs.list().unwrap().len(), 1);
        blobs.remove(&hash).unwrap();
        assert!(blobs.list().unwrap().is_empty());
    }

    #[tokio::test]
    async fn what_is_not_committed_leaves_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let blobs = open(&folder);
        let mut staged = blobs.stage().await.unwrap();
        staged.write(&vec![7; 100_000]).await.unwrap();
        drop(staged);
        assert_eq!(std::fs::read_dir(folder.path().join("staging")).unwrap().count(), 0);
        // A killed process cannot tidy up; the next start does.
        std::fs::write(folder.path().join("staging/left"), b"over").unwrap();
        open(&folder);
        assert_eq!(std::fs::read_dir(folder.path().join("staging")).unwrap().count(), 0);
    }

    #[tokio::test]
    async fn a_flipped_bit_is_found_and_set_aside() {
        let folder = tempfile::tempdir().unwrap();
        let blobs = open(&folder);
        let mut staged = blobs.stage().await.unwrap();
        staged.write(&vec![1; 3_000_000]).await.unwrap();
        let (hash, _) = staged.commit().await.unwrap();
        blobs.verify(&hash).await.unwrap();
        let mut bytes = std::fs::read(blobs.path(&hash)).unwrap();
        bytes[2_500_000] ^= 4;
        std::fs::write(blobs.path(&hash), bytes).unwrap();
        let manifest = blobs.manifest(&hash).unwrap();
        assert_eq!(manifest.pieces.len(), 3);
        assert!(blobs.piece(&hash, &manifest, 0).is_ok());
        assert!(matches!(blobs.piece(&hash, &manifest, 2), Err(BlobError::Corrupt(_))));
        assert!(!blobs.contains(&hash));
        assert!(folder.path().join("corrupt").join(hash.to_string()).exists());
    }
}

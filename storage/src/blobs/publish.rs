//! Storing complete files under their hashes.

use std::fs::File;
use std::path::Path;
use std::time::Instant;

use super::error::{io_error, sync_folder};
use super::{BlobError, Blobs, Hash, Manifest, StagedFile, blocking, reading};

impl Blobs {
    /// Stores a staged file. Returns its hash and length in bytes; it is on disk then.
    pub async fn commit_file(&self, staged: StagedFile) -> Result<(Hash, u64), BlobError> {
        let blobs = self.clone();
        blocking(move || {
            let path = staged.path();
            let mut file = File::open(path).map_err(io_error("open", path))?;
            let (hash, manifest) = reading::hash_file(&mut file).map_err(io_error("read", path))?;
            file.sync_all().map_err(io_error("fsync", path))?;
            blobs.publish(path, &hash, &manifest)?;
            Ok((hash, manifest.length))
        })
        .await
    }

    /// Stores a copy of the file at `path`. Returns its hash and length in bytes; it is on disk then.
    pub async fn import(&self, path: &Path) -> Result<(Hash, u64), BlobError> {
        let (blobs, from) = (self.clone(), path.to_owned());
        let staged = blocking(move || {
            let length = std::fs::metadata(&from).map_err(io_error("stat", &from))?.len();
            let staged = StagedFile::new(blobs, length)?;
            std::fs::copy(&from, staged.path()).map_err(io_error("copy", &from))?;
            Ok(staged)
        });
        self.commit_file(staged.await?).await
    }

    /// Renames a complete, fsynced file to its hash. The manifest is written first, so no blob is ever without one.
    /// This replaces a blob that is here already: the new bytes were hashed just now, while the old ones may have been
    /// damaged since.
    pub(super) fn publish(&self, staged: &Path, hash: &Hash, manifest: &Manifest) -> Result<(), BlobError> {
        let path = self.path(hash);
        let folder = path.parent().unwrap_or(&self.0.blobs);
        if !folder.exists() {
            std::fs::create_dir_all(folder).map_err(io_error("create", folder))?;
            sync_folder(&self.0.blobs)?;
        }
        let _lock = self.lock(hash);
        let replaced = self.size(hash).ok();
        crate::failpoint!("blob.synced");
        self.write_manifest(hash, manifest)?;
        crate::failpoint!("blob.described");
        std::fs::rename(staged, &path).map_err(io_error("rename", staged))?;
        if let Some(length) = replaced {
            self.0.space.subtract(length);
        }
        self.0.space.add(manifest.length);
        self.0.confirmed.lock().insert(*hash, Instant::now());
        crate::failpoint!("blob.named");
        sync_folder(folder)
    }

    /// Writes the manifest of a blob. It is fsynced before it gets its name; the caller makes the name durable.
    pub(super) fn write_manifest(&self, hash: &Hash, manifest: &Manifest) -> Result<(), BlobError> {
        // Without a claim on space: where the blob just fits, its manifest may use some of the reserve.
        let staged = StagedFile::unclaimed(self.clone());
        let path = staged.path();
        std::fs::write(path, codec::encode(manifest)?).map_err(io_error("write", path))?;
        File::open(path).and_then(|file| file.sync_all()).map_err(io_error("fsync", path))?;
        std::fs::rename(path, self.manifest_path(hash)).map_err(io_error("rename", path))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use crate::blobs::Usage;
    use crate::blobs::testing::{open, put};

    #[tokio::test]
    async fn a_blob_is_named_by_its_hash() {
        let folder = tempfile::tempdir().unwrap();
        let blobs = open(&folder);
        let mut staged = blobs.stage(0).await.unwrap();
        staged.write(b"a").await.unwrap();
        staged.write(b"bc").await.unwrap();
        let (hash, length) = staged.commit().await.unwrap();
        assert_eq!(hash.to_string(), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
        assert_eq!(length, 3);
        assert_eq!(std::fs::read(blobs.path(&hash)).unwrap(), b"abc");
        assert_eq!(blobs.names().unwrap(), [hash]);
        blobs.remove(&hash).unwrap();
        assert!(blobs.names().unwrap().is_empty());
    }

    #[tokio::test]
    async fn storing_a_damaged_blob_again_repairs_it() {
        let folder = tempfile::tempdir().unwrap();
        let blobs = open(&folder);
        let hash = put(&blobs, b"a song").await;
        std::fs::write(blobs.path(&hash), b"a sonG").unwrap();
        put(&blobs, b"a song").await;
        assert!(!blobs.verify(&hash).await.unwrap().manifest_rebuilt);
        assert_eq!(blobs.usage(), Usage { files: 1, bytes: 6 });
    }
}

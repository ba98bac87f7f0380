//! Blobs in temporary folders, for tests.

#![allow(clippy::unwrap_used)]

use super::{Blobs, Hash, Quota};

pub(super) fn open(folder: &tempfile::TempDir) -> Blobs {
    Blobs::open(folder.path(), Quota::default()).unwrap()
}

/// Stores a blob with these bytes.
pub(super) async fn put(blobs: &Blobs, bytes: &[u8]) -> Hash {
    let mut staged = blobs.stage(0).await.unwrap();
    staged.write(bytes).await.unwrap();
    staged.commit().await.unwrap().0
}

/// The number of files in the staging folder.
pub(super) fn staged_files(folder: &tempfile::TempDir) -> usize {
    std::fs::read_dir(folder.path().join("staging")).unwrap().count()
}

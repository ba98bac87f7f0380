//! The errors of blobs, and helpers that create them.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use codec::CodecError;

use super::Hash;

/// A blob could not be read or stored.
#[derive(Debug, thiserror::Error)]
pub enum BlobError {
    /// The disk has no space left beyond the reserve, or the node's quota is used up.
    #[error("no space for more files: the disk is full except for its reserve, or the node's quota is used up")]
    Full,
    /// This node does not have the blob.
    #[error("this node has no file {0}")]
    Missing(Hash),
    /// The bytes on disk do not match the hash. The file was moved to the quarantine.
    #[error("the file {0} was damaged on this node and is now quarantined")]
    Corrupt(Hash),
    /// The operating system reported an error.
    #[error("cannot {operation} {path}: {source}")]
    Io {
        /// The failed operation, as a verb.
        operation: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// The error of the operating system.
        source: io::Error,
    },
    /// A manifest could not be encoded.
    #[error("cannot encode a manifest: {0}")]
    Manifest(#[from] CodecError),
    /// An earlier operation on the same file failed, or the thread of an operation ended.
    #[error("a file operation was interrupted")]
    Interrupted,
}

/// Adds an operation and a path to an error of the operating system.
pub(super) fn io_error(operation: &'static str, path: &Path) -> impl FnOnce(io::Error) -> BlobError {
    let path = path.to_owned();
    move |source| match source.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => BlobError::Full,
        _ => BlobError::Io { operation, path, source },
    }
}

/// Runs blocking file operations on a thread of Tokio's blocking pool.
pub async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, BlobError> + Send + 'static,
) -> Result<T, BlobError> {
    tokio::task::spawn_blocking(work).await.unwrap_or(Err(BlobError::Interrupted))
}

/// Fsyncs a folder, which makes new names in it durable.
pub(super) fn sync_folder(folder: &Path) -> Result<(), BlobError> {
    File::open(folder).and_then(|folder| folder.sync_all()).map_err(io_error("fsync", folder))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_disk_is_reported_as_full() {
        for code in [rustix::io::Errno::NOSPC, rustix::io::Errno::DQUOT] {
            assert!(matches!(io_error("write", Path::new("file"))(code.into()), BlobError::Full));
        }
    }
}

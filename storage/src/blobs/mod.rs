//! Content-addressed files.
//!
//! ```text
//! blobs/ab/abcd...            the bytes
//! blobs/ab/abcd....manifest   the hashes of the pieces
//! staging/                    files that are being written, and leftovers of killed processes
//! corrupt/                    the newest damaged files
//! ```
//!
//! Invariants:
//! - A file in `blobs/` was complete, hashed and fsynced before it got its name, and its manifest was there first. It
//!   is never changed afterwards.
//! - Operations that change what a name refers to (store, confirm, remove, quarantine) hold the lock of that name. So a
//!   blob that one caller confirms is not removed by another one that looked at it before.
//! - A read returns verified bytes only. The exception is [`Blobs::piece_on_disk`], for receivers that verify
//!   themselves.
//!
//! What is left out: other nodes. The crate `replication` copies blobs between nodes.

mod error;
mod garbage;
mod hash;
mod manifest;
mod publish;
mod quarantine;
mod quota;
mod reading;
pub mod scrub;
mod staged;
mod staging;
#[cfg(test)]
mod testing;

use std::collections::{HashMap, HashSet};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use parking_lot::{Mutex, MutexGuard};
use tokio::sync::watch;

pub use error::{BlobError, blocking};
pub use hash::{Hash, InvalidHash};
pub use manifest::{Manifest, PIECE};
use quarantine::Quarantine;
pub use quota::{Quota, Usage};
pub use reading::Verified;
pub use staged::Staged;
pub use staging::StagedFile;

use error::{io_error, sync_folder};
use quota::Space;

/// The number of locks for names. Names with the same lock wait for each other.
const LOCKS: usize = 64;

struct BlobsInner {
    blobs: PathBuf,
    staging: PathBuf,
    quarantine: Quarantine,
    space: Arc<Space>,
    /// The lock of a name is chosen by its first byte.
    locks: [Mutex<()>; LOCKS],
    /// When each blob was last stored or confirmed by this process. Old entries are dropped.
    confirmed: Mutex<HashMap<Hash, Instant>>,
    opened: Instant,
    /// Since when each blob has had no reference.
    unreferenced: Mutex<HashMap<Hash, Instant>>,
    /// The files in the staging folder that are in use.
    staged: Mutex<HashSet<PathBuf>>,
    /// The number of damaged blobs found since this process started.
    damaged: watch::Sender<u64>,
}

/// The blobs of one node. Cheap to clone.
#[derive(Clone)]
pub struct Blobs(Arc<BlobsInner>);

impl Blobs {
    /// Opens the blobs below the folder `data`, and removes the staged files of a killed process.
    pub fn open(data: &Path, quota: Quota) -> Result<Self, BlobError> {
        let blobs = data.join("blobs");
        let inner = BlobsInner {
            space: Space::new(&blobs, quota),
            blobs,
            staging: data.join("staging"),
            quarantine: Quarantine::new(data.join("corrupt")),
            locks: [const { Mutex::new(()) }; LOCKS],
            confirmed: Mutex::default(),
            opened: Instant::now(),
            unreferenced: Mutex::default(),
            staged: Mutex::default(),
            damaged: watch::Sender::new(0),
        };
        for folder in [&inner.blobs, &inner.staging, inner.quarantine.folder()] {
            std::fs::create_dir_all(folder).map_err(io_error("create", folder))?;
        }
        sync_folder(data)?;
        let blobs = Self(Arc::new(inner));
        blobs.sweep_staging()?;
        blobs.recount()?;
        Ok(blobs)
    }

    /// The path of a blob, whether or not it is here.
    pub fn path(&self, hash: &Hash) -> PathBuf {
        let name = hash.to_string();
        self.0.blobs.join(&name[..2]).join(name)
    }

    fn manifest_path(&self, hash: &Hash) -> PathBuf {
        self.path(hash).with_extension("manifest")
    }

    /// Locks a name. Only the holder may change what the name refers to.
    fn lock(&self, hash: &Hash) -> MutexGuard<'_, ()> {
        self.0.locks[usize::from(hash.as_bytes()[0]) % LOCKS].lock()
    }

    /// Whether the blob is here.
    pub fn contains(&self, hash: &Hash) -> bool {
        self.path(hash).is_file()
    }

    /// The blob's length in bytes.
    pub fn size(&self, hash: &Hash) -> Result<u64, BlobError> {
        let path = self.path(hash);
        match std::fs::metadata(&path) {
            Ok(metadata) => Ok(metadata.len()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Err(BlobError::Missing(*hash)),
            Err(error) => Err(io_error("stat", &path)(error)),
        }
    }

    /// The hashes of all blobs, in ascending order.
    pub fn names(&self) -> Result<Vec<Hash>, BlobError> {
        let mut names = Vec::new();
        for folder in std::fs::read_dir(&self.0.blobs).map_err(io_error("list", &self.0.blobs))? {
            let folder = folder.map_err(io_error("list", &self.0.blobs))?.path();
            for file in std::fs::read_dir(&folder).map_err(io_error("list", &folder))? {
                let file = file.map_err(io_error("list", &folder))?;
                names.extend(file.file_name().to_str().and_then(|name| name.parse::<Hash>().ok()));
            }
        }
        names.sort();
        Ok(names)
    }

    /// The number of damaged blobs found since this process started. The receiver is notified of each new one.
    pub fn damaged(&self) -> watch::Receiver<u64> {
        self.0.damaged.subscribe()
    }
}

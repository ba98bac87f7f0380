//! Content-addressed files.
//!
//! ```text
//! blobs/ab/abcd...            the bytes
//! blobs/ab/abcd....manifest   the hashes of their pieces
//! staging/                    what is still arriving; what nobody writes any more is swept
//! corrupt/                    what was found damaged, the newest of it
//! ```
//!
//! Invariants: a file under its hash in `blobs/` was complete, hashed and fsynced before it got that name, and its
//! manifest was there first. A file is never changed after that. What changes a name's meaning (storing, confirming,
//! removing, setting aside) happens one after the other for each blob, so that a blob that was confirmed is not
//! removed by somebody who looked at it before.

mod hash;
mod manifest;
mod quarantine;
mod quota;
mod reading;
pub mod scrub;
mod staged;

use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::watch;

pub use hash::{Hash, NotAHash};
pub(crate) use manifest::Hasher;
pub use manifest::{Manifest, PIECE};
use quarantine::Quarantine;
use quota::Space;
pub use quota::{Quota, Usage};
pub use reading::Examined;
pub use staged::{Staged, StagedFile};

use codec::CodecError;

/// How many blobs can change at the same time.
const TURNS: usize = 64;

/// A blob could not be read or stored.
#[derive(Debug, thiserror::Error)]
pub enum BlobError {
    /// The disk is full, or so nearly that the reserve begins, or the node's quota is used up.
    #[error("there is no room for more files: the disk is full but for its reserve, or the node's quota is used up")]
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
    /// A manifest has no written form.
    #[error("a manifest cannot be written: {0}")]
    Manifest(#[from] CodecError),
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
pub async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, BlobError> + Send + 'static,
) -> Result<T, BlobError> {
    tokio::task::spawn_blocking(work).await.unwrap_or(Err(BlobError::Broken))
}

/// Makes the names in a folder durable.
pub(crate) fn sync_folder(folder: &Path) -> Result<(), BlobError> {
    File::open(folder).and_then(|folder| folder.sync_all()).map_err(told("fsync", folder))
}

struct Inner {
    blobs: PathBuf,
    staging: PathBuf,
    quarantine: Quarantine,
    space: Arc<Space>,
    /// One for each blob that begins alike.
    turns: [Mutex<()>; TURNS],
    /// When blobs were stored or confirmed, since this process began.
    confirmed: Mutex<HashMap<Hash, Instant>>,
    opened: Instant,
    /// Since when nothing has been seen to refer to a blob.
    unneeded: Mutex<HashMap<Hash, Instant>>,
    /// What is being written in the staging folder.
    staged: Mutex<HashSet<PathBuf>>,
    /// How many blobs were set aside.
    damaged: watch::Sender<u64>,
}

/// The blobs of one node. Cheap to clone.
#[derive(Clone)]
pub struct Blobs(Arc<Inner>);

impl Blobs {
    /// Opens the blobs below `data` and sweeps what a killed process left half-made.
    pub fn open(data: &Path, quota: Quota) -> Result<Self, BlobError> {
        let blobs = data.join("blobs");
        let inner = Inner {
            space: Space::new(&blobs, quota),
            blobs,
            staging: data.join("staging"),
            quarantine: Quarantine::new(data.join("corrupt")),
            turns: [const { Mutex::new(()) }; TURNS],
            confirmed: Mutex::default(),
            opened: Instant::now(),
            unneeded: Mutex::default(),
            staged: Mutex::default(),
            damaged: watch::Sender::new(0),
        };
        for folder in [&inner.blobs, &inner.staging, inner.quarantine.folder()] {
            std::fs::create_dir_all(folder).map_err(told("make", folder))?;
        }
        sync_folder(data)?;
        let blobs = Self(Arc::new(inner));
        blobs.sweep_staging()?;
        blobs.recount()?;
        Ok(blobs)
    }

    /// Where the blob is, or would be.
    pub fn path(&self, hash: &Hash) -> PathBuf {
        let name = hash.to_string();
        self.0.blobs.join(&name[..2]).join(name)
    }

    fn manifest_path(&self, hash: &Hash) -> PathBuf {
        self.path(hash).with_extension("manifest")
    }

    /// The right to change what this name stands for.
    fn turn(&self, hash: &Hash) -> MutexGuard<'_, ()> {
        let place = usize::from(hash.as_bytes()[0]) % TURNS;
        self.0.turns[place].lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn confirmations(&self) -> MutexGuard<'_, HashMap<Hash, Instant>> {
        self.0.confirmed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether the blob is here.
    pub fn contains(&self, hash: &Hash) -> bool {
        self.path(hash).is_file()
    }

    /// The blob's length in bytes.
    pub fn size(&self, hash: &Hash) -> Result<u64, BlobError> {
        let path = self.path(hash);
        match std::fs::metadata(&path) {
            Ok(about) => Ok(about.len()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Err(BlobError::Missing(*hash)),
            Err(error) => Err(told("look at", &path)(error)),
        }
    }

    /// How many files are here and how long they are together.
    pub fn usage(&self) -> Usage {
        self.0.space.usage()
    }

    /// The most bytes that this node holds, if it has a quota.
    pub fn max_bytes(&self) -> Option<u64> {
        self.0.space.max_bytes()
    }

    /// Bytes that this node still takes: what is free on the disk beyond the reserve, within the quota.
    pub fn free_bytes(&self) -> Result<u64, BlobError> {
        self.0.space.free_bytes()
    }

    /// Whether so little room is left that copies which others hold anyway should go.
    pub fn is_nearly_full(&self) -> Result<bool, BlobError> {
        self.0.space.is_nearly_full()
    }

    /// Refuses if a file of `bytes` would not fit now.
    pub fn check_free(&self, bytes: u64) -> Result<(), BlobError> {
        self.0.space.claim(bytes).map(drop)
    }

    /// Says how many blobs were found damaged since this process began, whenever there is one more.
    pub fn damaged(&self) -> watch::Receiver<u64> {
        self.0.damaged.subscribe()
    }

    /// The names of all blobs, in their order.
    pub fn names(&self) -> Result<Vec<Hash>, BlobError> {
        let mut found = Vec::new();
        for folder in std::fs::read_dir(&self.0.blobs).map_err(told("list", &self.0.blobs))? {
            let folder = folder.map_err(told("list", &self.0.blobs))?.path();
            for file in std::fs::read_dir(&folder).map_err(told("list", &folder))? {
                let file = file.map_err(told("list", &folder))?;
                found.extend(file.file_name().to_str().and_then(|name| name.parse::<Hash>().ok()));
            }
        }
        found.sort();
        Ok(found)
    }

    /// Looks at every file to put the counts of [`Blobs::usage`] right, should somebody have changed the folder.
    pub fn recount(&self) -> Result<(), BlobError> {
        self.0.space.recount(|| {
            let mut usage = Usage::default();
            for hash in self.names()? {
                // A file may go while they are counted.
                if let Ok(size) = self.size(&hash) {
                    usage.files += 1;
                    usage.bytes += size;
                }
            }
            Ok(usage)
        })
    }

    /// How many files are being written now.
    pub fn staged(&self) -> usize {
        self.0.staged.lock().unwrap_or_else(PoisonError::into_inner).len()
    }

    /// Begins a blob that arrives in pieces; dropped without [`Staged::commit`], it leaves nothing. What is known of
    /// its length is claimed at once, so that it is refused before the first byte if it does not fit.
    pub async fn stage(&self, expected: u64) -> Result<Staged, BlobError> {
        let blobs = self.clone();
        blocking(move || Staged::new(blobs, expected)).await
    }

    /// A path in the staging folder for somebody who writes files by name.
    pub fn stage_file(&self) -> Result<StagedFile, BlobError> {
        StagedFile::new(self.clone(), 0)
    }

    /// Removes what lies in the staging folder and is written by nobody: what a killed process, or a thread that
    /// nobody waited for, has left. Returns how many files went.
    pub fn sweep_staging(&self) -> Result<usize, BlobError> {
        let staging = &self.0.staging;
        let mut swept = 0;
        for entry in std::fs::read_dir(staging).map_err(told("sweep", staging))? {
            let path = entry.map_err(told("sweep", staging))?.path();
            // A name is noted before its file is made, so what is not noted now is nobody's.
            if self.0.staged.lock().unwrap_or_else(PoisonError::into_inner).contains(&path) {
                continue;
            }
            match std::fs::remove_file(&path) {
                Ok(()) => swept += 1,
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(told("sweep", &path)(error)),
            }
        }
        Ok(swept)
    }

    /// Stores a finished staged file.
    pub async fn commit_file(&self, staged: StagedFile) -> Result<(Hash, u64), BlobError> {
        let blobs = self.clone();
        blocking(move || {
            let path = staged.path();
            let mut file = File::open(path).map_err(told("open", path))?;
            let (hash, manifest) = reading::hash_file(&mut file).map_err(told("read", path))?;
            file.sync_all().map_err(told("fsync", path))?;
            blobs.adopt(path, &hash, &manifest)?;
            Ok((hash, manifest.length))
        })
        .await
    }

    /// Stores a copy of the file at `path`.
    pub async fn import(&self, path: &Path) -> Result<(Hash, u64), BlobError> {
        let (blobs, from) = (self.clone(), path.to_owned());
        let staged = blocking(move || {
            let length = std::fs::metadata(&from).map_err(told("look at", &from))?.len();
            let staged = StagedFile::new(blobs, length)?;
            std::fs::copy(&from, staged.path()).map_err(told("copy", &from))?;
            Ok(staged)
        });
        self.commit_file(staged.await?).await
    }

    /// Gives a complete, fsynced file its name. The manifest comes first, so that no blob is ever without one. A blob
    /// that is here already is replaced: these bytes were hashed just now, those lay on the disk for who knows how
    /// long.
    pub(crate) fn adopt(&self, staged: &Path, hash: &Hash, manifest: &Manifest) -> Result<(), BlobError> {
        let path = self.path(hash);
        let folder = path.parent().unwrap_or(&self.0.blobs);
        if !folder.exists() {
            std::fs::create_dir_all(folder).map_err(told("make", folder))?;
            sync_folder(&self.0.blobs)?;
        }
        let _turn = self.turn(hash);
        let before = self.size(hash).ok();
        crate::failpoint!("blob.synced");
        self.write_manifest(hash, manifest)?;
        crate::failpoint!("blob.described");
        std::fs::rename(staged, &path).map_err(told("rename", staged))?;
        if let Some(length) = before {
            self.0.space.subtract(length);
        }
        self.0.space.add(manifest.length);
        self.confirmations().insert(*hash, Instant::now());
        crate::failpoint!("blob.named");
        sync_folder(folder)
    }

    fn write_manifest(&self, hash: &Hash, manifest: &Manifest) -> Result<(), BlobError> {
        // The claim is on nothing: where a file just fitted, its manifest may take from the reserve.
        let written = StagedFile::unclaimed(self.clone());
        let path = written.path();
        std::fs::write(path, codec::encode(manifest)?).map_err(told("write", path))?;
        File::open(path).and_then(|file| file.sync_all()).map_err(told("fsync", path))?;
        std::fs::rename(path, self.manifest_path(hash)).map_err(told("rename", path))
    }

    /// Says that the blob is wanted: [`Blobs::collect_garbage`] then keeps it for a while. False when it is not here.
    pub fn confirm(&self, hash: &Hash) -> bool {
        let _turn = self.turn(hash);
        let here = self.contains(hash);
        if here {
            self.confirmations().insert(*hash, Instant::now());
        }
        here
    }

    /// Removes the blobs that are not in `keep`, were not in it for `grace`, and were neither stored nor confirmed for
    /// as long. `seen` is a moment before `keep` was read. Returns how many went.
    ///
    /// Ages are counted by this process's own steady clock: a system clock that jumps removes nothing too early, and
    /// what was here when the process began counts as confirmed then. That nothing referred to a blob must have been
    /// seen twice, because a command may have waited for a majority for as long as nobody could see anything.
    pub fn collect_garbage(&self, keep: &HashSet<Hash>, seen: Instant, grace: Duration) -> Result<usize, BlobError> {
        let Some(since) = seen.checked_sub(grace) else {
            return Ok(0);
        };
        let mut unneeded = self.0.unneeded.lock().unwrap_or_else(PoisonError::into_inner);
        let mut still = HashMap::new();
        let mut removed = 0;
        for hash in self.names()?.into_iter().filter(|hash| !keep.contains(hash)) {
            let first = unneeded.get(&hash).copied().unwrap_or(seen);
            if first <= since && self.remove_unconfirmed(&hash, since)? {
                removed += 1;
            } else {
                still.insert(hash, first);
            }
        }
        *unneeded = still;
        // Whatever is older than this is as old as the process, for all that it matters.
        self.confirmations().retain(|_, at| *at >= since);
        Ok(removed)
    }

    /// Removes the blob if it was neither stored nor confirmed since `since`; says whether it did.
    pub fn remove_unconfirmed(&self, hash: &Hash, since: Instant) -> Result<bool, BlobError> {
        let _turn = self.turn(hash);
        let last = self.confirmations().get(hash).copied().unwrap_or(self.0.opened);
        if last >= since { Ok(false) } else { self.remove_now(hash).map(|()| true) }
    }

    /// Removes the blob if it is here.
    pub fn remove(&self, hash: &Hash) -> Result<(), BlobError> {
        let _turn = self.turn(hash);
        self.remove_now(hash)
    }

    fn remove_now(&self, hash: &Hash) -> Result<(), BlobError> {
        // The bytes go first: a manifest without bytes is no blob, bytes without manifest would be half of one.
        if let Ok(length) = self.size(hash) {
            let path = self.path(hash);
            std::fs::remove_file(&path).map_err(told("remove", &path))?;
            self.0.space.subtract(length);
        }
        self.remove_manifest(hash)
    }

    fn remove_manifest(&self, hash: &Hash) -> Result<(), BlobError> {
        let path = self.manifest_path(hash);
        match std::fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(told("remove", &path)(error)),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]

    use super::*;

    pub(super) fn open(folder: &tempfile::TempDir) -> Blobs {
        Blobs::open(folder.path(), Quota::default()).unwrap()
    }

    pub(super) async fn put(blobs: &Blobs, bytes: &[u8]) -> Hash {
        let mut staged = blobs.stage(0).await.unwrap();
        staged.write(bytes).await.unwrap();
        staged.commit().await.unwrap().0
    }

    fn staging(folder: &tempfile::TempDir) -> usize {
        std::fs::read_dir(folder.path().join("staging")).unwrap().count()
    }

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
    async fn files_are_counted_as_they_come_and_go() {
        let folder = tempfile::tempdir().unwrap();
        let blobs = open(&folder);
        let (first, second) = (put(&blobs, b"first").await, put(&blobs, b"the second").await);
        put(&blobs, b"first").await;
        assert_eq!(blobs.usage(), Usage { files: 2, bytes: 15 });
        blobs.remove(&first).unwrap();
        blobs.remove(&first).unwrap();
        assert_eq!(blobs.usage(), Usage { files: 1, bytes: 10 });
        assert_eq!(open(&folder).usage(), blobs.usage());
        // What is changed behind its back is noticed by the next count.
        std::fs::remove_file(blobs.path(&second)).unwrap();
        blobs.recount().unwrap();
        assert_eq!(blobs.usage(), Usage::default());
    }

    #[tokio::test]
    async fn what_is_not_committed_leaves_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let blobs = open(&folder);
        let mut staged = blobs.stage(0).await.unwrap();
        staged.write(&vec![7; 100_000]).await.unwrap();
        drop(staged);
        assert_eq!(staging(&folder), 0);
        // A killed process cannot tidy up; the next start does.
        std::fs::write(folder.path().join("staging/left"), b"over").unwrap();
        open(&folder);
        assert_eq!(staging(&folder), 0);
    }

    #[tokio::test]
    async fn a_sweep_takes_what_nobody_writes_any_more_and_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let blobs = open(&folder);
        let mut running = blobs.stage(0).await.unwrap();
        running.write(b"still ").await.unwrap();
        std::fs::write(folder.path().join("staging/left"), b"over").unwrap();
        assert_eq!(blobs.sweep_staging().unwrap(), 1);
        assert_eq!(staging(&folder), 1);
        running.write(b"running").await.unwrap();
        let (hash, _) = running.commit().await.unwrap();
        assert_eq!(std::fs::read(blobs.path(&hash)).unwrap(), b"still running");
    }

    #[tokio::test]
    async fn a_quota_bounds_what_is_here_and_what_is_coming() {
        let folder = tempfile::tempdir().unwrap();
        let blobs = Blobs::open(folder.path(), Quota { reserve_bytes: 0, max_bytes: Some(1000) }).unwrap();
        let hash = put(&blobs, &[1; 600]).await;
        assert_eq!(blobs.free_bytes().unwrap(), 400);
        assert!(matches!(blobs.stage(401).await, Err(BlobError::Full)));
        let mut coming = blobs.stage(300).await.unwrap();
        assert!(matches!(blobs.check_free(200), Err(BlobError::Full)));
        coming.write(&[2; 300]).await.unwrap();
        // More than it said, as long as it fits.
        coming.write(&[2; 100]).await.unwrap();
        assert!(matches!(coming.write(&[2; 1]).await, Err(BlobError::Full)));
        drop(coming);
        assert_eq!((staging(&folder), blobs.free_bytes().unwrap()), (0, 400));
        blobs.remove(&hash).unwrap();
        assert_eq!(blobs.free_bytes().unwrap(), 1000);
        let source = folder.path().join("source");
        std::fs::write(&source, [3; 1001]).unwrap();
        assert!(matches!(blobs.import(&source).await, Err(BlobError::Full)));
        assert_eq!(staging(&folder), 0);
    }

    #[test]
    fn a_disk_that_says_that_it_is_full_is_full() {
        for code in [rustix::io::Errno::NOSPC, rustix::io::Errno::DQUOT] {
            assert!(matches!(told("write", Path::new("file"))(code.into()), BlobError::Full));
        }
    }

    #[tokio::test]
    async fn what_was_stored_damaged_is_healed_by_storing_it_again() {
        let folder = tempfile::tempdir().unwrap();
        let blobs = open(&folder);
        let hash = put(&blobs, b"a song").await;
        std::fs::write(blobs.path(&hash), b"a sonG").unwrap();
        put(&blobs, b"a song").await;
        assert!(!blobs.verify(&hash).await.unwrap().mended);
        assert_eq!(blobs.usage(), Usage { files: 1, bytes: 6 });
    }

    const NOTHING: [Hash; 0] = [];

    fn collect(blobs: &Blobs, keep: &[Hash], seen: Instant) -> usize {
        blobs.collect_garbage(&keep.iter().copied().collect(), seen, Duration::ZERO).unwrap()
    }

    #[tokio::test]
    async fn a_confirmed_blob_is_not_collected_and_an_old_one_is() {
        let folder = tempfile::tempdir().unwrap();
        let blobs = open(&folder);
        let (wanted, old) = (put(&blobs, b"wanted").await, put(&blobs, b"old").await);
        // Somebody deletes both songs; somebody else uploads the first again while the collection has begun.
        let began = Instant::now();
        assert!(blobs.confirm(&wanted));
        assert_eq!(collect(&blobs, &NOTHING, began), 1);
        assert!(blobs.contains(&wanted) && !blobs.contains(&old));
        assert!(!blobs.confirm(&old));
        // Storing it again confirms it as well.
        let began = Instant::now();
        put(&blobs, b"wanted").await;
        assert_eq!(collect(&blobs, &NOTHING, began), 0);
        assert_eq!(collect(&blobs, &NOTHING, Instant::now()), 1);
    }

    #[tokio::test]
    async fn what_was_here_at_the_start_is_as_young_as_the_process() {
        let folder = tempfile::tempdir().unwrap();
        let hash = put(&open(&folder), b"before").await;
        let before = Instant::now();
        let blobs = open(&folder);
        assert_eq!(collect(&blobs, &NOTHING, before), 0);
        assert_eq!(collect(&blobs, &[hash], Instant::now()), 0);
        assert_eq!(collect(&blobs, &NOTHING, Instant::now()), 1);
    }

    #[tokio::test]
    async fn a_blob_goes_only_when_it_was_unneeded_for_the_whole_grace() {
        let folder = tempfile::tempdir().unwrap();
        let blobs = open(&folder);
        let hash = put(&blobs, b"a song").await;
        let grace = Duration::from_secs(60);
        let collect = |keep: &[Hash], minute: u32| {
            let seen = Instant::now() + Duration::from_secs(3600) + grace * minute;
            blobs.collect_garbage(&keep.iter().copied().collect(), seen, grace).unwrap()
        };
        // It was stored an hour ago. A song that refers to it is deleted, added, and deleted again.
        assert_eq!(collect(&[hash], 0), 0);
        assert_eq!(collect(&NOTHING, 1), 0);
        assert_eq!(collect(&[hash], 2), 0);
        assert_eq!(collect(&NOTHING, 3), 0);
        assert_eq!(collect(&NOTHING, 4), 1);
    }
}

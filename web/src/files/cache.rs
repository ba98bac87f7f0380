//! Files that this node generates on demand: mixes, and songs in other formats.
//!
//! A file's name determines its bytes, so an existing file is always valid. A file is generated once, however many
//! requests ask for it at the same time, and generating it goes on when all of them are gone. When the folder exceeds
//! its limit, the least recently used files are removed. Every file can be generated again, so files are not synced,
//! and the folder may be emptied before a start.
//!
//! A file that cannot be generated because a stored file is damaged is refused for a while without another attempt:
//! such an attempt may take minutes.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use audio::thread::at_low_priority;
use tokio::sync::Semaphore;

use super::keyed_locks::KeyedLocks;
use crate::http::error::ApiError;

/// Files that are generated at a time; each takes a core.
const GENERATORS: usize = 2;
/// The longest wait of a request for a generator.
const PATIENCE: Duration = Duration::from_secs(30);
/// How long a file that cannot be generated is refused without another attempt.
const REFUSED_FOR: Duration = Duration::from_secs(600);
/// The most files that are refused so.
const REFUSED: u64 = 1000;
/// The ending of an unfinished file's name.
const UNFINISHED: &str = ".half";

/// The folder of generated files.
#[derive(Clone)]
pub(crate) struct Cache {
    folder: Arc<PathBuf>,
    limit: u64,
    generators: Arc<Semaphore>,
    locks: Arc<KeyedLocks<String>>,
    /// Names of files that cannot be generated, and why.
    refused: moka::future::Cache<String, String>,
}

impl Cache {
    /// A cache of at most `limit` bytes in `folder`, which must exist.
    pub(crate) fn new(folder: PathBuf, limit: u64) -> Self {
        Self {
            folder: Arc::new(folder),
            limit,
            generators: Arc::new(Semaphore::new(GENERATORS)),
            locks: Arc::default(),
            refused: moka::future::Cache::builder().max_capacity(REFUSED).time_to_live(REFUSED_FOR).build(),
        }
    }

    /// The file `name` if it exists. This counts as a use.
    pub(crate) async fn kept(&self, name: &str) -> Option<PathBuf> {
        let path = self.folder.join(name);
        used(&path).await.then_some(path)
    }

    /// The file `name`. If it does not exist, `make` generates it on a thread of its own, at the path that it is given.
    ///
    /// `make` may add endings to that path for temporary files; they are removed afterwards.
    pub(crate) async fn get<M>(&self, name: &str, make: M) -> Result<PathBuf, ApiError>
    where
        M: FnOnce(&Path) -> Result<(), ApiError> + Send + 'static,
    {
        let path = self.folder.join(name);
        if let Some(kept) = self.kept(name).await {
            return Ok(kept);
        }
        let lock = self.locks.of(name.to_owned());
        let (cache, name) = (self.clone(), name.to_owned());
        let making = tokio::spawn(async move {
            let _lock = lock.lock().await;
            if used(&path).await {
                return Ok(path);
            }
            if let Some(reason) = cache.refused.get(&name).await {
                return Err(ApiError::Damaged(reason));
            }
            let permit = tokio::time::timeout(PATIENCE, cache.generators.acquire()).await;
            let Ok(Ok(_permit)) = permit else {
                return Err(ApiError::Busy("making other mixes and files".into()));
            };
            let unfinished = cache.folder.join(format!("{name}{UNFINISHED}"));
            let (folder, limit, whole) = (Arc::clone(&cache.folder), cache.limit, path.clone());
            let made = at_low_priority("convert", move || {
                let made = make(&unfinished).and_then(|()| {
                    std::fs::rename(&unfinished, &whole).map_err(|source| ApiError::io("keep a file", &source))
                });
                remove_unfinished(&folder, &unfinished);
                made?;
                if let Err(error) = shrink(&folder, limit, &whole) {
                    tracing::warn!(%error, "the cache exceeds its limit");
                }
                Ok(whole)
            });
            let made = made.await?;
            if let Err(ApiError::Damaged(reason)) = &made {
                cache.refused.insert(name, reason.clone()).await;
            }
            made
        });
        making.await.unwrap_or_else(|error| Err(ApiError::internal("making a file", &error)))
    }
}

/// Whether the file exists. If so, this sets its modification time, which counts as a use.
async fn used(path: &Path) -> bool {
    let path = path.to_owned();
    let touched = tokio::task::spawn_blocking(move || {
        std::fs::File::options().append(true).open(path)?.set_modified(SystemTime::now())
    });
    matches!(touched.await, Ok(Ok(())))
}

/// Removes `unfinished` and all files whose names begin with its name.
fn remove_unfinished(folder: &Path, unfinished: &Path) {
    let Some(name) = unfinished.file_name().and_then(|name| name.to_str()) else {
        return;
    };
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        if entry.file_name().to_str().is_some_and(|found| found.starts_with(name)) {
            let _ = std::fs::remove_file(entry.path());
        }
    }
}

/// Removes the least recently used files until the folder is within `limit`. `keep` is never removed.
fn shrink(folder: &Path, limit: u64, keep: &Path) -> io::Result<()> {
    let mut files = Vec::new();
    let mut total = 0;
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        let Ok(metadata) = entry.metadata() else {
            continue;
        };
        if entry.file_name().to_string_lossy().contains(UNFINISHED) {
            continue;
        }
        total += metadata.len();
        files.push((metadata.modified()?, metadata.len(), entry.path()));
    }
    files.sort();
    for (_, size, path) in files {
        if total <= limit {
            break;
        }
        if path != keep {
            // Responses that are sending this file have it open and are not affected.
            std::fs::remove_file(path)?;
            total -= size;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]

    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;

    fn write(path: &Path, length: usize) -> Result<(), ApiError> {
        std::fs::write(path, vec![0; length]).unwrap();
        Ok(())
    }

    #[tokio::test]
    async fn concurrent_requests_generate_a_file_once() {
        let folder = tempfile::tempdir().unwrap();
        let cache = Cache::new(folder.path().into(), 1000);
        let made = Arc::new(AtomicU32::new(0));
        let asked = (0..10).map(|_| {
            let made = Arc::clone(&made);
            cache.get("a.mp3", move |path| {
                made.fetch_add(1, Ordering::Relaxed);
                // The other requests arrive meanwhile.
                std::thread::sleep(Duration::from_millis(20));
                std::fs::write(path, "music").unwrap();
                std::fs::write(format!("{}.samples", path.display()), "in between").unwrap();
                Ok(())
            })
        });
        for path in futures_util::future::join_all(asked).await {
            assert_eq!(std::fs::read(path.unwrap()).unwrap(), b"music");
        }
        assert_eq!(made.load(Ordering::Relaxed), 1);
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[tokio::test]
    async fn failed_attempt_leaves_no_files_and_can_be_repeated() {
        let folder = tempfile::tempdir().unwrap();
        let cache = Cache::new(folder.path().into(), 1000);
        let failed = cache
            .get("a.mp3", |path| {
                std::fs::write(path, "half").unwrap();
                Err(ApiError::Busy("testing".into()))
            })
            .await;
        assert!(matches!(failed, Err(ApiError::Busy(_))));
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
        cache.get("a.mp3", |path| write(path, 5)).await.unwrap();
    }

    #[tokio::test]
    async fn damaged_source_is_refused_without_another_attempt() {
        let folder = tempfile::tempdir().unwrap();
        let cache = Cache::new(folder.path().into(), 1000);
        for _ in 0..2 {
            let failed = cache.get("a.mp3", |_| Err(ApiError::Damaged("It is damaged.".into()))).await;
            assert!(matches!(failed, Err(ApiError::Damaged(reason)) if reason == "It is damaged."));
        }
        let again = cache.get("a.mp3", |path| write(path, 5)).await;
        assert!(matches!(again, Err(ApiError::Damaged(_))));
        cache.get("b.mp3", |path| write(path, 5)).await.unwrap();
    }

    #[tokio::test]
    async fn least_recently_used_file_is_removed_first() {
        let folder = tempfile::tempdir().unwrap();
        let cache = Cache::new(folder.path().into(), 250);
        let made_before = |name: &str, seconds: u64| {
            let file = std::fs::File::options().append(true).open(folder.path().join(name)).unwrap();
            file.set_modified(SystemTime::now() - Duration::from_secs(seconds)).unwrap();
        };
        for name in ["a", "b"] {
            cache.get(name, |path| write(path, 100)).await.unwrap();
        }
        made_before("a", 200);
        made_before("b", 100);
        // The older file is used again. The third file replaces the other one.
        for name in ["a", "c"] {
            cache.get(name, |path| write(path, 100)).await.unwrap();
        }
        let mut left: Vec<_> =
            std::fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        left.sort();
        assert_eq!(left, ["a", "c"]);
    }
}

//! Files that this node makes from others on demand: mixes, and songs in a format they were not uploaded in.
//!
//! A file's name says all that its bytes follow from, so a file that is there is right. It is made once, however many
//! ask at the same time, and goes on being made when all who asked have gone: the next will want it. When the folder
//! is over its size, what was used least recently goes. Everything here can be made again, so nothing is synced and
//! the folder may be emptied at any start.
//!
//! What cannot be made because a stored file cannot be decoded is not tried again for a while: such a file may hold a maker
//! for minutes.

use std::collections::VecDeque;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use audio::thread::at_low_priority;
use tokio::sync::Semaphore;

use crate::error::ApiError;
use crate::turns::Turns;

/// How many files are made at a time; each takes a core.
const MAKERS: usize = 2;
/// How long somebody waits for a maker before being sent away.
const PATIENCE: Duration = Duration::from_secs(30);
/// How long a file that cannot be made is not tried again.
const REFUSED_FOR: Duration = Duration::from_secs(600);
/// How many such files are remembered.
const REFUSED: usize = 1000;
/// What a half-made file's name ends with.
const HALF_MADE: &str = ".half";

/// The folder, its size and what is being made.
#[derive(Clone)]
pub struct Cache {
    folder: Arc<PathBuf>,
    limit: u64,
    makers: Arc<Semaphore>,
    turns: Arc<Turns<String>>,
    refused: Arc<Mutex<VecDeque<Refused>>>,
}

/// A file that cannot be made.
struct Refused {
    name: String,
    since: Instant,
    reason: String,
}

impl Cache {
    /// A cache of at most `limit` bytes in `folder`, which must exist.
    pub fn new(folder: PathBuf, limit: u64) -> Self {
        let makers = Arc::new(Semaphore::new(MAKERS));
        Self { folder: Arc::new(folder), limit, makers, turns: Arc::default(), refused: Arc::default() }
    }

    /// Fails if the file could not be made a while ago.
    fn expect_makeable(&self, name: &str) -> Result<(), ApiError> {
        let mut refused = self.refused.lock().unwrap_or_else(PoisonError::into_inner);
        refused.retain(|refused| refused.since.elapsed() < REFUSED_FOR);
        let found = refused.iter().find(|refused| refused.name == name);
        found.map_or(Ok(()), |refused| Err(ApiError::Damaged(refused.reason.clone())))
    }

    /// Remembers that the file cannot be made, if that is why.
    fn note(&self, name: &str, error: &ApiError) {
        let ApiError::Damaged(reason) = error else { return };
        let mut refused = self.refused.lock().unwrap_or_else(PoisonError::into_inner);
        refused.push_back(Refused { name: name.to_owned(), since: Instant::now(), reason: reason.clone() });
        if refused.len() > REFUSED {
            refused.pop_front();
        }
    }

    /// The file `name` if it is there; it then counts as used now.
    pub async fn kept(&self, name: &str) -> Option<PathBuf> {
        let path = self.folder.join(name);
        used(&path).await.then_some(path)
    }

    /// The file `name`, made by `make` if it is not there: on a thread of its own, into the path that it is given.
    ///
    /// `make` may use that path with further endings for what it needs in between; all of those are removed.
    pub async fn get<M>(&self, name: &str, make: M) -> Result<PathBuf, ApiError>
    where
        M: FnOnce(&Path) -> Result<(), ApiError> + Send + 'static,
    {
        let path = self.folder.join(name);
        if let Some(kept) = self.kept(name).await {
            return Ok(kept);
        }
        let turn = self.turns.of(name.to_owned());
        let (cache, name) = (self.clone(), name.to_owned());
        let making = tokio::spawn(async move {
            let _turn = turn.lock().await;
            if used(&path).await {
                return Ok(path);
            }
            cache.expect_makeable(&name)?;
            let permit = tokio::time::timeout(PATIENCE, cache.makers.acquire()).await;
            let Ok(Ok(_permit)) = permit else {
                return Err(ApiError::Busy("making other mixes and files".into()));
            };
            let half = cache.folder.join(format!("{name}{HALF_MADE}"));
            let (folder, limit, whole) = (Arc::clone(&cache.folder), cache.limit, path.clone());
            let made = at_low_priority("convert", move || {
                let made = make(&half).and_then(|()| {
                    std::fs::rename(&half, &whole).map_err(|source| ApiError::io("keep a file", &source))
                });
                remove_half_made(&folder, &half);
                made?;
                if let Err(error) = shrink(&folder, limit, &whole) {
                    tracing::warn!(%error, "the cache cannot be kept to its size");
                }
                Ok(whole)
            });
            let made = made.await?;
            if let Err(error) = &made {
                cache.note(&name, error);
            }
            made
        });
        making.await.unwrap_or_else(|error| Err(ApiError::internal("making a file", &error)))
    }
}

/// Whether the file is there; if so, it counts as used now.
async fn used(path: &Path) -> bool {
    let path = path.to_owned();
    let touched = tokio::task::spawn_blocking(move || {
        std::fs::File::options().append(true).open(path)?.set_modified(SystemTime::now())
    });
    matches!(touched.await, Ok(Ok(())))
}

/// Removes `half` and everything whose name begins with its name.
fn remove_half_made(folder: &Path, half: &Path) {
    let Some(name) = half.file_name().and_then(|name| name.to_str()) else {
        return;
    };
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        if entry.file_name().to_str().is_some_and(|found| found.starts_with(name)) {
            let _ = std::fs::remove_file(entry.path());
        }
    }
}

/// Removes what was used least recently until the folder is within `limit`, but never `keep`.
fn shrink(folder: &Path, limit: u64, keep: &Path) -> io::Result<()> {
    let mut files = Vec::new();
    let mut total = 0;
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        let Ok(metadata) = entry.metadata() else {
            continue;
        };
        if entry.file_name().to_string_lossy().contains(HALF_MADE) {
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
            // Whoever is being sent this file has it open and gets it to its end.
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
    async fn a_file_is_made_once_however_many_ask() {
        let folder = tempfile::tempdir().unwrap();
        let cache = Cache::new(folder.path().into(), 1000);
        let made = Arc::new(AtomicU32::new(0));
        let asked = (0..10).map(|_| {
            let made = Arc::clone(&made);
            cache.get("a.mp3", move |path| {
                made.fetch_add(1, Ordering::Relaxed);
                // Others ask meanwhile.
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
    async fn a_failure_leaves_nothing_and_the_next_tries_again() {
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
    async fn what_a_damaged_file_does_not_give_is_not_tried_again_at_once() {
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
    async fn what_was_used_least_recently_goes_first() {
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
        // The older one is used again, and a third one takes the room of the other.
        for name in ["a", "c"] {
            cache.get(name, |path| write(path, 100)).await.unwrap();
        }
        let mut left: Vec<_> =
            std::fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        left.sort();
        assert_eq!(left, ["a", "c"]);
    }
}

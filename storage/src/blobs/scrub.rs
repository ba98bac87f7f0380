//! The scrub: it reads and verifies every blob regularly, because disks lose data without an error.
//!
//! A round lasts a given period. The pause after each file is the file's share of it, by bytes. The position is kept in
//! a file, so a restarted node continues the round. A lost position only starts the round again.
//!
//! A [`ScrubTrigger`] starts a round at once, which does not pause.

use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::sync::Notify;

use super::{BlobError, Blobs, Hash, blocking};

/// The longest pause of a node without blobs.
const EMPTY_PAUSE: Duration = Duration::from_secs(3600);

/// The position of a round.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
struct Position {
    /// The last blob that was read.
    #[serde(default)]
    after: Option<Hash>,
    /// The number of blobs that this round has read.
    #[serde(default)]
    files: u64,
    /// The bytes of these blobs.
    #[serde(default)]
    bytes: u64,
}

#[derive(Default)]
struct Trigger {
    /// How often a round was requested, which is the number of the last request.
    requests: AtomicU64,
    notify: Notify,
}

/// Starts rounds at once. Cheap to clone.
#[derive(Clone, Default)]
pub struct ScrubTrigger(Arc<Trigger>);

impl ScrubTrigger {
    /// Requests a round without pauses and returns the number of the request. The running round is abandoned, even if
    /// it was requested too.
    pub fn trigger(&self) -> u64 {
        let number = self.0.requests.fetch_add(1, Ordering::Relaxed) + 1;
        self.0.notify.notify_one();
        number
    }

    /// Waits for the next request.
    pub async fn triggered(&self) {
        self.0.notify.notified().await;
    }

    /// The number of the last request; 0 before the first one.
    pub fn last_request(&self) -> u64 {
        self.0.requests.load(Ordering::Relaxed)
    }
}

/// The result of one step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Finding {
    /// The blob is intact, or was removed meanwhile.
    Intact,
    /// The blob was damaged and is quarantined.
    Damaged(Hash),
    /// The round is complete.
    End {
        /// The request that started it, if one did.
        request: Option<u64>,
    },
}

/// The scrub of one node's blobs.
pub struct Scrub {
    blobs: Blobs,
    /// The duration of a round.
    period: Duration,
    /// The file with the position.
    path: PathBuf,
    position: Position,
    /// The blobs that this round still has to read. `None` before the first step.
    left: Option<VecDeque<Hash>>,
    trigger: ScrubTrigger,
    /// The last request that started a round.
    started: u64,
    /// Whether a request started this round.
    requested: bool,
}

impl Scrub {
    /// A scrub whose rounds last `period`. It continues the round whose position is in the file `path`.
    pub fn new(blobs: Blobs, period: Duration, path: PathBuf, trigger: ScrubTrigger) -> Self {
        let position = std::fs::read(&path).ok().and_then(|bytes| codec::decode(&bytes).ok()).unwrap_or_default();
        Self { blobs, period, path, position, left: None, trigger, started: 0, requested: false }
    }

    /// The request that started this round, if one did.
    pub fn requested(&self) -> Option<u64> {
        self.requested.then_some(self.started)
    }

    /// The blobs that this round has read, all blobs that it will read, and the bytes read.
    pub fn progress(&self) -> (u64, u64, u64) {
        let left = self.left.as_ref().map_or(0, VecDeque::len) as u64;
        (self.position.files, self.position.files + left, self.position.bytes)
    }

    /// Verifies the next blob. Returns the result and how long to pause; `None` in a round that was requested.
    pub async fn step(&mut self) -> Result<(Finding, Option<Duration>), BlobError> {
        let request = self.trigger.last_request();
        if request > self.started {
            (self.position, self.left, self.started, self.requested) = (Position::default(), None, request, true);
        }
        if self.left.is_none() {
            let (blobs, after) = (self.blobs.clone(), self.position.after);
            let names = blocking(move || blobs.names()).await?;
            self.left = Some(names.into_iter().filter(|name| after.is_none_or(|after| *name > after)).collect());
        }
        let Some(hash) = self.left.as_mut().and_then(VecDeque::pop_front) else {
            let request = self.requested();
            (self.position, self.left, self.requested) = (Position::default(), None, false);
            self.save_position();
            let pause = if self.blobs.usage().files == 0 { EMPTY_PAUSE.min(self.period) } else { Duration::ZERO };
            return Ok((Finding::End { request }, Some(pause)));
        };
        let blobs = self.blobs.clone();
        let (finding, bytes) = match blocking(move || blobs.verify_on_disk(&hash)).await {
            Ok(verified) => (Finding::Intact, verified.manifest.length),
            Err(BlobError::Corrupt(_)) => (Finding::Damaged(hash), 0),
            Err(BlobError::Missing(_)) => (Finding::Intact, 0),
            Err(error) => return Err(error),
        };
        self.position.after = Some(hash);
        self.position.files += 1;
        self.position.bytes += bytes;
        self.save_position();
        Ok((finding, (!self.requested).then(|| self.pause(bytes))))
    }

    /// The share of the period for a blob of `bytes`.
    fn pause(&self, bytes: u64) -> Duration {
        let all = self.blobs.usage().bytes.max(1);
        self.period.mul_f64((bytes as f64 / all as f64).min(1.0))
    }

    fn save_position(&self) {
        let half = self.path.with_extension("half");
        let saved = codec::encode(&self.position)
            .map_err(|error| error.to_string())
            .and_then(|bytes| std::fs::write(&half, bytes).map_err(|error| error.to_string()))
            .and_then(|()| std::fs::rename(&half, &self.path).map_err(|error| error.to_string()));
        if let Err(error) = saved {
            tracing::debug!(error, "cannot save the position of the scrub");
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]

    use crate::blobs::testing::{open, put};

    use super::*;

    fn scrub(folder: &tempfile::TempDir, blobs: &Blobs) -> Scrub {
        Scrub::new(blobs.clone(), Duration::from_secs(1000), folder.path().join("scrub"), ScrubTrigger::default())
    }

    #[tokio::test]
    async fn a_round_reads_every_blob_and_finds_the_damaged_one() {
        let folder = tempfile::tempdir().unwrap();
        let blobs = open(&folder);
        let mut hashes = Vec::new();
        for number in 0..10u8 {
            hashes.push(put(&blobs, &[number; 100]).await);
        }
        let bad = hashes[7];
        std::fs::write(blobs.path(&bad), [6; 100]).unwrap();
        let mut scrub = scrub(&folder, &blobs);
        let mut damaged = Vec::new();
        let mut pauses = Duration::ZERO;
        for _ in 0..10 {
            let (finding, pause) = scrub.step().await.unwrap();
            pauses += pause.unwrap();
            if let Finding::Damaged(hash) = finding {
                damaged.push(hash);
            }
        }
        assert_eq!(damaged, [bad]);
        assert!(!blobs.contains(&bad));
        assert_eq!(scrub.progress(), (10, 10, 900));
        assert_eq!(scrub.step().await.unwrap().0, Finding::End { request: None });
        // The pauses add up to the period, within a tenth: the damaged blob has no share.
        assert!(pauses > Duration::from_secs(880) && pauses < Duration::from_secs(1010), "{pauses:?}");
    }

    #[tokio::test]
    async fn a_restart_continues_the_round() {
        let folder = tempfile::tempdir().unwrap();
        let blobs = open(&folder);
        for number in 0..5u8 {
            put(&blobs, &[number; 100]).await;
        }
        let mut first = scrub(&folder, &blobs);
        for _ in 0..3 {
            first.step().await.unwrap();
        }
        let mut second = scrub(&folder, &blobs);
        second.step().await.unwrap();
        assert_eq!(second.progress(), (4, 5, 400));
        second.step().await.unwrap();
        assert_eq!(second.step().await.unwrap().0, Finding::End { request: None });
        // An invalid position starts the round again.
        std::fs::write(folder.path().join("scrub"), b"nonsense").unwrap();
        let mut third = scrub(&folder, &blobs);
        third.step().await.unwrap();
        assert_eq!(third.progress(), (1, 5, 100));
    }

    #[tokio::test]
    async fn a_requested_round_starts_at_once_and_does_not_pause() {
        let folder = tempfile::tempdir().unwrap();
        let blobs = open(&folder);
        for number in 0..3u8 {
            put(&blobs, &[number; 100]).await;
        }
        let mut scrub = scrub(&folder, &blobs);
        assert!(scrub.step().await.unwrap().1.is_some());
        assert_eq!(scrub.requested(), None);
        let number = scrub.trigger.trigger();
        scrub.trigger.triggered().await;
        for read in 1..=3 {
            assert_eq!(scrub.step().await.unwrap(), (Finding::Intact, None));
            assert_eq!((scrub.progress().0, scrub.requested()), (read, Some(number)));
        }
        assert_eq!(scrub.step().await.unwrap().0, Finding::End { request: Some(number) });
        assert!(scrub.step().await.unwrap().1.is_some());
    }
}

//! The scrub: every blob is read to its end once in a while, for a disk forgets in silence.
//!
//! A round takes as long as it is given, with the files' bytes spread evenly over it. How far it has come is kept in a
//! file, so that a restart goes on where it was. The file is a hint: should it be lost, a round begins again.

use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::sync::Notify;

use super::{BlobError, Blobs, Hash, blocking};

/// The longest pause when there is nothing to read.
const EMPTY: Duration = Duration::from_secs(3600);

/// How far the round is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
struct Mark {
    /// The last file that was read.
    #[serde(default)]
    after: Option<Hash>,
    /// Files that this round has read.
    #[serde(default)]
    files: u64,
    /// Their bytes.
    #[serde(default)]
    bytes: u64,
}

#[derive(Default)]
struct Request {
    given: AtomicU64,
    woken: Notify,
}

/// Asks for a round at once. Cheap to clone.
#[derive(Clone, Default)]
pub struct ScrubTrigger(Arc<Request>);

impl ScrubTrigger {
    /// Has a round begin now that reads without the long pauses, and returns the order's number. A round that was
    /// ordered before and has not ended begins anew.
    pub fn trigger(&self) -> u64 {
        let number = self.0.given.fetch_add(1, Ordering::Relaxed) + 1;
        self.0.woken.notify_one();
        number
    }

    /// Waits until somebody asks.
    pub async fn triggered(&self) {
        self.0.woken.notified().await;
    }

    /// The number of the last order; 0 before the first.
    pub fn last_request(&self) -> u64 {
        self.0.given.load(Ordering::Relaxed)
    }
}

/// What reading a file has shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Finding {
    /// It is right, or went away meanwhile.
    Intact,
    /// It was damaged and has been set aside.
    Damaged(Hash),
    /// There is nothing more to read in this round.
    End {
        /// The order that it was begun for, if it was.
        request: Option<u64>,
    },
}

/// The scrub of one node's blobs.
pub struct Scrub {
    blobs: Blobs,
    /// How long a round takes.
    period: Duration,
    path: PathBuf,
    mark: Mark,
    /// What this round has still to read, once it is known.
    left: Option<VecDeque<Hash>>,
    order: ScrubTrigger,
    /// The last order that a round began for.
    begun: u64,
    /// Whether this round is one.
    hurried: bool,
}

impl Scrub {
    /// Goes on with the round whose mark is at `path`, until `order` is given.
    pub fn new(blobs: Blobs, period: Duration, path: PathBuf, order: ScrubTrigger) -> Self {
        let mark = std::fs::read(&path).ok().and_then(|bytes| codec::decode(&bytes).ok()).unwrap_or_default();
        Self { blobs, period, path, mark, left: None, order, begun: 0, hurried: false }
    }

    /// The order that this round was begun for, if it was.
    pub fn requested(&self) -> Option<u64> {
        self.hurried.then_some(self.begun)
    }

    /// Files that this round has read, how many it will have read, and the bytes read.
    pub fn progress(&self) -> (u64, u64, u64) {
        let left = self.left.as_ref().map_or(0, VecDeque::len) as u64;
        (self.mark.files, self.mark.files + left, self.mark.bytes)
    }

    /// Reads the next file, and says how long to pause then; no pause is a round that was asked for.
    pub async fn step(&mut self) -> Result<(Finding, Option<Duration>), BlobError> {
        let order = self.order.last_request();
        if order > self.begun {
            (self.mark, self.left, self.begun, self.hurried) = (Mark::default(), None, order, true);
        }
        if self.left.is_none() {
            let (blobs, after) = (self.blobs.clone(), self.mark.after);
            let names = blocking(move || blobs.names()).await?;
            self.left = Some(names.into_iter().filter(|name| after.is_none_or(|after| *name > after)).collect());
        }
        let Some(hash) = self.left.as_mut().and_then(VecDeque::pop_front) else {
            let order = self.requested();
            (self.mark, self.left, self.hurried) = (Mark::default(), None, false);
            self.keep_mark();
            let pause = if self.blobs.usage().files == 0 { EMPTY.min(self.period) } else { Duration::ZERO };
            return Ok((Finding::End { request: order }, Some(pause)));
        };
        let blobs = self.blobs.clone();
        let (finding, bytes) = match blocking(move || blobs.scrub(&hash)).await {
            Ok(examined) => (Finding::Intact, examined.manifest.length),
            Err(BlobError::Corrupt(_)) => (Finding::Damaged(hash), 0),
            Err(BlobError::Missing(_)) => (Finding::Intact, 0),
            Err(error) => return Err(error),
        };
        self.mark.after = Some(hash);
        self.mark.files += 1;
        self.mark.bytes += bytes;
        self.keep_mark();
        Ok((finding, (!self.hurried).then(|| self.pause(bytes))))
    }

    /// A file's share of the round.
    fn pause(&self, bytes: u64) -> Duration {
        let all = self.blobs.usage().bytes.max(1);
        self.period.mul_f64((bytes as f64 / all as f64).min(1.0))
    }

    fn keep_mark(&self) {
        let half = self.path.with_extension("half");
        let kept = codec::encode(&self.mark)
            .map_err(|error| error.to_string())
            .and_then(|bytes| std::fs::write(&half, bytes).map_err(|error| error.to_string()))
            .and_then(|()| std::fs::rename(&half, &self.path).map_err(|error| error.to_string()));
        if let Err(error) = kept {
            tracing::debug!(error, "the place of the scrub could not be noted");
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]

    use super::super::tests::{open, put};
    use super::*;

    fn scrub(folder: &tempfile::TempDir, blobs: &Blobs) -> Scrub {
        Scrub::new(blobs.clone(), Duration::from_secs(1000), folder.path().join("scrub"), ScrubTrigger::default())
    }

    #[tokio::test]
    async fn a_round_reads_every_file_and_finds_the_damaged_one() {
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
        // The files fill the round: nine tenths, and a tenth that was lost on the way.
        assert!(pauses > Duration::from_secs(880) && pauses < Duration::from_secs(1010), "{pauses:?}");
    }

    #[tokio::test]
    async fn a_restart_goes_on_where_it_was() {
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
        // A mark that cannot be read is none.
        std::fs::write(folder.path().join("scrub"), b"nonsense").unwrap();
        let mut third = scrub(&folder, &blobs);
        third.step().await.unwrap();
        assert_eq!(third.progress(), (1, 5, 100));
    }

    #[tokio::test]
    async fn a_round_that_is_asked_for_begins_anew_and_does_not_pause() {
        let folder = tempfile::tempdir().unwrap();
        let blobs = open(&folder);
        for number in 0..3u8 {
            put(&blobs, &[number; 100]).await;
        }
        let mut scrub = scrub(&folder, &blobs);
        assert!(scrub.step().await.unwrap().1.is_some());
        assert_eq!(scrub.requested(), None);
        let number = scrub.order.trigger();
        scrub.order.triggered().await;
        for read in 1..=3 {
            assert_eq!(scrub.step().await.unwrap(), (Finding::Intact, None));
            assert_eq!((scrub.progress().0, scrub.requested()), (read, Some(number)));
        }
        assert_eq!(scrub.step().await.unwrap().0, Finding::End { request: Some(number) });
        assert!(scrub.step().await.unwrap().1.is_some());
    }
}

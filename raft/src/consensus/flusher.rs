//! Syncs the log to the disk in a thread of its own, and tells how far the log is synced.
//!
//! openraft 0.9 sends an entry to the followers only when the leader's own log has it, so a write would wait for two
//! disks one after the other. Here an entry counts as appended when the operating system has it, and one thread syncs
//! everything that arrived since its last sync. Messages wait for the disk where they leave or enter this node:
//!
//! * A follower confirms an entry when the entry is on its disk ([`super::network`]).
//! * The leader processes a follower's answer when the entry is also on the leader's own disk. So an entry that a
//!   majority including this node has is on the disks of a majority.
//! * This node applies an entry, and tells others that it is committed, only when it is on this disk. In a cluster of
//!   one node this is the only rule that waits.
//!
//! A leader that loses power may therefore lack entries of its term that others have, and must not give other entries
//! their numbers: after a start a node leads only when it was elected in a new term ([`super::log`]). Votes are on the
//! disk before anything else happens.

use std::sync::Arc;
use std::sync::mpsc;
use std::thread::JoinHandle;

use storage::database::{Database, DatabaseError};
use tokio::sync::watch;

/// The awaited entry will not be synced.
#[derive(Debug, Clone, thiserror::Error)]
pub(crate) enum FlushError {
    #[error("the log cannot be synced to the disk: {0}")]
    Disk(String),
    #[error("the end of the log was replaced")]
    Replaced,
}

/// Indexes of the last written and the last synced entry.
#[derive(Debug, Default)]
struct LogProgress {
    written: u64,
    synced: u64,
    /// How often the end of the log was truncated.
    truncations: u64,
    failure: Option<String>,
}

#[derive(Debug)]
struct FlusherInner {
    progress: Arc<watch::Sender<LogProgress>>,
    /// Wakes the thread. `None` only while this value is dropped.
    wake: Option<mpsc::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Drop for FlusherInner {
    fn drop(&mut self) {
        // The thread releases the database before this returns.
        drop(self.wake.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// Syncs the log. Clones share one thread.
#[derive(Debug, Clone)]
pub(crate) struct LogFlusher(Arc<FlusherInner>);

impl LogFlusher {
    /// Starts the thread, which ends with the last clone. The entries up to `last` must be on the disk.
    pub(crate) fn start(database: Database, last: u64) -> Result<Self, DatabaseError> {
        let progress = LogProgress { written: last, synced: last, ..LogProgress::default() };
        let progress = Arc::new(watch::Sender::new(progress));
        let (wake, woken) = mpsc::channel();
        let reported = Arc::clone(&progress);
        let run = move || sync_log(&database, &woken, &reported);
        let thread = std::thread::Builder::new().name("log".into()).spawn(run).map_err(DatabaseError::Thread)?;
        Ok(Self(Arc::new(FlusherInner { progress, wake: Some(wake), thread: Some(thread) })))
    }

    /// Notifies the thread that the entries up to `last` were written.
    pub(crate) fn notify(&self, last: u64) {
        // No task waits for `written`.
        self.0.progress.send_if_modified(|progress| {
            progress.written = last;
            false
        });
        // The thread ends only after a failure, which waiting tasks receive.
        let _ = self.0.wake.as_ref().map(|wake| wake.send(()));
    }

    /// Records that the entries from `index` on were removed by a synced write, which also synced all earlier writes.
    pub(crate) fn truncate(&self, index: u64) {
        self.0.progress.send_modify(|progress| {
            progress.written = index.saturating_sub(1);
            progress.synced = progress.written;
            progress.truncations += 1;
        });
    }

    /// Returns when the entry `index` is on the disk; when no such entry was written, waits for the last one.
    pub(crate) async fn wait_synced(&self, index: u64) -> Result<(), FlushError> {
        let mut progress = self.0.progress.subscribe();
        let (index, truncations) = {
            let progress = progress.borrow();
            (index.min(progress.written), progress.truncations)
        };
        let progress = progress
            .wait_for(|now| now.synced >= index || now.truncations != truncations || now.failure.is_some())
            .await
            .map_err(|_| FlushError::Replaced)?;
        match &progress.failure {
            Some(failure) => Err(FlushError::Disk(failure.clone())),
            None if progress.truncations != truncations => Err(FlushError::Replaced),
            None => Ok(()),
        }
    }
}

fn sync_log(database: &Database, woken: &mpsc::Receiver<()>, progress: &watch::Sender<LogProgress>) {
    while woken.recv().is_ok() {
        while woken.try_recv().is_ok() {}
        let (written, truncations) = {
            let progress = progress.borrow();
            (progress.written, progress.truncations)
        };
        match database.sync() {
            Ok(()) => progress.send_if_modified(|progress| {
                // After a truncation during the sync, `written` is out of date.
                let valid = progress.truncations == truncations;
                if valid {
                    progress.synced = written;
                }
                valid
            }),
            Err(error) => {
                tracing::error!(%error, "the log cannot be synced to the disk; this node stops taking part");
                progress.send_modify(|progress| progress.failure = Some(error.to_string()));
                return;
            }
        };
    }
}

#[cfg(test)]
mod tests {
    use storage::database::{Batch, Table};
    use tempfile::TempDir;

    use super::*;

    fn flusher() -> (TempDir, Database, LogFlusher) {
        let folder = TempDir::new().unwrap();
        let database = Database::open(&folder.path().join("database")).unwrap();
        let flusher = LogFlusher::start(database.clone(), 4).unwrap();
        (folder, database, flusher)
    }

    #[tokio::test]
    async fn written_entries_are_synced() {
        let (_folder, database, flusher) = flusher();
        flusher.wait_synced(4).await.unwrap();
        for index in 5..=20u64 {
            let mut batch = Batch::new();
            batch.put(Table::Log, index.to_be_bytes(), b"entry");
            database.write_unsynced(batch).unwrap();
            flusher.notify(index);
        }
        flusher.wait_synced(12).await.unwrap();
        assert!(flusher.0.progress.borrow().synced >= 12);
        flusher.wait_synced(u64::MAX).await.unwrap();
        assert_eq!(flusher.0.progress.borrow().synced, 20);
        // Returns for an entry that was never written.
        flusher.wait_synced(21).await.unwrap();
    }

    #[tokio::test]
    async fn waiting_for_a_truncated_entry_fails() {
        let (_folder, _database, flusher) = flusher();
        // As on a busy disk: written, and not synced.
        flusher.0.progress.send_modify(|progress| progress.written = 9);
        let waiting = tokio::spawn({
            let flusher = flusher.clone();
            async move { flusher.wait_synced(8).await }
        });
        while flusher.0.progress.receiver_count() == 0 {
            tokio::task::yield_now().await;
        }
        flusher.truncate(6);
        assert!(matches!(waiting.await.unwrap(), Err(FlushError::Replaced)));
        assert_eq!(flusher.0.progress.borrow().written, 5);
    }
}

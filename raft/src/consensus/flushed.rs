//! How far the log is on the disk, and the thread that brings it there.
//!
//! openraft 0.9 sends an entry to the followers only when the leader's own log has it, so that a write would wait for
//! two disks one after the other. Here an entry counts as appended when the system has it, and one thread brings to the
//! disk whatever has come since it last did. What must wait for the disk waits at the doors of this node instead:
//!
//! * a follower answers that it has an entry when the entry is on its disk ([`super::network`]);
//! * the leader hears a follower's answer when the entry is on the leader's own disk too, so that an entry that a
//!   majority has, this node included, is on the disks of a majority;
//! * nothing is applied here, and nobody is told that it is committed, before it is on this disk. A cluster of one has no
//!   other door.
//!
//! A leader that loses power may thus forget entries of its term that others have, and must never number others like
//! them: after a start a node leads only when it was elected in a new term ([`super::log`]). Votes are on the disk before
//! anything else happens, as ever.

use std::sync::Arc;
use std::sync::mpsc;
use std::thread::JoinHandle;

use storage::database::{Database, DatabaseError};
use tokio::sync::watch;

/// What was waited for will not come.
#[derive(Debug, Clone, thiserror::Error)]
pub(crate) enum FlushError {
    #[error("the log cannot be brought to the disk: {0}")]
    Disk(String),
    #[error("the end of the log was replaced")]
    Replaced,
}

/// Indexes of the last entry that was written and of the last that is on the disk.
#[derive(Debug, Default)]
struct Extent {
    written: u64,
    synced: u64,
    /// How often the end of the log was cut off.
    cuts: u64,
    failure: Option<String>,
}

#[derive(Debug)]
struct Inner {
    extent: Arc<watch::Sender<Extent>>,
    /// There until the end.
    poke: Option<mpsc::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Drop for Inner {
    fn drop(&mut self) {
        // The thread lets go of the database before this returns.
        drop(self.poke.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// How far the log is on the disk. Clones speak of the same log.
#[derive(Debug, Clone)]
pub(crate) struct Flushed(Arc<Inner>);

impl Flushed {
    /// Starts the thread, which ends with the last clone. The entries up to `last` are on the disk.
    pub(crate) fn start(database: Database, last: u64) -> Result<Self, DatabaseError> {
        let extent = Arc::new(watch::Sender::new(Extent { written: last, synced: last, ..Extent::default() }));
        let (poke, poked) = mpsc::channel();
        let told = Arc::clone(&extent);
        let run = move || bring_to_disk(&database, &poked, &told);
        let thread = std::thread::Builder::new().name("log".into()).spawn(run).map_err(DatabaseError::Thread)?;
        Ok(Self(Arc::new(Inner { extent, poke: Some(poke), thread: Some(thread) })))
    }

    /// Says that the entries up to `last` were written.
    pub(crate) fn wrote(&self, last: u64) {
        // Nobody waits for this.
        self.0.extent.send_if_modified(|extent| {
            extent.written = last;
            false
        });
        // Without the thread there is a failure, and whoever waits hears of that.
        let _ = self.0.poke.as_ref().map(|poke| poke.send(()));
    }

    /// Says that the entries from `index` on were cut off, which is on the disk with all that was written before.
    pub(crate) fn cut(&self, index: u64) {
        self.0.extent.send_modify(|extent| {
            extent.written = index.saturating_sub(1);
            extent.synced = extent.written;
            extent.cuts += 1;
        });
    }

    /// Returns when the entry `index` is on the disk, or the last one if there is none so far.
    pub(crate) async fn up_to(&self, index: u64) -> Result<(), FlushError> {
        let mut extents = self.0.extent.subscribe();
        let (index, cuts) = {
            let extent = extents.borrow();
            (index.min(extent.written), extent.cuts)
        };
        let extent = extents
            .wait_for(|extent| extent.synced >= index || extent.cuts != cuts || extent.failure.is_some())
            .await
            .map_err(|_| FlushError::Replaced)?;
        match &extent.failure {
            Some(failure) => Err(FlushError::Disk(failure.clone())),
            None if extent.cuts != cuts => Err(FlushError::Replaced),
            None => Ok(()),
        }
    }
}

fn bring_to_disk(database: &Database, poked: &mpsc::Receiver<()>, extent: &watch::Sender<Extent>) {
    while poked.recv().is_ok() {
        while poked.try_recv().is_ok() {}
        let (written, cuts) = {
            let extent = extent.borrow();
            (extent.written, extent.cuts)
        };
        match database.sync() {
            Ok(()) => extent.send_if_modified(|extent| {
                // What was cut off meanwhile is not there any more.
                let stands = extent.cuts == cuts;
                if stands {
                    extent.synced = written;
                }
                stands
            }),
            Err(error) => {
                tracing::error!(%error, "the log cannot be brought to the disk; this node takes part no more");
                extent.send_modify(|extent| extent.failure = Some(error.to_string()));
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

    fn flushed() -> (TempDir, Database, Flushed) {
        let folder = TempDir::new().unwrap();
        let database = Database::open(&folder.path().join("database")).unwrap();
        let flushed = Flushed::start(database.clone(), 4).unwrap();
        (folder, database, flushed)
    }

    #[tokio::test]
    async fn what_is_waited_for_comes_to_the_disk() {
        let (_folder, database, flushed) = flushed();
        flushed.up_to(4).await.unwrap();
        for index in 5..=20u64 {
            let mut batch = Batch::new();
            batch.put(Table::Log, index.to_be_bytes(), b"entry");
            database.write_unsynced(batch).unwrap();
            flushed.wrote(index);
        }
        flushed.up_to(12).await.unwrap();
        assert!(flushed.0.extent.borrow().synced >= 12);
        flushed.up_to(u64::MAX).await.unwrap();
        assert_eq!(flushed.0.extent.borrow().synced, 20);
        // Nobody waits for an entry that was never written.
        flushed.up_to(21).await.unwrap();
    }

    #[tokio::test]
    async fn who_waits_for_an_entry_that_is_cut_off_is_told() {
        let (_folder, _database, flushed) = flushed();
        // As if the disk were busy: written, and nobody brings it there.
        flushed.0.extent.send_modify(|extent| extent.written = 9);
        let waiting = tokio::spawn({
            let flushed = flushed.clone();
            async move { flushed.up_to(8).await }
        });
        while flushed.0.extent.receiver_count() == 0 {
            tokio::task::yield_now().await;
        }
        flushed.cut(6);
        assert!(matches!(waiting.await.unwrap(), Err(FlushError::Replaced)));
        assert_eq!(flushed.0.extent.borrow().written, 5);
    }
}

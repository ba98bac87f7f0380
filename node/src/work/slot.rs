//! A worker's place for one task, and what becomes of it when the task does not end.
//!
//! A thread cannot be ended from without. One that was told to stop is waited for; one that does not stop, because a disk
//! or a graphics card hangs, keeps its slot, which counts as stuck until the thread ends after all. Another slot takes
//! its place meanwhile, for at most as many as the node has, so that threads do not pile up without end.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::OwnedSemaphorePermit;
use tokio::task::JoinHandle;

use crate::reports::OwnWork;

/// How long a thread that was told to stop may go on; it stops at its next segment.
const STOP_WITHIN: Duration = Duration::from_secs(60);
/// The pause after which an unhealthy worker begins again, as a process would that is started anew.
const RESTART: Duration = Duration::from_secs(5);

/// See the module's page.
pub(crate) struct Slot {
    /// Of the semaphore that counts the free slots.
    pub permit: OwnedSemaphorePermit,
    /// For a worker that is to die: how far into each task.
    pub dies_after: Option<Duration>,
}

impl Slot {
    /// Gives the slot back when what is left of its work has ended; at most `bound` stuck ones are replaced.
    pub(crate) async fn free<T>(self, left: Option<JoinHandle<T>>, own: &Arc<OwnWork>, bound: u32) {
        let Some(mut left) = left else { return };
        if self.dies_after.is_some() {
            tokio::time::sleep(RESTART).await;
        }
        if tokio::time::timeout(STOP_WITHIN, &mut left).await.is_ok() {
            return;
        }
        let (_stuck, count) = own.stick();
        let replaced = count <= bound;
        tracing::error!(
            stuck = count,
            replaced,
            "a task was told to stop and does not; its slot is lost until it does"
        );
        if replaced {
            self.permit.semaphore().add_permits(1);
        }
        let _ = left.await;
        if replaced {
            self.permit.forget();
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use tokio::sync::{Semaphore, oneshot};

    use super::*;

    /// Frees a slot whose thread ends when the sender is dropped.
    fn hung(slots: &Arc<Semaphore>, own: &Arc<OwnWork>) -> (oneshot::Sender<()>, JoinHandle<()>) {
        let (hold, held) = oneshot::channel::<()>();
        let slot = Slot { permit: Arc::clone(slots).try_acquire_owned().unwrap(), dies_after: None };
        let own = Arc::clone(own);
        let freeing = tokio::spawn(async move { slot.free(Some(tokio::spawn(held)), &own, 2).await });
        (hold, freeing)
    }

    #[tokio::test(start_paused = true)]
    async fn a_stuck_slot_is_replaced_within_bounds_until_its_thread_ends() {
        let (slots, own) = (Arc::new(Semaphore::new(2)), Arc::new(OwnWork::default()));
        let mut stuck = Vec::new();
        for (there, count) in [(2, 1), (2, 2), (1, 3)] {
            stuck.push(hung(&slots, &own));
            tokio::time::sleep(2 * STOP_WITHIN).await;
            assert_eq!((slots.available_permits(), own.stuck()), (there, count));
        }
        // The threads end after all, and the slots are as many as before.
        for (thread, freeing) in stuck {
            drop(thread);
            freeing.await.unwrap();
        }
        assert_eq!((slots.available_permits(), own.stuck()), (2, 0));
    }

    #[tokio::test(start_paused = true)]
    async fn a_thread_that_stops_in_time_gives_its_slot_back() {
        let (slots, own) = (Arc::new(Semaphore::new(1)), Arc::new(OwnWork::default()));
        let (thread, freeing) = hung(&slots, &own);
        tokio::time::sleep(STOP_WITHIN / 2).await;
        assert_eq!((slots.available_permits(), own.stuck()), (0, 0));
        drop(thread);
        freeing.await.unwrap();
        assert_eq!((slots.available_permits(), own.stuck()), (1, 0));
    }
}

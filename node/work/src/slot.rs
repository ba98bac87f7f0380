//! A worker's slot for one task, and its replacement while an aborted task does not end.
//!
//! A thread cannot be stopped from outside. A worker that aborts a task waits for its thread. If it does not stop, because a
//! disk or a GPU hangs, its slot counts as stuck until the thread ends. Another slot replaces it meanwhile, for at most
//! as many threads as the node has slots.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::OwnedSemaphorePermit;
use tokio::task::JoinHandle;

use crate::claims::Claims;

/// How long a thread may take to stop; it checks after each segment.
const STOP_WITHIN: Duration = Duration::from_secs(60);
/// The pause after which an unhealthy worker starts again, like a process that is restarted.
const RESTART_AFTER: Duration = Duration::from_secs(5);

/// A worker's slot for one task.
pub(crate) struct Slot {
    /// A permit of the semaphore that counts the free slots.
    pub(crate) permit: OwnedSemaphorePermit,
    /// For unhealthy workers: how far into a task they die.
    pub(crate) dies_after: Option<Duration>,
}

impl Slot {
    /// Frees the slot when its aborted work has ended. At most `max_replaced` stuck slots are replaced meanwhile.
    pub(crate) async fn free<T>(self, aborted: Option<JoinHandle<T>>, claims: &Arc<Claims>, max_replaced: u32) {
        let Some(mut aborted) = aborted else { return };
        if self.dies_after.is_some() {
            tokio::time::sleep(RESTART_AFTER).await;
        }
        if tokio::time::timeout(STOP_WITHIN, &mut aborted).await.is_ok() {
            return;
        }
        let (_stuck, count) = claims.count_stuck();
        let replaced = count <= max_replaced;
        tracing::error!(stuck = count, replaced, "an aborted task does not stop; its slot is stuck until it does");
        if replaced {
            self.permit.semaphore().add_permits(1);
        }
        let _ = aborted.await;
        if replaced {
            self.permit.forget();
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::sync::{Semaphore, oneshot};

    use super::*;

    /// Frees a slot whose thread ends when the returned sender is dropped.
    fn hung(slots: &Arc<Semaphore>, claims: &Arc<Claims>) -> (oneshot::Sender<()>, JoinHandle<()>) {
        let (hold, held) = oneshot::channel::<()>();
        let slot = Slot { permit: Arc::clone(slots).try_acquire_owned().unwrap(), dies_after: None };
        let claims = Arc::clone(claims);
        let freeing = tokio::spawn(async move { slot.free(Some(tokio::spawn(held)), &claims, 2).await });
        (hold, freeing)
    }

    #[tokio::test(start_paused = true)]
    async fn a_stuck_slot_is_replaced_within_bounds_until_its_thread_ends() {
        let (slots, claims) = (Arc::new(Semaphore::new(2)), Arc::new(Claims::default()));
        let mut stuck = Vec::new();
        for (there, count) in [(2, 1), (2, 2), (1, 3)] {
            stuck.push(hung(&slots, &claims));
            tokio::time::sleep(2 * STOP_WITHIN).await;
            assert_eq!((slots.available_permits(), claims.stuck()), (there, count));
        }
        // When the threads end, there are as many slots as before.
        for (thread, freeing) in stuck {
            drop(thread);
            freeing.await.unwrap();
        }
        assert_eq!((slots.available_permits(), claims.stuck()), (2, 0));
    }

    #[tokio::test(start_paused = true)]
    async fn a_thread_that_stops_in_time_frees_its_slot() {
        let (slots, claims) = (Arc::new(Semaphore::new(1)), Arc::new(Claims::default()));
        let (thread, freeing) = hung(&slots, &claims);
        tokio::time::sleep(STOP_WITHIN / 2).await;
        assert_eq!((slots.available_permits(), claims.stuck()), (0, 0));
        drop(thread);
        freeing.await.unwrap();
        assert_eq!((slots.available_permits(), claims.stuck()), (1, 0));
    }
}

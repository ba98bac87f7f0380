//! The claims that this node's workers hold.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use parking_lot::Mutex;
use state::TaskId;

/// The claims that this node's workers hold, with counts of finished tasks and stuck threads.
#[derive(Debug, Default)]
pub struct Claims {
    held: Mutex<BTreeMap<TaskId, u32>>,
    finished: AtomicU64,
    stuck: AtomicU32,
}

impl Claims {
    /// Records a claim until the returned guard is dropped.
    pub(crate) fn hold(self: &Arc<Self>, task: TaskId, attempt: u32) -> HeldClaim {
        self.held.lock().insert(task, attempt);
        HeldClaim { claims: Arc::clone(self), task }
    }

    /// Counts a thread that does not end until the returned guard is dropped, and returns the number of such threads.
    pub(crate) fn count_stuck(self: &Arc<Self>) -> (StuckThread, u32) {
        let others = self.stuck.fetch_add(1, Ordering::Relaxed);
        (StuckThread(Arc::clone(self)), others + 1)
    }

    /// Counts a finished task.
    pub(crate) fn count_finished(&self) {
        self.finished.fetch_add(1, Ordering::Relaxed);
    }

    /// The claims: task and attempt number.
    pub fn held(&self) -> Vec<(TaskId, u32)> {
        self.held.lock().iter().map(|(task, attempt)| (*task, *attempt)).collect()
    }

    /// The number of tasks finished since the process started.
    pub fn finished(&self) -> u64 {
        self.finished.load(Ordering::Relaxed)
    }

    /// The number of threads of aborted tasks that still run.
    pub fn stuck(&self) -> u32 {
        self.stuck.load(Ordering::Relaxed)
    }
}

/// A claim that a worker holds.
pub(crate) struct HeldClaim {
    claims: Arc<Claims>,
    task: TaskId,
}

impl Drop for HeldClaim {
    fn drop(&mut self) {
        self.claims.held.lock().remove(&self.task);
    }
}

/// A thread of an aborted task that still runs.
pub(crate) struct StuckThread(Arc<Claims>);

impl Drop for StuckThread {
    fn drop(&mut self) {
        self.0.stuck.fetch_sub(1, Ordering::Relaxed);
    }
}

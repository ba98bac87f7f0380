//! The common shape of background loops: small steps, a visible activity, and pauses.
//!
//! After a step, the loop pauses at least as long as the step took. This leaves disk and network free for requests.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Result;
use live::LoopStatus;
use parking_lot::{Mutex, MutexGuard};
use tokio_util::sync::CancellationToken;

/// The pause after a step that failed.
const AFTER_FAILURE: Duration = Duration::from_secs(5);

/// What follows a step.
pub(super) enum Next {
    /// The next step, after a pause in proportion to the duration of this one.
    Continue,
    /// A pause of this length, unless the loop is woken.
    Pause(Duration),
}

/// Work that is done in steps while the node runs.
pub(super) trait BackgroundLoop: Send + 'static {
    /// The length of the pause after a step, as a multiple of the step's duration.
    const PAUSE_PER_STEP: u32;

    /// Does one step. An error is logged, shown in the status, and followed by another step.
    fn step(&mut self, activity: &Activity) -> impl Future<Output = Result<Next>> + Send;

    /// Returns when a pause should end early.
    fn woken(&mut self) -> impl Future<Output = ()> + Send {
        std::future::pending()
    }
}

/// The current activity of a loop, which other threads can read. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub(super) struct Activity(Arc<Mutex<LoopStatus>>);

impl Activity {
    fn status(&self) -> MutexGuard<'_, LoopStatus> {
        self.0.lock()
    }

    /// Sets the activity and its progress: `done` of `total` items, `bytes` so far.
    pub(super) fn progress(&self, what: &str, done: u64, total: u64, bytes: u64) {
        let mut status = self.status();
        status.doing = Some(what.into());
        (status.done, status.total, status.bytes) = (done, total, bytes);
    }

    /// Clears the last error.
    pub(super) fn succeeded(&self) {
        self.status().error = None;
    }

    /// Sets the last error, and returns whether it differs from the one before.
    fn failed(&self, error: &str) -> bool {
        self.status().error.replace(error.into()).as_deref() != Some(error)
    }

    /// The activity with the name of its loop.
    pub(super) fn report(&self, name: &str) -> LoopStatus {
        LoopStatus { name: name.into(), ..self.status().clone() }
    }
}

/// Runs a loop until `stop`.
pub(super) async fn run<L: BackgroundLoop>(mut background_loop: L, activity: Activity, stop: CancellationToken) {
    loop {
        let began = Instant::now();
        let next = tokio::select! {
            () = stop.cancelled() => return,
            next = background_loop.step(&activity) => next,
        };
        let pause = match next {
            Ok(Next::Continue) => began.elapsed() * L::PAUSE_PER_STEP,
            Ok(Next::Pause(pause)) => {
                activity.status().doing = None;
                pause
            }
            Err(error) => {
                let error = format!("{error:#}");
                if activity.failed(&error) {
                    tracing::warn!(error, "a maintenance step failed, retrying");
                }
                AFTER_FAILURE
            }
        };
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(pause) => {}
            () = background_loop.woken() => {}
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]

    use tokio::sync::Notify;

    use super::*;

    struct Counting {
        steps: Arc<Mutex<Vec<tokio::time::Instant>>>,
        wake: Arc<Notify>,
    }

    impl BackgroundLoop for Counting {
        const PAUSE_PER_STEP: u32 = 3;

        async fn step(&mut self, activity: &Activity) -> Result<Next> {
            let step = {
                let mut steps = self.steps.lock();
                steps.push(tokio::time::Instant::now());
                steps.len() as u64
            };
            match step {
                1 => {
                    activity.progress("counting", 1, 3, 0);
                    Ok(Next::Continue)
                }
                2 => anyhow::bail!("it failed"),
                _ => {
                    activity.succeeded();
                    Ok(Next::Pause(Duration::from_secs(3600)))
                }
            }
        }

        async fn woken(&mut self) {
            self.wake.notified().await;
        }
    }

    #[tokio::test(start_paused = true)]
    async fn activity_and_errors_of_steps_are_visible() {
        let (steps, wake) = (Arc::<Mutex<Vec<_>>>::default(), Arc::<Notify>::default());
        let (activity, stop) = (Activity::default(), CancellationToken::new());
        let counting = Counting { steps: Arc::clone(&steps), wake: Arc::clone(&wake) };
        let running = tokio::spawn(run(counting, activity.clone(), stop.clone()));
        let count = async |wanted: usize| {
            while steps.lock().len() < wanted {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        count(2).await;
        tokio::task::yield_now().await;
        let seen = activity.report("counter");
        assert_eq!((seen.name.as_str(), seen.doing.as_deref(), seen.total), ("counter", Some("counting"), 3));
        assert_eq!(seen.error.as_deref(), Some("it failed"));
        count(3).await;
        tokio::task::yield_now().await;
        assert_eq!((activity.report("counter").doing, activity.report("counter").error), (None, None));
        // Waking the loop ends its pause of an hour.
        wake.notify_one();
        count(4).await;
        let steps = steps.lock().clone();
        assert!(steps[2] - steps[1] >= AFTER_FAILURE);
        assert!(steps[3] - steps[2] < Duration::from_secs(3600));
        stop.cancel();
        running.await.unwrap();
    }
}

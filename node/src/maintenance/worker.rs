//! One shape for every loop in the background: small steps, a visible activity, and rests.
//!
//! A step that has more to do is followed by a rest as long as it took itself or longer, so that no loop takes the
//! disk and the network from those who wait for an answer.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Result;
use live::LoopStatus;
use parking_lot::{Mutex, MutexGuard};
use tokio_util::sync::CancellationToken;

/// The pause after a step that failed.
const AFTER_FAILURE: Duration = Duration::from_secs(5);

/// What comes after a step.
pub(super) enum Next {
    /// Another one, after a rest in proportion to the time that this one took.
    Again,
    /// Nothing for so long, unless the worker is woken.
    Rest(Duration),
}

/// Something that is done in steps for as long as the node runs.
pub(super) trait Worker: Send + 'static {
    /// How many times as long as a step the rest after it is.
    const TRANQUILLITY: u32;

    /// Does a little. What goes wrong is shown and tried again.
    fn step(&mut self, activity: &Activity) -> impl Future<Output = Result<Next>> + Send;

    /// Returns when a rest should end early.
    fn woken(&mut self) -> impl Future<Output = ()> + Send {
        std::future::pending()
    }
}

/// What a worker does now, as others see it. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub(super) struct Activity(Arc<Mutex<LoopStatus>>);

impl Activity {
    fn now(&self) -> MutexGuard<'_, LoopStatus> {
        self.0.lock()
    }

    /// Says what is being done and how far that is.
    pub(super) fn doing(&self, what: &str, done: u64, total: u64, bytes: u64) {
        let mut now = self.now();
        now.doing = Some(what.into());
        (now.done, now.total, now.bytes) = (done, total, bytes);
    }

    /// Says that all has gone well since the last failure.
    pub(super) fn well(&self) {
        self.now().error = None;
    }

    /// Says what went wrong, and returns whether that is news.
    fn failed(&self, error: &str) -> bool {
        self.now().error.replace(error.into()).as_deref() != Some(error)
    }

    pub(super) fn report(&self, name: &str) -> LoopStatus {
        LoopStatus { name: name.into(), ..self.now().clone() }
    }
}

/// Runs a worker until `stop`.
pub(super) async fn run<W: Worker>(mut worker: W, activity: Activity, stop: CancellationToken) {
    loop {
        let began = Instant::now();
        let next = tokio::select! {
            () = stop.cancelled() => return,
            next = worker.step(&activity) => next,
        };
        let pause = match next {
            Ok(Next::Again) => began.elapsed() * W::TRANQUILLITY,
            Ok(Next::Rest(pause)) => {
                activity.now().doing = None;
                pause
            }
            Err(error) => {
                let error = format!("{error:#}");
                if activity.failed(&error) {
                    tracing::warn!(error, "a step of maintenance failed and will be tried again");
                }
                AFTER_FAILURE
            }
        };
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(pause) => {}
            () = worker.woken() => {}
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

    impl Worker for Counting {
        const TRANQUILLITY: u32 = 3;

        async fn step(&mut self, activity: &Activity) -> Result<Next> {
            let step = {
                let mut steps = self.steps.lock();
                steps.push(tokio::time::Instant::now());
                steps.len() as u64
            };
            match step {
                1 => {
                    activity.doing("counting", 1, 3, 0);
                    Ok(Next::Again)
                }
                2 => anyhow::bail!("it slipped"),
                _ => {
                    activity.well();
                    Ok(Next::Rest(Duration::from_secs(3600)))
                }
            }
        }

        async fn woken(&mut self) {
            self.wake.notified().await;
        }
    }

    #[tokio::test(start_paused = true)]
    async fn steps_follow_each_other_and_are_seen() {
        let (steps, wake) = (Arc::<Mutex<Vec<_>>>::default(), Arc::<Notify>::default());
        let (activity, stop) = (Activity::default(), CancellationToken::new());
        let worker = Counting { steps: Arc::clone(&steps), wake: Arc::clone(&wake) };
        let running = tokio::spawn(run(worker, activity.clone(), stop.clone()));
        let count = async |wanted: usize| {
            while steps.lock().len() < wanted {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        count(2).await;
        tokio::task::yield_now().await;
        let seen = activity.report("counter");
        assert_eq!((seen.name.as_str(), seen.doing.as_deref(), seen.total), ("counter", Some("counting"), 3));
        assert_eq!(seen.error.as_deref(), Some("it slipped"));
        count(3).await;
        tokio::task::yield_now().await;
        assert_eq!((activity.report("counter").doing, activity.report("counter").error), (None, None));
        // Woken, it does not rest for an hour.
        wake.notify_one();
        count(4).await;
        let steps = steps.lock().clone();
        assert!(steps[2] - steps[1] >= AFTER_FAILURE);
        assert!(steps[3] - steps[2] < Duration::from_secs(3600));
        stop.cancel();
        running.await.unwrap();
    }
}

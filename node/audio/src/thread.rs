//! Threads for audio work: separate from those of an asynchronous runtime, and at a lower priority, so that a busy
//! separator delays neither heartbeats nor pages. Threads that such a thread starts inherit its priority.

use tokio::sync::oneshot;

/// The thread panicked; the log has the message.
#[derive(Debug, Clone, Copy, thiserror::Error)]
#[error("an internal error ended this step; the log of the node has the details")]
pub struct Panicked;

/// The niceness of these threads.
const NICENESS: i32 = 10;

/// Runs `work` on its own thread at lower priority.
pub async fn at_low_priority<T: Send + 'static>(
    name: &str,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Panicked> {
    let (sender, result) = oneshot::channel();
    let spawned = std::thread::Builder::new().name(name.into()).spawn(move || {
        // On Linux a thread's niceness is its own. The work goes on if the system refuses to change it.
        if let Err(error) = rustix::process::setpriority_process(Some(rustix::thread::gettid()), NICENESS) {
            tracing::debug!(%error, "cannot lower the priority of a thread");
        }
        let _ = sender.send(work());
    });
    if let Err(error) = spawned {
        tracing::error!(%error, "cannot start a thread");
        return Err(Panicked);
    }
    result.await.map_err(|_| Panicked)
}

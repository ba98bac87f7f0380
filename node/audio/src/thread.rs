//! Threads for audio work: apart from an asynchronous runtime's, and at a lower priority, so that a busy separator
//! delays no heartbeat and no page. Threads that such a thread starts inherit its priority.

use tokio::sync::oneshot;

/// The work's thread panicked; the panic's message is in the log.
#[derive(Debug, Clone, Copy, thiserror::Error)]
#[error("the program failed inside this step; its log says more")]
pub struct Panicked;

/// The niceness of such threads.
const NICENESS: i32 = 10;

/// Runs `work` on a thread of its own at lower priority.
pub async fn at_low_priority<T: Send + 'static>(
    name: &str,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Panicked> {
    let (sender, result) = oneshot::channel();
    let spawned = std::thread::Builder::new().name(name.into()).spawn(move || {
        // On Linux a thread's niceness is its own. Being refused is no reason not to work.
        if let Err(error) = rustix::process::setpriority_process(Some(rustix::thread::gettid()), NICENESS) {
            tracing::debug!(%error, "the priority stays as it is");
        }
        let _ = sender.send(work());
    });
    if let Err(error) = spawned {
        tracing::error!(%error, "no thread could be started");
        return Err(Panicked);
    }
    result.await.map_err(|_| Panicked)
}

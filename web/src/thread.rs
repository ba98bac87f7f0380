//! Threads for decoding and encoding: apart from the runtime's, and at a lower priority, so that a mix that is being
//! made delays no heartbeat.

use tokio::sync::oneshot;

use crate::error::ApiError;

/// The niceness of such threads.
const NICENESS: i32 = 10;

/// Runs `work` on a thread of its own at lower priority.
pub(crate) async fn at_low_priority<T: Send + 'static>(
    name: &str,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, ApiError> {
    let (sender, result) = oneshot::channel();
    std::thread::Builder::new()
        .name(name.into())
        .spawn(move || {
            // On Linux a thread's niceness is its own. Being refused is no reason not to work.
            if let Err(error) = rustix::process::setpriority_process(Some(rustix::thread::gettid()), NICENESS) {
                tracing::debug!(%error, "the priority stays as it is");
            }
            let _ = sender.send(work());
        })
        .map_err(|error| ApiError::internal("starting a thread", &error))?;
    result.await.map_err(|error| ApiError::internal("working on a file", &error))
}

//! Signals of the operating system.

use tokio_util::sync::CancellationToken;

/// Cancels `stopping` at the first signal to stop, and ends the process at the second.
pub(crate) fn watch(stopping: CancellationToken) {
    tokio::spawn(async move {
        stop_signal().await;
        tracing::info!("stopping in order; a second signal ends the process at once");
        stopping.cancel();
        stop_signal().await;
        std::process::exit(130);
    });
}

/// Returns when this process gets SIGTERM or SIGINT.
pub(crate) async fn stop_signal() {
    use tokio::signal::unix::{SignalKind, signal};
    let mut terminate = match signal(SignalKind::terminate()) {
        Ok(terminate) => terminate,
        Err(error) => {
            tracing::error!(%error, "cannot catch SIGTERM");
            return std::future::pending().await;
        }
    };
    tokio::select! {
        _ = tokio::signal::ctrl_c() => {}
        _ = terminate.recv() => {}
    }
}

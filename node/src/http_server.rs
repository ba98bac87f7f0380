//! The HTTP server's connections, with a limit on their number and on idle time.
//!
//! Each connection needs a file descriptor, and so do the database, the blobs and the other nodes. The server therefore
//! uses at most half of the process' descriptors; further connections wait until one ends. A connection without a complete
//! request within the idle limit is closed, so idle clients cannot occupy all connections.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::extract::ConnectInfo;
use axum::serve::Listener;
use axum::{Extension, Router};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::Semaphore;
use tokio::time::Sleep;
use tokio_util::sync::CancellationToken;
use tower::Layer;

/// The time limit for a client's first byte, for the head of a request, and between two requests.
const IDLE_TIMEOUT: Duration = Duration::from_secs(60);
/// The interval of HTTP/2 keep-alive pings.
const PING_INTERVAL: Duration = Duration::from_secs(20);
/// The upper limit of connections, also on systems without a limit of open files.
const MAX_CONNECTIONS: u64 = 16_384;

/// The largest number of concurrent connections.
fn max_connections() -> usize {
    usize::try_from((raise_open_file_limit() / 2).clamp(1, MAX_CONNECTIONS)).unwrap_or(usize::MAX)
}

/// Raises the limit of open files to the hard limit, and returns it. The soft limit is low on most systems, for old
/// programs that use `select`.
fn raise_open_file_limit() -> u64 {
    let limit = getrlimit(Resource::Nofile);
    let raised = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit });
    let current = if raised.is_ok() { limit.maximum } else { limit.current };
    current.unwrap_or(u64::MAX)
}

/// A connection that fails with `TimedOut` if the client's first byte does not arrive in time.
struct FirstByteTimeout<I> {
    connection: I,
    /// The timer, until the first byte.
    timer: Option<Pin<Box<Sleep>>>,
}

impl<I: AsyncRead + Unpin> AsyncRead for FirstByteTimeout<I> {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let read = Pin::new(&mut this.connection).poll_read(context, buffer);
        match &mut this.timer {
            Some(timer) if read.is_pending() => match timer.as_mut().poll(context) {
                Poll::Ready(()) => Poll::Ready(Err(io::ErrorKind::TimedOut.into())),
                Poll::Pending => Poll::Pending,
            },
            _ => {
                this.timer = None;
                read
            }
        }
    }
}

impl<I: AsyncWrite + Unpin> AsyncWrite for FirstByteTimeout<I> {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.connection).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.connection).poll_write_vectored(context, bytes)
    }

    fn is_write_vectored(&self) -> bool {
        self.connection.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.connection).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.connection).poll_shutdown(context)
    }
}

/// Serves until `stop`, and returns when all requests that were in progress at that time have been answered.
pub(crate) async fn serve<L>(listener: L, router: Router, stop: CancellationToken)
where
    L: Listener<Addr = SocketAddr>,
{
    serve_with_limits(max_connections(), IDLE_TIMEOUT, listener, router, stop).await;
}

async fn serve_with_limits<L>(
    max_connections: usize,
    idle_timeout: Duration,
    mut listener: L,
    router: Router,
    stop: CancellationToken,
) where
    L: Listener<Addr = SocketAddr>,
{
    let mut builder = Builder::new(TokioExecutor::new());
    builder.http1().timer(TokioTimer::new()).header_read_timeout(idle_timeout);
    builder.http2().timer(TokioTimer::new()).keep_alive_interval(PING_INTERVAL);
    let (free, graceful) = (Arc::new(Semaphore::new(max_connections)), GracefulShutdown::new());
    loop {
        let next = async {
            let permit = Arc::clone(&free).acquire_owned().await;
            (permit, listener.accept().await)
        };
        let (permit, (connection, address)) = tokio::select! {
            next = next => next,
            () = stop.cancelled() => break,
        };
        let connection = FirstByteTimeout { connection, timer: Some(Box::pin(tokio::time::sleep(idle_timeout))) };
        let service = TowerToHyperService::new(Extension(ConnectInfo(address)).layer(router.clone()));
        let connection = builder.serve_connection_with_upgrades(TokioIo::new(connection), service);
        let connection = graceful.watch(connection.into_owned());
        tokio::spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!(%address, %error, "an HTTP connection failed");
            }
            drop(permit);
        });
    }
    // Close the port, so that new clients get an error at once instead of waiting.
    drop(listener);
    graceful.shutdown().await;
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use axum::routing::get;
    use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
    use tokio::sync::mpsc;
    use tokio::time::Instant;

    use super::*;

    const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nHost: quartet\r\n\r\n";

    /// In-memory connections, which allow the paused clock to advance only when all tasks are idle.
    struct Connections(mpsc::Receiver<(DuplexStream, SocketAddr)>);

    impl Listener for Connections {
        type Io = DuplexStream;
        type Addr = SocketAddr;

        async fn accept(&mut self) -> (DuplexStream, SocketAddr) {
            match self.0.recv().await {
                Some(connection) => connection,
                None => std::future::pending().await,
            }
        }

        fn local_addr(&self) -> io::Result<SocketAddr> {
            Ok(address(80))
        }
    }

    fn address(port: u16) -> SocketAddr {
        SocketAddr::from(([203, 0, 113, 7], port))
    }

    /// Reads until the other side closes the connection.
    async fn read_all(mut stream: DuplexStream) -> String {
        let mut bytes = Vec::new();
        // A reset also ends the connection.
        let _ = stream.read_to_end(&mut bytes).await;
        String::from_utf8(bytes).unwrap()
    }

    #[tokio::test(start_paused = true)]
    async fn idle_connections_are_closed_for_others() {
        let (connections, accepted) = mpsc::channel(4);
        let stop = CancellationToken::new();
        let router =
            Router::new().route("/", get(async |ConnectInfo(from): ConnectInfo<SocketAddr>| format!("{from} is here")));
        // One connection at a time.
        let serving = tokio::spawn(serve_with_limits(1, IDLE_TIMEOUT, Connections(accepted), router, stop.clone()));
        let connect = async |port: u16, sent: &[u8]| {
            let (mut here, there) = tokio::io::duplex(1 << 16);
            connections.send((there, address(port))).await.unwrap();
            here.write_all(sent).await.unwrap();
            here
        };
        let whole = [REQUEST, b"GET / HT"].concat();
        // Nothing, half a request, a whole request, and a whole request with half of the next.
        for sent in [b"".as_slice(), &REQUEST[..20], REQUEST, &whole] {
            let began = Instant::now();
            let (idle, next) = (connect(1, sent).await, connect(2, REQUEST).await);
            // The first connection is closed, and so is the second, which is idle after its answer.
            let idle = read_all(idle).await;
            let waited = began.elapsed();
            let next = read_all(next).await;
            assert_eq!(idle.ends_with("here"), sent.starts_with(REQUEST), "{idle}");
            assert!(next.ends_with(&format!("{} is here", address(2))), "{next}");
            assert!(
                waited >= IDLE_TIMEOUT && waited < 2 * IDLE_TIMEOUT,
                "the idle connection was closed after {waited:?}"
            );
        }
        stop.cancel();
        serving.await.unwrap();
        assert!(connections.is_closed(), "the listener still accepts");
    }
}

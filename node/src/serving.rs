//! Serves HTTP on a listener's connections, each with a bound in time and all with one in number.
//!
//! A connection costs an open file, and the database, the files and the other nodes need some too. So people's
//! connections get half of those that the process may have; more wait until one ends. One that says nothing, or begins a
//! request and does not go on, is ended, so that nobody can hold them all for nothing.

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

/// How long a client may take for its first byte, for the head of a request, and from one request to the next.
const PATIENCE: Duration = Duration::from_secs(60);
/// How often a client of HTTP/2 is asked whether it is there.
const ASK_EVERY: Duration = Duration::from_secs(20);
/// Connections where the system does not bound open files, and the most.
const MOST: u64 = 16_384;

/// How many connections there may be at a time.
fn connections() -> usize {
    usize::try_from((allow_open_files() / 2).clamp(1, MOST)).unwrap_or(usize::MAX)
}

/// Lets this process have as many files open as the system allows, and returns how many that is. At first they are few
/// on most systems, for old programs that cannot count further; whoever asks gets more.
fn allow_open_files() -> u64 {
    let limit = getrlimit(Resource::Nofile);
    let raised = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit });
    let current = if raised.is_ok() { limit.maximum } else { limit.current };
    current.unwrap_or(u64::MAX)
}

/// A connection that ends when its client never says anything.
struct Spoken<I> {
    connection: I,
    /// There until the first byte.
    patience: Option<Pin<Box<Sleep>>>,
}

impl<I: AsyncRead + Unpin> AsyncRead for Spoken<I> {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let read = Pin::new(&mut this.connection).poll_read(context, buffer);
        match &mut this.patience {
            Some(patience) if read.is_pending() => match patience.as_mut().poll(context) {
                Poll::Ready(()) => Poll::Ready(Err(io::ErrorKind::TimedOut.into())),
                Poll::Pending => Poll::Pending,
            },
            _ => {
                this.patience = None;
                read
            }
        }
    }
}

impl<I: AsyncWrite + Unpin> AsyncWrite for Spoken<I> {
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

/// Serves until `stop`, and returns when the requests under way then have been answered.
pub(crate) async fn serve<L>(listener: L, router: Router, stop: CancellationToken)
where
    L: Listener<Addr = SocketAddr>,
{
    serve_within(connections(), PATIENCE, listener, router, stop).await;
}

async fn serve_within<L>(
    connections: usize,
    patience: Duration,
    mut listener: L,
    router: Router,
    stop: CancellationToken,
) where
    L: Listener<Addr = SocketAddr>,
{
    let mut builder = Builder::new(TokioExecutor::new());
    builder.http1().timer(TokioTimer::new()).header_read_timeout(patience);
    builder.http2().timer(TokioTimer::new()).keep_alive_interval(ASK_EVERY);
    let (free, graceful) = (Arc::new(Semaphore::new(connections)), GracefulShutdown::new());
    loop {
        let next = async {
            let permit = Arc::clone(&free).acquire_owned().await;
            (permit, listener.accept().await)
        };
        let (permit, (connection, address)) = tokio::select! {
            next = next => next,
            () = stop.cancelled() => break,
        };
        let connection = Spoken { connection, patience: Some(Box::pin(tokio::time::sleep(patience))) };
        let service = TowerToHyperService::new(Extension(ConnectInfo(address)).layer(router.clone()));
        let connection = builder.serve_connection_with_upgrades(TokioIo::new(connection), service);
        let connection = graceful.watch(connection.into_owned());
        tokio::spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!(%address, %error, "a connection ended");
            }
            drop(permit);
        });
    }
    // Nobody is kept waiting by a port that still listens.
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

    /// Connections in memory, so that the clock of these tests stands still while there is anything to do.
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

    /// What comes until the other side ends the connection.
    async fn rest(mut stream: DuplexStream) -> String {
        let mut bytes = Vec::new();
        // A connection that is reset has ended too.
        let _ = stream.read_to_end(&mut bytes).await;
        String::from_utf8(bytes).unwrap()
    }

    #[tokio::test(start_paused = true)]
    async fn who_holds_a_connection_for_nothing_makes_room_for_others() {
        let (doors, coming) = mpsc::channel(4);
        let stop = CancellationToken::new();
        let router =
            Router::new().route("/", get(async |ConnectInfo(from): ConnectInfo<SocketAddr>| format!("{from} is here")));
        // Room for one at a time.
        let serving = tokio::spawn(serve_within(1, PATIENCE, Connections(coming), router, stop.clone()));
        let connect = async |port: u16, said: &[u8]| {
            let (mut here, there) = tokio::io::duplex(1 << 16);
            doors.send((there, address(port))).await.unwrap();
            here.write_all(said).await.unwrap();
            here
        };
        let whole = [REQUEST, b"GET / HT"].concat();
        // Nothing, half a request, one that is answered, and one with half of the next.
        for said in [b"".as_slice(), &REQUEST[..20], REQUEST, &whole] {
            let began = Instant::now();
            let (idle, next) = (connect(1, said).await, connect(2, REQUEST).await);
            // The idle one is ended, and the next one, which is idle after its answer, too.
            let idle = rest(idle).await;
            let waited = began.elapsed();
            let next = rest(next).await;
            assert_eq!(idle.ends_with("here"), said.starts_with(REQUEST), "{idle}");
            assert!(next.ends_with(&format!("{} is here", address(2))), "{next}");
            assert!(waited >= PATIENCE && waited < 2 * PATIENCE, "the idle one was ended after {waited:?}");
        }
        stop.cancel();
        serving.await.unwrap();
        assert!(doors.is_closed(), "nobody comes any more");
    }
}

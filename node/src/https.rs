//! HTTPS in the node itself: a listener that hands on connections whose handshake is done.
//!
//! Handshakes run beside each other and have a bound in number and time, so that nobody who connects and says nothing
//! holds up the others. The certificate is read again when its files change or the process gets SIGHUP, so it can be
//! renewed without a restart; one that cannot be used is told of, and the old one stays.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, SystemTime};

use anyhow::{Context, Result};
use tokio::net::{TcpListener, TcpStream};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{Semaphore, mpsc};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::crypto::ring::default_provider;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::server::{ClientHello, ResolvesServerCert, ServerConfig};
use tokio_rustls::rustls::sign::CertifiedKey;
use tokio_rustls::server::TlsStream;
use tokio_util::sync::CancellationToken;

use crate::configuration::Tls;

/// How long a handshake may take.
const HANDSHAKE_WITHIN: Duration = Duration::from_secs(10);
/// Handshakes at a time.
const HANDSHAKES: usize = 256;
/// How often the certificate's files are looked at.
const LOOK: Duration = Duration::from_secs(30);
/// The pause after the system refused a connection, as it does when too many files are open.
const PAUSE: Duration = Duration::from_secs(1);

/// The certificate as it is now.
struct Certificate {
    files: Tls,
    current: RwLock<Arc<CertifiedKey>>,
}

impl fmt::Debug for Certificate {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_tuple("Certificate").field(&self.files.certificate).finish()
    }
}

impl ResolvesServerCert for Certificate {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.current.read().unwrap_or_else(PoisonError::into_inner)))
    }
}

fn read(files: &Tls) -> Result<Arc<CertifiedKey>> {
    let at = |path: &Path| format!("{} under http.tls", path.display());
    let chain = CertificateDer::pem_file_iter(&files.certificate)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .with_context(|| format!("the certificate {} cannot be read", at(&files.certificate)))?;
    anyhow::ensure!(!chain.is_empty(), "{} holds no certificate in PEM", at(&files.certificate));
    let key = PrivateKeyDer::from_pem_file(&files.key)
        .with_context(|| format!("the key {} cannot be read", at(&files.key)))?;
    let certified = CertifiedKey::from_der(chain, key, &default_provider())
        .with_context(|| format!("{} and {} do not go together", at(&files.certificate), files.key.display()))?;
    Ok(Arc::new(certified))
}

/// What tells that a file has changed.
fn stamp(files: &Tls) -> [Option<(SystemTime, u64)>; 2] {
    [&files.certificate, &files.key].map(|path| {
        let told = std::fs::metadata(path).ok()?;
        Some((told.modified().ok()?, told.len()))
    })
}

impl Certificate {
    /// Reads the files again whenever there is reason to.
    async fn keep_up(self: Arc<Self>, stop: CancellationToken) -> Result<()> {
        let mut hangup = signal(SignalKind::hangup()).context("SIGHUP cannot be caught")?;
        let mut known = stamp(&self.files);
        loop {
            let asked = tokio::select! {
                () = stop.cancelled() => return Ok(()),
                () = tokio::time::sleep(LOOK) => false,
                _ = hangup.recv() => true,
            };
            let now = stamp(&self.files);
            if now == known && !asked {
                continue;
            }
            known = now;
            match read(&self.files) {
                Ok(certificate) => {
                    *self.current.write().unwrap_or_else(PoisonError::into_inner) = certificate;
                    tracing::info!("the certificate was read again");
                }
                Err(error) => tracing::warn!("the old certificate stays in use: {error:#}"),
            }
        }
    }
}

/// Connections over TLS.
pub(crate) struct Listener {
    address: SocketAddr,
    ready: mpsc::Receiver<(TlsStream<TcpStream>, SocketAddr)>,
}

impl Listener {
    /// Listens until `stop`.
    pub(crate) fn start(listener: TcpListener, files: &Tls, stop: &CancellationToken) -> Result<Self> {
        let current = RwLock::new(read(files)?);
        let certificate = Arc::new(Certificate { files: files.clone(), current });
        let resolver: Arc<dyn ResolvesServerCert> = Arc::<Certificate>::clone(&certificate);
        let mut config = ServerConfig::builder_with_provider(Arc::new(default_provider()))
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_cert_resolver(resolver);
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        let address = listener.local_addr()?;
        let (done, ready) = mpsc::channel(HANDSHAKES);
        let (watching, accepting) = (stop.clone(), stop.clone());
        tokio::spawn(async move {
            if let Err(error) = certificate.keep_up(watching).await {
                tracing::warn!("the certificate is not looked after: {error:#}");
            }
        });
        let acceptor = TlsAcceptor::from(Arc::new(config));
        tokio::spawn(async move {
            tokio::select! {
                () = accepting.cancelled() => {}
                () = accept(&listener, &acceptor, done) => {}
            }
        });
        Ok(Self { address, ready })
    }
}

/// Takes connections and lets their handshakes run.
async fn accept(
    listener: &TcpListener,
    acceptor: &TlsAcceptor,
    done: mpsc::Sender<(TlsStream<TcpStream>, SocketAddr)>,
) {
    let handshakes = Arc::new(Semaphore::new(HANDSHAKES));
    while let Ok(turn) = Arc::clone(&handshakes).acquire_owned().await {
        let (stream, address) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) if gone(&error) => continue,
            Err(error) => {
                tracing::warn!(%error, "a connection could not be taken");
                tokio::time::sleep(PAUSE).await;
                continue;
            }
        };
        let (acceptor, done) = (acceptor.clone(), done.clone());
        tokio::spawn(async move {
            let _turn = turn;
            match tokio::time::timeout(HANDSHAKE_WITHIN, acceptor.accept(stream)).await {
                // Nobody takes it when the node stops.
                Ok(Ok(stream)) => drop(done.send((stream, address)).await),
                Ok(Err(error)) => tracing::debug!(%address, %error, "a handshake failed"),
                Err(_) => tracing::debug!(%address, "a handshake took too long"),
            }
        });
    }
}

/// Whether just this one connection is gone before it was taken.
fn gone(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset)
}

impl axum::serve::Listener for Listener {
    type Io = TlsStream<TcpStream>;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Self::Io, Self::Addr) {
        match self.ready.recv().await {
            Some(accepted) => accepted,
            // The node stops, and the server with it.
            None => std::future::pending().await,
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        Ok(self.address)
    }
}

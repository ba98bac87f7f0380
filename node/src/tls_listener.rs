//! A TLS listener, for HTTPS without a proxy. It yields connections whose handshake is complete.
//!
//! Handshakes run concurrently and are bounded in number and time, so idle clients do not delay others. The certificate
//! is reloaded when its files change or the process gets SIGHUP, so it can be renewed without a restart. If the new
//! certificate is invalid, a warning is logged and the old one stays in use.

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

use crate::configuration::TlsFiles;

/// The time limit of a handshake.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
/// The largest number of concurrent handshakes.
const MAX_HANDSHAKES: usize = 256;
/// How often the certificate's files are checked for changes.
const CHECK_INTERVAL: Duration = Duration::from_secs(30);
/// The pause after `accept` failed, for example because too many files are open.
const ACCEPT_PAUSE: Duration = Duration::from_secs(1);

/// The current certificate and the files that it comes from.
struct ReloadingCertificate {
    files: TlsFiles,
    current: RwLock<Arc<CertifiedKey>>,
}

impl fmt::Debug for ReloadingCertificate {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_tuple("ReloadingCertificate").field(&self.files.certificate).finish()
    }
}

impl ResolvesServerCert for ReloadingCertificate {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.current.read().unwrap_or_else(PoisonError::into_inner)))
    }
}

fn read(files: &TlsFiles) -> Result<Arc<CertifiedKey>> {
    let at = |path: &Path| format!("{} (set in [http.tls])", path.display());
    let chain = CertificateDer::pem_file_iter(&files.certificate)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .with_context(|| format!("cannot read the certificate {}", at(&files.certificate)))?;
    anyhow::ensure!(!chain.is_empty(), "{} has no certificate in PEM format", at(&files.certificate));
    let key =
        PrivateKeyDer::from_pem_file(&files.key).with_context(|| format!("cannot read the key {}", at(&files.key)))?;
    let certified = CertifiedKey::from_der(chain, key, &default_provider()).with_context(|| {
        format!("the key {} does not belong to the certificate {}", files.key.display(), at(&files.certificate))
    })?;
    Ok(Arc::new(certified))
}

/// The modification time and length of both files, to detect changes.
fn stamp(files: &TlsFiles) -> [Option<(SystemTime, u64)>; 2] {
    [&files.certificate, &files.key].map(|path| {
        let metadata = std::fs::metadata(path).ok()?;
        Some((metadata.modified().ok()?, metadata.len()))
    })
}

impl ReloadingCertificate {
    /// Reloads the files when they change and at SIGHUP, until `stop`.
    async fn watch(self: Arc<Self>, stop: CancellationToken) -> Result<()> {
        let mut hangup = signal(SignalKind::hangup()).context("cannot catch SIGHUP")?;
        let mut known = stamp(&self.files);
        loop {
            let requested = tokio::select! {
                () = stop.cancelled() => return Ok(()),
                () = tokio::time::sleep(CHECK_INTERVAL) => false,
                _ = hangup.recv() => true,
            };
            let now = stamp(&self.files);
            if now == known && !requested {
                continue;
            }
            known = now;
            match read(&self.files) {
                Ok(certificate) => {
                    *self.current.write().unwrap_or_else(PoisonError::into_inner) = certificate;
                    tracing::info!("reloaded the certificate");
                }
                Err(error) => tracing::warn!("cannot load the new certificate, the old one stays in use: {error:#}"),
            }
        }
    }
}

/// Accepts connections over TLS.
pub(crate) struct TlsListener {
    address: SocketAddr,
    ready: mpsc::Receiver<(TlsStream<TcpStream>, SocketAddr)>,
}

impl TlsListener {
    /// Starts to accept connections until `stop`. Fails if the certificate or its key is unusable.
    pub(crate) fn start(listener: TcpListener, files: &TlsFiles, stop: &CancellationToken) -> Result<Self> {
        let current = RwLock::new(read(files)?);
        let certificate = Arc::new(ReloadingCertificate { files: files.clone(), current });
        let resolver: Arc<dyn ResolvesServerCert> = Arc::<ReloadingCertificate>::clone(&certificate);
        let mut config = ServerConfig::builder_with_provider(Arc::new(default_provider()))
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_cert_resolver(resolver);
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        let address = listener.local_addr()?;
        let (done, ready) = mpsc::channel(MAX_HANDSHAKES);
        let (watching, accepting) = (stop.clone(), stop.clone());
        tokio::spawn(async move {
            if let Err(error) = certificate.watch(watching).await {
                tracing::warn!("the certificate will not be reloaded: {error:#}");
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

/// Accepts connections and runs their handshakes concurrently.
async fn accept(
    listener: &TcpListener,
    acceptor: &TlsAcceptor,
    done: mpsc::Sender<(TlsStream<TcpStream>, SocketAddr)>,
) {
    let handshakes = Arc::new(Semaphore::new(MAX_HANDSHAKES));
    while let Ok(permit) = Arc::clone(&handshakes).acquire_owned().await {
        let (stream, address) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) if is_one_connections(&error) => continue,
            Err(error) => {
                tracing::warn!(%error, "cannot accept a connection");
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        let (acceptor, done) = (acceptor.clone(), done.clone());
        tokio::spawn(async move {
            let _permit = permit;
            match tokio::time::timeout(HANDSHAKE_TIMEOUT, acceptor.accept(stream)).await {
                // The receiver is gone when the node stops.
                Ok(Ok(stream)) => drop(done.send((stream, address)).await),
                Ok(Err(error)) => tracing::debug!(%address, %error, "a TLS handshake failed"),
                Err(_) => tracing::debug!(%address, "a TLS handshake timed out"),
            }
        });
    }
}

/// Whether the error concerns one connection that ended before it was accepted, so that the next can be accepted at once.
fn is_one_connections(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset)
}

impl axum::serve::Listener for TlsListener {
    type Io = TlsStream<TcpStream>;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Self::Io, Self::Addr) {
        match self.ready.recv().await {
            Some(accepted) => accepted,
            // The node is stopping, and the server ends with it.
            None => std::future::pending().await,
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        Ok(self.address)
    }
}

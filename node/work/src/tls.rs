//! TLS roots: the certificate authorities that this program trusts for connections to RabbitMQ, and for those of an
//! external worker to the nodes.
//!
//! Without a file these are the public authorities, which are compiled in. With a file, only the authorities in it are
//! trusted. Errors say what to change.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::crypto::CryptoProvider;
use tokio_rustls::rustls::crypto::ring::default_provider;
use tokio_rustls::rustls::pki_types::CertificateDer;
use tokio_rustls::rustls::pki_types::pem::{self, PemObject};
use tokio_rustls::rustls::{AlertDescription, CertificateError, ClientConfig, Error, RootCertStore};

/// The file of authorities cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TlsRootsError {
    /// The file cannot be read.
    #[error("{option}: cannot read the certificates in {path}: {source}")]
    Read {
        /// The setting that names the file.
        option: &'static str,
        /// The file.
        path: PathBuf,
        /// The cause.
        source: pem::Error,
    },
    /// The file has no certificate.
    #[error("{option}: {path} has no certificate in PEM format, which begins with -----BEGIN CERTIFICATE-----")]
    Empty {
        /// The setting that names the file.
        option: &'static str,
        /// The file.
        path: PathBuf,
    },
    /// A certificate is malformed.
    #[error("{option}: a certificate in {path} is damaged: {source}")]
    Damaged {
        /// The setting that names the file.
        option: &'static str,
        /// The file.
        path: PathBuf,
        /// The cause.
        source: Error,
    },
    /// The cryptography cannot be set up.
    #[error("cannot set up TLS: {0}")]
    Setup(#[source] Error),
}

/// The trusted authorities.
#[derive(Clone)]
pub struct TlsRoots {
    /// The setting that names a file of authorities.
    option: &'static str,
    /// The file and its certificates, if one was given.
    own: Option<(PathBuf, Arc<[CertificateDer<'static>]>)>,
    client: Arc<ClientConfig>,
}

impl TlsRoots {
    /// Trusts the authorities in `file`, or else the public ones. Errors name `option` as the setting of `file`.
    pub fn new(file: Option<&Path>, option: &'static str) -> Result<Self, TlsRootsError> {
        let mut roots = RootCertStore::empty();
        let own = match file {
            Some(file) => Some((file.to_owned(), read(file, option, &mut roots)?)),
            None => {
                roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
                None
            }
        };
        let client = ClientConfig::builder_with_provider(Arc::new(default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(TlsRootsError::Setup)?
            .with_root_certificates(roots)
            .with_no_client_auth();
        Ok(Self { option, own, client: Arc::new(client) })
    }

    /// A connector for TLS over a TCP connection.
    pub fn connector(&self) -> TlsConnector {
        TlsConnector::from(Arc::clone(&self.client))
    }

    /// The certificates of the file, if one was given.
    pub fn certificates(&self) -> Option<&[CertificateDer<'static>]> {
        self.own.as_ref().map(|(_, certificates)| &**certificates)
    }

    /// The cryptography of the connector.
    pub fn crypto_provider(&self) -> &Arc<CryptoProvider> {
        self.client.crypto_provider()
    }

    /// Explains why TLS with `server` failed and what to change; none if the error is not one of TLS.
    pub fn explain(&self, error: &io::Error, server: &str) -> Option<String> {
        Some(match error.get_ref()?.downcast_ref::<Error>()? {
            Error::InvalidCertificate(reason) => self.refused(reason, server),
            Error::InvalidMessage(_) => {
                format!("{server} does not answer with TLS; give its port for TLS, or write the address without the s")
            }
            Error::AlertReceived(AlertDescription::CertificateRequired) => {
                format!("{server} requires client certificates, which are not supported; turn that off there")
            }
            error => format!("TLS with {server} failed: {error}"),
        })
    }

    fn refused(&self, reason: &CertificateError, server: &str) -> String {
        match reason {
            // A signature is bad where another authority of the same name made it.
            CertificateError::UnknownIssuer | CertificateError::BadSignature => match &self.own {
                Some((file, _)) => format!(
                    "the certificate of {server} is signed by none of the authorities in {}, which {} names",
                    file.display(),
                    self.option
                ),
                None => format!(
                    "the certificate of {server} is signed by no public authority; if the authority is your own, name a file with \
                     its certificate: {}",
                    self.option
                ),
            },
            CertificateError::NotValidForNameContext { presented, .. } => format!(
                "the certificate of {server} is not for that name but for {}; use one of these names in the address, or \
                 issue a certificate for this name",
                if presented.is_empty() { "none".into() } else { presented.join(", ") }
            ),
            CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
                format!("the certificate of {server} has expired; renew it, or set the clock of this machine")
            }
            CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
                format!("the certificate of {server} is not valid yet; set the clock of this machine")
            }
            CertificateError::Other(other) if other.to_string().contains("CaUsedAsEndEntity") => format!(
                "{server} presents the certificate of an authority as its own; issue one for the server, signed by it"
            ),
            reason => format!("the certificate of {server} is not accepted: {reason}"),
        }
    }
}

/// Reads the certificates of a file and adds them to `roots`.
fn read(
    path: &Path,
    option: &'static str,
    roots: &mut RootCertStore,
) -> Result<Arc<[CertificateDer<'static>]>, TlsRootsError> {
    let certificates: Vec<_> = CertificateDer::pem_file_iter(path)
        .and_then(Iterator::collect)
        .map_err(|source| TlsRootsError::Read { option, path: path.into(), source })?;
    if certificates.is_empty() {
        return Err(TlsRootsError::Empty { option, path: path.into() });
    }
    for certificate in &certificates {
        let added = roots.add(certificate.clone());
        added.map_err(|source| TlsRootsError::Damaged { option, path: path.into(), source })?;
    }
    Ok(certificates.into())
}

#[cfg(test)]
mod tests {
    use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair, date_time_ymd};
    use tokio_rustls::TlsAcceptor;
    use tokio_rustls::rustls::ServerConfig;
    use tokio_rustls::rustls::pki_types::{PrivateKeyDer, ServerName};

    use super::*;

    /// What is said to `name`, whose certificate is what `change` makes of it.
    async fn said(name: &str, change: impl Fn(&mut CertificateParams)) -> Option<String> {
        let authority_key = KeyPair::generate().unwrap();
        let mut authority = CertificateParams::default();
        authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("authority.pem");
        std::fs::write(&file, authority.self_signed(&authority_key).unwrap().pem()).unwrap();
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(vec!["rabbit".to_owned()]).unwrap();
        change(&mut params);
        let certificate = params.signed_by(&key, &Issuer::new(authority, authority_key)).unwrap();
        let key = PrivateKeyDer::Pkcs8(key.serialize_der().into());
        let server = ServerConfig::builder_with_provider(Arc::new(default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![certificate.der().clone()], key)
            .unwrap();

        let trust = TlsRoots::new(Some(&file), "--ca FILE").unwrap();
        let (here, there) = tokio::io::duplex(1 << 16);
        let answering = tokio::spawn(TlsAcceptor::from(Arc::new(server)).accept(there));
        let connected = trust.connector().connect(ServerName::try_from(name.to_owned()).unwrap(), here).await;
        let _ = answering.await.unwrap();
        connected.err().map(|error| trust.explain(&error, "rabbit:5671").unwrap())
    }

    #[tokio::test]
    async fn what_is_wrong_with_a_certificate_is_said_with_what_to_do() {
        assert_eq!(said("rabbit", |_| ()).await, None);
        let other = said("hare", |_| ()).await.unwrap();
        assert!(other.contains("not for that name but for") && other.contains("rabbit"), "{other}");
        let old = said("rabbit", |it| it.not_after = date_time_ymd(2020, 1, 1)).await.unwrap();
        assert!(old.contains("has expired; renew it"), "{old}");
        let young = said("rabbit", |it| it.not_before = date_time_ymd(3020, 1, 1)).await.unwrap();
        assert!(young.contains("not valid yet"), "{young}");
        let authority = said("rabbit", |it| it.is_ca = IsCa::Ca(BasicConstraints::Unconstrained)).await.unwrap();
        assert!(authority.contains("certificate of an authority as its own"), "{authority}");
    }

    #[test]
    fn what_is_no_matter_of_tls_is_not_explained() {
        let trust = TlsRoots::new(None, "--ca FILE").unwrap();
        assert_eq!(trust.explain(&io::Error::from(io::ErrorKind::ConnectionRefused), "rabbit:5671"), None);
    }

    #[test]
    fn a_file_that_is_no_authority_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("authority.pem");
        for (content, words) in [
            ("", "has no certificate in PEM format"),
            ("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", "is damaged"),
            ("-----BEGIN CERTIFICATE-----\n????\n-----END CERTIFICATE-----\n", "cannot read the certificates"),
        ] {
            std::fs::write(&file, content).unwrap();
            let error = TlsRoots::new(Some(&file), "--ca FILE").map(drop).unwrap_err().to_string();
            assert!(error.contains(words) && error.contains("authority.pem") && error.contains("--ca FILE"), "{error}");
        }
    }
}

//! Whose certificates this program believes when it opens a connection over TLS: to RabbitMQ, and from a worker outside to
//! the nodes.
//!
//! Without a file they are the public authorities, which lie in the program; web hooks and downloads go by the same. With
//! a file they are the authorities in it and no others: whoever runs an authority of their own need not believe a hundred
//! strangers besides. What is refused is explained in words that say what to do about it.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::crypto::ring::default_provider;
use tokio_rustls::rustls::pki_types::CertificateDer;
use tokio_rustls::rustls::pki_types::pem::{self, PemObject};
use tokio_rustls::rustls::{AlertDescription, CertificateError, ClientConfig, Error, RootCertStore};
use ureq::tls::{Certificate, RootCerts, TlsConfig};

/// The file with authorities cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TrustError {
    /// It cannot be read.
    #[error("{option}: the certificates in {path} cannot be read: {source}")]
    Read {
        /// What names the file.
        option: &'static str,
        /// The file.
        path: PathBuf,
        /// Why.
        source: pem::Error,
    },
    /// There is no certificate in it.
    #[error("{option}: {path} holds no certificate in PEM, which begins with -----BEGIN CERTIFICATE-----")]
    Empty {
        /// What names the file.
        option: &'static str,
        /// The file.
        path: PathBuf,
    },
    /// What is in it is no certificate.
    #[error("{option}: a certificate in {path} is damaged: {source}")]
    Damaged {
        /// What names the file.
        option: &'static str,
        /// The file.
        path: PathBuf,
        /// Why.
        source: Error,
    },
    /// The cryptography cannot be set up.
    #[error("TLS cannot be set up: {0}")]
    Setup(#[source] Error),
}

/// The authorities that are believed.
#[derive(Clone)]
pub(crate) struct Trust {
    /// What names a file of authorities in the words of whoever configures this.
    option: &'static str,
    /// The file and what it holds, if one was named.
    own: Option<(PathBuf, Arc<[CertificateDer<'static>]>)>,
    client: Arc<ClientConfig>,
}

impl Trust {
    /// Believes the authorities in `file`, which `option` names, or the public ones.
    pub(crate) fn new(file: Option<&Path>, option: &'static str) -> Result<Self, TrustError> {
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
            .map_err(TrustError::Setup)?
            .with_root_certificates(roots)
            .with_no_client_auth();
        Ok(Self { option, own, client: Arc::new(client) })
    }

    /// Opens TLS over a connection.
    pub(crate) fn connector(&self) -> TlsConnector {
        TlsConnector::from(Arc::clone(&self.client))
    }

    /// The same for HTTP.
    pub(crate) fn for_http(&self) -> TlsConfig {
        let roots = match &self.own {
            Some((_, certificates)) => {
                let certificates = certificates.iter().map(|one| Certificate::from_der(one).to_owned());
                RootCerts::Specific(Arc::new(certificates.collect()))
            }
            None => RootCerts::WebPki,
        };
        let provider = Arc::clone(self.client.crypto_provider());
        TlsConfig::builder().root_certs(roots).unversioned_rustls_crypto_provider(provider).build()
    }

    /// Why `server` was not spoken to over TLS, and what to do about it; none if the reason is none of TLS.
    pub(crate) fn explain(&self, error: &io::Error, server: &str) -> Option<String> {
        Some(match error.get_ref()?.downcast_ref::<Error>()? {
            Error::InvalidCertificate(reason) => self.refused(reason, server),
            Error::InvalidMessage(_) => {
                format!("what {server} answers is no TLS; give its port for TLS, or the address without the s")
            }
            Error::AlertReceived(AlertDescription::CertificateRequired) => {
                format!("{server} wants a certificate of its clients, and this program has none; let it go without")
            }
            error => format!("TLS with {server} fails: {error}"),
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
                    "the certificate of {server} is signed by no public authority; if it is your own, name a file with the \
                     authority's certificate: {}",
                    self.option
                ),
            },
            CertificateError::NotValidForNameContext { presented, .. } => format!(
                "the certificate of {server} is not for that name but for {}; write the address with a name that stands in \
                 it, or have one made for this name",
                if presented.is_empty() { "none".into() } else { presented.join(", ") }
            ),
            CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
                format!("the certificate of {server} has expired; renew it, or set the clock of this machine")
            }
            CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
                format!("the certificate of {server} is not valid yet; set the clock of this machine")
            }
            CertificateError::Other(other) if other.to_string().contains("CaUsedAsEndEntity") => format!(
                "{server} shows the certificate of an authority as its own; have one made for the server, signed by it"
            ),
            reason => format!("the certificate of {server} is refused: {reason}"),
        }
    }
}

/// The certificates of a file, all of which go to `roots`.
fn read(
    path: &Path,
    option: &'static str,
    roots: &mut RootCertStore,
) -> Result<Arc<[CertificateDer<'static>]>, TrustError> {
    let certificates: Vec<_> = CertificateDer::pem_file_iter(path)
        .and_then(Iterator::collect)
        .map_err(|source| TrustError::Read { option, path: path.into(), source })?;
    if certificates.is_empty() {
        return Err(TrustError::Empty { option, path: path.into() });
    }
    for certificate in &certificates {
        let added = roots.add(certificate.clone());
        added.map_err(|source| TrustError::Damaged { option, path: path.into(), source })?;
    }
    Ok(certificates.into())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

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

        let trust = Trust::new(Some(&file), "--ca FILE").unwrap();
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
        let trust = Trust::new(None, "--ca FILE").unwrap();
        assert_eq!(trust.explain(&io::Error::from(io::ErrorKind::ConnectionRefused), "rabbit:5671"), None);
    }

    #[test]
    fn a_file_that_is_no_authority_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("authority.pem");
        for (content, words) in [
            ("", "holds no certificate in PEM"),
            ("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", "is damaged"),
            ("-----BEGIN CERTIFICATE-----\n????\n-----END CERTIFICATE-----\n", "cannot be read"),
        ] {
            std::fs::write(&file, content).unwrap();
            let error = Trust::new(Some(&file), "--ca FILE").map(drop).unwrap_err().to_string();
            assert!(error.contains(words) && error.contains("authority.pem") && error.contains("--ca FILE"), "{error}");
        }
    }
}

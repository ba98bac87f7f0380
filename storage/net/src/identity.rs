//! Identities of nodes: the cluster's secret and the certificates that nodes derive from it.
//!
//! Each node derives the key of the cluster's certificate authority from the shared secret, and issues its own
//! certificate with the name `node-<id>`. Verification uses only the authority's key and name. So every node can build
//! the same authority, and the secret is the only thing to distribute. Certificates do not expire, because a wrong
//! clock must not cut off a node.

use std::fs::File;
use std::io::{Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, DistinguishedName, DnType, IsCa, Issuer, KeyPair};
use ring::hkdf::{HKDF_SHA256, KeyType, Salt};
use ring::rand::{SecureRandom, SystemRandom};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{ClientConfig, RootCertStore, ServerConfig};

use crate::{NodeId, OPERATOR, PeerError, Protocol};

/// The shortest valid secret in bytes.
const MIN_SECRET_BYTES: usize = 32;
/// The header of a PKCS #8 version 1 key for Ed25519 (RFC 8410, section 7). The 32 bytes of the seed follow it.
const ED25519_PKCS8: [u8; 16] = [0x30, 0x2e, 2, 1, 0, 0x30, 5, 6, 3, 0x2b, 0x65, 0x70, 4, 0x22, 4, 0x20];

/// The cluster's secret is not available.
#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    /// The file could not be read.
    #[error("cannot read the secret file {path}: {source}")]
    Read {
        /// The path of the file.
        path: PathBuf,
        /// The error of the operating system.
        source: std::io::Error,
    },
    /// The file could not be created.
    #[error("cannot create the secret file {path}: {source}")]
    Create {
        /// The path of the file.
        path: PathBuf,
        /// The error of the operating system.
        source: std::io::Error,
    },
    /// The secret is short enough to guess.
    #[error(
        "the secret in {0} is too short: write at least {MIN_SECRET_BYTES} random characters, the same on every node"
    )]
    TooShort(PathBuf),
}

/// The secret that all nodes of a cluster share.
#[derive(Clone)]
pub struct Secret(Arc<[u8]>);

impl Secret {
    /// Reads the secret from a file, at most 4096 bytes. White space around it is ignored.
    pub fn read(path: &Path) -> Result<Self, SecretError> {
        let mut text = Vec::new();
        File::open(path)
            .and_then(|file| file.take(4096).read_to_end(&mut text))
            .map_err(|source| SecretError::Read { path: path.into(), source })?;
        let text = text.trim_ascii();
        if text.len() < MIN_SECRET_BYTES {
            return Err(SecretError::TooShort(path.into()));
        }
        Ok(Self(text.into()))
    }

    /// Reads the secret. If the file does not exist, this creates it with a random secret first.
    pub fn generate_if_missing(path: &Path) -> Result<Self, SecretError> {
        if !path.exists() {
            let failed = |source| SecretError::Create { path: path.into(), source };
            let mut bytes = [0; 32];
            SystemRandom::new()
                .fill(&mut bytes)
                .map_err(|_| failed(std::io::Error::other("the system has no random numbers")))?;
            File::options()
                .write(true)
                .create_new(true)
                .mode(0o600)
                .open(path)
                .and_then(|mut file| {
                    file.write_all(hex::encode(bytes).as_bytes())?;
                    file.sync_all()
                })
                .map_err(failed)?;
        }
        Self::read(path)
    }

    /// Derives a key for one purpose with HKDF-SHA-256 (RFC 5869). It reveals neither the secret nor other keys.
    pub(crate) fn derive(&self, purpose: &str) -> Result<[u8; 32], PeerError> {
        struct Length;
        impl KeyType for Length {
            fn len(&self) -> usize {
                32
            }
        }
        let mut bytes = [0; 32];
        Salt::new(HKDF_SHA256, b"quartet")
            .extract(&self.0)
            .expand(&[purpose.as_bytes()], Length)
            .and_then(|derived| derived.fill(&mut bytes))
            .map_err(|_| PeerError::Identity("cannot derive a key from the secret".into()))?;
        Ok(bytes)
    }
}

/// The name in the certificate of a node or the operator.
pub(crate) fn name_of(id: NodeId) -> String {
    if id == OPERATOR { "operator".into() } else { format!("node-{id}") }
}

/// A node's certificate and key, and the cluster's authority.
pub(crate) struct Identity {
    certificate: CertificateDer<'static>,
    key: PrivatePkcs8KeyDer<'static>,
    roots: Arc<RootCertStore>,
}

impl Identity {
    /// Issues a certificate for node `id`.
    pub(crate) fn new(id: NodeId, secret: &Secret) -> Result<Self, PeerError> {
        let failed = |error: &dyn std::fmt::Display| PeerError::Identity(error.to_string());
        let mut pkcs8 = ED25519_PKCS8.to_vec();
        pkcs8.extend(secret.derive("certificate authority")?);
        let authority_key = KeyPair::try_from(pkcs8.as_slice()).map_err(|error| failed(&error))?;
        let mut authority = CertificateParams::default();
        authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        authority.distinguished_name = DistinguishedName::new();
        authority.distinguished_name.push(DnType::CommonName, "Quartet cluster");
        let root = authority.self_signed(&authority_key).map_err(|error| failed(&error))?;
        let mut roots = RootCertStore::empty();
        roots.add(root.der().clone()).map_err(|error| failed(&error))?;

        let issuer = Issuer::new(authority, authority_key);
        let key = KeyPair::generate().map_err(|error| failed(&error))?;
        let mut leaf = CertificateParams::new(vec![name_of(id)]).map_err(|error| failed(&error))?;
        leaf.distinguished_name = DistinguishedName::new();
        leaf.distinguished_name.push(DnType::CommonName, name_of(id));
        let certificate = leaf.signed_by(&key, &issuer).map_err(|error| failed(&error))?.der().clone();
        Ok(Self { certificate, key: key.serialize_der().into(), roots: Arc::new(roots) })
    }

    fn private_key(&self) -> PrivateKeyDer<'static> {
        PrivateKeyDer::Pkcs8(self.key.clone_key())
    }

    /// TLS for incoming connections: all protocols, client certificates of this cluster only.
    pub(crate) fn server(&self) -> Result<ServerConfig, PeerError> {
        let failed = |error: &dyn std::fmt::Display| PeerError::Identity(error.to_string());
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let verifier = WebPkiClientVerifier::builder_with_provider(Arc::clone(&self.roots), Arc::clone(&provider))
            .build()
            .map_err(|error| failed(&error))?;
        let mut server = ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&rustls::version::TLS13])
            .and_then(|builder| {
                builder
                    .with_client_cert_verifier(verifier)
                    .with_single_cert(vec![self.certificate.clone()], self.private_key())
            })
            .map_err(|error| failed(&error))?;
        server.alpn_protocols = Protocol::ALL.iter().map(|protocol| protocol.alpn().to_vec()).collect();
        Ok(server)
    }

    /// TLS for outgoing connections of one protocol.
    pub(crate) fn client(&self, protocol: Protocol) -> Result<ClientConfig, PeerError> {
        let failed = |error: &dyn std::fmt::Display| PeerError::Identity(error.to_string());
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut client = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&rustls::version::TLS13])
            .and_then(|builder| {
                builder
                    .with_root_certificates(Arc::clone(&self.roots))
                    .with_client_auth_cert(vec![self.certificate.clone()], self.private_key())
            })
            .map_err(|error| failed(&error))?;
        client.alpn_protocols = vec![protocol.alpn().to_vec()];
        Ok(client)
    }
}

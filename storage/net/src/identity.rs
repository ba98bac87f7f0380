//! Who is who: every node derives the cluster's certificate authority from the one secret that all share, and issues
//! its own certificate with `node-<id>` as its name.
//!
//! Only the authority's key and name are trusted, so every node can rebuild the authority by itself and nothing but
//! the secret has to be handed around. Certificates never end, so that a clock that jumps costs no connection.

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

use crate::NodeId;
use crate::{OPERATOR, PeerError, Protocol};

/// The shortest secret that is taken, in bytes.
const SHORTEST: usize = 32;
/// PKCS #8 version 1 for an Ed25519 seed (RFC 8410, section 7), which follows these bytes.
const ED25519_PKCS8: [u8; 16] = [0x30, 0x2e, 2, 1, 0, 0x30, 5, 6, 3, 0x2b, 0x65, 0x70, 4, 0x22, 4, 0x20];

/// The cluster's secret could not be had.
#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    /// The file cannot be read.
    #[error("the secret file {path} cannot be read: {source}")]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The file cannot be made.
    #[error("the secret file {path} cannot be made: {source}")]
    Make {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The secret is too easy to guess.
    #[error(
        "the secret in {0} is shorter than {SHORTEST} characters; put more random ones there, the same on every node"
    )]
    Short(PathBuf),
}

/// What all nodes of a cluster know and nobody else does.
#[derive(Clone)]
pub struct Secret(Arc<[u8]>);

impl Secret {
    /// Reads the secret from its file; white space around it does not count.
    pub fn read(path: &Path) -> Result<Self, SecretError> {
        let mut text = Vec::new();
        File::open(path)
            .and_then(|file| file.take(4096).read_to_end(&mut text))
            .map_err(|source| SecretError::Read { path: path.into(), source })?;
        let text = text.trim_ascii();
        if text.len() < SHORTEST {
            return Err(SecretError::Short(path.into()));
        }
        Ok(Self(text.into()))
    }

    /// Reads the secret, after making a random one if there is no file yet.
    pub fn generate_if_missing(path: &Path) -> Result<Self, SecretError> {
        if !path.exists() {
            let failed = |source| SecretError::Make { path: path.into(), source };
            let mut bytes = [0; 32];
            SystemRandom::new().fill(&mut bytes).map_err(|_| failed(std::io::Error::other("no random numbers")))?;
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

    /// 32 bytes for one purpose, from which neither the secret nor another purpose's bytes can be told (RFC 5869).
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
            .map_err(|_| PeerError::Identity("the secret cannot be expanded".into()))?;
        Ok(bytes)
    }
}

/// The name in a node's certificate, or the operator's.
pub(crate) fn name_of(id: NodeId) -> String {
    if id == OPERATOR { "operator".into() } else { format!("node-{id}") }
}

/// A node's certificate, and the authority that it trusts.
pub(crate) struct Identity {
    certificate: CertificateDer<'static>,
    key: PrivatePkcs8KeyDer<'static>,
    roots: Arc<RootCertStore>,
}

impl Identity {
    /// The identity of node `id` in the cluster of this secret.
    pub(crate) fn new(id: NodeId, secret: &Secret) -> Result<Self, PeerError> {
        let told = |error: &dyn std::fmt::Display| PeerError::Identity(error.to_string());
        let mut pkcs8 = ED25519_PKCS8.to_vec();
        pkcs8.extend(secret.derive("certificate authority")?);
        let authority_key = KeyPair::try_from(pkcs8.as_slice()).map_err(|error| told(&error))?;
        let mut authority = CertificateParams::default();
        authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        authority.distinguished_name = DistinguishedName::new();
        authority.distinguished_name.push(DnType::CommonName, "Quartet cluster");
        let root = authority.self_signed(&authority_key).map_err(|error| told(&error))?;
        let mut roots = RootCertStore::empty();
        roots.add(root.der().clone()).map_err(|error| told(&error))?;

        let issuer = Issuer::new(authority, authority_key);
        let key = KeyPair::generate().map_err(|error| told(&error))?;
        let mut leaf = CertificateParams::new(vec![name_of(id)]).map_err(|error| told(&error))?;
        leaf.distinguished_name = DistinguishedName::new();
        leaf.distinguished_name.push(DnType::CommonName, name_of(id));
        let certificate = leaf.signed_by(&key, &issuer).map_err(|error| told(&error))?.der().clone();
        Ok(Self { certificate, key: key.serialize_der().into(), roots: Arc::new(roots) })
    }

    fn private_key(&self) -> PrivateKeyDer<'static> {
        PrivateKeyDer::Pkcs8(self.key.clone_key())
    }

    /// TLS for the accepting side: all protocols, and only nodes of this cluster.
    pub(crate) fn server(&self) -> Result<ServerConfig, PeerError> {
        let told = |error: &dyn std::fmt::Display| PeerError::Identity(error.to_string());
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let verifier = WebPkiClientVerifier::builder_with_provider(Arc::clone(&self.roots), Arc::clone(&provider))
            .build()
            .map_err(|error| told(&error))?;
        let mut server = ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&rustls::version::TLS13])
            .and_then(|builder| {
                builder
                    .with_client_cert_verifier(verifier)
                    .with_single_cert(vec![self.certificate.clone()], self.private_key())
            })
            .map_err(|error| told(&error))?;
        server.alpn_protocols = Protocol::ALL.iter().map(|protocol| protocol.alpn().to_vec()).collect();
        Ok(server)
    }

    /// TLS for the dialling side, for one protocol.
    pub(crate) fn client(&self, protocol: Protocol) -> Result<ClientConfig, PeerError> {
        let told = |error: &dyn std::fmt::Display| PeerError::Identity(error.to_string());
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut client = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&rustls::version::TLS13])
            .and_then(|builder| {
                builder
                    .with_root_certificates(Arc::clone(&self.roots))
                    .with_client_auth_cert(vec![self.certificate.clone()], self.private_key())
            })
            .map_err(|error| told(&error))?;
        client.alpn_protocols = vec![protocol.alpn().to_vec()];
        Ok(client)
    }
}

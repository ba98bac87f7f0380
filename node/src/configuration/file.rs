//! The format of `cluster.toml`, with the default of every optional key.

use std::path::PathBuf;

use net::NodeId;
use serde::Deserialize;
use web::auth::client::Network;
use work::settings::{BrokerSettings, ExternalSettings, WorkerSettings};

/// The whole file.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ClusterFile {
    pub(super) secret_file: PathBuf,
    pub(super) node: Vec<Member>,
    pub(super) broker: Option<BrokerSettings>,
    pub(super) outside: Option<ExternalSettings>,
    #[serde(default)]
    pub(super) workers: WorkerSettings,
    #[serde(default)]
    pub(super) limits: Limits,
    #[serde(default)]
    pub(super) accounts: Accounts,
    #[serde(default)]
    pub(super) hooks: Hooks,
    #[serde(default)]
    pub(super) http: Http,
    #[serde(default)]
    pub(super) consensus: Consensus,
}

/// One `[[node]]`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Member {
    /// The node's id.
    pub id: NodeId,
    /// `host:port` of its HTTP interface.
    pub http: String,
    /// `host:port` of its QUIC endpoint.
    pub quic: String,
    /// Its data folder.
    pub data: PathBuf,
    /// The most bytes of blobs that it stores. Without a quota, only the free disk space is the limit.
    #[serde(default)]
    pub quota_bytes: Option<u64>,
}

/// `[limits]`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Limits {
    /// The largest upload in bytes.
    pub upload_bytes: u64,
    /// The longest song in seconds.
    pub song_seconds: u64,
    /// The most unfinished jobs of one user; 0 means no limit.
    pub jobs_per_user: u32,
    /// Uploads are rejected when less disk space than this is free, in bytes.
    pub reserve_bytes: u64,
    /// Seconds for which an unreferenced blob is kept.
    pub collect_grace_seconds: u64,
    /// For tests: accepts a grace period that is too short to be safe.
    pub collect_unsafely: bool,
    /// Seconds without contact after which the replicas of a node are replaced.
    pub repair_after_seconds: u64,
    /// Days in which the scrub reads every blob once.
    pub scrub_days: f64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            upload_bytes: 200 << 20,
            song_seconds: 7200,
            jobs_per_user: 200,
            reserve_bytes: 256 << 20,
            collect_grace_seconds: 120,
            collect_unsafely: false,
            repair_after_seconds: 600,
            scrub_days: 30.0,
        }
    }
}

/// `[accounts]`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Accounts {
    /// Whether the cluster can be used without an account.
    pub anonymous: bool,
    /// Who can create accounts.
    pub registration: Registration,
}

impl Default for Accounts {
    fn default() -> Self {
        Self { anonymous: true, registration: Registration::Open }
    }
}

/// Who can create accounts. The first account of a cluster can always be created.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Registration {
    /// Every client.
    Open,
    /// Administrators only.
    Closed,
}

/// `[hooks]`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Hooks {
    /// Whether web hooks may have private addresses, such as those of this machine or of the local network.
    pub allow_private: bool,
}

/// `[http]`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Http {
    /// The proxies whose forwarding headers are trusted.
    #[serde(deserialize_with = "networks")]
    pub trusted_proxies: Vec<Network>,
    /// The certificate, if the node itself serves HTTPS.
    pub tls: Option<TlsFiles>,
}

/// `[http.tls]`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct TlsFiles {
    /// A PEM file with the certificate chain, the node's own certificate first.
    pub certificate: PathBuf,
    /// A PEM file with the private key.
    pub key: PathBuf,
}

fn networks<'de, D: serde::Deserializer<'de>>(from: D) -> Result<Vec<Network>, D::Error> {
    let texts = Vec::<String>::deserialize(from)?;
    texts.iter().map(|text| text.parse().map_err(serde::de::Error::custom)).collect()
}

/// `[consensus]`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Consensus {
    /// Milliseconds between two heartbeats of the leader.
    pub heartbeat_ms: u64,
    /// The shortest election timeout of a follower, in milliseconds.
    pub election_min_ms: u64,
    /// The longest election timeout of a follower, in milliseconds.
    pub election_max_ms: u64,
}

impl Default for Consensus {
    fn default() -> Self {
        Self { heartbeat_ms: 60, election_min_ms: 200, election_max_ms: 350 }
    }
}

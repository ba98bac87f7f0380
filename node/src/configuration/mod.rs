//! The configuration of a node: `cluster.toml`, or the defaults of a standalone node.
//!
//! The repository's `cluster.toml` documents every key. Unknown keys are errors, reported with their line: a misspelt
//! limit that is silently ignored would not be applied. [`mod@file`] is the format with its defaults, [`mod@validate`] checks the
//! values. Paths in the file are relative to the folder of the file.

mod file;
#[cfg(test)]
mod tests;
mod validate;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use inference::models::Library;
use net::NodeId;
use storage::blobs::Quota;
use work::settings::{BrokerSettings, ExternalSettings, WorkerSettings};

use file::{Accounts, ClusterFile, Consensus, Hooks, Http, Limits};
pub(crate) use file::{Member, Registration, TlsFiles};

/// A configuration cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ConfigurationError {
    /// The file cannot be read.
    #[error("cannot read {path}: {source}")]
    Read {
        /// The file.
        path: PathBuf,
        /// The system's error.
        source: std::io::Error,
    },
    /// The file does not have the format of `cluster.toml`.
    #[error("{path} is not a valid cluster file:\n{source}")]
    Parse {
        /// The file.
        path: PathBuf,
        /// The parser's error, with the line.
        source: Box<toml::de::Error>,
    },
    /// A value is invalid, or two values contradict each other.
    #[error("{path}: {reason}")]
    Invalid {
        /// The file.
        path: PathBuf,
        /// What to change.
        reason: String,
    },
}

/// The configuration of one node.
#[derive(Debug, Clone)]
pub(crate) struct Configuration {
    /// This node's id.
    pub id: NodeId,
    /// All nodes of the file, including this node.
    pub members: BTreeMap<NodeId, Member>,
    /// The file with the cluster's secret.
    pub secret_file: PathBuf,
    /// Whether a missing secret is generated: only for a standalone node.
    pub make_secret: bool,
    /// A folder whose models are also available in the cluster: the user's own models, for a standalone node.
    pub own_models: Option<Library>,
    /// RabbitMQ, if it is used.
    pub broker: Option<BrokerSettings>,
    /// External workers, if they are enabled.
    pub external: Option<ExternalSettings>,
    /// The workers of this node.
    pub workers: WorkerSettings,
    /// Limits on uploads, disk use and maintenance.
    pub limits: Limits,
    /// Access without an account, and registration.
    pub accounts: Accounts,
    /// Web hooks.
    pub hooks: Hooks,
    /// The HTTP server.
    pub http: Http,
    /// Raft's timing.
    pub consensus: Consensus,
}

impl Configuration {
    /// Reads `cluster.toml` for the node `id`.
    pub(crate) fn read(path: &Path, id: NodeId) -> Result<Self, ConfigurationError> {
        Self::build(parse(&read(path)?, path)?, path, id)
    }

    /// Reads `cluster.toml` for a process that is not a node, as the configuration of the first node.
    pub(crate) fn read_any(path: &Path) -> Result<Self, ConfigurationError> {
        let file = parse(&read(path)?, path)?;
        let first = file.node.first().map(|member| member.id);
        Self::build(file, path, first.unwrap_or_default())
    }

    fn build(file: ClusterFile, path: &Path, id: NodeId) -> Result<Self, ConfigurationError> {
        let invalid = |reason: String| ConfigurationError::Invalid { path: path.into(), reason };
        let folder = path.parent().unwrap_or(Path::new("."));
        validate::check_settings(&file).map_err(invalid)?;
        let mut members = validate::members_by_id(file.node, id).map_err(invalid)?;
        for member in members.values_mut() {
            member.data = folder.join(&member.data);
        }
        Ok(Self {
            id,
            members,
            secret_file: folder.join(file.secret_file),
            make_secret: false,
            own_models: None,
            broker: file.broker.map(|broker| BrokerSettings { ca: broker.ca.map(|ca| folder.join(ca)), ..broker }),
            external: file.outside,
            workers: file.workers,
            limits: file.limits,
            accounts: file.accounts,
            hooks: file.hooks,
            http: Http {
                tls: file
                    .http
                    .tls
                    .map(|tls| TlsFiles { certificate: folder.join(tls.certificate), key: folder.join(tls.key) }),
                ..file.http
            },
            consensus: file.consensus,
        })
    }

    /// A standalone node with all its data in the folder `data`.
    ///
    /// `model` separates songs whose upload names no model. The models in `own_models` are available too.
    pub(crate) fn standalone(data: PathBuf, http: String, model: Option<String>, own_models: Option<Library>) -> Self {
        let member = Member { id: 0, http, quic: "127.0.0.1:0".into(), data: data.clone(), quota_bytes: None };
        Self {
            id: 0,
            members: BTreeMap::from([(0, member)]),
            secret_file: data.join("cluster.secret"),
            make_secret: true,
            own_models,
            broker: None,
            external: None,
            workers: model
                .map_or_else(WorkerSettings::default, |model| WorkerSettings { model, ..WorkerSettings::default() }),
            limits: Limits::default(),
            accounts: Accounts::default(),
            hooks: Hooks::default(),
            http: Http::default(),
            consensus: Consensus::default(),
        }
    }

    /// This node's entry.
    pub(crate) fn me(&self) -> &Member {
        &self.members[&self.id]
    }

    /// How much disk space this node's blobs may take.
    pub(crate) fn allowance(&self) -> Quota {
        Quota { reserve_bytes: self.limits.reserve_bytes, max_bytes: self.me().quota_bytes }
    }

    /// The time without contact after which the replicas of a node are replaced.
    pub(crate) fn repair_after(&self) -> Duration {
        Duration::from_secs(self.limits.repair_after_seconds)
    }

    /// The time in which the scrub reads every blob once.
    pub(crate) fn scrub_period(&self) -> Duration {
        Duration::from_secs(24 * 3600).mul_f64(self.limits.scrub_days)
    }

    /// The time for which an unreferenced blob is kept.
    pub(crate) fn collect_grace(&self) -> Duration {
        Duration::from_secs(self.limits.collect_grace_seconds)
    }
}

fn read(path: &Path) -> Result<String, ConfigurationError> {
    std::fs::read_to_string(path).map_err(|source| ConfigurationError::Read { path: path.into(), source })
}

fn parse(text: &str, path: &Path) -> Result<ClusterFile, ConfigurationError> {
    toml::from_str(text).map_err(|source| ConfigurationError::Parse { path: path.into(), source: Box::new(source) })
}

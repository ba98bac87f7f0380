//! What a node is told: `cluster.toml`, or the defaults of a cluster of one.
//!
//! Every key is documented in the repository's `cluster.toml`. Unknown keys are refused, with their line, because a
//! misspelt limit that is silently ignored is a limit that does not hold.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::Duration;

use inference::models::Library;
use net::NodeId;
use serde::Deserialize;
use storage::blobs::Quota;
use web::auth::client::Network;

use work::amqp;
use work::settings::{BrokerSettings, ExternalSettings, WorkerSettings};

/// The longest scrub. A disk that is read more seldom might as well not be read.
const MOST_SCRUB_DAYS: f64 = 3650.0;

/// The shortest grace of a file that nothing refers to, in seconds: what is spread is confirmed within the last five, a
/// command is proposed for eight at most, and the rest is for a node that is busy.
const LEAST_GRACE_SECONDS: u64 = 30;

/// Why a configuration was refused.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ConfigurationError {
    /// The file could not be read.
    #[error("cannot read {path}: {source}")]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The file is not what `cluster.toml` should be.
    #[error("{path} is not a cluster file:\n{source}")]
    Parse {
        /// The file.
        path: PathBuf,
        /// Where and why, with the line.
        source: Box<toml::de::Error>,
    },
    /// The values do not go together.
    #[error("{path}: {reason}")]
    Invalid {
        /// The file.
        path: PathBuf,
        /// What to change.
        reason: String,
    },
}

/// `cluster.toml` as it is written.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    secret_file: PathBuf,
    node: Vec<Member>,
    broker: Option<BrokerSettings>,
    outside: Option<ExternalSettings>,
    #[serde(default)]
    workers: WorkerSettings,
    #[serde(default)]
    limits: Limits,
    #[serde(default)]
    accounts: Accounts,
    #[serde(default)]
    hooks: Hooks,
    #[serde(default)]
    http: Http,
    #[serde(default)]
    consensus: Consensus,
}

/// One `[[node]]`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Member {
    /// Its number.
    pub id: NodeId,
    /// `host:port` of its HTTP interface.
    pub http: String,
    /// `host:port` of its QUIC endpoint.
    pub quic: String,
    /// Its folder.
    pub data: PathBuf,
    /// The most bytes of files that it holds; as many as its disk takes if it is not given.
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
    /// Jobs that one user may have open; 0 is any number.
    pub jobs_per_user: u32,
    /// Free bytes under which uploads are refused.
    pub reserve_bytes: u64,
    /// Seconds for which an unreferenced file is kept.
    pub collect_grace_seconds: u64,
    /// For tests: takes a shorter grace than is safe.
    pub collect_unsafely: bool,
    /// Seconds after which the copies of a node that is away are made up for.
    pub repair_after_seconds: u64,
    /// Days in which every file is read once to see that it is undamaged.
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
    /// Whether people without an account may use the cluster.
    pub anonymous: bool,
    /// Who may make an account.
    pub registration: Registration,
}

impl Default for Accounts {
    fn default() -> Self {
        Self { anonymous: true, registration: Registration::Open }
    }
}

/// Who may make an account. The first one may always be made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Registration {
    /// Whoever reaches the port.
    Open,
    /// Administrators, for others.
    Closed,
}

/// `[hooks]`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Hooks {
    /// Whether web hooks may lead into networks that are not public, this node's own among them.
    pub allow_private: bool,
}

/// `[http]`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Http {
    /// The proxies whose word on clients is believed.
    #[serde(deserialize_with = "networks")]
    pub trusted_proxies: Vec<Network>,
    /// The certificate, if the nodes speak HTTPS themselves.
    pub tls: Option<Tls>,
}

/// `[http.tls]`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Tls {
    /// A PEM file with the certificate and those that lead to its authority.
    pub certificate: PathBuf,
    /// A PEM file with its key.
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
    /// Milliseconds between the leader's heartbeats.
    pub heartbeat_ms: u64,
    /// Shortest silence after which a follower stands for election, in milliseconds.
    pub election_min_ms: u64,
    /// Longest such silence.
    pub election_max_ms: u64,
}

impl Default for Consensus {
    fn default() -> Self {
        Self { heartbeat_ms: 60, election_min_ms: 200, election_max_ms: 350 }
    }
}

/// All that one node needs to know.
#[derive(Debug, Clone)]
pub(crate) struct Configuration {
    /// This node's number.
    pub id: NodeId,
    /// All members, this node among them.
    pub members: BTreeMap<NodeId, Member>,
    /// The file with the cluster's secret.
    pub secret_file: PathBuf,
    /// Whether the secret may be made when it is missing: only in a cluster of one.
    pub make_secret: bool,
    /// A folder whose models the cluster has as well: the user's own, in a cluster of one.
    pub own_models: Option<Library>,
    /// RabbitMQ, if there is one.
    pub broker: Option<BrokerSettings>,
    /// External workers, if there are any.
    pub external: Option<ExternalSettings>,
    /// The workers.
    pub workers: WorkerSettings,
    /// The limits.
    pub limits: Limits,
    /// Who is let in.
    pub accounts: Accounts,
    /// Where web hooks may lead.
    pub hooks: Hooks,
    /// How browsers and programs are served.
    pub http: Http,
    /// Raft's timings.
    pub consensus: Consensus,
}

impl Configuration {
    /// Reads `cluster.toml` for the node `id`.
    pub(crate) fn read(path: &Path, id: NodeId) -> Result<Self, ConfigurationError> {
        let text =
            std::fs::read_to_string(path).map_err(|source| ConfigurationError::Read { path: path.into(), source })?;
        Self::parse(&text, path, id)
    }

    /// Reads `cluster.toml` for somebody who is no node, and takes the place of the first one.
    pub(crate) fn read_any(path: &Path) -> Result<Self, ConfigurationError> {
        let text =
            std::fs::read_to_string(path).map_err(|source| ConfigurationError::Read { path: path.into(), source })?;
        let file: File = toml::from_str(&text)
            .map_err(|source| ConfigurationError::Parse { path: path.into(), source: Box::new(source) })?;
        let first = file.node.first().map(|member| member.id);
        Self::parse(&text, path, first.unwrap_or_default())
    }

    fn parse(text: &str, path: &Path, id: NodeId) -> Result<Self, ConfigurationError> {
        let file: File = toml::from_str(text)
            .map_err(|source| ConfigurationError::Parse { path: path.into(), source: Box::new(source) })?;
        let invalid = |reason: String| ConfigurationError::Invalid { path: path.into(), reason };
        let folder = path.parent().unwrap_or(Path::new("."));

        let mut members = BTreeMap::new();
        let mut addresses = BTreeSet::new();
        for mut member in file.node {
            for (key, address) in [("http", &member.http), ("quic", &member.quic)] {
                if address.rsplit_once(':').and_then(|(_, port)| port.parse::<u16>().ok()).is_none() {
                    return Err(invalid(format!(
                        "node {}: {key} = {address:?} is not an address; write host:port",
                        member.id
                    )));
                }
                if !addresses.insert((key, address.clone())) {
                    return Err(invalid(format!("two nodes have {key} = {address:?}; give each its own")));
                }
            }
            member.data = folder.join(&member.data);
            let id = member.id;
            if members.insert(id, member).is_some() {
                return Err(invalid(format!("node {id} is listed twice; every node has its own id")));
            }
        }
        if !members.contains_key(&id) {
            let known: Vec<String> = members.keys().map(u64::to_string).collect();
            return Err(invalid(format!("there is no node {id} here, only {}", known.join(", "))));
        }
        for (key, value) in [
            ("limits.upload_bytes", file.limits.upload_bytes),
            ("limits.song_seconds", file.limits.song_seconds),
            ("limits.repair_after_seconds", file.limits.repair_after_seconds),
            ("consensus.heartbeat_ms", file.consensus.heartbeat_ms),
        ] {
            if value == 0 {
                return Err(invalid(format!("{key} must be at least 1")));
            }
        }
        if let Some(fault) = file.workers.fault() {
            return Err(invalid(format!("workers: {fault}")));
        }
        if file.limits.collect_grace_seconds < LEAST_GRACE_SECONDS && !file.limits.collect_unsafely {
            return Err(invalid(format!(
                "limits.collect_grace_seconds must be at least {LEAST_GRACE_SECONDS}: in less, a file could go while its \
                 song is being added"
            )));
        }
        if !(file.limits.scrub_days > 0.0 && file.limits.scrub_days <= MOST_SCRUB_DAYS) {
            return Err(invalid(format!("limits.scrub_days must be above 0 and at most {MOST_SCRUB_DAYS}")));
        }
        if file.consensus.election_min_ms < 2 * file.consensus.heartbeat_ms
            || file.consensus.election_max_ms <= file.consensus.election_min_ms
        {
            return Err(invalid(
                "consensus: election_min_ms must be at least twice heartbeat_ms, and election_max_ms above it".into(),
            ));
        }
        if let Some(Err(error)) = file.broker.as_ref().map(|broker| amqp::check(&broker.url)) {
            return Err(invalid(format!("broker.url: {error}")));
        }
        if let Some(fault) = file.outside.as_ref().and_then(|outside| outside.fault(file.broker.is_some())) {
            return Err(invalid(format!("outside: {fault}")));
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
                    .map(|tls| Tls { certificate: folder.join(tls.certificate), key: folder.join(tls.key) }),
                ..file.http
            },
            consensus: file.consensus,
        })
    }

    /// A cluster of one, with everything embedded, in the folder `data`.
    ///
    /// `model` is for songs whose upload names none; the cluster has the models in `own_models` as well.
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

    /// This node's own entry.
    pub(crate) fn me(&self) -> &Member {
        &self.members[&self.id]
    }

    /// How much this node may hold.
    pub(crate) fn allowance(&self) -> Quota {
        Quota { reserve_bytes: self.limits.reserve_bytes, max_bytes: self.me().quota_bytes }
    }

    /// How long a node may be away before its copies are made up for.
    pub(crate) fn repair_after(&self) -> Duration {
        Duration::from_secs(self.limits.repair_after_seconds)
    }

    /// How long it takes to read every file once.
    pub(crate) fn scrub_period(&self) -> Duration {
        Duration::from_secs(24 * 3600).mul_f64(self.limits.scrub_days)
    }

    /// How long a file that no song refers to is kept.
    pub(crate) fn collect_grace(&self) -> Duration {
        Duration::from_secs(self.limits.collect_grace_seconds)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]

    use super::*;

    const EXAMPLE: &str = include_str!("../../cluster.toml");

    fn parse(text: &str, id: NodeId) -> Result<Configuration, String> {
        Configuration::parse(text, Path::new("/etc/quartet/cluster.toml"), id).map_err(|error| error.to_string())
    }

    #[test]
    fn the_example_is_valid_and_holds_the_defaults() {
        let read = parse(EXAMPLE, 1).unwrap();
        assert_eq!(read.members.len(), 3);
        assert_eq!(read.me().data, Path::new("/etc/quartet/data/node-1"));
        let alone = Configuration::standalone("x".into(), "127.0.0.1:8080".into(), None, None);
        assert_eq!(format!("{:?}", read.limits), format!("{:?}", alone.limits));
        assert_eq!(format!("{:?}", read.workers), format!("{:?}", alone.workers));
        assert_eq!(format!("{:?}", read.accounts), format!("{:?}", alone.accounts));
        assert_eq!(format!("{:?}", read.http), format!("{:?}", alone.http));
        assert_eq!(format!("{:?}", read.consensus), format!("{:?}", alone.consensus));
    }

    #[test]
    fn an_unknown_key_is_refused_with_its_line() {
        let line = EXAMPLE.lines().position(|line| line.starts_with("slots")).unwrap() + 1;
        let error = parse(&EXAMPLE.replace("slots = 1 ", "slotz = 1 "), 0).unwrap_err();
        assert!(error.contains("slotz") && error.contains(&format!("line {line}")), "{error}");
    }

    #[test]
    fn demonstrations_change_the_workers() {
        let plain = parse(EXAMPLE, 0).unwrap().workers;
        assert_eq!((plain.healthy_slots(), plain.all_slots()), (1, 1));
        let with = EXAMPLE.replace("slots = 1 ", "healthy = 2\nunhealthy = 3\ncrash_after = 7\nslots = 1 ");
        let shown = parse(&with, 0).unwrap().workers;
        assert_eq!((shown.healthy_slots(), shown.all_slots(), shown.crash_after), (2, 5, 7));
    }

    #[test]
    fn tests_may_collect_sooner_than_is_safe() {
        let grace = |line: &str| parse(&EXAMPLE.replace("collect_grace_seconds = 120", line), 0);
        assert_eq!(grace("collect_grace_seconds = 30").unwrap().collect_grace(), Duration::from_secs(30));
        assert!(grace("collect_grace_seconds = 1").is_err());
        assert_eq!(
            grace("collect_unsafely = true\ncollect_grace_seconds = 1").unwrap().collect_grace(),
            Duration::from_secs(1)
        );
    }

    #[test]
    fn a_certificate_lies_beside_the_cluster_file() {
        let tls = EXAMPLE.replace("# [http.tls]", "[http.tls]").replace("# certificate =", "certificate =");
        let tls = parse(&tls.replace("# key =", "key ="), 0).unwrap().http.tls.unwrap();
        assert_eq!(tls.certificate, Path::new("/etc/quartet/tls/certificate.pem"));
        assert_eq!(tls.key, Path::new("/etc/quartet/tls/key.pem"));
    }

    /// The example with its section for workers outside, which is commented out there.
    fn with_outside() -> String {
        let mut within = false;
        let lines = EXAMPLE.lines().map(|line| {
            within = line == "# [outside]" || (within && line.starts_with('#'));
            if within { line.trim_start_matches("# ") } else { line }
        });
        lines.collect::<Vec<_>>().join("\n")
    }

    #[test]
    fn workers_outside_are_off_and_explained() {
        assert!(parse(EXAMPLE, 0).unwrap().external.is_none());
        let shown = parse(&with_outside(), 0).unwrap().external.unwrap();
        assert_eq!(shown.token_sha256.len(), 1);
        let shown = ExternalSettings { token_sha256: Vec::new(), ..shown };
        assert_eq!(format!("{shown:?}"), format!("{:?}", ExternalSettings::default()));
        for (from, to, word) in [
            ("[broker]", "[broken]", "broken"),
            ("max_bytes = 16777216", "max_bytes = 0", "max_bytes"),
            ("patience_seconds = 600", "patience_seconds = 0", "patience_seconds"),
            ("queue = \"vocalizer_queue\"", "queue = \"\"", "queue"),
            ("token_sha256 = [", "token_sha256 = [] # [", "at least one token"),
            ("token_sha256 = [\"", "token_sha256 = [\"secret", "token_sha256"),
        ] {
            assert!(with_outside().contains(from), "{from}");
            let error = parse(&with_outside().replace(from, to), 0).unwrap_err();
            assert!(error.contains(word), "{to}: {error}");
        }
        let without = with_outside().replace("[broker]\nurl", "#").replace("\nprefix =", "\n#");
        assert!(parse(&without, 0).unwrap_err().contains("add the section [broker]"));
    }

    #[test]
    fn the_brokers_authority_lies_beside_the_cluster_file() {
        assert_eq!(parse(EXAMPLE, 0).unwrap().broker.unwrap().ca, None);
        let broker = parse(&EXAMPLE.replace("# ca =", "ca ="), 0).unwrap().broker.unwrap();
        assert_eq!(broker.ca.unwrap(), Path::new("/etc/quartet/tls/authority.pem"));
    }

    #[test]
    fn clusters_that_share_a_broker_do_not_reset_each_other() {
        let mut broker = parse(EXAMPLE, 0).unwrap().broker.unwrap();
        assert_eq!(broker.reset_exchange(), "reset");
        broker.prefix = "band".into();
        assert_eq!(broker.reset_exchange(), "band.reset");
    }

    #[test]
    fn values_that_do_not_go_together_are_refused() {
        for (from, to, word) in [
            ("id = 2", "id = 1", "listed twice"),
            ("127.0.0.1:8082", "127.0.0.1:8081", "give each its own"),
            ("127.0.0.1:7402", "127.0.0.1", "host:port"),
            ("max_attempts = 5", "max_attempts = 0", "at least 1"),
            ("slots = 1 ", "slots = 5000 ", "at most 1024"),
            ("task_floor_seconds = 300", "task_floor_seconds = 0", "at least 1"),
            ("collect_grace_seconds = 120", "collect_grace_seconds = 29", "at least 30"),
            ("scrub_days = 30 ", "scrub_days = 0 ", "above 0"),
            ("scrub_days = 30 ", "scrub_days = nan ", "above 0"),
            ("model = \"spectral\"", "model = \"../magic\"", "magic"),
            ("registration = \"open\"", "registration = \"sometimes\"", "sometimes"),
            ("trusted_proxies = []", "trusted_proxies = [\"proxy\"]", "10.0.0.0/8"),
            ("amqp://guest:guest@127.0.0.1:5672/%2f", "rabbit:5672", "broker.url: that is no address of RabbitMQ"),
            ("election_max_ms = 350", "election_max_ms = 100", "election_max_ms above it"),
        ] {
            let error = parse(&EXAMPLE.replace(from, to), 0).unwrap_err();
            assert!(error.contains(word), "{to}: {error}");
        }
        assert!(parse(EXAMPLE, 9).unwrap_err().contains("only 0, 1, 2"));
    }
}

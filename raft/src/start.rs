//! How a node begins to take part: from its disk and its connections to a [`Cluster`] handle.

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use net::{NodeId, Peer, Protocol};
use openraft::error::RaftError;
use openraft::{Config, SnapshotPolicy};
use storage::database::Database;
use tokio::sync::watch;

use crate::bootstrap::{self, Finding, Introducer, Left, StartError};
use crate::cluster::Cluster;
use crate::consensus::log::Log;
use crate::consensus::machine::Machine;
use crate::consensus::network::{Network, RaftService};
use crate::consensus::{Raft, compaction};
use crate::membership::look_after;
use crate::service::{ClusterService, Greeter};

/// What a cluster handle is made of.
#[derive(Debug, Clone)]
pub struct ClusterConfig {
    /// This node.
    pub id: NodeId,
    /// All members and where their QUIC endpoints listen, this node among them.
    pub members: BTreeMap<NodeId, String>,
    /// The node's folder; snapshots lie in it.
    pub data: PathBuf,
    /// Between the leader's heartbeats.
    pub heartbeat: Duration,
    /// Silence after which a follower stands for election, drawn from this range.
    pub election: Range<Duration>,
    /// The highest feature level that this version knows: [`state::FEATURE_LEVEL`], or another one in tests.
    pub feature_level: u32,
}

impl Cluster {
    /// Takes part; a fresh disk waits here until it has found the others.
    pub async fn start(config: ClusterConfig, database: Database, peer: Peer) -> Result<Self, StartError> {
        let told = |error: &dyn std::fmt::Display| StartError::Consensus(error.to_string());
        let disk = bootstrap::disk(&database, config.id)?;
        let log = Log::open(database.clone()).map_err(|error| told(&error))?;
        let flushed = log.flushed().clone();
        let fresh = log.is_fresh().map_err(|error| told(&error))?;
        let introducer = Introducer { disk, fresh, level: config.feature_level, raft: Arc::new(OnceLock::new()) };
        peer.serve(Protocol::Cluster, Arc::new(Greeter(introducer.clone())));
        let finding = if fresh { Some(bootstrap::find_cluster(&peer, disk, &config.members).await?) } else { None };

        let machine = Machine::open(database.clone(), flushed.clone(), config.data.join("snapshots"))
            .map_err(|error| told(&error))?;
        if let Some(meta) = machine.view().cluster_meta().map_err(|error| told(&error))? {
            if meta.level > config.feature_level {
                return Err(StartError::TooNew { found: meta.level, known: config.feature_level });
            }
            peer.set_cluster(meta.cluster);
        }
        let millis = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        let settings = Config {
            cluster_name: "quartet".into(),
            heartbeat_interval: millis(config.heartbeat),
            election_timeout_min: millis(config.election.start),
            election_timeout_max: millis(config.election.end),
            install_snapshot_timeout: 60_000,
            snapshot_policy: SnapshotPolicy::Never,
            max_in_snapshot_log_to_keep: 1_000,
            ..Config::default()
        };
        let settings = Arc::new(settings.validate().map_err(|error| told(&error))?);
        let network = Network { peer: peer.clone(), log: flushed.clone() };
        let raft = Raft::new(config.id, settings, network, log.clone(), machine.clone())
            .await
            .map_err(|error| told(&error))?;
        peer.serve(
            Protocol::Raft,
            Arc::new(RaftService { raft: raft.clone(), log: flushed, machine: machine.clone() }),
        );
        if let Some(Finding::Begin(members)) = finding
            && let Err(error) = raft.initialize(members).await
        {
            match error {
                // Another node was quicker, and has begun with the same members.
                RaftError::APIError(_) => tracing::debug!(%error, "the cluster has begun already"),
                RaftError::Fatal(error) => return Err(told(&error)),
            }
        }
        // Set only now: until the membership is known here, a node that asks should ask again.
        let _ = introducer.raft.set((raft.clone(), machine.clone()));

        tokio::spawn(compaction::run(raft.clone(), machine.clone(), log));
        let (told_left, left) = watch::channel(false);
        let cluster = Self::new(config.id, raft, machine, peer.clone(), left);
        let service = ClusterService { cluster: cluster.clone(), introducer };
        peer.serve(Protocol::Cluster, Arc::new(service));
        let address = config.members.get(&config.id).cloned().unwrap_or_default();
        tokio::spawn(look_after(cluster.clone(), address, Left { database, told: told_left }, config.feature_level));
        Ok(cluster)
    }
}

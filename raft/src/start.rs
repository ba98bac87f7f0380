//! Starts consensus on a node: from its database and its QUIC endpoint to a [`Cluster`] handle.

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

use crate::bootstrap::{Discovery, Identity, discover};
use crate::cluster::Cluster;
use crate::consensus::log::Log;
use crate::consensus::machine::Machine;
use crate::consensus::network::{Network, RaftService};
use crate::consensus::{Raft, compaction};
use crate::disk;
use crate::error::StartError;
use crate::reconcile::Reconciler;
use crate::service::ClusterService;

/// How a node takes part in its cluster.
#[derive(Debug, Clone)]
pub struct ClusterConfig {
    /// The id of this node.
    pub id: NodeId,
    /// The highest feature level that this version knows: [`state::FEATURE_LEVEL`], or another one in tests.
    pub feature_level: u32,
    /// The QUIC addresses of all members including this node, as `host:port`.
    pub members: BTreeMap<NodeId, String>,
    /// The data folder of the node. Snapshots are stored in `snapshots` below it.
    pub data: PathBuf,
    /// Interval of the leader's heartbeats.
    pub heartbeat: Duration,
    /// Time without a heartbeat after which a follower becomes a candidate, drawn at random from this range.
    pub election: Range<Duration>,
}

impl Cluster {
    /// Starts consensus. A node with a fresh disk waits here until it has found its cluster.
    pub async fn start(config: ClusterConfig, database: Database, peer: Peer) -> Result<Self, StartError> {
        let disk = disk::open(&database, config.id)?;
        let log = Log::open(database.clone()).map_err(into_error)?;
        let flusher = log.flusher().clone();
        let fresh = log.is_fresh().map_err(into_error)?;
        let identity = Identity { disk, fresh, level: config.feature_level, raft: Arc::new(OnceLock::new()) };
        peer.serve(Protocol::Cluster, Arc::new(ClusterService { identity: identity.clone(), cluster: None }));
        let discovery = if fresh { Some(discover(&peer, disk, &config.members).await?) } else { None };

        let machine =
            Machine::open(database.clone(), flusher.clone(), config.data.join("snapshots")).map_err(into_error)?;
        if let Some(meta) = machine.view().cluster_meta().map_err(into_error)? {
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
        let settings = Arc::new(settings.validate().map_err(into_error)?);
        let network = Network { peer: peer.clone(), flusher: flusher.clone() };
        let raft = Raft::new(config.id, settings, network, log.clone(), machine.clone()).await.map_err(into_error)?;
        peer.serve(Protocol::Raft, Arc::new(RaftService { raft: raft.clone(), flusher, machine: machine.clone() }));
        if let Some(Discovery::Begin(members)) = discovery
            && let Err(error) = raft.initialize(members).await
        {
            match error {
                // Another node initialized the cluster first, with the same members.
                RaftError::APIError(_) => tracing::debug!(%error, "the cluster has begun already"),
                RaftError::Fatal(error) => return Err(into_error(error)),
            }
        }
        // Set only now: other nodes must repeat their call until the membership is known here.
        let _ = identity.raft.set((raft.clone(), machine.clone()));

        tokio::spawn(compaction::run(raft.clone(), machine.clone(), log));
        let (left_sender, left) = watch::channel(false);
        let cluster = Self::new(config.id, raft, machine, peer.clone(), left);
        peer.serve(Protocol::Cluster, Arc::new(ClusterService { identity, cluster: Some(cluster.clone()) }));
        let address = config.members.get(&config.id).cloned().unwrap_or_default();
        let reconciler = Reconciler {
            cluster: cluster.clone(),
            address,
            database,
            left: left_sender,
            feature_level: config.feature_level,
        };
        tokio::spawn(reconciler.run());
        Ok(cluster)
    }
}

fn into_error(error: impl std::fmt::Display) -> StartError {
    StartError::Consensus(error.to_string())
}

//! Disk, QUIC and Raft.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, Result};
use live::Live;
use net::secret_box::SecretBox;
use net::{ConsensusRuntime, NodeId, Peer, PeerConfig, Secret};
use raft::{Cluster, ClusterConfig};
use replication::Replication;
use storage::blobs::Blobs;
use storage::database::{Database, DatabaseError};
use tokio_util::sync::CancellationToken;

use crate::configuration::Configuration;
use crate::signals;

/// Disk, QUIC and Raft of a running node.
pub(super) struct Foundation {
    pub(super) id: NodeId,
    pub(super) database: Database,
    pub(super) blobs: Blobs,
    pub(super) peer: Peer,
    pub(super) replication: Replication,
    pub(super) cluster: Cluster,
    pub(super) live: Live,
    secret: Secret,
    /// Its thread ends when this is dropped.
    _runtime: ConsensusRuntime,
}

impl Foundation {
    /// Opens the disk, listens on QUIC and starts Raft. Returns `None` if a signal stops the node before Raft has started.
    pub(super) async fn start(configuration: &Configuration, stopping: &CancellationToken) -> Result<Option<Self>> {
        let me = configuration.me();
        let secret = secret(configuration).context("the cluster's secret")?;
        let database = Database::open(&me.data.join("database")).map_err(|error| match error {
            DatabaseError::Damaged { .. } => damaged(me.id, &error.to_string()),
            error => error.into(),
        })?;
        let blobs = Blobs::open(&me.data, configuration.allowance())?;
        let runtime = ConsensusRuntime::start().context("cannot start the thread of consensus")?;
        let addresses: BTreeMap<NodeId, String> =
            configuration.members.values().map(|member| (member.id, member.quic.clone())).collect();
        let peer = Peer::bind(PeerConfig {
            id: me.id,
            listen: resolve(&me.quic).await?,
            members: addresses.clone(),
            secret: secret.clone(),
            consensus_runtime: Some(runtime.handle().clone()),
        })?;
        let replication = Replication::start(blobs.clone(), peer.clone());
        let http = configuration.members.values().map(|member| (member.id, member.http.clone()));
        let live = Live::start(peer.clone(), http.collect());

        signals::watch(stopping.clone());
        let consensus = &configuration.consensus;
        let raft = ClusterConfig {
            id: me.id,
            feature_level: state::FEATURE_LEVEL,
            members: addresses,
            data: me.data.clone(),
            heartbeat: Duration::from_millis(consensus.heartbeat_ms),
            election: Duration::from_millis(consensus.election_min_ms)
                ..Duration::from_millis(consensus.election_max_ms),
        };
        let started = tokio::select! {
            started = runtime.handle().spawn(Cluster::start(raft, database.clone(), peer.clone())) => started?.map(Some),
            () = stopping.cancelled() => Ok(None),
        };
        match started {
            Ok(Some(cluster)) => Ok(Some(Self {
                id: me.id,
                database,
                blobs,
                peer,
                replication,
                cluster,
                live,
                secret,
                _runtime: runtime,
            })),
            otherwise => {
                // Before the thread of the connections ends.
                peer.close().await;
                if let Some(reason) = database.damage() {
                    return Err(damaged(me.id, &format!("the database is damaged: {reason}")));
                }
                otherwise?;
                Ok(None)
            }
        }
    }

    /// The encryption for secrets in the replicated state.
    pub(super) fn secret_box(&self, purpose: &str) -> Result<SecretBox> {
        Ok(SecretBox::new(&self.secret, purpose)?)
    }
}

/// The cluster's secret; made now for a standalone node that has none.
fn secret(configuration: &Configuration) -> Result<Secret> {
    let file = &configuration.secret_file;
    if !configuration.make_secret {
        return Ok(Secret::read(file)?);
    }
    let data = &configuration.me().data;
    std::fs::create_dir_all(data).with_context(|| format!("cannot make the data folder {}", data.display()))?;
    Ok(Secret::generate_if_missing(file)?)
}

/// The error for a database that must not be used any more.
pub(super) fn damaged(id: NodeId, reason: &str) -> anyhow::Error {
    anyhow::anyhow!(
        "{}. A node that may have lost its vote or log entries must not go on. Give this machine a new id and an empty \
         folder in cluster.toml, start it, and add it with `node --id NEW --cluster cluster.toml join --replace {id}`: \
         it gets state and files from the other nodes. If all nodes are damaged, or there is no other, restore a backup",
        reason.trim_end_matches('.')
    )
}

async fn resolve(address: &str) -> Result<SocketAddr> {
    tokio::net::lookup_host(address)
        .await
        .with_context(|| format!("cannot look up the address {address}"))?
        .next()
        .with_context(|| format!("the address {address} names no host"))
}

//! The daemon: one node from start to orderly stop.
//!
//! Start follows the layers: disk, QUIC and Raft ([`foundation`]), tasks and background loops ([`tasks`]), HTTP
//! ([`http`]). Stop goes the other way: no new requests, tasks released while the cluster still runs, then Raft, then the
//! connections. A `kill -9` at any moment loses nothing that was acknowledged; an orderly stop only spares the other
//! nodes the wait.

mod foundation;
mod http;
mod tasks;

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use audio::sandbox::Sandbox;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::configuration::Configuration;
use crate::metrics;
use foundation::{Foundation, damaged};
use tasks::Tasks;

/// How long an orderly stop may take before the process ends anyway.
const STOP_WITHIN: Duration = Duration::from_secs(10);
/// How long downloads and event streams may take to end by themselves.
const DRAIN_WITHIN: Duration = Duration::from_secs(2);

/// Runs a node until a signal stops it.
pub(crate) async fn run(configuration: Configuration, sandbox: Sandbox) -> Result<()> {
    let configuration = Arc::new(configuration);
    let recorder = metrics::install(configuration.id)?;
    let stopping = CancellationToken::new();
    let listener = http::bind(&configuration).await?;
    let Some(foundation) = Foundation::start(&configuration, &stopping).await? else {
        return Ok(());
    };
    let tasks = Tasks::start(&configuration, &foundation, &sandbox, &stopping)?;
    tasks.spawn(metrics::run_upkeep(recorder.clone(), stopping.clone()));
    let server = http::start(&configuration, &foundation, &tasks, listener, sandbox, recorder, &stopping)?;
    Node { foundation, tasks, server, stopping }.run().await
}

/// A running node.
struct Node {
    foundation: Foundation,
    tasks: Tasks,
    server: JoinHandle<()>,
    stopping: CancellationToken,
}

/// Why a node ends.
enum Cause {
    Stopped,
    /// Consensus failed at this node.
    Broken(String),
    Server(Result<(), tokio::task::JoinError>),
}

impl Node {
    /// Runs until a signal, a failure or the removal from the cluster, then stops in order.
    async fn run(mut self) -> Result<()> {
        let Foundation { cluster, database, .. } = &self.foundation;
        let cause = tokio::select! {
            () = self.stopping.cancelled() => Cause::Stopped,
            reason = cluster.broken() => Cause::Broken(reason),
            reason = database.wait_for_damage() => {
                tracing::error!(reason, "the database is damaged; this node ends");
                Cause::Stopped
            }
            () = cluster.left() => {
                tracing::info!("this node has left the cluster; its data folder can be removed");
                Cause::Stopped
            }
            ended = &mut self.server => Cause::Server(ended),
        };
        let database = database.clone();
        let id = self.foundation.id;
        let server_runs = !matches!(cause, Cause::Server(_));
        if tokio::time::timeout(STOP_WITHIN, self.stop(server_runs)).await.is_err() {
            tracing::warn!("the orderly stop took too long; nothing that was acknowledged is lost");
        }
        tracing::info!("stopped");
        if let Some(reason) = database.damage() {
            return Err(damaged(id, &format!("the database is damaged: {reason}")));
        }
        match cause {
            Cause::Stopped => Ok(()),
            // A restart is safe: the disk is consistent, and nothing else was acknowledged.
            Cause::Broken(reason) => anyhow::bail!("consensus failed at this node: {reason}"),
            Cause::Server(ended) => ended.context("the HTTP server ended"),
        }
    }

    async fn stop(self, server_runs: bool) {
        self.stopping.cancel();
        self.tasks.stop().await;
        if server_runs {
            let _ = tokio::time::timeout(DRAIN_WITHIN, self.server).await;
        }
        self.foundation.cluster.stop().await;
        self.foundation.peer.close().await;
    }
}

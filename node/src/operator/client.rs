//! The client of the operator protocol. Most calls go to the first node of the cluster file that answers.

use std::collections::HashSet;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use net::{NodeId, OPERATOR, Peer, PeerConfig, Protocol, Secret, Stream};
use raft::archive::{self, At};
use state::{View, ViewError};
use storage::blobs::Hash;
use tokio::io::AsyncReadExt;

use super::protocol::{Call, Overview, Reply};
use crate::configuration::Configuration;
use crate::maintenance::ScrubProgress;

/// The time limit of a call.
const CALL_TIMEOUT: Duration = Duration::from_secs(15);
/// For how long a call is retried after a temporary error.
const RETRY_FOR: Duration = Duration::from_secs(20);
/// The pause between two retries.
const RETRY_PAUSE: Duration = Duration::from_millis(300);

/// Connections to the nodes of a cluster.
pub(crate) struct OperatorClient {
    peer: Peer,
}

impl OperatorClient {
    /// Reads the cluster's secret and binds a socket. Does not connect yet.
    pub(crate) async fn new(configuration: &Configuration) -> Result<Self> {
        let secret = Secret::read(&configuration.secret_file).context("cannot read the cluster's secret")?;
        let bind = |listen: &str| {
            let members = configuration.members.values().map(|member| (member.id, member.quic.clone())).collect();
            anyhow::Ok(Peer::bind(PeerConfig {
                id: OPERATOR,
                listen: listen.parse()?,
                members,
                secret: secret.clone(),
                consensus_runtime: None,
            })?)
        };
        // Use IPv4 if the system has no IPv6.
        Ok(Self { peer: bind("[::]:0").or_else(|_| bind("0.0.0.0:0"))? })
    }

    /// The QUIC endpoint.
    pub(crate) fn peer(&self) -> &Peer {
        &self.peer
    }

    /// Calls one node after the other until one replies. Returns the reply and the stream, which may have data after it.
    pub(crate) async fn call(&self, call: &Call) -> Result<(Reply, Stream)> {
        let mut reasons = Vec::new();
        for node in self.peer.members() {
            match self.call_node(node, call).await {
                Ok(replied) => return Ok(replied),
                Err(error) => reasons.push(error.to_string()),
            }
        }
        bail!("no node of the cluster file replied: {}", reasons.join("; "))
    }

    async fn call_node(&self, node: NodeId, call: &Call) -> Result<(Reply, Stream)> {
        let exchange = async {
            let mut stream = self.peer.open(node, Protocol::Operator).await?;
            stream.write_frame(call).await?;
            stream.finish()?;
            Ok((stream.read_frame().await?, stream))
        };
        let replied = tokio::time::timeout(CALL_TIMEOUT, exchange).await;
        replied.with_context(|| format!("node {node} did not reply in time"))?
    }

    /// Starts a scrub of one node, and returns the number of the request.
    pub(crate) async fn scrub(&self, node: NodeId) -> Result<u64> {
        match self.call_node(node, &Call::Scrub).await?.0 {
            Reply::ScrubStarted(request) => Ok(request),
            other => Err(unexpected(other)),
        }
    }

    /// The progress of a node's last requested scrub.
    pub(crate) async fn scrub_progress(&self, node: NodeId) -> Result<ScrubProgress> {
        match self.call_node(node, &Call::ScrubProgress).await?.0 {
            Reply::ScrubProgress(round) => Ok(round),
            other => Err(unexpected(other)),
        }
    }

    /// Makes a call whose reply has no data. Retries it for a while after temporary errors.
    pub(crate) async fn execute(&self, call: &Call) -> Result<()> {
        let began = Instant::now();
        loop {
            match self.call(call).await?.0 {
                Reply::Done => return Ok(()),
                Reply::Refused { temporary: true, .. } if began.elapsed() < RETRY_FOR => {
                    tokio::time::sleep(RETRY_PAUSE).await
                }
                other => return Err(unexpected(other)),
            }
        }
    }

    /// Drops all running work, and returns the nodes that did not reply.
    pub(crate) async fn reset(&self) -> Result<Vec<NodeId>> {
        match self.call(&Call::Reset).await?.0 {
            Reply::DoneExcept(silent) => Ok(silent),
            other => Err(unexpected(other)),
        }
    }

    /// The status of the cluster as one node sees it. Also adds the addresses of members that the cluster file does not name.
    pub(crate) async fn overview(&self) -> Result<Overview> {
        match self.call(&Call::Overview).await?.0 {
            Reply::Overview(overview) => {
                for (node, address) in &overview.status.addresses {
                    self.peer.set_address(*node, address.clone());
                }
                Ok(*overview)
            }
            other => Err(unexpected(other)),
        }
    }

    /// Fetches the cluster's state and writes it to a file.
    pub(crate) async fn fetch_state(&self, to: &Path) -> Result<At> {
        let (reply, mut stream) = self.call(&Call::Archive).await?;
        let Reply::Archive { at, length } = reply else { return Err(unexpected(reply)) };
        let mut file = tokio::fs::File::create(to).await.with_context(|| to.display().to_string())?;
        let copied = tokio::io::copy(&mut (&mut stream.recv).take(length), &mut file).await?;
        ensure!(copied == length, "received only {copied} of {length} bytes of the state; try again");
        file.sync_all().await?;
        Ok(at)
    }

    /// All blobs that the cluster replicates now. `folder` is for temporary files.
    pub(crate) async fn files(&self, folder: &Path) -> Result<Vec<Hash>> {
        let state = folder.join("state");
        self.fetch_state(&state).await?;
        Ok(in_state(&state, &folder.join("scratch"), View::files).await?.into_iter().collect())
    }
}

/// The error for any reply but the expected one.
fn unexpected(reply: Reply) -> anyhow::Error {
    match reply {
        Reply::Refused { reason, .. } => anyhow::Error::msg(reason),
        other => anyhow::anyhow!("the node sent an unexpected reply: {other:?}"),
    }
}

/// All blobs that the state in a file refers to. `scratch` is for temporary files.
pub(crate) async fn references(state: &Path, scratch: &Path) -> Result<HashSet<Hash>> {
    in_state(state, scratch, View::references).await
}

type Query = fn(&View) -> Result<HashSet<Hash>, ViewError>;

async fn in_state(state: &Path, scratch: &Path, query: Query) -> Result<HashSet<Hash>> {
    let (state, scratch) = (state.to_owned(), scratch.to_owned());
    let found = tokio::task::spawn_blocking(move || {
        if scratch.exists() {
            std::fs::remove_dir_all(&scratch)?;
        }
        let files = query(&archive::open(&state, &scratch)?)?;
        std::fs::remove_dir_all(&scratch)?;
        anyhow::Ok(files)
    });
    found.await?
}

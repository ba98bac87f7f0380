//! The asking side: any node of the cluster that answers will do.

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
use crate::maintenance::OrderedRound;

/// How long a node may take for an answer.
const PATIENCE: Duration = Duration::from_secs(15);
/// For how long an order is repeated that cannot be carried out yet.
const SOON: Duration = Duration::from_secs(20);
const AGAIN: Duration = Duration::from_millis(300);

/// The operator's end of the connections to a cluster.
pub(crate) struct Client {
    peer: Peer,
}

impl Client {
    /// Reads the secret; nothing is asked yet.
    pub(crate) async fn new(configuration: &Configuration) -> Result<Self> {
        let secret = Secret::read(&configuration.secret_file).context("the cluster's secret")?;
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
        // Where there is no IPv6, there is IPv4.
        Ok(Self { peer: bind("[::]:0").or_else(|_| bind("0.0.0.0:0"))? })
    }

    /// The connections.
    pub(crate) fn peer(&self) -> &Peer {
        &self.peer
    }

    /// Asks one node after the other until one answers, and returns its reply with the stream for what follows it.
    pub(crate) async fn ask(&self, call: &Call) -> Result<(Reply, Stream)> {
        let mut reasons = Vec::new();
        for node in self.peer.members() {
            match self.ask_node(node, call).await {
                Ok(answered) => return Ok(answered),
                Err(error) => reasons.push(error.to_string()),
            }
        }
        bail!("no node of the cluster file answers: {}", reasons.join("; "))
    }

    async fn ask_node(&self, node: NodeId, call: &Call) -> Result<(Reply, Stream)> {
        let asked = async {
            let mut stream = self.peer.open(node, Protocol::Operator).await?;
            stream.write_frame(call).await?;
            stream.finish()?;
            Ok((stream.read_frame().await?, stream))
        };
        let answered = tokio::time::timeout(PATIENCE, asked).await;
        answered.with_context(|| format!("node {node} did not answer in time"))?
    }

    /// Has this very node read all its files, and returns the order's number.
    pub(crate) async fn scrub(&self, node: NodeId) -> Result<u64> {
        match self.ask_node(node, &Call::Scrub).await?.0 {
            Reply::Ordered(order) => Ok(order),
            other => Err(unexpected(other)),
        }
    }

    /// What this node's last ordered round has come to.
    pub(crate) async fn scrubbed(&self, node: NodeId) -> Result<OrderedRound> {
        match self.ask_node(node, &Call::Scrubbed).await?.0 {
            Reply::Scrubbed(round) => Ok(round),
            other => Err(unexpected(other)),
        }
    }

    /// Asks for something to be done, and for a while again if it cannot be done yet.
    pub(crate) async fn order(&self, call: &Call) -> Result<()> {
        let began = Instant::now();
        loop {
            match self.ask(call).await?.0 {
                Reply::Done => return Ok(()),
                Reply::Refused { soon: true, .. } if began.elapsed() < SOON => tokio::time::sleep(AGAIN).await,
                other => return Err(unexpected(other)),
            }
        }
    }

    /// Has all running work dropped, and returns the nodes that did not answer.
    pub(crate) async fn reset(&self) -> Result<Vec<NodeId>> {
        match self.ask(&Call::Reset).await?.0 {
            Reply::DoneBut(silent) => Ok(silent),
            other => Err(unexpected(other)),
        }
    }

    /// The cluster as some node sees it. Members that the cluster file does not name are known from then on.
    pub(crate) async fn overview(&self) -> Result<Overview> {
        match self.ask(&Call::Overview).await?.0 {
            Reply::Overview(overview) => {
                for (node, address) in &overview.status.addresses {
                    self.peer.set_address(*node, address.clone());
                }
                Ok(*overview)
            }
            other => Err(unexpected(other)),
        }
    }

    /// Has the cluster's state written to a file.
    pub(crate) async fn fetch_state(&self, to: &Path) -> Result<At> {
        let (reply, mut stream) = self.ask(&Call::Archive).await?;
        let Reply::Archive { at, length } = reply else { return Err(unexpected(reply)) };
        let mut file = tokio::fs::File::create(to).await.with_context(|| to.display().to_string())?;
        let copied = tokio::io::copy(&mut (&mut stream.recv).take(length), &mut file).await?;
        ensure!(copied == length, "the state came only in part ({copied} of {length} bytes); try again");
        file.sync_all().await?;
        Ok(at)
    }

    /// All files of which the nodes keep copies now; `folder` is for what comes in between.
    pub(crate) async fn files(&self, folder: &Path) -> Result<Vec<Hash>> {
        let state = folder.join("state");
        self.fetch_state(&state).await?;
        Ok(in_state(&state, &folder.join("scratch"), View::files).await?.into_iter().collect())
    }
}

/// A reply that is not the one that was hoped for.
fn unexpected(reply: Reply) -> anyhow::Error {
    match reply {
        Reply::Refused { reason, .. } => anyhow::Error::msg(reason),
        other => anyhow::anyhow!("the node gave an answer that does not fit: {other:?}"),
    }
}

/// All files that a written state refers to.
pub(crate) async fn references(state: &Path, scratch: &Path) -> Result<HashSet<Hash>> {
    in_state(state, scratch, View::references).await
}

type Look = fn(&View) -> Result<HashSet<Hash>, ViewError>;

async fn in_state(state: &Path, scratch: &Path, look: Look) -> Result<HashSet<Hash>> {
    let (state, scratch) = (state.to_owned(), scratch.to_owned());
    let found = tokio::task::spawn_blocking(move || {
        if scratch.exists() {
            std::fs::remove_dir_all(&scratch)?;
        }
        let files = look(&archive::open(&state, &scratch)?)?;
        std::fs::remove_dir_all(&scratch)?;
        anyhow::Ok(files)
    });
    found.await?
}

//! Adding and removing nodes, with progress on standard error.

use std::time::Duration;

use anyhow::Result;
use net::NodeId;
use raft::Change;
use replication::Replication;
use storage::blobs::{Blobs, Quota};

use super::client::OperatorClient;
use super::protocol::{Call, Overview};
use crate::configuration::Member;

/// How often the status is polled.
const POLL_INTERVAL: Duration = Duration::from_millis(500);

/// Adds a node, and waits until it is a voter.
pub(crate) async fn join(client: &OperatorClient, node: &Member, replaces: Option<NodeId>) -> Result<()> {
    let id = node.id;
    client.execute(&Call::Change(Change::Join { node: id, address: node.quic.clone(), replaces })).await?;
    let mut reported = None;
    loop {
        let status = client.overview().await?.status;
        if status.members.contains(&id) && replaces.is_none_or(|old| !status.members.contains(&old)) {
            eprintln!("node {id} is a member; the cluster has {} now", nodes(status.members.len()));
            return Ok(());
        }
        // Only the leader knows the lag.
        if let Some(Some(lag)) = status.joining.get(&id)
            && reported != Some(*lag)
        {
            reported = Some(*lag);
            eprintln!("node {id} is catching up: {lag} log entries left");
        }
        tokio::time::sleep(POLL_INTERVAL).await;
    }
}

/// Removes a node. Without `force`, first waits until the other nodes have enough replicas of its blobs.
pub(crate) async fn leave(client: &OperatorClient, id: NodeId, force: bool) -> Result<()> {
    client.execute(&Call::Change(Change::Retire { node: id })).await?;
    if !force {
        eprintln!("node {id} stores no new files; waiting until the other nodes have copies of its files");
        wait_for_replicas(client, id).await?;
    }
    client.execute(&Call::Change(Change::Leave { node: id })).await?;
    loop {
        let status = client.overview().await?.status;
        if status.id != id && !status.addresses.contains_key(&id) {
            eprintln!("node {id} has left; the cluster has {} now", nodes(status.members.len()));
            return Ok(());
        }
        tokio::time::sleep(POLL_INTERVAL).await;
    }
}

/// Waits until each blob of the state is on a majority of the remaining members. Other nodes that are leaving do not count
/// as remaining: they store no new blobs, so waiting for them would never end.
async fn wait_for_replicas(client: &OperatorClient, id: NodeId) -> Result<()> {
    let folder = tempfile::tempdir()?;
    let replication = Replication::start(Blobs::open(folder.path(), Quota::default())?, client.peer().clone());
    let mut reported = None;
    loop {
        let Overview { status, retired, .. } = client.overview().await?;
        let stays = |member: &NodeId| *member != id && !retired.contains(member);
        let others: Vec<NodeId> = status.members.into_iter().filter(stays).collect();
        let short = replication.under_replicated_among(&others, &client.files(folder.path()).await?).await;
        if short == 0 {
            return Ok(());
        }
        if reported != Some(short) {
            reported = Some(short);
            eprintln!("{short} files still have too few copies");
        }
        tokio::time::sleep(POLL_INTERVAL).await;
    }
}

fn nodes(count: usize) -> String {
    if count == 1 { "one node".into() } else { format!("{count} nodes") }
}

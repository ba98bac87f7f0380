//! Letting nodes in and taking them out, with a word on how far it is.

use std::time::Duration;

use anyhow::Result;
use net::NodeId;
use raft::Change;
use replication::Replication;
use storage::blobs::{Blobs, Quota};

use super::client::Client;
use super::protocol::{Call, Overview};
use crate::configuration::Member;

const LOOK_AGAIN: Duration = Duration::from_millis(500);

/// Lets a node in, and waits until it votes.
pub(crate) async fn join(client: &Client, node: &Member, replaces: Option<NodeId>) -> Result<()> {
    let id = node.id;
    client.order(&Call::Change(Change::Join { node: id, address: node.quic.clone(), replaces })).await?;
    let mut said = None;
    loop {
        let status = client.overview().await?.status;
        if status.members.contains(&id) && replaces.is_none_or(|old| !status.members.contains(&old)) {
            eprintln!("node {id} is a member; the cluster has {} now", nodes(status.members.len()));
            return Ok(());
        }
        // Only the leader knows how far it is; another node says nothing of it.
        if let Some(Some(lag)) = status.joining.get(&id)
            && said != Some(*lag)
        {
            said = Some(*lag);
            eprintln!("node {id} catches up: {lag} log entries to go");
        }
        tokio::time::sleep(LOOK_AGAIN).await;
    }
}

/// Takes a node out; without `force` after its files are safe elsewhere.
pub(crate) async fn leave(client: &Client, id: NodeId, force: bool) -> Result<()> {
    client.order(&Call::Change(Change::Retire { node: id })).await?;
    if !force {
        eprintln!("node {id} gets no more files; waiting until the others have copies of those that it holds");
        files_elsewhere(client, id).await?;
    }
    client.order(&Call::Change(Change::Leave { node: id })).await?;
    loop {
        let status = client.overview().await?.status;
        if status.id != id && !status.addresses.contains_key(&id) {
            eprintln!("node {id} has left; the cluster has {} now", nodes(status.members.len()));
            return Ok(());
        }
        tokio::time::sleep(LOOK_AGAIN).await;
    }
}

/// Waits until of every file that the state refers to as many of the members that stay have a copy as make a majority of
/// those. Others that leave just now get no more files, so waiting for these would never end.
async fn files_elsewhere(client: &Client, id: NodeId) -> Result<()> {
    let folder = tempfile::tempdir()?;
    let sharing = Replication::start(Blobs::open(folder.path(), Quota::default())?, client.peer().clone());
    let mut said = None;
    loop {
        let Overview { status, retired, .. } = client.overview().await?;
        let stays = |member: &NodeId| *member != id && !retired.contains(member);
        let others: Vec<NodeId> = status.members.into_iter().filter(stays).collect();
        let short = sharing.under_replicated_among(&others, &client.files(folder.path()).await?).await;
        if short == 0 {
            return Ok(());
        }
        if said != Some(short) {
            said = Some(short);
            eprintln!("{short} files have too few copies yet");
        }
        tokio::time::sleep(LOOK_AGAIN).await;
    }
}

fn nodes(count: usize) -> String {
    if count == 1 { "one node".into() } else { format!("{count} nodes") }
}

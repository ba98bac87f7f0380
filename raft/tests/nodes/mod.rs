//! Nodes of one process, over real QUIC and real disks, for the tests.

#![allow(dead_code, clippy::unwrap_used, clippy::expect_used)]

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use raft::command::{Answer, Command};
use raft::state::{Plan, Priority, Song};
use raft::{Cluster, ClusterConfig, StartError};
use storage::NodeId;
use storage::blobs::Hash;
use storage::database::Database;
use storage::peer::{Peer, PeerConfig, Secret};
use tempfile::TempDir;

/// A node of this process.
pub(crate) struct Node {
    pub cluster: Cluster,
    pub peer: Peer,
}

impl Node {
    pub(crate) async fn stop(self) {
        self.cluster.stop().await;
        self.peer.close().await;
    }
}

pub(crate) fn free_ports(count: u64) -> BTreeMap<NodeId, String> {
    let sockets: Vec<_> = (0..count).map(|_| std::net::UdpSocket::bind("127.0.0.1:0").unwrap()).collect();
    (0..count).zip(sockets.iter().map(|socket| socket.local_addr().unwrap().to_string())).collect()
}

/// What a node of this process that has just stopped holds is free a moment later.
async fn once_free<T, E: std::fmt::Display>(open: impl Fn() -> Result<T, E>) -> T {
    let began = std::time::Instant::now();
    loop {
        match open() {
            Ok(opened) => return opened,
            Err(error) => assert!(began.elapsed() < Duration::from_secs(20), "{error}"),
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

pub(crate) async fn start(id: NodeId, members: &BTreeMap<NodeId, String>, root: &Path) -> Result<Node, StartError> {
    let secret = root.join("secret");
    std::fs::write(&secret, "a secret of more than thirty-two characters").unwrap();
    let peer = once_free(|| {
        Peer::bind(PeerConfig {
            id,
            listen: members[&id].parse().unwrap(),
            members: members.clone(),
            secret: Secret::read(&secret).unwrap(),
            swift: tokio::runtime::Handle::current(),
        })
    })
    .await;
    let data = root.join(id.to_string());
    let database = once_free(|| Database::open(&data.join("database"))).await;
    let config = ClusterConfig {
        id,
        members: members.clone(),
        data,
        heartbeat: Duration::from_millis(75),
        election: Duration::from_millis(300)..Duration::from_millis(500),
    };
    match Cluster::start(config, database, peer.clone()).await {
        Ok(cluster) => Ok(Node { cluster, peer }),
        Err(error) => {
            peer.close().await;
            Err(error)
        }
    }
}

pub(crate) async fn start_all(members: &BTreeMap<NodeId, String>, root: &TempDir) -> Vec<Node> {
    let starting = members.keys().map(|id| start(*id, members, root.path()));
    futures_util::future::join_all(starting).await.into_iter().map(Result::unwrap).collect()
}

pub(crate) fn add(title: &str) -> Command {
    Command::AddSong {
        title: title.into(),
        hash: Hash::of(title.as_bytes()),
        size: 1,
        format: "wav".into(),
        uploader_id: None,
        credits: Box::default(),
        plan: Plan { frames: 1, segments: 3, segments_per_task: 2 },
        model: "spectral".into(),
        formats: vec!["mp3:320".into()],
        max_attempts: 3,
        priority: Priority::Normal,
        owner: String::new(),
        jobs_per_owner: 0,
        road: Default::default(),
        at: 0,
    }
}

pub(crate) async fn add_song(node: &Node, title: &str) -> Song {
    match node.cluster.propose(add(title)).await.unwrap() {
        Ok(Answer::Song(song)) => song,
        other => panic!("{other:?}"),
    }
}

pub(crate) async fn titles(node: &Node) -> Vec<String> {
    let view = node.cluster.read().await.unwrap();
    view.songs(None, 10_000).unwrap().into_iter().map(|song| song.title).collect()
}

/// Waits until `question` says yes.
pub(crate) async fn wait_until(what: &str, mut question: impl AsyncFnMut() -> bool) {
    let began = std::time::Instant::now();
    while !question().await {
        assert!(began.elapsed() < Duration::from_secs(60), "waited in vain for {what}");
        tokio::time::sleep(Duration::from_millis(30)).await;
    }
}

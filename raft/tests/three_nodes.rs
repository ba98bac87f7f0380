//! Three nodes in one process, over real QUIC and real disks.

#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used)]

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use raft::command::{Answer, Command, Refusal};
use raft::state::{Plan, Song};
use raft::{Cluster, ClusterConfig, StartError};
use storage::NodeId;
use storage::blobs::Hash;
use storage::database::Database;
use storage::peer::{Peer, PeerConfig, Secret};
use tempfile::TempDir;

struct Node {
    cluster: Cluster,
    peer: Peer,
}

impl Node {
    async fn stop(self) {
        self.cluster.stop().await;
        self.peer.close().await;
    }
}

fn free_ports(count: u64) -> BTreeMap<NodeId, String> {
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

async fn start(id: NodeId, members: &BTreeMap<NodeId, String>, root: &Path) -> Result<Node, StartError> {
    let secret = root.join("secret");
    std::fs::write(&secret, "a secret of more than thirty-two characters").unwrap();
    let peer = once_free(|| {
        Peer::bind(PeerConfig {
            id,
            listen: members[&id].parse().unwrap(),
            members: members.clone(),
            secret: Secret::read(&secret).unwrap(),
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

async fn start_all(members: &BTreeMap<NodeId, String>, root: &TempDir) -> Vec<Node> {
    let starting = members.keys().map(|id| start(*id, members, root.path()));
    futures_util::future::join_all(starting).await.into_iter().map(Result::unwrap).collect()
}

fn add(title: &str) -> Command {
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
        at: 0,
    }
}

async fn add_song(node: &Node, title: &str) -> Song {
    match node.cluster.propose(add(title)).await.unwrap() {
        Ok(Answer::Song(song)) => song,
        other => panic!("{other:?}"),
    }
}

async fn titles(node: &Node) -> Vec<String> {
    let view = node.cluster.read().await.unwrap();
    view.songs(None, 10_000).unwrap().into_iter().map(|song| song.title).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn three_fresh_nodes_make_one_cluster_and_outlive_its_leader() {
    let root = tempfile::tempdir().unwrap();
    let members = free_ports(3);
    let mut nodes = start_all(&members, &root).await;
    for (at, title) in ["one", "two", "three"].into_iter().enumerate() {
        add_song(&nodes[at], title).await;
        // The next read at any node knows it.
        for node in &nodes {
            assert_eq!(titles(node).await[0], title);
        }
    }
    let refused = nodes[1].cluster.propose(Command::RemoveSong { song: 77, at: 0 }).await.unwrap();
    assert_eq!(refused, Err(Refusal::NoSuchSong(77)));

    let leader = nodes[0].cluster.status().leader.unwrap();
    let at = nodes.iter().position(|node| node.peer.id() == leader).unwrap();
    nodes.remove(at).stop().await;
    add_song(&nodes[0], "four").await;
    assert_eq!(titles(&nodes[1]).await, ["four", "three", "two", "one"]);

    // Without a majority nothing is promised, and that is said.
    nodes.remove(1).stop().await;
    assert!(nodes[0].cluster.propose(add("five")).await.is_err());
    assert!(nodes[0].cluster.read().await.is_err());
    assert_eq!(nodes[0].cluster.peek().songs(None, 10).unwrap().len(), 4);
    nodes.remove(0).stop().await;

    // All of them again: the acknowledged songs are there.
    let nodes = start_all(&members, &root).await;
    let titles = titles(&nodes[2]).await;
    assert_eq!(titles[titles.len() - 4..], ["four", "three", "two", "one"]);
    for node in nodes {
        node.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wiped_disk_and_a_foreign_folder_are_refused() {
    let root = tempfile::tempdir().unwrap();
    let members = free_ports(3);
    let mut nodes = start_all(&members, &root).await;
    add_song(&nodes[0], "kept").await;
    nodes.pop().unwrap().stop().await;
    let disk = root.path().join("2");
    std::fs::rename(&disk, root.path().join("lost")).unwrap();
    let refused = start(2, &members, root.path()).await.err().unwrap();
    assert!(matches!(refused, StartError::WipedDisk(2)), "{refused}");

    let moved = tempfile::tempdir().unwrap();
    std::fs::rename(root.path().join("lost"), moved.path().join("0")).unwrap();
    let refused = start(0, &free_ports(3), moved.path()).await.err().unwrap();
    assert!(matches!(refused, StartError::AnothersDisk { node: 0, owner: 2 }), "{refused}");

    std::fs::remove_dir_all(&disk).unwrap();
    std::fs::rename(moved.path().join("0"), &disk).unwrap();
    let back = start(2, &members, root.path()).await.unwrap();
    assert_eq!(titles(&back).await, ["kept"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_was_away_for_long_catches_up_by_a_snapshot() {
    let root = tempfile::tempdir().unwrap();
    let members = free_ports(3);
    let mut nodes = start_all(&members, &root).await;
    add_song(&nodes[0], "first").await;
    nodes.pop().unwrap().stop().await;
    // Enough entries that the log is purged beyond what the absent node has.
    for round in 0..8 {
        let writes = (0..1000).map(|n| nodes[n % 2].cluster.propose(add(&format!("{round} {n}"))));
        for written in futures_util::future::join_all(writes).await {
            written.unwrap().unwrap();
        }
    }
    for n in 0..6500 {
        nodes[0].cluster.propose(Command::RemoveSong { song: 1_000_000 + n, at: 0 }).await.unwrap().unwrap_err();
    }
    let back = start(2, &members, root.path()).await.unwrap();
    let songs = titles(&back).await;
    assert_eq!(songs.len(), 8001);
    assert_eq!(songs.last().unwrap(), "first");
    assert!(std::fs::read_dir(root.path().join("2/snapshots")).unwrap().count() > 0);
}

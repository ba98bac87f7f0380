//! Three nodes in one process, over real QUIC and real disks.

#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used)]

mod nodes;

use nodes::{add, add_song, free_ports, leader, propose, start, start_all, titles, wait_until};
use raft::{ClusterError, StartError};

use state::FEATURE_LEVEL;
use state::command::{ChangePlaylist, Refusal, RemoveSong};

#[tokio::test(flavor = "multi_thread")]
async fn three_fresh_nodes_form_one_cluster_that_survives_its_leader() {
    let root = tempfile::tempdir().unwrap();
    let members = free_ports(3);
    let mut nodes = start_all(&members, &root).await;
    for (at, title) in ["one", "two", "three"].into_iter().enumerate() {
        add_song(&nodes[at], title).await;
        // The next read at any node returns it.
        for node in &nodes {
            assert_eq!(titles(node).await[0], title);
        }
    }
    let refused = nodes[1].cluster.propose(RemoveSong { song: 77 }).await.unwrap();
    assert_eq!(refused, Err(Refusal::NoSuchSong(77)));

    let leader = leader(&nodes[0]).await;
    let at = nodes.iter().position(|node| node.peer.id() == leader).unwrap();
    nodes.remove(at).stop().await;
    add_song(&nodes[0], "four").await;
    assert_eq!(titles(&nodes[1]).await, ["four", "three", "two", "one"]);

    // Without a majority, proposals and reads fail.
    nodes.remove(1).stop().await;
    assert!(nodes[0].cluster.propose(add("five")).await.is_err());
    assert!(matches!(nodes[0].cluster.read().await, Err(ClusterError::NoMajority)));
    assert_eq!(nodes[0].cluster.peek().songs(None, 10).unwrap().len(), 4);
    nodes.remove(0).stop().await;

    // After a restart of all nodes the acknowledged songs are there.
    let nodes = start_all(&members, &root).await;
    let titles = titles(&nodes[2]).await;
    assert_eq!(titles[titles.len() - 4..], ["four", "three", "two", "one"]);
    for node in nodes {
        node.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn wiped_disk_and_foreign_folder_are_rejected() {
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
async fn node_that_was_down_for_long_catches_up_by_a_snapshot() {
    let root = tempfile::tempdir().unwrap();
    let members = free_ports(3);
    let mut nodes = start_all(&members, &root).await;
    add_song(&nodes[0], "first").await;
    nodes.pop().unwrap().stop().await;
    // Enough entries that the log is purged beyond the last entry of the stopped node.
    for round in 0..8 {
        let writes = (0..1000).map(|n| propose(&nodes[n % 2], add(&format!("{round} {n}"))));
        for written in futures_util::future::join_all(writes).await {
            written.unwrap();
        }
    }
    let lengthen = async |entries: u64| {
        for n in 0..entries {
            propose(&nodes[0], RemoveSong { song: 1_000_000 + n }).await.unwrap_err();
        }
    };
    lengthen(6500).await;
    // Either of the two may be the leader. The log is purged up to the snapshot when more entries follow.
    let snapshots = |node: u64| {
        let files = std::fs::read_dir(root.path().join(format!("{node}/snapshots"))).unwrap();
        files.filter(|file| !file.as_ref().unwrap().file_name().to_string_lossy().starts_with("building")).count()
    };
    wait_until("the snapshots", async || (0..2).all(|node| snapshots(node) > 0)).await;
    lengthen(10).await;
    let back = start(2, &members, root.path()).await.unwrap();
    wait_until("the node to catch up", async || back.cluster.read().await.is_ok()).await;
    let songs = titles(&back).await;
    assert_eq!(songs.len(), 8001);
    assert_eq!(songs.last().unwrap(), "first");
    assert!(snapshots(2) > 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn many_large_concurrent_changes_block_neither_the_cluster_nor_a_restarted_node() {
    let root = tempfile::tempdir().unwrap();
    let members = free_ports(3);
    let mut nodes = start_all(&members, &root).await;
    add_song(&nodes[0], "before").await;
    wait_until("the level", async || nodes[0].cluster.peek().has_level(FEATURE_LEVEL).unwrap()).await;
    nodes.pop().unwrap().stop().await;
    // More bytes than one frame holds, as one entry and as the entries of one message.
    let description = Some("long ".repeat(20_000));
    let change = || ChangePlaylist { playlist: 7, name: None, description: description.clone(), at: 0 };
    let changes = (0..200).map(|n| propose(&nodes[n % 2], change()));
    for changed in futures_util::future::join_all(changes).await {
        assert_eq!(changed, Err(Refusal::NoSuchPlaylist(7)));
    }
    add_song(&nodes[1], "after").await;
    let back = start(2, &members, root.path()).await.unwrap();
    wait_until("the node to catch up", async || back.cluster.read().await.is_ok()).await;
    assert_eq!(titles(&back).await, ["after", "before"]);
}

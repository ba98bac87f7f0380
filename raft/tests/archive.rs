//! Backups of the state, and new clusters restored from them.

#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used)]

mod nodes;

use nodes::{add_song, decided, free_ports, start, start_all, titles};
use raft::archive::{self, ArchiveError};
use raft::{Change, MembershipError};

#[tokio::test(flavor = "multi_thread")]
async fn new_cluster_starts_with_the_archived_state() {
    let root = tempfile::tempdir().unwrap();
    let addresses = free_ports(3);
    let nodes = start_all(&addresses, &root).await;
    for title in ["one", "two", "three"] {
        add_song(&nodes[0], title).await;
    }
    let archive = nodes[2].cluster.archive().await.unwrap();
    let kept = root.path().join("kept");
    std::fs::copy(archive.path(), &kept).unwrap();
    let (at, written) = (archive.at, archive.path().to_owned());
    drop(archive);
    assert!(!written.exists());
    add_song(&nodes[0], "too late").await;
    for node in nodes {
        node.stop().await;
    }

    let view = archive::open(&kept, &root.path().join("scratch")).unwrap();
    assert_eq!(view.songs(None, 9).unwrap().len(), 3);

    let elsewhere = tempfile::tempdir().unwrap();
    let folder = elsewhere.path().join("1/database");
    std::fs::create_dir(elsewhere.path().join("1")).unwrap();
    archive::restore(&kept, at, &folder, 1, addresses[&1].clone()).unwrap();
    let again = archive::restore(&kept, at, &folder, 1, addresses[&1].clone());
    assert!(matches!(again, Err(ArchiveError::NotEmpty)));

    let node = start(1, &addresses, elsewhere.path()).await.unwrap();
    assert_eq!(titles(&node).await, ["three", "two", "one"]);
    let song = add_song(&node, "four").await;
    assert_eq!(song.id, 4);

    // A node of the old cluster cannot join; a node with an empty disk can.
    let old = start(0, &addresses, root.path()).await.unwrap();
    let join = |node| Change::Join { node, address: addresses[&node].clone(), replaces: None };
    let refused = decided(&node, join(0)).await.unwrap_err();
    assert!(refused == MembershipError::NotFresh(0) || refused.to_string().contains("another cluster"), "{refused}");
    old.stop().await;
    let joining = start(2, &addresses, elsewhere.path());
    let adding = nodes::wait_until("node 2 to be added", async || decided(&node, join(2)).await.is_ok());
    let (joined, ()) = tokio::join!(joining, adding);
    assert_eq!(titles(&joined.unwrap()).await, ["four", "three", "two", "one"]);

    let mut bytes = std::fs::read(&kept).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&kept, bytes).unwrap();
    let damaged = archive::restore(&kept, at, &elsewhere.path().join("7"), 7, addresses[&0].clone());
    assert!(matches!(damaged, Err(ArchiveError::Read { .. })));
}

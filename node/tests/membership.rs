//! Join, leave, backup and restore, with the commands of the real program.

#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used)]

mod harness;

use harness::{Cluster, PATIENCE, permits, song, wait_for};
use serde_json::{Value, json};

#[tokio::test]
async fn nodes_join_and_leave_while_songs_are_separated() {
    let _permit = permits(1).await;
    let mut cluster = Cluster::start(3, None, "[workers]\nsegments_per_task = 1\n").await;
    let before = cluster.upload(0, "before", &song(20, 1)).await;
    cluster.add_node(3);
    cluster.run(3);
    cluster.operate_until_success(Some(3), &["join"]).await;
    cluster.wait_until_ready(3).await;
    let meanwhile = cluster.upload(3, "meanwhile", &song(20, 2)).await;
    wait_for("four members that are up", async || {
        cluster.operate(None, &["status"]).contains("4 of 4 members are up").then_some(())
    })
    .await;

    // A node of the original cluster leaves, and its files stay available.
    cluster.operate_until_success(Some(0), &["leave"]).await;
    assert!(cluster.process(0).wait(PATIENCE).expect("the node that left ends").success());
    for song in [&before, &meanwhile] {
        cluster.wait_until_split(3, song).await;
        assert!(cluster.download(3, song, "drums.wav").await.len() > 44);
    }
    cluster.run(0);
    assert!(!cluster.process(0).wait(PATIENCE).expect("a node that has left does not start").success());
    let log = std::fs::read_to_string(cluster.log(0)).unwrap();
    assert!(log.contains("has left its cluster"), "{log}");

    // Its id cannot be used again. Of three nodes, one can leave only while the others are up.
    let used = cluster.operate_expecting_error(Some(0), &["join"]);
    assert!(used.contains("not used again"), "{used}");
    cluster.kill(2);
    // Until the others have elected a leader, the reason is another one.
    wait_for("a rejection because of a missing majority", async || {
        let few = cluster.operate_expecting_error(Some(1), &["leave", "--force"]);
        few.contains("which is no majority").then_some(())
    })
    .await;
    cluster.upload(1, "after", &song(20, 3)).await;
}

#[tokio::test]
async fn lost_disk_is_replaced_by_a_node_with_a_new_id() {
    let _permit = permits(1).await;
    let mut cluster = Cluster::start(3, None, "").await;
    let kept = cluster.upload(2, "kept", &song(20, 1)).await;
    cluster.wait_until_split(0, &kept).await;
    cluster.kill(2);
    std::fs::remove_dir_all(cluster.folder.path().join("node-2")).unwrap();
    cluster.run(2);
    assert!(!cluster.process(2).wait(PATIENCE).expect("a wiped node ends").success());
    let log = std::fs::read_to_string(cluster.log(2)).unwrap();
    assert!(log.contains("join --replace 2"), "{log}");

    cluster.add_node(5);
    cluster.run(5);
    cluster.operate_until_success(Some(5), &["join", "--replace", "2"]).await;
    cluster.wait_until_ready(5).await;
    // When another node is killed, the new one is part of the majority and has the files of the song.
    wait_for("two copies of everything", async || {
        let nodes = cluster.data(5, "/cluster").await?["nodes"].clone();
        let nodes = nodes.as_array()?;
        let counted = |node: &Value| node["short"] == 0 && node["copies_among"] == json!([0, 1, 5]);
        (nodes.len() == 3 && nodes.iter().all(counted)).then_some(())
    })
    .await;
    cluster.kill(0);
    for stem in ["vocals", "drums", "bass", "other"] {
        assert!(cluster.download(5, &kept, &format!("{stem}.wav")).await.len() > 44);
    }
    cluster.upload(5, "new", &song(20, 2)).await;
}

#[tokio::test]
async fn backup_is_restored_as_a_new_cluster() {
    let _permit = permits(1).await;
    let mut cluster = Cluster::start(3, None, "").await;
    let first = cluster.upload(0, "first", &song(20, 1)).await;
    cluster.wait_until_split(1, &first).await;
    let folder = cluster.folder.path().join("backup");
    let folder = folder.to_str().unwrap().to_owned();
    cluster.operate_until_success(None, &["backup", &folder]).await;
    let second = cluster.upload(1, "second", &song(20, 2)).await;
    cluster.wait_until_split(1, &second).await;
    cluster.operate_until_success(None, &["backup", &folder]).await;
    let bytes = cluster.download(2, &second, "vocals.wav").await;
    for id in 0..3 {
        cluster.kill(id);
        std::fs::rename(
            cluster.folder.path().join(format!("node-{id}")),
            cluster.folder.path().join(format!("old-{id}")),
        )
        .unwrap();
    }
    let incomplete = cluster.operate_expecting_error(Some(1), &["restore", "/nowhere"]);
    assert!(incomplete.contains("not a complete backup"), "{incomplete}");
    cluster.operate(Some(1), &["restore", &folder]);
    let again = cluster.operate_expecting_error(Some(1), &["restore", &folder]);
    assert!(again.contains("already has the data of a node"), "{again}");
    cluster.run(1);
    cluster.wait_until_ready(1).await;
    for id in [0, 2] {
        cluster.run(id);
        cluster.operate_until_success(Some(id), &["join"]).await;
        cluster.wait_until_ready(id).await;
    }
    let songs = cluster.data(2, "/songs").await.unwrap();
    assert_eq!(songs["songs"].as_array().unwrap().len(), 2);
    assert_eq!(cluster.download(0, &second, "vocals.wav").await, bytes);
    assert_ne!(cluster.upload(0, "third", &song(20, 3)).await["id"], second["id"]);
}

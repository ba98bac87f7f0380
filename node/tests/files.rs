//! Files on three nodes: lost replicas, damage, deleted and repeated uploads, and full disks.

#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used)]

mod harness;

use std::path::{Path, PathBuf};

use harness::{ALL, Cluster, permits, song, wait_for};
use reqwest::StatusCode;
use serde_json::Value;

/// No workers, so that the songs are the only files.
const NO_WORK: &str = "[workers]\nslots = 0\n";

fn hash_of(song: &Value) -> String {
    song["hash"].as_str().unwrap().to_owned()
}

fn blob(cluster: &Cluster, node: u64, hash: &str) -> PathBuf {
    cluster.folder.path().join(format!("node-{node}/blobs/{}/{hash}", &hash[..2]))
}

fn set_aside(cluster: &Cluster, node: u64, hash: &str) -> bool {
    cluster.folder.path().join(format!("node-{node}/corrupt/{hash}")).exists()
}

fn holders(cluster: &Cluster, hash: &str) -> Vec<u64> {
    cluster.http.keys().copied().filter(|node| blob(cluster, *node, hash).exists()).collect()
}

fn flip(path: &Path, at: usize) {
    let mut bytes = std::fs::read(path).unwrap();
    bytes[at] ^= 16;
    std::fs::write(path, bytes).unwrap();
}

/// The report of node `about`, as seen by node `ask`.
async fn report(cluster: &Cluster, ask: u64, about: u64) -> Option<Value> {
    let nodes = cluster.data(ask, "/cluster").await?["nodes"].clone();
    nodes.as_array()?.iter().find(|node| node["id"] == about).cloned()
}

/// Kills all nodes and starts them again with a changed cluster.toml.
async fn restart(cluster: &mut Cluster, changes: &[(&str, &str)]) {
    let file = cluster.folder.path().join("cluster.toml");
    let mut text = std::fs::read_to_string(&file).unwrap();
    for (from, to) in changes {
        assert!(text.contains(from), "{from} is not in cluster.toml");
        text = text.replace(from, to);
    }
    std::fs::write(&file, text).unwrap();
    let nodes: Vec<u64> = cluster.http.keys().copied().collect();
    for node in &nodes {
        cluster.kill(*node);
    }
    for node in &nodes {
        cluster.run(*node);
    }
    for node in &nodes {
        cluster.wait_until_ready(*node).await;
    }
}

/// Deletes a song. Repeats the request while there is no leader.
async fn delete(cluster: &Cluster, node: u64, song: &Value) -> StatusCode {
    let url = cluster.url(node, &format!("/songs/{}", song["id"]));
    wait_for("a leader", async || {
        let status = cluster.client.delete(&url).send().await.unwrap().status();
        (status != StatusCode::SERVICE_UNAVAILABLE).then_some(status)
    })
    .await
}

#[tokio::test]
async fn lost_replicas_are_repaired() {
    let _permit = permits(1).await;
    let settings = format!("{NO_WORK}[limits]\nrepair_after_seconds = 1\n");
    let mut cluster = Cluster::start(3, None, &settings).await;
    let hash = hash_of(&cluster.upload(0, "Lost", &song(5, 40)).await);
    let before = holders(&cluster, &hash);
    assert!(before.len() >= 2);

    // A file is removed from a disk.
    std::fs::remove_file(blob(&cluster, before[0], &hash)).unwrap();
    wait_for("another copy", async || (holders(&cluster, &hash).len() >= 2).then_some(())).await;

    // A node is killed permanently.
    let gone = holders(&cluster, &hash)[0];
    cluster.kill(gone);
    let left: Vec<u64> = (0..3).filter(|node| *node != gone).collect();
    wait_for("copies on both remaining nodes", async || {
        left.iter().all(|node| blob(&cluster, *node, &hash).exists()).then_some(())
    })
    .await;
    for node in &left {
        wait_for("a report without missing copies", async || {
            let report = report(&cluster, left[0], *node).await?;
            (report["short"] == 0 && report["missing"] == 0).then_some(())
        })
        .await;
    }
}

#[tokio::test]
async fn node_leaves_after_its_files_have_other_replicas() {
    let _permit = permits(1).await;
    let mut cluster = Cluster::start(4, None, NO_WORK).await;
    let mut hashes = Vec::new();
    for seed in 60..64 {
        let hash = hash_of(&cluster.upload(3, "Left behind", &song(5, seed)).await);
        // One more replica is lost, so that the leaving node is part of the majority.
        std::fs::remove_file(blob(&cluster, holders(&cluster, &hash)[0], &hash)).unwrap();
        hashes.push(hash);
    }
    let file = cluster.folder.path().join("cluster.toml");
    let mut leaving = std::process::Command::new(env!("CARGO_BIN_EXE_node"));
    leaving.args(["--id", "3", "--cluster"]).arg(file).arg("leave");
    let left = tokio::task::spawn_blocking(move || leaving.status()).await.unwrap().unwrap();
    assert!(left.success());
    cluster.kill(3);
    std::fs::remove_dir_all(cluster.folder.path().join("node-3")).unwrap();
    for hash in &hashes {
        assert!(holders(&cluster, hash).len() >= 2, "fewer replicas than a majority of the remaining nodes");
    }
}

#[tokio::test]
async fn damaged_file_is_never_served() {
    let _permit = permits(1).await;
    let cluster = Cluster::start(3, None, NO_WORK).await;
    let file = song(15, 41);
    let right = std::fs::read(&file).unwrap();
    assert!(right.len() > 2_200_000, "the file must have three pieces");
    let uploaded = cluster.upload(0, "Flipped", &file).await;
    let hash = hash_of(&uploaded);
    flip(&blob(&cluster, 0, &hash), 2_000_000);

    let get = async |range: &str| {
        let url = cluster.url(0, &format!("/songs/{}/song.wav", uploaded["id"]));
        let answer = cluster.client.get(url).header("range", format!("bytes={range}")).send().await.unwrap();
        assert_eq!(answer.status(), StatusCode::PARTIAL_CONTENT);
        answer.bytes().await.unwrap()
    };
    assert!(get("0-999").await == right[..1000]);
    assert!(!set_aside(&cluster, 0, &hash));
    assert!(get("1999990-2000009").await == right[1_999_990..2_000_010]);
    assert!(set_aside(&cluster, 0, &hash));
    assert!(std::fs::read(blob(&cluster, 0, &hash)).unwrap() == right);
    assert!(cluster.download(0, &uploaded, "song.wav").await == right);

    // Conversions use an undamaged file.
    flip(&blob(&cluster, 0, &hash), 1_000_000);
    let converted = cluster.download(0, &uploaded, "song.flac").await;
    assert!(std::fs::read(blob(&cluster, 0, &hash)).unwrap() == right);
    assert!(cluster.download(2, &uploaded, "song.flac").await == converted);
    // Reports are slightly delayed.
    wait_for("a report of two damaged files", async || (report(&cluster, 0, 0).await?["damaged"] == 2).then_some(()))
        .await;
}

#[tokio::test]
async fn scrub_finds_damage_in_unread_files() {
    let _permit = permits(1).await;
    // The scrub takes four seconds.
    let settings = format!("{NO_WORK}[limits]\nscrub_days = 0.00005\n");
    let cluster = Cluster::start(3, None, &settings).await;
    let file = song(5, 42);
    let right = std::fs::read(&file).unwrap();
    let hash = hash_of(&cluster.upload(1, "Scrubbed", &file).await);
    flip(&blob(&cluster, 1, &hash), 600_000);
    wait_for("the damage to be detected", async || set_aside(&cluster, 1, &hash).then_some(())).await;
    wait_for("an undamaged copy", async || (std::fs::read(blob(&cluster, 1, &hash)).ok()? == right).then_some(()))
        .await;
    wait_for("a report of a damaged file", async || (report(&cluster, 0, 1).await?["damaged"] == 1).then_some(()))
        .await;
    let loops = report(&cluster, 0, 1).await.unwrap()["loops"].clone();
    let scrub = loops.as_array().unwrap().iter().find(|one| one["name"] == "scrub").unwrap();
    assert!(scrub["error"].is_null(), "{scrub}");
}

#[tokio::test]
async fn requested_scrub_reads_all_files_now() {
    let _permit = permits(1).await;
    let cluster = Cluster::start(3, None, NO_WORK).await;
    let file = song(5, 42);
    let right = std::fs::read(&file).unwrap();
    let hash = hash_of(&cluster.upload(0, "Ordered", &file).await);
    assert!(holders(&cluster, &hash).len() >= 2);
    let mut held = Vec::new();
    for node in 0..3 {
        // If a node responds slowly, the upload goes to another node as well, whose replica can arrive later.
        let sound = wait_for("a scrub while no file arrives", async || {
            let before = holders(&cluster, &hash);
            let sound = cluster.operate(Some(node), &["scrub"]);
            held = holders(&cluster, &hash);
            (held == before).then_some(sound)
        })
        .await;
        let files = u8::from(held.contains(&node));
        assert!(sound.starts_with(&format!("node {node}: {files} files (")), "{sound}");
        assert!(sound.trim_end().ends_with("read, 0 damaged"), "{sound}");
    }

    flip(&blob(&cluster, held[1], &hash), 600_000);
    let output = cluster.operate(None, &["scrub"]);
    assert_eq!(output.lines().count(), 3, "{output}");
    for line in output.lines() {
        let bad = line.starts_with(&format!("node {}: ", held[1]));
        assert!(line.ends_with(if bad { "1 damaged, 1 fetched again" } else { "0 damaged" }), "{output}");
    }
    assert!(set_aside(&cluster, held[1], &hash));
    assert!(std::fs::read(blob(&cluster, held[1], &hash)).unwrap() == right);
    assert!(cluster.operate_expecting_error(Some(9), &["scrub"]).contains("is not a member"));
}

#[tokio::test]
async fn song_deleted_and_uploaded_again_keeps_its_file() {
    let _permit = permits(ALL).await;
    // An upload completes within 13 seconds after its file was stored, or fails.
    let settings = format!("{NO_WORK}[limits]\ncollect_unsafely = true\ncollect_grace_seconds = 20\n");
    let cluster = Cluster::start(3, None, &settings).await;
    let file = song(5, 43);
    let mut uploaded = cluster.upload(0, "Back and forth", &file).await;
    let hash = hash_of(&uploaded);
    for round in 0..4u32 {
        let other = cluster.upload(1, "Collected", &song(5, 50 + round)).await;
        assert!(delete(&cluster, 2, &other).await.is_success());
        assert!(delete(&cluster, 0, &uploaded).await.is_success());
        uploaded = cluster.upload(u64::from(round % 3), "Back and forth", &file).await;
        assert_eq!(hash_of(&uploaded), hash);
        if round % 2 == 1 {
            // Wait until the nodes have collected garbage.
            let gone = hash_of(&other);
            wait_for("a collection", async || holders(&cluster, &gone).is_empty().then_some(())).await;
        }
        assert!(holders(&cluster, &hash).len() >= 2);
    }
    let right = std::fs::read(&file).unwrap();
    for node in 0..3 {
        assert!(cluster.download(node, &uploaded, "song.wav").await == right);
    }
}

#[tokio::test]
async fn full_node_rejects_uploads_and_still_votes() {
    let _permit = permits(1).await;
    let mut cluster = Cluster::start(3, None, &format!("{NO_WORK}[limits]\nreserve_bytes = 0\n")).await;
    let kept = cluster.upload(0, "Before", &song(5, 44)).await;
    let small = std::fs::read(song(5, 45)).unwrap();

    // One node's quota is used up: it rejects uploads, and the others work without it.
    let quota = ("data = \"node-1\"", "data = \"node-1\"\nquota_bytes = 1000");
    restart(&mut cluster, &[quota]).await;
    let (status, body) = cluster.try_upload(1, "No quota", small.clone(), "song.wav").await;
    assert_eq!((status, &body["errors"][0]["code"]), (StatusCode::INSUFFICIENT_STORAGE, &"disk_full".into()), "{body}");
    let taken = cluster.upload(0, "Around it", &song(5, 45)).await;
    assert_eq!(holders(&cluster, &hash_of(&taken)), [0, 2]);
    // It relays files that it cannot store.
    assert!(cluster.download(1, &taken, "song.wav").await == small);
    assert_eq!(holders(&cluster, &hash_of(&taken)), [0, 2]);
    wait_for("the report of the quota", async || (report(&cluster, 0, 1).await?["quota_bytes"] == 1000).then_some(()))
        .await;

    // Without the third node there is no majority with free space.
    cluster.kill(2);
    let other = std::fs::read(song(5, 46)).unwrap();
    let (status, body) = wait_for("a rejected upload", async || {
        let (status, body) = cluster.try_upload(0, "No majority", other.clone(), "song.wav").await;
        (status != StatusCode::SERVICE_UNAVAILABLE).then_some((status, body))
    })
    .await;
    assert_eq!((status, &body["errors"][0]["code"]), (StatusCode::INSUFFICIENT_STORAGE, &"no_room".into()), "{body}");
    cluster.run(2);
    cluster.wait_until_ready(2).await;

    // All disks are full except for the reserve: uploads are rejected, and everything else works.
    restart(&mut cluster, &[("reserve_bytes = 0", "reserve_bytes = 4611686018427387904")]).await;
    for node in 0..3 {
        let (status, body) = cluster.try_upload(node, "Full", small.clone(), "song.wav").await;
        assert_eq!(status, StatusCode::INSUFFICIENT_STORAGE, "{body}");
        assert_eq!(body["ok"], false);
        let message = body["errors"][0]["message"].as_str().unwrap();
        assert!(message.contains("no space") && message.ends_with('.'), "{message}");
        let staging = cluster.folder.path().join(format!("node-{node}/staging"));
        wait_for("an empty staging folder", async || (std::fs::read_dir(&staging).unwrap().count() == 0).then_some(()))
            .await;
    }
    assert!(cluster.download(0, &taken, "song.wav").await == small);
    assert!(delete(&cluster, 1, &kept).await.is_success());
    for node in 0..3 {
        assert!(cluster.status(node, &kept).await.is_none());
        assert!(cluster.status(node, &taken).await.is_some());
    }
}

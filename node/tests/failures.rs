//! One song through three nodes while parts of the cluster are killed.

#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used)]

mod harness;

use harness::{ALL, Broker, Cluster, permits, song, wait_for};

const STEMS: [&str; 4] = ["vocals", "drums", "bass", "other"];

/// Small tasks, so that every node gets some of them.
const SMALL_TASKS: &str = "[workers]\nsegments_per_task = 1\n";

/// Asserts that these nodes serve all stems, with the same content.
async fn assert_same_stems(cluster: &Cluster, nodes: &[u64], song: &serde_json::Value) {
    for stem in STEMS {
        let mut seen = Vec::new();
        for node in nodes {
            seen.push(cluster.download(*node, song, &format!("{stem}.wav")).await);
        }
        assert!(seen[0].len() > 44);
        assert!(seen.windows(2).all(|pair| pair[0] == pair[1]), "{stem} differs between nodes");
    }
}

#[tokio::test]
async fn song_uploaded_at_one_node_is_readable_at_all() {
    let _permit = permits(1).await;
    let broker = Broker::start().await;
    let cluster = Cluster::start(3, Some(&broker), SMALL_TASKS).await;
    let uploaded = cluster.upload(0, "Three nodes", &song(40, 1)).await;
    // The next read at every other node returns it.
    for node in [1, 2] {
        assert!(cluster.status(node, &uploaded).await.is_some());
    }
    cluster.wait_until_split(1, &uploaded).await;
    assert_same_stems(&cluster, &[0, 1, 2], &uploaded).await;

    let mix = cluster.download(2, &uploaded, "mix.mp3?drums=1&bass=0.5").await;
    assert!(mix.len() > 10_000);

    // Another upload of the same file is another song, with the same stems at once.
    let again = cluster.upload(2, "The same", &song(40, 1)).await;
    assert_eq!(again["hash"], uploaded["hash"]);
    assert_ne!(again["id"], uploaded["id"]);
    assert_eq!(cluster.status(0, &again).await.as_deref(), Some("SPLIT"));
}

#[tokio::test]
async fn merged_result_equals_that_of_one_process() {
    let _permit = permits(1).await;
    let cluster = Cluster::start(3, None, SMALL_TASKS).await;
    let file = song(40, 2);
    let uploaded = cluster.upload(1, "Exact", &file).await;
    cluster.wait_until_split(1, &uploaded).await;
    let folder = tempfile::TempDir::new().unwrap();
    let separated = std::process::Command::new(env!("CARGO_BIN_EXE_node"))
        .arg("separate")
        .arg(&file)
        .arg("--out")
        .arg(folder.path())
        .status()
        .unwrap();
    assert!(separated.success());
    for stem in STEMS {
        let here = std::fs::read(folder.path().join(format!("spectral/song/{stem}.wav"))).unwrap();
        assert!(here == cluster.download(0, &uploaded, &format!("{stem}.wav")).await, "{stem} differs");
    }
}

#[tokio::test]
async fn job_finishes_after_the_leader_is_killed() {
    let _permit = permits(ALL).await;
    let broker = Broker::start().await;
    let mut cluster = Cluster::start(3, Some(&broker), SMALL_TASKS).await;
    let leader = cluster.leader(0).await;
    let survivors: Vec<u64> = (0..3).filter(|node| *node != leader).collect();
    let uploaded = cluster.upload(leader, "Leaderless", &song(90, 3)).await;
    cluster.wait_for_worker(survivors[0], &uploaded, None).await;
    cluster.kill(leader);
    cluster.wait_until_split(survivors[0], &uploaded).await;
    assert_same_stems(&cluster, &survivors, &uploaded).await;
    // The cluster still accepts songs.
    cluster.upload(survivors[1], "After", &song(5, 4)).await;
}

#[tokio::test]
async fn task_finishes_after_its_worker_is_killed() {
    let _permit = permits(ALL).await;
    let broker = Broker::start().await;
    let mut cluster = Cluster::start(3, Some(&broker), SMALL_TASKS).await;
    let leader = cluster.leader(0).await;
    let uploaded = cluster.upload(leader, "Workerless", &song(90, 5)).await;
    let worker = cluster.wait_for_worker(leader, &uploaded, Some(leader)).await;
    cluster.kill(worker);
    cluster.wait_until_split(leader, &uploaded).await;
    let survivors: Vec<u64> = (0..3).filter(|node| *node != worker).collect();
    assert_same_stems(&cluster, &survivors, &uploaded).await;

    // The node returns and catches up.
    let meanwhile = cluster.upload(leader, "Meanwhile", &song(5, 6)).await;
    cluster.run(worker);
    cluster.wait_until_ready(worker).await;
    assert!(cluster.status(worker, &meanwhile).await.is_some());
    assert_same_stems(&cluster, &[worker, leader], &uploaded).await;
}

#[tokio::test]
async fn job_finishes_after_the_broker_is_killed() {
    let _permit = permits(1).await;
    let mut broker = Broker::start().await;
    let cluster = Cluster::start(3, Some(&broker), SMALL_TASKS).await;
    wait_for("the connection to the broker", async || {
        (cluster.data(0, "/cluster").await?["broker"]["connected"] == true).then_some(())
    })
    .await;
    let first = cluster.upload(0, "Broken off", &song(90, 7)).await;
    cluster.wait_for_worker(1, &first, None).await;
    broker.kill();
    cluster.wait_until_split(1, &first).await;

    // A job starts and finishes without a broker.
    let second = cluster.upload(2, "No broker", &song(20, 8)).await;
    cluster.wait_until_split(0, &second).await;

    // The broker returns without its data, and jobs use it again.
    broker.run().await;
    wait_for("the new connection to the broker", async || {
        (cluster.data(1, "/cluster").await?["broker"]["connected"] == true).then_some(())
    })
    .await;
    let third = cluster.upload(1, "Empty broker", &song(20, 9)).await;
    cluster.wait_until_split(2, &third).await;
    assert_same_stems(&cluster, &[0, 1, 2], &third).await;
}

#[tokio::test]
async fn nothing_is_lost_when_all_nodes_are_killed_at_once() {
    let _permit = permits(1).await;
    let mut cluster = Cluster::start(3, None, SMALL_TASKS).await;
    let done = cluster.upload(0, "Done", &song(20, 10)).await;
    cluster.wait_until_split(0, &done).await;
    let before = cluster.download(1, &done, "vocals.wav").await;
    let open = cluster.upload(1, "In the middle", &song(90, 11)).await;
    cluster.wait_for_worker(0, &open, None).await;
    for node in 0..3 {
        cluster.kill(node);
    }
    for node in 0..3 {
        cluster.run(node);
    }
    for node in 0..3 {
        cluster.wait_until_ready(node).await;
    }
    assert_eq!(cluster.status(2, &done).await.as_deref(), Some("SPLIT"));
    assert!(cluster.download(2, &done, "vocals.wav").await == before);
    cluster.wait_until_split(2, &open).await;
    assert_same_stems(&cluster, &[0, 1, 2], &open).await;
}

#[tokio::test]
async fn stopping_node_releases_its_task() {
    let _permit = permits(1).await;
    let mut cluster = Cluster::start(3, None, SMALL_TASKS).await;
    let uploaded = cluster.upload(0, "Handed back", &song(60, 12)).await;
    let worker = cluster.wait_for_worker(0, &uploaded, None).await;
    let process = cluster.process(worker);
    process.terminate();
    assert!(process.wait(harness::PATIENCE).is_some_and(|status| status.success()));
    let survivor = (worker + 1) % 3;
    cluster.wait_until_split(survivor, &uploaded).await;
    let job = cluster.job(survivor, &uploaded).await.unwrap();
    assert!(job["tasks"].as_array().unwrap().iter().all(|task| task["failures"] == 0), "{job}");
}

#[tokio::test]
async fn job_fails_with_the_reason_of_its_task() {
    let _permit = permits(1).await;
    // No workers yet.
    let mut cluster = Cluster::start(3, None, "[workers]\nslots = 0\nmax_attempts = 3\n").await;
    let uploaded = cluster.upload(0, "Poison", &song(5, 9)).await;
    for node in 0..3 {
        cluster.kill(node);
        let blobs = cluster.folder.path().join(format!("node-{node}/blobs"));
        std::fs::remove_dir_all(blobs).unwrap();
    }
    let file = cluster.folder.path().join("cluster.toml");
    let text = std::fs::read_to_string(&file).unwrap();
    std::fs::write(&file, text.replace("slots = 0", "slots = 1")).unwrap();
    for node in 0..3 {
        cluster.run(node);
    }
    for node in 0..3 {
        cluster.wait_until_ready(node).await;
    }
    let job = wait_for("the job to fail", async || {
        let data = cluster.data(1, &format!("/jobs/{}", uploaded["job_id"])).await?;
        (data["job"]["state"] == "failed").then(|| data["job"].clone())
    })
    .await;
    assert_eq!(job["tasks"][0]["failures"], 3);
    let reason = job["error"].as_str().unwrap();
    assert!(reason.contains("cannot get the song's file"), "{reason}");
    assert_eq!(cluster.status(2, &uploaded).await.as_deref(), Some("FAILED"));
}

#[tokio::test]
async fn node_without_majority_serves_stale_reads_only() {
    let _permit = permits(1).await;
    let mut cluster = Cluster::start(3, None, SMALL_TASKS).await;
    let kept = cluster.upload(0, "Kept", &song(20, 1)).await;
    cluster.wait_until_split(2, &kept).await;
    cluster.kill(0);
    cluster.kill(1);
    let response = wait_for("a rejected read", async || {
        let answer = cluster.get(2, "/songs/").await?;
        (answer.status() == 503).then_some(answer)
    })
    .await;
    let body: serde_json::Value = response.json().await.unwrap();
    assert_eq!(body["errors"][0]["code"], "no_majority", "{body}");
    let (status, body) = cluster.try_upload(2, "In vain", std::fs::read(song(20, 1)).unwrap(), "song.wav").await;
    assert_eq!(status, 503, "{body}");
    for path in ["/songs/?stale=true".to_owned(), format!("/songs/{}?stale=true", kept["id"])] {
        let data = cluster.data(2, &path).await.expect("a stale read");
        assert!(data.to_string().contains("\"Kept\""), "{data}");
    }
    assert!(cluster.data(2, &format!("/jobs/{}?stale=true", kept["job_id"])).await.is_some());
    // With a majority again, everything is as before.
    cluster.run(0);
    cluster.wait_until_ready(2).await;
    assert_eq!(cluster.data(2, "/songs/").await.unwrap()["songs"].as_array().unwrap().len(), 1);
}

//! One song through three nodes while parts of the cluster are killed.

#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used)]

mod harness;

use harness::{Broker, Cluster, song, turn, wait_for};

const STEMS: [&str; 4] = ["vocals", "drums", "bass", "other"];

/// Small tasks, so that every node gets some.
const SMALL_TASKS: &str = "[workers]\nsegments_per_task = 1\n";

/// All stems can be had from these nodes, and are the same everywhere.
async fn same_everywhere(cluster: &Cluster, nodes: &[u64], song: &serde_json::Value) {
    for stem in STEMS {
        let mut seen = Vec::new();
        for node in nodes {
            seen.push(cluster.part(*node, song, &format!("{stem}.wav")).await);
        }
        assert!(seen[0].len() > 44);
        assert!(seen.windows(2).all(|pair| pair[0] == pair[1]), "{stem} differs between nodes");
    }
}

#[tokio::test]
async fn a_song_uploaded_at_one_node_is_read_at_all() {
    let _turn = turn().await;
    let broker = Broker::start().await;
    let cluster = Cluster::start(3, Some(&broker), SMALL_TASKS).await;
    let uploaded = cluster.upload(0, "Three nodes", &song(40, 1)).await;
    // The very next read at any other node knows it.
    for node in [1, 2] {
        assert!(cluster.status(node, &uploaded).await.is_some());
    }
    cluster.split(1, &uploaded).await;
    same_everywhere(&cluster, &[0, 1, 2], &uploaded).await;

    let mix = cluster.part(2, &uploaded, "mix.mp3?drums=1&bass=0.5").await;
    assert!(mix.len() > 10_000);

    // The same file again is another song with the same stems, at once.
    let again = cluster.upload(2, "The same", &song(40, 1)).await;
    assert_eq!(again["hash"], uploaded["hash"]);
    assert_ne!(again["id"], uploaded["id"]);
    assert_eq!(cluster.status(0, &again).await.as_deref(), Some("SPLIT"));
}

#[tokio::test]
async fn the_merged_result_is_what_one_process_makes() {
    let _turn = turn().await;
    let cluster = Cluster::start(3, None, SMALL_TASKS).await;
    let file = song(40, 2);
    let uploaded = cluster.upload(1, "Exact", &file).await;
    cluster.split(1, &uploaded).await;
    let alone = tempfile::TempDir::new().unwrap();
    let separated = std::process::Command::new(env!("CARGO_BIN_EXE_node"))
        .arg("separate")
        .arg(&file)
        .arg("--out")
        .arg(alone.path())
        .status()
        .unwrap();
    assert!(separated.success());
    for stem in STEMS {
        let here = std::fs::read(alone.path().join(format!("spectral/song/{stem}.wav"))).unwrap();
        assert!(here == cluster.part(0, &uploaded, &format!("{stem}.wav")).await, "{stem} differs");
    }
}

#[tokio::test]
async fn a_job_outlives_its_leader() {
    let _turn = turn().await;
    let broker = Broker::start().await;
    let mut cluster = Cluster::start(3, Some(&broker), SMALL_TASKS).await;
    let leader = cluster.leader(0).await;
    let survivors: Vec<u64> = (0..3).filter(|node| *node != leader).collect();
    let uploaded = cluster.upload(leader, "Leaderless", &song(90, 3)).await;
    cluster.working(survivors[0], &uploaded, None).await;
    cluster.kill(leader);
    cluster.split(survivors[0], &uploaded).await;
    same_everywhere(&cluster, &survivors, &uploaded).await;
    // And the cluster takes songs.
    cluster.upload(survivors[1], "After", &song(5, 4)).await;
}

#[tokio::test]
async fn a_task_outlives_its_worker() {
    let _turn = turn().await;
    let broker = Broker::start().await;
    let mut cluster = Cluster::start(3, Some(&broker), SMALL_TASKS).await;
    let leader = cluster.leader(0).await;
    let uploaded = cluster.upload(leader, "Workerless", &song(90, 5)).await;
    let worker = cluster.working(leader, &uploaded, Some(leader)).await;
    cluster.kill(worker);
    cluster.split(leader, &uploaded).await;
    let survivors: Vec<u64> = (0..3).filter(|node| *node != worker).collect();
    same_everywhere(&cluster, &survivors, &uploaded).await;

    // The node comes back and catches up.
    let meanwhile = cluster.upload(leader, "Meanwhile", &song(5, 6)).await;
    cluster.run(worker);
    cluster.ready(worker).await;
    assert!(cluster.status(worker, &meanwhile).await.is_some());
    same_everywhere(&cluster, &[worker, leader], &uploaded).await;
}

#[tokio::test]
async fn a_job_outlives_the_broker() {
    let _turn = turn().await;
    let mut broker = Broker::start().await;
    let cluster = Cluster::start(3, Some(&broker), SMALL_TASKS).await;
    wait_for("the broker to be seen", async || {
        (cluster.data(0, "/cluster").await?["broker"]["connected"] == true).then_some(())
    })
    .await;
    let first = cluster.upload(0, "Broken off", &song(90, 7)).await;
    cluster.working(1, &first, None).await;
    broker.kill();
    cluster.split(1, &first).await;

    // With no broker at all, a job begins and ends.
    let second = cluster.upload(2, "No broker", &song(20, 8)).await;
    cluster.split(0, &second).await;

    // It comes back empty, and jobs go through it again.
    broker.run().await;
    wait_for("the broker to be seen again", async || {
        (cluster.data(1, "/cluster").await?["broker"]["connected"] == true).then_some(())
    })
    .await;
    let third = cluster.upload(1, "Empty broker", &song(20, 9)).await;
    cluster.split(2, &third).await;
    same_everywhere(&cluster, &[0, 1, 2], &third).await;
}

#[tokio::test]
async fn nothing_is_lost_when_all_nodes_die_at_once() {
    let _turn = turn().await;
    let mut cluster = Cluster::start(3, None, SMALL_TASKS).await;
    let done = cluster.upload(0, "Done", &song(20, 10)).await;
    cluster.split(0, &done).await;
    let before = cluster.part(1, &done, "vocals.wav").await;
    let open = cluster.upload(1, "In the middle", &song(90, 11)).await;
    cluster.working(0, &open, None).await;
    for node in 0..3 {
        cluster.kill(node);
    }
    for node in 0..3 {
        cluster.run(node);
    }
    for node in 0..3 {
        cluster.ready(node).await;
    }
    assert_eq!(cluster.status(2, &done).await.as_deref(), Some("SPLIT"));
    assert!(cluster.part(2, &done, "vocals.wav").await == before);
    cluster.split(2, &open).await;
    same_everywhere(&cluster, &[0, 1, 2], &open).await;
}

#[tokio::test]
async fn a_node_stops_in_order_and_hands_its_task_back() {
    let _turn = turn().await;
    let mut cluster = Cluster::start(3, None, SMALL_TASKS).await;
    let uploaded = cluster.upload(0, "Handed back", &song(60, 12)).await;
    let worker = cluster.working(0, &uploaded, None).await;
    let process = cluster.process(worker);
    process.terminate();
    assert!(process.wait(harness::PATIENCE).is_some_and(|status| status.success()));
    let survivor = (worker + 1) % 3;
    cluster.split(survivor, &uploaded).await;
    let job = cluster.job(survivor, &uploaded).await.unwrap();
    assert!(job["tasks"].as_array().unwrap().iter().all(|task| task["failures"] == 0), "{job}");
}

#[tokio::test]
async fn a_task_that_always_fails_ends_its_job_with_the_reason() {
    let _turn = turn().await;
    // Nobody works yet.
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
        cluster.ready(node).await;
    }
    let job = wait_for("the job to fail", async || {
        let data = cluster.data(1, &format!("/jobs/{}", uploaded["job_id"])).await?;
        (data["job"]["state"] == "failed").then(|| data["job"].clone())
    })
    .await;
    assert_eq!(job["tasks"][0]["failures"], 3);
    let reason = job["error"].as_str().unwrap();
    assert!(reason.contains("file cannot be had"), "{reason}");
    assert_eq!(cluster.status(2, &uploaded).await.as_deref(), Some("FAILED"));
}

#[tokio::test]
async fn without_a_majority_a_node_shows_what_it_knew_and_says_so() {
    let _turn = turn().await;
    let mut cluster = Cluster::start(3, None, SMALL_TASKS).await;
    let kept = cluster.upload(0, "Kept", &song(20, 1)).await;
    cluster.split(2, &kept).await;
    cluster.kill(0);
    cluster.kill(1);
    let refused = wait_for("a refusal", async || {
        let answer = cluster.get(2, "/songs/").await?;
        (answer.status() == 503).then_some(answer)
    })
    .await;
    let body: serde_json::Value = refused.json().await.unwrap();
    assert_eq!(body["errors"][0]["code"], "no_majority", "{body}");
    let (status, body) = cluster.try_upload(2, "In vain", std::fs::read(song(20, 1)).unwrap(), "song.wav").await;
    assert_eq!(status, 503, "{body}");
    for path in ["/songs/?stale=true".to_owned(), format!("/songs/{}?stale=true", kept["id"])] {
        let data = cluster.data(2, &path).await.expect("what the node knew");
        assert!(data.to_string().contains("\"Kept\""), "{data}");
    }
    assert!(cluster.data(2, &format!("/jobs/{}?stale=true", kept["job_id"])).await.is_some());
    // A majority again, and all is as before.
    cluster.run(0);
    cluster.ready(2).await;
    assert_eq!(cluster.data(2, "/songs/").await.unwrap()["songs"].as_array().unwrap().len(), 1);
}

//! Jobs on three nodes: cancellation, fairness, resets, crashing workers and time limits.

#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used)]

mod harness;

use std::net::{IpAddr, Ipv4Addr};

use harness::{Broker, Cluster, permits, song, wait_for};
use lapin::options::BasicPublishOptions;
use lapin::{BasicProperties, Connection, ConnectionProperties};
use reqwest::{Client, StatusCode};
use serde_json::Value;

/// One task for a whole song, which takes many seconds.
const LONG_TASKS: &str = "[workers]\nsegments_per_task = 10000\n";
/// The same, without workers yet.
const LONG_TASKS_LATER: &str = "[workers]\nsegments_per_task = 10000\nslots = 0\n";

/// Every attempt at every task of a job.
fn attempts(job: &Value) -> Vec<Value> {
    let tasks = job["tasks"].as_array().unwrap();
    tasks.iter().flat_map(|task| task["attempts"].as_array().unwrap().clone()).collect()
}

/// A three-node cluster whose nodes have exchanged their feature levels.
async fn three_nodes(broker: Option<&Broker>, more: &str) -> Cluster {
    let cluster = Cluster::start(3, broker, more).await;
    wait_for("the cluster's level", async || {
        // The command is rejected until then; afterwards the job does not exist.
        let change = cluster.client.patch(cluster.url(0, "/jobs/999"));
        let answer = change.json(&serde_json::json!({ "priority": "low" })).send().await.ok()?;
        (answer.status() == StatusCode::NOT_FOUND).then_some(())
    })
    .await;
    cluster
}

/// Sends a POST request. Repeats it while there is no leader.
async fn post(cluster: &Cluster, node: u64, path: &str) -> Value {
    let answer = wait_for("a leader", async || {
        let answer = cluster.client.post(cluster.url(node, path)).send().await.unwrap();
        (answer.status() != StatusCode::SERVICE_UNAVAILABLE).then_some(answer)
    })
    .await;
    assert!(answer.status().is_success(), "{path}: {}", answer.status());
    answer.json().await.unwrap()
}

#[tokio::test]
async fn cancelling_a_job_stops_its_workers() {
    let _permit = permits(1).await;
    let cluster = three_nodes(None, LONG_TASKS).await;
    let unwanted = cluster.upload(0, "Unwanted", &song(240, 21)).await;
    let worker = cluster.wait_for_worker(1, &unwanted, None).await;
    post(&cluster, (worker + 1) % 3, &format!("/jobs/{}/cancel", unwanted["job_id"])).await;
    // Reports are slightly delayed, so wait for the worker's log first.
    wait_for("the worker to abort its task", async || {
        std::fs::read_to_string(cluster.log(worker)).ok()?.contains("aborted: the claim is lost").then_some(())
    })
    .await;
    wait_for("all nodes to be idle", async || {
        let data = cluster.data(0, "/cluster").await?;
        data["nodes"].as_array()?.iter().all(|node| node["working_on"] == serde_json::json!([])).then_some(())
    })
    .await;
    // The slot is free for other tasks, and the aborted task does not count as done.
    for (seed, title) in [(22, "One"), (23, "Two"), (24, "Three")] {
        let wanted = cluster.upload(worker, title, &song(5, seed)).await;
        cluster.wait_until_split(worker, &wanted).await;
    }
    let job = cluster.job(2, &unwanted).await.unwrap();
    assert_eq!((&job["state"], &job["tasks_done"]), (&"cancelled".into(), &0.into()), "{job}");
    let tried = attempts(&job);
    let (last, before) = tried.split_last().unwrap();
    assert_eq!((&last["outcome"], &last["node"]), (&"withdrawn".into(), &worker.into()), "{job}");
    assert!(last["ended"].is_u64());
    // On a busy machine, a claim may have expired, so that the task was started again.
    assert!(before.iter().all(|attempt| attempt["outcome"] == "expired"), "{job}");

    // A retry starts the job again.
    post(&cluster, 0, &format!("/jobs/{}/retry", unwanted["job_id"])).await;
    cluster.wait_for_worker(0, &unwanted, None).await;
}

#[tokio::test]
async fn many_songs_of_one_user_do_not_starve_another_user() {
    let _permit = permits(1).await;
    // No workers yet, so that all jobs are open before the first starts.
    let mut cluster = three_nodes(None, "[workers]\nslots = 0\n").await;
    let mut many = Vec::new();
    for seed in 0..12 {
        many.push(cluster.upload(seed % 3, "One of many", &song(8, 30 + seed as u32)).await);
    }
    // Another user's song comes last, from another address. The twelfth song of the first user has a high priority.
    let other = Client::builder().local_address(IpAddr::V4(Ipv4Addr::new(127, 0, 0, 2))).build().unwrap();
    let mine = std::mem::replace(&mut cluster.client, other);
    let single = cluster.upload(1, "The only one", &song(8, 42)).await;
    cluster.client = mine;
    let urgent = &many[11];
    let change = cluster.client.patch(cluster.url(2, &format!("/jobs/{}", urgent["job_id"])));
    assert!(change.json(&serde_json::json!({ "priority": "high" })).send().await.unwrap().status().is_success());

    // One worker runs all jobs, so that they end in the order in which they were scheduled.
    let file = cluster.folder.path().join("cluster.toml");
    let text = std::fs::read_to_string(file).unwrap();
    std::fs::write(cluster.folder.path().join("working.toml"), text.replace("slots = 0", "slots = 1")).unwrap();
    for node in 0..3 {
        cluster.kill(node);
    }
    for (node, file) in [(0, "working.toml"), (1, "cluster.toml"), (2, "cluster.toml")] {
        cluster.run_with(node, file);
    }
    for node in 0..3 {
        cluster.wait_until_ready(node).await;
    }
    let mut ends = Vec::new();
    for song in many.iter().chain([&single]) {
        cluster.wait_until_split(0, song).await;
        ends.push((cluster.job(0, song).await.unwrap()["finished_at"].as_u64().unwrap(), song["id"].clone()));
    }
    ends.sort_by_key(|(end, _)| *end);
    let position = |song: &Value| ends.iter().position(|(_, id)| *id == song["id"]).unwrap();
    assert!(position(urgent) < 4, "the urgent song came {} of {ends:?}", position(urgent));
    assert!(position(&single) < 6, "the single song came {} of {ends:?}", position(&single));
}

#[tokio::test]
async fn tasks_of_crashing_workers_are_finished_by_others() {
    let _permit = permits(1).await;
    let faults = "[workers]\nhealthy = 1\nunhealthy = 1\ncrash_after = 0\nsegments_per_task = 1\nmax_attempts = 50\n";
    let cluster = three_nodes(None, faults).await;
    // Whether a crashing worker gets a task depends on chance: others may be faster.
    let died = |attempt: &Value| attempt["error"].as_str().is_some_and(|error| error.contains("its worker has died"));
    let mut dropped = Vec::new();
    for seed in 50..60 {
        let uploaded = cluster.upload(0, "Shaky", &song(60, seed)).await;
        cluster.wait_until_split(0, &uploaded).await;
        let job = cluster.job(1, &uploaded).await.unwrap();
        dropped.extend(attempts(&job).into_iter().filter(|attempt| attempt["outcome"] == "expired"));
        if dropped.iter().any(died) {
            break;
        }
    }
    assert!(dropped.iter().any(died), "{dropped:?}");
    for attempt in dropped {
        assert!(attempt["ended"].as_u64() >= attempt["started"].as_u64(), "{attempt}");
    }
    assert!(std::fs::read_to_string(cluster.log(0)).unwrap().contains("demonstration: some workers"));
}

/// Starts three long tasks, one at each node, in a cluster without workers so far.
async fn start_three_tasks(cluster: &mut Cluster, seed: u32) -> Vec<Value> {
    let mut songs = Vec::new();
    for node in 0..3 {
        songs.push(cluster.upload(node, "Long", &song(240, seed + node as u32)).await);
    }
    // All tasks start at the same time, independent of the duration of the uploads.
    cluster.restart_with("slots = 0", "slots = 1").await;
    wait_for("three workers", async || {
        for song in &songs {
            let job = cluster.job(0, song).await?;
            job["tasks"].as_array()?.iter().find(|task| task["state"] == "running")?;
        }
        Some(())
    })
    .await;
    songs
}

/// Waits until all three tasks were handed back, without a failure.
async fn wait_until_handed_back(cluster: &Cluster, songs: &[Value]) {
    for song in songs {
        let job = wait_for("the task to be handed back", async || {
            let job = cluster.job(0, song).await?;
            attempts(&job).iter().any(|attempt| attempt["outcome"] == "handed_back").then_some(job)
        })
        .await;
        assert!(job["tasks"].as_array().unwrap().iter().all(|task| task["failures"] == 0), "{job}");
    }
    // The tasks start again.
    cluster.wait_for_worker(2, &songs[0], None).await;
}

#[tokio::test]
async fn message_to_the_reset_exchange_drops_all_running_work() {
    let _permit = permits(1).await;
    let broker = Broker::start().await;
    let mut cluster = three_nodes(Some(&broker), LONG_TASKS_LATER).await;
    let songs = start_three_tasks(&mut cluster, 60).await;
    for node in 0..3 {
        wait_for("the connection to the broker", async || {
            (cluster.data(node, "/cluster").await?["broker"]["connected"] == true).then_some(())
        })
        .await;
    }
    let connection = Connection::connect(&broker.url(), ConnectionProperties::default()).await.unwrap();
    let channel = connection.create_channel().await.unwrap();
    let (options, properties) = (BasicPublishOptions::default(), BasicProperties::default());
    channel.basic_publish("reset".into(), "".into(), options, b"stop it", properties).await.unwrap().await.unwrap();
    wait_until_handed_back(&cluster, &songs).await;
}

#[tokio::test]
async fn operator_resets_all_nodes_without_a_broker() {
    let _permit = permits(1).await;
    let mut cluster = three_nodes(None, LONG_TASKS_LATER).await;
    let songs = start_three_tasks(&mut cluster, 70).await;
    cluster.operate(None, &["reset"]);
    wait_until_handed_back(&cluster, &songs).await;
}

#[tokio::test]
async fn job_fails_if_its_task_exceeds_the_time_limit() {
    let _permit = permits(1).await;
    let hasty = "[workers]\nsegments_per_task = 10000\nmax_attempts = 2\ntask_floor_seconds = 1\n\
                 task_seconds_per_audio_second = 0\n";
    let cluster = three_nodes(None, hasty).await;
    let uploaded = cluster.upload(0, "Endless", &song(240, 80)).await;
    let job =
        wait_for("the job to fail", async || cluster.job(1, &uploaded).await.filter(|job| job["state"] == "failed"))
            .await;
    assert!(job["error"].as_str().unwrap().contains("did not finish within 1 s"), "{job}");
    assert_eq!(attempts(&job).iter().filter(|attempt| attempt["outcome"] == "failed").count(), 2, "{job}");
}

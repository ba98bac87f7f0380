//! What a person who looks after a cluster sees from outside: logs, numbers, and the dashboard that shows them.

#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used)]

mod harness;

use std::collections::BTreeSet;

use harness::{Broker, Cluster, song, turn, wait_for};
use reqwest::multipart::{Form, Part};
use serde_json::Value;

/// Small tasks, so that every node gets some.
const SMALL_TASKS: &str = "[workers]\nsegments_per_task = 1\n";

/// A node's log, every line of which must be an object.
fn lines(cluster: &Cluster, node: u64) -> Vec<Value> {
    let text = std::fs::read_to_string(cluster.log(node)).unwrap();
    // The last line may be half written.
    let whole = text.rfind('\n').map_or("", |end| &text[..end]);
    whole.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{line}: {error}"))).collect()
}

/// Whether a node has logged anything within this request.
fn knows(cluster: &Cluster, node: u64, request: &str) -> bool {
    let within =
        |line: &Value| line["spans"].as_array().is_some_and(|spans| spans.iter().any(|s| s["request"] == request));
    let mut found = false;
    for line in lines(cluster, node).iter().filter(|line| within(line)) {
        assert_eq!(line["node"], node, "{line}");
        found = true;
    }
    found
}

#[tokio::test]
async fn a_requests_id_is_in_the_logs_of_all_nodes_that_worked_for_it() {
    let _turn = turn().await;
    let logs = [("QUARTET_LOG_FORMAT", "json"), ("QUARTET_LOG", "debug")];
    let cluster = Cluster::start_with(3, None, SMALL_TASKS, &logs).await;
    let leader = cluster.leader(0).await;
    let uploader = (0..3).find(|node| *node != leader).unwrap();
    let mut found = None;
    // The leader hears of every song; which node besides the uploader gets the file, follows from the file.
    for seed in 100..120 {
        let request = format!("upload-{seed}");
        let file = Part::bytes(std::fs::read(song(2, seed)).unwrap()).file_name("song.wav");
        let asked = cluster.client.post(cluster.url(uploader, "/songs/upload")).header("x-request-id", &request);
        let answer = asked.multipart(Form::new().part("file", file)).send().await.unwrap();
        assert!(answer.status().is_success());
        assert_eq!(answer.headers()["x-request-id"], request.as_str());
        let uploaded = answer.json::<Value>().await.unwrap()["data"]["song"].clone();
        assert!(knows(&cluster, uploader, &request) && knows(&cluster, leader, &request));
        if (0..3).all(|node| knows(&cluster, node, &request)) {
            found = Some(uploaded);
            break;
        }
    }
    let uploaded = found.expect("of twenty files, none went to the third node");

    // An attempt at a task is a request of its own, and the leader knows it by the same name as the worker.
    cluster.split(uploader, &uploaded).await;
    let job = uploaded["job_id"].as_u64().unwrap();
    let worked = |node: u64| {
        lines(&cluster, node).iter().any(|line| {
            let spans = line["spans"].as_array().into_iter().flatten();
            spans.filter_map(|span| span["request"].as_str()).any(|id| id.starts_with(&format!("task-{job}.")))
        })
    };
    wait_for("the leader's words on the tasks", async || worked(leader).then_some(())).await;

    // What cannot stand in a log is not taken from a client.
    let answer = cluster.client.get(cluster.url(0, "/healthz")).header("x-request-id", "\"}{").send().await.unwrap();
    assert_eq!(answer.headers()["x-request-id"].len(), 36);
}

#[tokio::test]
async fn a_dead_node_is_told_once_and_so_is_its_return() {
    let _turn = turn().await;
    let mut cluster = Cluster::start(3, None, "").await;
    let leader = cluster.leader(0).await;
    let dead = (0..3).find(|node| *node != leader).unwrap();
    let others: Vec<u64> = (0..3).filter(|node| *node != dead).collect();
    let read = |cluster: &Cluster, node: u64| std::fs::read_to_string(cluster.log(node)).unwrap();
    let before: Vec<usize> = others.iter().map(|node| read(&cluster, *node).len()).collect();
    let since = |cluster: &Cluster, words: &str| {
        let logs = others.iter().zip(&before).map(|(node, from)| read(cluster, *node)[*from..].to_owned());
        logs.map(|log| (log.matches(words).count(), log)).collect::<Vec<_>>()
    };
    cluster.kill(dead);
    let gone = format!("node {dead} does not answer");
    wait_for("the news", async || since(&cluster, &gone).iter().all(|(times, _)| *times > 0).then_some(())).await;
    // The cluster goes on, and the leader goes on trying to reach the dead one.
    for seed in 0..5 {
        cluster.upload(leader, "Meanwhile", &song(2, 130 + seed)).await;
    }
    cluster.run(dead);
    cluster.ready(dead).await;
    let back = format!("node {dead} answers again");
    wait_for("the good news", async || since(&cluster, &back).iter().all(|(times, _)| *times > 0).then_some(())).await;
    for words in [gone, back] {
        for (times, log) in since(&cluster, &words) {
            assert_eq!(times, 1, "{words}:\n{log}");
            let complaints = log.lines().filter(|line| line.contains("WARN") || line.contains("ERROR")).count();
            assert!(complaints <= 3, "{complaints} complaints about one dead node:\n{log}");
        }
    }
}

/// The names that Prometheus gives to what a node exports.
fn families(numbers: &str) -> BTreeSet<String> {
    let samples = numbers.lines().filter(|line| !line.starts_with('#') && !line.is_empty());
    samples.map(|line| line.split(['{', ' ']).next().unwrap().to_owned()).collect()
}

/// The names of numbers in the queries of a dashboard.
fn queried(dashboard: &Value, found: &mut BTreeSet<String>) {
    match dashboard {
        Value::Object(fields) => {
            for (key, value) in fields {
                match value {
                    Value::String(query) if ["expr", "definition"].contains(&key.as_str()) => {
                        let words = query.split(|letter: char| !letter.is_ascii_alphanumeric() && letter != '_');
                        let names = words.filter(|word| word.starts_with("quartet_") || word.starts_with("process_"));
                        found.extend(names.map(str::to_owned));
                    }
                    value => queried(value, found),
                }
            }
        }
        Value::Array(values) => values.iter().for_each(|value| queried(value, found)),
        _ => {}
    }
}

#[tokio::test]
async fn every_number_on_the_dashboard_is_exported_and_every_number_is_described() {
    let _turn = turn().await;
    let broker = Broker::start().await;
    let cluster = Cluster::start(3, Some(&broker), SMALL_TASKS).await;
    wait_for("the broker to be seen", async || {
        (cluster.data(0, "/cluster").await?["broker"]["connected"] == true).then_some(())
    })
    .await;
    let uploaded = cluster.upload(0, "Counted", &song(20, 140)).await;
    cluster.split(0, &uploaded).await;
    let (mut exported, mut finished) = (BTreeSet::new(), 0);
    for node in 0..3 {
        let numbers = cluster.get(node, "/metrics").await.unwrap().text().await.unwrap();
        for line in numbers.lines().filter(|line| !line.starts_with('#') && !line.is_empty()) {
            assert!(line.contains(&format!("node=\"{node}\"")), "{line}");
            if line.starts_with("quartet_tasks_finished_total") {
                finished += line.rsplit(' ').next().unwrap().parse::<u64>().unwrap();
            }
        }
        let names = families(&numbers);
        for name in &names {
            let parts = ["_bucket", "_sum", "_count"].into_iter().filter_map(|part| name.strip_suffix(part));
            let described = |name: &str| numbers.contains(&format!("# HELP {name} "));
            assert!(described(name) || parts.into_iter().any(described), "{name} has no description");
        }
        exported.extend(names);
    }
    let job = cluster.job(0, &uploaded).await.unwrap();
    assert_eq!(finished, job["tasks"].as_array().unwrap().len() as u64);

    let dashboard = concat!(env!("CARGO_MANIFEST_DIR"), "/../scripts/grafana/quartet.json");
    let dashboard: Value = serde_json::from_str(&std::fs::read_to_string(dashboard).unwrap()).unwrap();
    let mut wanted = BTreeSet::new();
    queried(&dashboard, &mut wanted);
    assert!(wanted.len() > 50, "the dashboard shows {} numbers", wanted.len());
    let missing: Vec<_> = wanted.difference(&exported).collect();
    assert!(missing.is_empty(), "the dashboard shows what no node exports: {missing:?}");
}

//! What a person who looks after a cluster sees from outside: logs, numbers, and the dashboard that shows them.

#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used)]

mod harness;

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::process::{Command, Stdio};

use harness::{Broker, Cluster, Process, free_port, song, turn, wait_for};
use reqwest::multipart::{Form, Part};
use serde_json::Value;
use tempfile::TempDir;

/// Small tasks, so that every node gets some.
const SMALL_TASKS: &str = "[workers]\nsegments_per_task = 1\n";

const DASHBOARD: &str = include_str!("../../scripts/grafana/quartet.json");

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
    // A node logs what it does for a request before it answers, or a moment later.
    let told = async |node: u64, request: &str| {
        wait_for(&format!("node {node} to log {request}"), async || knows(&cluster, node, request).then_some(())).await;
    };
    let holds = |node: u64, song: &Value| {
        let hash = song["hash"].as_str().unwrap();
        cluster.folder.path().join(format!("node-{node}/blobs/{}/{hash}", &hash[..2])).exists()
    };
    let mut found = None;
    // The leader hears of every song; which node besides the uploader gets the file, follows from the file.
    for seed in 100..120 {
        let request = format!("upload-{seed}");
        let leader = cluster.leader(0).await;
        let (uploader, third) = ((leader + 1) % 3, (leader + 2) % 3);
        let file = Part::bytes(std::fs::read(song(2, seed)).unwrap()).file_name("song.wav");
        let asked = cluster.client.post(cluster.url(uploader, "/songs/upload")).header("x-request-id", &request);
        let answer = asked.multipart(Form::new().part("file", file)).send().await.unwrap();
        assert!(answer.status().is_success());
        assert_eq!(answer.headers()["x-request-id"], request.as_str());
        let uploaded = answer.json::<Value>().await.unwrap()["data"]["song"].clone();
        told(uploader, &request).await;
        // Another node may have been elected meanwhile.
        if cluster.leader(0).await != leader {
            continue;
        }
        told(leader, &request).await;
        if holds(third, &uploaded) {
            told(third, &request).await;
            found = Some((uploader, uploaded));
            break;
        }
    }
    let (uploader, uploaded) = found.expect("of twenty files, none went to the third node");

    // An attempt at a task is a request of its own, and the leader knows it by the same name as the worker.
    cluster.split(uploader, &uploaded).await;
    let job = uploaded["job_id"].as_u64().unwrap();
    let worked = |node: u64| {
        lines(&cluster, node).iter().any(|line| {
            let spans = line["spans"].as_array().into_iter().flatten();
            spans.filter_map(|span| span["request"].as_str()).any(|id| id.starts_with(&format!("task-{job}.")))
        })
    };
    wait_for("the leader's words on the tasks", async || {
        let leader = cluster.leader(0).await;
        worked(leader).then_some(())
    })
    .await;

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
    let since = |cluster: &Cluster| {
        let logs = others.iter().zip(&before).map(|(node, from)| read(cluster, *node)[*from..].to_owned());
        logs.collect::<Vec<_>>()
    };
    cluster.kill(dead);
    let gone = format!("node {dead} does not answer");
    wait_for("the news", async || since(&cluster).iter().all(|log| log.contains(&gone)).then_some(())).await;
    // The cluster goes on, and the leader goes on trying to reach the dead one.
    for seed in 0..5 {
        cluster.upload(others[0], "Meanwhile", &song(2, 130 + seed)).await;
    }
    cluster.run(dead);
    cluster.ready(dead).await;
    let back = format!("node {dead} answers again");
    wait_for("the good news", async || since(&cluster).iter().all(|log| log.contains(&back)).then_some(())).await;
    for log in since(&cluster) {
        // On a busy machine it may fall silent more than once; every silence and every end of one is told once.
        let news: Vec<bool> = log
            .lines()
            .filter(|line| line.contains(&gone) || line.contains(&back))
            .map(|line| line.contains(&gone))
            .collect();
        assert!(news[0] && news.windows(2).all(|pair| pair[0] != pair[1]), "{log}");
        let silences = news.iter().filter(|gone| **gone).count();
        let mut complaints: BTreeMap<String, usize> = BTreeMap::new();
        for line in log.lines().filter_map(complaint) {
            *complaints.entry(line).or_default() += 1;
        }
        for (words, times) in complaints {
            assert!(times <= silences, "{times} complaints for {silences} silences, {words:?}:\n{log}");
        }
    }
}

/// What a line complains of, if it does, without numbers and times.
fn complaint(line: &str) -> Option<String> {
    let from = ["WARN", "ERROR"].iter().find_map(|level| line.find(level))?;
    let words = line[from..].split(|letter: char| !letter.is_ascii_alphanumeric());
    Some(words.filter(|word| !word.contains(|letter: char| letter.is_ascii_digit())).collect::<Vec<_>>().join(" "))
}

/// The names that Prometheus gives to what a node exports.
fn families(numbers: &str) -> BTreeSet<String> {
    let samples = numbers.lines().filter(|line| !line.starts_with('#') && !line.is_empty());
    samples.map(|line| line.split(['{', ' ']).next().unwrap().to_owned()).collect()
}

/// What a dashboard asks Prometheus: the queries of its panels, and those of its variables.
fn queries(dashboard: &Value, found: &mut BTreeSet<String>) {
    match dashboard {
        Value::Object(fields) => {
            for (key, value) in fields {
                match value {
                    Value::String(query) if ["expr", "definition"].contains(&key.as_str()) => {
                        found.insert(query.clone());
                    }
                    value => queries(value, found),
                }
            }
        }
        Value::Array(values) => values.iter().for_each(|value| queries(value, found)),
        _ => {}
    }
}

/// The names of numbers in a query.
fn names(query: &str) -> impl Iterator<Item = String> {
    let words = query.split(|letter: char| !letter.is_ascii_alphanumeric() && letter != '_');
    words.filter(|word| word.starts_with("quartet_") || word.starts_with("process_")).map(str::to_owned)
}

/// Has Prometheus' own tool look at something, which comes through its standard input.
fn promtool(what: &str, input: &str) {
    let mut tool = Command::new("promtool");
    tool.args(["check", what]).args((what == "config").then_some("/dev/stdin"));
    let tool = tool.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
    let mut tool = tool.expect("promtool comes with the package prometheus; scripts/test installs it");
    tool.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    let said = tool.wait_with_output().unwrap();
    let complaint = String::from_utf8_lossy(&said.stderr).into_owned();
    assert!(said.status.success() && complaint.is_empty(), "{what}: {complaint}");
}

/// Prometheus with the configuration in scripts/grafana, whose nodes are these; its address.
async fn prometheus(cluster: &Cluster, folder: &TempDir) -> (Process, String) {
    let mut settings = include_str!("../../scripts/grafana/prometheus.yml").to_owned();
    let nodes = cluster.http.values().enumerate().map(|(at, address)| (format!("127.0.0.1:{}", 8080 + at), address));
    for (from, to) in nodes.chain([("5s".to_owned(), &"1s".to_owned())]) {
        assert_eq!(settings.matches(&from).count(), 1, "{from} in {settings}");
        settings = settings.replace(&from, to);
    }
    promtool("config", &settings);
    let (file, log) = (folder.path().join("prometheus.yml"), folder.path().join("log"));
    std::fs::write(&file, settings).unwrap();
    let address = format!("127.0.0.1:{}", free_port());
    let args = [
        format!("--config.file={}", file.display()),
        format!("--storage.tsdb.path={}", folder.path().join("data").display()),
        format!("--web.listen-address={address}"),
    ];
    (Process::program("prometheus", args.iter().map(String::as_str), &log), format!("http://{address}/api/v1"))
}

#[tokio::test]
async fn prometheus_answers_every_query_of_the_dashboard() {
    let _turn = turn().await;
    let broker = Broker::start().await;
    let cluster = Cluster::start(3, Some(&broker), SMALL_TASKS).await;
    let folder = TempDir::new().unwrap();
    let (_prometheus, api) = prometheus(&cluster, &folder).await;
    let ask = async |path: &str, key: &str, value: &str| {
        let asked = cluster.client.get(format!("{api}/{path}")).query(&[(key, value)]);
        asked.send().await.ok()?.json::<Value>().await.ok()
    };
    let nodes = async || {
        ask("query", "query", "count(quartet_node_info)").await?["data"]["result"][0]["value"][1]
            .as_str()
            .map(str::to_owned)
    };
    wait_for("a look at all nodes", async || (nodes().await? == "3").then_some(())).await;
    let uploaded = cluster.upload(0, "Watched", &song(20, 141)).await;
    cluster.split(0, &uploaded).await;

    let labels =
        wait_for("the variable", async || ask("label/node/values", "match[]", "quartet_node_info").await).await;
    assert_eq!(labels["data"], serde_json::json!(["0", "1", "2"]));
    let dashboard: Value = serde_json::from_str(DASHBOARD).unwrap();
    let mut wanted = BTreeSet::new();
    queries(&dashboard, &mut wanted);
    for query in wanted.iter().filter(|query| !query.starts_with("label_values(")) {
        let filled = query.replace("$__rate_interval", "1m").replace("$node", "0|1|2");
        assert!(!filled.contains('$'), "a variable of {query} is not known");
        // An empty panel is one whose numbers come too late for a rate; NaN is the quantile of nothing.
        wait_for(&format!("an answer to {filled}"), async || {
            let answer = ask("query", "query", &filled).await?;
            assert_eq!(answer["status"], "success", "{query}: {answer}");
            (!answer["data"]["result"].as_array()?.is_empty()).then_some(())
        })
        .await;
    }
    for node in 0..3 {
        promtool("metrics", &cluster.get(node, "/metrics").await.unwrap().text().await.unwrap());
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
    let tasks = cluster.job(0, &uploaded).await.unwrap()["tasks"].as_array().unwrap().len() as u64;
    let dashboard: Value = serde_json::from_str(DASHBOARD).unwrap();
    let mut asked = BTreeSet::new();
    queries(&dashboard, &mut asked);
    let wanted: BTreeSet<String> = asked.iter().flat_map(|query| names(query)).collect();
    assert!(wanted.len() > 50, "the dashboard shows {} numbers", wanted.len());
    // A worker counts its task after all nodes know that it is done.
    let mut said = String::new();
    wait_for("every number of the dashboard", async || {
        let (exported, finished) = exported(&cluster).await;
        let missing: Vec<_> = wanted.difference(&exported).collect();
        if finished == tasks && missing.is_empty() {
            return Some(());
        }
        let found = format!("{finished} of {tasks} tasks are counted, and no node exports {missing:?}");
        if said != found {
            eprintln!("{found}");
            said = found;
        }
        None
    })
    .await;
}

/// The names of all numbers that the nodes export, each of which is described, and how many tasks they have finished.
async fn exported(cluster: &Cluster) -> (BTreeSet<String>, u64) {
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
    (exported, finished)
}

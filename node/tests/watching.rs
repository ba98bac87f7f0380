//! Observability: logs, metrics, and the dashboard.

#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used)]

mod harness;

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::process::{Command, Stdio};

use harness::{ALL, Broker, Cluster, Process, free_port, permits, song, wait_for};
use reqwest::multipart::{Form, Part};
use serde_json::Value;
use tempfile::TempDir;

/// Small tasks, so that every node gets some of them.
const SMALL_TASKS: &str = "[workers]\nsegments_per_task = 1\n";

const DASHBOARD: &str = include_str!("../../scripts/grafana/quartet.json");

/// The log of a node, in which every line must be a JSON object.
fn lines(cluster: &Cluster, node: u64) -> Vec<Value> {
    let text = std::fs::read_to_string(cluster.log(node)).unwrap();
    // The last line may be incomplete.
    let whole = text.rfind('\n').map_or("", |end| &text[..end]);
    whole.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{line}: {error}"))).collect()
}

/// Whether a node has logged a line within this request.
fn has_logged(cluster: &Cluster, node: u64, request: &str) -> bool {
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
async fn request_id_is_in_the_logs_of_all_involved_nodes() {
    let _permit = permits(1).await;
    let logs = [("QUARTET_LOG_FORMAT", "json"), ("QUARTET_LOG", "debug")];
    let cluster = Cluster::start_with(3, None, SMALL_TASKS, &logs).await;
    // A node logs its part of a request before its response, or shortly after.
    let wait_for_line = async |node: u64, request: &str| {
        wait_for(&format!("node {node} to log {request}"), async || has_logged(&cluster, node, request).then_some(()))
            .await;
    };
    let holds = |node: u64, song: &Value| {
        let hash = song["hash"].as_str().unwrap();
        cluster.folder.path().join(format!("node-{node}/blobs/{}/{hash}", &hash[..2])).exists()
    };
    let mut found = None;
    // The leader gets a command for every song. The hash of the file decides which other node gets the file.
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
        wait_for_line(uploader, &request).await;
        // Skip this song if the leader has changed meanwhile.
        if cluster.leader(0).await != leader {
            continue;
        }
        wait_for_line(leader, &request).await;
        if holds(third, &uploaded) {
            wait_for_line(third, &request).await;
            found = Some((uploader, uploaded));
            break;
        }
    }
    let (uploader, uploaded) = found.expect("one of twenty files is on the third node");

    // An attempt at a task has its own request id, which the leader and the worker log.
    cluster.wait_until_split(uploader, &uploaded).await;
    let job = uploaded["job_id"].as_u64().unwrap();
    let worked = |node: u64| {
        lines(&cluster, node).iter().any(|line| {
            let spans = line["spans"].as_array().into_iter().flatten();
            spans.filter_map(|span| span["request"].as_str()).any(|id| id.starts_with(&format!("task-{job}.")))
        })
    };
    wait_for("log lines of the leader about the tasks", async || {
        let leader = cluster.leader(0).await;
        worked(leader).then_some(())
    })
    .await;

    // Request ids with invalid characters are replaced.
    let answer = cluster.client.get(cluster.url(0, "/healthz")).header("x-request-id", "\"}{").send().await.unwrap();
    assert_eq!(answer.headers()["x-request-id"].len(), 36);
}

#[tokio::test]
async fn dead_node_and_its_return_are_logged_once() {
    let _permit = permits(ALL).await;
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
    wait_for("the warnings", async || since(&cluster).iter().all(|log| log.contains(&gone)).then_some(())).await;
    // The cluster works, and the leader keeps trying to reach the dead node.
    for seed in 0..5 {
        cluster.upload(others[0], "Meanwhile", &song(2, 130 + seed)).await;
    }
    cluster.run(dead);
    cluster.wait_until_ready(dead).await;
    let back = format!("node {dead} answers again");
    wait_for("the log lines about the return", async || {
        since(&cluster).iter().all(|log| log.contains(&back)).then_some(())
    })
    .await;
    for log in since(&cluster) {
        // On a busy machine the node may be unreachable more than once. Each change is logged once.
        let changes: Vec<bool> = log
            .lines()
            .filter(|line| line.contains(&gone) || line.contains(&back))
            .map(|line| line.contains(&gone))
            .collect();
        assert!(changes[0] && changes.windows(2).all(|pair| pair[0] != pair[1]), "{log}");
        let silences = changes.iter().filter(|gone| **gone).count();
        let mut warnings: BTreeMap<String, usize> = BTreeMap::new();
        for line in log.lines().filter_map(warning) {
            *warnings.entry(line).or_default() += 1;
        }
        for (words, times) in warnings {
            assert!(times <= silences, "{times} warnings for {silences} silences, {words:?}:\n{log}");
        }
    }
}

/// The text of a warning or error without numbers and times; none for other lines.
fn warning(line: &str) -> Option<String> {
    let from = ["WARN", "ERROR"].iter().find_map(|level| line.find(level))?;
    let words = line[from..].split(|letter: char| !letter.is_ascii_alphanumeric());
    Some(words.filter(|word| !word.contains(|letter: char| letter.is_ascii_digit())).collect::<Vec<_>>().join(" "))
}

/// The names of the metrics in a text of the Prometheus format.
fn families(metrics: &str) -> BTreeSet<String> {
    let samples = metrics.lines().filter(|line| !line.starts_with('#') && !line.is_empty());
    samples.map(|line| line.split(['{', ' ']).next().unwrap().to_owned()).collect()
}

/// The queries of a dashboard's panels and variables.
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

/// The names of metrics in a query.
fn names(query: &str) -> impl Iterator<Item = String> {
    let words = query.split(|letter: char| !letter.is_ascii_alphanumeric() && letter != '_');
    words.filter(|word| word.starts_with("quartet_") || word.starts_with("process_")).map(str::to_owned)
}

/// Checks `input` with Prometheus' own tool.
fn promtool(what: &str, input: &str) {
    let mut tool = Command::new("promtool");
    tool.args(["check", what]).args((what == "config").then_some("/dev/stdin"));
    let tool = tool.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
    let mut tool = tool.expect("promtool comes with the package prometheus; scripts/test installs it");
    tool.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    let output = tool.wait_with_output().unwrap();
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success() && errors.is_empty(), "{what}: {errors}");
}

/// Starts Prometheus with the configuration in scripts/grafana for these nodes. Returns the address of its API.
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
    let _permit = permits(1).await;
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
    wait_for("metrics of all nodes", async || (nodes().await? == "3").then_some(())).await;
    let uploaded = cluster.upload(0, "Watched", &song(20, 141)).await;
    cluster.wait_until_split(0, &uploaded).await;

    let labels =
        wait_for("the variable", async || ask("label/node/values", "match[]", "quartet_node_info").await).await;
    assert_eq!(labels["data"], serde_json::json!(["0", "1", "2"]));
    let dashboard: Value = serde_json::from_str(DASHBOARD).unwrap();
    let mut wanted = BTreeSet::new();
    queries(&dashboard, &mut wanted);
    for query in wanted.iter().filter(|query| !query.starts_with("label_values(")) {
        let filled = query.replace("$__rate_interval", "1m").replace("$node", "0|1|2");
        assert!(!filled.contains('$'), "{query} has an unknown variable");
        // A panel stays empty until a rate has two samples. The quantile of no samples is NaN.
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
async fn every_metric_of_the_dashboard_is_exported_and_described() {
    let _permit = permits(1).await;
    let broker = Broker::start().await;
    let cluster = Cluster::start(3, Some(&broker), SMALL_TASKS).await;
    wait_for("the connection to the broker", async || {
        (cluster.data(0, "/cluster").await?["broker"]["connected"] == true).then_some(())
    })
    .await;
    let uploaded = cluster.upload(0, "Counted", &song(20, 140)).await;
    cluster.wait_until_split(0, &uploaded).await;
    let tasks = cluster.job(0, &uploaded).await.unwrap()["tasks"].as_array().unwrap().len() as u64;
    let dashboard: Value = serde_json::from_str(DASHBOARD).unwrap();
    let mut asked = BTreeSet::new();
    queries(&dashboard, &mut asked);
    let wanted: BTreeSet<String> = asked.iter().flat_map(|query| names(query)).collect();
    assert!(wanted.len() > 50, "the dashboard shows {} metrics", wanted.len());
    // A worker counts its task after the result was committed.
    let mut printed = String::new();
    wait_for("every metric of the dashboard", async || {
        let (exported, finished) = exported(&cluster).await;
        let missing: Vec<_> = wanted.difference(&exported).collect();
        if finished == tasks && missing.is_empty() {
            return Some(());
        }
        let found = format!("{finished} of {tasks} tasks are counted, and no node exports {missing:?}");
        if printed != found {
            eprintln!("{found}");
            printed = found;
        }
        None
    })
    .await;
}

/// The names of all exported metrics, each of which must have a description, and the number of finished tasks.
async fn exported(cluster: &Cluster) -> (BTreeSet<String>, u64) {
    let (mut exported, mut finished) = (BTreeSet::new(), 0);
    for node in 0..3 {
        let metrics = cluster.get(node, "/metrics").await.unwrap().text().await.unwrap();
        for line in metrics.lines().filter(|line| !line.starts_with('#') && !line.is_empty()) {
            assert!(line.contains(&format!("node=\"{node}\"")), "{line}");
            if line.starts_with("quartet_tasks_finished_total") {
                finished += line.rsplit(' ').next().unwrap().parse::<u64>().unwrap();
            }
        }
        let names = families(&metrics);
        for name in &names {
            let parts = ["_bucket", "_sum", "_count"].into_iter().filter_map(|part| name.strip_suffix(part));
            let described = |name: &str| metrics.contains(&format!("# HELP {name} "));
            assert!(described(name) || parts.into_iter().any(described), "{name} has no description");
        }
        exported.extend(names);
    }
    (exported, finished)
}

//! External workers of a three-node cluster: authentication, validation of stems, and songs that no worker takes.

#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used)]

mod harness;

use std::path::{Path, PathBuf};
use std::process::Command;

use futures_util::StreamExt;
use harness::crafted::nested;
use harness::{ALL, Broker, Cluster, PATIENCE, Process, permits, song, wait_for};
use lapin::options::BasicConsumeOptions;
use lapin::types::FieldTable;
use lapin::{Connection, ConnectionProperties};
use reqwest::StatusCode;
use reqwest::multipart::{Form, Part};
use serde_json::Value;
use storage::blobs::Hash;
use tempfile::TempDir;

const TOKEN: &str = "a-token-for-tests";
const QUEUE: &str = "vocalizer_queue";

/// Three nodes that give songs to external workers first.
async fn three_nodes(broker: &Broker, slots: u32, patience: u32) -> Cluster {
    let hash = Hash::of(TOKEN.as_bytes());
    let more = format!(
        "[workers]\nslots = {slots}\n[outside]\ntoken_sha256 = [\"{hash}\"]\nfirst = true\npatience_seconds = {patience}\n\
         max_bytes = 134217728\n"
    );
    let cluster = Cluster::start(3, Some(broker), &more).await;
    wait_for("the cluster's level", async || {
        let (status, _) = upload_as(&cluster, &song(1, 90), &[("workers", "outside")]).await;
        (status == StatusCode::OK).then_some(())
    })
    .await;
    cluster
}

async fn upload_as(cluster: &Cluster, file: &Path, fields: &[(&'static str, &'static str)]) -> (StatusCode, Value) {
    let part = Part::bytes(std::fs::read(file).unwrap()).file_name("song.wav");
    let form = fields.iter().fold(Form::new(), |form, (name, value)| form.text(*name, *value));
    let asked = cluster.client.post(cluster.url(0, "/songs/upload")).multipart(form.part("file", part));
    let answer = asked.send().await.unwrap();
    (answer.status(), answer.json().await.unwrap())
}

/// An external worker with the addresses of all nodes.
struct Worker {
    process: Process,
    log: PathBuf,
}

impl Worker {
    fn start(cluster: &Cluster, broker: &Broker, name: &str, token: &str) -> Self {
        let log = cluster.folder.path().join(format!("{name}.log"));
        let file = cluster.folder.path().join(format!("{name}.token"));
        std::fs::write(&file, format!("{token}\n")).unwrap();
        let (url, nodes) = (broker.url(), [0, 1, 2].map(|id| cluster.url(id, "")));
        let mut args = vec!["worker", "--broker", &url, "--token-file", file.to_str().unwrap()];
        nodes.iter().for_each(|node| args.extend(["--backend", node]));
        Self { process: Process::node(args, "", &log), log }
    }

    fn output(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap()
    }

    async fn wait_for_output(&self, words: &str) {
        wait_for(words, async || self.output().contains(words).then_some(())).await;
    }
}

#[tokio::test]
async fn external_workers_separate_whole_songs_and_can_be_killed() {
    let _permit = permits(ALL).await;
    let broker = Broker::start().await;
    // The nodes have no workers.
    let mut cluster = three_nodes(&broker, 0, 600).await;
    let mut first = Worker::start(&cluster, &broker, "first", TOKEN);
    first.wait_for_output("waiting for songs").await;
    let uploaded = cluster.upload(0, "Outside", &song(20, 91)).await;
    cluster.wait_until_split(1, &uploaded).await;
    let job = cluster.job(2, &uploaded).await.unwrap();
    assert_eq!((&job["state"], &job["workers"], &job["tasks_done"]), (&"done".into(), &"outside".into(), &0.into()));
    for stem in ["vocals", "drums", "bass", "other"] {
        assert!(cluster.download(2, &uploaded, &format!("{stem}.mp3")).await.len() > 20 * 39_000, "{stem}");
    }
    // Other formats are made from the uploaded stems.
    assert!(cluster.download(1, &uploaded, "vocals.wav").await.starts_with(b"RIFF"));
    let data = cluster.data(0, &format!("/songs/{}", uploaded["id"])).await.unwrap();
    assert!(data["song"]["facts"]["loudness"].is_f64(), "{data}");
    let peaks: Value = serde_json::from_slice(&cluster.download(0, &uploaded, "peaks.json").await).unwrap();
    assert_eq!(peaks.as_object().unwrap().len(), 5, "{peaks}");

    // A worker is killed during a song, and the leader is killed too: another worker gets the song. The first worker is
    // stopped until the second is connected, so that it does not finish the song.
    let long = cluster.upload(1, "Long", &song(240, 92)).await;
    first.wait_for_output(&format!("job={} model=\"spectral\" redelivered=false", long["job_id"])).await;
    first.process.signal(rustix::process::Signal::STOP);
    let mut second = Worker::start(&cluster, &broker, "second", TOKEN);
    second.wait_for_output("waiting for songs").await;
    first.process.kill();
    let leader = cluster.leader(0).await;
    cluster.kill(leader);
    let witness = (leader + 1) % 3;
    cluster.wait_until_split(witness, &long).await;
    assert!(second.output().contains("redelivered=true"), "{}", second.output());
    assert_eq!(cluster.job(witness, &long).await.unwrap()["workers"], "outside");

    second.process.terminate();
    assert!(second.process.wait(PATIENCE).expect("the worker to stop").success(), "{}", second.output());
    assert!(!(first.output() + &second.output()).contains(TOKEN));
}

#[tokio::test]
async fn cluster_separates_songs_that_no_external_worker_takes() {
    let _permit = permits(1).await;
    let broker = Broker::start().await;
    let cluster = three_nodes(&broker, 1, 10).await;
    // There is no external worker.
    let uploaded = cluster.upload(0, "Alone", &song(8, 93)).await;
    cluster.wait_until_split(1, &uploaded).await;
    assert_eq!(cluster.job(0, &uploaded).await.unwrap()["workers"], "cluster");

    // A consumer takes the song and does not separate it.
    let connection = Connection::connect(&broker.url(), ConnectionProperties::default()).await.unwrap();
    let channel = connection.create_channel().await.unwrap();
    let (options, arguments) = (BasicConsumeOptions::default(), FieldTable::default());
    let mut taken = channel.basic_consume(QUEUE.into(), "".into(), options, arguments).await.unwrap();
    let file = song(9, 94);
    let uploaded = cluster.upload(2, "Taken", &file).await;
    let hash = uploaded["hash"].as_str().unwrap();
    let message = loop {
        let message = tokio::time::timeout(PATIENCE, taken.next()).await.unwrap().unwrap().unwrap();
        if message.properties.message_id().as_ref().map(|id| id.as_str()) == Some(hash) {
            break message;
        }
    };
    assert_eq!(message.data, std::fs::read(&file).unwrap());
    cluster.wait_until_split(0, &uploaded).await;
    assert_eq!(cluster.job(1, &uploaded).await.unwrap()["workers"], "cluster");

    // There is no broker.
    drop(broker);
    let uploaded = cluster.upload(1, "No broker", &song(8, 95)).await;
    cluster.wait_until_split(2, &uploaded).await;

    // Uploads can choose the cluster, and jobs with other formats always run in the cluster.
    for fields in [[("workers", "cluster")], [("formats", "flac")]] {
        let (status, body) = upload_as(&cluster, &song(7, 96), &fields).await;
        assert_eq!(status, StatusCode::OK, "{body}");
        assert_eq!(cluster.job(0, &body["data"]["song"]).await.unwrap()["workers"], "cluster");
    }
    let (status, body) = upload_as(&cluster, &song(7, 96), &[("formats", "flac"), ("workers", "outside")]).await;
    assert_eq!(status, StatusCode::BAD_REQUEST, "{body}");
}

/// A tar file.
fn tar_of(files: &[(&str, Vec<u8>)]) -> Vec<u8> {
    let mut archive = tar::Builder::new(Vec::new());
    for (name, content) in files {
        let mut header = tar::Header::new_ustar();
        header.set_size(content.len() as u64);
        archive.append_data(&mut header, name, content.as_slice()).unwrap();
    }
    archive.into_inner().unwrap()
}

/// The stems of a song as MP3.
fn stems(song: &Path) -> Vec<(&'static str, Vec<u8>)> {
    let folder = TempDir::new().unwrap();
    let made = Command::new(env!("CARGO_BIN_EXE_node"))
        .args(["separate", "--mp3", "-n", "spectral", "--filename", "{stem}.{ext}", "-o"])
        .args([folder.path(), song])
        .status()
        .unwrap();
    assert!(made.success());
    ["bass.mp3", "drums.mp3", "other.mp3", "vocals.mp3"]
        .map(|name| (name, std::fs::read(folder.path().join("spectral").join(name)).unwrap()))
        .into()
}

#[tokio::test]
async fn invalid_tokens_and_invalid_stems_are_rejected() {
    let _permit = permits(1).await;
    let broker = Broker::start().await;
    let cluster = three_nodes(&broker, 0, 600).await;
    let file = song(6, 97);
    let mut unknown = Worker::start(&cluster, &broker, "unknown", "an-unknown-token");
    unknown.wait_for_output("waiting for songs").await;
    let uploaded = cluster.upload(0, "Wanted", &file).await;
    let hash = uploaded["hash"].as_str().unwrap();
    let ended = unknown.process.wait(PATIENCE).expect("the worker with an unknown token to end");
    assert!(!ended.success());
    assert!(unknown.output().contains("rejected the token of this worker"), "{}", unknown.output());
    assert!(!unknown.output().contains("an-unknown-token"));

    let deliver = async |hash: &str, token: Option<&str>, body: Vec<u8>| {
        let mut asked = cluster.client.post(cluster.url(1, &format!("/songs/{hash}/upload_result"))).body(body);
        if let Some(token) = token {
            asked = asked.bearer_auth(token);
        }
        let answer = asked.send().await.unwrap();
        (answer.status(), answer.json::<Value>().await.unwrap())
    };
    let good = stems(&file);
    let changed = |at: usize, name: &'static str, content: &[u8]| {
        let mut files = good.clone();
        files[at] = (name, content.to_vec());
        tar_of(&files)
    };
    assert_eq!(deliver(hash, None, tar_of(&good)).await.0, StatusCode::UNAUTHORIZED);
    assert_eq!(deliver(hash, Some("wrong"), tar_of(&good)).await.0, StatusCode::FORBIDDEN);
    let longer = stems(&song(12, 98));
    let more = tar_of(&[good.as_slice(), &[("notes.txt", b"me".to_vec())]].concat());
    for (body, status) in [
        (more, StatusCode::UNPROCESSABLE_ENTITY),
        (tar_of(&good[..3]), StatusCode::UNPROCESSABLE_ENTITY),
        (changed(0, "drums.mp3", &good[0].1), StatusCode::UNPROCESSABLE_ENTITY),
        (changed(0, "bass.mp3", b"no music"), StatusCode::UNSUPPORTED_MEDIA_TYPE),
        (changed(0, "bass.mp3", &std::fs::read(&file).unwrap()), StatusCode::UNSUPPORTED_MEDIA_TYPE),
        (changed(0, "bass.mp3", b""), StatusCode::UNPROCESSABLE_ENTITY),
        (changed(3, "vocals.mp3", &longer[3].1), StatusCode::UNPROCESSABLE_ENTITY),
        // A tag that would overflow the stack of a recursive reader, in a file that is too long.
        (changed(3, "vocals.mp3", &[nested(3000), longer[3].1.clone()].concat()), StatusCode::UNPROCESSABLE_ENTITY),
        (tar_of(&good)[..100_000].to_vec(), StatusCode::BAD_REQUEST),
        (vec![0; 20_000_000], StatusCode::PAYLOAD_TOO_LARGE),
        (b"no archive".to_vec(), StatusCode::BAD_REQUEST),
    ] {
        let (found, body) = deliver(hash, Some(TOKEN), body).await;
        assert_eq!(found, status, "{body}");
    }
    let other = Hash::of(b"another song").to_string();
    assert_eq!(deliver(&other, Some(TOKEN), tar_of(&good)).await.0, StatusCode::NOT_FOUND);
    assert_eq!(deliver("song", Some(TOKEN), tar_of(&good)).await.0, StatusCode::BAD_REQUEST);
    assert_ne!(cluster.status(2, &uploaded).await.as_deref(), Some("SPLIT"));

    // A valid upload still succeeds.
    let (found, body) = deliver(hash, Some(TOKEN), tar_of(&good)).await;
    assert_eq!(found, StatusCode::OK, "{body}");
    cluster.wait_until_split(2, &uploaded).await;
    assert!(cluster.download(0, &uploaded, "bass.mp3").await == good[0].1);
    assert_eq!(deliver(hash, Some(TOKEN), tar_of(&good)).await.0, StatusCode::CONFLICT);
}

//! Workers outside of a cluster of three: who may deliver, what is taken, and what becomes of a song that nobody takes.

#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used)]

mod harness;

use std::path::{Path, PathBuf};
use std::process::Command;

use futures_util::StreamExt;
use harness::crafted::nested;
use harness::{Broker, Cluster, PATIENCE, Process, song, turn, wait_for};
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

/// Three nodes whose songs go outside.
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

/// A worker that knows all nodes.
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

    fn said(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap()
    }

    async fn says(&self, words: &str) {
        wait_for(words, async || self.said().contains(words).then_some(())).await;
    }
}

#[tokio::test]
async fn workers_outside_separate_whole_songs_and_may_be_killed() {
    let _turn = turn().await;
    let broker = Broker::start().await;
    // No node separates anything.
    let mut cluster = three_nodes(&broker, 0, 600).await;
    let mut first = Worker::start(&cluster, &broker, "first", TOKEN);
    first.says("waiting for songs").await;
    let uploaded = cluster.upload(0, "Outside", &song(20, 91)).await;
    cluster.split(1, &uploaded).await;
    let job = cluster.job(2, &uploaded).await.unwrap();
    assert_eq!((&job["state"], &job["workers"], &job["tasks_done"]), (&"done".into(), &"outside".into(), &0.into()));
    for stem in ["vocals", "drums", "bass", "other"] {
        assert!(cluster.part(2, &uploaded, &format!("{stem}.mp3")).await.len() > 20 * 39_000, "{stem}");
    }
    // What it did not deliver is made from what it did.
    assert!(cluster.part(1, &uploaded, "vocals.wav").await.starts_with(b"RIFF"));
    let data = cluster.data(0, &format!("/songs/{}", uploaded["id"])).await.unwrap();
    assert!(data["song"]["facts"]["loudness"].is_f64(), "{data}");
    let peaks: Value = serde_json::from_slice(&cluster.part(0, &uploaded, "peaks.json").await).unwrap();
    assert_eq!(peaks.as_object().unwrap().len(), 5, "{peaks}");

    // A worker dies in the middle of a song, and so does a node that leads: another worker gets the song. The first one
    // stands still until the second is there, so that it does not come to the song's end.
    let long = cluster.upload(1, "Long", &song(240, 92)).await;
    first.says(&format!("job={} model=\"spectral\" redelivered=false", long["job_id"])).await;
    first.process.signal(rustix::process::Signal::STOP);
    let mut second = Worker::start(&cluster, &broker, "second", TOKEN);
    second.says("waiting for songs").await;
    first.process.kill();
    let leader = cluster.leader(0).await;
    cluster.kill(leader);
    let witness = (leader + 1) % 3;
    cluster.split(witness, &long).await;
    assert!(second.said().contains("redelivered=true"), "{}", second.said());
    assert_eq!(cluster.job(witness, &long).await.unwrap()["workers"], "outside");

    second.process.terminate();
    assert!(second.process.wait(PATIENCE).expect("the worker to stop").success(), "{}", second.said());
    assert!(!(first.said() + &second.said()).contains(TOKEN));
}

#[tokio::test]
async fn what_nobody_outside_takes_the_cluster_does_itself() {
    let _turn = turn().await;
    let broker = Broker::start().await;
    let cluster = three_nodes(&broker, 1, 10).await;
    // Nobody listens.
    let uploaded = cluster.upload(0, "Alone", &song(8, 93)).await;
    cluster.split(1, &uploaded).await;
    assert_eq!(cluster.job(0, &uploaded).await.unwrap()["workers"], "cluster");

    // Somebody takes the song and does nothing with it.
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
    cluster.split(0, &uploaded).await;
    assert_eq!(cluster.job(1, &uploaded).await.unwrap()["workers"], "cluster");

    // The broker is gone.
    drop(broker);
    let uploaded = cluster.upload(1, "No broker", &song(8, 95)).await;
    cluster.split(2, &uploaded).await;

    // Who does not want to wait for anybody says so, and a job with other files stays inside from the beginning.
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
async fn strangers_and_liars_deliver_nothing() {
    let _turn = turn().await;
    let broker = Broker::start().await;
    let cluster = three_nodes(&broker, 0, 600).await;
    let file = song(6, 97);
    let mut stranger = Worker::start(&cluster, &broker, "stranger", "a-token-that-nobody-knows");
    stranger.says("waiting for songs").await;
    let uploaded = cluster.upload(0, "Wanted", &file).await;
    let hash = uploaded["hash"].as_str().unwrap();
    let ended = stranger.process.wait(PATIENCE).expect("the stranger to be turned away");
    assert!(!ended.success());
    assert!(stranger.said().contains("turns this worker away"), "{}", stranger.said());
    assert!(!stranger.said().contains("a-token-that-nobody-knows"));

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
        // It overflows the stack of a reader that follows it, and is too long besides.
        (changed(3, "vocals.mp3", &[nested(3000), longer[3].1.clone()].concat()), StatusCode::UNPROCESSABLE_ENTITY),
        (tar_of(&good)[..100_000].to_vec(), StatusCode::BAD_REQUEST),
        (vec![0; 20_000_000], StatusCode::PAYLOAD_TOO_LARGE),
        (b"no archive".to_vec(), StatusCode::BAD_REQUEST),
    ] {
        let (found, said) = deliver(hash, Some(TOKEN), body).await;
        assert_eq!(found, status, "{said}");
    }
    let other = Hash::of(b"another song").to_string();
    assert_eq!(deliver(&other, Some(TOKEN), tar_of(&good)).await.0, StatusCode::NOT_FOUND);
    assert_eq!(deliver("song", Some(TOKEN), tar_of(&good)).await.0, StatusCode::BAD_REQUEST);
    assert_ne!(cluster.status(2, &uploaded).await.as_deref(), Some("SPLIT"));

    // Nothing of all that did harm.
    let (found, said) = deliver(hash, Some(TOKEN), tar_of(&good)).await;
    assert_eq!(found, StatusCode::OK, "{said}");
    cluster.split(2, &uploaded).await;
    assert!(cluster.part(0, &uploaded, "bass.mp3").await == good[0].1);
    assert_eq!(deliver(hash, Some(TOKEN), tar_of(&good)).await.0, StatusCode::CONFLICT);
}

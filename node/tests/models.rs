//! Models: download, import, use by `node separate`, and publication to a cluster.

#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used)]

mod harness;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use harness::{Cluster, permits, song, wait_for};
use reqwest::multipart::{Form, Part};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpListener;

fn tiny() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("inference/tests/reference/tiny.th")
}

/// Runs `node` with this folder of models.
fn node(models: &Path, words: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_node"))
        .args(words)
        .env("QUARTET_MODELS", models)
        .env_remove("RUST_BACKTRACE")
        .output()
        .unwrap()
}

fn output_of(output: &Output) -> String {
    String::from_utf8_lossy(&[output.stdout.as_slice(), &output.stderr].concat()).into_owned()
}

/// How the web server misbehaves.
#[derive(Clone, Copy, PartialEq)]
enum Server {
    /// Every response ends after 100,000 bytes.
    Breaks,
    /// The same, and one bit of the file is flipped.
    Wrong,
}

/// A web server for a folder with one model. Counts the range requests.
async fn serve(server: Server, file: &'static str) -> (SocketAddr, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let ranges = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&ranges);
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let mut stream = BufReader::new(stream);
            let (mut request, mut from) = (String::new(), 0);
            loop {
                let mut line = String::new();
                if stream.read_line(&mut line).await.unwrap() == 0 || line == "\r\n" {
                    break;
                }
                if let Some(range) = line.to_ascii_lowercase().strip_prefix("range: bytes=") {
                    from = range.trim().trim_end_matches('-').parse().unwrap();
                    counted.fetch_add(1, Ordering::Relaxed);
                }
                if request.is_empty() {
                    request = line;
                }
            }
            let path = request.split(' ').nth(1).unwrap();
            let body = if path == "/models/small.toml" {
                format!("files = [\"{file}\"]\n").into_bytes()
            } else if path == format!("/models/{file}") {
                let mut bytes = std::fs::read(tiny()).unwrap();
                if server == Server::Wrong {
                    bytes[1000] ^= 1;
                }
                bytes
            } else {
                let _ = stream.write_all(b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n").await;
                continue;
            };
            let rest = &body[from..];
            let status = if from > 0 { "206 Partial Content" } else { "200 OK" };
            let head = format!("HTTP/1.1 {status}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n", rest.len());
            let _ = stream.write_all(head.as_bytes()).await;
            let _ = stream.write_all(&rest[..rest.len().min(100_000)]).await;
            let _ = stream.shutdown().await;
        }
    });
    (address, ranges)
}

/// The name of the small model's file, with its checksum.
fn file_name() -> &'static str {
    let checksum = inference::models::checksum_of(&tiny()).unwrap();
    Box::leak(format!("small-{}.th", &checksum[..8]).into_boxed_str())
}

#[tokio::test(flavor = "multi_thread")]
async fn interrupted_download_continues_and_is_verified() {
    let folder = tempfile::tempdir().unwrap();
    let models = folder.path().join("models");
    let (address, ranges) = serve(Server::Breaks, file_name()).await;
    let from = format!("http://{address}/models/");
    let fetched = node(&models, &["model", "fetch", "small", "--from", &from]);
    assert!(fetched.status.success(), "{}", output_of(&fetched));
    assert!(ranges.load(Ordering::Relaxed) >= 2, "the file came in one piece");
    assert_eq!(std::fs::read(models.join(file_name())).unwrap(), std::fs::read(tiny()).unwrap());
    let listed = output_of(&node(&models, &["model", "list"]));
    assert!(listed.contains("small          installed"), "{listed}");
    assert!(output_of(&node(&models, &["model", "verify"])).contains("small is valid"));
    // An installed model is not downloaded again.
    let before = ranges.load(Ordering::Relaxed);
    assert!(node(&models, &["model", "fetch", "small", "--from", &from]).status.success());
    assert_eq!(ranges.load(Ordering::Relaxed), before);

    // Damage on the disk is detected.
    let mut bytes = std::fs::read(models.join(file_name())).unwrap();
    bytes[1000] ^= 1;
    std::fs::write(models.join(file_name()), bytes).unwrap();
    let verified = node(&models, &["model", "verify"]);
    assert!(!verified.status.success() && output_of(&verified).contains("damaged"), "{}", output_of(&verified));

    assert!(node(&models, &["model", "remove", "small"]).status.success());
    assert_eq!(std::fs::read_dir(&models).unwrap().count(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn download_with_wrong_checksum_is_removed() {
    let folder = tempfile::tempdir().unwrap();
    let (address, _) = serve(Server::Wrong, file_name()).await;
    let from = format!("http://{address}/models");
    let fetched = node(folder.path(), &["model", "fetch", "small", "--from", &from]);
    assert!(!fetched.status.success());
    assert!(output_of(&fetched).contains("SHA-256"), "{}", output_of(&fetched));
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);

    for (words, expected) in [
        (vec!["model", "fetch", "nothing", "--from", &from], "404"),
        (vec!["model", "fetch", "htdemucs", "--from", &from], "404"),
        (vec!["model", "fetch", "nothing"], "htdemucs_ft"),
        (vec!["model", "fetch", "../x", "--from", &from], "404"),
        (vec!["model", "remove", "htdemucs"], "node model fetch htdemucs"),
        (vec!["separate", "-n", "htdemucs", "song.wav"], "node model fetch htdemucs"),
        (vec!["separate", "-n", "nothing", "song.wav"], "no model \"nothing\""),
        (vec!["model", "import", "/etc/hostname"], ".safetensors"),
    ] {
        let output = node(folder.path(), &words);
        assert!(!output.status.success() && output_of(&output).contains(expected), "{words:?}: {}", output_of(&output));
    }
}

#[test]
fn separate_supports_the_options_of_demucs() {
    let folder = tempfile::tempdir().unwrap();
    let models = folder.path().join("models");
    let out = folder.path().join("out");
    let imported = node(&models, &["model", "import", tiny().to_str().unwrap(), "--name", "small"]);
    assert!(imported.status.success(), "{}", output_of(&imported));
    let song = song(5, 30);
    let (song, out_text) = (song.to_str().unwrap(), out.to_str().unwrap());
    let base = ["separate", song, "-n", "small", "-o", out_text];
    let run = |more: &[&str]| node(&models, &[&base[..], more].concat());
    for (more, files) in [
        (vec![], vec!["song/drums.wav", "song/vocals.wav"]),
        (vec!["--two-stems", "vocals", "--mp3"], vec!["song/vocals.mp3", "song/no_vocals.mp3"]),
        (vec!["--flac", "--int24", "--shifts", "2", "--overlap", "0.6"], vec!["song/drums.flac", "song/vocals.flac"]),
        (
            vec!["--two-stems=drums", "--other-method", "minus", "--filename", "{stem}-of-{track}.{trackext}.{ext}"],
            vec!["drums-of-song.wav.wav", "no_drums-of-song.wav.wav"],
        ),
    ] {
        let _ = std::fs::remove_dir_all(&out);
        let output = run(&more);
        assert!(output.status.success(), "{more:?}: {}", output_of(&output));
        for file in files {
            assert!(out.join("small").join(file).metadata().unwrap().len() > 1000, "{more:?}: {file}");
        }
    }
    for (more, expected) in [
        (vec!["--two-stems", "piano"], "only drums, vocals"),
        (vec!["--overlap", "1"], "below 1"),
        (vec!["--mp3", "--mp3-bitrate", "7"], "320"),
        (vec!["--mp3", "--flac"], "cannot be used"),
        (vec!["/nothing.mp3"], "/nothing.mp3"),
    ] {
        let output = run(&more);
        assert!(!output.status.success() && output_of(&output).contains(expected), "{more:?}: {}", output_of(&output));
    }
    // The other song is separated nevertheless.
    let _ = std::fs::remove_dir_all(&out);
    assert!(!run(&["/nothing.mp3"]).status.success());
    assert!(out.join("small/song/drums.wav").exists());
    assert_eq!(std::fs::read_dir(out.join("small")).unwrap().count(), 1);
}

#[tokio::test]
async fn model_of_one_node_is_available_at_all_nodes() {
    let _permit = permits(1).await;
    let limits = "[limits]\ncollect_unsafely = true\ncollect_grace_seconds = 120\n";
    let mut cluster = Cluster::start(3, None, limits).await;
    let file = cluster.folder.path().join("cluster.toml");
    let of_node = |words: &[&str]| {
        let at = ["--id", "0", "--cluster", file.to_str().unwrap(), "model"];
        let output = node(Path::new("/nowhere"), &[&at[..], words].concat());
        assert!(output.status.success(), "{}", output_of(&output));
    };
    let upload = async |id: u64| {
        let bytes = Part::bytes(std::fs::read(song(8, 31)).unwrap()).file_name("song.wav");
        let form = Form::new().text("model", "small").part("file", bytes);
        cluster.client.post(cluster.url(id, "/songs/upload")).multipart(form).send().await.unwrap()
    };
    let refused = upload(1).await;
    assert_eq!(refused.status(), 400);
    assert!(refused.text().await.unwrap().contains("node model fetch small"));

    of_node(&["import", tiny().to_str().unwrap(), "--name", "small"]);
    let models = async |id: u64| {
        let data = cluster.data(id, "/models").await?;
        Some(
            data["models"]
                .as_array()?
                .iter()
                .map(|model| model["name"].as_str().unwrap().to_owned())
                .collect::<Vec<_>>(),
        )
    };
    wait_for("the model at node 2", async || models(2).await.filter(|models| models.contains(&"small".to_owned())))
        .await;
    // The inbox is empty after the model was published.
    wait_for("an empty inbox", async || {
        let folder = cluster.folder.path().join("node-0/models");
        (std::fs::read_dir(folder).ok()?.count() == 0).then_some(())
    })
    .await;

    let answer: serde_json::Value = upload(1).await.json().await.unwrap();
    let made = answer["data"]["song"].clone();
    assert_eq!(made["id"], 1, "{answer}");
    let form = |formats: &str| {
        let bytes = Part::bytes(std::fs::read(song(8, 31)).unwrap()).file_name("song.wav");
        Form::new().text("formats", formats.to_owned()).part("file", bytes)
    };
    let url = cluster.url(2, "/songs/upload");
    for (formats, expected) in [("ogg", "flac:24"), ("mp3:5", "320"), ("wav:int16, wav:float32", "same extension")] {
        let answer = cluster.client.post(&url).multipart(form(formats)).send().await.unwrap();
        assert_eq!(answer.status(), 400, "{formats}");
        let text = answer.text().await.unwrap();
        assert!(text.contains(expected), "{text}");
    }
    let answer = cluster.client.post(&url).multipart(form("flac:24, mp3:128")).send().await.unwrap();
    let answer: serde_json::Value = answer.json().await.unwrap();
    let compact = answer["data"]["song"].clone();
    assert!(compact["job_id"] != made["job_id"], "{answer}");
    cluster.wait_until_split(1, &compact).await;
    let (flac, mp3) =
        (cluster.download(1, &compact, "bass.flac").await, cluster.download(1, &compact, "bass.mp3").await);
    assert!(flac.starts_with(b"fLaC") && mp3.len() < 150_000, "{} bytes", mp3.len());
    // Other formats are made on request, and mixes are made from the existing files.
    assert!(cluster.download(2, &compact, "bass.wav").await.starts_with(b"RIFF"));
    assert!(cluster.download(2, &compact, "mix.mp3?bass=1&drums=0.5").await.len() > 100_000);

    // The node from which the model came is not needed any more.
    cluster.kill(0);
    cluster.wait_until_split(2, &made).await;
    for part in ["drums.mp3", "vocals.wav"] {
        assert!(cluster.download(2, &made, part).await.len() > 10_000);
    }
    let song = cluster.data(2, "/songs/1").await.unwrap()["song"].clone();
    assert!((song["facts"]["tempo"].as_f64().unwrap() - 100.0).abs() < 100.0, "{song}");
    assert!(song["facts"]["loudness"].as_f64().unwrap() < 0.0, "{song}");
    let peaks: serde_json::Value = serde_json::from_slice(&cluster.download(2, &made, "peaks.json").await).unwrap();
    for part in ["song", "drums", "vocals"] {
        assert_eq!(peaks[part]["frames"], 8 * 44_100);
        assert!(peaks[part]["max"].as_array().unwrap().len() > 900, "{part}");
    }
    assert_eq!(cluster.get(2, "/songs/1/bass.mp3").await.unwrap().status(), 404);

    cluster.run(0);
    cluster.wait_until_ready(0).await;
    // From now on, unreferenced files are removed soon.
    cluster.restart_with("collect_grace_seconds = 120", "collect_grace_seconds = 1").await;
    let remove = Command::new(env!("CARGO_BIN_EXE_node"))
        .args(["--id", "0", "--cluster", cluster.folder.path().join("cluster.toml").to_str().unwrap()])
        .args(["model", "remove", "small"])
        .status()
        .unwrap();
    assert!(remove.success());
    wait_for("the removal of the model", async || {
        let data = cluster.data(1, "/models").await?;
        (data["models"].as_array()?.len() == 1).then_some(())
    })
    .await;
    // The stems made with the model stay.
    assert!(cluster.download(1, &made, "drums.mp3").await.len() > 10_000);
}

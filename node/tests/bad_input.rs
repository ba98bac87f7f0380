//! Invalid requests: each gets a status and a message, leaves no files, and does not affect the node.

#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used)]

mod harness;

use std::path::Path;

use harness::{Cluster, permits, song, wait_for};
use reqwest::StatusCode;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// All files below the folders for uploads, on all nodes.
fn files(cluster: &Cluster) -> Vec<String> {
    fn below(folder: &Path, found: &mut Vec<String>) {
        for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
            if entry.path().is_dir() {
                below(&entry.path(), found);
            } else {
                found.push(entry.path().display().to_string());
            }
        }
    }
    let mut found = Vec::new();
    for node in cluster.http.keys() {
        for folder in ["blobs", "staging", "cache"] {
            below(&cluster.folder.path().join(format!("node-{node}")).join(folder), &mut found);
        }
    }
    found
}

/// A WAV header that announces `frames` frames of 8-bit mono silence at 8 kHz.
fn wav_header(frames: u32) -> Vec<u8> {
    let mut header = Vec::new();
    header.extend(b"RIFF");
    header.extend((36 + frames).to_le_bytes());
    header.extend(b"WAVEfmt ");
    header.extend(16u32.to_le_bytes());
    header.extend(1u16.to_le_bytes());
    header.extend(1u16.to_le_bytes());
    header.extend(8000u32.to_le_bytes());
    header.extend(8000u32.to_le_bytes());
    header.extend(1u16.to_le_bytes());
    header.extend(8u16.to_le_bytes());
    header.extend(b"data");
    header.extend(frames.to_le_bytes());
    header
}

#[tokio::test]
async fn rejected_uploads_have_a_message_and_leave_no_files() {
    let _permit = permits(1).await;
    let limits =
        "[limits]\nupload_bytes = 37000000\nsong_seconds = 7200\ncollect_unsafely = true\ncollect_grace_seconds = 1\n";
    let cluster = Cluster::start(3, None, limits).await;
    let good = std::fs::read(song(10, 20)).unwrap();
    let mut ten_hours = wav_header(36_000_000);
    ten_hours[24..28].copy_from_slice(&1000u32.to_le_bytes());
    ten_hours.resize(ten_hours.len() + 36_000_000, 128);
    let text = b"This is a text, not a song. ".repeat(1000);

    for (status, code, file, bytes, title) in [
        (415, "not_audio", "song.mp3", text, "t".to_owned()),
        (422, "empty_file", "song.mp3", Vec::new(), "t".to_owned()),
        (422, "damaged", "no-length.wav", wav_header(0), "t".to_owned()),
        (422, "damaged", "cut.wav", good[..good.len() / 2].to_vec(), "t".to_owned()),
        (422, "too_long", "long.wav", ten_hours, "t".to_owned()),
        (413, "too_large", "large.wav", vec![0; 38_000_000], "t".to_owned()),
        (422, "title_too_long", "song.wav", good.clone(), "t".repeat(10_000)),
    ] {
        let (found, body) = cluster.try_upload(0, &title, bytes, file).await;
        assert_eq!(found.as_u16(), status, "{file}: {body}");
        assert_eq!(body["ok"], false, "{file}: {body}");
        assert_eq!(body["errors"][0]["code"], code, "{file}: {body}");
        let message = body["errors"][0]["message"].as_str().unwrap();
        assert!(message.ends_with('.') && message.len() > 20, "{file}: {message}");
    }
    wait_for("a clean disk", async || files(&cluster).is_empty().then_some(())).await;
    assert_eq!(cluster.data(2, "/songs/").await.unwrap()["songs"].as_array().unwrap().len(), 0);
}

/// Starts an upload and sends only a part of it.
async fn broken_upload(cluster: &Cluster, announced: usize, sent: usize) -> TcpStream {
    let head = "--b\r\nContent-Disposition: form-data; name=\"title\"\r\n\r\nBroken\r\n--b\r\n\
                Content-Disposition: form-data; name=\"file\"; filename=\"a.wav\"\r\n\r\n";
    let mut stream = TcpStream::connect(&cluster.http[&0]).await.unwrap();
    let request = format!(
        "POST /songs/upload HTTP/1.1\r\nHost: quartet\r\nContent-Type: multipart/form-data; boundary=b\r\n\
         Content-Length: {announced}\r\n\r\n{head}"
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    stream.write_all(&vec![1; sent]).await.unwrap();
    stream
}

#[tokio::test]
async fn broken_connections_leave_no_files() {
    let _permit = permits(1).await;
    let cluster = Cluster::start(3, None, "[limits]\ncollect_unsafely = true\ncollect_grace_seconds = 1\n").await;

    // The connection is dropped during the upload.
    drop(broken_upload(&cluster, 5_000_000, 1_000_000).await);
    // The client sends fewer bytes than announced, and closes its side.
    let mut short = broken_upload(&cluster, 5_000_000, 100_000).await;
    short.shutdown().await.unwrap();
    let mut answer = Vec::new();
    let _ = short.read_to_end(&mut answer).await;
    // The announced length ends inside the file's part.
    let mut cut = broken_upload(&cluster, 100_000, 99_000).await;
    cut.write_all(&[1; 1000]).await.unwrap();
    let mut answer = [0; 10];
    cut.read_exact(&mut answer).await.unwrap();
    assert_eq!(answer.as_slice(), b"HTTP/1.1 4");
    drop(cut);

    wait_for("a clean disk", async || files(&cluster).is_empty().then_some(())).await;
    cluster.wait_until_ready(0).await;
}

#[tokio::test]
async fn files_support_ranges_and_missing_files_return_404() {
    let _permit = permits(1).await;
    // A safe grace period while there are songs.
    let limits = "[limits]\ncollect_unsafely = true\ncollect_grace_seconds = 120\n";
    let mut cluster = Cluster::start(1, None, limits).await;
    let uploaded = cluster.upload(0, "Ranges", &song(10, 21)).await;
    cluster.wait_until_split(0, &uploaded).await;
    let url = cluster.url(0, &format!("/songs/{}/drums.mp3", uploaded["id"]));
    let whole = cluster.client.get(&url).send().await.unwrap();
    assert_eq!(whole.headers()["content-type"], "audio/mpeg");
    assert_eq!(whole.headers()["accept-ranges"], "bytes");
    let tag = whole.headers()["etag"].clone();
    let whole = whole.bytes().await.unwrap();

    let ranged = async |range: &str| cluster.client.get(&url).header("range", range).send().await.unwrap();
    let middle = ranged("bytes=100-199").await;
    assert_eq!(middle.status(), StatusCode::PARTIAL_CONTENT);
    assert_eq!(middle.headers()["content-range"].to_str().unwrap(), format!("bytes 100-199/{}", whole.len()));
    assert_eq!(middle.bytes().await.unwrap(), whole[100..200]);
    let tail = ranged("bytes=-50").await;
    assert_eq!(tail.bytes().await.unwrap(), whole[whole.len() - 50..]);
    let past = ranged("bytes=999999999-").await;
    assert_eq!(past.status(), StatusCode::RANGE_NOT_SATISFIABLE);
    assert_eq!(past.headers()["content-range"].to_str().unwrap(), format!("bytes */{}", whole.len()));

    let head = cluster.client.head(&url).send().await.unwrap();
    assert_eq!(head.headers()["content-length"].to_str().unwrap(), whole.len().to_string());
    let fresh = cluster.client.get(&url).header("if-none-match", &tag).send().await.unwrap();
    assert_eq!(fresh.status(), StatusCode::NOT_MODIFIED);

    for path in [
        format!("/songs/{}/kazoo.mp3", uploaded["id"]),
        format!("/songs/{}/drums.exe", uploaded["id"]),
        "/songs/99999".into(),
        "/songs/99999/drums.mp3".into(),
        "/songs/none".into(),
        "/jobs/99999".into(),
        "/nowhere".into(),
    ] {
        let answer = cluster.get(0, &path).await.unwrap();
        assert_eq!(answer.status(), StatusCode::NOT_FOUND, "{path}");
        assert_eq!(answer.json::<serde_json::Value>().await.unwrap()["ok"], false, "{path}");
    }
    for query in ["drums=loud", "drums=NaN", "kazoo=1", "drums=1e30"] {
        let answer = cluster.get(0, &format!("/songs/{}/mix.mp3?{query}", uploaded["id"])).await.unwrap();
        assert!(answer.status().is_client_error(), "{query}: {}", answer.status());
    }

    let gone = cluster.client.delete(cluster.url(0, &format!("/songs/{}", uploaded["id"]))).send().await.unwrap();
    assert!(gone.status().is_success());
    assert_eq!(cluster.get(0, &format!("/songs/{}", uploaded["id"])).await.unwrap().status(), 404);
    cluster.restart_with("collect_grace_seconds = 120", "collect_grace_seconds = 1").await;
    let blobs = async || files(&cluster).iter().all(|file| !file.contains("/blobs/")).then_some(());
    wait_for("the files to go", blobs).await;
}

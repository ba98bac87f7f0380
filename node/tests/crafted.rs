//! Files that are crafted to crash a node, exhaust its memory or block its decoders: the node keeps serving.

#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used)]

mod harness;

use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use audio::RATE;
use audio::encode::{Encoder, Format};
use audio::tags::Tags;
use harness::crafted::{aiff, chain, nested, silence, texts, wav};
use harness::{Cluster, permits, song, wait_for};
use serde_json::Value;
use tempfile::TempDir;

/// One second of a tone as MP3 without a tag.
fn tone() -> Vec<u8> {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("tone.mp3");
    let wave: Vec<f32> = (0..RATE).map(|at| (at as f32 * 0.05).sin() * 0.5).collect();
    let mut encoder = Encoder::create(&path, Format::LISTENING, &Tags::default()).unwrap();
    encoder.write(&[wave.clone(), wave]).unwrap();
    encoder.finish().unwrap();
    std::fs::read(path).unwrap()
}

/// All crafted files with their names.
fn files() -> Vec<(String, Vec<u8>)> {
    let tone = tone();
    let mp3 = |tag: Vec<u8>| [tag, tone.clone()].concat();
    let mut files = vec![
        ("chain-5000.mp3".to_owned(), mp3(chain(5000))),
        ("nested-3000.mp3".to_owned(), mp3(nested(3000))),
        ("texts.mp3".to_owned(), mp3(texts(1_000_000))),
        ("silence.flac".to_owned(), silence(7_190)),
        ("chain.aiff".to_owned(), aiff(&chain(5000))),
        ("nested.aiff".to_owned(), aiff(&nested(3000))),
        ("chain.wav".to_owned(), wav(&chain(5000))),
        ("nested.wav".to_owned(), wav(&nested(3000))),
    ];
    // Lengths at which a reader with a small stack fails and one with a large stack does not.
    files.extend([1090, 1120, 1124, 1127].map(|links| (format!("chain-{links}.mp3"), mp3(chain(links)))));
    files
}

/// Asserts that an error response has a code and a message.
fn assert_error(what: &str, body: &Value) {
    let error = &body["errors"][0];
    let message = error["message"].as_str().unwrap_or_default();
    assert!(error["code"].is_string() && message.ends_with('.') && message.len() > 20, "{what}: {body}");
}

#[tokio::test]
async fn node_survives_every_crafted_file() {
    let _permit = permits(1).await;
    let mut cluster = Cluster::start(1, None, "[limits]\njobs_per_user = 0\n").await;
    let mut accepted = Vec::new();
    for (name, bytes) in files() {
        let (status, body) = cluster.try_upload(0, &name, bytes, &name).await;
        match status.as_u16() {
            200 => accepted.push((name.clone(), body["data"]["song"].clone())),
            415 | 422 => assert_error(&name, &body),
            _ => panic!("{name}: {status}: {body}"),
        }
        assert!(cluster.process(0).wait(Duration::ZERO).is_none(), "{name} ended the node");
        cluster.wait_until_ready(0).await;
    }
    // Accepted files are decoded again: by workers, and for other formats.
    for (name, song) in accepted {
        let ended = async || cluster.status(0, &song).await.filter(|status| status == "SPLIT" || status == "FAILED");
        wait_for(&format!("the job of {name}"), ended).await;
        for path in ["song.wav", "song.mp3", "drums.flac", "mix.mp3", "stems.zip?format=flac"] {
            let answer = cluster.get(0, &format!("/songs/{}/{path}", song["id"])).await.unwrap();
            let status = answer.status().as_u16();
            assert!([200, 404, 422].contains(&status), "{name}, {path}: {status}");
            if status != 200 {
                assert_error(&name, &answer.json().await.unwrap());
            }
        }
        assert!(cluster.process(0).wait(Duration::ZERO).is_none(), "{name} ended the node");
    }
    let good = cluster.upload(0, "Good", &song(3, 70)).await;
    cluster.wait_until_split(0, &good).await;
}

#[test]
fn command_line_prints_one_line_per_crafted_file() {
    let folder = TempDir::new().unwrap();
    for (name, bytes) in files() {
        let file = folder.path().join(&name);
        std::fs::write(&file, bytes).unwrap();
        let output = Command::new(env!("CARGO_BIN_EXE_node"))
            .args(["separate", "-n", "spectral", "-o"])
            .args([folder.path(), &file])
            .output()
            .unwrap();
        let errors = String::from_utf8(output.stderr).unwrap();
        let lines = errors.lines().filter(|line| line.contains(name.as_str())).count();
        assert!(matches!(output.status.code(), Some(0 | 1)), "{name}: {}: {errors}", output.status);
        assert_eq!(lines, 1, "{name}: {errors}");
        assert!(!errors.contains("panicked") && !errors.contains("overflowed"), "{name}: {errors}");
    }
}

/// Tests of decoder processes by what `/proc` shows of them.
#[cfg(all(debug_assertions, target_os = "linux"))]
mod children {
    use rustix::process::{Pid, Signal, kill_process};

    use super::*;

    /// Waits for a decoder process of node 0.
    async fn child_of(cluster: &mut Cluster) -> Pid {
        let parent = cluster.process(0).id();
        wait_for("a decoder's process", async || harness::children(parent).into_iter().find(is_confined)).await
    }

    /// Whether the process is confined: it has a filter of system calls.
    fn is_confined(pid: &Pid) -> bool {
        status(*pid, "Seccomp:").as_deref() == Some("2")
    }

    fn status(pid: Pid, field: &str) -> Option<String> {
        let text = std::fs::read_to_string(format!("/proc/{}/status", pid.as_raw_nonzero())).ok()?;
        Some(text.lines().find_map(|line| line.strip_prefix(field))?.trim().to_owned())
    }

    #[tokio::test]
    async fn decoder_has_no_access_to_its_node() {
        let _permit = permits(1).await;
        let secrets = [("FAILPOINTS", "decode.child=return(sleep)"), ("QUARTET_SECRET_OF_TESTS", "hidden")];
        let mut cluster = Cluster::start_with(1, None, "", &secrets).await;
        let (client, url, file) = (cluster.client.clone(), cluster.url(0, "/songs/upload"), song(2, 71));
        let upload = tokio::spawn(async move {
            let part = reqwest::multipart::Part::bytes(std::fs::read(file).unwrap()).file_name("song.wav");
            let answer = client.post(url).multipart(reqwest::multipart::Form::new().part("file", part)).send().await;
            let answer = answer.unwrap();
            (answer.status().as_u16(), answer.headers().contains_key("retry-after"), answer.json().await.unwrap())
        });
        let child = child_of(&mut cluster).await;
        let of = |what: &str| PathBuf::from(format!("/proc/{}/{what}", child.as_raw_nonzero()));
        // Only the file and pipes are open: no socket, no database, no log. Files that this test inherited are ignored.
        let open = |folder: PathBuf| {
            let entries = std::fs::read_dir(folder).unwrap();
            entries.filter_map(|entry| std::fs::read_link(entry.ok()?.path()).ok()).collect::<Vec<_>>()
        };
        let (staging, inherited) = (cluster.folder.path().join("node-0/staging"), open("/proc/self/fd".into()));
        for target in open(of("fd")) {
            let is_pipe = target.to_string_lossy().starts_with("pipe:");
            assert!(is_pipe || target.starts_with(&staging) || inherited.contains(&target), "{}", target.display());
        }
        let environment = String::from_utf8(std::fs::read(of("environ")).unwrap()).unwrap();
        assert!(!environment.contains("hidden"), "{environment:?}");
        assert_eq!(status(child, "Threads:").as_deref(), Some("1"));
        assert_eq!(status(child, "NoNewPrivs:").as_deref(), Some("1"));
        let limits = std::fs::read_to_string(of("limits")).unwrap();
        for bounded in ["Max cpu time", "Max file size", "Max address space", "Max open files"] {
            let line = limits.lines().find(|line| line.starts_with(bounded)).unwrap();
            assert!(!line.contains("unlimited"), "{line}");
        }

        // A signal from outside is not blamed on the file.
        kill_process(child, Signal::TERM).unwrap();
        let (status, again, body): (u16, bool, Value) = upload.await.unwrap();
        assert_eq!((status, again, &body["errors"][0]["code"]), (503, true, &"busy".into()), "{body}");
        cluster.wait_until_ready(0).await;
        assert_eq!(harness::children(cluster.process(0).id()), []);
    }

    #[tokio::test]
    async fn crash_of_the_decoder_is_reported_for_the_file() {
        let _permit = permits(1).await;
        // A node whose decoders crash reads a stored song.
        let mut cluster = Cluster::start(1, None, "").await;
        let taken = cluster.upload(0, "Taken", &song(2, 72)).await;
        cluster.wait_until_split(0, &taken).await;
        cluster.kill(0);
        cluster.set_environment(&[("FAILPOINTS", "decode.child=return(abort)")]);
        cluster.run(0);
        cluster.wait_until_ready(0).await;
        let (status, body) = cluster.try_upload(0, "New", std::fs::read(song(2, 73)).unwrap(), "song.wav").await;
        assert_eq!((status.as_u16(), &body["errors"][0]["code"]), (422, &"damaged".into()), "{body}");
        assert!(body["errors"][0]["message"].as_str().unwrap().contains("its decoder crashed"), "{body}");
        for path in ["song.mp3", "drums.flac", "mix.mp3", "stems.zip?format=flac"] {
            let answer = cluster.get(0, &format!("/songs/{}/{path}", taken["id"])).await.unwrap();
            assert_eq!(answer.status().as_u16(), 422, "{path}");
            let body: Value = answer.json().await.unwrap();
            assert_eq!(body["errors"][0]["code"], "damaged", "{path}: {body}");
        }
        // The job fails with the reason after the last attempt.
        let again = cluster.client.post(cluster.url(0, &format!("/songs/{}/separate", taken["id"])));
        let again = again.json(&serde_json::json!({ "stems": ["vocals"] })).send().await.unwrap();
        let job: Value = again.json().await.unwrap();
        let id = job["data"]["job"]["id"].as_u64().unwrap_or_else(|| panic!("{job}"));
        let failed = wait_for("the job to fail", async || {
            let job = cluster.data(0, &format!("/jobs/{id}")).await?["job"].clone();
            (job["state"] == "failed").then_some(job)
        })
        .await;
        let reason = failed["error"].as_str().unwrap();
        assert!(reason.contains("the song's file") && reason.contains("its decoder crashed"), "{reason}");
        assert!(cluster.process(0).wait(Duration::ZERO).is_none());
    }

    #[test]
    fn decoder_ends_with_its_parent() {
        let folder = TempDir::new().unwrap();
        let mut parent = Command::new(env!("CARGO_BIN_EXE_node"))
            .args(["separate", "-n", "spectral", "-o"])
            .args([folder.path(), &song(2, 74)])
            .env("FAILPOINTS", "decode.child=return(sleep)")
            .spawn()
            .unwrap();
        let until = |what: &str, found: &mut dyn FnMut() -> Option<Pid>| {
            let began = std::time::Instant::now();
            loop {
                if let Some(found) = found() {
                    return found;
                }
                assert!(began.elapsed() < harness::PATIENCE, "timeout while waiting for {what}");
                std::thread::yield_now();
            }
        };
        let children = || harness::children(parent.id()).into_iter();
        let child = until("a decoder's process", &mut || children().find(is_confined));
        parent.kill().unwrap();
        parent.wait().unwrap();
        let gone = || status(child, "State:").is_none_or(|state| state.starts_with('Z'));
        until("its end", &mut || gone().then_some(child));
    }

    #[tokio::test]
    async fn node_decodes_files_after_its_program_is_replaced() {
        let _permit = permits(1).await;
        let folder = TempDir::new_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        let program = folder.path().join("node");
        if std::fs::hard_link(env!("CARGO_BIN_EXE_node"), &program).is_err() {
            std::fs::copy(env!("CARGO_BIN_EXE_node"), &program).unwrap();
        }
        let cluster = Cluster::start_program(&program).await;
        std::fs::remove_file(&program).unwrap();
        std::fs::write(&program, "#!/bin/false\n").unwrap();
        cluster.upload(0, "Song", &song(2, 75)).await;
    }
}

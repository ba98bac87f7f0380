//! Further separations of a song, and web hooks, in a three-node cluster whose nodes are killed.

#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used)]

mod harness;

use std::process::Command;
use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::{Arc, Mutex};

use harness::{ALL, Cluster, permits, song, wait_for};
use reqwest::StatusCode;
use reqwest::multipart::{Form, Part};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

/// Requests one more separation of a song and waits until it is done.
async fn separate(cluster: &Cluster, node: u64, song: &Value, options: Value) -> Value {
    let job = wait_for("a separation", async || {
        let asked = cluster.client.post(cluster.url(node, &format!("/songs/{}/separate", song["id"])));
        let answer = asked.json(&options).send().await.ok()?;
        let status = answer.status();
        let body: Value = answer.json().await.ok()?;
        assert!(status.is_success() || status == StatusCode::SERVICE_UNAVAILABLE, "{status}: {body}");
        status.is_success().then(|| body["data"]["job"].clone())
    })
    .await;
    let path = format!("/jobs/{}", job["id"]);
    wait_for("the separation to be done", async || {
        let job = cluster.data(node, &path).await?["job"].clone();
        assert!(job["state"] != "failed", "{job}");
        (job["state"] == "done").then_some(job)
    })
    .await
}

async fn bytes(cluster: &Cluster, node: u64, path: &str) -> Vec<u8> {
    let answer = cluster.get(node, path).await.unwrap();
    assert_eq!(answer.status(), StatusCode::OK, "{path}");
    answer.bytes().await.unwrap().to_vec()
}

/// The samples of a WAV file of 32-bit floats.
fn samples(file: &[u8]) -> Vec<f32> {
    let data = file.windows(4).position(|four| four == b"data").unwrap() + 8;
    file[data..].chunks_exact(4).map(|four| f32::from_le_bytes(four.try_into().unwrap())).collect()
}

#[tokio::test]
async fn song_is_separated_into_other_formats_and_two_stems() {
    let _permit = permits(1).await;
    let cluster = Cluster::start(3, None, "[workers]\nslots = 1\n").await;
    let uploaded = cluster.upload(0, "Two halves", &song(6, 500)).await;
    cluster.wait_until_split(1, &uploaded).await;

    let whole = separate(&cluster, 1, &uploaded, json!({ "formats": ["wav:float32"] })).await;
    let two = separate(&cluster, 2, &uploaded, json!({ "formats": ["wav:float32"], "two_stems": "vocals" })).await;
    let some = separate(&cluster, 0, &uploaded, json!({ "formats": ["flac:16"], "stems": ["drums", "bass"] })).await;
    let parts = |listed: &Value, index: usize| -> Vec<String> {
        listed["separations"][index]["parts"].as_object().unwrap().keys().cloned().collect()
    };
    let id = &uploaded["id"];
    for node in 0..3 {
        let listed = cluster.data(node, &format!("/songs/{id}/separations")).await.unwrap();
        assert_eq!(parts(&listed, 2), ["no_vocals", "vocals"], "{listed}");
        assert_eq!(parts(&listed, 3), ["bass", "drums"], "{listed}");
    }

    // `no_vocals` is the sum of the other stems, and both separations have the same vocals.
    let of = async |job: &Value, stem: &str| {
        samples(&bytes(&cluster, 2, &format!("/songs/{id}/{stem}.wav?job={}", job["id"])).await)
    };
    let others = [of(&whole, "drums").await, of(&whole, "bass").await, of(&whole, "other").await];
    let rest = of(&two, "no_vocals").await;
    assert!(rest.len() > 6 * 88_000, "{}", rest.len());
    for (index, sample) in rest.iter().enumerate() {
        let sum: f32 = others.iter().map(|stem| stem[index]).sum();
        assert!((sum - sample).abs() < 1e-5, "{sum} and {sample} at {index}");
    }
    assert_eq!(of(&two, "vocals").await, of(&whole, "vocals").await);
    assert!(bytes(&cluster, 1, &format!("/songs/{id}/drums.flac?job={}", some["id"])).await.starts_with(b"fLaC"));

    // Every node serves all stems as one archive, which other programs can read.
    let archive = bytes(&cluster, 1, &format!("/songs/{id}/stems.zip?format=wav&job={}", two["id"])).await;
    let path = cluster.folder.path().join("stems.zip");
    std::fs::write(&path, archive).unwrap();
    let program = "import sys, zipfile\nz = zipfile.ZipFile(sys.argv[1])\nprint(z.testzip(), sorted(z.namelist()))";
    let output = Command::new("python3").args(["-c", program]).arg(&path).output().unwrap();
    assert_eq!(
        String::from_utf8(output.stdout).unwrap(),
        "None ['Two halves - no_vocals.wav', 'Two halves - vocals.wav']\n"
    );

    // Every node has the log lines of all workers.
    let log = cluster.data(2, &format!("/jobs/{}/log", two["id"])).await.unwrap();
    let lines: Vec<&str> =
        log["log"].as_array().unwrap().iter().map(|line| line["message"].as_str().unwrap()).collect();
    assert!(lines.iter().any(|line| line.starts_with("separated with spectral")), "{lines:?}");
    assert!(lines.iter().any(|line| line.starts_with("merged")), "{lines:?}");
    // Every node has the statistics.
    let series = cluster.data(0, "/stats/series?span=600&step=600").await.unwrap();
    let points = series["series"].as_array().unwrap();
    assert_eq!(points.iter().map(|point| point["finished"].as_u64().unwrap()).sum::<u64>(), 4, "{series}");
}

/// A request that a receiver of web hooks got.
#[derive(Debug, Clone)]
struct Received {
    head: String,
    body: String,
    /// The status of the response.
    status: u16,
}

impl Received {
    fn header(&self, name: &str) -> String {
        let line = self.head.lines().find(|line| line.to_lowercase().starts_with(&name.to_lowercase())).unwrap();
        line.split_once(": ").unwrap().1.trim().to_owned()
    }
}

/// A receiver of web hooks that responds with this status.
struct Receiver {
    port: u16,
    status: Arc<AtomicU16>,
    requests: Arc<Mutex<Vec<Received>>>,
}

impl Receiver {
    async fn start(status: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let (status, requests) = (Arc::new(AtomicU16::new(status)), Arc::new(Mutex::new(Vec::new())));
        let receiver = Self { port, status: Arc::clone(&status), requests: Arc::clone(&requests) };
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let (status, requests) = (Arc::clone(&status), Arc::clone(&requests));
                tokio::spawn(async move {
                    let mut bytes = Vec::new();
                    let (head, length) = loop {
                        let mut some = [0; 4096];
                        let read = stream.read(&mut some).await.unwrap();
                        assert!(read > 0, "the request ended early");
                        bytes.extend(&some[..read]);
                        let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") else { continue };
                        let head = String::from_utf8(bytes[..end].to_vec()).unwrap();
                        let length = head.to_lowercase().split_once("content-length: ").unwrap().1.to_owned();
                        let length: usize = length.lines().next().unwrap().parse().unwrap();
                        if bytes.len() >= end + 4 + length {
                            break (head, length);
                        }
                    };
                    let body = String::from_utf8(bytes[bytes.len() - length..].to_vec()).unwrap();
                    let status = status.load(Ordering::SeqCst);
                    requests.lock().unwrap().push(Received { head, body, status });
                    let answer = format!("HTTP/1.1 {status} Said\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
                    let _ = stream.write_all(answer.as_bytes()).await;
                });
            }
        });
        receiver
    }

    fn requests(&self) -> Vec<Received> {
        self.requests.lock().unwrap().clone()
    }
}

async fn ask(cluster: &Cluster, node: u64, cookie: &str, what: &str, body: &Value) -> Option<Value> {
    let (method, path) = what.split_once(' ').unwrap();
    let request = cluster.client.request(method.parse().unwrap(), cluster.url(node, path)).header("cookie", cookie);
    let request = if body.is_null() { request } else { request.json(body) };
    let answer = request.send().await.ok()?;
    answer.status().is_success().then_some(())?;
    answer.json().await.ok()
}

/// Creates the account of Ada, and returns the cookie of her session.
async fn ada(cluster: &Cluster) -> String {
    let password = "a password of Ada's";
    let fields = json!({ "username": "Ada", "password1": password, "password2": password });
    wait_for("an account", async || ask(cluster, 0, "", "POST /auth/register", &fields).await).await;
    let fields = json!({ "username": "Ada", "password": password });
    let answer = cluster.client.post(cluster.url(0, "/auth/login")).json(&fields).send().await.unwrap();
    answer.headers()["set-cookie"].to_str().unwrap().split(';').next().unwrap().to_owned()
}

/// Uploads a song of Ada, cancels its job, and returns the job's id.
async fn cancelled(cluster: &Cluster, cookie: &str, seed: u32) -> Value {
    let file = Part::bytes(std::fs::read(song(2, seed)).unwrap()).file_name("song.wav");
    let form = Form::new().text("title", "Für Ada").part("file", file);
    let request = cluster.client.post(cluster.url(2, "/songs/upload")).header("cookie", cookie).multipart(form);
    let body: Value = request.send().await.unwrap().json().await.unwrap();
    let job = body["data"]["song"]["job_id"].clone();
    ask(cluster, 2, cookie, &format!("POST /jobs/{job}/cancel"), &Value::Null).await.unwrap();
    job
}

#[tokio::test]
async fn web_hook_is_delivered_although_the_leader_dies_between_attempts() {
    let _permit = permits(ALL).await;
    let mut cluster = Cluster::start(3, None, "[workers]\nslots = 0\n[hooks]\nallow_private = true\n").await;
    let receiver = Receiver::start(500).await;
    let cookie = ada(&cluster).await;
    let hook = json!({ "url": format!("http://localhost:{}/ada", receiver.port) });
    let made = ask(&cluster, 1, &cookie, "POST /users/1/webhooks", &hook).await.unwrap();
    let secret = made["data"]["secret"].as_str().unwrap().to_owned();

    let job = cancelled(&cluster, &cookie, 510).await;

    // The first attempt fails and is committed. Then the leader is killed, and the receiver accepts deliveries.
    let delivery_at = async |cluster: &Cluster, node: u64| {
        let list = ask(cluster, node, &cookie, "GET /users/1/webhooks/1/deliveries", &Value::Null).await?;
        Some(list["data"]["deliveries"][0].clone())
    };
    let leader = cluster.leader(0).await;
    wait_for("a failed attempt", async || delivery_at(&cluster, 0).await.filter(|delivery| delivery["tried"] == 1))
        .await;
    cluster.kill(leader);
    receiver.status.store(204, Ordering::SeqCst);
    let other = (leader + 1) % 3;
    let delivery = wait_for("the delivery", async || {
        delivery_at(&cluster, other).await.filter(|delivery| delivery["state"] == "delivered")
    })
    .await;
    assert_eq!((&delivery["tries"][0]["status"], &delivery["event"]), (&json!(500), &json!("job.cancelled")));
    cluster.run(leader);
    cluster.wait_until_ready(leader).await;
    wait_for("the delivery at the restarted node", async || {
        delivery_at(&cluster, leader).await.filter(|delivery| delivery["state"] == "delivered")
    })
    .await;

    let requests = receiver.requests();
    assert_eq!(requests.iter().filter(|request| request.status == 204).count(), 1, "{requests:?}");
    let first = &requests[0];
    for request in &requests {
        assert_eq!(request.body, first.body);
        assert_eq!(
            (request.header("Quartet-Delivery"), request.header("Quartet-Event")),
            ("1".into(), "job.cancelled".into())
        );
        let body: Value = serde_json::from_str(&request.body).unwrap();
        assert_eq!((&body["job"]["id"], &body["songs"][0]["title"]), (&job, &json!("Für Ada")), "{body}");
        // The check of the signature by a receiver in Python.
        let program = "import hashlib, hmac, sys\n\
                       secret, stamp, body = (a.encode() for a in sys.argv[1:])\n\
                       print('sha256=' + hmac.new(secret, stamp + b'.' + body, hashlib.sha256).hexdigest())";
        let timestamp = request.header("Quartet-Timestamp");
        let output =
            Command::new("python3").args(["-c", program, &secret, &timestamp, &request.body]).output().unwrap();
        assert_eq!(String::from_utf8(output.stdout).unwrap().trim(), request.header("Quartet-Signature"));
    }
    // No log contains the secret.
    for node in 0..3 {
        assert!(!std::fs::read_to_string(cluster.log(node)).unwrap().contains(&secret));
    }
}

#[tokio::test]
async fn web_hooks_do_not_connect_to_private_addresses() {
    let _permit = permits(1).await;
    let cluster = Cluster::start(3, None, "[workers]\nslots = 0\n").await;
    let receiver = Receiver::start(204).await;
    let cookie = ada(&cluster).await;
    // The address behind a name is only known when the delivery is attempted.
    let hook = json!({ "url": format!("http://localhost:{}/", receiver.port) });
    ask(&cluster, 1, &cookie, "POST /users/1/webhooks", &hook).await.unwrap();
    cancelled(&cluster, &cookie, 511).await;
    let delivery = wait_for("an attempt", async || {
        let list = ask(&cluster, 0, &cookie, "GET /users/1/webhooks/1/deliveries", &Value::Null).await?;
        Some(list["data"]["deliveries"][0].clone()).filter(|delivery| delivery["tried"] == 1)
    })
    .await;
    assert!(delivery["tries"][0]["error"].as_str().unwrap().contains("not a public address"), "{delivery}");
    assert!(receiver.requests().is_empty());
}

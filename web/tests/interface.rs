//! The interface of a cluster of one, request by request, without a socket.

#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used)]

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::ConnectInfo;
use axum::http::{HeaderMap, Request, StatusCode};
use futures_util::StreamExt;
use raft::state::LEVEL;
use raft::{Cluster, ClusterConfig};
use serde_json::Value;
use storage::blobs::{Allowance, Blobs};
use storage::database::Database;
use storage::peer::{Peer, PeerConfig, Secret};
use storage::seal::Seal;
use storage::sharing::Sharing;
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;
use web::accounts::Accounts;
use web::api::cluster::{BrokerReport, NodeReport};

struct Alone;

impl web::Nodes for Alone {
    fn overview(&self) -> Vec<NodeReport> {
        vec![NodeReport {
            id: 0,
            http: "127.0.0.1:8080".into(),
            alive: true,
            heard_ms_ago: Some(0),
            leader: true,
            version: "0".into(),
            working_on: Vec::new(),
            slots: 0,
            stuck: 0,
            tasks_done: 0,
            blobs: 0,
            blob_bytes: 0,
            free_bytes: 0,
            quota_bytes: None,
            damaged: 0,
            short: 0,
            missing: 0,
            loops: Vec::new(),
        }]
    }

    fn broker(&self) -> BrokerReport {
        BrokerReport { configured: false, connected: false, queue: String::new(), ready: None, pending: 0, running: 0 }
    }
}

struct Node {
    router: Router,
    folder: TempDir,
    stopping: CancellationToken,
}

impl Node {
    /// A node without workers, so that songs stay as they were uploaded.
    async fn start() -> Self {
        Self::start_with(true, true).await
    }

    /// One that lets people in without an account or not, and in which anybody may register or not.
    async fn start_with(anonymous: bool, open: bool) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let secret = folder.path().join("secret");
        let members = BTreeMap::from([(0, "127.0.0.1:0".to_owned())]);
        let peer = Peer::bind(PeerConfig {
            id: 0,
            listen: "127.0.0.1:0".parse().unwrap(),
            members: members.clone(),
            secret: Secret::generate_if_missing(&secret).unwrap(),
            swift: tokio::runtime::Handle::current(),
        })
        .unwrap();
        let database = Database::open(&folder.path().join("database")).unwrap();
        let sharing = Sharing::start(Blobs::open(folder.path(), Allowance::default()).unwrap(), peer.clone());
        let cluster = Cluster::start(
            ClusterConfig {
                id: 0,
                members,
                data: folder.path().into(),
                heartbeat: Duration::from_millis(50),
                election: Duration::from_millis(100)..Duration::from_millis(200),
            },
            database,
            peer,
        )
        .await
        .unwrap();
        let level = async {
            while !cluster.read().await.unwrap().has_level(LEVEL).unwrap() {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(60), level).await.expect("the cluster's level");
        let cache = folder.path().join("cache");
        std::fs::create_dir(&cache).unwrap();
        let stopping = CancellationToken::new();
        let router = web::router(web::App {
            cluster,
            sharing,
            nodes: Arc::new(Alone),
            limits: web::Limits { max_upload_bytes: 1_000_000, max_seconds: 60, jobs_per_user: 2 },
            accounts: Accounts {
                anonymous,
                open,
                https: false,
                proxies: Vec::new(),
                seal: Seal::new(&Secret::read(&secret).unwrap(), "tokens").unwrap(),
            },
            outside: None,
            cache,
            model: "spectral".into(),
            max_attempts: 3,
            segments_per_task: 1,
            metrics: Arc::new(|| "quartet_number 1\n".into()),
            stopping: stopping.clone(),
        });
        Self { router, folder, stopping }
    }

    async fn ask(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: Vec<u8>,
    ) -> (StatusCode, HeaderMap, Vec<u8>) {
        let asker: SocketAddr = "203.0.113.7:5555".parse().unwrap();
        let mut request = Request::builder().method(method).uri(path).extension(ConnectInfo(asker));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let response = self.router.clone().oneshot(request.body(Body::from(body)).unwrap()).await.unwrap();
        let (head, body) = response.into_parts();
        let body = axum::body::to_bytes(body, usize::MAX).await.unwrap();
        (head.status, head.headers, body.to_vec())
    }

    async fn json(&self, method: &str, path: &str) -> (StatusCode, Value) {
        let (status, _, body) = self.ask(method, path, &[], Vec::new()).await;
        (status, serde_json::from_slice(&body).unwrap())
    }

    async fn upload(&self, name: &str, bytes: &[u8]) -> (StatusCode, Value) {
        let mut body = b"--b\r\nContent-Disposition: form-data; name=\"title\"\r\n\r\nBlue\r\n--b\r\n".to_vec();
        body.extend(format!("Content-Disposition: form-data; name=\"file\"; filename=\"{name}\"\r\n\r\n").bytes());
        body.extend(bytes);
        body.extend(b"\r\n--b--\r\n");
        let headers = [("content-type", "multipart/form-data; boundary=b")];
        let (status, _, body) = self.ask("POST", "/songs/upload", &headers, body).await;
        (status, serde_json::from_slice(&body).unwrap())
    }

    fn files(&self, below: &str) -> usize {
        std::fs::read_dir(self.folder.path().join(below)).unwrap().count()
    }
}

/// A second of a tone, as 16-bit mono.
fn wav() -> Vec<u8> {
    let samples = (0..44_100u32).map(|n| ((f64::from(n) * 0.05).sin() * 8000.0) as i16);
    let mut file = b"RIFF".to_vec();
    file.extend((36u32 + 88_200).to_le_bytes());
    file.extend(b"WAVEfmt ");
    for (value, size) in [(16u32, 4), (1, 2), (1, 2), (44_100, 4), (88_200, 4), (2, 2), (16, 2)] {
        file.extend(&value.to_le_bytes()[..size]);
    }
    file.extend(b"data");
    file.extend(88_200u32.to_le_bytes());
    file.extend(samples.flat_map(i16::to_le_bytes));
    file
}

#[tokio::test(flavor = "multi_thread")]
async fn a_song_comes_is_heard_and_goes() {
    let node = Node::start().await;
    let (status, body) = node.upload("blue.wav", &wav()).await;
    assert_eq!(status, StatusCode::OK, "{body}");
    let song = &body["data"]["song"];
    assert_eq!(song["title"], "Blue");
    assert_eq!(song["status"], "UPLOADED");
    assert_eq!(song["uploader_id"], Value::Null);
    assert_eq!(song["seconds"], 1.0);
    assert_eq!(song["parts"]["song"]["wav"], "/songs/1/song.wav");
    assert_eq!(song["hash"].as_str().unwrap().len(), 64);

    assert_eq!(node.json("GET", "/songs/1").await.1["data"]["song"], *song);
    assert_eq!(node.json("GET", "/songs").await.1["data"]["songs"][0], *song);
    assert_eq!(node.json("GET", "/songs/?before=1").await.1["data"]["songs"], serde_json::json!([]));
    let (_, job) = node.json("GET", &format!("/jobs/{}", song["job_id"])).await;
    assert_eq!(job["data"]["job"]["tasks"][0]["state"], "pending");
    assert_eq!(job["data"]["job"]["tasks_done"], 0);
    assert_eq!(node.json("GET", "/jobs").await.1["data"]["jobs"][0]["state"], "pending");

    // The original comes as it was uploaded, whole and in ranges.
    let (status, headers, body) = node.ask("GET", "/songs/1/song.wav", &[], Vec::new()).await;
    assert_eq!((status, &body), (StatusCode::OK, &wav()));
    assert_eq!(headers["content-type"], "audio/wav");
    assert_eq!(headers["etag"], format!("\"{}\"", song["hash"].as_str().unwrap()));
    let etag = headers["etag"].to_str().unwrap();
    for (condition, status, length) in [
        (vec![("range", "bytes=10-19")], 206, 10),
        (vec![("range", "bytes=10-19"), ("if-range", etag)], 206, 10),
        (vec![("range", "bytes=10-19"), ("if-range", "\"other\"")], 200, wav().len()),
        (vec![("range", "bytes=10-19,30-39")], 200, wav().len()),
        (vec![("range", "bytes=999999-")], 416, 0),
        (vec![("if-none-match", etag)], 304, 0),
    ] {
        let (found, _, body) = node.ask("GET", "/songs/1/song.wav", &condition, Vec::new()).await;
        assert_eq!((found.as_u16(), body.len()), (status, length), "{condition:?}");
    }
    let (status, headers, body) = node.ask("HEAD", "/songs/1/song.wav", &[], Vec::new()).await;
    assert_eq!((status, headers["content-length"].to_str().unwrap(), body.len()), (StatusCode::OK, "88244", 0));
    // The other format is made.
    let (status, headers, _) = node.ask("GET", "/songs/1/song.mp3?download=1", &[], Vec::new()).await;
    assert_eq!((status, headers["content-type"].to_str().unwrap()), (StatusCode::OK, "audio/mpeg"));
    assert!(headers["content-disposition"].to_str().unwrap().starts_with("attachment; filename=\"Blue.mp3\""));
    assert_eq!(node.files("cache"), 1);

    // Stems are not there yet.
    for (path, code) in [("drums.mp3", "not_split"), ("mix.mp3", "not_split"), ("kazoo.mp3", "no_such_part")] {
        let (status, body) = node.json("GET", &format!("/songs/1/{path}")).await;
        assert_eq!((status.as_u16(), body["errors"][0]["code"].as_str().unwrap()), (404, code), "{path}");
    }

    assert_eq!(node.json("POST", "/jobs/1/cancel").await.1["data"]["job"]["state"], "cancelled");
    assert_eq!(node.json("POST", "/jobs/1/cancel").await.0, StatusCode::CONFLICT);
    assert_eq!(node.json("GET", "/songs/1").await.1["data"]["song"]["status"], "CANCELLED");
    assert_eq!(node.json("POST", "/jobs/1/retry").await.1["data"]["job"]["state"], "pending");

    assert_eq!(node.json("DELETE", "/songs/1").await.0, StatusCode::OK);
    for path in ["/songs/1", "/songs/1/song.wav", "/jobs/1"] {
        assert_eq!(node.json("GET", path).await.0, StatusCode::NOT_FOUND, "{path}");
    }
    assert_eq!(node.json("DELETE", "/songs/1").await.0, StatusCode::NOT_FOUND);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_is_as_urgent_as_it_is_made() {
    let node = Node::start().await;
    assert_eq!(node.upload("blue.wav", &wav()).await.0, StatusCode::OK);
    assert_eq!(node.json("GET", "/jobs/1").await.1["data"]["job"]["priority"], "normal");
    let json = [("content-type", "application/json")];
    for (body, status) in [
        (r#"{"priority": "high"}"#, 200),
        (r#"{"priority": "now"}"#, 400),
        (r#"{"priority": ""}"#, 400),
        (r#"{"priority": "low", "owner": "me"}"#, 400),
        ("{", 400),
    ] {
        let (found, _, answer) = node.ask("PATCH", "/jobs/1", &json, body.into()).await;
        let answer: Value = serde_json::from_slice(&answer).unwrap();
        assert_eq!(found.as_u16(), status, "{body}: {answer}");
        let message = answer["errors"][0]["message"].as_str();
        assert!(status == 200 || message.is_some_and(|message| message.contains("high")), "{body}: {answer}");
        assert_eq!(node.json("GET", "/jobs/1").await.1["data"]["job"]["priority"], "high");
    }
    assert_eq!(node.ask("PATCH", "/jobs/9", &json, r#"{"priority": "low"}"#.into()).await.0, StatusCode::NOT_FOUND);
    assert_eq!(node.json("POST", "/jobs/1/cancel").await.0, StatusCode::OK);
    assert_eq!(node.ask("PATCH", "/jobs/1", &json, r#"{"priority": "low"}"#.into()).await.0, StatusCode::CONFLICT);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_user_has_so_many_open_jobs_and_no_more() {
    let node = Node::start().await;
    let songs = [0, 1, 2].map(|extra| [wav(), vec![0; extra]].concat());
    for song in &songs[..2] {
        assert_eq!(node.upload("blue.wav", song).await.0, StatusCode::OK);
    }
    let (status, body) = node.upload("blue.wav", &songs[2]).await;
    assert_eq!(status, StatusCode::TOO_MANY_REQUESTS, "{body}");
    assert_eq!(body["errors"][0]["code"], "too_many_jobs");
    assert!(body["errors"][0]["message"].as_str().unwrap().contains("cancel one"), "{body}");
    // What is there already costs nothing.
    assert_eq!(node.upload("blue.wav", &songs[0]).await.0, StatusCode::OK);
    // An ended job makes room, and must have room to be tried again.
    assert_eq!(node.json("POST", "/jobs/1/cancel").await.0, StatusCode::OK);
    assert_eq!(node.upload("blue.wav", &songs[2]).await.0, StatusCode::OK);
    assert_eq!(node.json("POST", "/jobs/1/retry").await.0, StatusCode::TOO_MANY_REQUESTS);

    // Trying again what another job does by now is answered with that job.
    assert_eq!(node.json("POST", "/jobs/2/cancel").await.0, StatusCode::OK);
    let (_, body) = node.upload("blue.wav", &songs[0]).await;
    let other = body["data"]["song"]["job_id"].clone();
    assert_ne!(other, 1);
    assert_eq!(node.json("POST", "/jobs/1/retry").await.1["data"]["job"]["id"], other);
    assert_eq!(node.json("GET", "/songs/1").await.1["data"]["song"]["job_id"], other);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_refused_says_why_and_leaves_nothing() {
    let node = Node::start().await;
    let (status, body) = node.upload("letter.mp3", &b"This is a letter. ".repeat(500)).await;
    assert_eq!(status, StatusCode::UNSUPPORTED_MEDIA_TYPE, "{body}");
    assert_eq!(node.upload("a.wav", b"").await.0, StatusCode::UNPROCESSABLE_ENTITY);
    assert_eq!(node.upload("a.wav", &vec![0; 1_000_001]).await.0, StatusCode::PAYLOAD_TOO_LARGE);
    assert_eq!((node.files("staging"), node.files("blobs")), (0, 0));

    for (method, path, status) in [
        ("GET", "/nowhere", 404),
        ("GET", "/songs/none", 404),
        ("GET", "/songs/1", 404),
        ("GET", "/songs/1/drums.mp3", 404),
        ("GET", "/songs/upload", 405),
        ("GET", "/jobs/1/events", 404),
        ("GET", "/songs/?limit=many", 400),
        ("PUT", "/songs/1", 405),
        ("POST", "/cluster", 405),
        ("POST", "/", 405),
    ] {
        let (found, body) = node.json(method, path).await;
        assert_eq!(found.as_u16(), status, "{method} {path}");
        assert_eq!(body["ok"], false);
        assert_eq!(body["data"], Value::Null);
        assert!(body["errors"][0]["message"].as_str().unwrap().len() > 20, "{body}");
    }

    let headers = [("sec-fetch-site", "cross-site")];
    assert_eq!(node.ask("DELETE", "/songs/1", &headers, Vec::new()).await.0, StatusCode::FORBIDDEN);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_tells_how_it_is() {
    let node = Node::start().await;
    for path in ["/healthz", "/readyz"] {
        assert_eq!(node.json("GET", path).await.0, StatusCode::OK, "{path}");
    }
    let (_, cluster) = node.json("GET", "/cluster").await;
    assert_eq!(cluster["data"]["leader"], 0);
    assert_eq!(cluster["data"]["health"], "good");
    assert_eq!(cluster["data"]["members"], serde_json::json!([0]));
    let (status, _, numbers) = node.ask("GET", "/metrics", &[], Vec::new()).await;
    assert_eq!((status, numbers.as_slice()), (StatusCode::OK, b"quartet_number 1\n".as_slice()));
    let (status, headers, page) = node.ask("GET", "/", &[("x-request-id", "mine")], Vec::new()).await;
    assert_eq!(status, StatusCode::OK);
    assert_eq!(headers["x-request-id"], "mine");
    assert_eq!(headers["x-content-type-options"], "nosniff");
    assert!(headers["content-security-policy"].to_str().unwrap().contains("default-src 'none'"));
    assert!(String::from_utf8(page).unwrap().contains("<title>Quartet</title>"));
    node.stopping.cancel();
    assert_eq!(node.json("GET", "/readyz").await.0, StatusCode::SERVICE_UNAVAILABLE);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_jobs_events_end_with_the_job() {
    let node = Node::start().await;
    assert_eq!(node.upload("blue.wav", &wav()).await.0, StatusCode::OK);
    let request = Request::get("/jobs/1/events").body(Body::empty()).unwrap();
    let response = node.router.clone().oneshot(request).await.unwrap();
    assert_eq!(response.headers()["content-type"], "text/event-stream");
    let mut stream = response.into_body().into_data_stream();
    let mut text = String::new();
    while !text.contains("\"state\":\"pending\"") {
        text.push_str(std::str::from_utf8(&stream.next().await.unwrap().unwrap()).unwrap());
    }
    assert_eq!(node.json("POST", "/jobs/1/cancel").await.0, StatusCode::OK);
    while let Some(chunk) = stream.next().await {
        text.push_str(std::str::from_utf8(&chunk.unwrap()).unwrap());
    }
    assert!(text.contains("\"state\":\"cancelled\""), "{text}");

    // An open stream ends when the node stops.
    let request = Request::get("/events").body(Body::empty()).unwrap();
    let response = node.router.clone().oneshot(request).await.unwrap();
    let mut stream = response.into_body().into_data_stream();
    stream.next().await.unwrap().unwrap();
    node.stopping.cancel();
    let ended = tokio::time::timeout(Duration::from_secs(5), async { while stream.next().await.is_some() {} });
    ended.await.unwrap();
}

//! A cluster of one node, whose router is called without a socket.

#![allow(dead_code, clippy::unwrap_used, clippy::expect_used)]

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use audio::sandbox::Sandbox;
use axum::Router;
use axum::body::Body;
use axum::extract::ConnectInfo;
use axum::http::{HeaderMap, Request, StatusCode};
use live::{Live, NodeReport};
use net::secret_box::SecretBox;
use net::{Peer, PeerConfig, Secret};
use raft::{Cluster, ClusterConfig};
use replication::Replication;
use serde_json::Value;
use state::command::{Answer, ClaimTask, FinishTask};
use state::{FEATURE_LEVEL, LogLevel, LogLine, Model, Output, Stems, TaskId};
use storage::blobs::{Blobs, Hash, Quota};
use storage::database::Database;
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;
use web::auth::accounts::Accounts;

/// The node.
pub(crate) struct Node {
    pub router: Router,
    pub cluster: Cluster,
    pub replication: Replication,
    folder: TempDir,
    pub stopping: CancellationToken,
}

impl Node {
    /// A node that anonymous callers may use and where everybody may register. It has no workers, so jobs stay pending.
    pub(crate) async fn start() -> Self {
        Self::start_with(true, true).await
    }

    /// A node where anonymous use and registration are as given.
    pub(crate) async fn start_with(anonymous: bool, open: bool) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let secret = folder.path().join("secret");
        let members = BTreeMap::from([(0, "127.0.0.1:0".to_owned())]);
        let peer = Peer::bind(PeerConfig {
            id: 0,
            listen: "127.0.0.1:0".parse().unwrap(),
            members: members.clone(),
            secret: Secret::generate_if_missing(&secret).unwrap(),
            consensus_runtime: None,
        })
        .unwrap();
        let database = Database::open(&folder.path().join("database")).unwrap();
        let replication = Replication::start(Blobs::open(folder.path(), Quota::default()).unwrap(), peer.clone());
        let live = Live::start(peer.clone(), BTreeMap::new());
        live.publish(NodeReport { version: "0".into(), http: "127.0.0.1:8080".into(), ..NodeReport::default() }).await;
        let cluster = Cluster::start(
            ClusterConfig {
                id: 0,
                feature_level: FEATURE_LEVEL,
                members,
                data: folder.path().into(),
                heartbeat: Duration::from_millis(50),
                election: Duration::from_millis(100)..Duration::from_millis(200),
            },
            database,
            peer.clone(),
        )
        .await
        .unwrap();
        let level = async {
            while !cluster.read().await.unwrap().has_level(FEATURE_LEVEL).unwrap() {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(120), level).await.expect("the cluster's level");
        let cache = folder.path().join("cache");
        std::fs::create_dir(&cache).unwrap();
        let stopping = CancellationToken::new();
        let router = web::router(web::App {
            cluster: cluster.clone(),
            replication: replication.clone(),
            live,
            broker: None,
            sandbox: Sandbox::none(),
            limits: web::Limits { max_upload_bytes: 1_000_000, max_seconds: 60, jobs_per_user: 2 },
            accounts: Accounts {
                anonymous,
                open,
                https: false,
                proxies: Vec::new(),
                seal: SecretBox::new(&Secret::read(&secret).unwrap(), "tokens").unwrap(),
            },
            webhooks: web::webhook_url::Webhooks {
                seal: SecretBox::new(&Secret::read(&secret).unwrap(), "web hooks").unwrap(),
                allow_private: false,
            },
            external_workers: None,
            cache_folder: cache,
            built_in_models: vec![spectral()],
            segments: |model, frames| u32::try_from(frames.div_ceil(model.stride)).unwrap(),
            facts: |_| Box::default(),
            default_model: "spectral".into(),
            max_attempts: 3,
            segments_per_task: 1,
            metrics: Arc::new(|| "quartet_number 1\n".into()),
            stopping: stopping.clone(),
        });
        Self { router, cluster, replication, folder, stopping }
    }

    pub(crate) async fn ask(
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

    pub(crate) async fn json(&self, method: &str, path: &str) -> (StatusCode, Value) {
        let (status, _, body) = self.ask(method, path, &[], Vec::new()).await;
        (status, serde_json::from_slice(&body).unwrap())
    }

    /// A request with a cookie, and with a JSON body unless it is null.
    pub(crate) async fn json_as(&self, cookie: &str, method: &str, path: &str, body: &Value) -> (StatusCode, Value) {
        let headers = [("cookie", cookie), ("content-type", "application/json")];
        let body = if body.is_null() { Vec::new() } else { body.to_string().into_bytes() };
        let (status, _, body) = self.ask(method, path, &headers, body).await;
        (status, serde_json::from_slice(&body).unwrap_or_default())
    }

    /// Registers a user, whose password is derived from the name.
    pub(crate) async fn register(&self, name: &str) -> (StatusCode, Value) {
        let password = format!("{name}'s password");
        let fields = serde_json::json!({ "username": name, "password1": password, "password2": password });
        self.json_as("", "POST", "/auth/register", &fields).await
    }

    /// Logs in and returns the cookie.
    pub(crate) async fn login(&self, name: &str) -> String {
        self.login_with(name, &format!("{name}'s password")).await.unwrap()
    }

    pub(crate) async fn login_with(&self, name: &str, password: &str) -> Result<String, StatusCode> {
        let fields = serde_json::json!({ "username": name, "password": password }).to_string();
        let json = [("content-type", "application/json")];
        let (status, headers, _) = self.ask("POST", "/auth/login", &json, fields.into_bytes()).await;
        match status {
            StatusCode::OK => Ok(headers["set-cookie"].to_str().unwrap().split(';').next().unwrap().to_owned()),
            other => Err(other),
        }
    }

    /// The stream of events for a caller.
    pub(crate) async fn events(&self, cookie: &str) -> axum::body::BodyDataStream {
        let request = Request::get("/events").header("cookie", cookie).body(Body::empty()).unwrap();
        self.router.clone().oneshot(request).await.unwrap().into_body().into_data_stream()
    }

    pub(crate) async fn upload(&self, name: &str, bytes: &[u8]) -> (StatusCode, Value) {
        self.upload_as("", name, bytes).await
    }

    pub(crate) async fn upload_as(&self, cookie: &str, name: &str, bytes: &[u8]) -> (StatusCode, Value) {
        let mut body = b"--b\r\nContent-Disposition: form-data; name=\"title\"\r\n\r\nBlue\r\n--b\r\n".to_vec();
        body.extend(format!("Content-Disposition: form-data; name=\"file\"; filename=\"{name}\"\r\n\r\n").bytes());
        body.extend(bytes);
        body.extend(b"\r\n--b--\r\n");
        let headers = [("content-type", "multipart/form-data; boundary=b"), ("cookie", cookie)];
        let (status, _, body) = self.ask("POST", "/songs/upload", &headers, body).await;
        (status, serde_json::from_slice(&body).unwrap())
    }

    pub(crate) fn files(&self, below: &str) -> usize {
        std::fs::read_dir(self.folder.path().join(below)).unwrap().count()
    }
}

/// The built-in model.
fn spectral() -> Model {
    Model {
        name: "spectral".into(),
        files: Vec::new(),
        weights: None,
        sources: ["drums", "bass", "other", "vocals"].map(str::to_owned).into(),
        segment: 1 << 19,
        stride: 3 << 17,
        added_at: 0,
    }
}

/// A second of a tone, as 16-bit mono.
pub(crate) fn wav() -> Vec<u8> {
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

/// Claims a task for node 3 at this time.
pub(crate) async fn claim(node: &Node, job: u64, index: u32, attempt: u32, at: u64) {
    let claim = ClaimTask { task: TaskId { job, index }, attempt, node: 3, at };
    assert!(matches!(node.cluster.propose(claim).await.unwrap(), Ok(Answer::Claimed(_))));
}

/// Finishes the first attempt at a task.
pub(crate) async fn finish(node: &Node, job: u64, index: u32, output: Output, at: u64) {
    let line = LogLine { at, level: LogLevel::Info, message: format!("task {index} is done") };
    let (task, lines) = (TaskId { job, index }, vec![line]);
    let finish = FinishTask { task, attempt: 1, node: 3, output, lines, at };
    node.cluster.propose(finish).await.unwrap().unwrap();
}

/// Finishes a job of one segment. Each stem is this file.
pub(crate) async fn work(node: &Node, job: u64, stems: &[&str], file: &[u8], at: u64) {
    let mut staged = node.replication.blobs().stage(file.len() as u64).await.unwrap();
    staged.write(file).await.unwrap();
    let (hash, _) = staged.commit().await.unwrap();
    claim(node, job, 0, 1, at).await;
    finish(node, job, 0, Output::Part(Hash::of(b"part")), at + 1000).await;
    claim(node, job, 1, 1, at + 1000).await;
    let files = stems.iter().map(|stem| ((*stem).to_owned(), BTreeMap::from([("wav".to_owned(), hash)]))).collect();
    finish(node, job, 1, Output::Stems(Stems { files, facts: None, peaks: None }), at + 3000).await;
}

/// An endpoint of the description.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Endpoint {
    pub(crate) method: String,
    pub(crate) path: String,
    /// The callers who have access, as declared beside the route.
    pub(crate) access: String,
}

/// All endpoints: those of the description, lists also without the slash at the end, and the OpenSubsonic protocol.
///
/// The endpoints of the description are those of the router, because both follow from one list. Only the router's own
/// file can add others; a test counts those.
pub(crate) async fn endpoints(node: &Node) -> BTreeSet<Endpoint> {
    let document = node.json("GET", "/api/openapi.json").await.1;
    let mut found = BTreeSet::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            let access = operation["x-access"].as_str().unwrap().to_owned();
            let endpoint = Endpoint { method: method.to_uppercase(), path: path.clone(), access };
            if let Some(path) = path.strip_suffix('/') {
                found.insert(Endpoint { path: path.to_owned(), ..endpoint.clone() });
            }
            found.insert(endpoint);
        }
    }
    for method in ["GET", "POST"] {
        let (method, path, access) = (method.into(), "/rest/{method}".into(), "protocol".into());
        found.insert(Endpoint { method, path, access });
    }
    found
}

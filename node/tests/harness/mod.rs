//! Real nodes and a real RabbitMQ for the end-to-end tests: processes on free loopback ports, ended by their pids.
//!
//! Tests wait for conditions with a generous time limit, never for a fixed time. A failing test prints the logs of its
//! nodes.

#![allow(dead_code, clippy::unwrap_used, clippy::expect_used)]

pub(crate) mod crafted;

use std::collections::BTreeMap;
use std::fs::File;
use std::net::{TcpListener, UdpSocket};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{LazyLock, Mutex, OnceLock};
use std::time::{Duration, Instant};

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use reqwest::multipart::{Form, Part};
use reqwest::{Client, Response, StatusCode};
use serde_json::Value;
use tempfile::TempDir;
use tokio::sync::{Semaphore, SemaphorePermit};

/// The time limit of every wait.
pub(crate) const PATIENCE: Duration = Duration::from_secs(300);

/// The number of permits for a test that must not share the machine with other tests of its binary, because it measures a
/// failover or kills nodes under time pressure.
pub(crate) const ALL: u32 = u32::MAX;

/// Waits for this many permits to run an end-to-end test, at most for all of them. There are half as many permits as
/// processors, but at least two: a test starts several processes, which share the processors with other tests.
pub(crate) async fn permits(count: u32) -> SemaphorePermit<'static> {
    static TOTAL: LazyLock<u32> = LazyLock::new(|| {
        let processors = std::thread::available_parallelism().map_or(1, usize::from);
        u32::try_from(processors / 2).unwrap().max(2)
    });
    static PERMITS: LazyLock<Semaphore> = LazyLock::new(|| Semaphore::new(*TOTAL as usize));
    PERMITS.acquire_many(count.min(*TOTAL)).await.unwrap()
}

/// Waits until `condition` returns a value. `what` names it in the message of a timeout.
pub(crate) async fn wait_for<T>(what: &str, mut condition: impl AsyncFnMut() -> Option<T>) -> T {
    let began = Instant::now();
    loop {
        if let Some(value) = condition().await {
            return value;
        }
        assert!(began.elapsed() < PATIENCE, "timeout while waiting for {what}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// Installs the TLS implementation that HTTP clients need.
pub(crate) fn install_crypto_provider() {
    // It fails if another test has installed it already.
    let _ = tokio_rustls::rustls::crypto::ring::default_provider().install_default();
}

/// Writes a new certificate for `name`, its key, and the certificate of a new authority that signed it. Returns the
/// authority's certificate in PEM format.
pub(crate) fn write_certificates(folder: &Path, name: &str) -> String {
    let authority_key = KeyPair::generate().unwrap();
    let mut authority = CertificateParams::default();
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let root = authority.self_signed(&authority_key).unwrap();
    let key = KeyPair::generate().unwrap();
    let leaf = CertificateParams::new(vec![name.to_owned()]).unwrap();
    let certificate = leaf.signed_by(&key, &Issuer::new(authority, authority_key)).unwrap();
    std::fs::write(folder.join("certificate.pem"), certificate.pem()).unwrap();
    std::fs::write(folder.join("key.pem"), key.serialize_pem()).unwrap();
    std::fs::write(folder.join("authority.pem"), root.pem()).unwrap();
    root.pem()
}

/// Long election timeouts, so that a busy machine does not cause elections.
const CONSENSUS: &str = "[consensus]\nheartbeat_ms = 100\nelection_min_ms = 1000\nelection_max_ms = 2000\n";

/// A port that stays reserved while this process runs, also while a node is down. Ports are reserved by file locks, as in
/// the scripts, and are below the range of ephemeral ports.
pub(crate) fn free_port() -> u16 {
    const FROM: u32 = 20_000;
    const COUNT: u32 = 12_000;
    static CALLS: AtomicU32 = AtomicU32::new(0);
    static RESERVED: Mutex<Vec<File>> = Mutex::new(Vec::new());
    let cache = std::env::var_os("XDG_CACHE_HOME")
        .filter(|cache| !cache.is_empty())
        .map_or_else(|| PathBuf::from(std::env::var_os("HOME").unwrap_or_default()).join(".cache"), PathBuf::from);
    let folder = cache.join("quartet/ports");
    std::fs::create_dir_all(&folder).unwrap();
    loop {
        // Each process starts at another port.
        let place = std::process::id().wrapping_mul(101).wrapping_add(CALLS.fetch_add(1, Ordering::Relaxed));
        let port = u16::try_from(FROM + place % COUNT).unwrap();
        let lock = File::create(folder.join(port.to_string())).unwrap();
        let free = lock.try_lock().is_ok()
            && TcpListener::bind(("127.0.0.1", port)).is_ok()
            && UdpSocket::bind(("127.0.0.1", port)).is_ok();
        if free {
            RESERVED.lock().unwrap().push(lock);
            return port;
        }
    }
}

/// A generated song of `seconds`, created once per length and seed.
pub(crate) fn song(seconds: u32, seed: u32) -> PathBuf {
    static FOLDER: OnceLock<TempDir> = OnceLock::new();
    let folder = FOLDER.get_or_init(|| TempDir::new().unwrap()).path().join(format!("{seconds}-{seed}"));
    let song = folder.join("song.wav");
    if !song.exists() {
        let made = Command::new(env!("CARGO_BIN_EXE_node"))
            .args(["synthesize", "--seconds", &seconds.to_string(), "--seed", &seed.to_string(), "--out"])
            .arg(&folder)
            .status()
            .unwrap();
        assert!(made.success());
    }
    song
}

/// A process that is killed on drop.
pub(crate) struct Process(Child);

impl Process {
    /// Starts `node` with these arguments and this value of QUARTET_LOG. Its output goes to `log`.
    pub(crate) fn node<'a>(args: impl IntoIterator<Item = &'a str>, filter: &str, log: &Path) -> Self {
        let log = File::options().create(true).append(true).open(log).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_node"));
        command.args(args).env("QUARTET_LOG", filter).stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log);
        Self(command.spawn().unwrap())
    }

    /// Starts a program that scripts/test installs. Its output goes to `log`.
    pub(crate) fn program<'a>(name: &str, args: impl IntoIterator<Item = &'a str>, log: &Path) -> Self {
        let log = File::options().create(true).append(true).open(log).unwrap();
        let mut command = Command::new(name);
        command.args(args).stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log);
        Self(command.spawn().unwrap_or_else(|error| panic!("{name}: {error}; scripts/test installs it")))
    }

    pub(crate) fn kill(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }

    pub(crate) fn id(&self) -> u32 {
        self.0.id()
    }

    pub(crate) fn terminate(&mut self) {
        self.signal(rustix::process::Signal::TERM);
    }

    pub(crate) fn signal(&mut self, signal: rustix::process::Signal) {
        rustix::process::kill_process(rustix::process::Pid::from_child(&self.0), signal).unwrap();
    }

    pub(crate) fn wait(&mut self, bound: Duration) -> Option<std::process::ExitStatus> {
        let began = Instant::now();
        while began.elapsed() < bound {
            if let Some(status) = self.0.try_wait().unwrap() {
                return Some(status);
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        None
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}

/// The child processes of `parent`, including those that have ended but were not waited for.
pub(crate) fn children(parent: u32) -> Vec<rustix::process::Pid> {
    let of_parent = |pid: &i32| {
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
        status.lines().any(|line| line.strip_prefix("PPid:").is_some_and(|pid| pid.trim() == parent.to_string()))
    };
    let pids = std::fs::read_dir("/proc").unwrap().filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
    pids.filter(of_parent).filter_map(rustix::process::Pid::from_raw).collect()
}

/// The password of the broker's only user.
pub(crate) const BROKER_PASSWORD: &str = "word-of-the-broker";

/// A RabbitMQ server on the loopback, with and without TLS. Its certificate is only valid for "localhost".
pub(crate) struct Broker {
    pub folder: TempDir,
    port: u16,
    tls: u16,
    distribution: u16,
    epmd: u16,
    server: Option<Process>,
}

impl Broker {
    pub(crate) async fn start() -> Self {
        let folder = TempDir::with_prefix("quartet-rabbit").unwrap();
        write_certificates(folder.path(), "localhost");
        let (port, tls, distribution, epmd) = (free_port(), free_port(), free_port(), free_port());
        let mut broker = Self { folder, port, tls, distribution, epmd, server: None };
        broker.run().await;
        broker
    }

    pub(crate) fn url(&self) -> String {
        self.url_of("amqp", "127.0.0.1", self.port)
    }

    /// The address with TLS, for which the certificate is valid.
    pub(crate) fn tls_url(&self) -> String {
        self.url_of("amqps", "localhost", self.tls)
    }

    /// Addresses that fail: a name that is not in the certificate, TLS on the port without TLS, and no TLS on the port with
    /// TLS.
    pub(crate) fn wrong_urls(&self) -> [String; 3] {
        [("amqps", "127.0.0.1", self.tls), ("amqps", "localhost", self.port), ("amqp", "localhost", self.tls)]
            .map(|(scheme, host, port)| self.url_of(scheme, host, port))
    }

    fn url_of(&self, scheme: &str, host: &str, port: u16) -> String {
        format!("{scheme}://guest:{BROKER_PASSWORD}@{host}:{port}/%2f")
    }

    /// Starts the server with an empty data folder.
    pub(crate) async fn run(&mut self) {
        let at = self.folder.path();
        let _ = std::fs::remove_dir_all(at.join("mnesia"));
        for folder in ["mnesia", "log"] {
            std::fs::create_dir_all(at.join(folder)).unwrap();
        }
        let settings = format!(
            "listeners.tcp.1 = 127.0.0.1:{}\nlisteners.ssl.1 = 127.0.0.1:{}\nssl_options.certfile = {2}/certificate.pem\n\
             ssl_options.keyfile = {2}/key.pem\ndefault_pass = {BROKER_PASSWORD}\n",
            self.port,
            self.tls,
            at.display()
        );
        std::fs::write(at.join("rabbitmq.conf"), settings).unwrap();
        std::fs::write(at.join("plugins"), "[].\n").unwrap();
        let cookie = at.join(".erlang.cookie");
        if !cookie.exists() {
            std::fs::write(&cookie, "QUARTETQUARTETQUARTET").unwrap();
            std::fs::set_permissions(&cookie, std::fs::Permissions::from_mode(0o400)).unwrap();
        }
        let log = File::create(at.join("out")).unwrap();
        let server = Command::new("/usr/lib/rabbitmq/bin/rabbitmq-server")
            .env("HOME", at)
            .env("RABBITMQ_NODENAME", format!("quartet-{}@localhost", self.port))
            .env("RABBITMQ_DIST_PORT", self.distribution.to_string())
            .env("ERL_EPMD_PORT", self.epmd.to_string())
            .env("ERL_EPMD_ADDRESS", "127.0.0.1")
            .env("RABBITMQ_MNESIA_BASE", at.join("mnesia"))
            .env("RABBITMQ_LOG_BASE", at.join("log"))
            .env("RABBITMQ_ENABLED_PLUGINS_FILE", at.join("plugins"))
            .env("RABBITMQ_CONFIG_FILE", at.join("rabbitmq"))
            .env("RABBITMQ_CONF_ENV_FILE", "/dev/null")
            .env("RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS", "-kernel inet_dist_use_interface {127,0,0,1}")
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .expect("rabbitmq-server is not installed; scripts/test installs it");
        self.server = Some(Process(server));
        for port in [self.port, self.tls] {
            wait_for("RabbitMQ", async || tokio::net::TcpStream::connect(("127.0.0.1", port)).await.ok()).await;
        }
    }

    /// Kills the server: the launcher and the Erlang VM. Returns when all its processes have ended.
    pub(crate) fn kill(&mut self) {
        let began = Instant::now();
        loop {
            let pids = self.pids();
            for pid in &pids {
                if let Some(pid) = rustix::process::Pid::from_raw(*pid) {
                    let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
                }
            }
            self.server = None;
            if pids.is_empty() || began.elapsed() > PATIENCE {
                return;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// The processes whose environment names this broker's folder.
    fn pids(&self) -> Vec<i32> {
        let mark = format!("HOME={}", self.folder.path().display());
        std::fs::read_dir("/proc")
            .unwrap()
            .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
            .filter(|pid| {
                std::fs::read(format!("/proc/{pid}/environ"))
                    .is_ok_and(|environment| environment.split(|byte| *byte == 0).any(|pair| pair == mark.as_bytes()))
            })
            .collect()
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        self.kill();
    }
}

fn form(title: &str, bytes: Vec<u8>, name: &str) -> Form {
    Form::new().text("title", title.to_owned()).part("file", Part::bytes(bytes).file_name(name.to_owned()))
}

/// The nodes of one cluster.
pub(crate) struct Cluster {
    pub folder: TempDir,
    pub http: BTreeMap<u64, String>,
    nodes: BTreeMap<u64, Process>,
    environment: Vec<(&'static str, &'static str)>,
    program: PathBuf,
    pub client: Client,
}

impl Cluster {
    /// Starts `count` nodes and waits until all are ready. `more` is appended to cluster.toml.
    pub(crate) async fn start(count: u64, broker: Option<&Broker>, more: &str) -> Self {
        Self::start_with(count, broker, more, &[]).await
    }

    /// Like [`Self::start`], with environment variables for the nodes.
    pub(crate) async fn start_with(
        count: u64,
        broker: Option<&Broker>,
        more: &str,
        environment: &[(&'static str, &'static str)],
    ) -> Self {
        let folder = TempDir::with_prefix("quartet-e2e").unwrap();
        let mut text = String::from("secret_file = \"secret\"\n");
        let mut http = BTreeMap::new();
        for id in 0..count {
            let address = format!("127.0.0.1:{}", free_port());
            text += &format!(
                "[[node]]\nid = {id}\nhttp = \"{address}\"\nquic = \"127.0.0.1:{}\"\ndata = \"node-{id}\"\n",
                free_port()
            );
            http.insert(id, address);
        }
        if let Some(broker) = broker {
            text += &format!("[broker]\nurl = \"{}\"\n", broker.url());
        }
        text += more;
        text += CONSENSUS;
        std::fs::write(folder.path().join("cluster.toml"), text).unwrap();
        std::fs::write(folder.path().join("secret"), "0123456789abcdef0123456789abcdef").unwrap();
        install_crypto_provider();
        let client = Client::builder().timeout(PATIENCE).build().unwrap();
        let (nodes, environment) = (BTreeMap::new(), environment.to_vec());
        let program = env!("CARGO_BIN_EXE_node").into();
        let mut cluster = Self { folder, http, nodes, environment, program, client };
        for id in 0..count {
            cluster.run(id);
        }
        for id in 0..count {
            cluster.wait_until_ready(id).await;
            cluster.wait_for_all_commands(id).await;
        }
        cluster
    }

    /// Waits until a node accepts all commands. A new cluster answers 503 to some commands until its nodes have exchanged
    /// their feature levels. A node that ends before that delays this until it is back.
    async fn wait_for_all_commands(&self, id: u64) {
        wait_for("a log-in to be processed", async || {
            let request = self.client.post(self.url(id, "/auth/login")).body("username=nobody&password=none");
            let answer = request.header("content-type", "application/x-www-form-urlencoded").send().await.ok()?;
            (answer.status() == StatusCode::UNAUTHORIZED).then_some(())
        })
        .await;
    }

    /// Adds a node to cluster.toml.
    pub(crate) fn add_node(&mut self, id: u64) {
        let path = self.folder.path().join("cluster.toml");
        let address = format!("127.0.0.1:{}", free_port());
        let node = format!(
            "[[node]]\nid = {id}\nhttp = \"{address}\"\nquic = \"127.0.0.1:{}\"\ndata = \"node-{id}\"\n",
            free_port()
        );
        std::fs::write(&path, std::fs::read_to_string(&path).unwrap() + "\n" + &node).unwrap();
        self.http.insert(id, address);
    }

    /// Starts one node with another program file.
    pub(crate) async fn start_program(program: &Path) -> Self {
        let mut cluster = Self::start(0, None, "").await;
        cluster.program = program.into();
        cluster.add_node(0);
        cluster.run(0);
        cluster.wait_until_ready(0).await;
        cluster
    }

    /// Sets the environment of nodes that are started later.
    pub(crate) fn set_environment(&mut self, environment: &[(&'static str, &'static str)]) {
        self.environment = environment.to_vec();
    }

    /// Starts the process of a node.
    pub(crate) fn run(&mut self, id: u64) {
        self.run_with(id, "cluster.toml");
    }

    /// Starts the process of a node with another cluster file in the folder of cluster.toml.
    pub(crate) fn run_with(&mut self, id: u64, file: &str) {
        let log = File::options().create(true).append(true).open(self.log(id)).unwrap();
        let child = Command::new(&self.program)
            .args(["--id", &id.to_string(), "--cluster"])
            .arg(self.folder.path().join(file))
            .envs(self.environment.iter().copied())
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        self.nodes.insert(id, Process(child));
    }

    /// The log file of a node.
    pub(crate) fn log(&self, id: u64) -> PathBuf {
        self.folder.path().join(format!("node-{id}.log"))
    }

    /// Kills a node with SIGKILL.
    pub(crate) fn kill(&mut self, id: u64) {
        self.nodes.remove(&id).expect("the node runs").kill();
    }

    pub(crate) fn process(&mut self, id: u64) -> &mut Process {
        self.nodes.get_mut(&id).expect("the node runs")
    }

    /// Kills all nodes, replaces `from` by `to` in cluster.toml, and starts them again.
    pub(crate) async fn restart_with(&mut self, from: &str, to: &str) {
        let file = self.folder.path().join("cluster.toml");
        let text = std::fs::read_to_string(&file).unwrap();
        assert!(text.contains(from));
        std::fs::write(&file, text.replace(from, to)).unwrap();
        let nodes: Vec<u64> = self.http.keys().copied().collect();
        for id in &nodes {
            self.kill(*id);
        }
        for id in &nodes {
            self.run(*id);
        }
        for id in &nodes {
            self.wait_until_ready(*id).await;
        }
    }

    fn command(&self, node: Option<u64>, words: &[&str]) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_node"));
        command.arg("--cluster").arg(self.folder.path().join("cluster.toml"));
        if let Some(node) = node {
            command.args(["--id", &node.to_string()]);
        }
        command.args(words).output().unwrap()
    }

    /// Runs a command of the operator, which must succeed, and returns its standard output.
    pub(crate) fn operate(&self, node: Option<u64>, words: &[&str]) -> String {
        let output = self.command(node, words);
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{words:?}: {errors}");
        String::from_utf8(output.stdout).unwrap()
    }

    /// Repeats a command of the operator until it succeeds.
    pub(crate) async fn operate_until_success(&self, node: Option<u64>, words: &[&str]) {
        wait_for(&format!("{words:?}"), async || {
            let output = self.command(node, words);
            if !output.status.success() {
                eprintln!("{words:?}: {}", String::from_utf8_lossy(&output.stderr));
            }
            output.status.success().then_some(())
        })
        .await;
    }

    /// Runs a command of the operator, which must fail, and returns its error output.
    pub(crate) fn operate_expecting_error(&self, node: Option<u64>, words: &[&str]) -> String {
        let output = self.command(node, words);
        assert!(!output.status.success(), "{words:?} should have failed");
        String::from_utf8(output.stderr).unwrap()
    }

    pub(crate) fn url(&self, id: u64, path: &str) -> String {
        format!("http://{}{path}", self.http[&id])
    }

    pub(crate) async fn get(&self, id: u64, path: &str) -> Option<Response> {
        self.client.get(self.url(id, path)).send().await.ok()
    }

    /// The `data` of a successful JSON response, or none after an error. Repeats the request while there is no leader.
    pub(crate) async fn data(&self, id: u64, path: &str) -> Option<Value> {
        let answer = wait_for("a leader", async || match self.get(id, path).await {
            Some(answer) if answer.status() == StatusCode::SERVICE_UNAVAILABLE => None,
            other => Some(other),
        });
        let answer = answer.await?;
        if !answer.status().is_success() {
            return None;
        }
        let body: Value = answer.json().await.ok()?;
        assert_eq!(body["ok"], true, "{body}");
        Some(body["data"].clone())
    }

    pub(crate) async fn wait_until_ready(&self, id: u64) {
        wait_for(&format!("node {id} to be ready"), async || {
            self.get(id, "/readyz").await.filter(|answer| answer.status().is_success())
        })
        .await;
    }

    pub(crate) async fn leader(&self, ask: u64) -> u64 {
        wait_for("a leader", async || self.data(ask, "/cluster").await?["leader"].as_u64()).await
    }

    /// Uploads a file and returns the song. Repeats the upload while there is no leader, with an idempotency key.
    pub(crate) async fn upload(&self, id: u64, title: &str, file: &Path) -> Value {
        let (bytes, key) = (std::fs::read(file).unwrap(), uuid::Uuid::new_v4().to_string());
        let (status, body) = wait_for("an upload", async || {
            let form = form(title, bytes.clone(), "song.wav");
            let request = self.client.post(self.url(id, "/songs/upload")).header("idempotency-key", &key);
            let answer = request.multipart(form).send().await.unwrap();
            let status = answer.status();
            (status != StatusCode::SERVICE_UNAVAILABLE).then_some((status, answer.json::<Value>().await.unwrap()))
        })
        .await;
        assert!(status.is_success(), "{status}: {body}");
        body["data"]["song"].clone()
    }

    pub(crate) async fn try_upload(&self, id: u64, title: &str, bytes: Vec<u8>, name: &str) -> (StatusCode, Value) {
        let form = form(title, bytes, name);
        let answer = self.client.post(self.url(id, "/songs/upload")).multipart(form).send().await.unwrap();
        (answer.status(), answer.json().await.unwrap())
    }

    pub(crate) async fn status(&self, id: u64, song: &Value) -> Option<String> {
        let data = self.data(id, &format!("/songs/{}", song["id"])).await?;
        Some(data["song"]["status"].as_str()?.to_owned())
    }

    /// Waits until the song is separated, as seen by node `id`.
    pub(crate) async fn wait_until_split(&self, id: u64, song: &Value) {
        wait_for("the stems", async || {
            let status = self.status(id, song).await?;
            assert!(status != "FAILED" && status != "CANCELLED", "the job ended as {status}");
            (status == "SPLIT").then_some(())
        })
        .await;
    }

    pub(crate) async fn job(&self, id: u64, song: &Value) -> Option<Value> {
        Some(self.data(id, &format!("/jobs/{}", song["job_id"])).await?["job"].clone())
    }

    /// Waits until a node other than `not` runs a task of the song's job, and returns its id.
    pub(crate) async fn wait_for_worker(&self, ask: u64, song: &Value, not: Option<u64>) -> u64 {
        wait_for("a worker", async || {
            let job = self.job(ask, song).await?;
            job["tasks"].as_array()?.iter().find_map(|task| {
                (task["state"] == "running").then(|| task["node"].as_u64()).flatten().filter(|node| Some(*node) != not)
            })
        })
        .await
    }

    /// Downloads a file of a song from node `id`.
    pub(crate) async fn download(&self, id: u64, song: &Value, part: &str) -> Vec<u8> {
        let path = format!("/songs/{}/{part}", song["id"]);
        let answer =
            wait_for("a file", async || self.get(id, &path).await.filter(|answer| answer.status().is_success())).await;
        answer.bytes().await.unwrap().to_vec()
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        for id in self.http.keys() {
            let log = std::fs::read_to_string(self.log(*id)).unwrap_or_default();
            if std::thread::panicking() {
                eprintln!("--- the log of node {id} ---\n{log}");
            } else {
                assert!(!log.contains("panicked at"), "node {id} panicked:\n{log}");
            }
        }
    }
}

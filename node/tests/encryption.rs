//! Lines that others could listen at: RabbitMQ and the nodes over TLS, whose certificates are looked at, and what is said
//! where they do not fit.

#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used)]

mod harness;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use harness::{BROKER_PASSWORD, Broker, Cluster, PATIENCE, Process, certify, song, turn, wait_for};
use storage::blobs::Hash;
use tempfile::TempDir;
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};

const TOKEN: &str = "a-token-that-nobody-may-read";
/// All that the libraries say of what travels.
const EVERYTHING: &str = "lapin=trace,amq_protocol=trace,ureq=trace,ureq_proto=trace";

/// A proxy that speaks TLS with who comes, by the certificate in `folder`, and in the clear with `node`; its port.
async fn proxy(folder: &Path, node: &str) -> u16 {
    harness::tls_ready();
    let chain = CertificateDer::pem_file_iter(folder.join("certificate.pem")).unwrap().map(Result::unwrap).collect();
    let key = PrivateKeyDer::from_pem_file(folder.join("key.pem")).unwrap();
    let settings = ServerConfig::builder().with_no_client_auth().with_single_cert(chain, key).unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(settings));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (port, node) = (listener.local_addr().unwrap().port(), node.to_owned());
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let (acceptor, node) = (acceptor.clone(), node.clone());
            tokio::spawn(async move {
                let Ok(mut from) = acceptor.accept(stream).await else { return };
                let mut to = TcpStream::connect(node).await.unwrap();
                let _ = tokio::io::copy_bidirectional(&mut from, &mut to).await;
            });
        }
    });
    port
}

/// A worker outside.
struct Worker {
    process: Process,
    log: PathBuf,
}

impl Worker {
    fn start(folder: &Path, name: &str, broker: &str, backend: &str, more: &[&str]) -> Self {
        let log = folder.join(format!("{name}.log"));
        let args = ["worker", "--token", TOKEN, "--broker", broker, "--backend", backend];
        Self { process: Process::node(args.iter().chain(more).copied(), EVERYTHING, &log), log }
    }

    fn said(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap()
    }

    async fn says(&self, words: &str) {
        wait_for(words, async || self.said().contains(words).then_some(())).await;
    }
}

fn assert_discreet(log: &Path) {
    let said = std::fs::read_to_string(log).unwrap();
    assert!(!said.contains(BROKER_PASSWORD) && !said.contains(TOKEN), "{} tells a secret", log.display());
}

#[tokio::test]
async fn songs_go_out_and_stems_come_back_over_tls() {
    let _turn = turn().await;
    let broker = Broker::start().await;
    let authority = broker.folder.path().join("authority.pem");
    let (ca, hash) = (authority.to_str().unwrap(), Hash::of(TOKEN.as_bytes()));
    let more = format!(
        "[broker]\nurl = \"{}\"\nca = \"{ca}\"\n[workers]\nslots = 0\n[outside]\ntoken_sha256 = [\"{hash}\"]\nfirst = true\n",
        broker.tls_url()
    );
    let mut cluster = Cluster::start_with(3, None, &more, &[("QUARTET_LOG", EVERYTHING)]).await;
    let port = proxy(broker.folder.path(), &cluster.http[&1]).await;
    let folder = TempDir::new().unwrap();

    // One that does not know the node by its name separates the song and keeps the stems, and the token, for itself.
    let wrong = format!("https://127.0.0.1:{port}");
    let mut first = Worker::start(folder.path(), "first", &broker.tls_url(), &wrong, &["--ca", ca]);
    first.says("waiting for songs").await;
    let uploaded = wait_for("an upload that goes outside", async || {
        let uploaded = cluster.upload(0, "Over TLS", &song(3, 200)).await;
        (cluster.job(0, &uploaded).await?["workers"] == "outside").then_some(uploaded)
    })
    .await;
    first.says("the stems wait for the cluster").await;
    assert!(first.said().contains("is not for that name but for"), "{}", first.said());
    assert_ne!(cluster.status(2, &uploaded).await.as_deref(), Some("SPLIT"));

    // The other one is there before the first one goes: where nobody listens, songs come back to the cluster.
    let right = format!("https://localhost:{port}");
    let mut second = Worker::start(folder.path(), "second", &broker.tls_url(), &right, &["--ca", ca]);
    second.says("waiting for songs").await;
    first.process.kill();
    cluster.split(2, &uploaded).await;
    let job = cluster.job(2, &uploaded).await.unwrap();
    assert_eq!((&job["state"], &job["workers"]), (&"done".into(), &"outside".into()));
    assert!(cluster.part(0, &uploaded, "vocals.mp3").await.len() > 3 * 39_000);
    assert!(!second.said().contains("can be read on the way"), "{}", second.said());
    second.process.terminate();
    assert!(second.process.wait(PATIENCE).expect("the worker to stop").success(), "{}", second.said());

    for id in 0..3 {
        assert_discreet(&cluster.log(id));
        cluster.process(id).terminate();
    }
    assert_discreet(&first.log);
    assert_discreet(&second.log);
}

#[tokio::test]
async fn what_does_not_fit_is_told_with_what_to_do() {
    let _turn = turn().await;
    let broker = Broker::start().await;
    let folder = TempDir::new().unwrap();
    certify(folder.path(), "localhost");
    let (good, other) = (broker.folder.path().join("authority.pem"), folder.path().join("authority.pem"));
    let (good, other) = (good.to_str().unwrap(), other.to_str().unwrap());
    let [name, plain, encrypted] = broker.wrong_urls();
    for (at, (url, ca, words)) in [
        (broker.tls_url(), None, "signed by no public authority"),
        (broker.tls_url(), Some(other), "signed by none of the authorities in"),
        (name, Some(good), "is not for that name but for"),
        (plain, Some(good), "is no TLS; give its port for TLS"),
        (encrypted, None, "write amqps://"),
    ]
    .into_iter()
    .enumerate()
    {
        let more: Vec<&str> = ca.into_iter().flat_map(|ca| ["--ca", ca]).collect();
        let worker = Worker::start(folder.path(), &at.to_string(), &url, "http://127.0.0.1:1", &more);
        worker.says(words).await;
        assert!(!worker.said().contains("waiting for songs"), "{}", worker.said());
        assert_discreet(&worker.log);
    }

    // What cannot be right is refused at once.
    let (url, nobody) = (broker.tls_url(), "https://192.0.2.1");
    std::fs::write(folder.path().join("empty.pem"), "no certificate\n").unwrap();
    let (empty, missing) = (folder.path().join("empty.pem"), folder.path().join("missing.pem"));
    for (at, (broker, backend, ca, words)) in [
        (url.as_str(), nobody, empty.to_str().unwrap(), "holds no certificate in PEM"),
        (&url, nobody, missing.to_str().unwrap(), "cannot be read"),
        ("rabbit:5671", nobody, good, "write amqp://USER:PASSWORD@HOST:PORT/%2f"),
        (&url, "node:8080", good, "write http://HOST:PORT or https://HOST:PORT"),
        (&url, "https://ada:word@node", good, "holds no user and no password"),
        ("amqp://rabbit", "http://node:8080", good, "no address goes over TLS"),
    ]
    .into_iter()
    .enumerate()
    {
        let mut worker = Worker::start(folder.path(), &format!("refused-{at}"), broker, backend, &["--ca", ca]);
        assert!(!worker.process.wait(PATIENCE).expect("the worker to end").success());
        assert!(worker.said().contains(words), "{words}: {}", worker.said());
        assert_discreet(&worker.log);
    }

    // Without TLS, who reads a line to elsewhere reads all: that is said.
    let open = Worker::start(folder.path(), "open", "amqp://guest:word@192.0.2.1", "http://192.0.2.1:8080", &[]);
    open.says("can be read on the way").await;

    // A node goes on without the broker, and says the same.
    let more = format!("[broker]\nurl = \"{}\"\nca = \"{other}\"\n", broker.tls_url());
    let cluster = Cluster::start(1, None, &more).await;
    let uploaded = cluster.upload(0, "Without the broker", &song(3, 201)).await;
    cluster.split(0, &uploaded).await;
    let read = || std::fs::read_to_string(cluster.log(0)).unwrap();
    let complaint = "signed by none of the authorities in";
    wait_for("the node's complaint", async || read().contains(complaint).then_some(())).await;
    // It tries each second and says so when the reason changes, which on a busy machine may be another one for once.
    let log = read();
    let said: Vec<bool> = log
        .lines()
        .filter(|line| line.contains("the broker does not answer"))
        .map(|line| line.contains(complaint))
        .collect();
    assert!(!said.windows(2).any(|pair| pair == [true, true]), "{log}");
    assert!(log.contains("ca under [broker]"), "{log}");
    assert_discreet(&cluster.log(0));
}

//! TLS to RabbitMQ and to the nodes: certificates are verified, and error messages say what to change.

#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used)]

mod harness;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use harness::{BROKER_PASSWORD, Broker, Cluster, PATIENCE, Process, permits, song, wait_for, write_certificates};
use storage::blobs::Hash;
use tempfile::TempDir;
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};

const TOKEN: &str = "a-secret-token-of-tests";
/// All log lines of the libraries for connections.
const VERBOSE: &str = "lapin=trace,amq_protocol=trace,ureq=trace,ureq_proto=trace";

/// Starts a proxy from TLS, with the certificate in `folder`, to plain HTTP at `node`. Returns its port.
async fn proxy(folder: &Path, node: &str) -> u16 {
    harness::install_crypto_provider();
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

/// An external worker.
struct Worker {
    process: Process,
    log: PathBuf,
}

impl Worker {
    fn start(folder: &Path, name: &str, broker: &str, backend: &str, more: &[&str]) -> Self {
        let log = folder.join(format!("{name}.log"));
        let args = ["worker", "--token", TOKEN, "--broker", broker, "--backend", backend];
        Self { process: Process::node(args.iter().chain(more).copied(), VERBOSE, &log), log }
    }

    fn output(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap()
    }

    async fn wait_for_output(&self, words: &str) {
        wait_for(words, async || self.output().contains(words).then_some(())).await;
    }
}

/// Asserts that a log contains neither the password nor the token.
fn assert_no_secrets(log: &Path) {
    let text = std::fs::read_to_string(log).unwrap();
    assert!(!text.contains(BROKER_PASSWORD) && !text.contains(TOKEN), "{} contains a secret", log.display());
}

#[tokio::test]
async fn external_worker_uses_tls_to_broker_and_node() {
    let _permit = permits(1).await;
    let broker = Broker::start().await;
    let authority = broker.folder.path().join("authority.pem");
    let (ca, hash) = (authority.to_str().unwrap(), Hash::of(TOKEN.as_bytes()));
    let more = format!(
        "[broker]\nurl = \"{}\"\nca = \"{ca}\"\n[workers]\nslots = 0\n[outside]\ntoken_sha256 = [\"{hash}\"]\nfirst = true\n",
        broker.tls_url()
    );
    let mut cluster = Cluster::start_with(3, None, &more, &[("QUARTET_LOG", VERBOSE)]).await;
    let port = proxy(broker.folder.path(), &cluster.http[&1]).await;
    let folder = TempDir::new().unwrap();

    // A worker that cannot verify the node's certificate sends neither the stems nor its token.
    let wrong = format!("https://127.0.0.1:{port}");
    let mut first = Worker::start(folder.path(), "first", &broker.tls_url(), &wrong, &["--ca", ca]);
    first.wait_for_output("waiting for songs").await;
    let uploaded = wait_for("an upload for an external worker", async || {
        let uploaded = cluster.upload(0, "Over TLS", &song(3, 200)).await;
        (cluster.job(0, &uploaded).await?["workers"] == "outside").then_some(uploaded)
    })
    .await;
    first.wait_for_output("cannot upload the stems").await;
    assert!(first.output().contains("is not for that name but for"), "{}", first.output());
    assert_ne!(cluster.status(2, &uploaded).await.as_deref(), Some("SPLIT"));

    // The second worker connects before the first is killed. Without a consumer, the song would return to the cluster.
    let right = format!("https://localhost:{port}");
    let mut second = Worker::start(folder.path(), "second", &broker.tls_url(), &right, &["--ca", ca]);
    second.wait_for_output("waiting for songs").await;
    first.process.kill();
    cluster.wait_until_split(2, &uploaded).await;
    let job = cluster.job(2, &uploaded).await.unwrap();
    assert_eq!((&job["state"], &job["workers"]), (&"done".into(), &"outside".into()));
    assert!(cluster.download(0, &uploaded, "vocals.mp3").await.len() > 3 * 39_000);
    assert!(!second.output().contains("unencrypted connection"), "{}", second.output());
    second.process.terminate();
    assert!(second.process.wait(PATIENCE).expect("the worker to stop").success(), "{}", second.output());

    for id in 0..3 {
        assert_no_secrets(&cluster.log(id));
        cluster.process(id).terminate();
    }
    assert_no_secrets(&first.log);
    assert_no_secrets(&second.log);
}

#[tokio::test]
async fn tls_errors_say_what_to_change() {
    let _permit = permits(1).await;
    let broker = Broker::start().await;
    let folder = TempDir::new().unwrap();
    write_certificates(folder.path(), "localhost");
    let (good, other) = (broker.folder.path().join("authority.pem"), folder.path().join("authority.pem"));
    let (good, other) = (good.to_str().unwrap(), other.to_str().unwrap());
    let [name, plain, encrypted] = broker.wrong_urls();
    for (at, (url, ca, words)) in [
        (broker.tls_url(), None, "signed by no public authority"),
        (broker.tls_url(), Some(other), "signed by none of the authorities in"),
        (name, Some(good), "is not for that name but for"),
        (plain, Some(good), "does not answer with TLS; give its port for TLS"),
        (encrypted, None, "write amqps://"),
    ]
    .into_iter()
    .enumerate()
    {
        let more: Vec<&str> = ca.into_iter().flat_map(|ca| ["--ca", ca]).collect();
        let worker = Worker::start(folder.path(), &at.to_string(), &url, "http://127.0.0.1:1", &more);
        worker.wait_for_output(words).await;
        assert!(!worker.output().contains("waiting for songs"), "{}", worker.output());
        assert_no_secrets(&worker.log);
    }

    // Invalid options are rejected at once.
    let (url, nobody) = (broker.tls_url(), "https://192.0.2.1");
    std::fs::write(folder.path().join("empty.pem"), "no certificate\n").unwrap();
    let (empty, missing) = (folder.path().join("empty.pem"), folder.path().join("missing.pem"));
    for (at, (broker, backend, ca, words)) in [
        (url.as_str(), nobody, empty.to_str().unwrap(), "has no certificate in PEM format"),
        (&url, nobody, missing.to_str().unwrap(), "cannot read the certificates in"),
        ("rabbit:5671", nobody, good, "write amqp://USER:PASSWORD@HOST:PORT/%2f"),
        (&url, "node:8080", good, "use http://HOST:PORT or https://HOST:PORT"),
        (&url, "https://ada:word@node", good, "remove user and password"),
        ("amqp://rabbit", "http://node:8080", good, "no address uses TLS"),
    ]
    .into_iter()
    .enumerate()
    {
        let mut worker = Worker::start(folder.path(), &format!("refused-{at}"), broker, backend, &["--ca", ca]);
        assert!(!worker.process.wait(PATIENCE).expect("the worker to end").success());
        assert!(worker.output().contains(words), "{words}: {}", worker.output());
        assert_no_secrets(&worker.log);
    }

    // A connection without TLS to another machine causes a warning.
    let open = Worker::start(folder.path(), "open", "amqp://guest:word@192.0.2.1", "http://192.0.2.1:8080", &[]);
    open.wait_for_output("unencrypted connection").await;

    // A node works without the broker, and logs the same reason.
    let more = format!("[broker]\nurl = \"{}\"\nca = \"{other}\"\n", broker.tls_url());
    let cluster = Cluster::start(1, None, &more).await;
    let uploaded = cluster.upload(0, "Without the broker", &song(3, 201)).await;
    cluster.wait_until_split(0, &uploaded).await;
    let read = || std::fs::read_to_string(cluster.log(0)).unwrap();
    let reason = "signed by none of the authorities in";
    wait_for("the warning of the node", async || read().contains(reason).then_some(())).await;
    // It retries each second and logs only changes of the reason, which can differ once on a busy machine.
    let log = read();
    let logged: Vec<bool> =
        log.lines().filter(|line| line.contains("cannot reach RabbitMQ")).map(|line| line.contains(reason)).collect();
    assert!(!logged.windows(2).any(|pair| pair == [true, true]), "{log}");
    assert!(log.contains("ca under [broker]"), "{log}");
    assert_no_secrets(&cluster.log(0));
}

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use quinn::Endpoint;
use quinn::crypto::rustls::QuicServerConfig;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::identity::{Identity, name_of};
use crate::request::RequestId;
use crate::testing::{peers, secret};
use crate::{
    ConsensusRuntime, NodeId, Peer, PeerConfig, PeerError, Protocol, Secret, SecretError, ServeFuture, Service, Stream,
};

fn bind(id: NodeId, secret: Secret, listen: &str) -> Peer {
    Peer::bind(config(id, secret, listen)).unwrap()
}

fn config(id: NodeId, secret: Secret, listen: &str) -> PeerConfig {
    PeerConfig { id, listen: listen.parse().unwrap(), members: BTreeMap::new(), secret, consensus_runtime: None }
}

struct Echo;

impl Service for Echo {
    fn serve(&self, from: NodeId, mut stream: Stream) -> ServeFuture {
        Box::pin(async move {
            let word: String = stream.read_frame().await?;
            stream.write_frame(&format!("{from}: {word}")).await?;
            stream.finish()
        })
    }
}

/// The timeout of calls and waits. It only matters when a test fails.
const TIMEOUT: Duration = Duration::from_secs(120);

async fn ask(peer: &Peer, node: NodeId) -> Result<String, PeerError> {
    peer.call(node, Protocol::Work, "hello", TIMEOUT).await
}

#[tokio::test]
async fn a_service_answers_calls_and_knows_the_caller() {
    let peers = peers(2);
    peers[1].serve(Protocol::Work, Arc::new(Echo));
    assert_eq!(ask(&peers[0], 1).await.unwrap(), "0: hello");
    // A node may call itself.
    assert_eq!(ask(&peers[1], 1).await.unwrap(), "1: hello");
    assert!(matches!(ask(&peers[0], 7).await, Err(PeerError::Unknown(7))));
}

/// The average number of bytes in a packet during a large transfer.
async fn bytes_per_packet() -> u64 {
    let peers = peers(2);
    peers[1].serve(Protocol::Work, Arc::new(Echo));
    let word = "quartet ".repeat(1 << 20);
    for _ in 0..4 {
        let answer: String = peers[0].call(1, Protocol::Work, &word, TIMEOUT).await.unwrap();
        assert_eq!(answer.len(), "0: ".len() + word.len());
    }
    let shared = Arc::clone(&peers[0].0.connections.lock()[&(1, Protocol::Work)]);
    let sent = shared.lock().await.as_ref().unwrap().connection.stats().udp_tx;
    sent.bytes / sent.datagrams
}

#[tokio::test]
async fn large_transfers_use_large_packets_where_the_network_carries_them() {
    // When the system drops large packets, quinn falls back to 1200 bytes for a minute. A busy machine drops some as
    // well, but not on every connection.
    let mut seen = Vec::new();
    while seen.len() < 10 {
        seen.push(bytes_per_packet().await);
        if seen.last().is_some_and(|bytes| *bytes > 3000) {
            return;
        }
    }
    panic!("bytes per packet over {} connections: {seen:?}", seen.len());
}

#[tokio::test]
async fn other_clusters_and_wrong_node_ids_are_rejected() {
    let peers = peers(2);
    peers[1].serve(Protocol::Work, Arc::new(Echo));
    let at = peers[1].local_addr().unwrap().to_string();
    let other = secret("marlinspike");
    let stranger = bind(0, other, "127.0.0.1:0");
    stranger.set_address(1, at.clone());
    assert!(matches!(ask(&stranger, 1).await, Err(PeerError::Unreachable { .. })));
    // Node 1 listens at the address that is set for node 5.
    peers[0].set_address(5, at);
    assert!(matches!(ask(&peers[0], 5).await, Err(PeerError::Unreachable { .. })));
}

/// Answers with the name of its thread.
struct ThreadName;

impl Service for ThreadName {
    fn serve(&self, _from: NodeId, mut stream: Stream) -> ServeFuture {
        Box::pin(async move {
            stream.read_frame::<String>().await?;
            let here = std::thread::current();
            stream.write_frame(here.name().unwrap_or_default()).await?;
            stream.finish()
        })
    }
}

#[tokio::test]
async fn only_consensus_runs_on_the_consensus_runtime() {
    let secret = secret("swordfish");
    let (consensus, asker) = (ConsensusRuntime::start().unwrap(), bind(0, secret.clone(), "127.0.0.1:0"));
    let node = PeerConfig { consensus_runtime: Some(consensus.handle().clone()), ..config(1, secret, "127.0.0.1:0") };
    let node = Peer::bind(node).unwrap();
    asker.set_address(1, node.local_addr().unwrap().to_string());
    for protocol in [Protocol::Raft, Protocol::Cluster, Protocol::Blobs, Protocol::Work] {
        node.serve(protocol, Arc::new(ThreadName));
        let thread: String = asker.call(1, protocol, "where?", TIMEOUT).await.unwrap();
        assert_eq!(thread == "consensus", protocol.uses_consensus_runtime(), "{protocol:?} is on {thread}");
    }
    node.close().await;
}

#[tokio::test]
async fn a_restarted_peer_is_reached_again() {
    let secret = secret("swordfish");
    let first = bind(0, secret.clone(), "127.0.0.1:0");
    let second = bind(1, secret.clone(), "127.0.0.1:0");
    second.serve(Protocol::Work, Arc::new(Echo));
    let at = second.local_addr().unwrap().to_string();
    first.set_address(1, at.clone());
    ask(&first, 1).await.unwrap();
    second.close().await;
    drop(second);
    let again = eventually(async || Peer::bind(config(1, secret.clone(), &at)).ok()).await;
    again.serve(Protocol::Work, Arc::new(Echo));
    let answer = eventually(async || ask(&first, 1).await.ok()).await;
    assert_eq!(answer, "0: hello");
}

/// Repeats the question until it has an answer.
async fn eventually<T>(mut question: impl AsyncFnMut() -> Option<T>) -> T {
    let asked = async {
        loop {
            if let Some(answer) = question().await {
                return answer;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(TIMEOUT, asked).await.expect("an answer in time")
}

/// Answers with the id of the current request.
struct CurrentRequest;

impl Service for CurrentRequest {
    fn serve(&self, _from: NodeId, mut stream: Stream) -> ServeFuture {
        Box::pin(async move {
            let _: String = stream.read_frame().await?;
            stream.write_frame(&RequestId::current().map(|id| id.to_string())).await?;
            stream.finish()
        })
    }
}

#[tokio::test]
async fn calls_pass_the_request_id_to_the_other_node() {
    let peers = peers(2);
    peers[1].serve(Protocol::Work, Arc::new(CurrentRequest));
    let asked = async || peers[0].call::<_, Option<String>>(1, Protocol::Work, "who?", TIMEOUT).await.unwrap();
    let id = RequestId::new(b"upload-7").unwrap();
    assert_eq!(id.scope(asked()).await.as_deref(), Some("upload-7"));
    assert_eq!(asked().await, None);
}

/// The first frame of a node that does not support request ids.
#[derive(Serialize, Deserialize)]
struct OlderHello {
    id: NodeId,
    run: Uuid,
    cluster: Option<Uuid>,
}

#[tokio::test]
async fn a_node_without_request_ids_is_served() {
    let peers = peers(2);
    peers[1].serve(Protocol::Work, Arc::new(Echo));
    let client = peers[0].0.clients[&Protocol::Work].clone();
    let at = peers[1].local_addr().unwrap();
    let connection = peers[0].0.endpoint.connect_with(client, at, &name_of(1)).unwrap().await.unwrap();
    let (send, recv) = connection.open_bi().await.unwrap();
    let mut stream = Stream::plain(send, recv);
    stream.write_frame(&OlderHello { id: 0, run: Uuid::new_v4(), cluster: None }).await.unwrap();
    assert_eq!(stream.read_frame::<OlderHello>().await.unwrap().id, 1);
    let (send, recv) = connection.open_bi().await.unwrap();
    let mut stream = Stream::plain(send, recv);
    stream.write_frame("hello").await.unwrap();
    assert_eq!(stream.read_frame::<String>().await.unwrap(), "0: hello");
}

#[tokio::test]
async fn a_node_without_request_ids_is_sent_none() {
    let secret = secret("swordfish");
    let older = Identity::new(1, &secret).unwrap().server().unwrap();
    let older = quinn::ServerConfig::with_crypto(Arc::new(QuicServerConfig::try_from(older).unwrap()));
    let older = Endpoint::server(older, "127.0.0.1:0".parse().unwrap()).unwrap();
    let newer = bind(0, secret, "127.0.0.1:0");
    newer.set_address(1, older.local_addr().unwrap().to_string());
    let answers = async {
        let connection = older.accept().await.unwrap().await.unwrap();
        let (send, recv) = connection.accept_bi().await.unwrap();
        let mut stream = Stream::plain(send, recv);
        assert_eq!(stream.read_frame::<OlderHello>().await.unwrap().id, 0);
        stream.write_frame(&OlderHello { id: 1, run: Uuid::new_v4(), cluster: None }).await.unwrap();
        let (send, recv) = connection.accept_bi().await.unwrap();
        let mut stream = Stream::plain(send, recv);
        let word: String = stream.read_frame().await.unwrap();
        stream.write_frame(&format!("{word} to you")).await.unwrap();
        connection
    };
    let asks = RequestId::random().scope(ask(&newer, 1));
    let (_connection, answer) = tokio::join!(answers, asks);
    assert_eq!(answer.unwrap(), "hello to you");
}

#[test]
fn short_secrets_are_rejected_and_missing_ones_created() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("secret");
    std::fs::write(&path, "password").unwrap();
    assert!(matches!(Secret::read(&path), Err(SecretError::TooShort(_))));
    std::fs::remove_file(&path).unwrap();
    Secret::generate_if_missing(&path).unwrap();
    let made = std::fs::read(&path).unwrap();
    Secret::generate_if_missing(&path).unwrap();
    assert_eq!(made, std::fs::read(&path).unwrap());
}

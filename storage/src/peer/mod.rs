//! The other nodes: one QUIC endpoint, mutual TLS, and a protocol per connection chosen by ALPN.
//!
//! Each (peer, protocol) pair has a connection of its own, dialled when it is first needed and again when it broke, so
//! that a large file never stands before a heartbeat. Both sides check the node id that they expect.
//!
//! Connections run on one of two runtimes ([`Swift`]): what elections hang on is on a thread of its own, which
//! no file and no browser keeps waiting, and where one step of a call follows another without waking a thread.
//!
//! A stream begins with the id of the request that it is asked for ([`crate::request`]), where both sides have said in
//! their first words that they understand that, and with the question itself where the other side is older.
//!
//! This module knows nothing of what the protocols mean.

mod hearing;
mod identity;
mod lane;
mod numbers;
mod stream;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::{Duration, Instant};

use quinn::crypto::rustls::{HandshakeData, QuicClientConfig, QuicServerConfig};
use quinn::{Connection, Endpoint, EndpointConfig, MtuDiscoveryConfig, TransportConfig, VarInt};
use rustls::pki_types::{CertificateDer, ServerName};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use tokio::runtime::Handle;

use hearing::Hearing;
use identity::{Identity, name_of};
pub use identity::{Secret, SecretError};
use lane::Lanes;
pub use lane::Swift;
use numbers::Numbers;
pub use stream::{LONGEST_FRAME, Stream};

use uuid::Uuid;

use crate::NodeId;
use crate::wire::WireError;

/// Whoever holds the cluster's secret without being a node of it: the person at the command line. No node has this number.
pub const OPERATOR: NodeId = NodeId::MAX;

/// How long a connection may take to come about.
const CONNECT_WITHIN: Duration = Duration::from_secs(1);
/// A connection on which nothing came for this long is dead.
const IDLE: Duration = Duration::from_secs(4);
/// Something is said at least this often.
const KEEP_ALIVE: Duration = Duration::from_secs(1);
/// The round trip that is assumed before one is measured, for nodes are neighbours: a first packet that is lost is sent
/// again after three of it.
const FIRST_GUESS: Duration = Duration::from_millis(20);
/// The most bytes of a packet that is tried out and taken. Networks with jumbo frames would carry 8952, but quinn gives
/// the system ten packets of a connection at a time, and the system takes 65,507 bytes at a time.
const LARGEST_PACKET: u16 = 6550;
/// Socket buffers: several milliseconds of a fast network.
const SOCKET_BUFFER: usize = 4 << 20;

/// Another node could not be asked, or asked nonsense.
#[derive(Debug, thiserror::Error)]
pub enum PeerError {
    /// The endpoint could not be made.
    #[error("the QUIC address {address} cannot be had (is another program on it?): {source}")]
    Bind {
        /// Where.
        address: SocketAddr,
        /// What the system said.
        source: std::io::Error,
    },
    /// Certificates could not be made.
    #[error("this node's identity cannot be made: {0}")]
    Identity(String),
    /// The node is not listed.
    #[error("there is no node {0} in this cluster")]
    Unknown(NodeId),
    /// No connection came about.
    #[error("node {node} at {address} cannot be reached: {reason}")]
    Unreachable {
        /// Which.
        node: NodeId,
        /// Where.
        address: String,
        /// Why.
        reason: String,
    },
    /// No answer came in time.
    #[error("node {0} did not answer in time")]
    Timeout(NodeId),
    /// The connection broke.
    #[error("the connection broke: {0}")]
    Connection(#[from] quinn::ConnectionError),
    /// The other side stopped reading.
    #[error("the other node stopped reading: {0}")]
    Write(#[from] quinn::WriteError),
    /// The other side stopped sending.
    #[error("the other node stopped sending: {0}")]
    Read(#[from] quinn::ReadExactError),
    /// A frame is not what it should be.
    #[error(transparent)]
    Wire(#[from] WireError),
    /// The other side broke the rules.
    #[error("the other node broke the protocol: {0}")]
    Protocol(String),
    /// The other side could not do what it was asked.
    #[error("the other node said: {0}")]
    Refused(String),
}

/// What a connection is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Protocol {
    /// Consensus.
    Raft,
    /// Proposals, reads and introductions.
    Cluster,
    /// Files.
    Blobs,
    /// Tasks and reports.
    Work,
    /// What the cluster's operator asks of a node.
    Operator,
}

impl Protocol {
    pub(crate) const ALL: [Self; 5] = [Self::Raft, Self::Cluster, Self::Blobs, Self::Work, Self::Operator];

    /// Its name among the numbers.
    fn name(self) -> &'static str {
        match self {
            Self::Raft => "raft",
            Self::Cluster => "cluster",
            Self::Blobs => "blobs",
            Self::Work => "work",
            Self::Operator => "operator",
        }
    }

    pub(crate) fn alpn(self) -> &'static [u8] {
        match self {
            Self::Raft => b"quartet/raft/1",
            Self::Cluster => b"quartet/cluster/1",
            Self::Blobs => b"quartet/blobs/1",
            Self::Work => b"quartet/work/1",
            Self::Operator => b"quartet/operator/1",
        }
    }

    /// Whether it is on the swift runtime.
    fn is_swift(self) -> bool {
        matches!(self, Self::Raft | Self::Cluster)
    }

    /// Whether `from` may ask this. A node that is no member may introduce itself and ask to be let in, no more; the
    /// operator may ask what is meant for operators, make proposals, and fetch files.
    fn open_to(self, from: NodeId, is_member: bool) -> bool {
        match self {
            Self::Cluster => true,
            Self::Operator => from == OPERATOR,
            Self::Blobs => is_member || from == OPERATOR,
            Self::Raft | Self::Work => is_member,
        }
    }
}

/// What serving a request comes to.
pub type ServeFuture = Pin<Box<dyn Future<Output = Result<(), PeerError>> + Send>>;

/// Answers one protocol.
pub trait Service: Send + Sync + 'static {
    /// Answers one request of node `from`, whose certificate was checked.
    fn serve(&self, from: NodeId, stream: Stream) -> ServeFuture;
}

/// What an endpoint is made of.
pub struct PeerConfig {
    /// This node.
    pub id: NodeId,
    /// Where to listen (UDP).
    pub listen: SocketAddr,
    /// All members and where they listen, this node among them.
    pub members: BTreeMap<NodeId, String>,
    /// The cluster's secret.
    pub secret: Secret,
    /// The runtime for consensus, which may be the same as for all else.
    pub swift: Handle,
}

/// The first words on a connection, in both directions. A dialler whose certificate is refused learns it here.
#[derive(Debug, Serialize, Deserialize)]
struct Hello {
    id: NodeId,
    /// The random name of this run of the process.
    run: Uuid,
    /// The cluster that it belongs to, if it knows.
    #[serde(default)]
    cluster: Option<Uuid>,
    /// Whether it reads the id of a request at the beginning of a stream, and writes one.
    #[serde(default)]
    request_ids: bool,
}

/// Who belongs to the cluster.
#[derive(Default)]
struct Members {
    addresses: BTreeMap<NodeId, String>,
    /// Whether the cluster itself has said so. Before, these are a file's words, and others may ask as well.
    agreed: bool,
    /// Those that should hold no files: they are about to leave, or have only begun to join.
    apart: BTreeSet<NodeId>,
}

/// A connection that this node dialled.
#[derive(Clone)]
struct Dialled {
    connection: Connection,
    /// Whether streams begin with a request's id.
    request_ids: bool,
}

impl Dialled {
    async fn open(&self) -> Result<Stream, PeerError> {
        let (send, recv) = self.connection.open_bi().await?;
        Ok(Stream::opened(send, recv, self.request_ids))
    }
}

type Slot = Arc<tokio::sync::Mutex<Option<Dialled>>>;

struct Inner {
    id: NodeId,
    endpoint: Endpoint,
    lanes: Lanes,
    members: RwLock<Members>,
    cluster: Mutex<Option<Uuid>>,
    clients: HashMap<Protocol, quinn::ClientConfig>,
    services: RwLock<HashMap<Protocol, Arc<dyn Service>>>,
    connections: Mutex<HashMap<(NodeId, Protocol), Slot>>,
    /// This process.
    run: Uuid,
    /// The processes that the members were last met as.
    runs: Mutex<HashMap<NodeId, Uuid>>,
    hearing: Hearing,
    numbers: Numbers,
}

/// This node's end of all connections. Cheap to clone.
#[derive(Clone)]
pub struct Peer(Arc<Inner>);

impl fmt::Debug for Peer {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "node {}", self.0.id)
    }
}

impl Peer {
    /// Opens the endpoint and begins to accept; must be called within a Tokio runtime.
    pub fn bind(config: PeerConfig) -> Result<Self, PeerError> {
        let identity = Identity::new(config.id, &config.secret)?;
        let told = |error: &dyn fmt::Display| PeerError::Identity(error.to_string());
        let transport = Arc::new(transport());
        let tls = QuicServerConfig::try_from(identity.server()?).map_err(|error| told(&error))?;
        let mut server = quinn::ServerConfig::with_crypto(Arc::new(tls));
        server.transport_config(Arc::clone(&transport));
        let mut clients = HashMap::new();
        for protocol in Protocol::ALL {
            let tls = QuicClientConfig::try_from(identity.client(protocol)?).map_err(|error| told(&error))?;
            let mut client = quinn::ClientConfig::new(Arc::new(tls));
            client.transport_config(Arc::clone(&transport));
            if protocol.is_swift() {
                client.initial_dst_cid_provider(Arc::new(lane::swift_name));
            }
            clients.insert(protocol, client);
        }
        // The same key after a restart: the node then tells its peers at once that their old connections are gone.
        let reset = config.secret.derive(&format!("stateless reset of {}", name_of(config.id)))?;
        let reset = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, &reset);
        let failed = |source| PeerError::Bind { address: config.listen, source };
        let socket = socket(config.listen).map_err(failed)?;
        let runtime = quinn::default_runtime().ok_or_else(|| told(&"no runtime"))?;
        // Nobody calls the operator.
        let server = (config.id != OPERATOR).then_some(server);
        let lanes = Lanes { swift: config.swift, usual: Handle::current() };
        let mut taken = EndpointConfig::new(Arc::new(reset));
        taken.max_udp_payload_size(LARGEST_PACKET).map_err(|error| told(&error))?;
        let endpoint = {
            let _swift = lanes.swift.enter();
            Endpoint::new(taken, server, socket, runtime).map_err(failed)?
        };
        let peer = Self(Arc::new(Inner {
            id: config.id,
            endpoint,
            lanes,
            members: RwLock::new(Members { addresses: config.members, ..Members::default() }),
            cluster: Mutex::default(),
            clients,
            services: RwLock::default(),
            connections: Mutex::default(),
            run: Uuid::new_v4(),
            runs: Mutex::default(),
            hearing: Hearing::default(),
            numbers: Numbers::new(),
        }));
        peer.0.lanes.swift.spawn(peer.clone().accept());
        Ok(peer)
    }

    /// This node.
    pub fn id(&self) -> NodeId {
        self.0.id
    }

    /// Where the endpoint listens.
    pub fn local_addr(&self) -> std::io::Result<SocketAddr> {
        self.0.endpoint.local_addr()
    }

    fn read_members(&self) -> RwLockReadGuard<'_, Members> {
        self.0.members.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write_members(&self) -> RwLockWriteGuard<'_, Members> {
        self.0.members.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// All members, this node among them.
    pub fn members(&self) -> Vec<NodeId> {
        self.read_members().addresses.keys().copied().collect()
    }

    /// Those members that should hold files: all but the ones that are about to leave or have only begun to join.
    pub fn holders(&self) -> Vec<NodeId> {
        let members = self.read_members();
        members.addresses.keys().filter(|member| !members.apart.contains(member)).copied().collect()
    }

    /// Says where a node listens, so that it can be asked.
    pub fn set_address(&self, node: NodeId, address: String) {
        self.write_members().addresses.insert(node, address);
    }

    /// Says who belongs to the cluster, as it has agreed itself, and who of them should hold no files. From now on
    /// nobody else is served.
    pub fn set_members(&self, addresses: BTreeMap<NodeId, String>, apart: BTreeSet<NodeId>) {
        let moved = |(node, address): (&NodeId, &String)| (addresses.get(node) != Some(address)).then_some(*node);
        let gone: Vec<NodeId> = {
            let mut members = self.write_members();
            let gone = members.addresses.iter().filter_map(moved).collect();
            *members = Members { addresses, agreed: true, apart };
            gone
        };
        for node in gone {
            self.0.hearing.forget(node);
            self.drop_connections(node, 4, b"you are no member at that address any more");
        }
    }

    /// Says which cluster this node belongs to. Nodes of another one are refused, though they know the same secret.
    pub fn set_cluster(&self, cluster: Uuid) {
        *self.0.cluster.lock().unwrap_or_else(PoisonError::into_inner) = Some(cluster);
    }

    /// Why a connection is not to be, if so.
    fn objection(&self, hello: &Hello, protocol: Protocol) -> Option<&'static str> {
        let mine = *self.0.cluster.lock().unwrap_or_else(PoisonError::into_inner);
        if mine.zip(hello.cluster).is_some_and(|(mine, theirs)| mine != theirs) {
            return Some("that node belongs to another cluster with the same secret");
        }
        let is_member = {
            let members = self.read_members();
            !members.agreed || members.addresses.contains_key(&hello.id)
        };
        (!protocol.open_to(hello.id, is_member)).then_some("you are no member of this cluster")
    }

    /// Whether the member failed to answer a moment ago. A hint for whom to ask first, no verdict.
    pub fn is_silent(&self, node: NodeId) -> bool {
        self.0.hearing.is_silent(node)
    }

    pub(crate) fn fell_silent(&self, node: NodeId) {
        self.0.hearing.unanswered(node, &"no answer in time");
    }

    /// Brings the numbers of the connections up to date, for whoever looks at them next.
    pub fn measure(&self) {
        self.0.numbers.measure();
    }

    /// Answers a protocol from now on.
    pub fn serve(&self, protocol: Protocol, service: Arc<dyn Service>) {
        self.0.services.write().unwrap_or_else(PoisonError::into_inner).insert(protocol, service);
    }

    async fn accept(self) {
        while let Some(incoming) = self.0.endpoint.accept().await {
            let peer = self.clone();
            self.0.lanes.of(lane::is_swift(&incoming.orig_dst_cid())).spawn(async move {
                let from = incoming.remote_address();
                if let Err(error) = peer.welcome(incoming).await {
                    tracing::debug!(%from, %error, "a connection ended");
                }
            });
        }
    }

    /// Serves one incoming connection until it ends.
    async fn welcome(&self, incoming: quinn::Incoming) -> Result<(), PeerError> {
        let connection = incoming.await.inspect_err(|_| self.0.numbers.handshake_failed())?;
        let protocol = connection
            .handshake_data()
            .and_then(|data| data.downcast::<HandshakeData>().ok())
            .and_then(|data| data.protocol)
            .and_then(|alpn| Protocol::ALL.into_iter().find(|protocol| protocol.alpn() == alpn))
            .ok_or_else(|| PeerError::Protocol("no known protocol was chosen".into()))?;
        let (send, recv) = connection.accept_bi().await?;
        let mut stream = Stream::plain(send, recv);
        let hello: Hello = stream.read_frame().await?;
        if !certificate_names(&connection, hello.id) {
            connection.close(VarInt::from_u32(1), b"your certificate does not carry that node id");
            return Err(PeerError::Protocol(format!("somebody else came as node {}", hello.id)));
        }
        if let Some(objection) = self.objection(&hello, protocol) {
            connection.close(VarInt::from_u32(5), objection.as_bytes());
            return Err(PeerError::Protocol(format!("node {} was refused: {objection}", hello.id)));
        }
        stream.write_frame(&self.hello()).await?;
        stream.finish()?;
        self.met(&hello);
        self.0.numbers.connected(&connection, protocol, None);
        let hello = Arc::new(hello);
        loop {
            let (send, recv) = connection.accept_bi().await?;
            let hello = Arc::clone(&hello);
            let service = self.0.services.read().unwrap_or_else(PoisonError::into_inner).get(&protocol).cloned();
            // A node that is still starting does not answer; dropping the streams says so.
            let Some(service) = service else { continue };
            tokio::spawn(async move {
                let served = serve(service, &hello, protocol, Stream::plain(send, recv)).await;
                if let Err(error) = served {
                    tracing::debug!(from = hello.id, ?protocol, %error, "a request was not served");
                }
            });
        }
    }

    fn hello(&self) -> Hello {
        let cluster = *self.0.cluster.lock().unwrap_or_else(PoisonError::into_inner);
        Hello { id: self.0.id, run: self.0.run, cluster, request_ids: true }
    }

    /// Notes who a member is now. If it was another process before, connections to that one are of no use, and only
    /// their silence would tell.
    fn met(&self, hello: &Hello) {
        let before = self.0.runs.lock().unwrap_or_else(PoisonError::into_inner).insert(hello.id, hello.run);
        if before.is_none_or(|before| before == hello.run) {
            return;
        }
        self.drop_connections(hello.id, 3, b"you were started anew");
    }

    fn drop_connections(&self, to: NodeId, code: u32, reason: &[u8]) {
        let connections = self.0.connections.lock().unwrap_or_else(PoisonError::into_inner);
        for ((node, _), slot) in connections.iter() {
            // A slot that is locked is being dialled, and will reach whoever is there now.
            if *node == to
                && let Ok(mut kept) = slot.try_lock()
                && let Some(dialled) = kept.take()
            {
                dialled.connection.close(VarInt::from_u32(code), reason);
            }
        }
    }

    async fn connection(&self, node: NodeId, protocol: Protocol) -> Result<Dialled, PeerError> {
        let slot = Arc::clone(
            self.0.connections.lock().unwrap_or_else(PoisonError::into_inner).entry((node, protocol)).or_default(),
        );
        let mut kept = slot.lock().await;
        if let Some(dialled) = kept.as_ref().filter(|dialled| dialled.connection.close_reason().is_none()) {
            return Ok(dialled.clone());
        }
        *kept = None;
        let address = self.read_members().addresses.get(&node).cloned();
        let address = address.ok_or(PeerError::Unknown(node))?;
        let dialled = tokio::time::timeout(CONNECT_WITHIN, self.dial(node, protocol, &address)).await;
        let reason = match dialled {
            Ok(Ok(dialled)) => {
                self.0.hearing.connected(node);
                self.0.numbers.connected(&dialled.connection, protocol, Some(node));
                *kept = Some(dialled.clone());
                return Ok(dialled);
            }
            Ok(Err(error)) => error.to_string(),
            Err(_) => "no answer".into(),
        };
        self.0.numbers.handshake_failed();
        self.0.hearing.unanswered(node, &reason);
        Err(PeerError::Unreachable { node, address, reason })
    }

    async fn dial(&self, node: NodeId, protocol: Protocol, address: &str) -> Result<Dialled, PeerError> {
        let told = |error: &dyn fmt::Display| PeerError::Protocol(error.to_string());
        let resolved = tokio::net::lookup_host(address)
            .await
            .map_err(|error| told(&error))?
            .next()
            .ok_or_else(|| told(&"the address names no host"))?;
        let client = self.0.clients[&protocol].clone();
        let connecting = {
            let _lane = self.0.lanes.of(protocol.is_swift()).enter();
            self.0.endpoint.connect_with(client, resolved, &name_of(node)).map_err(|error| told(&error))?
        };
        let connection = connecting.await?;
        let (send, recv) = connection.open_bi().await?;
        let mut stream = Stream::plain(send, recv);
        stream.write_frame(&self.hello()).await?;
        // A refusal comes as the reason for which the connection was closed.
        let answered = stream.read_frame::<Hello>().await;
        let hello = answered.map_err(|error| connection.close_reason().map_or(error, PeerError::Connection))?;
        if hello.id != node {
            return Err(told(&format!("node {} answers there", hello.id)));
        }
        if let Some(objection) = self.objection(&hello, Protocol::Cluster) {
            connection.close(VarInt::from_u32(5), objection.as_bytes());
            return Err(told(&objection));
        }
        self.met(&hello);
        Ok(Dialled { connection, request_ids: hello.request_ids })
    }

    /// Opens a stream to another node. The first thing that is written must be a frame.
    pub async fn open(&self, node: NodeId, protocol: Protocol) -> Result<Stream, PeerError> {
        self.connection(node, protocol).await?.open().await
    }

    /// Asks one question and waits for its answer, `patience` in all. This node may ask itself.
    pub async fn call<Q: Serialize + ?Sized, A: DeserializeOwned>(
        &self,
        node: NodeId,
        protocol: Protocol,
        question: &Q,
        patience: Duration,
    ) -> Result<A, PeerError> {
        let began = Instant::now();
        let answer = self.ask(node, protocol, question, patience).await;
        if answer.is_ok() {
            self.0.hearing.answered(node);
        }
        self.0.numbers.call(protocol, began, &answer);
        answer
    }

    async fn ask<Q: Serialize + ?Sized, A: DeserializeOwned>(
        &self,
        node: NodeId,
        protocol: Protocol,
        question: &Q,
        patience: Duration,
    ) -> Result<A, PeerError> {
        let asked = async |dialled: &Dialled| {
            let mut stream = dialled.open().await?;
            stream.write_frame(question).await?;
            stream.finish()?;
            stream.read_frame().await
        };
        let began = Instant::now();
        let dialled = tokio::time::timeout(patience, self.connection(node, protocol)).await;
        let Ok(dialled) = dialled else {
            self.fell_silent(node);
            return Err(PeerError::Timeout(node));
        };
        let dialled = dialled?;
        let heard = dialled.connection.stats().udp_rx.datagrams;
        let left = patience.saturating_sub(began.elapsed());
        match tokio::time::timeout(left, asked(&dialled)).await {
            Ok(answer) => answer,
            Err(_) => {
                // Not even an acknowledgement: the other end is gone, perhaps back with another connection. QUIC
                // itself would try ever more seldom.
                if dialled.connection.stats().udp_rx.datagrams == heard {
                    dialled.connection.close(VarInt::from_u32(2), b"silence");
                }
                self.fell_silent(node);
                Err(PeerError::Timeout(node))
            }
        }
    }

    /// Ends all connections in order.
    pub async fn close(&self) {
        self.0.endpoint.close(VarInt::from_u32(0), b"stopping");
        // Services hold handles on this endpoint; it could never go while it holds them.
        self.0.services.write().unwrap_or_else(PoisonError::into_inner).clear();
        // The farewells are packets too; a peer that is gone must not keep us.
        let _ = tokio::time::timeout(Duration::from_secs(1), self.0.endpoint.wait_idle()).await;
    }
}

/// Serves one stream, under the id of the request that it is asked for.
async fn serve(
    service: Arc<dyn Service>,
    hello: &Hello,
    protocol: Protocol,
    mut stream: Stream,
) -> Result<(), PeerError> {
    let request = if hello.request_ids { stream.read_request_id().await? } else { None };
    match request {
        None => service.serve(hello.id, stream).await,
        Some(request) => {
            let from = hello.id;
            let served = async move {
                tracing::debug!(from, ?protocol, "asked by node {from}");
                service.serve(from, stream).await
            };
            request.scope(served).await
        }
    }
}

/// Whether the other side's certificate, which is of this cluster, is that of node `id`.
fn certificate_names(connection: &Connection, id: NodeId) -> bool {
    let name = ServerName::try_from(name_of(id));
    let chain = connection.peer_identity().and_then(|chain| chain.downcast::<Vec<CertificateDer<'static>>>().ok());
    let (Ok(name), Some(chain)) = (name, chain) else {
        return false;
    };
    chain
        .first()
        .and_then(|leaf| webpki::EndEntityCert::try_from(leaf).ok())
        .is_some_and(|leaf| leaf.verify_is_valid_for_subject_name(&name).is_ok())
}

fn transport() -> TransportConfig {
    let mut transport = TransportConfig::default();
    transport.max_idle_timeout(IDLE.try_into().ok());
    transport.initial_rtt(FIRST_GUESS);
    transport.keep_alive_interval(Some(KEEP_ALIVE));
    transport.stream_receive_window(VarInt::from_u32(16 << 20));
    transport.receive_window(VarInt::from_u32(64 << 20));
    transport.send_window(64 << 20);
    transport.max_concurrent_bidi_streams(VarInt::from_u32(1024));
    // Networks with jumbo frames, and the loopback, take larger packets, of which fewer are needed; it is tried out.
    let mut packets = MtuDiscoveryConfig::default();
    packets.upper_bound(LARGEST_PACKET);
    transport.mtu_discovery_config(Some(packets));
    transport
}

fn socket(listen: SocketAddr) -> std::io::Result<std::net::UdpSocket> {
    let domain = socket2::Domain::for_address(listen);
    let socket = socket2::Socket::new(domain, socket2::Type::DGRAM, Some(socket2::Protocol::UDP))?;
    // The system may give less; it then says how to allow more in its own settings.
    let _ = socket.set_recv_buffer_size(SOCKET_BUFFER);
    let _ = socket.set_send_buffer_size(SOCKET_BUFFER);
    socket.bind(&listen.into())?;
    Ok(socket.into())
}

#[cfg(test)]
pub(crate) mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]

    use super::*;
    use crate::request::RequestId;

    pub(crate) fn secret(text: &str) -> (tempfile::TempDir, Secret) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("secret");
        std::fs::write(&path, text.repeat(8)).unwrap();
        let secret = Secret::read(&path).unwrap();
        (folder, secret)
    }

    /// `count` endpoints of one cluster on free ports.
    pub(crate) fn peers(count: u64) -> Vec<Peer> {
        let (_folder, secret) = secret("swordfish");
        let peers: Vec<Peer> = (0..count).map(|id| bind(id, secret.clone(), "127.0.0.1:0")).collect();
        for peer in &peers {
            for other in &peers {
                peer.set_address(other.id(), other.local_addr().unwrap().to_string());
            }
        }
        peers
    }

    fn bind(id: NodeId, secret: Secret, listen: &str) -> Peer {
        Peer::bind(config(id, secret, listen)).unwrap()
    }

    fn config(id: NodeId, secret: Secret, listen: &str) -> PeerConfig {
        PeerConfig { id, listen: listen.parse().unwrap(), members: BTreeMap::new(), secret, swift: Handle::current() }
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

    const PATIENCE: Duration = Duration::from_secs(5);

    async fn ask(peer: &Peer, node: NodeId) -> Result<String, PeerError> {
        peer.call(node, Protocol::Work, "hello", PATIENCE).await
    }

    #[tokio::test]
    async fn a_question_is_answered_and_the_asker_is_known() {
        let peers = peers(2);
        peers[1].serve(Protocol::Work, Arc::new(Echo));
        assert_eq!(ask(&peers[0], 1).await.unwrap(), "0: hello");
        // A node may ask itself.
        assert_eq!(ask(&peers[1], 1).await.unwrap(), "1: hello");
        assert!(matches!(ask(&peers[0], 7).await, Err(PeerError::Unknown(7))));
    }

    #[tokio::test]
    async fn bulk_goes_in_large_packets_where_the_network_carries_them() {
        let peers = peers(2);
        peers[1].serve(Protocol::Work, Arc::new(Echo));
        let word = "quartet ".repeat(1 << 20);
        for _ in 0..4 {
            let patience = Duration::from_secs(60);
            let answer: String = peers[0].call(1, Protocol::Work, &word, patience).await.unwrap();
            assert_eq!(answer.len(), "0: ".len() + word.len());
        }
        let slot = Arc::clone(&peers[0].0.connections.lock().unwrap()[&(1, Protocol::Work)]);
        let sent = slot.lock().await.as_ref().unwrap().connection.stats().udp_tx;
        // Packets that the system does not take are lost, and quinn then goes back to 1200 bytes for a minute.
        assert!(sent.bytes / sent.datagrams > 3000, "{sent:?}");
    }

    #[tokio::test]
    async fn strangers_and_mistaken_identities_are_refused() {
        let peers = peers(2);
        peers[1].serve(Protocol::Work, Arc::new(Echo));
        let at = peers[1].local_addr().unwrap().to_string();
        let (_folder, other) = secret("marlinspike");
        let stranger = bind(0, other, "127.0.0.1:0");
        stranger.set_address(1, at.clone());
        assert!(matches!(ask(&stranger, 1).await, Err(PeerError::Unreachable { .. })));
        // The address of node 1, taken for node 5's.
        peers[0].set_address(5, at);
        assert!(matches!(ask(&peers[0], 5).await, Err(PeerError::Unreachable { .. })));
    }

    /// Answers with the name of the thread that it runs on.
    struct Where;

    impl Service for Where {
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
    async fn consensus_has_its_own_thread_and_files_have_not() {
        let (_folder, secret) = secret("swordfish");
        let (swift, asker) = (Swift::start().unwrap(), bind(0, secret.clone(), "127.0.0.1:0"));
        let node = PeerConfig { swift: swift.handle().clone(), ..config(1, secret, "127.0.0.1:0") };
        let node = Peer::bind(node).unwrap();
        asker.set_address(1, node.local_addr().unwrap().to_string());
        for protocol in [Protocol::Raft, Protocol::Cluster, Protocol::Blobs, Protocol::Work] {
            node.serve(protocol, Arc::new(Where));
            let thread: String = asker.call(1, protocol, "where?", Duration::from_secs(5)).await.unwrap();
            assert_eq!(thread == "consensus", protocol.is_swift(), "{protocol:?} is on {thread}");
        }
        node.close().await;
    }

    #[tokio::test]
    async fn a_peer_that_was_started_anew_is_reached_again() {
        let (_folder, secret) = secret("swordfish");
        let first = bind(0, secret.clone(), "127.0.0.1:0");
        let second = bind(1, secret.clone(), "127.0.0.1:0");
        second.serve(Protocol::Work, Arc::new(Echo));
        let at = second.local_addr().unwrap().to_string();
        first.set_address(1, at.clone());
        ask(&first, 1).await.unwrap();
        second.close().await;
        drop(second);
        let mut again = None;
        for _ in 0..100 {
            match Peer::bind(config(1, secret.clone(), &at)) {
                Ok(peer) => {
                    again = Some(peer);
                    break;
                }
                Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
            }
        }
        again.unwrap().serve(Protocol::Work, Arc::new(Echo));
        let mut answer = ask(&first, 1).await;
        for _ in 0..100 {
            if answer.is_ok() {
                break;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
            answer = ask(&first, 1).await;
        }
        assert_eq!(answer.unwrap(), "0: hello");
    }

    /// Answers with the id of the request that it was asked for.
    struct Named;

    impl Service for Named {
        fn serve(&self, _from: NodeId, mut stream: Stream) -> ServeFuture {
            Box::pin(async move {
                let _: String = stream.read_frame().await?;
                stream.write_frame(&RequestId::current().map(|id| id.to_string())).await?;
                stream.finish()
            })
        }
    }

    #[tokio::test]
    async fn a_requests_id_follows_it_to_another_node() {
        let peers = peers(2);
        peers[1].serve(Protocol::Work, Arc::new(Named));
        let asked = async || peers[0].call::<_, Option<String>>(1, Protocol::Work, "who?", PATIENCE).await.unwrap();
        let id = RequestId::new(b"upload-7").unwrap();
        assert_eq!(id.scope(asked()).await.as_deref(), Some("upload-7"));
        assert_eq!(asked().await, None);
    }

    /// The first words of a node that knows nothing of requests' ids.
    #[derive(Serialize, Deserialize)]
    struct OlderHello {
        id: NodeId,
        run: Uuid,
        cluster: Option<Uuid>,
    }

    #[tokio::test]
    async fn an_older_node_asks_and_is_answered() {
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
    async fn an_older_node_is_asked_in_words_that_it_understands() {
        let (_folder, secret) = secret("swordfish");
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
    fn a_short_secret_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("secret");
        std::fs::write(&path, "password").unwrap();
        assert!(matches!(Secret::read(&path), Err(SecretError::Short(_))));
        std::fs::remove_file(&path).unwrap();
        Secret::generate_if_missing(&path).unwrap();
        let made = std::fs::read(&path).unwrap();
        Secret::generate_if_missing(&path).unwrap();
        assert_eq!(made, std::fs::read(&path).unwrap());
    }
}

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

mod answering;
mod calling;
mod hearing;
mod identity;
mod lane;
mod numbers;
mod packets;
mod protocol;
mod stream;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::Duration;

use quinn::crypto::rustls::{QuicClientConfig, QuicServerConfig};
use quinn::{Endpoint, EndpointConfig, VarInt};
use serde::{Deserialize, Serialize};
use tokio::runtime::Handle;

use calling::Slot;
use hearing::Hearing;
use identity::{Identity, name_of};
pub use identity::{Secret, SecretError};
use lane::Lanes;
pub use lane::Swift;
use numbers::Numbers;
use packets::{LARGEST_PACKET, socket, transport};
pub use protocol::Protocol;
pub use stream::{LONGEST_FRAME, Stream};

use uuid::Uuid;

use storage::NodeId;
use storage::codec::CodecError;

/// Whoever holds the cluster's secret without being a node of it: the person at the command line. No node has this number.
pub const OPERATOR: NodeId = NodeId::MAX;

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
    Wire(#[from] CodecError),
    /// The other side broke the rules.
    #[error("the other node broke the protocol: {0}")]
    Protocol(String),
    /// The other side could not do what it was asked.
    #[error("the other node said: {0}")]
    Refused(String),
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

    /// Notes that the member did not answer in time.
    pub fn fell_silent(&self, node: NodeId) {
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

    /// Ends all connections in order.
    pub async fn close(&self) {
        self.0.endpoint.close(VarInt::from_u32(0), b"stopping");
        // Services hold handles on this endpoint; it could never go while it holds them.
        self.0.services.write().unwrap_or_else(PoisonError::into_inner).clear();
        // The farewells are packets too; a peer that is gone must not keep us.
        let _ = tokio::time::timeout(Duration::from_secs(1), self.0.endpoint.wait_idle()).await;
    }
}

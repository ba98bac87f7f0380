//! A node's QUIC endpoint.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use quinn::crypto::rustls::{QuicClientConfig, QuicServerConfig};
use quinn::{Endpoint, EndpointConfig, VarInt};
use tokio::runtime::Handle;
use uuid::Uuid;

use crate::call::SharedConnection;
use crate::identity::{Identity, name_of};
use crate::liveness::Liveness;
use crate::members::Members;
use crate::metrics::Metrics;
use crate::runtime::{self, Runtimes};
use crate::transport::{LARGEST_PACKET, socket, transport};
use crate::{NodeId, OPERATOR, PeerError, Protocol, Secret, Service};

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
    /// Where the connections of [`Protocol::Raft`] and [`Protocol::Cluster`] run, usually the handle of a
    /// [`ConsensusRuntime`](crate::ConsensusRuntime). `None` runs all connections on the current runtime.
    pub consensus_runtime: Option<Handle>,
}

pub(crate) struct Inner {
    pub(crate) id: NodeId,
    pub(crate) endpoint: Endpoint,
    pub(crate) runtimes: Runtimes,
    pub(crate) members: RwLock<Members>,
    pub(crate) cluster: Mutex<Option<Uuid>>,
    pub(crate) clients: HashMap<Protocol, quinn::ClientConfig>,
    pub(crate) services: RwLock<HashMap<Protocol, Arc<dyn Service>>>,
    pub(crate) connections: Mutex<HashMap<(NodeId, Protocol), SharedConnection>>,
    /// This process.
    pub(crate) run: Uuid,
    /// The processes that the members were last met as.
    pub(crate) runs: Mutex<HashMap<NodeId, Uuid>>,
    pub(crate) liveness: Liveness,
    pub(crate) metrics: Metrics,
}

/// This node's end of all connections. Cheap to clone.
#[derive(Clone)]
pub struct Peer(pub(crate) Arc<Inner>);

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
            if protocol.uses_consensus_runtime() {
                client.initial_dst_cid_provider(Arc::new(runtime::consensus_connection_id));
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
        let general = Handle::current();
        let runtimes = Runtimes { consensus: config.consensus_runtime.unwrap_or_else(|| general.clone()), general };
        let mut taken = EndpointConfig::new(Arc::new(reset));
        taken.max_udp_payload_size(LARGEST_PACKET).map_err(|error| told(&error))?;
        let endpoint = {
            let _entered = runtimes.consensus.enter();
            Endpoint::new(taken, server, socket, runtime).map_err(failed)?
        };
        let peer = Self(Arc::new(Inner {
            id: config.id,
            endpoint,
            runtimes,
            members: RwLock::new(Members { addresses: config.members, ..Members::default() }),
            cluster: Mutex::default(),
            clients,
            services: RwLock::default(),
            connections: Mutex::default(),
            run: Uuid::new_v4(),
            runs: Mutex::default(),
            liveness: Liveness::default(),
            metrics: Metrics::new(),
        }));
        peer.0.runtimes.consensus.spawn(peer.clone().accept());
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

    /// Whether the member failed to answer a moment ago. A hint for whom to ask first, no verdict.
    pub fn is_unresponsive(&self, node: NodeId) -> bool {
        self.0.liveness.is_unresponsive(node)
    }

    /// Notes that the member did not answer in time.
    pub fn note_timeout(&self, node: NodeId) {
        self.0.liveness.unanswered(node, &"no answer in time");
    }

    /// Brings the metrics of the connections up to date, for whoever looks at them next.
    pub fn update_metrics(&self) {
        self.0.metrics.update();
    }

    /// Answers a protocol from now on.
    pub fn serve(&self, protocol: Protocol, service: Arc<dyn Service>) {
        self.0.services.write().unwrap_or_else(PoisonError::into_inner).insert(protocol, service);
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

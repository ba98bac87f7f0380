//! A node's QUIC endpoint.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::{Mutex, RwLock};
use quinn::crypto::rustls::{QuicClientConfig, QuicServerConfig};
use quinn::{Endpoint, EndpointConfig};
use tokio::runtime::Handle;
use uuid::Uuid;

use crate::call::SharedConnection;
use crate::close::CloseCode;
use crate::identity::{Identity, name_of};
use crate::liveness::Liveness;
use crate::members::Members;
use crate::metrics::Metrics;
use crate::runtime::{self, Runtimes};
use crate::transport::{MAX_PACKET_BYTES, socket, transport};
use crate::{NodeId, OPERATOR, PeerError, Protocol, Secret, Service};

/// The settings of an endpoint.
pub struct PeerConfig {
    /// The id of this node.
    pub id: NodeId,
    /// The UDP address to listen on.
    pub listen: SocketAddr,
    /// The addresses of all members, including this node.
    pub members: BTreeMap<NodeId, String>,
    /// The cluster's secret.
    pub secret: Secret,
    /// The runtime for the connections of [`Protocol::Raft`] and [`Protocol::Cluster`], usually that of a
    /// [`ConsensusRuntime`](crate::ConsensusRuntime). `None` runs all connections on the current runtime.
    pub consensus_runtime: Option<Handle>,
}

pub(crate) struct Inner {
    pub(crate) id: NodeId,
    pub(crate) endpoint: Endpoint,
    pub(crate) runtimes: Runtimes,
    pub(crate) members: RwLock<Members>,
    /// The id of this node's cluster, once known.
    pub(crate) cluster: Mutex<Option<Uuid>>,
    /// The TLS and transport settings for dialling, per protocol.
    pub(crate) clients: HashMap<Protocol, quinn::ClientConfig>,
    pub(crate) services: RwLock<HashMap<Protocol, Arc<dyn Service>>>,
    pub(crate) connections: Mutex<HashMap<(NodeId, Protocol), SharedConnection>>,
    /// The random id of this process.
    pub(crate) process: Uuid,
    /// The process that each node last ran as.
    pub(crate) processes: Mutex<HashMap<NodeId, Uuid>>,
    pub(crate) liveness: Liveness,
    pub(crate) metrics: Metrics,
}

/// A node's endpoint. Cheap to clone.
#[derive(Clone)]
pub struct Peer(pub(crate) Arc<Inner>);

impl fmt::Debug for Peer {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "node {}", self.0.id)
    }
}

impl Peer {
    /// Opens the endpoint and starts to accept connections. Must be called within a Tokio runtime.
    pub fn bind(config: PeerConfig) -> Result<Self, PeerError> {
        let identity = Identity::new(config.id, &config.secret)?;
        let failed = |error: &dyn fmt::Display| PeerError::Identity(error.to_string());
        let transport = Arc::new(transport());
        let tls = QuicServerConfig::try_from(identity.server()?).map_err(|error| failed(&error))?;
        let mut server = quinn::ServerConfig::with_crypto(Arc::new(tls));
        server.transport_config(Arc::clone(&transport));
        let mut clients = HashMap::new();
        for protocol in Protocol::ALL {
            let tls = QuicClientConfig::try_from(identity.client(protocol)?).map_err(|error| failed(&error))?;
            let mut client = quinn::ClientConfig::new(Arc::new(tls));
            client.transport_config(Arc::clone(&transport));
            if protocol.uses_consensus_runtime() {
                client.initial_dst_cid_provider(Arc::new(runtime::consensus_connection_id));
            }
            clients.insert(protocol, client);
        }
        // A restarted node has the same reset key, so its peers learn at once that their old connections are closed.
        let reset = config.secret.derive(&format!("stateless reset of {}", name_of(config.id)))?;
        let reset = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, &reset);
        let mut settings = EndpointConfig::new(Arc::new(reset));
        settings.max_udp_payload_size(MAX_PACKET_BYTES).map_err(|error| failed(&error))?;
        // No node calls the operator.
        let server = (config.id != OPERATOR).then_some(server);
        let general = Handle::current();
        let runtimes = Runtimes { consensus: config.consensus_runtime.unwrap_or_else(|| general.clone()), general };
        let bind = |source| PeerError::Bind { address: config.listen, source };
        let socket = socket(config.listen).map_err(bind)?;
        let runtime = quinn::default_runtime().ok_or_else(|| failed(&"there is no Tokio runtime"))?;
        let endpoint = {
            // The endpoint's own task runs on the runtime that is entered here.
            let _entered = runtimes.consensus.enter();
            Endpoint::new(settings, server, socket, runtime).map_err(bind)?
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
            process: Uuid::new_v4(),
            processes: Mutex::default(),
            liveness: Liveness::default(),
            metrics: Metrics::new(),
        }));
        peer.0.runtimes.consensus.spawn(peer.clone().accept());
        Ok(peer)
    }

    /// The id of this node.
    pub fn id(&self) -> NodeId {
        self.0.id
    }

    /// The UDP address that the endpoint listens on.
    pub fn local_addr(&self) -> std::io::Result<SocketAddr> {
        self.0.endpoint.local_addr()
    }

    /// Sets the service of a protocol. Requests are served from now on.
    pub fn serve(&self, protocol: Protocol, service: Arc<dyn Service>) {
        self.0.services.write().insert(protocol, service);
    }

    /// Whether the member failed to answer in the last seconds. Callers ask such members last; it is only a hint.
    pub fn is_unresponsive(&self, node: NodeId) -> bool {
        self.0.liveness.is_unresponsive(node)
    }

    /// Records that the member did not answer in time.
    pub fn note_timeout(&self, node: NodeId) {
        self.0.liveness.unanswered(node, &"no answer in time");
    }

    /// Updates the metrics of the connections. Call it before the metrics are exported.
    pub fn update_metrics(&self) {
        self.0.metrics.update();
    }

    /// Closes all connections and waits up to a second until the other nodes are notified.
    pub async fn close(&self) {
        self.0.endpoint.close(CloseCode::Stopping.into(), b"stopping");
        // Services hold handles of this endpoint, which would keep it open.
        self.0.services.write().clear();
        let _ = tokio::time::timeout(Duration::from_secs(1), self.0.endpoint.wait_idle()).await;
    }
}

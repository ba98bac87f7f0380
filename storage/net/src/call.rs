//! Outgoing calls. A call dials its connection when there is none yet or when the last one is closed.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use quinn::Connection;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::close::CloseCode;
use crate::handshake::Hello;
use crate::identity::name_of;
use crate::{NodeId, Peer, PeerError, Protocol, Stream};

/// The longest time to connect, including both `Hello` frames.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);

/// A connection that this node dialled.
#[derive(Clone)]
pub(crate) struct Dialled {
    pub(crate) connection: Connection,
    /// Whether streams begin with the id of a request.
    request_ids: bool,
}

impl Dialled {
    async fn open(&self) -> Result<Stream, PeerError> {
        let (send, recv) = self.connection.open_bi().await?;
        Ok(Stream::opened(send, recv, self.request_ids))
    }
}

/// The connection to one node for one protocol, `None` until it is dialled. It is locked while it is dialled, so that
/// concurrent calls share one connection.
pub(crate) type SharedConnection = Arc<tokio::sync::Mutex<Option<Dialled>>>;

impl Peer {
    async fn connection(&self, node: NodeId, protocol: Protocol) -> Result<Dialled, PeerError> {
        let shared = Arc::clone(self.0.connections.lock().entry((node, protocol)).or_default());
        let mut current = shared.lock().await;
        if let Some(dialled) = current.as_ref().filter(|dialled| dialled.connection.close_reason().is_none()) {
            return Ok(dialled.clone());
        }
        *current = None;
        let address = self.0.members.read().addresses.get(&node).cloned();
        let address = address.ok_or(PeerError::Unknown(node))?;
        let dialled = tokio::time::timeout(CONNECT_TIMEOUT, self.dial(node, protocol, &address)).await;
        let reason = match dialled {
            Ok(Ok(dialled)) => {
                self.0.liveness.connected(node);
                self.0.metrics.connected(&dialled.connection, protocol, Some(node));
                *current = Some(dialled.clone());
                return Ok(dialled);
            }
            Ok(Err(error)) => error.to_string(),
            Err(_) => "no answer".into(),
        };
        self.0.metrics.handshake_failed();
        self.0.liveness.unanswered(node, &reason);
        Err(PeerError::Unreachable { node, address, reason })
    }

    async fn dial(&self, node: NodeId, protocol: Protocol, address: &str) -> Result<Dialled, PeerError> {
        let failed = |error: &dyn fmt::Display| PeerError::Protocol(error.to_string());
        let resolved = tokio::net::lookup_host(address)
            .await
            .map_err(|error| failed(&error))?
            .next()
            .ok_or_else(|| failed(&"the address has no IP address"))?;
        let client = self.0.clients[&protocol].clone();
        let connecting = {
            // The connection's own task runs on the runtime that is entered here.
            let _entered = self.0.runtimes.get(protocol.uses_consensus_runtime()).enter();
            self.0.endpoint.connect_with(client, resolved, &name_of(node)).map_err(|error| failed(&error))?
        };
        let connection = connecting.await?;
        let (send, recv) = connection.open_bi().await?;
        let mut stream = Stream::plain(send, recv);
        stream.write_frame(&self.hello()).await?;
        // A node that rejects this one closes the connection with its reason.
        let answered = stream.read_frame::<Hello>().await;
        let hello = answered.map_err(|error| connection.close_reason().map_or(error, PeerError::Connection))?;
        if hello.id != node {
            return Err(failed(&format!("node {} listens there", hello.id)));
        }
        if let Some(rejection) = self.rejection(&hello, Protocol::Cluster) {
            connection.close(CloseCode::Rejected.into(), rejection.as_bytes());
            return Err(failed(&rejection));
        }
        self.note_process(&hello);
        Ok(Dialled { connection, request_ids: hello.request_ids })
    }

    /// Opens a stream to another node, for requests with bulk data. The caller must write a frame first.
    pub async fn open(&self, node: NodeId, protocol: Protocol) -> Result<Stream, PeerError> {
        self.connection(node, protocol).await?.open().await
    }

    /// Sends one request and reads one answer. `timeout` covers everything, including dialling. A node may call itself.
    pub async fn call<Q: Serialize + ?Sized, A: DeserializeOwned>(
        &self,
        node: NodeId,
        protocol: Protocol,
        request: &Q,
        timeout: Duration,
    ) -> Result<A, PeerError> {
        let began = Instant::now();
        let answer = self.call_once(node, protocol, request, timeout).await;
        if answer.is_ok() {
            self.0.liveness.answered(node);
        }
        self.0.metrics.call(protocol, began, &answer);
        answer
    }

    async fn call_once<Q: Serialize + ?Sized, A: DeserializeOwned>(
        &self,
        node: NodeId,
        protocol: Protocol,
        request: &Q,
        timeout: Duration,
    ) -> Result<A, PeerError> {
        let exchange = async |dialled: &Dialled| {
            let mut stream = dialled.open().await?;
            stream.write_frame(request).await?;
            stream.finish()?;
            stream.read_frame().await
        };
        let began = Instant::now();
        let dialled = tokio::time::timeout(timeout, self.connection(node, protocol)).await;
        let Ok(dialled) = dialled else {
            self.note_timeout(node);
            return Err(PeerError::Timeout(node));
        };
        let dialled = dialled?;
        let received = dialled.connection.stats().udp_rx.datagrams;
        let left = timeout.saturating_sub(began.elapsed());
        match tokio::time::timeout(left, exchange(&dialled)).await {
            Ok(answer) => answer,
            Err(_) => {
                // No packet arrived, not even an acknowledgement: the other process is gone. The next call dials again,
                // which is faster than QUIC's own retransmissions with their growing intervals.
                if dialled.connection.stats().udp_rx.datagrams == received {
                    dialled.connection.close(CloseCode::Silent.into(), b"no packets arrive from you");
                }
                self.note_timeout(node);
                Err(PeerError::Timeout(node))
            }
        }
    }

    /// Closes the connections that this node dialled to another one.
    pub(crate) fn close_connections(&self, to: NodeId, code: CloseCode, reason: &[u8]) {
        for ((node, _), shared) in self.0.connections.lock().iter() {
            // A locked connection is being dialled right now, so it leads to the current process.
            if *node == to
                && let Ok(mut current) = shared.try_lock()
                && let Some(dialled) = current.take()
            {
                dialled.connection.close(code.into(), reason);
            }
        }
    }
}

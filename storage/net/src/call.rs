//! The calling side: connections are dialled when they are first needed, and again when they broke.

use std::fmt;
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use quinn::{Connection, VarInt};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::handshake::Hello;
use crate::identity::name_of;
use crate::{NodeId, Peer, PeerError, Protocol, Stream};

/// How long a connection may take to come about.
const CONNECT_WITHIN: Duration = Duration::from_secs(1);

/// A connection that this node dialled.
#[derive(Clone)]
pub(crate) struct Dialled {
    pub(crate) connection: Connection,
    /// Whether streams begin with a request's id.
    request_ids: bool,
}

impl Dialled {
    async fn open(&self) -> Result<Stream, PeerError> {
        let (send, recv) = self.connection.open_bi().await?;
        Ok(Stream::opened(send, recv, self.request_ids))
    }
}

/// The connection to one peer for one protocol, if there is one; locked while it is dialled.
pub(crate) type SharedConnection = Arc<tokio::sync::Mutex<Option<Dialled>>>;

impl Peer {
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
                self.0.liveness.connected(node);
                self.0.metrics.connected(&dialled.connection, protocol, Some(node));
                *kept = Some(dialled.clone());
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
        let told = |error: &dyn fmt::Display| PeerError::Protocol(error.to_string());
        let resolved = tokio::net::lookup_host(address)
            .await
            .map_err(|error| told(&error))?
            .next()
            .ok_or_else(|| told(&"the address names no host"))?;
        let client = self.0.clients[&protocol].clone();
        let connecting = {
            let _runtime = self.0.runtimes.of(protocol.uses_consensus_runtime()).enter();
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
            self.0.liveness.answered(node);
        }
        self.0.metrics.call(protocol, began, &answer);
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
            self.note_timeout(node);
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
                self.note_timeout(node);
                Err(PeerError::Timeout(node))
            }
        }
    }

    pub(crate) fn drop_connections(&self, to: NodeId, code: u32, reason: &[u8]) {
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
}

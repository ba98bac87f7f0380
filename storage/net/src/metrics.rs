//! What is counted of connections and calls.
//!
//! Calls are counted as they end. Bytes are QUIC's own figures, which each connection keeps for itself; they are added
//! up when somebody looks, and when a connection has ended, so that nothing is counted piece by piece.

use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use metrics::{Counter, Histogram, counter, gauge, histogram};
use quinn::Connection;

use crate::NodeId;
use crate::{PeerError, Protocol};

/// The metrics of one protocol.
struct ProtocolMetrics {
    answered: Counter,
    failed: Counter,
    seconds: Histogram,
    sent: Counter,
    received: Counter,
}

impl ProtocolMetrics {
    fn new(protocol: Protocol) -> Self {
        let of = [("protocol", protocol.name())];
        let outcome = |outcome| [("protocol", protocol.name()), ("outcome", outcome)];
        Self {
            answered: counter!("quartet_quic_calls_total", &outcome("answered")),
            failed: counter!("quartet_quic_calls_total", &outcome("failed")),
            seconds: histogram!("quartet_quic_call_seconds", &of),
            sent: counter!("quartet_quic_sent_bytes_total", &of),
            received: counter!("quartet_quic_received_bytes_total", &of),
        }
    }
}

/// A connection, and how much of its traffic is counted.
struct Counted {
    connection: Connection,
    protocol: Protocol,
    /// The other side, where this one dialled.
    dialled: Option<NodeId>,
    sent: u64,
    received: u64,
}

/// What one endpoint counts.
pub(crate) struct Metrics {
    protocols: [ProtocolMetrics; Protocol::ALL.len()],
    connections: Mutex<Vec<Counted>>,
}

impl Metrics {
    pub(crate) fn new() -> Self {
        Self { protocols: Protocol::ALL.map(ProtocolMetrics::new), connections: Mutex::default() }
    }

    /// Counts a call that has ended.
    pub(crate) fn call<T>(&self, protocol: Protocol, began: Instant, result: &Result<T, PeerError>) {
        let metrics = &self.protocols[protocol as usize];
        match result {
            Ok(_) => {
                metrics.answered.increment(1);
                metrics.seconds.record(began.elapsed().as_secs_f64());
            }
            Err(_) => metrics.failed.increment(1),
        }
    }

    /// Counts a connection that did not come about.
    pub(crate) fn handshake_failed(&self) {
        counter!("quartet_quic_handshakes_failed_total").increment(1);
    }

    /// Counts a connection's traffic from now on.
    pub(crate) fn connected(&self, connection: &Connection, protocol: Protocol, dialled: Option<NodeId>) {
        let mut connections = self.connections.lock().unwrap_or_else(PoisonError::into_inner);
        // Those that have ended go here too, for a node whose metrics nobody looks at.
        connections.retain_mut(|counted| self.add_up(counted));
        connections.push(Counted { connection: connection.clone(), protocol, dialled, sent: 0, received: 0 });
    }

    /// Brings everything up to date.
    pub(crate) fn update(&self) {
        let mut connections = self.connections.lock().unwrap_or_else(PoisonError::into_inner);
        connections.retain_mut(|counted| self.add_up(counted));
        for protocol in Protocol::ALL {
            let open = connections.iter().filter(|counted| counted.protocol == protocol).count();
            gauge!("quartet_quic_connections", "protocol" => protocol.name()).set(open as f64);
        }
        for counted in connections.iter().filter(|counted| counted.protocol == Protocol::Raft) {
            if let Some(peer) = counted.dialled {
                let rtt = counted.connection.rtt().as_secs_f64();
                gauge!("quartet_quic_rtt_seconds", "peer" => peer.to_string()).set(rtt);
            }
        }
    }

    /// Counts what has travelled since it was last counted; false when there will be no more.
    fn add_up(&self, counted: &mut Counted) -> bool {
        let open = counted.connection.close_reason().is_none();
        let stats = counted.connection.stats();
        let metrics = &self.protocols[counted.protocol as usize];
        metrics.sent.increment(stats.udp_tx.bytes.saturating_sub(counted.sent));
        metrics.received.increment(stats.udp_rx.bytes.saturating_sub(counted.received));
        (counted.sent, counted.received) = (stats.udp_tx.bytes, stats.udp_rx.bytes);
        open
    }
}

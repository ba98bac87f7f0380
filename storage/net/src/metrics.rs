//! Metrics of connections and calls.
//!
//! Calls are counted when they end. The bytes are quinn's own counters of each connection. They are added to the
//! metrics when the metrics are exported and when another connection opens, not with each packet.

use std::time::Instant;

use metrics::{Counter, Histogram, counter, gauge, histogram};
use parking_lot::Mutex;
use quinn::Connection;

use crate::{NodeId, PeerError, Protocol};

struct ProtocolMetrics {
    answered: Counter,
    failed: Counter,
    seconds: Histogram,
    sent: Counter,
    received: Counter,
}

impl ProtocolMetrics {
    fn new(protocol: Protocol) -> Self {
        let labels = [("protocol", protocol.name())];
        let outcome = |outcome| [("protocol", protocol.name()), ("outcome", outcome)];
        Self {
            answered: counter!("quartet_quic_calls_total", &outcome("answered")),
            failed: counter!("quartet_quic_calls_total", &outcome("failed")),
            seconds: histogram!("quartet_quic_call_seconds", &labels),
            sent: counter!("quartet_quic_sent_bytes_total", &labels),
            received: counter!("quartet_quic_received_bytes_total", &labels),
        }
    }
}

/// A connection, and how many of its bytes the metrics contain.
struct CountedConnection {
    connection: Connection,
    protocol: Protocol,
    /// The other node, if this node dialled.
    dialled: Option<NodeId>,
    sent: u64,
    received: u64,
}

/// The metrics of one endpoint.
pub(crate) struct Metrics {
    protocols: [ProtocolMetrics; Protocol::ALL.len()],
    connections: Mutex<Vec<CountedConnection>>,
}

impl Metrics {
    pub(crate) fn new() -> Self {
        Self { protocols: Protocol::ALL.map(ProtocolMetrics::new), connections: Mutex::default() }
    }

    /// Counts a call that ended.
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

    /// Counts a connection that could not be opened.
    pub(crate) fn handshake_failed(&self) {
        counter!("quartet_quic_handshakes_failed_total").increment(1);
    }

    /// Counts the traffic of a new connection from now on.
    pub(crate) fn connected(&self, connection: &Connection, protocol: Protocol, dialled: Option<NodeId>) {
        let mut connections = self.connections.lock();
        // Nothing else removes closed connections on a node whose metrics are never exported.
        connections.retain_mut(|counted| self.add_traffic(counted));
        connections.push(CountedConnection { connection: connection.clone(), protocol, dialled, sent: 0, received: 0 });
    }

    /// Updates all metrics of connections.
    pub(crate) fn update(&self) {
        let mut connections = self.connections.lock();
        connections.retain_mut(|counted| self.add_traffic(counted));
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

    /// Adds the connection's new traffic to the metrics. Returns false if the connection is closed.
    fn add_traffic(&self, counted: &mut CountedConnection) -> bool {
        let open = counted.connection.close_reason().is_none();
        let stats = counted.connection.stats();
        let metrics = &self.protocols[counted.protocol as usize];
        metrics.sent.increment(stats.udp_tx.bytes.saturating_sub(counted.sent));
        metrics.received.increment(stats.udp_rx.bytes.saturating_sub(counted.received));
        (counted.sent, counted.received) = (stats.udp_tx.bytes, stats.udp_rx.bytes);
        open
    }
}

//! The state of a node's connection to RabbitMQ.

use serde::{Deserialize, Serialize};

/// The state of a node's connection to RabbitMQ.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct BrokerStatus {
    /// The prefix of the names of its queues.
    pub prefix: String,
    /// Increases with each connection. The messages of an earlier session may be lost.
    pub session: u64,
    /// Whether the node is connected.
    pub connected: bool,
    /// The number of messages that wait in all queues, if known.
    pub ready: Option<u64>,
}

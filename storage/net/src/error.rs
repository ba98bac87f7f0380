//! Why a call to another node failed.

use std::net::SocketAddr;

use codec::CodecError;

use crate::NodeId;

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
    Codec(#[from] CodecError),
    /// The other side broke the rules.
    #[error("the other node broke the protocol: {0}")]
    Protocol(String),
    /// The other side could not do what it was asked.
    #[error("the other node said: {0}")]
    Refused(String),
}

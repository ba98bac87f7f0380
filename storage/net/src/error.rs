//! Why a call between nodes failed.

use std::net::SocketAddr;

use codec::CodecError;

use crate::NodeId;

/// A failed call, or an endpoint that could not start.
#[derive(Debug, thiserror::Error)]
pub enum PeerError {
    /// The endpoint could not listen.
    #[error("cannot listen on the QUIC address {address}, another program may use it: {source}")]
    Bind {
        /// The UDP address to listen on.
        address: SocketAddr,
        /// The error of the operating system.
        source: std::io::Error,
    },
    /// Keys or certificates could not be created.
    #[error("cannot create this node's identity: {0}")]
    Identity(String),
    /// This node has no address for the node.
    #[error("node {0} is not a member of this cluster")]
    Unknown(NodeId),
    /// No connection could be made.
    #[error("cannot reach node {node} at {address}: {reason}")]
    Unreachable {
        /// The node that was dialled.
        node: NodeId,
        /// The address that was dialled.
        address: String,
        /// The error of the last attempt.
        reason: String,
    },
    /// The answer did not arrive in time.
    #[error("node {0} did not answer in time")]
    Timeout(NodeId),
    /// The connection was lost.
    #[error("connection lost: {0}")]
    Connection(#[from] quinn::ConnectionError),
    /// The other side stopped reading.
    #[error("the other node stopped reading: {0}")]
    Write(#[from] quinn::WriteError),
    /// The other side stopped sending.
    #[error("the other node stopped sending: {0}")]
    Read(#[from] quinn::ReadExactError),
    /// A value could not be encoded or decoded.
    #[error(transparent)]
    Codec(#[from] CodecError),
    /// The other side sent something that the protocol does not allow.
    #[error("protocol violation: {0}")]
    Protocol(String),
    /// The request was valid, but could not be carried out.
    #[error("the other node rejected the request: {0}")]
    Refused(String),
}

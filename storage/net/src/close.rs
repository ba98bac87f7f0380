//! The application error codes with which an endpoint closes connections.

use quinn::VarInt;

/// Why this node closes a connection. The other side sees the code and a sentence in its logs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum CloseCode {
    /// This process stops.
    Stopping = 0,
    /// The certificate names another node than the handshake.
    WrongCertificate = 1,
    /// No packet arrived while a call waited for its answer.
    Silent = 2,
    /// The other node runs as a new process, so the connection leads to the old one.
    Restarted = 3,
    /// The other node is not a member any more, or has another address.
    Removed = 4,
    /// The handshake was rejected.
    Rejected = 5,
}

impl From<CloseCode> for VarInt {
    fn from(code: CloseCode) -> Self {
        Self::from_u32(code as u32)
    }
}

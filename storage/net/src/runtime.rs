//! The two runtimes that connections run on.
//!
//! An endpoint must choose the runtime of an incoming connection before it answers the first packet, but it learns the
//! connection's protocol only from the TLS handshake. So the dialling side marks connections of consensus with the one
//! value that it chooses before: the initial destination connection id (RFC 9000, section 7.2) begins with
//! [`CONSENSUS_PREFIX`]. The mark proves nothing: a false one puts a connection on the wrong runtime and has no other
//! effect. Connections without the mark run on the general runtime.

use std::io;
use std::thread::JoinHandle;

use quinn::ConnectionId;
use tokio::runtime::{Builder, Handle};
use tokio::sync::oneshot;
use uuid::Uuid;

/// The first bytes of the initial destination connection id of a consensus connection.
const CONSENSUS_PREFIX: &[u8; 4] = b"swft";

/// A random connection id with the prefix, of the largest length that QUIC allows (20 bytes).
pub(crate) fn consensus_connection_id() -> ConnectionId {
    let mut id = [0; 20];
    let (prefix, random) = id.split_at_mut(CONSENSUS_PREFIX.len());
    prefix.copy_from_slice(CONSENSUS_PREFIX);
    random.copy_from_slice(Uuid::new_v4().as_bytes());
    ConnectionId::new(&id)
}

/// Whether the initial destination connection id marks a consensus connection.
pub(crate) fn is_consensus_connection(id: &ConnectionId) -> bool {
    id.starts_with(CONSENSUS_PREFIX)
}

/// The runtimes of an endpoint's connections.
pub(crate) struct Runtimes {
    pub(crate) consensus: Handle,
    pub(crate) general: Handle,
}

impl Runtimes {
    /// The runtime of consensus, or the general one.
    pub(crate) fn get(&self, consensus: bool) -> &Handle {
        if consensus { &self.consensus } else { &self.general }
    }
}

/// A runtime with one thread of its own, for consensus: file transfers and page loads do not delay it, and the steps of
/// a call follow each other without waking another thread. Dropping it ends all tasks on it.
pub struct ConsensusRuntime {
    handle: Handle,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl ConsensusRuntime {
    /// Starts the thread, which is named `consensus`.
    pub fn start() -> io::Result<Self> {
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let handle = runtime.handle().clone();
        let (stop, stopped) = oneshot::channel();
        let run = move || {
            let _ = runtime.block_on(stopped);
        };
        let thread = std::thread::Builder::new().name("consensus".into()).spawn(run)?;
        Ok(Self { handle, stop: Some(stop), thread: Some(thread) })
    }

    /// A handle to spawn tasks with.
    pub fn handle(&self) -> &Handle {
        &self.handle
    }
}

impl Drop for ConsensusRuntime {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connection_ids_mark_consensus_connections() {
        assert!(is_consensus_connection(&consensus_connection_id()));
        assert_ne!(consensus_connection_id(), consensus_connection_id());
        for id in [&b"swif"[..], b"", &[7; 20]] {
            assert!(!is_consensus_connection(&ConnectionId::new(id)));
        }
    }
}

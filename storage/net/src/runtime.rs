//! The two runtimes that connections run on.
//!
//! Whose a connection is must be known before its first packet is answered, and its protocol is known only after the
//! handshake. So the dialler says it in the one thing that it chooses itself before: the connection's first name. That is
//! no secret and no proof; whoever lies has his connection on the other runtime, and a node from before knows no such
//! names and has all of its connections on the usual one.

use std::io;
use std::thread::JoinHandle;

use quinn::ConnectionId;
use tokio::runtime::{Builder, Handle};
use tokio::sync::oneshot;
use uuid::Uuid;

/// How the first name of a swift connection begins.
const CONSENSUS_PREFIX: &[u8; 4] = b"swft";

/// A first name for a swift connection, as long as names may be.
pub(crate) fn consensus_connection_id() -> ConnectionId {
    let mut name = [0; 20];
    let (mark, rest) = name.split_at_mut(CONSENSUS_PREFIX.len());
    mark.copy_from_slice(CONSENSUS_PREFIX);
    rest.copy_from_slice(Uuid::new_v4().as_bytes());
    ConnectionId::new(&name)
}

/// Whether a connection that was first called so is a swift one.
pub(crate) fn is_consensus_connection(name: &ConnectionId) -> bool {
    name.starts_with(CONSENSUS_PREFIX)
}

/// Where connections run.
pub(crate) struct Runtimes {
    pub(crate) consensus: Handle,
    pub(crate) general: Handle,
}

impl Runtimes {
    pub(crate) fn of(&self, consensus: bool) -> &Handle {
        if consensus { &self.consensus } else { &self.general }
    }
}

/// A runtime that is one thread. Whatever runs on it ends when this is dropped.
pub struct ConsensusRuntime {
    handle: Handle,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl ConsensusRuntime {
    /// Starts the thread.
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

    /// Where to spawn.
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
    fn swift_connections_are_told_by_their_first_names() {
        assert!(is_consensus_connection(&consensus_connection_id()));
        assert_ne!(consensus_connection_id(), consensus_connection_id());
        for name in [&b"swif"[..], b"", &[7; 20]] {
            assert!(!is_consensus_connection(&ConnectionId::new(name)));
        }
    }
}

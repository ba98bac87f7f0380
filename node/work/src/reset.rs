//! Resets: every worker drops its running work at once.
//!
//! A reset reaches a node through the broker's fanout exchange and by a call over QUIC. Its id makes the two one. The
//! workers stop at the next segment and release their tasks, which does not count as a failure.

use tokio::sync::watch;
use uuid::Uuid;

/// This node's receiver of resets. Clones share one state.
#[derive(Debug, Clone)]
pub struct Reset(watch::Sender<Option<Uuid>>);

impl Default for Reset {
    fn default() -> Self {
        Self(watch::Sender::new(None))
    }
}

impl Reset {
    /// Drops the work that runs at this node, unless this reset was received before.
    pub fn trigger(&self, id: Uuid) {
        let is_new = self.0.send_if_modified(|last| last.replace(id) != Some(id));
        if is_new {
            tracing::warn!(%id, "reset: dropping all running work");
        }
    }

    /// Reports each reset from now on.
    pub(crate) fn subscribe(&self) -> watch::Receiver<Option<Uuid>> {
        self.0.subscribe()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reset_that_arrives_twice_is_applied_once() {
        let reset = Reset::default();
        let mut received = reset.subscribe();
        let (one, two) = (Uuid::new_v4(), Uuid::new_v4());
        let mut applied = Vec::new();
        for id in [one, one, two, two] {
            reset.trigger(id);
            if received.has_changed().unwrap() {
                applied.push(*received.borrow_and_update());
            }
        }
        assert_eq!(applied, [Some(one), Some(two)]);
    }
}

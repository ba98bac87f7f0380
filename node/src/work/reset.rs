//! Dropping all running work at once, at every worker.
//!
//! A reset reaches a node as a message in the fanout exchange or as a call over QUIC, whichever comes; each reset has an
//! id, so that one that comes both ways is one. Its workers stop at the next segment and hand their tasks back, which
//! counts as no failure, and the tasks begin anew wherever a worker is free.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use net::peer::{Peer, Protocol};
use storage::NodeId;
use tokio::sync::watch;
use uuid::Uuid;

use super::broker::Broker;
use super::service::{Call, Reply};

/// How long a node may take to answer that it heard.
const PATIENCE: Duration = Duration::from_secs(5);

/// One node's ear for resets.
#[derive(Debug)]
pub(crate) struct Reset {
    raised: watch::Sender<u64>,
    last: Mutex<Option<Uuid>>,
}

impl Reset {
    /// Nothing was reset yet.
    pub(crate) fn new() -> Self {
        Self { raised: watch::Sender::new(0), last: Mutex::default() }
    }

    /// Drops what runs at this node, unless this reset was heard before.
    pub(crate) fn hear(&self, id: Uuid) {
        let before = self.last.lock().unwrap_or_else(PoisonError::into_inner).replace(id);
        if before != Some(id) {
            tracing::warn!(%id, "reset: all running work is dropped");
            self.raised.send_modify(|count| *count += 1);
        }
    }

    /// Tells of every reset from now on.
    pub(crate) fn watch(&self) -> watch::Receiver<u64> {
        self.raised.subscribe()
    }

    /// Tells every member, over QUIC and through the broker, and returns those that did not answer over QUIC. They may
    /// have heard through the broker; a node that is gone works on nothing.
    pub(crate) async fn everywhere(&self, peer: &Peer, broker: Option<&Broker>) -> Vec<NodeId> {
        let id = Uuid::new_v4();
        self.hear(id);
        let others: Vec<NodeId> = peer.members().into_iter().filter(|member| *member != peer.id()).collect();
        let told = others.into_iter().map(|member| async move {
            let heard = peer.call::<_, Reply>(member, Protocol::Work, &Call::Reset { id }, PATIENCE).await;
            (!matches!(heard, Ok(Reply::Heard))).then_some(member)
        });
        let published = async {
            match broker {
                Some(broker) => broker.publish_reset(id).await,
                None => false,
            }
        };
        let (silent, _) = tokio::join!(futures_util::future::join_all(told), published);
        silent.into_iter().flatten().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reset_that_comes_both_ways_is_one() {
        let reset = Reset::new();
        let watch = reset.watch();
        let (one, two) = (Uuid::new_v4(), Uuid::new_v4());
        for id in [one, one, two, two] {
            reset.hear(id);
        }
        assert_eq!(*watch.borrow(), 2);
    }
}

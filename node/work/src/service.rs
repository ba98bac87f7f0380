//! Answers the calls of other nodes, and resets all nodes.

use std::sync::Arc;
use std::time::Duration;

use net::{NodeId, Peer, Protocol, ServeFuture, Service, Stream};
use uuid::Uuid;

use crate::broker::{Broker, Message};
use crate::protocol::{Call, POLL_TIMEOUT, Reply};
use crate::reset::Reset;
use crate::scheduler::Scheduler;

/// How long a node may take to confirm a reset.
const RESET_TIMEOUT: Duration = Duration::from_secs(5);

/// Answers the calls of other nodes.
pub struct WorkService {
    /// Gives tasks.
    pub scheduler: Arc<Scheduler>,
    /// Receives resets.
    pub reset: Reset,
}

impl Service for WorkService {
    fn serve(&self, _from: NodeId, mut stream: Stream) -> ServeFuture {
        let (scheduler, reset) = (Arc::clone(&self.scheduler), self.reset.clone());
        Box::pin(async move {
            let reply = match stream.read_frame::<Call>().await? {
                Call::Next { has_broker } => Reply::Next(scheduler.next(has_broker, POLL_TIMEOUT).await),
                Call::Reset { id } => {
                    reset.trigger(id);
                    Reply::Reset
                }
            };
            stream.write_frame(&reply).await?;
            stream.finish()
        })
    }
}

/// Resets every member, over QUIC and through the broker, and returns the members that did not confirm over QUIC. They
/// may have received the reset through the broker.
pub async fn reset_all(reset: &Reset, peer: &Peer, broker: Option<&dyn Broker>) -> Vec<NodeId> {
    let id = Uuid::new_v4();
    reset.trigger(id);
    let others = peer.members().into_iter().filter(|member| *member != peer.id());
    let calls = others.map(|member| async move {
        let reply = peer.call::<_, Reply>(member, Protocol::Work, &Call::Reset { id }, RESET_TIMEOUT).await;
        (!matches!(reply, Ok(Reply::Reset))).then_some(member)
    });
    let published = async {
        match broker {
            Some(broker) => broker.publish(Message::Reset(id)).await,
            None => false,
        }
    };
    let (silent, _) = tokio::join!(futures_util::future::join_all(calls), published);
    silent.into_iter().flatten().collect()
}

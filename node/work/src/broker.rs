//! The interface to a message broker.

use futures_util::future::BoxFuture;
use live::BrokerStatus;
use tokio::sync::watch;
use uuid::Uuid;

use crate::Dispatch;

/// A message for the workers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Message {
    /// A task is open; one worker gets the message.
    Dispatch(Dispatch),
    /// All running work is to be dropped; every node gets the message.
    Reset(Uuid),
}

/// A message broker. Deliveries go to the channel that the implementation was started with.
pub trait Broker: Send + Sync + 'static {
    /// The status of the connection, now and when it changes.
    fn status(&self) -> watch::Receiver<BrokerStatus>;

    /// Publishes a message and waits until the broker has confirmed it; false if it has not.
    fn publish(&self, message: Message) -> BoxFuture<'_, bool>;
}

//! The queue between a cluster and its external workers.
//!
//! The body of a message is a song's file, and its `message_id` is the file's SHA-256 in hex. Two optional headers name
//! the model and the job. An existing queue of the configured name is used as it is, whatever its properties. Otherwise
//! it is declared as a durable quorum queue with a dead-letter queue for messages that were delivered too often.

use std::time::Duration;

use lapin::options::{BasicPublishOptions, QueueDeclareOptions};
use lapin::types::{AMQPValue, FieldTable, ShortString};
use lapin::{BasicProperties, Channel, Confirmation, Connection, Queue};
use storage::blobs::Hash;

use crate::amqp::{BrokerError, PERSISTENT, quorum, with_timeout};

/// The header that names the model.
const MODEL: &str = "model";
/// The header that names the job.
const JOB: &str = "job";
/// Deliveries of one song before it goes to the dead-letter queue, which bounds the workers that a song can crash.
const DELIVERY_LIMIT: i64 = 10;
/// How long a worker may take to acknowledge a song, in milliseconds: six hours. The default of half an hour is too short
/// for a long song on a slow machine. RabbitMQ before 3.12 ignores this argument and delivers a slow song again, which
/// costs work and is harmless.
const CONSUMER_TIMEOUT_MS: i64 = 6 * 3600 * 1000;
/// How long the broker may take to store a song.
const STORE_TIMEOUT: Duration = Duration::from_secs(60);

/// A song for an external worker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExternalMessage {
    /// SHA-256 of the file.
    pub hash: Hash,
    /// The model, if the message names one.
    pub model: Option<String>,
    /// The job, if the message names one.
    pub job: Option<u64>,
}

/// The queue's message and consumer counts; an error if there is no such queue.
pub async fn inspect(channel: &Channel, queue: &str) -> Result<Queue, BrokerError> {
    let passive = QueueDeclareOptions { passive: true, durable: true, ..Default::default() };
    with_timeout(channel.queue_declare(queue.into(), passive, FieldTable::default())).await
}

/// Declares the queue unless it exists.
pub async fn declare(connection: &Connection, queue: &str) -> Result<(), BrokerError> {
    // On a separate channel, because a refusal closes the channel.
    if inspect(&with_timeout(connection.create_channel()).await?, queue).await.is_ok() {
        return Ok(());
    }
    let channel = with_timeout(connection.create_channel()).await?;
    let (lasting, dead) = (QueueDeclareOptions { durable: true, ..Default::default() }, format!("{queue}.dead"));
    with_timeout(channel.queue_declare(dead.as_str().into(), lasting, quorum())).await?;
    let mut arguments = quorum();
    arguments.insert("x-delivery-limit".into(), AMQPValue::LongLongInt(DELIVERY_LIMIT));
    arguments.insert("x-consumer-timeout".into(), AMQPValue::LongLongInt(CONSUMER_TIMEOUT_MS));
    // The default exchange routes a message to the queue named by its key.
    arguments.insert("x-dead-letter-exchange".into(), AMQPValue::LongString("".into()));
    arguments.insert("x-dead-letter-routing-key".into(), AMQPValue::LongString(dead.as_str().into()));
    with_timeout(channel.queue_declare(queue.into(), lasting, arguments)).await?;
    Ok(())
}

/// Publishes a song and waits until the broker has stored it. The channel must have publisher confirms on.
pub async fn publish(
    channel: &Channel,
    queue: &str,
    message: &ExternalMessage,
    song: &[u8],
) -> Result<(), BrokerError> {
    let published = async {
        let options = BasicPublishOptions { mandatory: true, ..Default::default() };
        let confirm = channel.basic_publish("".into(), queue.into(), options, song, message.properties()).await?;
        match confirm.await? {
            Confirmation::Ack(None) => Ok(()),
            _ => Err(BrokerError::Unroutable),
        }
    };
    tokio::time::timeout(STORE_TIMEOUT, published).await.unwrap_or(Err(BrokerError::Timeout))
}

impl ExternalMessage {
    fn properties(&self) -> BasicProperties {
        let mut headers = FieldTable::default();
        if let Some(model) = &self.model {
            headers.insert(MODEL.into(), AMQPValue::LongString(model.as_str().into()));
        }
        if let Some(job) = self.job.and_then(|job| i64::try_from(job).ok()) {
            headers.insert(JOB.into(), AMQPValue::LongLongInt(job));
        }
        BasicProperties::default()
            .with_delivery_mode(PERSISTENT)
            .with_content_type("application/octet-stream".into())
            .with_message_id(self.hash.to_string().into())
            .with_headers(headers)
    }

    /// Reads a message's properties; none without a hash.
    pub fn of(properties: &BasicProperties) -> Option<Self> {
        let hash = properties.message_id().as_ref().map(ShortString::as_str)?.parse().ok()?;
        let header = |name: &str| properties.headers().as_ref()?.inner().get(name).cloned();
        let model = match header(MODEL) {
            Some(AMQPValue::LongString(name)) => Some(String::from_utf8_lossy(name.as_bytes()).into_owned()),
            Some(AMQPValue::ShortString(name)) => Some(name.as_str().to_owned()),
            _ => None,
        };
        let job = match header(JOB) {
            Some(AMQPValue::LongLongInt(job)) => u64::try_from(job).ok(),
            Some(AMQPValue::LongInt(job)) => u64::try_from(job).ok(),
            Some(AMQPValue::LongString(job)) => String::from_utf8_lossy(job.as_bytes()).parse().ok(),
            _ => None,
        };
        Some(Self { hash, model, job })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn properties_are_read_back() {
        let hash = Hash::of(b"song");
        for message in [
            ExternalMessage { hash, model: Some("htdemucs".into()), job: Some(7) },
            ExternalMessage { hash, model: None, job: None },
        ] {
            assert_eq!(ExternalMessage::of(&message.properties()), Some(message));
        }
        assert_eq!(ExternalMessage::of(&BasicProperties::default()), None);
        assert_eq!(ExternalMessage::of(&BasicProperties::default().with_message_id("a song".into())), None);
    }
}

//! The queue between a cluster and its workers outside.
//!
//! The body of a message is a song's file, its `message_id` the file's SHA-256 in hex. Two headers say more: which model
//! is to separate it, and for which job; whoever does not know them can do without. A queue of this name that is there
//! already, with whatever properties, is used as it is; otherwise it is made as a quorum queue whose messages outlive a
//! restart of the broker, and go to a dead-letter queue when they were given out too often.

use std::time::Duration;

use lapin::options::{BasicPublishOptions, QueueDeclareOptions};
use lapin::types::{AMQPValue, FieldTable, ShortString};
use lapin::{BasicProperties, Channel, Confirmation, Connection, Queue};
use storage::blobs::Hash;

use crate::amqp::{BrokerError, PERSISTENT, patiently, quorum};

/// The header that names the model.
const MODEL: &str = "model";
/// The header that names the job.
const JOB: &str = "job";
/// Deliveries of one song before it goes to the dead-letter queue: a song that ends its workers should not end many.
const DELIVERY_LIMIT: i64 = 10;
/// How long a worker may keep a song without acknowledging it, in milliseconds: six hours, where the usual half an hour
/// is too short for a long song on a slow machine. RabbitMQ knows this argument from 3.12 on; older ones do not look at
/// it, and give a song that takes longer to somebody else as well, which costs work and does no harm.
const CONSUMER_TIMEOUT_MS: i64 = 6 * 3600 * 1000;
/// How long the broker may take to store a song.
const STORE_WITHIN: Duration = Duration::from_secs(60);

/// A song on its way to a worker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Errand {
    /// SHA-256 of the file.
    pub hash: Hash,
    /// The model, if the message names one.
    pub model: Option<String>,
    /// The job, if the message names one.
    pub job: Option<u64>,
}

/// Looks at the queue, or fails if it is not there.
pub(crate) async fn look(channel: &Channel, queue: &str) -> Result<Queue, BrokerError> {
    let passive = QueueDeclareOptions { passive: true, durable: true, ..Default::default() };
    patiently(channel.queue_declare(queue.into(), passive, FieldTable::default())).await
}

/// Makes the queue if it is not there.
pub(crate) async fn declare(connection: &Connection, queue: &str) -> Result<(), BrokerError> {
    // A refusal closes the channel, so this has one of its own.
    if look(&patiently(connection.create_channel()).await?, queue).await.is_ok() {
        return Ok(());
    }
    let channel = patiently(connection.create_channel()).await?;
    let (lasting, dead) = (QueueDeclareOptions { durable: true, ..Default::default() }, format!("{queue}.dead"));
    patiently(channel.queue_declare(dead.as_str().into(), lasting, quorum())).await?;
    let mut arguments = quorum();
    arguments.insert("x-delivery-limit".into(), AMQPValue::LongLongInt(DELIVERY_LIMIT));
    arguments.insert("x-consumer-timeout".into(), AMQPValue::LongLongInt(CONSUMER_TIMEOUT_MS));
    // The nameless exchange takes a message to the queue of its key.
    arguments.insert("x-dead-letter-exchange".into(), AMQPValue::LongString("".into()));
    arguments.insert("x-dead-letter-routing-key".into(), AMQPValue::LongString(dead.as_str().into()));
    patiently(channel.queue_declare(queue.into(), lasting, arguments)).await?;
    Ok(())
}

/// Puts a song into the queue and waits until the broker has stored it. The channel must confirm.
pub(crate) async fn put(channel: &Channel, queue: &str, errand: &Errand, song: &[u8]) -> Result<(), BrokerError> {
    let put = async {
        let options = BasicPublishOptions { mandatory: true, ..Default::default() };
        let confirm = channel.basic_publish("".into(), queue.into(), options, song, errand.properties()).await?;
        match confirm.await? {
            Confirmation::Ack(None) => Ok(()),
            _ => Err(BrokerError::Unroutable),
        }
    };
    tokio::time::timeout(STORE_WITHIN, put).await.unwrap_or(Err(BrokerError::Silent))
}

impl Errand {
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

    /// What a message says of itself; none without a hash.
    pub(crate) fn of(properties: &BasicProperties) -> Option<Self> {
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
    fn a_message_says_what_is_to_be_done() {
        let hash = Hash::of(b"song");
        for errand in
            [Errand { hash, model: Some("htdemucs".into()), job: Some(7) }, Errand { hash, model: None, job: None }]
        {
            assert_eq!(Errand::of(&errand.properties()), Some(errand));
        }
        assert_eq!(Errand::of(&BasicProperties::default()), None);
        assert_eq!(Errand::of(&BasicProperties::default().with_message_id("a song".into())), None);
    }
}

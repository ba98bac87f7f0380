//! RabbitMQ: hints out, hints in.
//!
//! One task owns the connection. It connects with a timeout, declares what it needs, consumes, and on any error drops
//! all of it and starts again after a pause, so there is a single road to recovery. A broker that comes back empty is
//! a new session to the dispatcher, which fills it again from the state.
//!
//! Queues are quorum queues, one for each kind of task, bound by their key to a direct exchange. A message is
//! acknowledged only when the task's result has committed or its claim was lost; one that was delivered too often goes
//! to the dead-letter queue, where nothing is lost by it, because the state still has the task.

use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use lapin::message::Delivery as Message;
use lapin::options::{
    BasicAckOptions, BasicConsumeOptions, BasicNackOptions, BasicPublishOptions, BasicQosOptions, ConfirmSelectOptions,
    ExchangeDeclareOptions, QueueBindOptions, QueueDeclareOptions,
};
use lapin::types::{AMQPValue, FieldTable, ShortString};
use lapin::{BasicProperties, Channel, Confirmation, Connection, ConnectionProperties, Consumer, ExchangeKind};
use tokio::sync::{mpsc, oneshot, watch};
use tokio_util::sync::CancellationToken;

use super::{Delivery, Hint, Outcome};
use crate::configuration::Broker as Settings;

/// How long any single question to the broker may take.
const PATIENCE: Duration = Duration::from_secs(5);
/// The pause before connecting again.
const PAUSE: Duration = Duration::from_secs(1);
/// Deliveries of one message before it goes to the dead-letter queue.
const DELIVERY_LIMIT: i64 = 50;
const KINDS: [&str; 2] = ["separate", "merge"];

#[derive(Debug, thiserror::Error)]
enum BrokerError {
    #[error("{0}")]
    Client(#[from] lapin::Error),
    #[error("no answer within {} s", PATIENCE.as_secs())]
    Silent,
    #[error("the connection ended")]
    Ended,
    #[error("no queue took the message")]
    Unroutable,
    #[error("the hint could not be written: {0}")]
    Encode(#[from] serde_json::Error),
}

/// What is known of the broker.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct State {
    /// Grows with each connection; a session's hints are gone with it as far as anybody can tell.
    pub session: u64,
    /// Whether the session stands.
    pub connected: bool,
    /// Messages that wait, over all queues.
    pub ready: Option<u64>,
}

struct Publication {
    hint: Hint,
    confirmed: oneshot::Sender<bool>,
}

/// The handle on the broker's task. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Broker {
    state: watch::Receiver<State>,
    publications: mpsc::Sender<Publication>,
    prefix: Arc<str>,
}

impl Broker {
    /// Starts the task; deliveries go to `deliveries`, at most `slots` of each kind at a time.
    pub(crate) fn start(
        settings: Settings,
        slots: u16,
        deliveries: mpsc::Sender<Delivery>,
        stop: CancellationToken,
    ) -> (Self, tokio::task::JoinHandle<()>) {
        let (state_out, state) = watch::channel(State::default());
        let (publications, publications_in) = mpsc::channel(256);
        let prefix: Arc<str> = settings.prefix.as_str().into();
        let link = Link { settings, slots, deliveries, state: state_out, publications: publications_in, stop };
        (Self { state, publications, prefix }, tokio::spawn(link.run()))
    }

    /// What is known now.
    pub(crate) fn state(&self) -> State {
        self.state.borrow().clone()
    }

    /// Tells when the state changes.
    pub(crate) fn watch(&self) -> watch::Receiver<State> {
        self.state.clone()
    }

    /// What the queues' names begin with.
    pub(crate) fn prefix(&self) -> &str {
        &self.prefix
    }

    /// Publishes a hint and waits until the broker has confirmed it; false when it could not be.
    pub(crate) async fn publish(&self, hint: Hint) -> bool {
        let (confirmed, answer) = oneshot::channel();
        if !self.state.borrow().connected || self.publications.send(Publication { hint, confirmed }).await.is_err() {
            return false;
        }
        matches!(tokio::time::timeout(2 * PATIENCE, answer).await, Ok(Ok(true)))
    }
}

struct Link {
    settings: Settings,
    slots: u16,
    deliveries: mpsc::Sender<Delivery>,
    state: watch::Sender<State>,
    publications: mpsc::Receiver<Publication>,
    stop: CancellationToken,
}

/// What one connection consists of.
struct Session {
    connection: Connection,
    channel: Channel,
    consumers: Vec<Consumer>,
}

impl Link {
    async fn run(mut self) {
        let mut complained = false;
        while !self.stop.is_cancelled() {
            let connected = tokio::select! {
                () = self.stop.cancelled() => return,
                connected = self.connect() => connected,
            };
            let error = match connected {
                Ok(session) => {
                    complained = false;
                    tracing::info!(prefix = %self.settings.prefix, "the broker answers; tasks go through it");
                    self.state.send_modify(|state| {
                        state.session += 1;
                        state.connected = true;
                    });
                    let ended = self.serve(&session).await;
                    self.state.send_modify(|state| {
                        state.connected = false;
                        state.ready = None;
                    });
                    let _ = tokio::time::timeout(PATIENCE, session.connection.close(200, "bye".into())).await;
                    match ended {
                        Ok(()) => return,
                        Err(error) => error,
                    }
                }
                Err(error) => error,
            };
            // Nobody may wait for a confirmation that cannot come.
            while let Ok(publication) = self.publications.try_recv() {
                let _ = publication.confirmed.send(false);
            }
            if !complained {
                complained = true;
                tracing::warn!(%error, "the broker does not answer; workers ask the leader for tasks until it does");
            }
            tokio::select! {
                () = self.stop.cancelled() => return,
                () = tokio::time::sleep(PAUSE) => {}
            }
        }
    }

    fn queue(&self, kind: &str) -> ShortString {
        format!("{}.{kind}", self.settings.prefix).into()
    }

    fn exchange(&self) -> ShortString {
        format!("{}.tasks", self.settings.prefix).into()
    }

    async fn connect(&self) -> Result<Session, BrokerError> {
        let properties = ConnectionProperties::default().with_connection_name("quartet".into());
        let connection = patiently(Connection::connect(&self.settings.url, properties)).await?;
        let channel = patiently(connection.create_channel()).await?;
        patiently(channel.confirm_select(ConfirmSelectOptions::default())).await?;

        let durable = ExchangeDeclareOptions { durable: true, ..Default::default() };
        for (exchange, kind) in
            [(self.exchange(), ExchangeKind::Direct), (self.queue("dead-letters"), ExchangeKind::Fanout)]
        {
            patiently(channel.exchange_declare(exchange, kind, durable, FieldTable::default())).await?;
        }
        let lasting = QueueDeclareOptions { durable: true, ..Default::default() };
        patiently(channel.queue_declare(self.queue("dead"), lasting, quorum())).await?;
        patiently(channel.queue_bind(
            self.queue("dead"),
            self.queue("dead-letters"),
            "".into(),
            QueueBindOptions::default(),
            FieldTable::default(),
        ))
        .await?;

        let mut consumers = Vec::new();
        for kind in KINDS {
            let mut arguments = quorum();
            arguments.insert("x-delivery-limit".into(), AMQPValue::LongLongInt(DELIVERY_LIMIT));
            arguments.insert(
                "x-dead-letter-exchange".into(),
                AMQPValue::LongString(self.queue("dead-letters").as_str().into()),
            );
            patiently(channel.queue_declare(self.queue(kind), lasting, arguments)).await?;
            patiently(channel.queue_bind(
                self.queue(kind),
                self.exchange(),
                kind.into(),
                QueueBindOptions::default(),
                FieldTable::default(),
            ))
            .await?;
            if self.slots == 0 {
                continue;
            }
            let own = patiently(connection.create_channel()).await?;
            patiently(own.basic_qos(self.slots, BasicQosOptions::default())).await?;
            consumers.push(
                patiently(own.basic_consume(
                    self.queue(kind),
                    "".into(),
                    BasicConsumeOptions::default(),
                    FieldTable::default(),
                ))
                .await?,
            );
        }
        Ok(Session { connection, channel, consumers })
    }

    /// Serves one session until it breaks (an error) or the node stops (no error).
    async fn serve(&mut self, session: &Session) -> Result<(), BrokerError> {
        let mut messages = futures_util::stream::select_all(session.consumers.iter().cloned());
        let mut count = tokio::time::interval(Duration::from_secs(1));
        count.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Skip);
        loop {
            tokio::select! {
                () = self.stop.cancelled() => return Ok(()),
                Some(publication) = self.publications.recv() => {
                    let published = self.publish(&session.channel, publication.hint).await;
                    let _ = publication.confirmed.send(published.is_ok());
                    published?;
                }
                Some(message) = messages.next(), if !session.consumers.is_empty() => self.receive(message?).await,
                _ = count.tick() => {
                    let ready = self.ready(&session.channel).await?;
                    self.state.send_if_modified(|state| state.ready.replace(ready) != Some(ready));
                }
                else => return Err(BrokerError::Ended),
            }
            if !session.connection.status().connected() {
                return Err(BrokerError::Ended);
            }
        }
    }

    async fn publish(&self, channel: &Channel, hint: Hint) -> Result<(), BrokerError> {
        let body = serde_json::to_vec(&hint)?;
        let kind = KINDS[usize::from(hint.merge)];
        let options = BasicPublishOptions { mandatory: true, ..Default::default() };
        let properties = BasicProperties::default().with_delivery_mode(2).with_content_type("application/json".into());
        let confirm =
            patiently(channel.basic_publish(self.exchange(), kind.into(), options, &body, properties)).await?;
        match patiently(confirm).await? {
            Confirmation::Ack(None) => Ok(()),
            _ => Err(BrokerError::Unroutable),
        }
    }

    async fn ready(&self, channel: &Channel) -> Result<u64, BrokerError> {
        let mut ready = 0;
        for kind in KINDS {
            let passive = QueueDeclareOptions { passive: true, durable: true, ..Default::default() };
            let queue = patiently(channel.queue_declare(self.queue(kind), passive, FieldTable::default())).await?;
            ready += u64::from(queue.message_count());
        }
        Ok(ready)
    }

    /// Hands a message to the workers; it is acknowledged from a task of its own when they are through with it.
    async fn receive(&self, message: Message) {
        let Ok(hint) = serde_json::from_slice::<Hint>(&message.data) else {
            tracing::warn!(bytes = message.data.len(), "a message that is no hint was put aside");
            let _ = message.nack(BasicNackOptions { requeue: false, ..Default::default() }).await;
            return;
        };
        let (done, outcome) = oneshot::channel();
        let handed = self.deliveries.try_send(Delivery { hint, done });
        tokio::spawn(async move {
            // An error here means that the session is gone, and the broker gives the message to somebody else.
            let _ = match (handed, outcome.await) {
                (Ok(()), Ok(Outcome::Settled)) => message.ack(BasicAckOptions::default()).await,
                _ => message.nack(BasicNackOptions { requeue: true, ..Default::default() }).await,
            };
        });
    }
}

fn quorum() -> FieldTable {
    let mut arguments = FieldTable::default();
    arguments.insert("x-queue-type".into(), AMQPValue::LongString("quorum".into()));
    arguments
}

async fn patiently<T>(question: impl Future<Output = lapin::Result<T>>) -> Result<T, BrokerError> {
    match tokio::time::timeout(PATIENCE, question).await {
        Ok(answer) => Ok(answer?),
        Err(_) => Err(BrokerError::Silent),
    }
}

//! RabbitMQ: hints out, hints in.
//!
//! One task owns the connection. It connects with a timeout, declares what it needs, consumes, and on any error drops
//! all of it and starts again after a pause, so there is a single road to recovery. A broker that comes back empty is
//! a new session to the dispatcher, which fills it again from the state.
//!
//! Queues are quorum queues, one for each kind of task, bound by their key to a direct exchange. A message is
//! acknowledged only when the task's result has committed or its claim was lost; one that was delivered too often goes
//! to the dead-letter queue, where nothing is lost by it, because the state still has the task.
//!
//! Each node also has a queue of its own at the fanout exchange for resets, which goes with its connection. Whoever
//! publishes there, whatever, makes every node drop its running work. The exchange is not needed for anything else, so a
//! broker that has another one of its name is used without it.

use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use lapin::message::Delivery as Message;
use lapin::options::{
    BasicAckOptions, BasicConsumeOptions, BasicNackOptions, BasicPublishOptions, BasicQosOptions, ConfirmSelectOptions,
    ExchangeDeclareOptions, QueueBindOptions, QueueDeclareOptions,
};
use lapin::types::{AMQPValue, FieldTable, ShortString};
use lapin::{BasicProperties, Channel, Confirmation, Connection, Consumer, ExchangeKind};
use tokio::sync::{mpsc, oneshot, watch};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::reset::Reset;
use super::{Delivery, Hint, Outcome};
use crate::amqp::{Address, BrokerError, Complaint, PATIENCE, PERSISTENT, patiently, quorum};
use crate::configuration::Broker as Settings;

/// The pause before connecting again.
const PAUSE: Duration = Duration::from_secs(1);
/// Deliveries of one message before it goes to the dead-letter queue.
const DELIVERY_LIMIT: i64 = 50;
const KINDS: [&str; 2] = ["separate", "merge"];

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

/// What is published.
enum Matter {
    Hint(Hint),
    Reset(Uuid),
}

struct Publication {
    matter: Matter,
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
        address: Address,
        settings: Settings,
        slots: u16,
        deliveries: mpsc::Sender<Delivery>,
        reset: Arc<Reset>,
        stop: CancellationToken,
    ) -> (Self, tokio::task::JoinHandle<()>) {
        let (state_out, state) = watch::channel(State::default());
        let (publications, publications_in) = mpsc::channel(256);
        let prefix: Arc<str> = settings.prefix.as_str().into();
        let link =
            Link { address, settings, slots, deliveries, reset, state: state_out, publications: publications_in, stop };
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
        self.publish_matter(Matter::Hint(hint)).await
    }

    /// Publishes a reset, as [`Self::publish`] does a hint.
    pub(crate) async fn publish_reset(&self, id: Uuid) -> bool {
        self.publish_matter(Matter::Reset(id)).await
    }

    async fn publish_matter(&self, matter: Matter) -> bool {
        let (confirmed, answer) = oneshot::channel();
        if !self.state.borrow().connected || self.publications.send(Publication { matter, confirmed }).await.is_err() {
            return false;
        }
        matches!(tokio::time::timeout(2 * PATIENCE, answer).await, Ok(Ok(true)))
    }
}

struct Link {
    address: Address,
    settings: Settings,
    slots: u16,
    deliveries: mpsc::Sender<Delivery>,
    reset: Arc<Reset>,
    state: watch::Sender<State>,
    publications: mpsc::Receiver<Publication>,
    stop: CancellationToken,
}

/// What one connection consists of.
struct Session {
    connection: Connection,
    channel: Channel,
    consumers: Vec<Consumer>,
    /// None where the exchange for resets cannot be had.
    resets: Option<Consumer>,
}

impl Link {
    async fn run(mut self) {
        let mut complaint = Complaint::default();
        while !self.stop.is_cancelled() {
            let connected = tokio::select! {
                () = self.stop.cancelled() => return,
                connected = self.connect() => connected,
            };
            let error = match connected {
                Ok(session) => {
                    complaint.is_over();
                    metrics::counter!("quartet_queue_sessions_total").increment(1);
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
            if complaint.is_new(&error) {
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
        let connection = self.address.connect("quartet").await?;
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
        let resets = match self.listen_for_resets(&connection).await {
            Ok(resets) => Some(resets),
            Err(error) => {
                let exchange = self.settings.reset_exchange();
                tracing::warn!(exchange, %error, "resets cannot be heard through the broker");
                None
            }
        };
        Ok(Session { connection, channel, consumers, resets })
    }

    async fn listen_for_resets(&self, connection: &Connection) -> Result<Consumer, BrokerError> {
        // A channel of its own, because a refusal closes the channel.
        let channel = patiently(connection.create_channel()).await?;
        let exchange: ShortString = self.settings.reset_exchange().into();
        let durable = ExchangeDeclareOptions { durable: true, ..Default::default() };
        patiently(channel.exchange_declare(exchange.clone(), ExchangeKind::Fanout, durable, FieldTable::default()))
            .await?;
        let own = QueueDeclareOptions { exclusive: true, auto_delete: true, ..Default::default() };
        let queue = patiently(channel.queue_declare("".into(), own, FieldTable::default())).await?;
        let bind = QueueBindOptions::default();
        patiently(channel.queue_bind(queue.name().clone(), exchange, "".into(), bind, FieldTable::default())).await?;
        let consume = BasicConsumeOptions { no_ack: true, exclusive: true, ..Default::default() };
        patiently(channel.basic_consume(queue.name().clone(), "".into(), consume, FieldTable::default())).await
    }

    /// Serves one session until it breaks (an error) or the node stops (no error).
    async fn serve(&mut self, session: &Session) -> Result<(), BrokerError> {
        let mut messages = futures_util::stream::select_all(session.consumers.iter().cloned());
        let mut resets = session.resets.clone();
        let mut count = tokio::time::interval(Duration::from_secs(1));
        count.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Skip);
        loop {
            tokio::select! {
                () = self.stop.cancelled() => return Ok(()),
                Some(publication) = self.publications.recv() => {
                    if matches!(publication.matter, Matter::Reset(_)) && resets.is_none() {
                        let _ = publication.confirmed.send(false);
                        continue;
                    }
                    let published = self.publish(&session.channel, publication.matter).await;
                    let _ = publication.confirmed.send(published.is_ok());
                    published?;
                }
                Some(message) = messages.next(), if !session.consumers.is_empty() => self.receive(message?).await,
                message = next_of(&mut resets) => match message {
                    // A reset of our own making carries its id; anybody else's is one by itself.
                    Some(message) => {
                        let id = std::str::from_utf8(&message?.data).ok().and_then(|text| text.parse().ok());
                        self.reset.hear(id.unwrap_or_else(Uuid::new_v4));
                    }
                    None => return Err(BrokerError::Ended),
                },
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

    async fn publish(&self, channel: &Channel, matter: Matter) -> Result<(), BrokerError> {
        let (exchange, key, body, properties) = match matter {
            Matter::Hint(hint) => {
                let lasting = BasicProperties::default().with_delivery_mode(PERSISTENT);
                let properties = lasting.with_content_type("application/json".into());
                (self.exchange(), KINDS[usize::from(hint.merge)], serde_json::to_vec(&hint)?, properties)
            }
            Matter::Reset(id) => {
                let properties = BasicProperties::default().with_content_type("text/plain".into());
                (self.settings.reset_exchange().into(), "", id.to_string().into_bytes(), properties)
            }
        };
        let options = BasicPublishOptions { mandatory: true, ..Default::default() };
        metrics::counter!("quartet_queue_published_total").increment(1);
        let confirm = patiently(channel.basic_publish(exchange, key.into(), options, &body, properties)).await?;
        match patiently(confirm).await? {
            Confirmation::Ack(None) => {
                metrics::counter!("quartet_queue_confirmed_total").increment(1);
                Ok(())
            }
            _ => {
                metrics::counter!("quartet_queue_returned_total").increment(1);
                Err(BrokerError::Unroutable)
            }
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
        metrics::counter!("quartet_queue_deliveries_total").increment(1);
        let Ok(hint) = serde_json::from_slice::<Hint>(&message.data) else {
            metrics::counter!("quartet_queue_nacks_total").increment(1);
            tracing::warn!(bytes = message.data.len(), "a message that is no hint was put aside");
            let _ = message.nack(BasicNackOptions { requeue: false, ..Default::default() }).await;
            return;
        };
        let (done, outcome) = oneshot::channel();
        let handed = self.deliveries.try_send(Delivery { hint, done });
        tokio::spawn(async move {
            // An error here means that the session is gone, and the broker gives the message to somebody else.
            let _ = match (handed, outcome.await) {
                (Ok(()), Ok(Outcome::Settled)) => {
                    metrics::counter!("quartet_queue_acks_total").increment(1);
                    message.ack(BasicAckOptions::default()).await
                }
                _ => {
                    metrics::counter!("quartet_queue_nacks_total").increment(1);
                    message.nack(BasicNackOptions { requeue: true, ..Default::default() }).await
                }
            };
        });
    }
}

/// The next message, or never one where there is no consumer.
async fn next_of(consumer: &mut Option<Consumer>) -> Option<lapin::Result<Message>> {
    match consumer {
        Some(consumer) => consumer.next().await,
        None => std::future::pending().await,
    }
}

//! RabbitMQ.
//!
//! One task owns the connection. It connects with a timeout, declares its queues and exchanges, and consumes. On any
//! error it drops the connection and starts again after a pause, so there is a single way to recover. A broker that lost
//! its messages is a new session to the scheduler, which publishes the open tasks again from the state.
//!
//! There is one quorum queue for each kind of task, bound by its name to a direct exchange. A message is acknowledged when
//! the task's result has committed or its claim was refused. A message that was delivered too often goes to the
//! dead-letter queue; nothing is lost, because the state still has the task.
//!
//! Each node also has an exclusive queue at the fanout exchange for resets. Any message there makes every node drop its
//! running work. If the broker has another exchange of that name, the node works without it.

use std::time::Duration;

use futures_util::StreamExt;
use futures_util::future::BoxFuture;
use lapin::message::Delivery as Message;
use lapin::options::{
    BasicAckOptions, BasicConsumeOptions, BasicNackOptions, BasicPublishOptions, BasicQosOptions, ConfirmSelectOptions,
    ExchangeDeclareOptions, QueueBindOptions, QueueDeclareOptions,
};
use lapin::types::{AMQPValue, FieldTable, ShortString};
use lapin::{BasicProperties, Channel, Confirmation, Connection, Consumer, ExchangeKind};
use live::BrokerStatus;
use state::TaskKind;
use tokio::sync::{mpsc, oneshot, watch};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::amqp::{Address, BrokerError, LogOnce, PERSISTENT, TIMEOUT, quorum, with_timeout};
use crate::broker::{self, Broker};
use crate::reset::Reset;
use crate::settings::BrokerSettings;
use crate::{Delivery, Dispatch, Outcome};

/// The pause before connecting again.
const RECONNECT_AFTER: Duration = Duration::from_secs(1);
/// Deliveries of one message before it goes to the dead-letter queue.
const DELIVERY_LIMIT: i64 = 50;

struct Publication {
    message: broker::Message,
    confirmed: oneshot::Sender<bool>,
}

/// The handle on the task that owns the connection.
pub struct RabbitMq {
    status: watch::Receiver<BrokerStatus>,
    publications: mpsc::Sender<Publication>,
}

impl RabbitMq {
    /// Starts the task. Deliveries go to `deliveries`, at most `slots` of each kind at a time.
    pub fn start(
        address: Address,
        settings: BrokerSettings,
        slots: u16,
        deliveries: mpsc::Sender<Delivery>,
        reset: Reset,
        stop: CancellationToken,
    ) -> (Self, tokio::task::JoinHandle<()>) {
        let prefix = settings.prefix.clone();
        let (status_sender, status) = watch::channel(BrokerStatus { prefix, ..BrokerStatus::default() });
        let (sender, publications) = mpsc::channel(256);
        let link = Link { address, settings, slots, deliveries, reset, status: status_sender, publications, stop };
        (Self { status, publications: sender }, tokio::spawn(link.run()))
    }
}

impl Broker for RabbitMq {
    fn status(&self) -> watch::Receiver<BrokerStatus> {
        self.status.clone()
    }

    fn publish(&self, message: broker::Message) -> BoxFuture<'_, bool> {
        Box::pin(async move {
            let (confirmed, answer) = oneshot::channel();
            let publication = Publication { message, confirmed };
            if !self.status.borrow().connected || self.publications.send(publication).await.is_err() {
                return false;
            }
            matches!(tokio::time::timeout(2 * TIMEOUT, answer).await, Ok(Ok(true)))
        })
    }
}

struct Link {
    address: Address,
    settings: BrokerSettings,
    slots: u16,
    deliveries: mpsc::Sender<Delivery>,
    reset: Reset,
    status: watch::Sender<BrokerStatus>,
    publications: mpsc::Receiver<Publication>,
    stop: CancellationToken,
}

/// One connection with its channels.
struct Session {
    connection: Connection,
    channel: Channel,
    consumers: Vec<Consumer>,
    /// None if the exchange for resets cannot be used.
    resets: Option<Consumer>,
}

impl Link {
    async fn run(mut self) {
        let mut log = LogOnce::default();
        while !self.stop.is_cancelled() {
            let connected = tokio::select! {
                () = self.stop.cancelled() => return,
                connected = self.connect() => connected,
            };
            let error = match connected {
                Ok(session) => {
                    log.reset();
                    metrics::counter!("quartet_queue_sessions_total").increment(1);
                    tracing::info!(prefix = %self.settings.prefix, "connected to RabbitMQ");
                    self.status.send_modify(|status| {
                        status.session += 1;
                        status.connected = true;
                    });
                    let ended = self.serve(&session).await;
                    self.status.send_modify(|status| {
                        status.connected = false;
                        status.ready = None;
                    });
                    let _ = tokio::time::timeout(TIMEOUT, session.connection.close(200, "bye".into())).await;
                    match ended {
                        Ok(()) => return,
                        Err(error) => error,
                    }
                }
                Err(error) => error,
            };
            // Their confirmations cannot arrive any more.
            while let Ok(publication) = self.publications.try_recv() {
                let _ = publication.confirmed.send(false);
            }
            if log.is_new(&error) {
                tracing::warn!(%error, "cannot reach RabbitMQ; workers get tasks from the leader until it is back");
            }
            tokio::select! {
                () = self.stop.cancelled() => return,
                () = tokio::time::sleep(RECONNECT_AFTER) => {}
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
        let channel = with_timeout(connection.create_channel()).await?;
        with_timeout(channel.confirm_select(ConfirmSelectOptions::default())).await?;

        let durable = ExchangeDeclareOptions { durable: true, ..Default::default() };
        for (exchange, kind) in
            [(self.exchange(), ExchangeKind::Direct), (self.queue("dead-letters"), ExchangeKind::Fanout)]
        {
            with_timeout(channel.exchange_declare(exchange, kind, durable, FieldTable::default())).await?;
        }
        let durable_queue = QueueDeclareOptions { durable: true, ..Default::default() };
        with_timeout(channel.queue_declare(self.queue("dead"), durable_queue, quorum())).await?;
        with_timeout(channel.queue_bind(
            self.queue("dead"),
            self.queue("dead-letters"),
            "".into(),
            QueueBindOptions::default(),
            FieldTable::default(),
        ))
        .await?;

        let mut consumers = Vec::new();
        for kind in TaskKind::NAMES {
            let mut arguments = quorum();
            arguments.insert("x-delivery-limit".into(), AMQPValue::LongLongInt(DELIVERY_LIMIT));
            arguments.insert(
                "x-dead-letter-exchange".into(),
                AMQPValue::LongString(self.queue("dead-letters").as_str().into()),
            );
            with_timeout(channel.queue_declare(self.queue(kind), durable_queue, arguments)).await?;
            with_timeout(channel.queue_bind(
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
            let own = with_timeout(connection.create_channel()).await?;
            with_timeout(own.basic_qos(self.slots, BasicQosOptions::default())).await?;
            consumers.push(
                with_timeout(own.basic_consume(
                    self.queue(kind),
                    "".into(),
                    BasicConsumeOptions::default(),
                    FieldTable::default(),
                ))
                .await?,
            );
        }
        let resets = match self.consume_resets(&connection).await {
            Ok(resets) => Some(resets),
            Err(error) => {
                let exchange = self.settings.reset_exchange();
                tracing::warn!(exchange, %error, "cannot consume resets from RabbitMQ");
                None
            }
        };
        Ok(Session { connection, channel, consumers, resets })
    }

    async fn consume_resets(&self, connection: &Connection) -> Result<Consumer, BrokerError> {
        // On a separate channel, because a refusal closes the channel.
        let channel = with_timeout(connection.create_channel()).await?;
        let exchange: ShortString = self.settings.reset_exchange().into();
        let durable = ExchangeDeclareOptions { durable: true, ..Default::default() };
        with_timeout(channel.exchange_declare(exchange.clone(), ExchangeKind::Fanout, durable, FieldTable::default()))
            .await?;
        let own = QueueDeclareOptions { exclusive: true, auto_delete: true, ..Default::default() };
        let queue = with_timeout(channel.queue_declare("".into(), own, FieldTable::default())).await?;
        let bind = QueueBindOptions::default();
        with_timeout(channel.queue_bind(queue.name().clone(), exchange, "".into(), bind, FieldTable::default()))
            .await?;
        let consume = BasicConsumeOptions { no_ack: true, exclusive: true, ..Default::default() };
        with_timeout(channel.basic_consume(queue.name().clone(), "".into(), consume, FieldTable::default())).await
    }

    /// Serves one session until it fails (an error) or the node stops (no error).
    async fn serve(&mut self, session: &Session) -> Result<(), BrokerError> {
        let mut messages = futures_util::stream::select_all(session.consumers.iter().cloned());
        let mut resets = session.resets.clone();
        let mut count = tokio::time::interval(Duration::from_secs(1));
        count.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Skip);
        loop {
            tokio::select! {
                () = self.stop.cancelled() => return Ok(()),
                Some(publication) = self.publications.recv() => {
                    if matches!(publication.message, broker::Message::Reset(_)) && resets.is_none() {
                        let _ = publication.confirmed.send(false);
                        continue;
                    }
                    let published = self.publish(&session.channel, publication.message).await;
                    let _ = publication.confirmed.send(published.is_ok());
                    published?;
                }
                Some(message) = messages.next(), if !session.consumers.is_empty() => self.receive(message?).await,
                message = next_of(&mut resets) => match message {
                    // A reset by a node has its id as the body. Any other message is a new reset.
                    Some(message) => {
                        let id = std::str::from_utf8(&message?.data).ok().and_then(|text| text.parse().ok());
                        self.reset.trigger(id.unwrap_or_else(Uuid::new_v4));
                    }
                    None => return Err(BrokerError::Ended),
                },
                _ = count.tick() => {
                    let ready = self.ready(&session.channel).await?;
                    self.status.send_if_modified(|status| status.ready.replace(ready) != Some(ready));
                }
                else => return Err(BrokerError::Ended),
            }
            if !session.connection.status().connected() {
                return Err(BrokerError::Ended);
            }
        }
    }

    async fn publish(&self, channel: &Channel, message: broker::Message) -> Result<(), BrokerError> {
        let (exchange, key, body, properties) = match message {
            broker::Message::Dispatch(dispatch) => {
                let persistent = BasicProperties::default().with_delivery_mode(PERSISTENT);
                let properties = persistent.with_content_type("application/json".into());
                (self.exchange(), dispatch.kind.name(), serde_json::to_vec(&dispatch)?, properties)
            }
            broker::Message::Reset(id) => {
                let properties = BasicProperties::default().with_content_type("text/plain".into());
                (self.settings.reset_exchange().into(), "", id.to_string().into_bytes(), properties)
            }
        };
        let options = BasicPublishOptions { mandatory: true, ..Default::default() };
        metrics::counter!("quartet_queue_published_total").increment(1);
        let confirm = with_timeout(channel.basic_publish(exchange, key.into(), options, &body, properties)).await?;
        match with_timeout(confirm).await? {
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
        for kind in TaskKind::NAMES {
            let passive = QueueDeclareOptions { passive: true, durable: true, ..Default::default() };
            let queue = with_timeout(channel.queue_declare(self.queue(kind), passive, FieldTable::default())).await?;
            ready += u64::from(queue.message_count());
        }
        Ok(ready)
    }

    /// Gives a message to the workers. A separate task acknowledges it when they are done with it.
    async fn receive(&self, message: Message) {
        metrics::counter!("quartet_queue_deliveries_total").increment(1);
        let Ok(dispatch) = serde_json::from_slice::<Dispatch>(&message.data) else {
            metrics::counter!("quartet_queue_nacks_total").increment(1);
            tracing::warn!(bytes = message.data.len(), "rejected an invalid message");
            let _ = message.nack(BasicNackOptions { requeue: false, ..Default::default() }).await;
            return;
        };
        let (sender, outcome) = oneshot::channel();
        let handed = self.deliveries.try_send(Delivery { dispatch, outcome: sender });
        tokio::spawn(async move {
            // An error means that the session ended; the broker delivers the message again.
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

/// The next message; never returns without a consumer.
async fn next_of(consumer: &mut Option<Consumer>) -> Option<lapin::Result<Message>> {
    match consumer {
        Some(consumer) => consumer.next().await,
        None => std::future::pending().await,
    }
}

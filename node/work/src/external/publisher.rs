//! The leader's publisher of songs to external workers.
//!
//! A song is published when the queue has consumers and few songs wait there, the more urgent songs first. The state
//! records published songs, so that a new leader does not publish them again. A job returns to the cluster's own workers
//! when the queue has had no consumer for a while, the broker is gone, or the job exceeds its time limit. The leader
//! measures time by its own clock, and a new leader starts from zero.

use std::cmp::Reverse;
use std::collections::HashMap;
use std::time::{Duration, Instant};

use lapin::options::ConfirmSelectOptions;
use lapin::{Channel, Connection};
use raft::{Cluster, now};
use replication::Replication;
use state::command::{QueueJob, ReclaimJob};
use state::{Executor, Job, JobSpec};
use storage::blobs::Hash;
use tokio_util::sync::CancellationToken;

use super::queue::{self, ExternalMessage};
use crate::amqp::{Address, BrokerError, with_timeout};
use crate::settings::ExternalSettings;

/// The time between two rounds.
const TICK: Duration = Duration::from_millis(500);
/// The pause before connecting again.
const RECONNECT_AFTER: Duration = Duration::from_secs(1);
/// How long the queue may have no consumer before jobs return to the cluster.
const NO_CONSUMER_TIMEOUT: Duration = Duration::from_secs(10);
/// Songs in the queue for each consumer: the current one and the next.
const SONGS_PER_CONSUMER: usize = 2;
/// How long fetching a song to this node may take.
const FETCH_TIMEOUT: Duration = Duration::from_secs(30);

/// A song cannot be published.
#[derive(Debug, thiserror::Error)]
enum PublishError {
    /// The broker failed.
    #[error(transparent)]
    Broker(#[from] BrokerError),
    /// The song's file is not available.
    #[error("cannot get the song's file: {0}")]
    Song(String),
}

/// Publishes songs to external workers while this node leads.
pub struct ExternalPublisher {
    cluster: Cluster,
    replication: Replication,
    broker: Address,
    settings: ExternalSettings,
}

/// A connection with the channel that publishes songs.
struct QueueConnection {
    connection: Connection,
    channel: Channel,
}

/// What the publisher keeps during one term of leadership.
#[derive(Default)]
struct PublisherTerm {
    /// When each job began to wait, or was published.
    since: HashMap<u64, Instant>,
    /// Since when the queue has no consumer.
    unconsumed: Option<Instant>,
    session: Option<QueueConnection>,
    connect_tried: Option<Instant>,
}

impl ExternalPublisher {
    /// A publisher that does nothing until it runs.
    pub fn new(cluster: Cluster, replication: Replication, broker: Address, settings: ExternalSettings) -> Self {
        Self { cluster, replication, broker, settings }
    }

    /// Runs until `stop`.
    pub async fn run(self, stop: CancellationToken) {
        let mut term: Option<PublisherTerm> = None;
        loop {
            tokio::select! {
                () = stop.cancelled() => break,
                () = tokio::time::sleep(TICK) => {}
            }
            if self.cluster.is_leader() {
                self.round(term.get_or_insert_default()).await;
            } else if let Some(ended) = term.take() {
                close(ended.session).await;
            }
        }
        close(term.and_then(|term| term.session)).await;
    }

    async fn round(&self, term: &mut PublisherTerm) {
        let view = self.cluster.peek();
        let jobs = match tokio::task::spawn_blocking(move || view.external_jobs()).await {
            Ok(Ok(jobs)) => jobs,
            Ok(Err(error)) => return tracing::error!(%error, "cannot read the jobs for external workers"),
            Err(error) => return tracing::error!(%error, "cannot read the jobs for external workers"),
        };
        term.since.retain(|job, _| jobs.iter().any(|known| known.id == *job));
        if jobs.is_empty() {
            term.unconsumed = None;
            return;
        }
        let consumers = self.consumers(term).await;
        let unconsumed = match consumers {
            0 => term.unconsumed.get_or_insert_with(Instant::now).elapsed(),
            _ => {
                term.unconsumed = None;
                Duration::ZERO
            }
        };
        let mut waiting = Vec::new();
        let mut sent = 0;
        for job in jobs {
            let since = *term.since.entry(job.id).or_insert_with(Instant::now);
            if unconsumed >= NO_CONSUMER_TIMEOUT || since.elapsed() >= self.settings.patience() {
                self.reclaim(&job, unconsumed >= NO_CONSUMER_TIMEOUT).await;
            } else if job.executor == Executor::Queued {
                sent += 1;
            } else {
                waiting.push(job);
            }
        }
        waiting.sort_by_key(|job| (Reverse(job.priority), job.id));
        for job in waiting.into_iter().take((SONGS_PER_CONSUMER * consumers).saturating_sub(sent)) {
            let Some(session) = &term.session else { return };
            match self.publish(session, &job).await {
                Ok(()) => drop(term.since.insert(job.id, Instant::now())),
                Err(PublishError::Broker(error)) => {
                    tracing::warn!(job = job.id, %error, "cannot publish a song for external workers");
                    return close(term.session.take()).await;
                }
                Err(error) => tracing::warn!(job = job.id, %error, "cannot publish a song for external workers"),
            }
        }
    }

    /// The number of consumers of the queue; none while the broker does not answer.
    async fn consumers(&self, term: &mut PublisherTerm) -> usize {
        if term.session.is_none() && term.connect_tried.is_none_or(|tried| tried.elapsed() >= RECONNECT_AFTER) {
            match self.connect().await {
                Ok(session) => term.session = Some(session),
                Err(error) => tracing::debug!(%error, "the broker does not answer"),
            }
            term.connect_tried = Some(Instant::now());
        }
        let Some(session) = &term.session else { return 0 };
        match queue::inspect(&session.channel, &self.settings.queue).await {
            Ok(queue) => queue.consumer_count() as usize,
            Err(error) => {
                tracing::debug!(%error, "the broker does not answer");
                close(term.session.take()).await;
                0
            }
        }
    }

    async fn connect(&self) -> Result<QueueConnection, BrokerError> {
        // A separate connection, because a large song would delay dispatches.
        let connection = self.broker.connect("quartet external publisher").await?;
        queue::declare(&connection, &self.settings.queue).await?;
        let channel = with_timeout(connection.create_channel()).await?;
        with_timeout(channel.confirm_select(ConfirmSelectOptions::default())).await?;
        Ok(QueueConnection { connection, channel })
    }

    async fn publish(&self, session: &QueueConnection, job: &Job) -> Result<(), PublishError> {
        let JobSpec::Separation(separation) = &job.spec;
        let song = self.song(&separation.hash).await?;
        let message =
            ExternalMessage { hash: separation.hash, model: Some(separation.model.clone()), job: Some(job.id) };
        queue::publish(&session.channel, &self.settings.queue, &message, &song).await?;
        tracing::info!(job = job.id, bytes = song.len(), "published the song for external workers");
        // If this fails, the song is published twice, which costs work and is harmless.
        if let Err(error) = self.cluster.propose(QueueJob { job: job.id }).await {
            tracing::warn!(job = job.id, %error, "cannot record that the song was published");
        }
        Ok(())
    }

    /// The content of a song's file, verified. A message is completely in memory, which is why `max_bytes` exists.
    async fn song(&self, hash: &Hash) -> Result<Vec<u8>, PublishError> {
        let path = tokio::time::timeout(FETCH_TIMEOUT, self.replication.fetch_verified(hash))
            .await
            .map_err(|_| PublishError::Song(format!("it did not arrive within {} s", FETCH_TIMEOUT.as_secs())))?
            .map_err(|error| PublishError::Song(error.to_string()))?;
        tokio::fs::read(path).await.map_err(|error| PublishError::Song(error.to_string()))
    }

    async fn reclaim(&self, job: &Job, unconsumed: bool) {
        let reason =
            if unconsumed { "the queue has no consumer" } else { "no external worker has delivered it in time" };
        tracing::info!(job = job.id, reason, "returning the job to the cluster's workers");
        match self.cluster.propose(ReclaimJob { job: job.id, at: now() }).await {
            Ok(Ok(_)) => {}
            // It has ended meanwhile.
            Ok(Err(refusal)) => tracing::debug!(job = job.id, %refusal, "the job was not reclaimed"),
            Err(error) => tracing::warn!(job = job.id, %error, "cannot reclaim the job"),
        }
    }
}

async fn close(session: Option<QueueConnection>) {
    if let Some(session) = session {
        let _ = with_timeout(session.connection.close(200, "bye".into())).await;
    }
}

//! The leader's part of jobs that go outside: their songs into the queue, and those that nobody takes back.
//!
//! A song goes into the queue when somebody outside listens there and not too much waits already; whoever listens gets
//! the more urgent songs first. The state remembers what was sent, so that a new leader does not send it again. A job
//! comes back to the cluster's own workers when nobody has listened for a moment, the broker is gone, or it took longer
//! than it may. Time is counted by this node's own clock, and a new leader counts anew.

use std::cmp::Reverse;
use std::collections::HashMap;
use std::time::{Duration, Instant};

use lapin::options::ConfirmSelectOptions;
use lapin::{Channel, Connection};
use raft::Cluster;
use replication::Sharing;
use state::command::Command;
use state::{Job, Road};
use storage::blobs::Hash;
use tokio_util::sync::CancellationToken;

use crate::amqp::{Address, BrokerError, patiently};
use crate::configuration::Outside;
use crate::outside::queue::{self, Errand};

/// The time between two looks.
const TICK: Duration = Duration::from_millis(500);
/// The pause before connecting again.
const PAUSE: Duration = Duration::from_secs(1);
/// How long nobody may listen before jobs come back.
const ALONE: Duration = Duration::from_secs(10);
/// Songs in the queue for each who listens: the one at hand and the next.
const SENT_EACH: usize = 2;
/// How long bringing a song here may take.
const FETCH_WITHIN: Duration = Duration::from_secs(30);

/// A song cannot be sent.
#[derive(Debug, thiserror::Error)]
enum SendError {
    /// The broker's doing.
    #[error(transparent)]
    Broker(#[from] BrokerError),
    /// The song's file cannot be had.
    #[error("the song's file cannot be had: {0}")]
    Song(String),
}

/// See the module's page.
pub(crate) struct Outbox {
    cluster: Cluster,
    sharing: Sharing,
    broker: Address,
    settings: Outside,
}

struct Session {
    connection: Connection,
    channel: Channel,
}

/// What one term of leadership remembers.
#[derive(Default)]
struct Term {
    /// Since when each job waits to be sent, or was.
    since: HashMap<u64, Instant>,
    /// Since when nobody listens.
    alone: Option<Instant>,
    session: Option<Session>,
    tried: Option<Instant>,
}

impl Outbox {
    /// An outbox that does nothing until it runs.
    pub(crate) fn new(cluster: Cluster, sharing: Sharing, broker: Address, settings: Outside) -> Self {
        Self { cluster, sharing, broker, settings }
    }

    /// Runs until `stop`.
    pub(crate) async fn run(self, stop: CancellationToken) {
        let mut term: Option<Term> = None;
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

    async fn round(&self, term: &mut Term) {
        let view = self.cluster.peek();
        let jobs = match tokio::task::spawn_blocking(move || view.outside()).await {
            Ok(Ok(jobs)) => jobs,
            Ok(Err(error)) => return tracing::error!(%error, "the jobs outside cannot be read"),
            Err(error) => return tracing::error!(%error, "the jobs outside cannot be read"),
        };
        term.since.retain(|job, _| jobs.iter().any(|known| known.id == *job));
        if jobs.is_empty() {
            term.alone = None;
            return;
        }
        let listeners = self.listeners(term).await;
        let alone = match listeners {
            0 => term.alone.get_or_insert_with(Instant::now).elapsed(),
            _ => {
                term.alone = None;
                Duration::ZERO
            }
        };
        let mut waiting = Vec::new();
        let mut sent = 0;
        for job in jobs {
            let since = *term.since.entry(job.id).or_insert_with(Instant::now);
            if alone >= ALONE || since.elapsed() >= self.settings.patience() {
                self.take_inside(&job, alone >= ALONE).await;
            } else if job.road == Road::Sent {
                sent += 1;
            } else {
                waiting.push(job);
            }
        }
        waiting.sort_by_key(|job| (Reverse(job.priority), job.id));
        for job in waiting.into_iter().take((SENT_EACH * listeners).saturating_sub(sent)) {
            let Some(session) = &term.session else { return };
            match self.send(session, &job).await {
                Ok(()) => drop(term.since.insert(job.id, Instant::now())),
                Err(SendError::Broker(error)) => {
                    tracing::warn!(job = job.id, %error, "a song could not be sent outside");
                    return close(term.session.take()).await;
                }
                Err(error) => tracing::warn!(job = job.id, %error, "a song could not be sent outside"),
            }
        }
    }

    /// How many listen at the queue; none while the broker does not answer.
    async fn listeners(&self, term: &mut Term) -> usize {
        if term.session.is_none() && term.tried.is_none_or(|tried| tried.elapsed() >= PAUSE) {
            match self.connect().await {
                Ok(session) => term.session = Some(session),
                Err(error) => tracing::debug!(%error, "the broker does not answer"),
            }
            term.tried = Some(Instant::now());
        }
        let Some(session) = &term.session else { return 0 };
        match queue::look(&session.channel, &self.settings.queue).await {
            Ok(queue) => queue.consumer_count() as usize,
            Err(error) => {
                tracing::debug!(%error, "the broker does not answer");
                close(term.session.take()).await;
                0
            }
        }
    }

    async fn connect(&self) -> Result<Session, BrokerError> {
        // Apart from the one for hints, which a song of many megabytes would hold up.
        let connection = self.broker.connect("quartet outbox").await?;
        queue::declare(&connection, &self.settings.queue).await?;
        let channel = patiently(connection.create_channel()).await?;
        patiently(channel.confirm_select(ConfirmSelectOptions::default())).await?;
        Ok(Session { connection, channel })
    }

    async fn send(&self, session: &Session, job: &Job) -> Result<(), SendError> {
        let song = self.song(&job.hash).await?;
        let errand = Errand { hash: job.hash, model: Some(job.model.clone()), job: Some(job.id) };
        queue::put(&session.channel, &self.settings.queue, &errand, &song).await?;
        tracing::info!(job = job.id, bytes = song.len(), "the song is in the queue for workers outside");
        // Should this fail, the song is sent twice, which costs work and does no harm.
        if let Err(error) = self.cluster.propose(Command::SendOutside { job: job.id }).await {
            tracing::warn!(job = job.id, %error, "it could not be noted that the song was sent");
        }
        Ok(())
    }

    /// A song's file, read to its end and known to be sound. A message is whole in memory, which is why `max_bytes` is.
    async fn song(&self, hash: &Hash) -> Result<Vec<u8>, SendError> {
        let path = tokio::time::timeout(FETCH_WITHIN, self.sharing.whole(hash))
            .await
            .map_err(|_| SendError::Song(format!("it did not come within {} s", FETCH_WITHIN.as_secs())))?
            .map_err(|error| SendError::Song(error.to_string()))?;
        tokio::fs::read(path).await.map_err(|error| SendError::Song(error.to_string()))
    }

    async fn take_inside(&self, job: &Job, alone: bool) {
        let reason = if alone { "nobody outside listens" } else { "nobody outside has delivered it in time" };
        tracing::info!(job = job.id, reason, "the cluster does the job itself");
        match self.cluster.propose(Command::TakeInside { job: job.id }).await {
            Ok(Ok(_)) => {}
            // It has ended in the meantime.
            Ok(Err(refusal)) => tracing::debug!(job = job.id, %refusal, "the job was not taken back"),
            Err(error) => tracing::warn!(job = job.id, %error, "the job could not be taken back"),
        }
    }
}

async fn close(session: Option<Session>) {
    if let Some(session) = session {
        let _ = patiently(session.connection.close(200, "bye".into())).await;
    }
}

//! The scheduler: from open tasks to dispatches, and from dead workers to open tasks.
//!
//! Every node runs a scheduler, and only the leader's acts. A new leader reads the open tasks from its own state and
//! dispatches them again. A task that is dispatched twice costs one refused claim.
//!
//! A queue delivers in the order of arrival. The scheduler therefore dispatches no more tasks than the workers will take
//! soon, and a fair queue keeps deciding about the others. A cancelled job leaves few messages behind in the queue.

mod fair_queue;
mod open_jobs;

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use live::{BrokerStatus, DEAD_AFTER, Live};
use parking_lot::Mutex;
use raft::{Cluster, now};
use state::Event;
use state::command::ExpireTask;
use tokio::sync::broadcast::error::{RecvError, TryRecvError};
use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;

use crate::Dispatch;
use crate::broker::{Broker, Message};
use crate::metrics;
use crate::settings::WorkerSettings;
use fair_queue::FairQueue;
use open_jobs::OpenJobs;

/// The longest time between two rounds.
const TICK: Duration = Duration::from_millis(500);
/// A task that nobody has claimed for this long is published again if the queue is empty.
const REPUBLISH_AFTER: Duration = Duration::from_secs(15);
/// A task that was given to a worker over QUIC is given to no other for this long.
const LEASE: Duration = Duration::from_secs(5);
/// Dispatched tasks for each slot of the live nodes. A busy worker holds at most one message of another kind for each of
/// its slots, so two leave one for a free worker.
const DISPATCHED_PER_SLOT: usize = 2;

/// Dispatches open tasks while this node leads.
pub struct Scheduler {
    cluster: Cluster,
    live: Live,
    broker: Option<(Arc<dyn Broker>, watch::Receiver<BrokerStatus>)>,
    settings: WorkerSettings,
    offers: Mutex<Offers>,
    offered: Notify,
}

/// The tasks that workers can get over QUIC.
#[derive(Default)]
struct Offers {
    /// In the order in which they should be taken.
    pending: Vec<Dispatch>,
    leases: HashMap<Dispatch, Instant>,
}

/// The changes since the last round.
#[derive(Default)]
struct Changes {
    jobs: BTreeSet<u64>,
    /// Events were lost, so any job may have changed.
    all: bool,
}

impl Changes {
    fn record(&mut self, event: Result<Event, RecvError>) {
        match event {
            Ok(Event::Job { id }) => drop(self.jobs.insert(id)),
            Ok(Event::Song { .. } | Event::SongRemoved { .. }) | Err(RecvError::Closed) => {}
            Err(RecvError::Lagged(_)) => self.all = true,
        }
    }
}

/// What the scheduler keeps during one term of leadership.
struct Term {
    began: Instant,
    jobs: OpenJobs,
    fair_queue: FairQueue,
    /// The broker's session in which `published` was published.
    session: u64,
    /// The published tasks that are still pending, in the order of publication.
    published: Vec<(Dispatch, Instant)>,
    /// When this node first saw each claim. It is a monotonic clock, because wall clocks may jump.
    claims: HashMap<Dispatch, Instant>,
}

impl Term {
    fn new() -> Self {
        Self {
            began: Instant::now(),
            jobs: OpenJobs::default(),
            fair_queue: FairQueue::default(),
            session: 0,
            published: Vec::new(),
            claims: HashMap::new(),
        }
    }
}

impl Scheduler {
    /// A scheduler that does nothing until it runs.
    pub fn new(cluster: Cluster, live: Live, broker: Option<Arc<dyn Broker>>, settings: WorkerSettings) -> Self {
        let broker = broker.map(|broker| {
            let status = broker.status();
            (broker, status)
        });
        Self { cluster, live, broker, settings, offers: Mutex::default(), offered: Notify::new() }
    }

    /// Runs until `stop`.
    pub async fn run(self: Arc<Self>, stop: CancellationToken) {
        let mut events = self.cluster.events();
        let mut broker = self.broker.as_ref().map(|(_, status)| status.clone());
        let mut term: Option<Term> = None;
        let mut changes = Changes::default();
        loop {
            if self.cluster.is_leader() {
                let term = term.get_or_insert_with(|| {
                    changes.all = true;
                    Term::new()
                });
                if self.update(term, &mut changes).await {
                    self.round(term).await;
                }
            } else {
                term = None;
                changes = Changes::default();
                *self.offers.lock() = Offers::default();
            }
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(TICK) => {}
                event = events.recv() => changes.record(event),
                () = status_change(&mut broker) => {}
            }
            // Events that arrived together are handled in one round.
            loop {
                match events.try_recv() {
                    Ok(event) => changes.record(Ok(event)),
                    Err(TryRecvError::Lagged(lost)) => changes.record(Err(RecvError::Lagged(lost))),
                    Err(TryRecvError::Empty | TryRecvError::Closed) => break,
                }
            }
        }
    }

    /// Brings the open jobs up to date; false if they cannot be read.
    async fn update(&self, term: &mut Term, changes: &mut Changes) -> bool {
        if !changes.all && changes.jobs.is_empty() {
            return true;
        }
        let (view, mut jobs, changed) = (self.cluster.peek(), std::mem::take(&mut term.jobs), std::mem::take(changes));
        let read = tokio::task::spawn_blocking(move || {
            if changed.all {
                return OpenJobs::read(&view);
            }
            for job in changed.jobs {
                jobs.reload(&view, job)?;
            }
            Ok(jobs)
        });
        match read.await {
            Ok(Ok(jobs)) => {
                term.jobs = jobs;
                return true;
            }
            Ok(Err(error)) => tracing::error!(%error, "cannot read the open tasks"),
            Err(error) => tracing::error!(%error, "cannot read the open tasks"),
        }
        changes.all = true;
        false
    }

    async fn round(&self, term: &mut Term) {
        self.expire_claims(term).await;
        term.fair_queue.rebalance(&term.jobs);
        let connected =
            self.broker.as_ref().map(|(broker, status)| (broker, status.borrow().clone())).filter(|(_, s)| s.connected);
        let session = connected.as_ref().map_or(0, |(_, status)| status.session);
        if session != term.session {
            // The broker may have lost its messages, or is gone.
            term.session = session;
            term.published.clear();
        }
        let jobs = &term.jobs;
        term.published.retain(|(dispatch, _)| jobs.is_pending(dispatch));

        let limit = DISPATCHED_PER_SLOT * self.live.capacity().max(1);
        let chosen = {
            let mut offers = self.offers.lock();
            offers.leases.retain(|dispatch, since| since.elapsed() < LEASE && jobs.is_pending(dispatch));
            let mut dispatched: Vec<Dispatch> = term.published.iter().map(|(dispatch, _)| *dispatch).collect();
            let published: HashSet<Dispatch> = dispatched.iter().copied().collect();
            dispatched.extend(offers.leases.keys().filter(|dispatch| !published.contains(dispatch)));
            let chosen = term.fair_queue.choose(jobs, &dispatched, limit.saturating_sub(dispatched.len()));
            dispatched.extend(&chosen);
            offers.pending = dispatched;
            chosen
        };
        self.offered.notify_waiters();

        let Some((broker, status)) = connected else {
            return;
        };
        for (dispatch, since) in &mut term.published {
            if since.elapsed() > REPUBLISH_AFTER && status.ready == Some(0) {
                if !broker.publish(Message::Dispatch(*dispatch)).await {
                    return;
                }
                *since = Instant::now();
            }
        }
        for dispatch in chosen {
            if !broker.publish(Message::Dispatch(dispatch)).await {
                return;
            }
            storage::failpoint!("hint.published");
            term.published.push((dispatch, Instant::now()));
        }
    }

    /// Expires each claim whose worker is dead, has lost the task or exceeds its time limit.
    async fn expire_claims(&self, term: &mut Term) {
        let mut current = HashSet::new();
        for job in term.jobs.iter() {
            for running in &job.running {
                let (dispatch, node) = (running.dispatch, running.node);
                current.insert(dispatch);
                let since = *term.claims.entry(dispatch).or_insert_with(|| {
                    term.fair_queue.count(job.priority, &job.owner);
                    Instant::now()
                });
                // A new leader has no reports yet, and a report may be older than the claim.
                if since.elapsed() < DEAD_AFTER || term.began.elapsed() < DEAD_AFTER {
                    continue;
                }
                let limit = self.settings.time_limit(running.audio_seconds);
                let reason = match self.live.works_on(node, dispatch.task, dispatch.attempt) {
                    None => format!("node {node} is gone"),
                    Some(false) => format!("node {node} no longer runs the task; its worker has died"),
                    // The worker itself gives up at the limit and has a moment to report it.
                    Some(true) if since.elapsed() > limit + DEAD_AFTER => {
                        format!("node {node} did not finish within {} s", limit.as_secs())
                    }
                    Some(true) => continue,
                };
                let (task, attempt) = (dispatch.task, dispatch.attempt);
                tracing::info!(%task, attempt, %reason, "expiring the claim; another worker can take the task");
                let expire = ExpireTask { task, attempt, reason, at: now() };
                match self.cluster.propose(expire).await {
                    Ok(Ok(_)) => metrics::counter_of("quartet_tasks_expired_total", dispatch.kind).increment(1),
                    // The attempt has ended meanwhile.
                    Ok(Err(_)) => {}
                    Err(error) => tracing::warn!(%error, %task, "cannot expire the claim; will retry"),
                }
            }
        }
        term.claims.retain(|claim, _| current.contains(claim));
    }

    /// The next task for a worker that asks over QUIC. Waits up to `timeout` for one.
    ///
    /// A worker that is connected to the broker gets none while the leader is connected too, because its tasks come
    /// from the queue.
    pub(crate) async fn next(&self, worker_has_broker: bool, timeout: Duration) -> Option<Dispatch> {
        let until = tokio::time::Instant::now() + timeout;
        loop {
            let offered = self.offered.notified();
            let connected = self.broker.as_ref().is_some_and(|(_, status)| status.borrow().connected);
            if !(worker_has_broker && connected)
                && let Some(dispatch) = self.lease()
            {
                return Some(dispatch);
            }
            tokio::select! {
                () = offered => {}
                () = tokio::time::sleep_until(until) => return None,
            }
        }
    }

    fn lease(&self) -> Option<Dispatch> {
        let mut offers = self.offers.lock();
        let free = offers.pending.iter().position(|dispatch| !offers.leases.contains_key(dispatch))?;
        let dispatch = offers.pending.remove(free);
        offers.leases.insert(dispatch, Instant::now());
        Some(dispatch)
    }
}

/// Returns when the broker's status changes.
async fn status_change(broker: &mut Option<watch::Receiver<BrokerStatus>>) {
    if let Some(status) = broker
        && status.changed().await.is_ok()
    {
        return;
    }
    std::future::pending().await
}

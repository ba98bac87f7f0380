//! The leader's part: from the state's open tasks to hints, and from dead workers to open tasks.
//!
//! Every node runs a dispatcher and only the leader's does anything, so a new leader has nothing to fetch: it reads
//! the open tasks from its own state and tells of them again. A hint told twice costs one lost claim.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use raft::command::Command;
use raft::state::{Task, TaskState};
use raft::{Cluster, ViewError};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use super::broker::Broker;
use super::{Hint, now};
use crate::reports::{DEAD_AFTER, Reports};

/// The longest time between two looks at the state.
const TICK: Duration = Duration::from_millis(500);
/// A hint that nobody followed for this long, with nothing left in the queue, is told again.
const TELL_AGAIN: Duration = Duration::from_secs(15);
/// A hint given to a worker over QUIC is given to nobody else for this long.
const LEASE: Duration = Duration::from_secs(5);
/// A claim may stand this long; a task is far shorter, and RabbitMQ gives up a delivery after 30 minutes.
const TASK_LIMIT: Duration = Duration::from_secs(20 * 60);

/// Tells workers of open tasks while this node leads.
pub(crate) struct Dispatcher {
    cluster: Cluster,
    reports: Arc<Reports>,
    broker: Option<Broker>,
    offers: Mutex<Offers>,
    offered: Notify,
}

/// The hints that workers may have over QUIC.
#[derive(Default)]
struct Offers {
    pending: Vec<Hint>,
    leases: HashMap<Hint, Instant>,
}

/// What one term of leadership remembers.
struct Term {
    began: Instant,
    session: u64,
    told: HashMap<Hint, Instant>,
    claims: HashMap<Hint, Instant>,
}

impl Term {
    fn new() -> Self {
        Self { began: Instant::now(), session: 0, told: HashMap::new(), claims: HashMap::new() }
    }
}

impl Dispatcher {
    /// A dispatcher that does nothing until it runs.
    pub(crate) fn new(cluster: Cluster, reports: Arc<Reports>, broker: Option<Broker>) -> Self {
        Self { cluster, reports, broker, offers: Mutex::default(), offered: Notify::new() }
    }

    /// Runs until `stop`.
    pub(crate) async fn run(self: Arc<Self>, stop: CancellationToken) {
        let mut events = self.cluster.events();
        let mut broker = self.broker.as_ref().map(Broker::watch);
        let mut term: Option<Term> = None;
        loop {
            if self.cluster.is_leader() {
                let term = term.get_or_insert_with(Term::new);
                if let Err(error) = self.round(term).await {
                    tracing::error!(%error, "the open tasks cannot be read");
                }
            } else {
                term = None;
                *self.offers.lock().unwrap_or_else(PoisonError::into_inner) = Offers::default();
            }
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(TICK) => {}
                // Lagging behind is no harm: the state is read anew each round.
                _ = events.recv() => {}
                () = changed(&mut broker) => {}
            }
        }
    }

    async fn round(&self, term: &mut Term) -> Result<(), ViewError> {
        let open = self.cluster.peek().open_tasks()?;
        self.end_dead_claims(term, &open).await;

        let pending: Vec<Hint> =
            open.iter().filter(|task| matches!(task.state, TaskState::Pending)).map(Hint::of).collect();
        {
            let mut offers = self.offers.lock().unwrap_or_else(PoisonError::into_inner);
            offers.leases.retain(|_, since| since.elapsed() < LEASE);
            offers.pending.clone_from(&pending);
        }
        if !pending.is_empty() {
            self.offered.notify_waiters();
        }

        let Some(broker) = &self.broker else {
            return Ok(());
        };
        let state = broker.state();
        if !state.connected {
            return Ok(());
        }
        if state.session != term.session {
            // The broker may have come back empty.
            term.session = state.session;
            term.told.clear();
        }
        let current: HashSet<Hint> = pending.iter().copied().collect();
        term.told.retain(|hint, _| current.contains(hint));
        for hint in pending {
            let stale = |told: &Instant| told.elapsed() > TELL_AGAIN && state.ready == Some(0);
            if term.told.get(&hint).is_none_or(stale) {
                if !broker.publish(hint).await {
                    break;
                }
                term.told.insert(hint, Instant::now());
            }
        }
        Ok(())
    }

    /// Proposes the end of each claim whose worker is gone, has forgotten it or is stuck in it.
    async fn end_dead_claims(&self, term: &mut Term, open: &[Task]) {
        let mut current = HashSet::new();
        for task in open {
            let TaskState::Running { node, .. } = task.state else {
                continue;
            };
            let claim = Hint::of(task);
            current.insert(claim);
            let since = *term.claims.entry(claim).or_insert_with(Instant::now);
            // A new leader has heard nobody yet, and a report may be older than the claim.
            if since.elapsed() < DEAD_AFTER || term.began.elapsed() < DEAD_AFTER {
                continue;
            }
            let reason = match self.reports.works_on(node, task.id, task.attempt) {
                None => format!("node {node} is gone"),
                Some(false) => format!("node {node} was started anew in the middle of the task"),
                Some(true) if since.elapsed() > TASK_LIMIT => {
                    format!("node {node} did not finish within {} minutes", TASK_LIMIT.as_secs() / 60)
                }
                Some(true) => continue,
            };
            tracing::info!(task = %task.id, attempt = task.attempt, %reason, "the task goes to another worker");
            let end = Command::ExpireTask { task: task.id, attempt: task.attempt, reason, at: now() };
            if let Err(error) = self.cluster.propose(end).await {
                tracing::warn!(%error, task = %task.id, "the end of a claim could not be proposed");
            }
        }
        term.claims.retain(|claim, _| current.contains(claim));
    }

    /// The next hint for a worker that asks over QUIC, waiting up to `patience` for one.
    ///
    /// A worker whose own broker answers gets nothing here while the leader's does too: its hints come from the queue.
    pub(crate) async fn next(&self, worker_has_broker: bool, patience: Duration) -> Option<Hint> {
        let until = tokio::time::Instant::now() + patience;
        loop {
            let offered = self.offered.notified();
            let queue_serves = worker_has_broker && self.broker.as_ref().is_some_and(|broker| broker.state().connected);
            if !queue_serves && let Some(hint) = self.lease() {
                return Some(hint);
            }
            tokio::select! {
                () = offered => {}
                () = tokio::time::sleep_until(until) => return None,
            }
        }
    }

    fn lease(&self) -> Option<Hint> {
        let mut offers = self.offers.lock().unwrap_or_else(PoisonError::into_inner);
        let free = offers.pending.iter().position(|hint| !offers.leases.contains_key(hint))?;
        let hint = offers.pending.swap_remove(free);
        offers.leases.insert(hint, Instant::now());
        Some(hint)
    }
}

async fn changed(broker: &mut Option<tokio::sync::watch::Receiver<super::broker::State>>) {
    if let Some(state) = broker
        && state.changed().await.is_ok()
    {
        return;
    }
    std::future::pending().await
}

//! The leader's part: from the state's open tasks to hints, and from dead workers to open tasks.
//!
//! Every node runs a dispatcher and only the leader's does anything, so a new leader has nothing to fetch: it reads
//! the open tasks from its own state and tells of them again. A hint told twice costs one lost claim.
//!
//! A queue gives out what came in first, so whatever is in it is decided. The dispatcher therefore tells of no more
//! tasks at a time than the workers will soon take, and keeps the rest back: their order stays its own, which
//! [`Turns`] decides, and a cancelled job leaves no long tail in the queue.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use raft::Cluster;
use state::Event;
use state::command::Command;
use tokio::sync::Notify;
use tokio::sync::broadcast::error::{RecvError, TryRecvError};
use tokio_util::sync::CancellationToken;

use super::board::Board;
use super::broker::Broker;
use super::turns::Turns;
use super::{Hint, now};
use crate::configuration::Workers;
use crate::numbers;
use crate::reports::{DEAD_AFTER, Reports};

/// The longest time between two looks at the work.
const TICK: Duration = Duration::from_millis(500);
/// A hint that nobody followed for this long, with nothing left in the queue, is told again.
const TELL_AGAIN: Duration = Duration::from_secs(15);
/// A hint given to a worker over QUIC is given to nobody else for this long.
const LEASE: Duration = Duration::from_secs(5);
/// Hints that may be out for each task that the nodes can work on at a time. A busy worker holds at most one message of
/// the kind that it does not work on for each of its slots, so with two there is always one for a free worker.
const OUT_PER_SLOT: usize = 2;

/// Tells workers of open tasks while this node leads.
pub(crate) struct Dispatcher {
    cluster: Cluster,
    reports: Arc<Reports>,
    broker: Option<Broker>,
    workers: Workers,
    offers: Mutex<Offers>,
    offered: Notify,
}

/// The hints that workers may have over QUIC.
#[derive(Default)]
struct Offers {
    /// In the order in which they should be taken.
    pending: Vec<Hint>,
    leases: HashMap<Hint, Instant>,
}

/// What changed since the last look.
#[derive(Default)]
struct Changed {
    jobs: BTreeSet<u64>,
    /// Events were lost, so anything may have changed.
    all: bool,
}

impl Changed {
    fn note(&mut self, event: Result<Event, RecvError>) {
        match event {
            Ok(Event::Job { id }) => drop(self.jobs.insert(id)),
            Ok(Event::Song { .. } | Event::SongRemoved { .. }) | Err(RecvError::Closed) => {}
            Err(RecvError::Lagged(_)) => self.all = true,
        }
    }
}

/// What one term of leadership remembers.
struct Term {
    began: Instant,
    board: Board,
    turns: Turns,
    session: u64,
    /// The hints in the queue, as far as is known, in the order in which they went there.
    told: Vec<(Hint, Instant)>,
    /// The claims, and when this node first saw each; wall clocks may jump.
    claims: HashMap<Hint, Instant>,
}

impl Term {
    fn new() -> Self {
        Self {
            began: Instant::now(),
            board: Board::default(),
            turns: Turns::default(),
            session: 0,
            told: Vec::new(),
            claims: HashMap::new(),
        }
    }
}

impl Dispatcher {
    /// A dispatcher that does nothing until it runs.
    pub(crate) fn new(cluster: Cluster, reports: Arc<Reports>, broker: Option<Broker>, workers: Workers) -> Self {
        Self { cluster, reports, broker, workers, offers: Mutex::default(), offered: Notify::new() }
    }

    /// Runs until `stop`.
    pub(crate) async fn run(self: Arc<Self>, stop: CancellationToken) {
        let mut events = self.cluster.events();
        let mut broker = self.broker.as_ref().map(Broker::watch);
        let mut term: Option<Term> = None;
        let mut changed = Changed::default();
        loop {
            if self.cluster.is_leader() {
                let term = term.get_or_insert_with(|| {
                    changed.all = true;
                    Term::new()
                });
                if self.look(term, &mut changed).await {
                    self.round(term).await;
                }
            } else {
                term = None;
                changed = Changed::default();
                *self.offers.lock().unwrap_or_else(PoisonError::into_inner) = Offers::default();
            }
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(TICK) => {}
                event = events.recv() => changed.note(event),
                () = told_by(&mut broker) => {}
            }
            // What came together is looked at together.
            loop {
                match events.try_recv() {
                    Ok(event) => changed.note(Ok(event)),
                    Err(TryRecvError::Lagged(lost)) => changed.note(Err(RecvError::Lagged(lost))),
                    Err(TryRecvError::Empty | TryRecvError::Closed) => break,
                }
            }
        }
    }

    /// Brings the board up to date; false when it could not be.
    async fn look(&self, term: &mut Term, changed: &mut Changed) -> bool {
        if !changed.all && changed.jobs.is_empty() {
            return true;
        }
        let (view, mut board, what) = (self.cluster.peek(), std::mem::take(&mut term.board), std::mem::take(changed));
        let looked = tokio::task::spawn_blocking(move || {
            if what.all {
                return Board::read(&view);
            }
            for job in what.jobs {
                board.look(&view, job)?;
            }
            Ok(board)
        });
        match looked.await {
            Ok(Ok(board)) => {
                term.board = board;
                return true;
            }
            Ok(Err(error)) => tracing::error!(%error, "the open tasks cannot be read"),
            Err(error) => tracing::error!(%error, "the open tasks cannot be read"),
        }
        changed.all = true;
        false
    }

    async fn round(&self, term: &mut Term) {
        self.end_dead_claims(term).await;
        term.turns.level(&term.board);
        let broker = self.broker.as_ref().map(|broker| (broker, broker.state())).filter(|(_, state)| state.connected);
        let session = broker.as_ref().map_or(0, |(_, state)| state.session);
        if session != term.session {
            // The broker may have come back empty, or is gone.
            term.session = session;
            term.told.clear();
        }
        let board = &term.board;
        term.told.retain(|(hint, _)| board.is_pending(hint));

        let window = OUT_PER_SLOT * self.reports.capacity().max(1);
        let chosen = {
            let mut offers = self.offers.lock().unwrap_or_else(PoisonError::into_inner);
            offers.leases.retain(|hint, since| since.elapsed() < LEASE && board.is_pending(hint));
            let mut out: Vec<Hint> = term.told.iter().map(|(hint, _)| *hint).collect();
            out.extend(offers.leases.keys().filter(|hint| !term.told.iter().any(|(told, _)| told == *hint)));
            let chosen = term.turns.choose(board, &out, window.saturating_sub(out.len()));
            out.extend(&chosen);
            offers.pending = out;
            chosen
        };
        self.offered.notify_waiters();

        let Some((broker, state)) = broker else {
            return;
        };
        for (hint, since) in &mut term.told {
            if since.elapsed() > TELL_AGAIN && state.ready == Some(0) {
                if !broker.publish(*hint).await {
                    return;
                }
                *since = Instant::now();
            }
        }
        for hint in chosen {
            if !broker.publish(hint).await {
                return;
            }
            storage::failpoint!("hint.published");
            term.told.push((hint, Instant::now()));
        }
    }

    /// Proposes the end of each claim whose worker is gone, has forgotten it or is stuck in it.
    async fn end_dead_claims(&self, term: &mut Term) {
        let mut current = HashSet::new();
        for job in term.board.jobs() {
            for claim in &job.running {
                let (task, attempt, node) = (claim.hint.task(), claim.hint.attempt, claim.node);
                current.insert(claim.hint);
                let since = *term.claims.entry(claim.hint).or_insert_with(|| {
                    term.turns.take(job.priority, &job.owner);
                    Instant::now()
                });
                // A new leader has heard nobody yet, and a report may be older than the claim.
                if since.elapsed() < DEAD_AFTER || term.began.elapsed() < DEAD_AFTER {
                    continue;
                }
                let limit = self.workers.time_limit(claim.seconds);
                let reason = match self.reports.works_on(node, task, attempt) {
                    None => format!("node {node} is gone"),
                    Some(false) => format!("node {node} knows nothing of the task any more; its worker has died"),
                    // The worker itself gives up at the limit, and is given a moment to say so.
                    Some(true) if since.elapsed() > limit + DEAD_AFTER => {
                        format!("node {node} did not finish within {} s", limit.as_secs())
                    }
                    Some(true) => continue,
                };
                tracing::info!(%task, attempt, %reason, "the task goes to another worker");
                let end = Command::ExpireTask { task, attempt, reason, at: now() };
                match self.cluster.propose(end).await {
                    Ok(Ok(_)) => numbers::of_kind("quartet_tasks_expired_total", claim.hint.merge).increment(1),
                    // It has ended by itself.
                    Ok(Err(_)) => {}
                    Err(error) => tracing::warn!(%error, %task, "the end of a claim could not be proposed"),
                }
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
        let hint = offers.pending.remove(free);
        offers.leases.insert(hint, Instant::now());
        Some(hint)
    }
}

async fn told_by(broker: &mut Option<tokio::sync::watch::Receiver<super::broker::State>>) {
    if let Some(state) = broker
        && state.changed().await.is_ok()
    {
        return;
    }
    std::future::pending().await
}

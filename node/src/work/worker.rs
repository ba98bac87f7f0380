//! A node's workers: from a hint to a committed result.
//!
//! The order is fixed: claim, work, store the result, commit it, settle the hint. A crash between any two steps
//! repeats work and loses none.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use audio::thread::Panicked;
use net::peer::{Peer, Protocol};
use net::request::RequestId;
use raft::{Cluster, ClusterError};
use state::ViewError;
use state::command::{Answer, Command, Refusal};
use state::{Job, Output, Task, TaskKind, TaskState};
use tokio::sync::{Semaphore, mpsc, oneshot, watch};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::broker::Broker;
use super::dispatcher::Dispatcher;
use super::reset::Reset;
use super::service::{Call, Reply};
use super::slot::Slot;
use super::task::{Bench, TaskError};
use super::{Delivery, Hint, Outcome, now};
use crate::configuration::Workers as Settings;
use crate::journal;
use crate::numbers;
use crate::reports::OwnWork;

/// How long the leader holds a question for a task before it answers that there is none.
pub(crate) const ASK_FOR: Duration = Duration::from_secs(3);
/// The pause after a question that could not be answered.
const ASK_AGAIN: Duration = Duration::from_millis(300);

/// The pause after a failure that may pass, for each failure before it.
const PAUSE: Duration = Duration::from_secs(2);
/// How long a task for which there was no room is held before it is handed back, so that others come first.
const ROOM_AGAIN: Duration = Duration::from_secs(5);

/// What the workers of a node work with.
pub(crate) struct Workers {
    /// The cluster.
    pub cluster: Cluster,
    /// The way to the leader.
    pub peer: Peer,
    /// This node's own dispatcher, for when it leads.
    pub dispatcher: Arc<Dispatcher>,
    /// What tasks run with.
    pub bench: Arc<Bench>,
    /// RabbitMQ, if there is one.
    pub broker: Option<Broker>,
    /// Where claims are noted.
    pub own: Arc<OwnWork>,
    /// Tells when all work is to be dropped.
    pub reset: Arc<Reset>,
    /// How many they are, and how long they may take.
    pub settings: Settings,
}

/// What became of a claimed task.
enum Verdict {
    Made(Output),
    Failed(TaskError),
    /// The node stops, or everything was reset.
    HandedBack,
    /// The claim is somebody else's, or nobody's.
    Lost,
    /// The worker died, as it was made to.
    Died,
}

impl Verdict {
    /// What it is counted as; a result counts when it has committed.
    fn counter(&self) -> Option<&'static str> {
        match self {
            Self::Made(_) => None,
            Self::Failed(error) if error.no_room() => Some("quartet_tasks_released_total"),
            Self::Failed(_) => Some("quartet_tasks_failed_total"),
            Self::HandedBack => Some("quartet_tasks_released_total"),
            Self::Lost | Self::Died => Some("quartet_tasks_lost_total"),
        }
    }
}

/// The id under which an attempt at a task is worked on.
fn request_of(hint: &Hint) -> RequestId {
    let name = journal::name_of(hint.task(), hint.attempt);
    RequestId::new(name.as_bytes()).unwrap_or_else(RequestId::random)
}

/// Why a claimed task's job could not be read.
#[derive(Debug, thiserror::Error)]
enum LookError {
    /// The cluster does not answer.
    #[error(transparent)]
    Cluster(#[from] ClusterError),
    /// The state cannot be read.
    #[error(transparent)]
    View(#[from] ViewError),
}

/// A task's work, on its way.
type Work = JoinHandle<Result<Output, TaskError>>;

impl Workers {
    /// Works until `stop`, then hands back what is not finished.
    pub(crate) async fn run(self: Arc<Self>, mut deliveries: mpsc::Receiver<Delivery>, stop: CancellationToken) {
        let healthy = Arc::new(Semaphore::new(self.settings.healthy_slots() as usize));
        let unhealthy = Arc::new(Semaphore::new(self.settings.unhealthy as usize));
        if self.settings.unhealthy > 0 {
            tracing::warn!(
                workers = self.settings.unhealthy,
                seconds = self.settings.crash_after,
                "for demonstration, some workers of this node die in the middle of each task"
            );
        }
        let running = TaskTracker::new();
        loop {
            let slot = tokio::select! {
                () = stop.cancelled() => break,
                permit = Arc::clone(&healthy).acquire_owned() => permit.map(|permit| Slot { permit, dies_after: None }),
                permit = Arc::clone(&unhealthy).acquire_owned() => permit.map(|permit| {
                    Slot { permit, dies_after: Some(Duration::from_secs(self.settings.crash_after)) }
                }),
            };
            let Ok(slot) = slot else { break };
            let delivery = tokio::select! {
                () = stop.cancelled() => break,
                Some(delivery) = deliveries.recv() => delivery,
                hint = self.ask_leader() => {
                    let (done, _) = oneshot::channel();
                    Delivery { hint, done }
                }
            };
            let (workers, stop) = (Arc::clone(&self), stop.clone());
            running.spawn(async move {
                let (outcome, left) = workers.follow(delivery.hint, slot.dies_after, &stop).await;
                let _ = delivery.done.send(outcome);
                tokio::select! {
                    () = slot.free(left, &workers.own, workers.settings.all_slots()) => {}
                    // The process ends, and its threads with it.
                    () = stop.cancelled() => {}
                }
            });
        }
        running.close();
        running.wait().await;
    }

    /// Asks whoever leads for a task until there is one.
    async fn ask_leader(&self) -> Hint {
        loop {
            let has_broker = self.broker.as_ref().is_some_and(|broker| broker.state().connected);
            let hint = match self.cluster.status().leader {
                None => None,
                Some(leader) if leader == self.peer.id() => self.dispatcher.next(has_broker, ASK_FOR).await,
                Some(leader) => {
                    let call = Call::Next { has_broker };
                    let patience = ASK_FOR + Duration::from_secs(2);
                    match self.peer.call(leader, Protocol::Work, &call, patience).await {
                        Ok(Reply::Hint(hint)) => hint,
                        Ok(_) | Err(_) => None,
                    }
                }
            };
            match hint {
                Some(hint) => return hint,
                None => tokio::time::sleep(ASK_AGAIN).await,
            }
        }
    }

    /// Follows one hint to its end. What is left of the work, if it was given up, ends by itself or never. Whatever is
    /// logged and asked on the way, here and at other nodes, carries the attempt's name as a request's id.
    async fn follow(
        &self,
        hint: Hint,
        dies_after: Option<Duration>,
        stop: &CancellationToken,
    ) -> (Outcome, Option<Work>) {
        request_of(&hint).scope(self.follow_in(hint, dies_after, stop)).await
    }

    async fn follow_in(
        &self,
        hint: Hint,
        dies_after: Option<Duration>,
        stop: &CancellationToken,
    ) -> (Outcome, Option<Work>) {
        let (mut reset, began) = (self.reset.watch(), Instant::now());
        let node = self.peer.id();
        let claim = Command::ClaimTask { task: hint.task(), attempt: hint.attempt, node, at: now() };
        let task = match self.cluster.propose(claim).await {
            Ok(Ok(Answer::Claimed(task))) => task,
            Ok(_) => return (Outcome::Settled, None),
            Err(error) => {
                tracing::warn!(%error, task = %hint.task(), "a task could not be claimed");
                return (Outcome::Returned, None);
            }
        };
        storage::failpoint!("task.claimed");
        let _held = self.own.hold(task.id, task.attempt);
        let _kept = journal::keep(task.id, task.attempt);
        numbers::of_kind("quartet_tasks_claimed_total", hint.merge).increment(1);
        tracing::info!(task = %task.id, attempt = task.attempt, "working");
        let mut audio_seconds = 0;
        let (verdict, left) = match self.look(&task).await {
            Ok(Some((job, all))) => {
                audio_seconds = job.plan.seconds(task.kind);
                self.work(&task, job, all, dies_after, &mut reset, stop).await
            }
            // The job went away since the claim.
            Ok(None) => (Verdict::Lost, None),
            Err(error) => {
                tracing::warn!(%error, task = %task.id, "the job cannot be read");
                (Verdict::HandedBack, None)
            }
        };
        let pause = match &verdict {
            Verdict::Failed(error) if error.no_room() => Some(ROOM_AGAIN),
            Verdict::Failed(error) if error.may_pass() => Some(PAUSE * task.failures),
            _ => None,
        };
        if let Some(pause) = pause {
            // Or all attempts would be spent on one bad moment.
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                () = stop.cancelled() => {}
            }
        }
        let (outcome, finished) = self.report(&task, verdict, stop).await;
        if finished {
            numbers::finished(task.kind, began.elapsed(), audio_seconds);
        }
        (outcome, left)
    }

    /// The claimed task's job and its tasks, as new as the claim.
    async fn look(&self, task: &Task) -> Result<Option<(Job, Vec<Task>)>, LookError> {
        let view = self.cluster.read().await?;
        let Some(job) = view.job(task.id.job)? else {
            return Ok(None);
        };
        Ok(Some((job, view.tasks(task.id.job)?)))
    }

    /// Works on a claimed task until it is done, fails, takes too long, or is not wanted here any more.
    async fn work(
        &self,
        task: &Task,
        job: Job,
        all: Vec<Task>,
        dies_after: Option<Duration>,
        reset: &mut watch::Receiver<u64>,
        stop: &CancellationToken,
    ) -> (Verdict, Option<Work>) {
        let limit = self.settings.time_limit(job.plan.seconds(task.kind));
        let flag = Arc::new(AtomicBool::new(false));
        let (bench, own, raised) = (Arc::clone(&self.bench), task.clone(), Arc::clone(&flag));
        let request = request_of(&Hint::of(task));
        let mut work: Work = tokio::spawn(request.scope(async move { bench.run(&job, &own, &all, raised).await }));
        let death = async {
            match dies_after {
                Some(after) => tokio::time::sleep(after).await,
                None => std::future::pending().await,
            }
        };
        let verdict = tokio::select! {
            result = &mut work => {
                let verdict = match result {
                    Ok(Ok(output)) => Verdict::Made(output),
                    Ok(Err(error)) => Verdict::Failed(error),
                    Err(_) => Verdict::Failed(TaskError::Panicked(Panicked)),
                };
                return (verdict, None);
            }
            () = stop.cancelled() => Verdict::HandedBack,
            Ok(()) = reset.changed() => Verdict::HandedBack,
            () = self.claim_lost(task) => Verdict::Lost,
            () = tokio::time::sleep(limit) => Verdict::Failed(TaskError::Overran(limit)),
            () = death => Verdict::Died,
        };
        flag.store(true, Ordering::Relaxed);
        (verdict, Some(work))
    }

    /// Returns when this node's state says that the claim is somebody else's, or nobody's.
    async fn claim_lost(&self, task: &Task) {
        let mut events = self.cluster.events();
        loop {
            match self.cluster.peek().task(task.id) {
                Ok(Some(seen)) if seen.attempt < task.attempt => {}
                Ok(Some(seen))
                    if seen.attempt == task.attempt
                        && matches!(seen.state, TaskState::Running { node, .. } if node == self.peer.id()) => {}
                // Still pending under this attempt: the claim has committed but is not applied here yet.
                Ok(Some(seen)) if seen.attempt == task.attempt && matches!(seen.state, TaskState::Pending) => {}
                Ok(_) => return,
                Err(error) => tracing::error!(%error, "the state cannot be read"),
            }
            tokio::select! {
                _ = events.recv() => {}
                () = tokio::time::sleep(Duration::from_secs(1)) => {}
            }
        }
    }

    /// Commits what became of the task. Says as well whether the cluster has taken a result.
    async fn report(&self, task: &Task, verdict: Verdict, stop: &CancellationToken) -> (Outcome, bool) {
        let (id, attempt, node) = (task.id, task.attempt, self.peer.id());
        let finished = matches!(verdict, Verdict::Made(_));
        if let Some(name) = verdict.counter() {
            numbers::of_kind(name, matches!(task.kind, TaskKind::Merge)).increment(1);
        }
        // What is said below belongs to it.
        let lines = || journal::lines(id, attempt);
        let command = match verdict {
            Verdict::Made(output) => Command::FinishTask { task: id, attempt, node, output, lines: lines(), at: now() },
            Verdict::Lost => {
                tracing::info!(task = %id, attempt, "the claim is lost, and the work was dropped");
                return (Outcome::Settled, false);
            }
            Verdict::Died => {
                tracing::warn!(task = %id, attempt, "the worker dies, as it was told to for demonstration");
                return (Outcome::Returned, false);
            }
            Verdict::HandedBack => {
                tracing::info!(task = %id, attempt, "handed back");
                Command::ReleaseTask { task: id, attempt, node, lines: lines(), at: now() }
            }
            Verdict::Failed(TaskError::LostPart { task: part, ref source, .. }) => {
                tracing::warn!(task = %id, part = %part, error = %source, "a part is lost and will be made again");
                Command::ReopenTask { task: part, reason: format!("its part is lost: {source}"), at: now() }
            }
            // A full disk is no fault of the task, which another node may do; or this one, when it has room.
            Verdict::Failed(error) if error.no_room() => {
                tracing::warn!(task = %id, attempt, %error, "the task is handed back");
                Command::ReleaseTask { task: id, attempt, node, lines: lines(), at: now() }
            }
            Verdict::Failed(error) => {
                tracing::warn!(task = %id, attempt, %error, "the task failed");
                Command::FailTask { task: id, attempt, node, reason: error.to_string(), lines: lines(), at: now() }
            }
        };
        loop {
            match self.cluster.propose(command.clone()).await {
                Ok(Ok(_)) => {
                    if finished {
                        storage::failpoint!("task.finished");
                        self.own.finished();
                        tracing::info!(task = %id, attempt, "finished");
                    }
                    return (Outcome::Settled, finished);
                }
                Ok(Err(Refusal::ClaimLost)) => return (Outcome::Settled, false),
                Ok(Err(refusal)) => {
                    tracing::warn!(task = %id, %refusal, "the result was refused");
                    return (Outcome::Settled, false);
                }
                // The result is stored and the claim is ours: wait for a majority rather than work again.
                Err(ClusterError::Stopped) => return (Outcome::Returned, false),
                Err(error) if stop.is_cancelled() => {
                    tracing::warn!(task = %id, %error, "the task could not be handed back in time");
                    return (Outcome::Returned, false);
                }
                Err(error) => {
                    tracing::warn!(task = %id, %error, "the result waits for the cluster")
                }
            }
            tokio::time::sleep(ASK_AGAIN).await;
        }
    }
}

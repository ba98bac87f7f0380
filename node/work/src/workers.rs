//! A node's workers: from a dispatch to a committed result.
//!
//! The order is fixed: claim, run, store the result, commit it, settle the dispatch. A crash between any two steps
//! repeats work and loses none.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use live::attempt_log;
use net::request::RequestId;
use net::{Peer, Protocol};
use raft::{Cluster, ClusterError, now};
use state::command::{Answer, ClaimTask, Command, FailTask, FinishTask, Refusal, ReleaseTask, ReopenTask};
use state::{Job, Output, Task, TaskState, ViewError};
use tokio::sync::{Semaphore, mpsc, oneshot, watch};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use uuid::Uuid;

use crate::broker::Broker;
use crate::claims::Claims;
use crate::metrics;
use crate::protocol::{Call, POLL_TIMEOUT, Reply};
use crate::reset::Reset;
use crate::runner::{Assignment, Runners, TaskError};
use crate::scheduler::Scheduler;
use crate::settings::WorkerSettings;
use crate::slot::Slot;
use crate::{Delivery, Dispatch, Outcome};

/// The pause before a call or proposal that failed is made again.
const RETRY_AFTER: Duration = Duration::from_millis(300);
/// The pause after an attempt for which a file or node was not available, for each failure before it.
const UNAVAILABLE_PAUSE: Duration = Duration::from_secs(2);
/// The pause before a task without disk space is released, so that other tasks come first.
const NO_SPACE_PAUSE: Duration = Duration::from_secs(5);

/// A node's workers.
pub struct Workers {
    /// The replicated state.
    pub cluster: Cluster,
    /// The calls to the leader.
    pub peer: Peer,
    /// This node's own scheduler, which is asked directly while this node leads.
    pub scheduler: Arc<Scheduler>,
    /// What runs the tasks.
    pub runners: Arc<Runners>,
    /// The broker, if configured.
    pub broker: Option<Arc<dyn Broker>>,
    /// Where the workers record their claims.
    pub claims: Arc<Claims>,
    /// Aborts all running work.
    pub reset: Reset,
    /// The number of workers and their time limits.
    pub settings: WorkerSettings,
}

/// How an attempt ended.
enum Ended {
    /// With a result.
    Finished(Output),
    /// With an error.
    Failed(TaskError),
    /// The task took longer than its time limit.
    TimedOut(Duration),
    /// The node stops, or all work was reset.
    Released,
    /// Another worker has the claim, or none.
    ClaimLost,
    /// The worker died, as configured for a demonstration.
    Died,
}

impl Ended {
    /// The metric that counts it. A result is counted when it has committed.
    fn metric(&self) -> Option<&'static str> {
        match self {
            Self::Finished(_) => None,
            Self::Failed(TaskError::NoSpace(_)) | Self::Released => Some("quartet_tasks_released_total"),
            Self::Failed(_) | Self::TimedOut(_) => Some("quartet_tasks_failed_total"),
            Self::ClaimLost | Self::Died => Some("quartet_tasks_lost_total"),
        }
    }
}

/// The request id of an attempt.
fn request_id(task: &Dispatch) -> RequestId {
    let name = attempt_log::name_of(task.task, task.attempt);
    RequestId::new(name.as_bytes()).unwrap_or_else(RequestId::random)
}

/// Why a claimed task's job could not be read.
#[derive(Debug, thiserror::Error)]
enum ReadError {
    /// The cluster does not answer.
    #[error(transparent)]
    Cluster(#[from] ClusterError),
    /// The state cannot be read.
    #[error(transparent)]
    View(#[from] ViewError),
}

/// A running attempt.
type Running = JoinHandle<Result<Output, TaskError>>;

impl Workers {
    /// Works until `stop`, then releases the tasks that are not finished.
    pub async fn run(self: Arc<Self>, mut deliveries: mpsc::Receiver<Delivery>, stop: CancellationToken) {
        let healthy = Arc::new(Semaphore::new(self.settings.healthy_slots() as usize));
        let unhealthy = Arc::new(Semaphore::new(self.settings.unhealthy as usize));
        if self.settings.unhealthy > 0 {
            tracing::warn!(
                workers = self.settings.unhealthy,
                seconds = self.settings.crash_after,
                "demonstration: some workers of this node die during each task"
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
                dispatch = self.ask_leader() => {
                    let (outcome, _) = oneshot::channel();
                    Delivery { dispatch, outcome }
                }
            };
            let (workers, stop) = (Arc::clone(&self), stop.clone());
            running.spawn(async move {
                let id = request_id(&delivery.dispatch);
                let (outcome, aborted) = id.scope(workers.attempt(delivery.dispatch, slot.dies_after, &stop)).await;
                let _ = delivery.outcome.send(outcome);
                tokio::select! {
                    () = slot.free(aborted, &workers.claims, workers.settings.all_slots()) => {}
                    // The process ends, and its threads with it.
                    () = stop.cancelled() => {}
                }
            });
        }
        running.close();
        running.wait().await;
    }

    /// Asks the leader for a task until there is one.
    async fn ask_leader(&self) -> Dispatch {
        let broker = self.broker.as_ref().map(|broker| broker.status());
        loop {
            let has_broker = broker.as_ref().is_some_and(|status| status.borrow().connected);
            let dispatch = match self.cluster.status().leader {
                None => None,
                Some(leader) if leader == self.peer.id() => self.scheduler.next(has_broker, POLL_TIMEOUT).await,
                Some(leader) => {
                    let call = Call::Next { has_broker };
                    let timeout = POLL_TIMEOUT + Duration::from_secs(2);
                    match self.peer.call(leader, Protocol::Work, &call, timeout).await {
                        Ok(Reply::Next(dispatch)) => dispatch,
                        Ok(Reply::Reset) | Err(_) => None,
                    }
                }
            };
            match dispatch {
                Some(dispatch) => return dispatch,
                None => tokio::time::sleep(RETRY_AFTER).await,
            }
        }
    }

    /// Makes one attempt at a task. An aborted run is returned, which ends by itself or never.
    async fn attempt(
        &self,
        dispatch: Dispatch,
        dies_after: Option<Duration>,
        stop: &CancellationToken,
    ) -> (Outcome, Option<Running>) {
        let (mut reset, began) = (self.reset.subscribe(), Instant::now());
        let node = self.peer.id();
        let claim = ClaimTask { task: dispatch.task, attempt: dispatch.attempt, node, at: now() };
        let task = match self.cluster.propose(claim).await {
            Ok(Ok(Answer::Claimed(task))) => task,
            Ok(_) => return (Outcome::Settled, None),
            Err(error) => {
                tracing::warn!(%error, task = %dispatch.task, "cannot claim the task");
                return (Outcome::Returned, None);
            }
        };
        storage::failpoint!("task.claimed");
        let _held = self.claims.hold(task.id, task.attempt);
        let _recording = attempt_log::Recording::start(task.id, task.attempt);
        metrics::counter_of("quartet_tasks_claimed_total", task.kind).increment(1);
        tracing::info!(task = %task.id, attempt = task.attempt, "task started");
        let mut audio_seconds = 0;
        let (ended, aborted) = match self.read(&task).await {
            Ok(Some((job, tasks))) => {
                audio_seconds = job.audio_seconds(task.kind);
                self.run_task(&task, job, tasks, dies_after, &mut reset, stop).await
            }
            // The job was removed after the claim.
            Ok(None) => (Ended::ClaimLost, None),
            Err(error) => {
                tracing::warn!(%error, task = %task.id, "cannot read the job");
                (Ended::Released, None)
            }
        };
        let pause = match &ended {
            Ended::Failed(TaskError::NoSpace(_)) => Some(NO_SPACE_PAUSE),
            Ended::Failed(TaskError::Unavailable(_)) => Some(UNAVAILABLE_PAUSE * task.failures),
            _ => None,
        };
        if let Some(pause) = pause {
            // Without a pause, one short outage would use up all attempts.
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                () = stop.cancelled() => {}
            }
        }
        let (outcome, finished) = self.commit(&task, ended, stop).await;
        if finished {
            metrics::task_finished(task.kind, began.elapsed(), audio_seconds);
        }
        (outcome, aborted)
    }

    /// The claimed task's job and its tasks, as new as the claim.
    async fn read(&self, task: &Task) -> Result<Option<(Job, Vec<Task>)>, ReadError> {
        let view = self.cluster.read().await?;
        let Some(job) = view.job(task.id.job)? else {
            return Ok(None);
        };
        Ok(Some((job, view.tasks(task.id.job)?)))
    }

    /// Runs a claimed task until it ends, exceeds its time limit or must be aborted.
    async fn run_task(
        &self,
        task: &Task,
        job: Job,
        tasks: Vec<Task>,
        dies_after: Option<Duration>,
        reset: &mut watch::Receiver<Option<Uuid>>,
        stop: &CancellationToken,
    ) -> (Ended, Option<Running>) {
        let limit = self.settings.time_limit(job.audio_seconds(task.kind));
        let abort = Arc::new(AtomicBool::new(false));
        let assignment = Assignment { job, task: task.clone(), tasks, aborted: Arc::clone(&abort) };
        let runners = Arc::clone(&self.runners);
        let id = request_id(&Dispatch::of(task));
        let mut running: Running = tokio::spawn(id.scope(async move { runners.run(&assignment).await }));
        let death = async {
            match dies_after {
                Some(after) => tokio::time::sleep(after).await,
                None => std::future::pending().await,
            }
        };
        let ended = tokio::select! {
            result = &mut running => {
                let ended = match result {
                    Ok(Ok(output)) => Ended::Finished(output),
                    Ok(Err(error)) => Ended::Failed(error),
                    Err(error) => Ended::Failed(TaskError::Failed(error.into())),
                };
                return (ended, None);
            }
            () = stop.cancelled() => Ended::Released,
            Ok(()) = reset.changed() => Ended::Released,
            () = self.claim_lost(task) => Ended::ClaimLost,
            () = tokio::time::sleep(limit) => Ended::TimedOut(limit),
            () = death => Ended::Died,
        };
        abort.store(true, Ordering::Relaxed);
        (ended, Some(running))
    }

    /// Returns when the state of this node no longer has the claim.
    async fn claim_lost(&self, task: &Task) {
        let mut events = self.cluster.events();
        loop {
            match self.cluster.peek().task(task.id) {
                Ok(Some(seen)) if seen.attempt < task.attempt => {}
                Ok(Some(seen))
                    if seen.attempt == task.attempt
                        && matches!(seen.state, TaskState::Running { node, .. } if node == self.peer.id()) => {}
                // The claim has committed but is not applied here yet.
                Ok(Some(seen)) if seen.attempt == task.attempt && matches!(seen.state, TaskState::Pending) => {}
                Ok(_) => return,
                Err(error) => tracing::error!(%error, "cannot read the state"),
            }
            tokio::select! {
                _ = events.recv() => {}
                () = tokio::time::sleep(Duration::from_secs(1)) => {}
            }
        }
    }

    /// Commits how an attempt ended. Also returns whether a result has committed.
    async fn commit(&self, task: &Task, ended: Ended, stop: &CancellationToken) -> (Outcome, bool) {
        let (id, attempt, node) = (task.id, task.attempt, self.peer.id());
        let finished = matches!(ended, Ended::Finished(_));
        if let Some(name) = ended.metric() {
            metrics::counter_of(name, task.kind).increment(1);
        }
        // Read after the lines below are logged, because they are part of the attempt's log.
        let lines = || attempt_log::lines(id, attempt);
        let command: Command = match ended {
            Ended::Finished(output) => FinishTask { task: id, attempt, node, output, lines: lines(), at: now() }.into(),
            Ended::ClaimLost => {
                tracing::info!(task = %id, attempt, "aborted: the claim is lost");
                return (Outcome::Settled, false);
            }
            Ended::Died => {
                tracing::warn!(task = %id, attempt, "demonstration: the worker dies");
                return (Outcome::Returned, false);
            }
            Ended::Released => {
                tracing::info!(task = %id, attempt, "released");
                ReleaseTask { task: id, attempt, node, lines: lines(), at: now() }.into()
            }
            Ended::Failed(TaskError::LostInput { task: input, ref cause, .. }) => {
                tracing::warn!(task = %id, %input, error = %cause, "a part is lost; its task runs again");
                ReopenTask { task: input, reason: format!("its part is lost: {cause}"), at: now() }.into()
            }
            // Another node may have space; so may this one later.
            Ended::Failed(TaskError::NoSpace(error)) => {
                tracing::warn!(task = %id, attempt, %error, "released: no disk space");
                ReleaseTask { task: id, attempt, node, lines: lines(), at: now() }.into()
            }
            Ended::Failed(error) => self.failure(task, error.to_string(), lines),
            Ended::TimedOut(limit) => {
                self.failure(task, format!("the task did not finish within {} s", limit.as_secs()), lines)
            }
        };
        loop {
            match self.cluster.propose(command.clone()).await {
                Ok(Ok(_)) => {
                    if finished {
                        storage::failpoint!("task.finished");
                        self.claims.count_finished();
                        tracing::info!(task = %id, attempt, "finished");
                    }
                    return (Outcome::Settled, finished);
                }
                Ok(Err(Refusal::ClaimLost)) => return (Outcome::Settled, false),
                Ok(Err(refusal)) => {
                    tracing::warn!(task = %id, %refusal, "the cluster refused the result");
                    return (Outcome::Settled, false);
                }
                // The result is stored and the claim is held: retry until there is a majority instead of working again.
                Err(ClusterError::Stopped) => return (Outcome::Returned, false),
                Err(error) if stop.is_cancelled() => {
                    tracing::warn!(task = %id, %error, "could not release the task in time");
                    return (Outcome::Returned, false);
                }
                Err(error) => tracing::warn!(task = %id, %error, "cannot commit the result; will retry"),
            }
            tokio::time::sleep(RETRY_AFTER).await;
        }
    }

    fn failure(&self, task: &Task, reason: String, lines: impl FnOnce() -> Vec<state::LogLine>) -> Command {
        let (id, attempt) = (task.id, task.attempt);
        tracing::warn!(task = %id, attempt, error = %reason, "the task failed");
        FailTask { task: id, attempt, node: self.peer.id(), reason, lines: lines(), at: now() }.into()
    }
}

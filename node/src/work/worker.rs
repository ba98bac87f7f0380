//! A node's workers: from a hint to a committed result.
//!
//! The order is fixed: claim, work, store the result, commit it, settle the hint. A crash between any two steps
//! repeats work and loses none.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use raft::command::{Answer, Command, Refusal};
use raft::state::{Job, Output, Task, TaskState};
use raft::{Cluster, ClusterError};
use storage::NodeId;
use storage::peer::{Peer, Protocol};
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::broker::Broker;
use super::dispatcher::Dispatcher;
use super::service::{Call, Reply};
use super::task::{Bench, TaskError};
use super::{Delivery, Hint, Outcome, now};
use crate::reports::OwnWork;

/// How long the leader holds a question for a task before it answers that there is none.
pub(crate) const ASK_FOR: Duration = Duration::from_secs(3);
/// The pause after a question that could not be answered.
const ASK_AGAIN: Duration = Duration::from_millis(300);

/// The pause after a failure that may pass, for each failure before it.
const PAUSE: Duration = Duration::from_secs(2);

/// The workers of one node.
pub(crate) struct Workers {
    id: NodeId,
    slots: usize,
    cluster: Cluster,
    peer: Peer,
    dispatcher: Arc<Dispatcher>,
    bench: Bench,
    broker: Option<Broker>,
    own: Arc<OwnWork>,
}

impl Workers {
    /// Workers that do nothing until they run.
    pub(crate) fn new(
        slots: u32,
        cluster: Cluster,
        peer: Peer,
        dispatcher: Arc<Dispatcher>,
        bench: Bench,
        broker: Option<Broker>,
        own: Arc<OwnWork>,
    ) -> Self {
        Self { id: peer.id(), slots: slots as usize, cluster, peer, dispatcher, bench, broker, own }
    }

    /// Works until `stop`, then hands back what is not finished.
    pub(crate) async fn run(self: Arc<Self>, mut deliveries: mpsc::Receiver<Delivery>, stop: CancellationToken) {
        let slots = Arc::new(Semaphore::new(self.slots));
        let running = TaskTracker::new();
        loop {
            let permit = tokio::select! {
                () = stop.cancelled() => break,
                permit = Arc::clone(&slots).acquire_owned() => permit,
            };
            let Ok(permit) = permit else { break };
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
                let outcome = workers.follow(delivery.hint, &stop).await;
                let _ = delivery.done.send(outcome);
                drop(permit);
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
                Some(leader) if leader == self.id => self.dispatcher.next(has_broker, ASK_FOR).await,
                Some(leader) => {
                    let call = Call::Next { has_broker };
                    let patience = ASK_FOR + Duration::from_secs(2);
                    match self.peer.call(leader, Protocol::Work, &call, patience).await {
                        Ok(Reply::Hint(hint)) => hint,
                        Ok(Reply::Heard) | Err(_) => None,
                    }
                }
            };
            match hint {
                Some(hint) => return hint,
                None => tokio::time::sleep(ASK_AGAIN).await,
            }
        }
    }

    /// Follows one hint to its end.
    async fn follow(&self, hint: Hint, stop: &CancellationToken) -> Outcome {
        let claim = Command::ClaimTask { task: hint.task(), attempt: hint.attempt, node: self.id, at: now() };
        let task = match self.cluster.propose(claim).await {
            Ok(Ok(Answer::Claimed(task))) => task,
            Ok(_) => return Outcome::Settled,
            Err(error) => {
                tracing::warn!(%error, task = %hint.task(), "a task could not be claimed");
                return Outcome::Returned;
            }
        };
        let held = self.own.hold(task.id, task.attempt);
        tracing::info!(task = %task.id, attempt = task.attempt, "working");
        let verdict = self.work(&task, stop).await;
        if verdict.as_ref().is_err_and(TaskError::may_pass) {
            // Or all attempts would be spent on one bad moment.
            tokio::select! {
                () = tokio::time::sleep(PAUSE * task.failures) => {}
                () = stop.cancelled() => {}
            }
        }
        drop(held);
        self.report(&task, verdict, stop).await
    }

    /// Works on a claimed task, and stops when the node stops or the claim is lost.
    async fn work(&self, task: &Task, stop: &CancellationToken) -> Result<Output, TaskError> {
        let (job, all) = match self.look(task) {
            Ok(Some(found)) => found,
            // The job went away since the claim.
            _ => return Err(TaskError::Stopped),
        };
        let flag = Arc::new(AtomicBool::new(false));
        let watch = async {
            tokio::select! {
                () = stop.cancelled() => {}
                () = self.claim_lost(task) => {}
            }
            flag.store(true, Ordering::Relaxed);
            std::future::pending::<()>().await;
        };
        tokio::select! {
            result = self.bench.run(&job, task, &all, Arc::clone(&flag)) => result,
            () = watch => Err(TaskError::Stopped),
        }
    }

    fn look(&self, task: &Task) -> Result<Option<(Job, Vec<Task>)>, raft::ViewError> {
        let view = self.cluster.peek();
        let Some(job) = view.job(task.id.job)? else {
            return Ok(None);
        };
        Ok(Some((job, view.tasks(task.id.job)?)))
    }

    /// Returns when this node's state says that the claim is somebody else's, or nobody's.
    async fn claim_lost(&self, task: &Task) {
        let mut events = self.cluster.events();
        loop {
            match self.cluster.peek().task(task.id) {
                Ok(Some(seen)) if seen.attempt < task.attempt => {}
                Ok(Some(seen))
                    if seen.attempt == task.attempt
                        && matches!(seen.state, TaskState::Running { node, .. } if node == self.id) => {}
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

    /// Commits what became of the task.
    async fn report(&self, task: &Task, verdict: Result<Output, TaskError>, stop: &CancellationToken) -> Outcome {
        let (id, attempt, node) = (task.id, task.attempt, self.id);
        let finished = verdict.is_ok();
        let command = match verdict {
            Ok(output) => Command::FinishTask { task: id, attempt, node, output, at: now() },
            Err(TaskError::Stopped) if !stop.is_cancelled() => return Outcome::Settled,
            Err(TaskError::Stopped) => Command::ReleaseTask { task: id, attempt, node, at: now() },
            Err(TaskError::LostPart { task: part, ref source, .. }) => {
                tracing::warn!(task = %id, part = %part, error = %source, "a part is lost and will be made again");
                Command::ReopenTask { task: part, reason: format!("its part is lost: {source}"), at: now() }
            }
            Err(error) => {
                tracing::warn!(task = %id, attempt, %error, "the task failed");
                Command::FailTask { task: id, attempt, node, reason: error.to_string(), at: now() }
            }
        };
        loop {
            match self.cluster.propose(command.clone()).await {
                Ok(Ok(_)) => {
                    if finished {
                        self.own.finished();
                        tracing::info!(task = %id, attempt, "finished");
                    }
                    return Outcome::Settled;
                }
                Ok(Err(Refusal::ClaimLost)) => return Outcome::Settled,
                Ok(Err(refusal)) => {
                    tracing::warn!(task = %id, %refusal, "the result was refused");
                    return Outcome::Settled;
                }
                // The result is stored and the claim is ours: wait for a majority rather than work again.
                Err(ClusterError::Stopped) => return Outcome::Returned,
                Err(error) if stop.is_cancelled() => {
                    tracing::warn!(task = %id, %error, "the task could not be handed back in time");
                    return Outcome::Returned;
                }
                Err(error) => {
                    tracing::warn!(task = %id, %error, "the result waits for the cluster")
                }
            }
            tokio::time::sleep(ASK_AGAIN).await;
        }
    }
}

//! Scheduler, broker and workers in one process: a node with real consensus, a broker in memory, and runners that only
//! return what a test wants.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::{Duration, Instant};

use futures_util::future::BoxFuture;
use live::{BrokerStatus, Live, NodeReport};
use net::Peer;
use parking_lot::Mutex;
use raft::{Cluster, ClusterConfig, now};
use state::command::{AddSong, Answer, ClaimTask};
use state::{
    Credits, FEATURE_LEVEL, Job, JobOptions, JobState, Output, Plan, Priority, Selection, SeparationSpec, Stems, Task,
    TaskId, TaskKind, TaskState,
};
use storage::blobs::Hash;
use storage::database::Database;
use tempfile::TempDir;
use tokio::sync::{mpsc, oneshot, watch};
use tokio_util::sync::CancellationToken;
use work::broker::{Broker, Message};
use work::claims::Claims;
use work::reset::Reset;
use work::runner::{Assignment, Runner, Runners, TaskError};
use work::scheduler::Scheduler;
use work::settings::WorkerSettings;
use work::workers::Workers;
use work::{Delivery, Dispatch, Outcome};

/// The longest wait for anything.
const PATIENCE: Duration = Duration::from_secs(120);

async fn wait_for<T>(what: &str, mut question: impl FnMut() -> Option<T>) -> T {
    let began = Instant::now();
    loop {
        if let Some(answer) = question() {
            return answer;
        }
        assert!(began.elapsed() < PATIENCE, "waited in vain for {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// A broker in memory. It delivers messages to one node and delivers those again that come back.
struct MemoryBroker {
    status: watch::Sender<BrokerStatus>,
    published: Mutex<Vec<Dispatch>>,
    queue: Arc<Mutex<VecDeque<Dispatch>>>,
}

impl MemoryBroker {
    /// A connected broker. Without `deliveries`, messages stay in the queue.
    fn start(deliveries: Option<mpsc::Sender<Delivery>>) -> Arc<Self> {
        let connected = BrokerStatus { session: 1, connected: true, ready: Some(0), ..BrokerStatus::default() };
        let queue: Arc<Mutex<VecDeque<Dispatch>>> = Arc::default();
        if let Some(deliveries) = deliveries {
            let queue = Arc::clone(&queue);
            tokio::spawn(async move {
                loop {
                    let next = queue.lock().pop_front();
                    let Some(dispatch) = next else {
                        tokio::time::sleep(Duration::from_millis(5)).await;
                        continue;
                    };
                    let (outcome, settled) = oneshot::channel();
                    if deliveries.send(Delivery { dispatch, outcome }).await.is_err() {
                        return;
                    }
                    let queue = Arc::clone(&queue);
                    tokio::spawn(async move {
                        if settled.await != Ok(Outcome::Settled) {
                            queue.lock().push_back(dispatch);
                        }
                    });
                }
            });
        }
        Arc::new(Self { status: watch::Sender::new(connected), published: Mutex::default(), queue })
    }

    fn published(&self) -> Vec<Dispatch> {
        self.published.lock().clone()
    }

    /// Loses all messages, as a broker that restarts with an empty disk.
    fn lose_everything(&self) {
        self.queue.lock().clear();
        self.published.lock().clear();
        self.status.send_modify(|status| status.session += 1);
    }
}

impl Broker for MemoryBroker {
    fn status(&self) -> watch::Receiver<BrokerStatus> {
        self.status.subscribe()
    }

    fn publish(&self, message: Message) -> BoxFuture<'_, bool> {
        Box::pin(async move {
            if !self.status.borrow().connected {
                return false;
            }
            if let Message::Dispatch(dispatch) = message {
                self.published.lock().push(dispatch);
                self.queue.lock().push_back(dispatch);
            }
            true
        })
    }
}

/// A runner that returns what a function returns.
struct Fake<F>(F);

impl<F> Runner for Fake<F>
where
    F: Fn(&Assignment) -> BoxFuture<'static, Result<Output, TaskError>> + Send + Sync + 'static,
{
    fn run<'a>(&'a self, assignment: &'a Assignment) -> BoxFuture<'a, Result<Output, TaskError>> {
        (self.0)(assignment)
    }
}

fn part() -> Result<Output, TaskError> {
    Ok(Output::Part(Hash::of(b"part")))
}

fn stems() -> Result<Output, TaskError> {
    Ok(Output::Stems(Stems { files: BTreeMap::new(), facts: None, peaks: None }))
}

/// Runners whose `separate` tasks return what `separate` returns, and whose merges succeed.
fn runners<F>(separate: F) -> Runners
where
    F: Fn(&Assignment) -> BoxFuture<'static, Result<Output, TaskError>> + Send + Sync + 'static,
{
    Runners::default()
        .with("separate", Fake(separate))
        .with("merge", Fake(|_: &Assignment| Box::pin(async { stems() }) as _))
}

/// A node of a cluster of one.
struct Node {
    cluster: Cluster,
    peer: Peer,
    live: Live,
    settings: WorkerSettings,
    stop: CancellationToken,
    _folder: TempDir,
}

impl Node {
    async fn start(slots: u32) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let peer = net::testing::peers(1).remove(0);
        let config = ClusterConfig {
            id: 0,
            feature_level: FEATURE_LEVEL,
            members: BTreeMap::from([(0, peer.local_addr().unwrap().to_string())]),
            data: folder.path().into(),
            heartbeat: Duration::from_millis(50),
            election: Duration::from_millis(100)..Duration::from_millis(200),
        };
        let database = Database::open(&folder.path().join("database")).unwrap();
        let cluster = Cluster::start(config, database, peer.clone()).await.unwrap();
        let live = Live::start(peer.clone(), BTreeMap::new());
        wait_for("the feature level", || cluster.peek().has_level(FEATURE_LEVEL).unwrap().then_some(())).await;
        let settings = WorkerSettings { slots, ..WorkerSettings::default() };
        let node = Self { cluster, peer, live, settings, stop: CancellationToken::new(), _folder: folder };
        node.report(&Claims::default()).await;
        node
    }

    /// Publishes one report of this node.
    async fn report(&self, claims: &Claims) {
        let report = NodeReport { slots: self.settings.slots, working_on: claims.held(), ..NodeReport::default() };
        self.live.publish(report).await;
    }

    fn scheduler(&self, broker: Option<Arc<dyn Broker>>) -> Arc<Scheduler> {
        let scheduler =
            Arc::new(Scheduler::new(self.cluster.clone(), self.live.clone(), broker, self.settings.clone()));
        tokio::spawn(Arc::clone(&scheduler).run(self.stop.clone()));
        scheduler
    }

    /// Starts workers that get tasks from `deliveries` and from `scheduler`, and reports for them.
    fn workers(
        &self,
        scheduler: Arc<Scheduler>,
        broker: Option<Arc<dyn Broker>>,
        deliveries: mpsc::Receiver<Delivery>,
        runners: Runners,
    ) -> Reset {
        let (claims, reset) = (Arc::new(Claims::default()), Reset::default());
        let workers = Workers {
            cluster: self.cluster.clone(),
            peer: self.peer.clone(),
            scheduler,
            runners: Arc::new(runners),
            broker,
            claims: Arc::clone(&claims),
            reset: reset.clone(),
            settings: self.settings.clone(),
        };
        tokio::spawn(Arc::new(workers).run(deliveries, self.stop.clone()));
        let (live, slots) = (self.live.clone(), self.settings.slots);
        tokio::spawn(async move {
            loop {
                live.publish(NodeReport { slots, working_on: claims.held(), ..NodeReport::default() }).await;
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        });
        reset
    }

    /// Adds a song of as many one-segment tasks, and returns its job.
    async fn add_song(&self, name: &str, segments: u32, owner: &str, priority: Priority) -> u64 {
        let plan = Plan { frames: 44_100, segments, segments_per_task: 1 };
        let add = AddSong {
            title: name.into(),
            hash: Hash::of(name.as_bytes()),
            size: 1,
            format: "wav".into(),
            uploader_id: None,
            credits: Box::new(Credits::default()),
            separation: SeparationSpec {
                model: "spectral".into(),
                formats: vec!["mp3".into()],
                plan,
                selection: Selection::All,
            },
            job: JobOptions { max_attempts: 3, priority, owner: owner.into(), jobs_per_owner: 0, external: false },
            at: now(),
        };
        match self.cluster.propose(add).await.unwrap().unwrap() {
            Answer::Song(song) => song.job,
            other => panic!("{other:?}"),
        }
    }

    fn job(&self, id: u64) -> Job {
        self.cluster.peek().job(id).unwrap().unwrap()
    }

    fn task(&self, job: u64, index: u32) -> Task {
        self.cluster.peek().task(TaskId { job, index }).unwrap().unwrap()
    }

    async fn end_of(&self, job: u64) -> Job {
        wait_for("the end of the job", || Some(self.job(job)).filter(|job| !job.state.is_open())).await
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

fn tasks(dispatches: &[Dispatch]) -> Vec<(u64, u32)> {
    dispatches.iter().map(|dispatch| (dispatch.task.job, dispatch.task.index)).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn as_many_tasks_are_published_as_workers_take_soon_and_owners_take_turns() {
    let node = Node::start(2).await;
    let ann = node.add_song("one", 10, "ann", Priority::Normal).await;
    let bob = node.add_song("two", 10, "bob", Priority::Normal).await;
    let broker = MemoryBroker::start(None);
    let _scheduler = node.scheduler(Some(broker.clone()));
    wait_for("four tasks", || (broker.published().len() >= 4).then_some(())).await;
    // Several rounds later there are no more: two for each of the two slots.
    tokio::time::sleep(Duration::from_millis(1200)).await;
    assert_eq!(tasks(&broker.published()), [(ann, 0), (bob, 0), (ann, 1), (bob, 1)]);

    // A task that is claimed makes room for the next one.
    let claim = ClaimTask { task: TaskId { job: ann, index: 0 }, attempt: 1, node: 0, at: now() };
    node.cluster.propose(claim).await.unwrap().unwrap();
    wait_for("a fifth task", || (broker.published().len() == 5).then_some(())).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn tasks_are_published_again_to_a_broker_that_lost_its_messages() {
    let node = Node::start(1).await;
    let job = node.add_song("one", 1, "ann", Priority::Normal).await;
    let broker = MemoryBroker::start(None);
    let _scheduler = node.scheduler(Some(broker.clone()));
    wait_for("the task", || (tasks(&broker.published()) == [(job, 0)]).then_some(())).await;
    broker.lose_everything();
    wait_for("the task again", || (tasks(&broker.published()) == [(job, 0)]).then_some(())).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn workers_do_jobs_through_the_broker_and_without_it() {
    for connected in [true, false] {
        let node = Node::start(2).await;
        let job = node.add_song("one", 5, "ann", Priority::Normal).await;
        let (sender, deliveries) = mpsc::channel(16);
        let broker = MemoryBroker::start(Some(sender));
        broker.status.send_modify(|status| status.connected = connected);
        let scheduler = node.scheduler(Some(broker.clone()));
        node.workers(scheduler, Some(broker.clone()), deliveries, runners(|_| Box::pin(async { part() })));
        let job = node.end_of(job).await;
        assert_eq!((job.state, job.done, job.tasks), (JobState::Done, 6, 6));
        assert_eq!(broker.published().is_empty(), !connected);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_task_that_fails_too_often_fails_the_job_with_its_reason() {
    let node = Node::start(1).await;
    let job = node.add_song("one", 1, "ann", Priority::Normal).await;
    let (_sender, deliveries) = mpsc::channel(1);
    let fails = |_: &Assignment| Box::pin(async { Err(TaskError::Failed("the model is broken".into())) }) as _;
    node.workers(node.scheduler(None), None, deliveries, runners(fails));
    let job = node.end_of(job).await;
    assert_eq!(job.state, JobState::Failed);
    let task = node.task(job.id, 0);
    assert_eq!((task.failures, task.attempts.len()), (3, 3));
    assert!(task.attempts.iter().all(|attempt| attempt.error.as_deref() == Some("the model is broken")));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_task_without_disk_space_is_released_and_does_not_count_as_failed() {
    let node = Node::start(1).await;
    let job = node.add_song("one", 1, "ann", Priority::Normal).await;
    let (_sender, deliveries) = mpsc::channel(1);
    let full = Arc::new(AtomicBool::new(true));
    let runner = runners(move |_| {
        let result =
            if full.swap(false, Ordering::Relaxed) { Err(TaskError::NoSpace("disk full".into())) } else { part() };
        Box::pin(async { result })
    });
    node.workers(node.scheduler(None), None, deliveries, runner);
    assert_eq!(node.end_of(job).await.state, JobState::Done);
    let task = node.task(job, 0);
    assert_eq!((task.failures, task.attempts.len()), (0, 2));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_part_is_made_again() {
    let node = Node::start(1).await;
    let job = node.add_song("one", 2, "ann", Priority::Normal).await;
    let (_sender, deliveries) = mpsc::channel(1);
    let lost = Arc::new(AtomicBool::new(true));
    let merge = Fake(move |assignment: &Assignment| {
        let input = assignment.tasks[1].id;
        let lost = lost.swap(false, Ordering::Relaxed);
        let result = if lost {
            Err(TaskError::LostInput { task: input, node: 0, cause: "no node has it".into() })
        } else {
            stems()
        };
        Box::pin(async { result }) as BoxFuture<'static, _>
    });
    let runners = Runners::default()
        .with("separate", Fake(|_: &Assignment| Box::pin(async { part() }) as _))
        .with("merge", merge);
    node.workers(node.scheduler(None), None, deliveries, runners);
    assert_eq!(node.end_of(job).await.state, JobState::Done);
    assert_eq!([0, 1].map(|index| node.task(job, index).attempts.len()), [1, 2]);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_claim_of_a_dead_node_expires_and_another_worker_takes_the_task() {
    let node = Node::start(1).await;
    let job = node.add_song("one", 1, "ann", Priority::Normal).await;
    // Node 7 claims the task and never reports.
    let claim = ClaimTask { task: TaskId { job, index: 0 }, attempt: 1, node: 7, at: now() };
    node.cluster.propose(claim).await.unwrap().unwrap();
    let (_sender, deliveries) = mpsc::channel(1);
    node.workers(node.scheduler(None), None, deliveries, runners(|_| Box::pin(async { part() })));
    assert_eq!(node.end_of(job).await.state, JobState::Done);
    let task = node.task(job, 0);
    assert_eq!(task.attempts[0].error.as_deref(), Some("node 7 is gone"));
    assert_eq!(task.state, TaskState::Done { node: 0 });
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reset_aborts_running_tasks_and_they_start_again() {
    let node = Node::start(1).await;
    let job = node.add_song("one", 1, "ann", Priority::Normal).await;
    let (_sender, deliveries) = mpsc::channel(1);
    let (started, aborted) = (Arc::new(AtomicU32::new(0)), Arc::new(AtomicBool::new(false)));
    let (count, seen) = (Arc::clone(&started), Arc::clone(&aborted));
    let runner = runners(move |assignment| {
        let first = count.fetch_add(1, Ordering::Relaxed) == 0;
        let (flag, seen) = (Arc::clone(&assignment.aborted), Arc::clone(&seen));
        Box::pin(async move {
            while first && !flag.load(Ordering::Relaxed) {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            seen.fetch_or(first, Ordering::Relaxed);
            part()
        })
    });
    let reset = node.workers(node.scheduler(None), None, deliveries, runner);
    wait_for("the first attempt", || (started.load(Ordering::Relaxed) == 1).then_some(())).await;
    reset.trigger(uuid::Uuid::new_v4());
    assert_eq!(node.end_of(job).await.state, JobState::Done);
    assert!(aborted.load(Ordering::Relaxed));
    let task = node.task(job, 0);
    assert_eq!((task.failures, task.attempts.len()), (0, 2));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kind_without_a_runner_fails_with_a_clear_reason() {
    let node = Node::start(1).await;
    let job = node.add_song("one", 1, "ann", Priority::Normal).await;
    let (_sender, deliveries) = mpsc::channel(1);
    node.workers(node.scheduler(None), None, deliveries, Runners::default());
    node.end_of(job).await;
    let error = node.task(job, 0).attempts[0].error.clone().unwrap();
    assert!(error.contains("no runner") && error.contains("separate"), "{error}");
    assert!(matches!(node.task(job, 0).kind, TaskKind::Separate { .. }));
}

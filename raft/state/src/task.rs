//! Tasks: what one worker does of a job in one go.
//!
//! ```text
//! Waiting --(all parts made; merge only)--> Pending --claim--> Running --finish--> Done
//!                                              ^                  |                  |
//!                                              +--fail, release, expire; reopen------+
//! ```
//!
//! A task's attempt number grows each time it returns to Pending, so that whoever holds an older number has lost.
//!
//! Invariant: a task that is Pending or Running, and no other, has the mark of an open one, and its job is open.

use std::fmt;

use serde::{Deserialize, Serialize};
use storage::NodeId;
use storage::blobs::Hash;

use super::mark::JOBS;
use super::transaction::{Applied, granted, refuse};
use super::{Event, Job, JobState, Line, Read, Stems, Transaction, ViewError, history, job, keys, line};
use crate::command::{Answer, Refusal};

/// Frames per second of a [`Plan`].
const RATE: u64 = 44_100;
/// How many attempts of a task are kept to be looked at.
const ATTEMPTS_KEPT: usize = 30;

/// How a song is cut into segments and tasks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plan {
    /// The song's length in frames at 44.1 kHz.
    pub frames: u64,
    /// How many segments of the model it has.
    pub segments: u32,
    /// How many of them make a task.
    pub segments_per_task: u32,
}

impl Plan {
    /// Whether there is nothing to do in it, or no end to its tasks.
    pub(super) fn is_empty(&self) -> bool {
        self.segments == 0 || self.segments_per_task == 0
    }

    /// The tasks: segments apart, then the merge.
    pub(super) fn kinds(&self) -> impl Iterator<Item = TaskKind> {
        let (segments, size) = (self.segments, self.segments_per_task);
        (0..segments.div_ceil(size))
            .map(move |index| {
                let first = index * size;
                TaskKind::Separate { first, count: size.min(segments - first) }
            })
            .chain([TaskKind::Merge])
    }

    /// How many seconds of music a task is about, rounded up.
    pub fn seconds(&self, kind: TaskKind) -> u64 {
        let frames = match kind {
            TaskKind::Separate { count, .. } => {
                self.frames.saturating_mul(u64::from(count)).div_ceil(u64::from(self.segments.max(1)))
            }
            TaskKind::Merge => self.frames,
        };
        frames.div_ceil(RATE)
    }
}

/// Which task.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct TaskId {
    /// Its job.
    pub job: u64,
    /// Its place in the job; the merge is last.
    pub index: u32,
}

impl fmt::Display for TaskId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}.{}", self.job, self.index)
    }
}

/// What one worker does in one go.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Task {
    /// Which.
    pub id: TaskId,
    /// What there is to do.
    pub kind: TaskKind,
    /// How far it is.
    pub state: TaskState,
    /// The number of the attempt that runs or comes next.
    pub attempt: u32,
    /// How often it has failed.
    pub failures: u32,
    /// Its attempts, oldest first; of very many the latest.
    pub attempts: Vec<Attempt>,
    /// Its result.
    pub output: Option<Output>,
}

/// What there is to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TaskKind {
    /// Separate some segments.
    Separate {
        /// The first one.
        first: u32,
        /// How many.
        count: u32,
    },
    /// Make the stems of all parts.
    Merge,
}

impl TaskKind {
    /// The names of all kinds.
    pub const NAMES: [&'static str; 2] = ["separate", "merge"];

    /// The name of the kind.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Separate { .. } => "separate",
            Self::Merge => "merge",
        }
    }

    /// The stage of its tasks in a job. Those of a stage wait until all of the stages before are done.
    pub const fn stage(self) -> u32 {
        match self {
            Self::Separate { .. } => 0,
            Self::Merge => 1,
        }
    }
}

/// How far a task is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TaskState {
    /// A merge whose parts are not all made, or any task of a job that is outside or has ended without it.
    Waiting,
    /// Waiting for a worker.
    Pending,
    /// A worker has it.
    Running {
        /// Whose.
        node: NodeId,
        /// Since when, in milliseconds since 1970.
        since: u64,
    },
    /// Its result is on a disk.
    Done {
        /// Whose.
        node: NodeId,
    },
    /// It failed too often.
    Failed,
}

/// One try at a task.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attempt {
    /// Its number.
    pub number: u32,
    /// Who tried.
    pub node: NodeId,
    /// When it began, in milliseconds since 1970.
    pub started: u64,
    /// When it ended.
    pub ended: Option<u64>,
    /// Why it failed, or why its result does not count any more.
    pub error: Option<String>,
    /// How it ended.
    #[serde(default)]
    pub ending: Option<Ending>,
}

/// How an attempt ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Ending {
    /// With a result.
    Done,
    /// The worker could not do it, and said why.
    Failed,
    /// The worker died, forgot it or took too long; the leader said so.
    Expired,
    /// The worker handed it back, which is no failure.
    HandedBack,
    /// Its result was not wanted any more, or is lost.
    Withdrawn,
}

/// A task's result.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Output {
    /// Some segments' share of every stem.
    Part(Hash),
    /// The stems.
    Stems(Stems),
}

/// What a worker has, or wants to have.
#[derive(Clone, Copy)]
pub(super) struct Claim {
    pub(super) task: TaskId,
    pub(super) attempt: u32,
    pub(super) node: NodeId,
}

impl Task {
    /// A task that nobody has tried yet.
    pub(super) fn new(id: TaskId, kind: TaskKind, state: TaskState) -> Self {
        Self { id, kind, state, attempt: 1, failures: 0, attempts: Vec::new(), output: None }
    }

    /// Whether a worker has it or may take it.
    fn is_open(&self) -> bool {
        matches!(self.state, TaskState::Pending | TaskState::Running { .. })
    }

    fn is_running(&self) -> bool {
        matches!(self.state, TaskState::Running { .. })
    }
}

/// A worker takes a task.
pub(super) fn claim(state: &mut Transaction, claim: Claim, at: u64) -> Applied<Answer> {
    let Claim { task: id, attempt, node } = claim;
    let (Some(mut job), Some(mut task)) = (state.job(id.job)?, state.task(id)?) else { refuse!(Refusal::ClaimLost) };
    if !job.state.is_open() || task.state != TaskState::Pending || task.attempt != attempt {
        refuse!(Refusal::ClaimLost);
    }
    task.state = TaskState::Running { node, since: at };
    task.attempts.push(Attempt { number: attempt, node, started: at, ended: None, error: None, ending: None });
    if state.has_level(JOBS)? {
        let old = task.attempts.len().saturating_sub(ATTEMPTS_KEPT);
        task.attempts.drain(..old);
    }
    put(state, &task)?;
    if job.state == JobState::Pending {
        history::enter(state, &mut job, JobState::Running, at)?;
        job::put(state, &job)?;
    }
    Ok(Ok(Answer::Claimed(task)))
}

pub(super) fn finish(
    state: &mut Transaction,
    claim: Claim,
    output: &Output,
    lines: &[Line],
    at: u64,
) -> Applied<Answer> {
    let (mut job, mut task) = granted!(claimed(state, claim.task, claim.attempt, Some(claim.node))?);
    keep_lines(state, &task, lines)?;
    end_attempt(state, &mut task, Ending::Done, None, at)?;
    task.state = TaskState::Done { node: claim.node };
    task.output = Some(output.clone());
    put(state, &task)?;
    job.done += 1;
    match output {
        Output::Part(_) => {
            if job.done + 1 == job.tasks
                && let Some(mut merge) = state.task(job.merge())?
            {
                merge.state = TaskState::Pending;
                put(state, &merge)?;
            }
        }
        Output::Stems(stems) => job::end_with(state, &mut job, stems, at)?,
    }
    job::put(state, &job)?;
    Ok(Ok(Answer::Done))
}

/// A worker could not do a task.
pub(super) fn fail(state: &mut Transaction, claim: Claim, reason: &str, lines: &[Line], at: u64) -> Applied<Answer> {
    let (mut job, mut task) = granted!(claimed(state, claim.task, claim.attempt, Some(claim.node))?);
    keep_lines(state, &task, lines)?;
    end_attempt(state, &mut task, Ending::Failed, Some(reason), at)?;
    count_failure(state, &mut job, &mut task, reason, at)
}

/// The leader ends a claim.
pub(super) fn expire(state: &mut Transaction, id: TaskId, attempt: u32, reason: &str, at: u64) -> Applied<Answer> {
    let (mut job, mut task) = granted!(claimed(state, id, attempt, None)?);
    end_attempt(state, &mut task, Ending::Expired, Some(reason), at)?;
    count_failure(state, &mut job, &mut task, reason, at)
}

/// A worker hands its task back.
pub(super) fn release(state: &mut Transaction, claim: Claim, lines: &[Line], at: u64) -> Applied<Answer> {
    let (_, mut task) = granted!(claimed(state, claim.task, claim.attempt, Some(claim.node))?);
    keep_lines(state, &task, lines)?;
    if state.has_level(JOBS)? {
        end_attempt(state, &mut task, Ending::HandedBack, None, at)?;
    } else {
        task.attempts.pop();
    }
    to_pending(state, &mut task)
}

/// A finished task whose part is lost is to be done again.
pub(super) fn reopen(state: &mut Transaction, id: TaskId, reason: &str, at: u64) -> Applied<Answer> {
    let (Some(mut job), Some(mut task)) = (state.job(id.job)?, state.task(id)?) else { refuse!(Refusal::ClaimLost) };
    if !job.state.is_open() || !matches!(task.state, TaskState::Done { .. }) {
        refuse!(Refusal::ClaimLost);
    }
    let counts = state.has_level(JOBS)?;
    if let Some(attempt) = task.attempts.last_mut() {
        attempt.error = Some(reason.into());
        attempt.ending = counts.then_some(Ending::Withdrawn);
    }
    task.output = None;
    job.done -= 1;
    if let Some(mut merge) = state.task(job.merge())? {
        // The merge waits again, and whoever is at it has lost it.
        if merge.is_running() {
            end_attempt(state, &mut merge, Ending::Withdrawn, Some(reason), at)?;
        }
        merge.state = TaskState::Waiting;
        merge.attempt += 1;
        put(state, &merge)?;
    }
    job::put(state, &job)?;
    if !counts {
        return to_pending(state, &mut task);
    }
    // It counts, or a job whose parts are lost again and again would never end.
    count_failure(state, &mut job, &mut task, reason, at)
}

/// Takes the tasks of a job that ends from the workers.
pub(super) fn close_all(state: &mut Transaction, job: u64, at: u64) -> Result<(), ViewError> {
    for mut task in state.tasks(job)? {
        if task.is_open() {
            if task.is_running() {
                end_attempt(state, &mut task, Ending::Withdrawn, None, at)?;
            }
            task.state = TaskState::Waiting;
            task.attempt += 1;
            put(state, &task)?;
        }
    }
    Ok(())
}

/// Stores a task and keeps the marks of open tasks true.
pub(super) fn put(state: &mut Transaction, task: &Task) -> Result<(), ViewError> {
    if task.is_open() {
        state.put(keys::open(task.id), &task.id)?;
    } else {
        state.delete(keys::open(task.id));
    }
    state.put(keys::task(task.id), task)?;
    state.tell(Event::Job { id: task.id.job });
    Ok(())
}

/// The job and task of a claim that still stands; `node` is whose it should be, or anybody's.
fn claimed(state: &Transaction, id: TaskId, attempt: u32, node: Option<NodeId>) -> Applied<(Job, Task)> {
    let (Some(job), Some(task)) = (state.job(id.job)?, state.task(id)?) else { refuse!(Refusal::ClaimLost) };
    let TaskState::Running { node: owner, .. } = task.state else { refuse!(Refusal::ClaimLost) };
    if !job.state.is_open() || task.attempt != attempt || node.is_some_and(|node| node != owner) {
        refuse!(Refusal::ClaimLost);
    }
    Ok(Ok((job, task)))
}

/// Keeps what the worker said of the attempt that ends.
fn keep_lines(state: &mut Transaction, task: &Task, lines: &[Line]) -> Result<(), ViewError> {
    let oldest = task.attempts.first().map_or(0, |attempt| attempt.number);
    line::keep(state, task.id, task.attempt, oldest, lines)
}

/// Writes down how the attempt that runs has ended.
fn end_attempt(
    state: &Transaction,
    task: &mut Task,
    ending: Ending,
    error: Option<&str>,
    at: u64,
) -> Result<(), ViewError> {
    let ending = state.has_level(JOBS)?.then_some(ending);
    if let Some(attempt) = task.attempts.last_mut() {
        attempt.ended = Some(at);
        attempt.error = error.map(str::to_owned);
        attempt.ending = ending;
    }
    Ok(())
}

/// A failure more: the task is tried again, or has failed its job.
fn count_failure(state: &mut Transaction, job: &mut Job, task: &mut Task, reason: &str, at: u64) -> Applied<Answer> {
    task.failures += 1;
    if task.failures < job.max_attempts {
        return to_pending(state, task);
    }
    task.state = TaskState::Failed;
    put(state, task)?;
    let endings = task.attempts.iter().rev().filter_map(|attempt| attempt.ending);
    let mut failures = endings.filter(|ending| *ending != Ending::HandedBack).take(task.failures as usize);
    let mute = state.has_level(JOBS)? && failures.all(|ending| ending == Ending::Expired);
    let poison = if mute { "; no worker lived to say why, so the song or the model may be what ends them" } else { "" };
    history::enter(state, job, JobState::Failed, at)?;
    job.error = Some(format!("task {} failed {} times, at last: {reason}{poison}", task.id, task.failures));
    job.finished_at = Some(at);
    close_all(state, job.id, at)?;
    job::put(state, job)?;
    Ok(Ok(Answer::Done))
}

fn to_pending(state: &mut Transaction, task: &mut Task) -> Applied<Answer> {
    task.state = TaskState::Pending;
    task.attempt += 1;
    put(state, task)?;
    Ok(Ok(Answer::Done))
}

//! Jobs that a worker outside of the cluster does.
//!
//! Such a worker takes the whole song, so all tasks of the job wait: they are there for the case that nobody takes it. A
//! job that was outside once takes a result from there until it has ended, whoever is at it by then.

use serde::{Deserialize, Serialize};

use super::transaction::{Applied, granted};
use super::{Job, Read, Stems, TaskKind, TaskState, Transaction, job, task};
use crate::command::Answer;

/// Who does a job: the cluster's own workers task by task, or a worker outside of it that takes the whole song.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Road {
    /// The cluster's own workers.
    #[default]
    Inside,
    /// A worker outside, who is still to be told.
    Outside,
    /// A worker outside; the song is in the queue, or was there.
    Sent,
    /// The cluster's own workers, since nobody outside took it. A result from there still counts if it comes first.
    Returned,
}

impl Road {
    /// Whether the cluster's own workers have nothing to do with the job.
    pub fn is_outside(self) -> bool {
        matches!(self, Self::Outside | Self::Sent)
    }
}

/// The song is in the queue for workers outside.
pub(super) fn send(state: &mut Transaction, id: u64) -> Applied<Answer> {
    let mut job = granted!(job_outside(state, id, "sent outside")?);
    job.road = Road::Sent;
    job::put(state, &job)?;
    Ok(Ok(Answer::Done))
}

/// The cluster's own workers do a job that nobody outside took.
pub(super) fn take_back(state: &mut Transaction, id: u64) -> Applied<Answer> {
    let mut job = granted!(job_outside(state, id, "taken inside")?);
    job.road = Road::Returned;
    for mut task in state.tasks(id)? {
        if matches!(task.kind, TaskKind::Separate { .. }) {
            task.state = TaskState::Pending;
            task::put(state, &task)?;
        }
    }
    job::put(state, &job)?;
    Ok(Ok(Answer::Done))
}

/// A worker outside has delivered, at whatever stage the job's own tasks are.
pub(super) fn finish(state: &mut Transaction, id: u64, stems: &Stems, at: u64) -> Applied<Answer> {
    let was_outside = |job: &Job| job.state.is_open() && job.road != Road::Inside;
    let mut job = granted!(job::that_can_be(state, id, "finished from outside", was_outside)?);
    task::close_all(state, id, at)?;
    job::end_with(state, &mut job, stems, at)?;
    job::put(state, &job)?;
    Ok(Ok(Answer::Done))
}

/// An open job that is outside.
fn job_outside(state: &Transaction, id: u64, wish: &str) -> Applied<Job> {
    job::that_can_be(state, id, wish, |job| job.state.is_open() && job.road.is_outside())
}

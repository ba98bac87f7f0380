//! What workers said while they worked on a job.

use axum::extract::Path;
use serde::Serialize;
use state::View;
use state::{Level, Line, TaskId, TaskState};
use utoipa::ToSchema;

use super::jobs::{job_id, no_job};
use crate::State;
use crate::answer::{Answer, Empty};
use crate::caller::{Caller, Visitor};
use crate::error::ApiError;

/// How many attempts' lines are asked of nodes for one answer.
const ASKED: usize = 64;

/// A line.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct LineView {
    /// When it was said, in milliseconds since 1970.
    pub at: u64,
    /// The node that worked.
    pub node: u64,
    /// What it worked on: job and index, as `7.3`.
    pub task: String,
    /// The number of the attempt.
    pub attempt: u32,
    /// `error`, `warn` or `info`.
    #[schema(example = "info", pattern = "^(error|warn|info)$")]
    pub level: &'static str,
    /// What was said.
    pub message: String,
}

/// The lines of a job.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct LogData {
    /// The oldest first.
    pub log: Vec<LineView>,
}

/// An attempt, and who makes it or made it.
#[derive(Debug, Clone, Copy)]
struct Attempted {
    task: TaskId,
    number: u32,
    node: u64,
}

impl Attempted {
    fn view(self, line: Line) -> LineView {
        LineView {
            at: line.at,
            node: self.node,
            task: self.task.to_string(),
            attempt: self.number,
            level: match line.level {
                Level::Error => "error",
                Level::Warn => "warn",
                Level::Info => "info",
            },
            message: line.message,
        }
    }
}

/// Gives what workers said while they worked on a job, of each attempt at most 200 lines and 16 KiB.
///
/// Of attempts that ended every node knows it, also when the one that worked is gone; of those that run, their nodes are
/// asked. A worker that died took its lines along; why its attempt ended is among them all the same. Whoever one of the
/// job's songs is for may call this.
#[utoipa::path(get, path = "/jobs/{id}/log", tag = "jobs", params(("id" = u64, Path)), responses(
    (status = 200, body = Answer<LogData>),
    (status = 401, description = "Nobody is let in without an account, or the token opens nothing", body = Answer<Empty>),
    (status = 404, description = "No such job, or none of the caller's", body = Answer<Empty>),
    (status = 503, description = "No majority of the nodes answers", body = Answer<Empty>),
))]
pub(crate) async fn log(state: State, visitor: Visitor, Path(id): Path<String>) -> Result<Answer<LogData>, ApiError> {
    let look = move |view: &View, caller: &Caller| {
        let job = view.job(job_id(&id)?)?.ok_or_else(|| no_job(&id))?;
        if !caller.may_see_job(view, &job)? {
            return Err(no_job(&id));
        }
        let (mut log, mut running) = (Vec::new(), Vec::new());
        for task in view.tasks(job.id)? {
            for attempt in &task.attempts {
                let attempted = Attempted { task: task.id, number: attempt.number, node: attempt.node };
                let lines = view.lines(task.id, attempt.number)?;
                log.extend(lines.into_iter().map(|line| attempted.view(line)));
                if let (Some(at), Some(error)) = (attempt.ended, &attempt.error) {
                    log.push(attempted.view(Line { at, level: Level::Error, message: error.clone() }));
                }
            }
            if let (TaskState::Running { node, .. }, true) = (task.state, running.len() < ASKED) {
                running.push(Attempted { task: task.id, number: task.attempt, node });
            }
        }
        Ok((log, running))
    };
    let (mut log, running) = state.read_for(&visitor, look).await?;
    let asked = running.into_iter().map(|attempted| {
        let lines = state.app.live.attempt_log(attempted.node, attempted.task, attempted.number);
        async move { lines.await.into_iter().map(move |line| attempted.view(line)) }
    });
    log.extend(futures_util::future::join_all(asked).await.into_iter().flatten());
    log.sort_by_key(|line| line.at);
    Ok(Answer::with(LogData { log }))
}

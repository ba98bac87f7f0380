//! The log of a job: what its workers logged.

use axum::extract::Path;
use serde::Serialize;
use state::View;
use state::{LogLevel, LogLine, TaskId, TaskState};
use utoipa::ToSchema;

use super::jobs::{job_id, no_job};
use crate::app::State;
use crate::auth::caller::Caller;
use crate::auth::request_auth::RequestAuth;
use crate::http::answer::Answer;
use crate::http::error::ApiError;

/// The most running attempts whose lines are requested from other nodes.
const RUNNING: usize = 64;

/// A line of the log.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub(crate) struct LineView {
    /// The time, in milliseconds since 1970.
    pub(crate) at: u64,
    /// The node.
    pub(crate) node: u64,
    /// The task: job and index, such as `7.3`.
    pub(crate) task: String,
    /// The number of the attempt.
    pub(crate) attempt: u32,
    /// The level: `error`, `warn` or `info`.
    #[schema(example = "info", pattern = "^(error|warn|info)$")]
    pub(crate) level: &'static str,
    /// The message.
    pub(crate) message: String,
}

/// The log of a job.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub(crate) struct LogData {
    /// The lines, oldest first.
    pub(crate) log: Vec<LineView>,
}

/// An attempt, and its node.
#[derive(Debug, Clone, Copy)]
struct Attempted {
    task: TaskId,
    number: u32,
    node: u64,
}

impl Attempted {
    fn view(self, line: LogLine) -> LineView {
        LineView {
            at: line.at,
            node: self.node,
            task: self.task.to_string(),
            attempt: self.number,
            level: match line.level {
                LogLevel::Error => "error",
                LogLevel::Warn => "warn",
                LogLevel::Info => "info",
            },
            message: line.message,
        }
    }
}

/// Returns the log of a job: for each attempt at most 200 lines and 16 KiB.
///
/// The lines of finished attempts are replicated. Those of running attempts are requested from their nodes. The lines
/// of a worker that died are lost; the reason why its attempt ended is not. Callers who may listen to one of the job's
/// songs have access.
#[utoipa::path(get, path = "/jobs/{id}/log", tag = "jobs", params(("id" = u64, Path)), responses(
    (status = 200, body = Answer<LogData>),
))]
pub(crate) async fn log(state: State, auth: RequestAuth, Path(id): Path<String>) -> Result<Answer<LogData>, ApiError> {
    let look = move |view: &View, caller: &Caller| {
        let job = view.job(job_id(&id)?)?.ok_or_else(|| no_job(&id))?;
        if !caller.may_see_job(view, &job)? {
            return Err(no_job(&id));
        }
        let (mut log, mut running) = (Vec::new(), Vec::new());
        for task in view.tasks(job.id)? {
            for attempt in &task.attempts {
                let attempted = Attempted { task: task.id, number: attempt.number, node: attempt.node };
                let lines = view.log(task.id, attempt.number)?;
                log.extend(lines.into_iter().map(|line| attempted.view(line)));
                if let (Some(at), Some(error)) = (attempt.ended, &attempt.error) {
                    log.push(attempted.view(LogLine { at, level: LogLevel::Error, message: error.clone() }));
                }
            }
            if let (TaskState::Running { node, .. }, true) = (task.state, running.len() < RUNNING) {
                running.push(Attempted { task: task.id, number: task.attempt, node });
            }
        }
        Ok((log, running))
    };
    let (mut log, running) = state.read_for(&auth, look).await?;
    let requests = running.into_iter().map(|attempted| {
        let lines = state.live.attempt_log(attempted.node, attempted.task, attempted.number);
        async move { lines.await.into_iter().map(move |line| attempted.view(line)) }
    });
    log.extend(futures_util::future::join_all(requests).await.into_iter().flatten());
    log.sort_by_key(|line| line.at);
    Ok(Answer::with(LogData { log }))
}

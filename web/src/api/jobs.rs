//! Jobs: their progress, cancelling, retrying and prioritizing them.

use axum::extract::Path;
use serde::{Deserialize, Serialize};
use state::View;
use state::command::{Answer as Applied, CancelJob, Command, Refusal, RetryJob, SetPriority};
use state::{Attempt, Ending, Job, JobSpec, JobState, Selection, Task, TaskState, Transition};
use utoipa::{IntoParams, ToSchema};

use super::job_params::priority_of;
use super::job_search::JobSearch;
use super::{ReadQuery, page_limit};
use crate::app::State;
use crate::auth::caller::Caller;
use crate::auth::request_auth::RequestAuth;
use crate::clock::now;
use crate::http::answer::Answer;
use crate::http::error::ApiError;
use crate::http::json_or_form::JsonOrForm;
use crate::http::query::Query;

/// An attempt at a task.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub(crate) struct AttemptView {
    /// The number of the attempt, from 1.
    pub(crate) number: u32,
    /// The node that made the attempt.
    pub(crate) node: u64,
    /// When the attempt began, in milliseconds since 1970.
    pub(crate) started: u64,
    /// When the attempt ended, in milliseconds since 1970; null while it runs.
    pub(crate) ended: Option<u64>,
    /// The duration in seconds; null while it runs.
    pub(crate) seconds: Option<f64>,
    /// `running`, `done`, `failed`, `expired` (the worker died, lost the task or took too long), `handed_back` (not a
    /// failure) or `withdrawn` (the result was not needed any more, or is lost).
    #[schema(example = "expired", pattern = "^(running|done|failed|expired|handed_back|withdrawn)$")]
    pub(crate) outcome: &'static str,
    /// Why the attempt failed, or why its result was withdrawn.
    pub(crate) error: Option<String>,
}

impl From<Attempt> for AttemptView {
    fn from(attempt: Attempt) -> Self {
        let outcome = match attempt.ending {
            Some(Ending::Done) => "done",
            Some(Ending::Failed) => "failed",
            Some(Ending::Expired) => "expired",
            Some(Ending::HandedBack) => "handed_back",
            Some(Ending::Withdrawn) => "withdrawn",
            None if attempt.ended.is_none() => "running",
            // Attempts from versions without endings.
            None if attempt.error.is_some() => "failed",
            None => "done",
        };
        let Attempt { number, node, started, ended, error, .. } = attempt;
        let seconds = ended.map(|ended| ended.saturating_sub(started) as f64 / 1000.0);
        Self { number, node, started, ended, seconds, outcome, error }
    }
}

/// A task: the part of a job that one worker does.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub(crate) struct TaskView {
    /// The job and the index, such as `7.3`.
    pub(crate) id: String,
    /// The index in the job. The merge is last.
    pub(crate) index: u32,
    /// The kind: `separate` or `merge`.
    #[schema(pattern = "^(separate|merge)$")]
    pub(crate) kind: &'static str,
    /// The state: `waiting`, `pending`, `running`, `done` or `failed`.
    #[schema(example = "running", pattern = "^(waiting|pending|running|done|failed)$")]
    pub(crate) state: &'static str,
    /// The node that works on the task or finished it.
    pub(crate) node: Option<u64>,
    /// The number of the running or next attempt.
    pub(crate) attempt: u32,
    /// The number of failures.
    pub(crate) failures: u32,
    /// The attempts, oldest first; only the latest if there are very many.
    pub(crate) attempts: Vec<AttemptView>,
}

impl From<Task> for TaskView {
    fn from(task: Task) -> Self {
        let (state, node) = match task.state {
            TaskState::Waiting => ("waiting", None),
            TaskState::Pending => ("pending", None),
            TaskState::Running { node, .. } => ("running", Some(node)),
            TaskState::Done { node } => ("done", Some(node)),
            TaskState::Failed => ("failed", None),
        };
        Self {
            id: task.id.to_string(),
            index: task.id.index,
            kind: task.kind.name(),
            state,
            node,
            attempt: task.attempt,
            failures: task.failures,
            attempts: task.attempts.into_iter().map(AttemptView::from).collect(),
        }
    }
}

/// A job: the separation of one file with one model.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub(crate) struct JobView {
    /// The id.
    pub(crate) id: u64,
    /// The SHA-256 of the song's file, in hex.
    pub(crate) hash: String,
    /// The model.
    pub(crate) model: String,
    /// The formats of the stems.
    pub(crate) formats: Vec<String>,
    /// The selected stems; null for all.
    pub(crate) stems: Option<Vec<String>>,
    /// The stem of a separation into one stem and the sum of all others; null for other separations.
    pub(crate) two_stems: Option<String>,
    /// The songs of the job that the caller may listen to.
    pub(crate) songs: Vec<JobSong>,
    /// The priority: `high`, `normal` or `low`.
    #[schema(example = "normal", pattern = "^(high|normal|low)$")]
    pub(crate) priority: String,
    /// The workers: `cluster`, or `outside` for an external worker, which separates the whole song.
    #[schema(example = "cluster", pattern = "^(cluster|outside)$")]
    pub(crate) workers: &'static str,
    /// The state: `pending`, `running`, `done`, `failed` or `cancelled`.
    #[schema(example = "running", pattern = "^(pending|running|done|failed|cancelled)$")]
    pub(crate) state: &'static str,
    /// The number of finished tasks.
    pub(crate) tasks_done: u32,
    /// The number of tasks, including the merge.
    pub(crate) tasks_total: u32,
    /// The failures of a task after which the job fails.
    pub(crate) max_attempts: u32,
    /// The error of a failed job.
    pub(crate) error: Option<String>,
    /// When the job was created, in milliseconds since 1970.
    pub(crate) created_at: u64,
    /// When a worker claimed the first task since the job was created or last retried, in milliseconds since 1970.
    pub(crate) started_at: Option<u64>,
    /// When the job ended, in milliseconds since 1970; null before.
    pub(crate) finished_at: Option<u64>,
    /// The states of the job so far, oldest first; not in lists.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) history: Option<Vec<JobStateView>>,
    /// The tasks, in order; not in lists.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) tasks: Option<Vec<TaskView>>,
}

/// A song of a job.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub(crate) struct JobSong {
    /// The id.
    pub(crate) id: u64,
    /// The title.
    pub(crate) title: String,
}

/// A state in the history of a job.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub(crate) struct JobStateView {
    /// The state: `pending`, `running`, `done`, `failed` or `cancelled`.
    #[schema(example = "running", pattern = "^(pending|running|done|failed|cancelled)$")]
    pub(crate) state: String,
    /// When the job entered the state, in milliseconds since 1970.
    pub(crate) at: u64,
}

impl JobView {
    /// The view without tasks, with these songs.
    fn of(job: Job, songs: Vec<JobSong>) -> Self {
        let JobSpec::Separation(separation) = job.spec;
        let (stems, two_stems) = match separation.selection {
            Selection::All => (None, None),
            Selection::Only(stems) => (Some(stems), None),
            Selection::Two(stem) => (None, Some(stem)),
        };
        Self {
            songs,
            stems,
            two_stems,
            started_at: started_at(&job.history),
            history: None,
            id: job.id,
            hash: separation.hash.to_string(),
            model: separation.model,
            formats: separation.formats,
            priority: job.priority.to_string(),
            workers: if job.executor.is_external() { "outside" } else { "cluster" },
            state: match job.state {
                JobState::Pending => "pending",
                JobState::Running => "running",
                JobState::Done => "done",
                JobState::Failed => "failed",
                JobState::Cancelled => "cancelled",
            },
            tasks_done: job.done,
            tasks_total: job.tasks,
            max_attempts: job.max_attempts,
            error: job.error.map(|error| error.to_string()),
            created_at: job.created_at,
            finished_at: job.finished_at,
            tasks: None,
        }
    }

    /// The view in lists, with the songs that the caller may listen to.
    pub(crate) fn listed(view: &View, caller: &Caller, job: Job) -> Result<Self, ApiError> {
        let songs = songs_of(view, caller, &job)?;
        Ok(Self::of(job, songs))
    }

    /// The view with tasks, if the job exists and the caller may see it.
    pub(crate) fn with_tasks(view: &View, caller: &Caller, id: u64) -> Result<Option<Self>, ApiError> {
        let Some(job) = view.job(id)? else {
            return Ok(None);
        };
        if !caller.may_see_job(view, &job)? {
            return Ok(None);
        }
        let songs = songs_of(view, caller, &job)?;
        Ok(Some(Self::whole(view, job, songs)?))
    }

    /// The view with tasks, with these songs.
    pub(crate) fn whole(view: &View, job: Job, songs: Vec<JobSong>) -> Result<Self, ApiError> {
        let tasks = view.tasks(job.id)?.into_iter().map(TaskView::from).collect();
        let history = history_of(&job).map(|was| JobStateView { state: was.state.to_string(), at: was.at }).collect();
        Ok(Self { tasks: Some(tasks), history: Some(history), ..Self::of(job, songs) })
    }

    /// Whether the job has ended. Only a request changes it then.
    pub(crate) fn has_ended(&self) -> bool {
        matches!(self.state, "done" | "failed" | "cancelled")
    }
}

/// When the job last began to run.
fn started_at(history: &[Transition]) -> Option<u64> {
    history.iter().rev().find(|was| was.state == JobState::Running).map(|was| was.at)
}

/// The states of a job so far. Jobs of older versions have no history, only the times of creation and end.
pub(crate) fn history_of(job: &Job) -> impl Iterator<Item = Transition> {
    let first = Transition { state: JobState::Pending, at: job.created_at };
    let last = job.finished_at.map(|at| Transition { state: job.state, at });
    let begins = job.history.first().is_none_or(|was| was.state != JobState::Pending).then_some(first);
    begins.into_iter().chain(job.history.clone()).chain(last.filter(|_| job.history.is_empty()))
}

/// The songs of a job that the caller may listen to.
fn songs_of(view: &View, caller: &Caller, job: &Job) -> Result<Vec<JobSong>, ApiError> {
    let mut songs = Vec::new();
    for song in view.songs_with(job)? {
        if caller.may_see(view, &song)? {
            songs.push(JobSong { id: song.id, title: song.title });
        }
    }
    Ok(songs)
}

/// One job.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub(crate) struct JobData {
    /// The job.
    pub(crate) job: JobView,
}

/// A page of jobs.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub(crate) struct JobsData {
    /// The jobs, newest first, without tasks.
    pub(crate) jobs: Vec<JobView>,
    /// The `cursor` of the next page; null on the last page.
    pub(crate) next: Option<String>,
}

/// The id of the job in a path, if the caller may change it.
fn job_to_change(view: &View, caller: &Caller, id: &str) -> Result<u64, ApiError> {
    let job = view.job(job_id(id)?)?.ok_or_else(|| no_job(id))?;
    if caller.may_change_job(view, &job)? { Ok(job.id) } else { Err(no_job(id)) }
}

/// The id of the job in a path.
pub(crate) fn job_id(id: &str) -> Result<u64, ApiError> {
    id.parse().map_err(|_| no_job(id))
}

pub(crate) fn no_job(id: &str) -> ApiError {
    ApiError::NoJob(id.chars().take(20).collect())
}

/// The parameters of a list of jobs.
#[derive(Debug, Clone, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct JobsQuery {
    /// Conditions, all of which must hold: `state:failed` (or `state:failed,cancelled`), `node:2` (a node that made an
    /// attempt), `title:blue` or just `blue`, `model:htdemucs`, `user:ada` (or an id, or `me`), `after:2026-01-01` and
    /// `before:2026-02-01` (the creation of the job, in UTC). Put values with spaces in quotation marks.
    #[param(example = "state:failed node:2")]
    q: Option<String>,
    /// `next` of the previous page.
    #[param(value_type = Option<String>, pattern = "^[0-9]{1,19}$")]
    #[serde(alias = "before")]
    cursor: Option<u64>,
    /// The most entries on the page, 1 to 200. The default is 50.
    limit: Option<usize>,
    /// `true` reads the state of this node, which may lag behind. This works without a majority.
    #[serde(default)]
    stale: bool,
}

/// Lists the jobs of songs that the caller may listen to, newest first. Administrators see all jobs.
///
/// A page may be shorter than `limit` or empty and still have a `next`: a request looks at a limited number of jobs.
/// With a `state` it looks only at jobs in these states. New jobs do not shift pages.
#[utoipa::path(get, path = "/jobs/", tag = "jobs", params(JobsQuery), responses(
    (status = 200, body = Answer<JobsData>),
))]
pub(crate) async fn list(
    state: State,
    auth: RequestAuth,
    Query(query): Query<JobsQuery>,
) -> Result<Answer<JobsData>, ApiError> {
    let search = JobSearch::parse(query.q.as_deref().unwrap_or_default())?;
    let limit = page_limit(query.limit);
    let look = move |view: &View, caller: &Caller| {
        let (jobs, next) = search.page(view, caller, query.cursor, limit)?;
        let jobs = jobs.into_iter().map(|job| JobView::listed(view, caller, job)).collect::<Result<_, _>>()?;
        Ok(Answer::with(JobsData { jobs, next: next.map(|job| job.to_string()) }))
    };
    state.read_or_stale(&auth, query.stale, look).await
}

/// Shows a job with its tasks and attempts.
///
/// Callers who may listen to one of its songs have access.
#[utoipa::path(get, path = "/jobs/{id}", tag = "jobs", params(("id" = u64, Path), ReadQuery), responses(
    (status = 200, body = Answer<JobData>),
))]
pub(crate) async fn get(
    state: State,
    auth: RequestAuth,
    Path(id): Path<String>,
    Query(query): Query<ReadQuery>,
) -> Result<Answer<JobData>, ApiError> {
    shown(state, &auth, id, query.stale).await
}

/// The job for the caller.
pub(crate) async fn shown(
    state: State,
    auth: &RequestAuth,
    id: String,
    stale: bool,
) -> Result<Answer<JobData>, ApiError> {
    let number = job_id(&id)?;
    state
        .read_or_stale(auth, stale, move |view, caller| {
            let job = JobView::with_tasks(view, caller, number)?.ok_or_else(|| no_job(&id))?;
            Ok(Answer::with(JobData { job }))
        })
        .await
}

/// Cancels a job. Workers stop working on it.
///
/// If the job is also done for songs of other users, it continues for them, and the response is a new, cancelled job
/// for the caller's songs. Only the uploaders of its songs and administrators have access; everybody has access to jobs
/// of anonymous uploads.
#[utoipa::path(post, path = "/jobs/{id}/cancel", tag = "jobs", params(("id" = u64, Path)), responses(
    (status = 200, body = Answer<JobData>),
    (status = 409, description = "The job has ended"),
))]
pub(crate) async fn cancel(
    state: State,
    auth: RequestAuth,
    Path(id): Path<String>,
) -> Result<Answer<JobData>, ApiError> {
    let named = id.clone();
    let look = move |view: &View, caller: &Caller| Ok((job_to_change(view, caller, &named)?, caller.actor()));
    let (job, actor) = state.read_for(&auth, look).await?;
    propose(state, &auth, id, CancelJob { job, actor, at: now() }).await
}

/// Retries a failed or cancelled job. Finished tasks are kept.
///
/// If another job does the same by now, it takes over the songs of this job and is returned. The access is that of
/// cancelling.
#[utoipa::path(post, path = "/jobs/{id}/retry", tag = "jobs", params(("id" = u64, Path)), responses(
    (status = 200, body = Answer<JobData>),
    (status = 409, description = "The job neither failed nor was cancelled"),
    (status = 429),
))]
pub(crate) async fn retry(
    state: State,
    auth: RequestAuth,
    Path(id): Path<String>,
) -> Result<Answer<JobData>, ApiError> {
    let named = id.clone();
    let job = state.read_for(&auth, move |view, caller| job_to_change(view, caller, &named)).await?;
    let jobs_per_owner = state.limits.jobs_per_user;
    propose(state, &auth, id, RetryJob { job, jobs_per_owner, at: now() }).await
}

/// Changes to a job.
#[derive(Debug, Clone, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct JobPatch {
    /// The priority: `high`, `normal` or `low`.
    #[schema(example = "high", pattern = "^(high|normal|low)$")]
    priority: String,
}

/// Changes the priority of an open job.
///
/// The change applies to tasks that have not started. Of 21 tasks, 16 are of high priority, 4 of normal and 1 of low
/// while all three are waiting. The priority of a job that is also done for songs of other users cannot be lowered. The
/// access is that of cancelling.
#[utoipa::path(patch, path = "/jobs/{id}", tag = "jobs", params(("id" = u64, Path)), request_body = JobPatch, responses(
    (status = 200, body = Answer<JobData>),
    (status = 409, description = "The job has ended"),
))]
pub(crate) async fn update(
    state: State,
    auth: RequestAuth,
    Path(id): Path<String>,
    JsonOrForm(patch): JsonOrForm<JobPatch>,
) -> Result<Answer<JobData>, ApiError> {
    let named = id.clone();
    let look = move |view: &View, caller: &Caller| Ok((job_to_change(view, caller, &named)?, caller.actor()));
    let (job, actor) = state.read_for(&auth, look).await?;
    let priority = priority_of(&patch.priority)?;
    propose(state, &auth, id, SetPriority { job, priority, actor }).await
}

async fn propose(
    state: State,
    auth: &RequestAuth,
    id: String,
    command: impl Into<Command>,
) -> Result<Answer<JobData>, ApiError> {
    match state.cluster.propose(command).await? {
        // Another job may have taken over.
        Ok(Applied::Job(job)) => shown(state, auth, job.to_string(), false).await,
        Ok(_) => shown(state, auth, id, false).await,
        Err(Refusal::NoSuchJob(_)) => Err(no_job(&id)),
        Err(refusal) => Err(refusal.into()),
    }
}

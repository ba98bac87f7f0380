//! Jobs: how far they are, which node works on what, stopping them and trying again.

use axum::extract::Path;
use serde::{Deserialize, Serialize};
use state::View;
use state::command::{Answer as Applied, Command, Refusal};
use state::{Attempt, Ending, JOBS, Job, JobState, Passage, Selection, Task, TaskKind, TaskState};
use utoipa::{IntoParams, ToSchema};

use super::job_search::Search;
use super::job_wishes::priority_of;
use super::{Freshness, page_limit};
use crate::answer::{Answer, Empty};
use crate::caller::{Caller, Visitor};
use crate::error::ApiError;
use crate::fields::Fields;
use crate::query::Query;
use crate::{State, now};

/// One try at a task.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct AttemptView {
    /// Counted from the first claim of the task on.
    pub number: u32,
    /// Who tried.
    pub node: u64,
    /// Milliseconds since 1970.
    pub started: u64,
    /// Milliseconds since 1970; null while it runs.
    pub ended: Option<u64>,
    /// How long it took; null while it runs.
    pub seconds: Option<f64>,
    /// `running`, `done`, `failed`, `expired` (the worker died, forgot it or took too long), `handed_back` (no failure)
    /// or `withdrawn` (its result was not wanted any more, or is lost).
    #[schema(example = "expired", pattern = "^(running|done|failed|expired|handed_back|withdrawn)$")]
    pub outcome: &'static str,
    /// Why it failed, or why its result does not count any more.
    pub error: Option<String>,
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
            // Written before endings were.
            None if attempt.error.is_some() => "failed",
            None => "done",
        };
        let Attempt { number, node, started, ended, error, .. } = attempt;
        let seconds = ended.map(|ended| ended.saturating_sub(started) as f64 / 1000.0);
        Self { number, node, started, ended, seconds, outcome, error }
    }
}

/// What one worker does in one go.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct TaskView {
    /// Job and index, as `7.3`.
    pub id: String,
    /// Its place in the job; the merge is last.
    pub index: u32,
    /// `separate` or `merge`.
    #[schema(pattern = "^(separate|merge)$")]
    pub kind: &'static str,
    /// `waiting`, `pending`, `running`, `done` or `failed`.
    #[schema(example = "running", pattern = "^(waiting|pending|running|done|failed)$")]
    pub state: &'static str,
    /// Who works on it, or did it.
    pub node: Option<u64>,
    /// The number that its next or running claim has.
    pub attempt: u32,
    /// How often it failed.
    pub failures: u32,
    /// The claims that ended or run, oldest first; of very many the latest.
    pub attempts: Vec<AttemptView>,
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
            kind: match task.kind {
                TaskKind::Separate { .. } => "separate",
                TaskKind::Merge => "merge",
            },
            state,
            node,
            attempt: task.attempt,
            failures: task.failures,
            attempts: task.attempts.into_iter().map(AttemptView::from).collect(),
        }
    }
}

/// What an upload set going: the separation of one file with one model.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct JobView {
    /// Its number.
    pub id: u64,
    /// SHA-256 of the song's file, in hex.
    pub hash: String,
    /// The model that separates it.
    pub model: String,
    /// The formats of the stems.
    pub formats: Vec<String>,
    /// The stems that were chosen; null for all.
    pub stems: Option<Vec<String>>,
    /// The one stem beside which there is only the sum of all others; null for others.
    pub two_stems: Option<String>,
    /// Those of its songs that the caller may hear.
    pub songs: Vec<JobSong>,
    /// How urgent it is: `high`, `normal` or `low`.
    #[schema(example = "normal", pattern = "^(high|normal|low)$")]
    pub priority: String,
    /// Who does it: `cluster`, or `outside` for a worker that is not of the cluster and takes the whole song.
    #[schema(example = "cluster", pattern = "^(cluster|outside)$")]
    pub workers: &'static str,
    /// `pending`, `running`, `done`, `failed` or `cancelled`.
    #[schema(example = "running", pattern = "^(pending|running|done|failed|cancelled)$")]
    pub state: &'static str,
    /// Tasks that are done.
    pub tasks_done: u32,
    /// Tasks, the merge among them.
    pub tasks_total: u32,
    /// How often a task may fail.
    pub max_attempts: u32,
    /// Why it failed, if it did.
    pub error: Option<String>,
    /// Milliseconds since 1970.
    pub created_at: u64,
    /// When a worker first took one of its tasks, in milliseconds since 1970; of a job that was tried again, since then.
    pub started_at: Option<u64>,
    /// Milliseconds since 1970; null while it goes on.
    pub finished_at: Option<u64>,
    /// The states it has been in, the oldest first; not in lists.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub history: Option<Vec<PassageView>>,
    /// The tasks in their order; not in lists.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tasks: Option<Vec<TaskView>>,
}

/// A song that a job is done for.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct JobSong {
    /// Its number.
    pub id: u64,
    /// Its title.
    pub title: String,
}

/// Since when a job was in a state.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct PassageView {
    /// `pending`, `running`, `done`, `failed` or `cancelled`.
    #[schema(example = "running", pattern = "^(pending|running|done|failed|cancelled)$")]
    pub state: String,
    /// Milliseconds since 1970.
    pub at: u64,
}

impl JobView {
    /// A job without its tasks, for these songs.
    fn of(job: Job, songs: Vec<JobSong>) -> Self {
        let (stems, two_stems) = match job.selection {
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
            hash: job.hash.to_string(),
            model: job.model,
            formats: job.formats,
            priority: job.priority.to_string(),
            workers: if job.road.is_outside() { "outside" } else { "cluster" },
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
            error: job.error,
            created_at: job.created_at,
            finished_at: job.finished_at,
            tasks: None,
        }
    }

    /// A job as it stands in lists, with those of its songs that are the caller's to know of.
    pub(crate) fn listed(view: &View, caller: &Caller, job: Job) -> Result<Self, ApiError> {
        let songs = songs_of(view, caller, &job)?;
        Ok(Self::of(job, songs))
    }

    /// A job with its tasks, if it is there and the caller's to know of.
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

    /// A job with its tasks, for these songs.
    pub(crate) fn whole(view: &View, job: Job, songs: Vec<JobSong>) -> Result<Self, ApiError> {
        let tasks = view.tasks(job.id)?.into_iter().map(TaskView::from).collect();
        let history = passages(&job).map(|was| PassageView { state: was.state.to_string(), at: was.at }).collect();
        Ok(Self { tasks: Some(tasks), history: Some(history), ..Self::of(job, songs) })
    }

    /// Whether nothing will change any more, unless somebody asks for it.
    pub(crate) fn has_ended(&self) -> bool {
        matches!(self.state, "done" | "failed" | "cancelled")
    }
}

/// When a job's work began, the last time that it did.
fn started_at(history: &[Passage]) -> Option<u64> {
    history.iter().rev().find(|was| was.state == JobState::Running).map(|was| was.at)
}

/// The states that a job has been in. Older programs wrote none down, but when it was made and when it ended.
pub(crate) fn passages(job: &Job) -> impl Iterator<Item = Passage> {
    let first = Passage { state: JobState::Pending, at: job.created_at };
    let last = job.finished_at.map(|at| Passage { state: job.state, at });
    let begins = job.history.first().is_none_or(|was| was.state != JobState::Pending).then_some(first);
    begins.into_iter().chain(job.history.clone()).chain(last.filter(|_| job.history.is_empty()))
}

/// Those of a job's songs that are the caller's to know of.
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
pub struct JobData {
    /// The job.
    pub job: JobView,
}

/// Some jobs.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct JobsData {
    /// The jobs, newest first, without their tasks.
    pub jobs: Vec<JobView>,
    /// What to give as `cursor` for the next page; null when this was the last.
    pub next: Option<String>,
}

/// The job that a path names, if it is the caller's to stop and to hurry. Others are not there.
fn job_to_change(view: &View, caller: &Caller, id: &str) -> Result<u64, ApiError> {
    let job = view.job(job_id(id)?)?.ok_or_else(|| no_job(id))?;
    if caller.may_change_job(view, &job)? { Ok(job.id) } else { Err(no_job(id)) }
}

/// The number of a job that a path names.
pub(crate) fn job_id(id: &str) -> Result<u64, ApiError> {
    id.parse().map_err(|_| no_job(id))
}

pub(crate) fn no_job(id: &str) -> ApiError {
    ApiError::NoJob(id.chars().take(20).collect())
}

/// Which jobs are asked for.
#[derive(Debug, Clone, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct JobsPage {
    /// What to look for, all of which must hold: `state:failed` (or `state:failed,cancelled`), `node:2` (one of the attempts
    /// was made there), `title:blue` or just `blue`, `model:htdemucs`, `user:ada` (or a number, or `me`), `after:2026-01-01`
    /// and `before:2026-02-01` (when the job was made, in UTC). Quotation marks hold words together.
    #[param(example = "state:failed node:2")]
    q: Option<String>,
    /// `next` of the page before.
    #[param(value_type = Option<String>, pattern = "^[0-9]{1,19}$")]
    #[serde(alias = "before")]
    cursor: Option<u64>,
    /// At most this many, 1 to 200; 50 if it is not given.
    limit: Option<usize>,
    /// With `true`, what the asked node knows, which may be older than what another has answered; this works without a
    /// majority.
    #[serde(default)]
    stale: bool,
}

/// Lists the jobs of the caller's songs, newest first. Administrators see all.
///
/// A page may be shorter than `limit`, and even empty, and still have a `next`: of many jobs that are other people's, or not
/// what is looked for, some thousands are passed over at a time. By `state` jobs are found without looking at others. Pages
/// stay as they are while new jobs come. Whoever is let in may call this. As new as the newest committed change, but for
/// `stale`.
#[utoipa::path(get, path = "/jobs/", tag = "jobs", params(JobsPage), responses(
    (status = 200, body = Answer<JobsData>),
    (status = 400, description = "`cursor` or `limit` is no number, or `q` cannot be read", body = Answer<Empty>),
    (status = 401, description = "Nobody is let in without an account, or the token opens nothing", body = Answer<Empty>),
    (status = 503, description = "No majority of the nodes answers", body = Answer<Empty>),
))]
pub(crate) async fn list(
    state: State,
    visitor: Visitor,
    Query(page): Query<JobsPage>,
) -> Result<Answer<JobsData>, ApiError> {
    let search = Search::parse(page.q.as_deref().unwrap_or_default())?;
    let limit = page_limit(page.limit);
    let look = move |view: &View, caller: &Caller| {
        let (jobs, next) = search.page(view, caller, page.cursor, limit)?;
        let jobs = jobs.into_iter().map(|job| JobView::listed(view, caller, job)).collect::<Result<_, _>>()?;
        Ok(Answer::with(JobsData { jobs, next: next.map(|job| job.to_string()) }))
    };
    state.read_or_stale(&visitor, page.stale, look).await
}

/// Shows one job with its tasks: which node works on which, and what was tried.
///
/// Whoever one of its songs is for may call this. As new as the newest committed change, but for `stale`.
#[utoipa::path(get, path = "/jobs/{id}", tag = "jobs", params(("id" = u64, Path), Freshness), responses(
    (status = 200, body = Answer<JobData>),
    (status = 400, description = "`stale` is neither true nor false", body = Answer<Empty>),
    (status = 404, description = "No such job, or none of the caller's", body = Answer<Empty>),
    (status = 401, description = "Nobody is let in without an account, or the token opens nothing", body = Answer<Empty>),
    (status = 503, description = "No majority of the nodes answers", body = Answer<Empty>),
))]
pub(crate) async fn one(
    state: State,
    visitor: Visitor,
    Path(id): Path<String>,
    Query(fresh): Query<Freshness>,
) -> Result<Answer<JobData>, ApiError> {
    shown(state, &visitor, id, fresh.stale).await
}

/// A job as its caller sees it now.
pub(crate) async fn shown(
    state: State,
    visitor: &Visitor,
    id: String,
    stale: bool,
) -> Result<Answer<JobData>, ApiError> {
    let number = job_id(&id)?;
    state
        .read_or_stale(visitor, stale, move |view, caller| {
            let job = JobView::with_tasks(view, caller, number)?.ok_or_else(|| no_job(&id))?;
            Ok(Answer::with(JobData { job }))
        })
        .await
}

/// Stops a job that has not ended. Workers drop what they are doing for it.
///
/// If it is done for other people's songs as well, it goes on, and the answer is another job, which is cancelled and has
/// the caller's songs. Whoever one of its songs belongs to may call this: the uploader, of anonymous uploads everybody who
/// is let in, and administrators.
#[utoipa::path(post, path = "/jobs/{id}/cancel", tag = "jobs", params(("id" = u64, Path)), responses(
    (status = 200, body = Answer<JobData>),
    (status = 404, description = "No such job, or none of the caller's", body = Answer<Empty>),
    (status = 409, description = "The job has ended already", body = Answer<Empty>),
    (status = 401, description = "Nobody is let in without an account, or the token opens nothing", body = Answer<Empty>),
    (status = 503, description = "No majority of the nodes answers", body = Answer<Empty>),
))]
pub(crate) async fn cancel(
    state: State,
    visitor: Visitor,
    Path(id): Path<String>,
) -> Result<Answer<JobData>, ApiError> {
    let named = id.clone();
    let look = move |view: &View, caller: &Caller| Ok((job_to_change(view, caller, &named)?, caller.asker()));
    let (job, asker) = state.read_for(&visitor, look).await?;
    propose(state, &visitor, id, Command::CancelJob { job, asker, at: now() }).await
}

/// Tries a failed or cancelled job again. What was done stays done.
///
/// If another job has come to do the same since, the answer is that one, and the songs of this one are its now. Whoever
/// may cancel it may call this.
#[utoipa::path(post, path = "/jobs/{id}/retry", tag = "jobs", params(("id" = u64, Path)), responses(
    (status = 200, body = Answer<JobData>),
    (status = 404, description = "No such job, or none of the caller's", body = Answer<Empty>),
    (status = 409, description = "The job neither failed nor was cancelled", body = Answer<Empty>),
    (status = 429, description = "The user has too many open jobs", body = Answer<Empty>),
    (status = 401, description = "Nobody is let in without an account, or the token opens nothing", body = Answer<Empty>),
    (status = 503, description = "No majority of the nodes answers", body = Answer<Empty>),
))]
pub(crate) async fn retry(state: State, visitor: Visitor, Path(id): Path<String>) -> Result<Answer<JobData>, ApiError> {
    let named = id.clone();
    let job = state.read_for(&visitor, move |view, caller| job_to_change(view, caller, &named)).await?;
    let jobs_per_owner = state.app.limits.jobs_per_user;
    propose(state, &visitor, id, Command::RetryJob { job, jobs_per_owner, at: now() }).await
}

/// What can be changed of a job.
#[derive(Debug, Clone, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct JobChange {
    /// `high`, `normal` or `low`.
    #[schema(example = "high", pattern = "^(high|normal|low)$")]
    priority: String,
}

/// Makes a job that has not ended more urgent, or less.
///
/// It counts from the next task on. Of 21 tasks, 16 are of high priority, 4 of normal and 1 of low as long as all three
/// wait. A job that is done for other people's songs as well becomes no less urgent. Whoever may cancel it may call this.
#[utoipa::path(patch, path = "/jobs/{id}", tag = "jobs", params(("id" = u64, Path)), request_body = JobChange,
    responses(
        (status = 200, body = Answer<JobData>),
        (status = 400, description = "No such priority, or neither form nor JSON", body = Answer<Empty>),
        (status = 404, description = "No such job, or none of the caller's", body = Answer<Empty>),
        (status = 409, description = "The job has ended already", body = Answer<Empty>),
        (status = 401, description = "Nobody is let in without an account, or the token opens nothing", body = Answer<Empty>),
        (status = 503, description = "No majority of the nodes answers", body = Answer<Empty>),
    )
)]
pub(crate) async fn change(
    state: State,
    visitor: Visitor,
    Path(id): Path<String>,
    Fields(change): Fields<JobChange>,
) -> Result<Answer<JobData>, ApiError> {
    let named = id.clone();
    let look = move |view: &View, caller: &Caller| {
        Ok((job_to_change(view, caller, &named)?, caller.asker(), view.has_level(JOBS)?))
    };
    let (job, asker, priorities) = state.read_for(&visitor, look).await?;
    let priority = priority_of(&change.priority)?;
    if !priorities {
        return Err(ApiError::Busy("upgrading: priorities change when all nodes run this version".into()));
    }
    propose(state, &visitor, id, Command::SetPriority { job, priority, asker }).await
}

async fn propose(state: State, visitor: &Visitor, id: String, command: Command) -> Result<Answer<JobData>, ApiError> {
    match state.app.cluster.propose(command).await? {
        // Another job may do it.
        Ok(Applied::Job(job)) => shown(state, visitor, job.to_string(), false).await,
        Ok(_) => shown(state, visitor, id, false).await,
        Err(Refusal::NoSuchJob(_)) => Err(no_job(&id)),
        Err(refusal) => Err(refusal.into()),
    }
}

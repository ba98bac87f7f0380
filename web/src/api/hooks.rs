//! Web hooks: addresses that are told when a user's jobs end.
//!
//! A delivery is a POST of JSON with the headers `Quartet-Delivery` (its number, the same with every try),
//! `Quartet-Event`, `Quartet-Timestamp` (seconds since 1970) and `Quartet-Signature`: `sha256=` and, in hex, the
//! HMAC-SHA-256 of the timestamp, a full stop and the body, with the hook's secret as the key.

use axum::extract::Path;
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use state::View;
use state::command::Command;
use state::{Delivery, Fate, Hook, JobState, Sealed};
use utoipa::ToSchema;

use super::users::{managed, oneself};
use super::{no_such, number_of};
use crate::answer::{Answer, Empty};
use crate::caller::{Caller, Visitor};
use crate::error::ApiError;
use crate::fields::{Faults, Fields};
use crate::hooks::fault;
use crate::secret::Secret;
use crate::{State, now};

/// What secrets of hooks begin with.
const PREFIX: &str = "qh_";

/// A web hook, without its secret.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct HookView {
    /// Its number.
    pub id: u64,
    /// The address.
    #[schema(example = "https://example.org/quartet")]
    pub url: String,
    /// What it is told of: `job.done`, `job.failed`, `job.cancelled`.
    pub events: Vec<String>,
    /// Whether it is told anything.
    pub active: bool,
    /// When it was made, in milliseconds since 1970.
    pub created_at: u64,
}

impl From<Hook> for HookView {
    fn from(hook: Hook) -> Self {
        let Hook { id, url, events, active, created_at, .. } = hook;
        Self { id, url, events: events.into_iter().map(event_of).collect(), active, created_at }
    }
}

/// What the end of a job is called.
pub fn event_of(end: JobState) -> String {
    format!("job.{end}")
}

/// A user's web hooks.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct HooksData {
    /// Oldest first.
    pub webhooks: Vec<HookView>,
}

/// One web hook.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct HookData {
    /// The hook.
    pub webhook: HookView,
}

/// A web hook that was just made.
#[derive(Serialize, ToSchema)]
pub struct NewHookData {
    /// The hook.
    pub webhook: HookView,
    /// What its deliveries are signed with, which is told this once.
    #[schema(example = "qh_5f1d...")]
    pub secret: String,
}

/// One try at a delivery.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct TryView {
    /// When it ended, in milliseconds since 1970.
    pub at: u64,
    /// How long it took.
    pub seconds: f64,
    /// The status of the answer; null if there was none.
    pub status: Option<u16>,
    /// What went wrong.
    pub error: Option<String>,
}

/// What a hook is to be told, or was.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct DeliveryView {
    /// Its number, in the header `Quartet-Delivery`.
    pub id: u64,
    /// What it tells of.
    #[schema(example = "job.done", pattern = "^job[.](done|failed|cancelled)$")]
    pub event: String,
    /// Which job.
    pub job_id: u64,
    /// `pending`, `delivered` or `given_up`.
    #[schema(example = "delivered", pattern = "^(pending|delivered|given_up)$")]
    pub state: &'static str,
    /// When it is tried next, in milliseconds since 1970; null when it is not any more.
    pub next_at: Option<u64>,
    /// How often it was tried.
    pub tried: u32,
    /// The tries, oldest first; of many the latest.
    pub tries: Vec<TryView>,
    /// When the job ended.
    pub at: u64,
}

impl From<Delivery> for DeliveryView {
    fn from(delivery: Delivery) -> Self {
        let (state, next_at) = match delivery.fate {
            Fate::Due { at } => ("pending", Some(at)),
            Fate::Delivered => ("delivered", None),
            Fate::GivenUp => ("given_up", None),
        };
        let tries = delivery.tries.into_iter().map(|made| TryView {
            at: made.at,
            seconds: made.took as f64 / 1000.0,
            status: made.status,
            error: made.error,
        });
        Self {
            id: delivery.id,
            event: event_of(delivery.event),
            job_id: delivery.job,
            state,
            next_at,
            tried: delivery.tried,
            tries: tries.collect(),
            at: delivery.ended_at,
        }
    }
}

/// What a hook is to be told, or was.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct DeliveriesData {
    /// Newest first; of very many the latest hundred.
    pub deliveries: Vec<DeliveryView>,
}

/// A hook to be made.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct HookWish {
    /// The address.
    #[serde(default)]
    #[schema(required, max_length = 1000, example = "https://quartet.example/hook")]
    url: String,
    /// What it is told of: `job.done`, `job.failed`, `job.cancelled`; all of it if this is not given.
    #[schema(example = json!(["job.done"]))]
    events: Option<Vec<String>>,
}

/// What is to be different about a hook; what is not given stays as it is.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct HookChange {
    /// The address.
    #[schema(max_length = 1000, example = "https://quartet.example/hook")]
    url: Option<String>,
    /// What it is told of.
    #[schema(example = json!(["job.done"]))]
    events: Option<Vec<String>>,
    /// Whether it is told anything. What it was still to be told is given up when it is turned off.
    active: Option<bool>,
}

/// The ends of jobs that these words mean, each once.
fn ends_of(words: &[String], faults: &mut Faults) -> Vec<JobState> {
    let known = [JobState::Done, JobState::Failed, JobState::Cancelled];
    let end = |word: &String| known.into_iter().find(|end| event_of(*end) == *word);
    if words.is_empty() || words.iter().any(|word| end(word).is_none()) {
        faults.add("events", "bad_events", "Name some of job.done, job.failed and job.cancelled.");
    }
    let mut ends: Vec<JobState> = words.iter().filter_map(end).collect();
    ends.sort();
    ends.dedup();
    ends
}

/// Lists a user's web hooks.
///
/// The user and administrators may call this.
#[utoipa::path(get, path = "/users/{id}/webhooks", tag = "hooks", security(("session" = []), ("token" = [])), params(("id" = u64, Path)), responses(
    (status = 200, body = Answer<HooksData>),
    (status = 401, description = "Nobody is logged in", body = Answer<Empty>),
    (status = 404, description = "No such user, or another one", body = Answer<Empty>),
    (status = 503, description = "No majority of the nodes answers", body = Answer<Empty>),
))]
pub(crate) async fn list(
    state: State,
    visitor: Visitor,
    Path(id): Path<String>,
) -> Result<Answer<HooksData>, ApiError> {
    let look = move |view: &View, caller: &Caller| {
        let hooks = view.hooks_of(managed(view, caller, &id)?.id)?;
        Ok(Answer::with(HooksData { webhooks: hooks.into_iter().map(HookView::from).collect() }))
    };
    state.read_for(&visitor, look).await
}

/// Makes a web hook. It hears when a job of one of the user's songs ends. Its secret is told this once.
///
/// Told is with a POST of JSON: `delivery`, `event`, `at`, `job` (`id`, `state`, `model`, `error`, `created_at`,
/// `finished_at`) and `songs` (`id`, `title`). The header `Quartet-Signature` holds `sha256=` and, in hex, the HMAC-SHA-256
/// of the header `Quartet-Timestamp`, a full stop and the body, with the secret as the key. Any status from 200 to 299 says
/// that it was heard; otherwise it is told again, ever more seldom, for a day. It may be told twice: `Quartet-Delivery` is
/// the same then. The user may call this, and not with a token. Form or JSON.
#[utoipa::path(post, path = "/users/{id}/webhooks", tag = "hooks", security(("session" = [])), params(("id" = u64, Path)), request_body = HookWish,
    responses(
        (status = 201, body = Answer<NewHookData>),
        (status = 400, description = "Neither form nor JSON, or fields that are not known", body = Answer<Empty>),
        (status = 401, description = "Nobody is logged in", body = Answer<Empty>),
        (status = 403, description = "A token asked for it", body = Answer<Empty>),
        (status = 404, description = "No such user, or another one", body = Answer<Empty>),
        (status = 409, description = "There are too many already", body = Answer<Empty>),
        (status = 422, description = "One error for each field that is not right", body = Answer<Empty>),
        (status = 503, description = "No majority of the nodes answers", body = Answer<Empty>),
    )
)]
pub(crate) async fn make(
    state: State,
    visitor: Visitor,
    Path(id): Path<String>,
    Fields(asked): Fields<HookWish>,
) -> Result<(StatusCode, Answer<NewHookData>), ApiError> {
    let user = state.read_for(&visitor, move |view, caller| oneself(view, caller, &id)).await?;
    let mut faults = Faults::default();
    let events = match &asked.events {
        None => vec![JobState::Done, JobState::Failed, JobState::Cancelled],
        Some(words) => ends_of(words, &mut faults),
    };
    if let Some(fault) = fault(&asked.url, state.app.hooks.allow_private) {
        faults.add("url", "bad_url", fault);
    }
    faults.none()?;
    let (secret, at) = (Secret::new(PREFIX)?, now());
    let sealed = Sealed(state.app.hooks.seal.seal(secret.plain().as_bytes())?);
    let command = Command::MakeHook { user, url: asked.url.clone(), events: events.clone(), sealed, at };
    let id = state.make("making a web hook", command).await?;
    let events = events.into_iter().map(event_of).collect();
    let webhook = HookView { id, url: asked.url, events, active: true, created_at: at };
    Ok((StatusCode::CREATED, Answer::with(NewHookData { webhook, secret: secret.plain().to_owned() })))
}

/// Changes a web hook.
///
/// The user may call this, and not with a token. Form or JSON.
#[utoipa::path(patch, path = "/users/{id}/webhooks/{hook}", tag = "hooks", security(("session" = [])),
    params(("id" = u64, Path), ("hook" = u64, Path)), request_body = HookChange,
    responses(
        (status = 200, body = Answer<HookData>),
        (status = 400, description = "Neither form nor JSON, or fields that are not known", body = Answer<Empty>),
        (status = 401, description = "Nobody is logged in", body = Answer<Empty>),
        (status = 403, description = "A token asked for it", body = Answer<Empty>),
        (status = 404, description = "No such user or hook, or another user", body = Answer<Empty>),
        (status = 422, description = "One error for each field that is not right", body = Answer<Empty>),
        (status = 503, description = "No majority of the nodes answers", body = Answer<Empty>),
    )
)]
pub(crate) async fn change(
    state: State,
    visitor: Visitor,
    Path((id, hook)): Path<(String, String)>,
    Fields(asked): Fields<HookChange>,
) -> Result<Answer<HookData>, ApiError> {
    let user = state.read_for(&visitor, move |view, caller| oneself(view, caller, &id)).await?;
    let number = number_of("web hook", &hook)?;
    let mut faults = Faults::default();
    let events = asked.events.as_ref().map(|words| ends_of(words, &mut faults));
    if let Some(fault) = asked.url.as_ref().and_then(|url| fault(url, state.app.hooks.allow_private)) {
        faults.add("url", "bad_url", fault);
    }
    faults.none()?;
    let command = Command::ChangeHook { user, hook: number, url: asked.url, events, active: asked.active };
    state.app.cluster.propose(command).await??;
    let look = move |view: &View| {
        let found = view.hook(user, number)?.ok_or_else(|| no_such("web hook", &hook))?;
        Ok(Answer::with(HookData { webhook: found.into() }))
    };
    state.read(look).await
}

/// Removes a web hook, with what it was still to be told.
///
/// The user and administrators may call this.
#[utoipa::path(delete, path = "/users/{id}/webhooks/{hook}", tag = "hooks", security(("session" = []), ("token" = [])),
    params(("id" = u64, Path), ("hook" = u64, Path)),
    responses(
        (status = 200, body = Answer<Empty>),
        (status = 401, description = "Nobody is logged in", body = Answer<Empty>),
        (status = 404, description = "No such user or hook, or another user", body = Answer<Empty>),
        (status = 503, description = "No majority of the nodes answers", body = Answer<Empty>),
    )
)]
pub(crate) async fn remove(
    state: State,
    visitor: Visitor,
    Path((id, hook)): Path<(String, String)>,
) -> Result<Answer<Empty>, ApiError> {
    let user = state.read_for(&visitor, move |view, caller| managed(view, caller, &id)).await?.id;
    let hook = number_of("web hook", &hook)?;
    state.app.cluster.propose(Command::RemoveHook { user, hook }).await??;
    Ok(Answer::with(Empty {}))
}

/// Lists what a web hook is to be told and was told, and what came of each try.
///
/// The user and administrators may call this.
#[utoipa::path(get, path = "/users/{id}/webhooks/{hook}/deliveries", tag = "hooks", security(("session" = []), ("token" = [])),
    params(("id" = u64, Path), ("hook" = u64, Path)),
    responses(
        (status = 200, body = Answer<DeliveriesData>),
        (status = 401, description = "Nobody is logged in", body = Answer<Empty>),
        (status = 404, description = "No such user or hook, or another user", body = Answer<Empty>),
        (status = 503, description = "No majority of the nodes answers", body = Answer<Empty>),
    )
)]
pub(crate) async fn deliveries(
    state: State,
    visitor: Visitor,
    Path((id, hook)): Path<(String, String)>,
) -> Result<Answer<DeliveriesData>, ApiError> {
    let look = move |view: &View, caller: &Caller| {
        let user = managed(view, caller, &id)?.id;
        let found = view.hook(user, number_of("web hook", &hook)?)?.ok_or_else(|| no_such("web hook", &hook))?;
        let deliveries = view.deliveries_of(found.id)?.into_iter().rev().map(DeliveryView::from).collect();
        Ok(Answer::with(DeliveriesData { deliveries }))
    };
    state.read_for(&visitor, look).await
}

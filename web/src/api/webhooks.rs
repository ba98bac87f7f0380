//! Web hooks: URLs that receive a request when a job of a user ends.
//!
//! A delivery is a POST of JSON with the headers `Quartet-Delivery` (the id, the same for every attempt),
//! `Quartet-Event`, `Quartet-Timestamp` (seconds since 1970) and `Quartet-Signature`: `sha256=` and, in hex, the
//! HMAC-SHA-256 of the timestamp, a full stop and the body, with the hook's secret as the key.

use axum::extract::Path;
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use state::View;
use state::command::{ChangeHook, MakeHook, RemoveHook};
use state::{Delivery, DeliveryStatus, Hook, JobState, Sealed};
use utoipa::ToSchema;

use super::users::{managed, oneself};
use super::{no_such, number_of};
use crate::app::State;
use crate::auth::caller::Caller;
use crate::auth::request_auth::RequestAuth;
use crate::auth::secret::Secret;
use crate::clock::now;
use crate::http::answer::{Answer, Empty};
use crate::http::code::Code;
use crate::http::error::ApiError;
use crate::http::json_or_form::{JsonOrForm, ValidationErrors};
use crate::webhook_url::fault;

/// The prefix of the secrets of web hooks.
const PREFIX: &str = "qh_";

/// A web hook, without its secret.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub(crate) struct HookView {
    /// The id.
    pub(crate) id: u64,
    /// The URL.
    #[schema(example = "https://example.org/quartet")]
    pub(crate) url: String,
    /// The events: `job.done`, `job.failed`, `job.cancelled`.
    pub(crate) events: Vec<String>,
    /// Whether events are delivered.
    pub(crate) active: bool,
    /// When the web hook was created, in milliseconds since 1970.
    pub(crate) created_at: u64,
}

impl From<Hook> for HookView {
    fn from(hook: Hook) -> Self {
        let Hook { id, url, events, active, created_at, .. } = hook;
        Self { id, url, events: events.into_iter().map(event_of).collect(), active, created_at }
    }
}

/// The name of the event of a job that ended in this state.
pub fn event_of(end: JobState) -> String {
    format!("job.{end}")
}

/// A user's web hooks.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub(crate) struct HooksData {
    /// The web hooks, oldest first.
    pub(crate) webhooks: Vec<HookView>,
}

/// One web hook.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub(crate) struct HookData {
    /// The web hook.
    pub(crate) webhook: HookView,
}

/// A new web hook.
#[derive(Serialize, ToSchema)]
pub(crate) struct NewHookData {
    /// The web hook.
    pub(crate) webhook: HookView,
    /// The secret that signs deliveries. Only this response contains it.
    #[schema(example = "qh_5f1d...")]
    pub(crate) secret: String,
}

/// An attempt at a delivery.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub(crate) struct DeliveryAttemptView {
    /// When the attempt ended, in milliseconds since 1970.
    pub(crate) at: u64,
    /// The duration in seconds.
    pub(crate) seconds: f64,
    /// The status of the response; null if there was none.
    pub(crate) status: Option<u16>,
    /// The error.
    pub(crate) error: Option<String>,
}

/// A delivery to a web hook.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub(crate) struct DeliveryView {
    /// The id, as in the header `Quartet-Delivery`.
    pub(crate) id: u64,
    /// The event.
    #[schema(example = "job.done", pattern = "^job[.](done|failed|cancelled)$")]
    pub(crate) event: String,
    /// The id of the job.
    pub(crate) job_id: u64,
    /// The state: `pending`, `delivered` or `given_up`.
    #[schema(example = "delivered", pattern = "^(pending|delivered|given_up)$")]
    pub(crate) state: &'static str,
    /// The time of the next attempt, in milliseconds since 1970; null if there is none.
    pub(crate) next_at: Option<u64>,
    /// The number of attempts.
    pub(crate) tried: u32,
    /// The attempts, oldest first; only the latest if there are many.
    pub(crate) tries: Vec<DeliveryAttemptView>,
    /// When the job ended, in milliseconds since 1970.
    pub(crate) at: u64,
}

impl From<Delivery> for DeliveryView {
    fn from(delivery: Delivery) -> Self {
        let (state, next_at) = match delivery.status {
            DeliveryStatus::Pending { at } => ("pending", Some(at)),
            DeliveryStatus::Delivered => ("delivered", None),
            DeliveryStatus::GivenUp => ("given_up", None),
        };
        let tries = delivery.attempts.into_iter().map(|made| DeliveryAttemptView {
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
            tried: delivery.attempts_made,
            tries: tries.collect(),
            at: delivery.ended_at,
        }
    }
}

/// The deliveries to a web hook.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub(crate) struct DeliveriesData {
    /// The deliveries, newest first; at most 100.
    pub(crate) deliveries: Vec<DeliveryView>,
}

/// The parameters of a new web hook.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct CreateWebhook {
    /// The URL.
    #[serde(default)]
    #[schema(required, max_length = 1000, example = "https://quartet.example/hook")]
    url: String,
    /// The events: `job.done`, `job.failed`, `job.cancelled`. The default is all of them.
    #[schema(example = json!(["job.done"]))]
    events: Option<Vec<String>>,
}

/// Changes to a web hook. Missing fields stay unchanged.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct WebhookPatch {
    /// The URL.
    #[schema(max_length = 1000, example = "https://quartet.example/hook")]
    url: Option<String>,
    /// The events.
    #[schema(example = json!(["job.done"]))]
    events: Option<Vec<String>>,
    /// Whether events are delivered. Turning this off gives up all pending deliveries.
    active: Option<bool>,
}

/// The states of the named events, each once.
fn ends_of(words: &[String], errors: &mut ValidationErrors) -> Vec<JobState> {
    let known = [JobState::Done, JobState::Failed, JobState::Cancelled];
    let end = |word: &String| known.into_iter().find(|end| event_of(*end) == *word);
    if words.is_empty() || words.iter().any(|word| end(word).is_none()) {
        errors.add("events", Code::BadEvents, "Use some of job.done, job.failed and job.cancelled.");
    }
    let mut ends: Vec<JobState> = words.iter().filter_map(end).collect();
    ends.sort();
    ends.dedup();
    ends
}

/// Lists the web hooks of a user.
///
/// Only the user and administrators have access.
#[utoipa::path(get, path = "/users/{id}/webhooks", tag = "hooks", params(("id" = u64, Path)), responses(
    (status = 200, body = Answer<HooksData>),
))]
pub(crate) async fn list(
    state: State,
    auth: RequestAuth,
    Path(id): Path<String>,
) -> Result<Answer<HooksData>, ApiError> {
    let look = move |view: &View, caller: &Caller| {
        let hooks = view.hooks_of(managed(view, caller, &id)?.id)?;
        Ok(Answer::with(HooksData { webhooks: hooks.into_iter().map(HookView::from).collect() }))
    };
    state.read_for(&auth, look).await
}

/// Creates a web hook, which receives a request when a job of one of the user's songs ends.
///
/// A delivery is a POST of JSON: `delivery`, `event`, `at`, `job` (`id`, `state`, `model`, `error`, `created_at`,
/// `finished_at`) and `songs` (`id`, `title`). The header `Quartet-Signature` holds `sha256=` and, in hex, the
/// HMAC-SHA-256 of the header `Quartet-Timestamp`, a full stop and the body, with the secret as the key. Only this
/// response contains the secret. A response with a status from 200 to 299 acknowledges the delivery. Otherwise the
/// delivery is repeated for a day, at increasing intervals. A delivery may arrive twice, with the same
/// `Quartet-Delivery`. Only the user has access. The body is a form or JSON.
#[utoipa::path(post, path = "/users/{id}/webhooks", tag = "hooks",
    params(("id" = u64, Path)),
    request_body = CreateWebhook,
    responses(
        (status = 201, body = Answer<NewHookData>),
        (status = 409, description = "The user has too many web hooks"),
        (status = 422),
    )
)]
pub(crate) async fn create(
    state: State,
    auth: RequestAuth,
    Path(id): Path<String>,
    JsonOrForm(new): JsonOrForm<CreateWebhook>,
) -> Result<(StatusCode, Answer<NewHookData>), ApiError> {
    let user = state.read_for(&auth, move |view, caller| oneself(view, caller, &id)).await?;
    let mut errors = ValidationErrors::default();
    let events = match &new.events {
        None => vec![JobState::Done, JobState::Failed, JobState::Cancelled],
        Some(words) => ends_of(words, &mut errors),
    };
    if let Some(fault) = fault(&new.url, state.webhooks.allow_private) {
        errors.add("url", Code::BadUrl, fault);
    }
    errors.finish()?;
    let (secret, at) = (Secret::new(PREFIX)?, now());
    let sealed = Sealed(state.webhooks.seal.seal(secret.plain().as_bytes())?);
    let command = MakeHook { user, url: new.url.clone(), events: events.clone(), sealed, at };
    let id = state.create("creating a web hook", command).await?;
    let events = events.into_iter().map(event_of).collect();
    let webhook = HookView { id, url: new.url, events, active: true, created_at: at };
    Ok((StatusCode::CREATED, Answer::with(NewHookData { webhook, secret: secret.plain().to_owned() })))
}

/// Changes a web hook.
///
/// Only the user has access. The body is a form or JSON.
#[utoipa::path(patch, path = "/users/{id}/webhooks/{hook}", tag = "hooks",
    params(("id" = u64, Path), ("hook" = u64, Path)),
    request_body = WebhookPatch,
    responses(
        (status = 200, body = Answer<HookData>),
        (status = 422),
    )
)]
pub(crate) async fn update(
    state: State,
    auth: RequestAuth,
    Path((id, hook)): Path<(String, String)>,
    JsonOrForm(patch): JsonOrForm<WebhookPatch>,
) -> Result<Answer<HookData>, ApiError> {
    let user = state.read_for(&auth, move |view, caller| oneself(view, caller, &id)).await?;
    let number = number_of("web hook", &hook)?;
    let mut errors = ValidationErrors::default();
    let events = patch.events.as_ref().map(|words| ends_of(words, &mut errors));
    if let Some(fault) = patch.url.as_ref().and_then(|url| fault(url, state.webhooks.allow_private)) {
        errors.add("url", Code::BadUrl, fault);
    }
    errors.finish()?;
    let command = ChangeHook { user, hook: number, url: patch.url, events, active: patch.active };
    state.cluster.propose(command).await??;
    let look = move |view: &View| {
        let found = view.hook(user, number)?.ok_or_else(|| no_such("web hook", &hook))?;
        Ok(Answer::with(HookData { webhook: found.into() }))
    };
    state.read(look).await
}

/// Deletes a web hook, with its pending deliveries.
///
/// Only the user and administrators have access.
#[utoipa::path(delete, path = "/users/{id}/webhooks/{hook}", tag = "hooks",
    params(("id" = u64, Path), ("hook" = u64, Path)),
    responses(
        (status = 200, body = Answer<Empty>),
    )
)]
pub(crate) async fn delete(
    state: State,
    auth: RequestAuth,
    Path((id, hook)): Path<(String, String)>,
) -> Result<Answer<Empty>, ApiError> {
    let user = state.read_for(&auth, move |view, caller| managed(view, caller, &id)).await?.id;
    let hook = number_of("web hook", &hook)?;
    state.cluster.propose(RemoveHook { user, hook }).await??;
    Ok(Answer::with(Empty {}))
}

/// Lists the deliveries to a web hook, with their attempts.
///
/// Only the user and administrators have access.
#[utoipa::path(get, path = "/users/{id}/webhooks/{hook}/deliveries", tag = "hooks",
    params(("id" = u64, Path), ("hook" = u64, Path)),
    responses(
        (status = 200, body = Answer<DeliveriesData>),
    )
)]
pub(crate) async fn deliveries(
    state: State,
    auth: RequestAuth,
    Path((id, hook)): Path<(String, String)>,
) -> Result<Answer<DeliveriesData>, ApiError> {
    let look = move |view: &View, caller: &Caller| {
        let user = managed(view, caller, &id)?.id;
        let found = view.hook(user, number_of("web hook", &hook)?)?.ok_or_else(|| no_such("web hook", &hook))?;
        let deliveries = view.deliveries_of(found.id)?.into_iter().rev().map(DeliveryView::from).collect();
        Ok(Answer::with(DeliveriesData { deliveries }))
    };
    state.read_for(&auth, look).await
}

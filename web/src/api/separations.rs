//! The separations of a song: its primary one, which the upload starts, and others with another model, other formats or
//! other stems.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::extract::Path;
use serde::{Deserialize, Serialize};
use state::View;
use state::command::{Answer as Applied, DropSeparation, Separate};
use state::{Job, JobOptions, JobSpec, Model, Plan, Selection, SeparationSpec, Song};
use utoipa::ToSchema;

use super::job_params::{formats_of, priority_of};
use super::jobs::{JobData, JobView, job_id, no_job, shown};
use super::models::required_model;
use super::song_view::links;
use super::songs::{song_of, song_to_change};
use crate::app::State;
use crate::auth::accounts::owner_of;
use crate::auth::caller::Caller;
use crate::auth::request_auth::RequestAuth;
use crate::clock::now;
use crate::http::answer::{Answer, Empty};
use crate::http::code::Code;
use crate::http::error::ApiError;
use crate::http::json_or_form::{JsonOrForm, ValidationErrors};

/// One separation of a song.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub(crate) struct SeparationView {
    /// The job, without its tasks.
    pub(crate) job: JobView,
    /// Whether this is the primary separation: it determines the song's status and is used if no job is given.
    pub(crate) own: bool,
    /// The addresses of the files, by stem and format.
    pub(crate) parts: BTreeMap<String, BTreeMap<String, String>>,
}

/// The separations of a song.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub(crate) struct SeparationsData {
    /// The primary separation, then the others, oldest first.
    pub(crate) separations: Vec<SeparationView>,
}

/// The parameters of a new separation.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
#[schema(example = json!({ "two_stems": "vocals", "formats": ["flac:24"] }))]
pub(crate) struct CreateSeparation {
    /// The model. The default is that of the primary separation.
    #[schema(example = "htdemucs")]
    model: Option<String>,
    /// The formats, as for `POST /songs/upload`. The default is those of the primary separation.
    #[schema(example = json!(["flac:24"]))]
    formats: Option<Vec<String>>,
    /// The stems to make, of those that the model separates. Without this and `two_stems`, all stems are made.
    #[schema(example = json!(["drums", "bass", "other"]))]
    stems: Option<Vec<String>>,
    /// One of the model's stems. Two stems are made: this one, and the sum of all others as `no_` and its name.
    #[schema(example = "vocals")]
    two_stems: Option<String>,
    /// The priority: `high`, `normal` or `low`. The default is `normal`.
    #[schema(pattern = "^(high|normal|low)?$")]
    priority: Option<String>,
}

impl CreateSeparation {
    /// The requested stems, of those that the model separates.
    fn selection(&self, model: &Model) -> Result<Selection, ApiError> {
        let Model { name: model, sources, .. } = model;
        let mut errors = ValidationErrors::default();
        let mut unknown = |field, name: &str| {
            if !sources.iter().any(|source| source == name) {
                let name: String = name.chars().take(40).collect();
                let message =
                    format!("The model {model} does not separate {name:?}. Use some of: {}.", sources.join(", "));
                errors.add(field, Code::NoSuchStem, message);
            }
        };
        let selection = match (&self.stems, &self.two_stems) {
            (None, None) => Selection::All,
            (None, Some(stem)) => {
                unknown("two_stems", stem);
                Selection::Two(stem.clone())
            }
            (Some(stems), None) => {
                stems.iter().take(20).for_each(|stem| unknown("stems", stem));
                let mut stems = stems.clone();
                stems.sort();
                stems.dedup();
                match stems.len() {
                    0 => {
                        errors.add(
                            "stems",
                            Code::NoStems,
                            "Name at least one stem, or leave the field out for all stems.",
                        );
                        Selection::All
                    }
                    // All stems are the default.
                    all if all == sources.len() => Selection::All,
                    _ => Selection::Only(stems),
                }
            }
            (Some(_), Some(_)) => {
                errors.add("two_stems", Code::TwoChoices, "Set either `stems` or `two_stems`, not both.");
                Selection::All
            }
        };
        errors.finish()?;
        Ok(selection)
    }
}

/// Lists the separations of a song.
#[utoipa::path(get, path = "/songs/{id}/separations", tag = "jobs", params(("id" = u64, Path)), responses(
    (status = 200, body = Answer<SeparationsData>),
))]
pub(crate) async fn list(
    state: State,
    auth: RequestAuth,
    Path(id): Path<String>,
) -> Result<Answer<SeparationsData>, ApiError> {
    let look = move |view: &View, caller: &Caller| {
        let song = song_of(view, caller, &id)?;
        let jobs = view.jobs_of(&song)?.into_iter();
        let separations = jobs.map(|job| described(view, caller, &song, job)).collect::<Result<_, _>>()?;
        Ok(Answer::with(SeparationsData { separations }))
    };
    state.read_for(&auth, look).await
}

fn described(view: &View, caller: &Caller, song: &Song, job: Job) -> Result<SeparationView, ApiError> {
    let own = job.id == song.job;
    let (address, query) =
        (format!("/songs/{}", song.id), if own { String::new() } else { format!("?job={}", job.id) });
    let stems = job.stems().into_iter().flat_map(|stems| stems.files.keys());
    let parts = stems.map(|stem| (stem.clone(), links(&address, stem, &query))).collect();
    Ok(SeparationView { own, parts, job: JobView::listed(view, caller, job)? })
}

/// Separates a song again, with another model, into other formats, or into other stems.
///
/// If there is an equal separation, it is returned. The new separation replaces the primary one only if the primary job
/// failed or was cancelled. Only the uploader and administrators have access; everybody has access to anonymous
/// uploads.
#[utoipa::path(post, path = "/songs/{id}/separate", tag = "jobs",
    params(("id" = u64, Path)),
    request_body = CreateSeparation,
    responses(
        (status = 200, body = Answer<JobData>),
        (status = 409, description = "The song has too many separations"),
        (status = 422),
        (status = 429),
    )
)]
pub(crate) async fn create(
    state: State,
    auth: RequestAuth,
    Path(id): Path<String>,
    body: Result<JsonOrForm<CreateSeparation>, ApiError>,
) -> Result<Answer<JobData>, ApiError> {
    let (named, client, app) = (id, auth.client.clone(), Arc::clone(&state));
    let look = move |view: &View, caller: &Caller| {
        let song = song_to_change(view, caller, &named)?;
        let JsonOrForm(new) = body?;
        let own = view.job(song.job)?.ok_or_else(|| no_job(&song.job.to_string()))?;
        let JobSpec::Separation(own) = own.spec;
        let model = new.model.clone().filter(|model| !model.is_empty()).unwrap_or(own.model);
        let model = required_model(view, &app, &model)?;
        let selection = new.selection(&model)?;
        let formats = new.formats.as_ref().filter(|formats| !formats.is_empty());
        let formats = formats.map_or(Ok(own.formats), |formats| formats_of(&formats.join(",")))?;
        let priority = new.priority.as_deref().filter(|word| !word.is_empty()).map(priority_of).transpose()?;
        Ok(Separate {
            song: song.id,
            actor: caller.actor(),
            separation: SeparationSpec {
                plan: Plan {
                    frames: song.frames,
                    segments: (app.segments)(&model, song.frames),
                    segments_per_task: app.segments_per_task,
                },
                model: model.name,
                formats,
                selection,
            },
            job: JobOptions {
                max_attempts: app.max_attempts,
                priority: priority.unwrap_or_default(),
                owner: owner_of(&client, caller.user()),
                jobs_per_owner: app.limits.jobs_per_user,
                external: false,
            },
            at: now(),
        })
    };
    let command = state.read_for(&auth, look).await?;
    match state.cluster.propose(command).await?? {
        Applied::Job(job) => shown(state, &auth, job.to_string(), false).await,
        other => Err(ApiError::unexpected("separating a song", &other)),
    }
}

/// Deletes a separation of a song, with its files unless another song has the same separation.
///
/// The primary separation cannot be deleted. Only the uploader and administrators have access; everybody has access to
/// anonymous uploads.
#[utoipa::path(delete, path = "/songs/{id}/separations/{job}", tag = "jobs",
    params(("id" = u64, Path), ("job" = u64, Path)),
    responses(
        (status = 200, body = Answer<Empty>),
        (status = 409, description = "This is the primary separation"),
    )
)]
pub(crate) async fn delete(
    state: State,
    auth: RequestAuth,
    Path((id, job)): Path<(String, String)>,
) -> Result<Answer<Empty>, ApiError> {
    let look = move |view: &View, caller: &Caller| Ok((song_to_change(view, caller, &id)?.id, caller.actor()));
    let (song, actor) = state.read_for(&auth, look).await?;
    let job = job_id(&job)?;
    state.cluster.propose(DropSeparation { song, actor, job }).await??;
    Ok(Answer::with(Empty {}))
}

//! The separations of a song: the one that its upload set going, and others with another model, into other files or
//! into other stems.

use std::collections::BTreeMap;

use axum::extract::Path;
use serde::{Deserialize, Serialize};
use state::View;
use state::command::{Answer as Applied, Command};
use state::{ACCOUNTS, Job, Plan, Selection, Song};
use utoipa::ToSchema;

use super::job_wishes::{formats_of, priority_of};
use super::jobs::{JobData, JobView, job_id, no_job, shown};
use super::models::{geometry_of, shape_of};
use super::song_view::links;
use super::songs::{song_of, song_to_change};
use crate::accounts::owner_of;
use crate::answer::{Answer, Empty};
use crate::caller::{Caller, Visitor};
use crate::error::ApiError;
use crate::fields::{Faults, Fields};
use crate::{State, now};

/// One separation of a song.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct SeparationView {
    /// The job that does it, without its tasks.
    pub job: JobView,
    /// Whether it decides how far the song is, and is meant where no job is named.
    pub own: bool,
    /// The files there are: stem, then format, then address.
    pub parts: BTreeMap<String, BTreeMap<String, String>>,
}

/// The separations of a song.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct SeparationsData {
    /// The song's own first, then the others, the oldest first.
    pub separations: Vec<SeparationView>,
}

/// A separation that is wanted.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
#[schema(example = json!({ "two_stems": "vocals", "formats": ["flac:24"] }))]
pub(crate) struct SeparationWish {
    /// The model; the one of the song's own separation if it is not given.
    #[schema(example = "htdemucs")]
    model: Option<String>,
    /// The formats, as `POST /songs/upload` takes them; those of the song's own separation if they are not given.
    #[schema(example = json!(["flac:24"]))]
    formats: Option<Vec<String>>,
    /// The stems to make, of those that the model finds; all if neither this nor `two_stems` is given.
    #[schema(example = json!(["drums", "bass", "other"]))]
    stems: Option<Vec<String>>,
    /// One of the model's stems: it is made, and the sum of all others as `no_` and its name.
    #[schema(example = "vocals")]
    two_stems: Option<String>,
    /// How urgent it is: `high`, `normal` or `low`; normal if it is not given.
    #[schema(pattern = "^(high|normal|low)?$")]
    priority: Option<String>,
}

impl SeparationWish {
    /// The stems that are wished for, of these.
    fn selection(&self, model: &str, sources: &[String]) -> Result<Selection, ApiError> {
        let mut faults = Faults::default();
        let mut unknown = |field, name: &str| {
            if !sources.iter().any(|source| source == name) {
                let name: String = name.chars().take(40).collect();
                let message = format!("The model {model} finds no {name:?}, only {}.", sources.join(", "));
                faults.add(field, "no_such_stem", message);
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
                        faults.add("stems", "no_stems", "Name at least one stem, or leave the field out for all.");
                        Selection::All
                    }
                    // All that there are is the same as no choice.
                    all if all == sources.len() => Selection::All,
                    _ => Selection::Only(stems),
                }
            }
            (Some(_), Some(_)) => {
                faults.add("two_stems", "two_choices", "Give either `stems` or `two_stems`, not both.");
                Selection::All
            }
        };
        faults.none()?;
        Ok(selection)
    }
}

/// Lists the separations of a song.
///
/// Whoever the song is for may call this.
#[utoipa::path(get, path = "/songs/{id}/separations", tag = "jobs", params(("id" = u64, Path)), responses(
    (status = 200, body = Answer<SeparationsData>),
    (status = 401, description = "Nobody is let in without an account, or the token opens nothing", body = Answer<Empty>),
    (status = 404, description = "No such song, or none of the caller's", body = Answer<Empty>),
    (status = 503, description = "No majority of the nodes answers", body = Answer<Empty>),
))]
pub(crate) async fn list(
    state: State,
    visitor: Visitor,
    Path(id): Path<String>,
) -> Result<Answer<SeparationsData>, ApiError> {
    let look = move |view: &View, caller: &Caller| {
        let song = song_of(view, caller, &id)?;
        let jobs = view.jobs_of(&song)?.into_iter();
        let separations = jobs.map(|job| described(view, caller, &song, job)).collect::<Result<_, _>>()?;
        Ok(Answer::with(SeparationsData { separations }))
    };
    state.read_for(&visitor, look).await
}

fn described(view: &View, caller: &Caller, song: &Song, job: Job) -> Result<SeparationView, ApiError> {
    let own = job.id == song.job;
    let (address, query) =
        (format!("/songs/{}", song.id), if own { String::new() } else { format!("?job={}", job.id) });
    let stems = job.stems.iter().flat_map(|stems| stems.files.keys());
    let parts = stems.map(|stem| (stem.clone(), links(&address, stem, &query))).collect();
    Ok(SeparationView { own, parts, job: JobView::listed(view, caller, job)? })
}

/// Separates a song once more: with another model, into other formats, or into other stems.
///
/// What is not given is as in the song's own separation. If there is one like it already, it is the answer. It stands for
/// the song itself only where the song's own job failed or was cancelled. The song's uploader and administrators may call
/// this, and of anonymous uploads everybody who is let in.
#[utoipa::path(post, path = "/songs/{id}/separate", tag = "jobs", params(("id" = u64, Path)),
    request_body = SeparationWish,
    responses(
        (status = 200, body = Answer<JobData>),
        (status = 400, description = "No JSON, or no such model, format or priority", body = Answer<Empty>),
        (status = 401, description = "Nobody is let in without an account, or the token opens nothing", body = Answer<Empty>),
        (status = 404, description = "No such song, or none of the caller's", body = Answer<Empty>),
        (status = 409, description = "The song has too many separations", body = Answer<Empty>),
        (status = 422, description = "One error for each stem that the model does not find", body = Answer<Empty>),
        (status = 429, description = "The user has too many open jobs", body = Answer<Empty>),
        (status = 503, description = "No majority of the nodes answers", body = Answer<Empty>),
    )
)]
pub(crate) async fn make(
    state: State,
    visitor: Visitor,
    Path(id): Path<String>,
    wish: Result<Fields<SeparationWish>, ApiError>,
) -> Result<Answer<JobData>, ApiError> {
    let (named, default, client) = (id, state.app.model.clone(), visitor.client.clone());
    let (limits, max_attempts) = (state.app.limits, state.app.max_attempts);
    let segments_per_task = state.app.segments_per_task;
    let look = move |view: &View, caller: &Caller| {
        let song = song_to_change(view, caller, &named)?;
        let Fields(wish) = wish?;
        if !view.has_level(ACCOUNTS)? {
            return Err(ApiError::Busy("upgrading: songs are separated anew when all nodes run this version".into()));
        }
        let own = view.job(song.job)?.ok_or_else(|| no_job(&song.job.to_string()))?;
        let model = wish.model.clone().filter(|model| !model.is_empty()).unwrap_or(own.model);
        let geometry = geometry_of(view, &model, &default)?;
        let sources = shape_of(view, &model)?.map(|(sources, _)| sources).unwrap_or_default();
        let selection = wish.selection(&model, &sources)?;
        let formats = wish.formats.as_ref().filter(|formats| !formats.is_empty());
        let formats = formats.map_or(Ok(own.formats), |formats| formats_of(&formats.join(",")))?;
        let priority = wish.priority.as_deref().filter(|word| !word.is_empty()).map(priority_of).transpose()?;
        Ok(Command::Separate {
            song: song.id,
            asker: caller.asker(),
            plan: Plan { frames: song.frames, segments: geometry.segments(song.frames), segments_per_task },
            model,
            formats,
            selection,
            max_attempts,
            priority: priority.unwrap_or_default(),
            owner: owner_of(&client, caller.user()),
            jobs_per_owner: limits.jobs_per_user,
            at: now(),
        })
    };
    let command = state.read_for(&visitor, look).await?;
    match state.app.cluster.propose(command).await?? {
        Applied::Job(job) => shown(state, &visitor, job.to_string(), false).await,
        other => Err(ApiError::unexpected("separating a song", &other)),
    }
}

/// Removes one of a song's separations, with its files, unless another song has it too. The song's own stays.
///
/// Whoever may delete the song may call this.
#[utoipa::path(delete, path = "/songs/{id}/separations/{job}", tag = "jobs",
    params(("id" = u64, Path), ("job" = u64, Path)),
    responses(
        (status = 200, body = Answer<Empty>),
        (status = 401, description = "Nobody is let in without an account, or the token opens nothing", body = Answer<Empty>),
        (status = 404, description = "No such song or separation, or none of the caller's", body = Answer<Empty>),
        (status = 409, description = "It is the song's own", body = Answer<Empty>),
        (status = 503, description = "No majority of the nodes answers", body = Answer<Empty>),
    )
)]
pub(crate) async fn remove(
    state: State,
    visitor: Visitor,
    Path((id, job)): Path<(String, String)>,
) -> Result<Answer<Empty>, ApiError> {
    let look = move |view: &View, caller: &Caller| Ok((song_to_change(view, caller, &id)?.id, caller.asker()));
    let (song, asker) = state.read_for(&visitor, look).await?;
    let job = job_id(&job)?;
    state.app.cluster.propose(Command::DropSeparation { song, asker, job }).await??;
    Ok(Answer::with(Empty {}))
}

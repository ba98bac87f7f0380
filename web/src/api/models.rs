//! `GET /models`: what songs can be separated with.

use inference::{DEFAULT_MODEL, Geometry, built_in};
use serde::Serialize;
use state::Model;
use state::View;
use utoipa::ToSchema;

use crate::State;
use crate::answer::{Answer, Empty};
use crate::caller::Visitor;
use crate::error::ApiError;

/// A model, for whoever chooses one.
#[derive(Debug, Serialize, ToSchema)]
pub struct ModelView {
    /// Its name, as `POST /songs/upload` takes it.
    #[schema(example = "htdemucs")]
    name: String,
    /// The stems that it makes.
    sources: Vec<String>,
    /// Its files' length in bytes; 0 for one that needs none.
    size: u64,
    /// Whether songs are separated with it when an upload names none.
    default: bool,
    /// When it was added, in milliseconds since 1970; null for one that is built in.
    added_at: Option<u64>,
}

/// All models.
#[derive(Debug, Serialize, ToSchema)]
pub struct ModelsData {
    models: Vec<ModelView>,
}

/// Lists the models that the cluster has.
///
/// Whoever is let in may call this.
#[utoipa::path(get, path = "/models", tag = "models", responses(
    (status = 200, body = Answer<ModelsData>),
    (status = 401, description = "Nobody is let in without an account, or the token opens nothing", body = Answer<Empty>),
))]
pub(crate) async fn list(state: State, visitor: Visitor) -> Result<Answer<ModelsData>, ApiError> {
    let default = state.app.model.clone();
    let models = state
        .read_or_peek_for(&visitor, move |view, _| {
            let is_default = |name: &str| name == default;
            let embedded = built_in(DEFAULT_MODEL).map(|separator| ModelView {
                name: DEFAULT_MODEL.into(),
                sources: separator.sources().to_vec(),
                size: 0,
                default: is_default(DEFAULT_MODEL),
                added_at: None,
            });
            let added = view.models()?.into_iter().map(|model| ModelView {
                default: is_default(&model.name),
                size: model.files.iter().map(|file| file.size).sum(),
                name: model.name,
                sources: model.sources,
                added_at: Some(model.added_at),
            });
            Ok(embedded.into_iter().chain(added).collect())
        })
        .await?;
    Ok(Answer::with(ModelsData { models }))
}

/// What planning a job with a model needs to know: its stems, and how it cuts a song. None if the cluster does not have
/// it.
pub(crate) fn shape_of(view: &View, name: &str) -> Result<Option<(Vec<String>, Geometry)>, ApiError> {
    if let Some(separator) = built_in(name) {
        return Ok(Some((separator.sources().to_vec(), separator.geometry())));
    }
    let shape = |model: Model| {
        let frames = |count: u64| usize::try_from(count).unwrap_or(usize::MAX).max(1);
        (model.sources, Geometry { segment: frames(model.segment), stride: frames(model.stride) })
    };
    Ok(view.model(name)?.map(shape))
}

/// How the model that was asked for cuts a song.
pub(crate) fn geometry_of(view: &View, name: &str, default: &str) -> Result<Geometry, ApiError> {
    if let Some((_, geometry)) = shape_of(view, name)? {
        return Ok(geometry);
    }
    let models = view.models()?.into_iter().map(|model| model.name);
    let known: Vec<String> = [DEFAULT_MODEL.to_owned()].into_iter().chain(models).collect();
    let name: String = name.chars().take(64).collect();
    let which = if name == default { "The model that this node uses" } else { "The model" };
    Err(ApiError::Malformed(format!(
        "{which}, {name:?}, is not in the cluster; here are {}. `node model fetch {name}` or `node model import FILE`, \
         with the node's --id and --cluster, adds one.",
        known.join(", ")
    )))
}

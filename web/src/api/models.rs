//! `GET /models`: the models with which songs can be separated.

use serde::Serialize;
use state::{Model, View};
use utoipa::ToSchema;

use crate::app::{App, State};
use crate::auth::request_auth::RequestAuth;
use crate::http::answer::Answer;
use crate::http::error::ApiError;

/// A model.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ModelView {
    /// The name, as `POST /songs/upload` takes it.
    #[schema(example = "htdemucs")]
    name: String,
    /// The stems that the model separates.
    sources: Vec<String>,
    /// The size of the model's files in bytes; 0 for a built-in model.
    size: u64,
    /// Whether uploads that name no model use this one.
    default: bool,
    /// When the model was added, in milliseconds since 1970; null for a built-in model.
    added_at: Option<u64>,
}

/// All models.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ModelsData {
    models: Vec<ModelView>,
}

impl ModelView {
    fn of(model: Model, app: &App, built_in: bool) -> Self {
        Self {
            default: model.name == app.default_model,
            name: model.name,
            sources: model.sources,
            size: model.files.iter().map(|file| file.size).sum(),
            added_at: (!built_in).then_some(model.added_at),
        }
    }
}

/// Lists the models of the cluster.
#[utoipa::path(get, path = "/models", tag = "models", responses((status = 200, body = Answer<ModelsData>)))]
pub(crate) async fn list(state: State, auth: RequestAuth) -> Result<Answer<ModelsData>, ApiError> {
    let models = state.read_or_peek_for(&auth, |view, _| Ok(view.models()?)).await?;
    let built_in = state.built_in_models.iter().map(|model| ModelView::of(model.clone(), &state, true));
    let added = models.into_iter().map(|model| ModelView::of(model, &state, false));
    Ok(Answer::with(ModelsData { models: built_in.chain(added).collect() }))
}

/// The model with this name, if the cluster has it.
pub(crate) fn model_named(view: &View, app: &App, name: &str) -> Result<Option<Model>, ApiError> {
    match app.built_in_models.iter().find(|model| model.name == name) {
        Some(model) => Ok(Some(model.clone())),
        None => Ok(view.model(name)?),
    }
}

/// The model with this name, or an error that lists the models of the cluster.
pub(crate) fn required_model(view: &View, app: &App, name: &str) -> Result<Model, ApiError> {
    if let Some(model) = model_named(view, app, name)? {
        return Ok(model);
    }
    let added = view.models()?;
    let known: Vec<&str> = app.built_in_models.iter().chain(&added).map(|model| model.name.as_str()).collect();
    let which = if name == app.default_model { "this node's default model" } else { "the model" };
    let name: String = name.chars().take(64).collect();
    Err(ApiError::Malformed(format!(
        "The cluster does not have {which} {name:?}. It has: {}. Add a model with `node model fetch {name}` or \
         `node model import FILE`, and the node's --id and --cluster.",
        known.join(", ")
    )))
}

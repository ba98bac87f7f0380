//! The endpoints of the JSON API, and its OpenAPI description.
//!
//! A file holds the handlers of one resource. Other files hold what a resource needs that is an idea of its own (the
//! form of an upload, the view of a song), or what several resources share (how an address names a song, the parameters
//! of a separation).
//!
//! `endpoints()` lists every endpoint in one line, with the callers who have access to it. The path and the method
//! stand in the handler's `#[utoipa::path]`. The router, the description and the check of the access follow from these
//! two.

mod artists;
pub(crate) mod auth;
pub mod cluster;
pub(crate) mod cover;
mod credits;
mod description;
mod endpoints;
mod events;
pub(crate) mod favourites;
pub(crate) mod files;
mod health;
mod idempotency;
mod job_log;
mod job_params;
mod job_search;
mod jobs;
mod links;
mod mix;
mod models;
pub(crate) mod parts;
pub(crate) mod playlist_entries;
pub(crate) mod playlists;
mod separations;
mod sessions;
mod shares;
mod song_fields;
pub(crate) mod song_ref;
pub(crate) mod song_view;
pub(crate) mod songs;
mod stats;
mod stems;
mod tokens;
mod upload;
mod upload_form;
mod upload_result;
mod users;
pub mod webhooks;

use std::sync::Arc;

use axum::{Json, Router};
use serde::Deserialize;
use serde_json::Value;
use utoipa::{IntoParams, OpenApi};
use utoipa_axum::routes;

use self::description::{Setting, complete};
use self::endpoints::Endpoints;
use crate::app::{AppState, State};
use crate::auth::access::Access::{Administrators, ExternalWorkers, Guests, Link, Public, Sessions, Users};
use crate::auth::accounts::Accounts;
use crate::http::error::ApiError;

/// A page of a list, newest entries first.
#[derive(Debug, Clone, Copy, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct PageQuery {
    /// `next` of the previous page.
    #[param(value_type = Option<String>, pattern = "^[0-9]{1,19}$")]
    #[serde(alias = "before")]
    pub(crate) cursor: Option<u64>,
    /// The most entries on the page, 1 to 200. The default is 50.
    pub(crate) limit: Option<usize>,
    /// `true` reads the state of this node, which may lag behind. This works without a majority.
    #[serde(default)]
    pub(crate) stale: bool,
}

/// How new the response must be.
#[derive(Debug, Clone, Copy, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct ReadQuery {
    /// `true` reads the state of this node, which may lag behind. This works without a majority.
    #[serde(default)]
    pub(crate) stale: bool,
}

impl PageQuery {
    fn limit(self) -> usize {
        page_limit(self.limit)
    }
}

/// The most entries on a page for a requested limit.
fn page_limit(requested: Option<usize>) -> usize {
    requested.unwrap_or(50).clamp(1, 200)
}

/// The error for an id without a resource that the caller has access to.
fn no_such(what: &'static str, id: &str) -> ApiError {
    ApiError::NoSuch { what, id: id.chars().take(20).collect() }
}

/// The id in a path segment.
fn number_of(what: &'static str, text: &str) -> Result<u64, ApiError> {
    text.parse().map_err(|_| no_such(what, text))
}

/// Every endpoint and its access.
fn endpoints() -> Endpoints {
    Endpoints::new(Description::openapi())
        // Accounts.
        .add(Public, routes!(auth::register))
        .add(Public, routes!(auth::login))
        .add(Public, routes!(auth::logout))
        .add(Public, routes!(auth::me))
        .add(Administrators, routes!(users::list))
        .add(Users, routes!(users::get, users::update, users::delete))
        .add(Users, routes!(sessions::list, sessions::end_all))
        .add(Users, routes!(sessions::end))
        .add(Users, routes!(tokens::list))
        .add(Sessions, routes!(tokens::create))
        .add(Users, routes!(tokens::revoke))
        .add(Users, routes!(webhooks::list))
        .add(Sessions, routes!(webhooks::create))
        .add(Sessions, routes!(webhooks::update))
        .add(Users, routes!(webhooks::delete))
        .add(Users, routes!(webhooks::deliveries))
        // Songs and their files.
        .add(Guests, routes!(songs::list))
        .add(Guests, routes!(upload::upload))
        .add(Guests, routes!(songs::get, songs::update, songs::delete))
        .add(Guests, routes!(files::file))
        .add(Guests, routes!(cover::get, cover::put, cover::delete))
        .add(Guests, routes!(mix::mix))
        .add(Guests, routes!(stems::all))
        .add(Guests, routes!(separations::list))
        .add(Guests, routes!(separations::create))
        .add(Guests, routes!(separations::delete))
        .add(ExternalWorkers, routes!(upload_result::upload_result))
        // Shares and links.
        .add(Users, routes!(shares::list, shares::create))
        .add(Users, routes!(shares::delete))
        .add(Users, routes!(links::list, links::create))
        .add(Users, routes!(links::delete))
        .add(Link, routes!(links::song))
        .add(Link, routes!(files::file_by_link))
        .add(Link, routes!(cover::get_by_link))
        .add(Link, routes!(mix::mix_by_link))
        .add(Link, routes!(stems::all_by_link))
        // The library.
        .add(Guests, routes!(artists::artists))
        .add(Guests, routes!(artists::albums))
        .add(Guests, routes!(artists::genres))
        .add(Users, routes!(favourites::add, favourites::remove))
        .add(Guests, routes!(favourites::play))
        .add(Guests, routes!(playlists::list))
        .add(Users, routes!(playlists::create))
        .add(Guests, routes!(playlists::get))
        .add(Users, routes!(playlists::update, playlists::delete))
        .add(Users, routes!(playlist_entries::add))
        .add(Users, routes!(playlist_entries::remove))
        .add(Users, routes!(playlist_entries::reorder))
        .add(Users, routes!(shares::list_of_playlist, shares::create_of_playlist))
        .add(Users, routes!(shares::delete_of_playlist))
        // Jobs.
        .add(Guests, routes!(jobs::list))
        .add(Guests, routes!(jobs::get, jobs::update))
        .add(Guests, routes!(jobs::cancel))
        .add(Guests, routes!(jobs::retry))
        .add(Guests, routes!(job_log::log))
        .add(Guests, routes!(events::of_job))
        .add(Guests, routes!(stats::series))
        // The cluster and this node.
        .add(Guests, routes!(events::all))
        .add(Guests, routes!(models::list))
        .add(Guests, routes!(cluster::cluster))
        .add(Public, routes!(health::alive))
        .add(Public, routes!(health::ready))
        .add(Public, routes!(health::metrics))
        .add(Public, routes!(openapi))
}

/// The router of the endpoints, and their description for a cluster with these settings.
pub(crate) fn router(accounts: &Accounts) -> (Router<Arc<AppState>>, Value) {
    let (router, document) = endpoints().finish();
    (router, complete(document, Setting { anonymous: accounts.anonymous, https: accounts.https }))
}

/// The frame of the description.
#[derive(OpenApi)]
#[openapi(
    info(
        title = "Quartet",
        description = "Quartet separates songs into stems. Every node of a cluster answers every request. JSON \
                       responses have the form `{ \"ok\": bool, \"errors\": [{ \"code\", \"message\" }], \
                       \"data\": ... }`. Files are returned without this envelope. Users authenticate with a session's cookie or with \
                       \"Authorization: Bearer TOKEN\". Requests for resources that you cannot access return 404. \
                       OpenSubsonic players use `/rest/`, which that protocol's own specification describes."
    ),
    tags(
        (name = "accounts", description = "Users, sessions and tokens"),
        (name = "songs", description = "Uploading, finding, changing and deleting songs"),
        (name = "files", description = "Songs, stems, mixes and covers as files"),
        (name = "sharing", description = "Sharing songs with users, with everybody, or by link"),
        (name = "playlists", description = "Playlists and their entries"),
        (name = "listening", description = "Favourites and plays"),
        (name = "jobs", description = "Separations, their progress, and statistics"),
        (name = "hooks", description = "Web hooks for finished jobs"),
        (name = "events", description = "Live updates as server-sent events"),
        (name = "models", description = "Models for separation"),
        (name = "cluster", description = "The nodes of the cluster"),
        (name = "health", description = "Health, metrics and this description"),
    )
)]
struct Description;

/// Returns this description of the API as OpenAPI. The page `/api/` shows it and sends requests.
#[utoipa::path(get, path = "/api/openapi.json", tag = "health", responses(
    (status = 200, description = "The description", body = Object),
))]
pub(crate) async fn openapi(state: State) -> Json<Arc<Value>> {
    Json(Arc::clone(&state.description))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn page_limits_are_clamped() {
        for (requested, limit) in [(None, 50), (Some(0), 1), (Some(7), 7), (Some(1_000_000), 200)] {
            assert_eq!(PageQuery { cursor: None, limit: requested, stale: false }.limit(), limit);
        }
    }
}

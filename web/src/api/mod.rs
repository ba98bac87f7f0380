//! The interface's resources, and its description for programs.
//!
//! A resource is a file with its handlers. Beside them lies what a resource needs that is an idea of its own (an upload's
//! form, how a song is shown), or that several of them share (the ways to a song, what can be asked of a separation).
//!
//! Each says in its description who may call it. "Whoever is let in" is everybody who reaches the port, or, where
//! anonymous use is off, whoever has an account.

pub mod auth;
pub mod cluster;
pub mod cover;
mod credits;
mod description;
pub mod entries;
pub mod files;
pub mod groups;
pub mod health;
pub mod hooks;
mod job_search;
mod job_wishes;
pub mod jobs;
pub mod lines;
pub mod links;
pub mod listening;
pub mod mix;
pub mod models;
mod once;
pub mod parts;
pub mod playlists;
pub mod result;
pub mod separations;
pub mod series;
pub mod sessions;
pub mod shares;
mod song_fields;
pub mod song_view;
pub mod songs;
pub mod stems;
pub mod tokens;
pub mod upload;
mod upload_form;
pub mod users;
pub mod way;

use axum::Json;
use serde::Deserialize;
use serde_json::Value;
use utoipa::{IntoParams, OpenApi};

use self::description::{Setting, complete};
use crate::State;
use crate::error::ApiError;

/// Which entries of a list are asked for; newest come first.
#[derive(Debug, Clone, Copy, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct Page {
    /// `next` of the page before.
    #[param(value_type = Option<String>, pattern = "^[0-9]{1,19}$")]
    #[serde(alias = "before")]
    pub cursor: Option<u64>,
    /// At most this many, 1 to 200; 50 if it is not given.
    pub limit: Option<usize>,
    /// With `true`, what the asked node knows, which may be older than what another has answered; this works without a
    /// majority.
    #[serde(default)]
    pub stale: bool,
}

/// How new an answer has to be.
#[derive(Debug, Clone, Copy, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct Freshness {
    /// With `true`, what the asked node knows, which may be older than what another has answered; this works without a
    /// majority.
    #[serde(default)]
    pub stale: bool,
}

impl Page {
    fn limit(self) -> usize {
        page_limit(self.limit)
    }
}

/// How many entries a page has that was asked to have so many.
fn page_limit(asked: Option<usize>) -> usize {
    asked.unwrap_or(50).clamp(1, 200)
}

/// What is said where nothing of this kind has the number that a path names, or nothing of the caller's.
fn no_such(what: &'static str, id: &str) -> ApiError {
    ApiError::NoSuch { what, id: id.chars().take(20).collect() }
}

/// A number in a path; what is none names nothing.
fn number_of(what: &'static str, text: &str) -> Result<u64, ApiError> {
    text.parse().map_err(|_| no_such(what, text))
}

/// The description of the interface.
#[derive(OpenApi)]
#[openapi(
    info(
        title = "Quartet",
        description = "Songs in, stems out. Any node takes any request. JSON answers are \
                       `{ \"ok\": bool, \"errors\": [{ \"code\", \"message\" }], \"data\": ... }`; files come as files. \
                       Users come with a session's cookie or with \"Authorization: Bearer TOKEN\". What is not \
                       theirs answers as what never was. Whoever is let in: everybody who reaches the port, or, where \
                       anonymous use is off, whoever has an account. Players that speak OpenSubsonic are answered below \
                       /rest/, as that protocol's own description says."
    ),
    tags(
        (name = "accounts", description = "Users, their sessions and their tokens"),
        (name = "songs", description = "Taking songs in, finding, changing and deleting them"),
        (name = "files", description = "Songs, stems, mixes and pictures, as files"),
        (name = "sharing", description = "Songs for others: shares, and links for whoever has them"),
        (name = "playlists", description = "Songs in an order"),
        (name = "listening", description = "Favourites and plays"),
        (name = "jobs", description = "Separations, how far they are, and figures over time"),
        (name = "hooks", description = "Addresses that are told when jobs end"),
        (name = "events", description = "What changes, live"),
        (name = "models", description = "What songs can be separated with"),
        (name = "cluster", description = "The nodes"),
        (name = "health", description = "What watches a node, and this description"),
    ),
    paths(
        auth::register,
        auth::login,
        auth::logout,
        auth::me,
        users::list,
        users::one,
        users::change,
        users::remove,
        sessions::list,
        sessions::end,
        sessions::end_all,
        tokens::list,
        tokens::make,
        tokens::revoke,
        hooks::list,
        hooks::make,
        hooks::change,
        hooks::remove,
        hooks::deliveries,
        shares::list,
        shares::share,
        shares::unshare,
        links::list,
        links::make,
        links::remove,
        links::song,
        files::file_by_link,
        cover::get_by_link,
        mix::mix_by_link,
        songs::list,
        songs::one,
        songs::change,
        songs::remove,
        listening::play,
        listening::favour,
        listening::forget,
        groups::artists,
        groups::albums,
        groups::genres,
        playlists::list,
        playlists::make,
        playlists::one,
        playlists::change,
        playlists::remove,
        entries::add,
        entries::take,
        entries::order,
        shares::list_of_playlist,
        shares::share_playlist,
        shares::unshare_playlist,
        upload::upload,
        result::upload_result,
        separations::list,
        separations::make,
        separations::remove,
        stems::all,
        stems::all_by_link,
        files::file,
        cover::get,
        cover::put,
        cover::remove,
        mix::mix,
        jobs::list,
        jobs::one,
        jobs::change,
        jobs::cancel,
        jobs::retry,
        lines::log,
        series::series,
        models::list,
        crate::events::all,
        crate::events::of_job,
        cluster::cluster,
        health::alive,
        health::ready,
        health::metrics,
        openapi,
    )
)]
struct Description;

/// The description of the interface of a cluster that is configured so.
fn described(setting: Setting) -> Value {
    // What a type describes is always JSON; a description that were not would be found by every test.
    complete(serde_json::to_value(Description::openapi()).unwrap_or_default(), setting)
}

/// Describes the interface for programs, as OpenAPI. `/api/` is a page that shows it and tries it out.
///
/// Whoever reaches the port may call this.
#[utoipa::path(get, path = "/api/openapi.json", tag = "health", security(()), responses(
    (status = 200, description = "The description", body = Object),
))]
pub(crate) async fn openapi(state: State) -> Json<Value> {
    let accounts = &state.app.accounts;
    Json(described(Setting { anonymous: accounts.anonymous, https: accounts.https }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_have_sensible_sizes() {
        for (asked, given) in [(None, 50), (Some(0), 1), (Some(7), 7), (Some(1_000_000), 200)] {
            assert_eq!(Page { cursor: None, limit: asked, stale: false }.limit(), given);
        }
    }
}

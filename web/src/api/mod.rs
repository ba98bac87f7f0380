//! The interface's resources, one file each, and its description for programs.
//!
//! Each says in its description who may call it. "Whoever is let in" is everybody who reaches the port, or, where
//! anonymous use is off, whoever has an account.

pub mod auth;
pub mod cluster;
pub mod files;
pub mod groups;
pub mod health;
pub mod hooks;
pub mod jobs;
pub mod lines;
pub mod links;
pub mod listening;
pub mod mix;
pub mod models;
pub mod playlists;
pub mod result;
mod search;
pub mod separations;
pub mod series;
pub mod sessions;
pub mod shares;
pub mod songs;
pub mod stems;
pub mod tokens;
pub mod upload;
pub mod users;

use axum::Json;
use serde::Deserialize;
use utoipa::{IntoParams, OpenApi};

use crate::error::ApiError;

/// Which entries of a list are asked for; newest come first.
#[derive(Debug, Clone, Copy, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct Page {
    /// Only entries with a smaller id; for the next page, the last one's id.
    pub before: Option<u64>,
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

/// A number in a path; what is none names nothing.
pub(crate) fn number_of(what: &'static str, text: &str) -> Result<u64, ApiError> {
    text.parse().map_err(|_| ApiError::NoSuch { what, id: text.chars().take(20).collect() })
}

impl Page {
    fn limit(self) -> usize {
        self.limit.unwrap_or(50).clamp(1, 200)
    }
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
                       anonymous use is off, whoever has an account."
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
        files::cover_by_link,
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
        playlists::add,
        playlists::take,
        playlists::order,
        playlists::shares,
        playlists::share,
        playlists::unshare,
        upload::upload,
        result::upload_result,
        separations::list,
        separations::make,
        separations::remove,
        stems::all,
        stems::all_by_link,
        files::file,
        files::cover,
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
    )
)]
struct Description;

/// Answers with the description of the interface.
pub(crate) async fn openapi() -> Json<utoipa::openapi::OpenApi> {
    Json(Description::openapi())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]

    use super::*;

    #[test]
    fn every_path_is_described() {
        let described = serde_json::to_value(Description::openapi()).unwrap();
        for path in [
            "/songs/",
            "/songs/upload",
            "/songs/{id}",
            "/songs/{hash}/upload_result",
            "/songs/{id}/{file}",
            "/songs/{id}/mix.mp3",
            "/songs/{id}/cover",
            "/songs/{id}/plays",
            "/songs/{id}/favourite",
            "/artists",
            "/albums",
            "/genres",
            "/playlists/",
            "/playlists/{id}",
            "/playlists/{id}/songs",
            "/playlists/{id}/songs/{entry}",
            "/playlists/{id}/order",
            "/playlists/{id}/shares",
            "/playlists/{id}/shares/{with}",
            "/jobs/",
            "/jobs/{id}",
            "/jobs/{id}/cancel",
            "/jobs/{id}/retry",
            "/jobs/{id}/log",
            "/jobs/{id}/events",
            "/stats/series",
            "/songs/{id}/separate",
            "/songs/{id}/separations",
            "/songs/{id}/separations/{job}",
            "/songs/{id}/stems.zip",
            "/users/{id}/webhooks",
            "/users/{id}/webhooks/{hook}",
            "/users/{id}/webhooks/{hook}/deliveries",
            "/events",
            "/models",
            "/cluster",
            "/healthz",
            "/readyz",
            "/metrics",
        ] {
            assert!(described["paths"][path].is_object(), "{path} is not described");
        }
    }

    #[test]
    fn pages_have_sensible_sizes() {
        for (asked, given) in [(None, 50), (Some(0), 1), (Some(7), 7), (Some(1_000_000), 200)] {
            assert_eq!(Page { before: None, limit: asked, stale: false }.limit(), given);
        }
    }
}

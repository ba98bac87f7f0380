//! The interface's resources, one file each, and its description for programs.
//!
//! In this version there are no accounts: everything here may be called by anyone who reaches the port, but for the
//! delivery of stems, which needs a worker's token.

pub mod cluster;
pub mod files;
pub mod health;
pub mod jobs;
pub mod mix;
pub mod models;
pub mod result;
pub mod songs;
pub mod upload;

use axum::Json;
use serde::Deserialize;
use utoipa::{IntoParams, OpenApi};

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
                       In this version there are no accounts: anyone who reaches the port may call everything, \
                       but the delivery of stems, which needs a worker's token."
    ),
    paths(
        songs::list,
        songs::one,
        songs::remove,
        upload::upload,
        result::upload_result,
        files::file,
        files::cover,
        mix::mix,
        jobs::list,
        jobs::one,
        jobs::change,
        jobs::cancel,
        jobs::retry,
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
            "/jobs/",
            "/jobs/{id}",
            "/jobs/{id}/cancel",
            "/jobs/{id}/retry",
            "/jobs/{id}/events",
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

//! Every address of the interface, what answers there, and what surrounds it all.

use std::sync::Arc;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::http::Method;
use axum::middleware::{from_fn, from_fn_with_state};
use axum::routing::{delete, get, patch, post, put};

use crate::error::ApiError;
use crate::fields::FIELDS_BYTES;
use crate::{App, Shared, api, conditional, events, guard, subsonic, ui};

/// The whole interface.
pub fn router(app: App) -> Router {
    let shared = Arc::new(Shared::new(app));
    Router::new()
        .route("/auth/register", post(api::auth::register))
        .route("/auth/login", post(api::auth::login))
        .route("/auth/logout", post(api::auth::logout))
        .route("/auth/me", get(api::auth::me))
        .route("/users", get(api::users::list))
        .route("/users/", get(api::users::list))
        .route("/users/{id}", get(api::users::one).patch(api::users::change).delete(api::users::remove))
        .route("/users/{id}/sessions", get(api::sessions::list).delete(api::sessions::end_all))
        .route("/users/{id}/sessions/{session}", delete(api::sessions::end))
        .route("/users/{id}/tokens", get(api::tokens::list).post(api::tokens::make))
        .route("/users/{id}/tokens/{token}", delete(api::tokens::revoke))
        .route("/users/{id}/webhooks", get(api::hooks::list).post(api::hooks::make))
        .route("/users/{id}/webhooks/{hook}", patch(api::hooks::change).delete(api::hooks::remove))
        .route("/users/{id}/webhooks/{hook}/deliveries", get(api::hooks::deliveries))
        .route("/shared/{secret}", get(api::links::song))
        .route("/shared/{secret}/mix.mp3", get(api::mix::mix_by_link))
        .route("/shared/{secret}/stems.zip", get(api::stems::all_by_link))
        .route("/shared/{secret}/cover", get(api::files::cover_by_link))
        .route("/shared/{secret}/{file}", get(api::files::file_by_link))
        .route("/songs", get(api::songs::list))
        .route("/songs/", get(api::songs::list))
        .route("/songs/upload", post(api::upload::upload))
        .route("/songs/{id}", get(api::songs::one).patch(api::songs::change).delete(api::songs::remove))
        .route("/songs/{id}/shares", get(api::shares::list).post(api::shares::share))
        .route("/songs/{id}/shares/{with}", delete(api::shares::unshare))
        .route("/songs/{id}/links", get(api::links::list).post(api::links::make))
        .route("/songs/{id}/links/{link}", delete(api::links::remove))
        .route("/songs/{id}/upload_result", post(api::result::upload_result))
        .route("/songs/{id}/separate", post(api::separations::make))
        .route("/songs/{id}/separations", get(api::separations::list))
        .route("/songs/{id}/separations/{job}", delete(api::separations::remove))
        .route("/songs/{id}/stems.zip", get(api::stems::all))
        .route("/songs/{id}/mix.mp3", get(api::mix::mix))
        .route("/songs/{id}/cover", get(api::files::cover).put(api::cover::put).delete(api::cover::remove))
        .route("/songs/{id}/{file}", get(api::files::file))
        .route("/songs/{id}/plays", post(api::listening::play))
        .route("/songs/{id}/favourite", put(api::listening::favour).delete(api::listening::forget))
        .route("/artists", get(api::groups::artists))
        .route("/albums", get(api::groups::albums))
        .route("/genres", get(api::groups::genres))
        .route("/playlists", get(api::playlists::list).post(api::playlists::make))
        .route("/playlists/", get(api::playlists::list).post(api::playlists::make))
        .route("/playlists/{id}", get(api::playlists::one).patch(api::playlists::change).delete(api::playlists::remove))
        .route(
            "/playlists/{id}/songs",
            post(api::entries::add).layer(DefaultBodyLimit::max(api::entries::ENTRIES_BYTES)),
        )
        .route("/playlists/{id}/songs/{entry}", delete(api::entries::take))
        .route(
            "/playlists/{id}/order",
            put(api::entries::order).layer(DefaultBodyLimit::max(api::entries::ENTRIES_BYTES)),
        )
        .route("/playlists/{id}/shares", get(api::shares::list_of_playlist).post(api::shares::share_playlist))
        .route("/playlists/{id}/shares/{with}", delete(api::shares::unshare_playlist))
        .route("/jobs", get(api::jobs::list))
        .route("/jobs/", get(api::jobs::list))
        .route("/jobs/{id}", get(api::jobs::one).patch(api::jobs::change))
        .route("/jobs/{id}/cancel", post(api::jobs::cancel))
        .route("/jobs/{id}/retry", post(api::jobs::retry))
        .route("/jobs/{id}/log", get(api::lines::log))
        .route("/stats/series", get(api::series::series))
        .route("/jobs/{id}/events", get(events::of_job))
        .route("/models", get(api::models::list))
        .route("/events", get(events::all))
        .route("/cluster", get(api::cluster::cluster))
        .route("/healthz", get(api::health::alive))
        .route("/readyz", get(api::health::ready))
        .route("/metrics", get(api::health::metrics))
        .route("/api/openapi.json", get(api::openapi))
        .route(
            "/rest/{method}",
            get(subsonic::answer).post(subsonic::answer).layer(DefaultBodyLimit::max(api::entries::ENTRIES_BYTES)),
        )
        .fallback(ui::serve)
        .method_not_allowed_fallback(async |method: Method| ApiError::Method(method.to_string()))
        .layer(DefaultBodyLimit::max(FIELDS_BYTES))
        .layer(from_fn(conditional::tag))
        .layer(from_fn_with_state(Arc::clone(&shared), guard::guard))
        .with_state(shared)
}

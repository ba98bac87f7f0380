//! The router: the API, the OpenSubsonic protocol and the page, surrounded by the middleware.

use std::sync::Arc;

use axum::Router;
use axum::http::Method;
use axum::middleware::from_fn;
use axum::routing::get;

use crate::app::{App, AppState};
use crate::http::error::ApiError;
use crate::http::etag;
use crate::{api, middleware, page, subsonic};

/// The whole interface of a node.
pub fn router(app: App) -> Router {
    let (endpoints, description) = api::router(&app.accounts);
    let state = Arc::new(AppState::new(app, description));
    let router = endpoints
        .route("/rest/{method}", get(subsonic::answer).post(subsonic::answer))
        .fallback(page::serve)
        .method_not_allowed_fallback(async |method: Method| ApiError::Method(method.to_string()))
        .layer(from_fn(etag::tag));
    middleware::surround(router, &state).with_state(state)
}

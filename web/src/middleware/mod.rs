//! What surrounds every endpoint. From the outside in: the request id, metrics, the credentials of the request,
//! security headers, the removal of invalid cookies, and the refusal of requests from other sites.

mod credentials;
mod cross_site;
mod metrics;
mod request_id;
mod security_headers;

use std::sync::Arc;

use axum::Router;
use axum::middleware::{from_fn, from_fn_with_state};

use crate::app::AppState;

/// The router with all middleware. A layer that is added later surrounds those before it.
pub(crate) fn surround(router: Router<Arc<AppState>>, state: &Arc<AppState>) -> Router<Arc<AppState>> {
    router
        .layer(from_fn(cross_site::refuse))
        .layer(from_fn(credentials::remove_invalid_cookie))
        .layer(from_fn(security_headers::add))
        .layer(from_fn_with_state(Arc::clone(state), credentials::read))
        .layer(from_fn(metrics::record))
        .layer(from_fn(request_id::assign))
}

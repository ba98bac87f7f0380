//! Security headers, and the default caching of responses.

use axum::extract::Request;
use axum::http::{HeaderName, HeaderValue, header};
use axum::middleware::Next;
use axum::response::Response;

use crate::auth::request_auth::RequestAuth;

/// The page may load and run only files of this node.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; media-src 'self'; \
                      connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'";

/// After one visit over HTTPS, browsers use only HTTPS for a year.
const HTTPS_ONLY: &str = "max-age=31536000";

/// Adds the headers to every response.
pub(super) async fn add(request: Request, next: Next) -> Response {
    let https = request.extensions().get::<RequestAuth>().is_some_and(|auth| auth.client.https);
    let mut response = next.run(request).await;
    let status = response.status();
    let headers = response.headers_mut();
    for (name, value) in [
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::REFERRER_POLICY, "no-referrer"),
        (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    if https {
        headers.insert(header::STRICT_TRANSPORT_SECURITY, HeaderValue::from_static(HTTPS_ONLY));
    }
    let no_store = HeaderValue::from_static("no-store");
    if status.is_client_error() || status.is_server_error() {
        headers.insert(header::CACHE_CONTROL, no_store);
    } else {
        // A response without this header describes the current state.
        headers.entry(header::CACHE_CONTROL).or_insert(no_store);
    }
    response
}

//! What surrounds every request: a request id, security headers, a refusal of what other sites' pages send, and
//! numbers for `/metrics`.

use std::time::Instant;

use axum::extract::{MatchedPath, Request};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use uuid::Uuid;

use crate::error::ApiError;

/// Names a request in answers and logs; what the client sent is kept.
const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Nothing but this node's own files may run or be shown in its page.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; media-src 'self'; \
                      connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'";

/// Runs a request within all that.
pub(crate) async fn guard(request: Request, next: Next) -> Response {
    let began = Instant::now();
    let id = request_id(request.headers());
    let method = request.method().clone();
    let route = request.extensions().get::<MatchedPath>().map_or("other", MatchedPath::as_str).to_owned();

    let mut response = if comes_from_another_site(&method, request.headers()) {
        ApiError::CrossSite.into_response()
    } else {
        next.run(request).await
    };

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
    if status.is_client_error() || status.is_server_error() {
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    } else {
        // What says nothing else describes the state of this moment.
        headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    }
    headers.insert(REQUEST_ID, id.clone());

    let took = began.elapsed();
    let labels = [("method", method.to_string()), ("route", route), ("status", status.as_u16().to_string())];
    metrics::counter!("quartet_http_requests_total", &labels).increment(1);
    metrics::histogram!("quartet_http_request_seconds", &labels).record(took.as_secs_f64());
    tracing::debug!(id = ?id, %method, route = labels[1].1, status = status.as_u16(), ms = took.as_millis(), "request");
    response
}

fn request_id(headers: &HeaderMap) -> HeaderValue {
    let sensible = |value: &&HeaderValue| {
        let bytes = value.as_bytes();
        (1..=64).contains(&bytes.len())
            && bytes.iter().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.'))
    };
    headers.get(REQUEST_ID).filter(sensible).cloned().unwrap_or_else(|| {
        HeaderValue::from_str(&Uuid::new_v4().to_string()).unwrap_or(HeaderValue::from_static("unnamed"))
    })
}

/// Whether a browser says that the page of another site sends this and that it may change something. A node has no
/// accounts yet, so whoever reaches its port may change things, but a page that its user happens to visit may not.
fn comes_from_another_site(method: &Method, headers: &HeaderMap) -> bool {
    !method.is_safe() && headers.get("sec-fetch-site").is_some_and(|site| site == "cross-site")
}

//! What surrounds every request: a request id, security headers, a refusal of what other sites' pages send, and
//! numbers for `/metrics`.

use std::time::Instant;

use axum::extract::{MatchedPath, Request};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use storage::request::RequestId;

use crate::error::ApiError;

/// Names a request in answers and in the logs of all nodes; what the client sent is kept if it is sensible.
const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Nothing but this node's own files may run or be shown in its page.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; media-src 'self'; \
                      connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'";

/// A request that is being answered, for as long as this is there: a client that goes away ends it anywhere.
struct InFlight;

impl InFlight {
    fn new() -> Self {
        metrics::gauge!("quartet_http_requests_in_flight").increment(1);
        Self
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        metrics::gauge!("quartet_http_requests_in_flight").decrement(1);
    }
}

/// Runs a request within all that.
pub(crate) async fn guard(request: Request, next: Next) -> Response {
    let id = request.headers().get(REQUEST_ID).and_then(|value| RequestId::new(value.as_bytes()));
    let id = id.unwrap_or_else(RequestId::random);
    let header = HeaderValue::from_str(id.as_str());
    let mut response = id.scope(run(request, next)).await;
    if let Ok(header) = header {
        response.headers_mut().insert(REQUEST_ID, header);
    }
    response
}

async fn run(request: Request, next: Next) -> Response {
    let began = Instant::now();
    let _in_flight = InFlight::new();
    let method = request.method().clone();
    let route = request.extensions().get::<MatchedPath>().map_or("other", MatchedPath::as_str).to_owned();
    let response = if comes_from_another_site(&method, request.headers()) {
        ApiError::CrossSite.into_response()
    } else {
        next.run(request).await
    };
    let response = guarded(response);

    let (took, status) = (began.elapsed(), response.status().as_u16());
    let labels = [("method", known(&method).to_owned()), ("route", route), ("status", status.to_string())];
    metrics::counter!("quartet_http_requests_total", &labels).increment(1);
    metrics::histogram!("quartet_http_request_seconds", &labels[1..2]).record(took.as_secs_f64());
    tracing::debug!(%method, route = labels[1].1, status, ms = took.as_millis(), "answered");
    response
}

/// The method as a label: a client may invent methods, and each label is kept for ever.
fn known(method: &Method) -> &str {
    match *method {
        Method::GET | Method::HEAD | Method::POST | Method::PUT | Method::PATCH | Method::DELETE | Method::OPTIONS => {
            method.as_str()
        }
        _ => "other",
    }
}

/// The response with the headers that each has.
fn guarded(mut response: Response) -> Response {
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
    response
}

/// Whether a browser says that the page of another site sends this and that it may change something. A node has no
/// accounts yet, so whoever reaches its port may change things, but a page that its user happens to visit may not.
fn comes_from_another_site(method: &Method, headers: &HeaderMap) -> bool {
    !method.is_safe() && headers.get("sec-fetch-site").is_some_and(|site| site == "cross-site")
}

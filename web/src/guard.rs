//! What surrounds every request: a request id, who sends it, security headers, a refusal of what other sites' pages
//! send, and numbers for `/metrics`.

use std::sync::Arc;
use std::time::Instant;

use axum::extract::{MatchedPath, Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use net::request::RequestId;

use crate::Shared;
use crate::caller::Visitor;
use crate::client::Client;
use crate::error::ApiError;

/// Names a request in answers and in the logs of all nodes; what the client sent is kept if it is sensible.
const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Nothing but this node's own files may run or be shown in its page.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; media-src 'self'; \
                      connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'";

/// A browser that has once come by HTTPS comes no other way for a year.
const STRICTLY_HTTPS: &str = "max-age=31536000";

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
pub(crate) async fn guard(State(shared): State<Arc<Shared>>, request: Request, next: Next) -> Response {
    let id = request.headers().get(REQUEST_ID).and_then(|value| RequestId::new(value.as_bytes()));
    let id = id.unwrap_or_else(RequestId::random);
    let header = HeaderValue::from_str(id.as_str());
    let mut response = id.scope(run(&shared, request, next)).await;
    if let Ok(header) = header {
        response.headers_mut().insert(REQUEST_ID, header);
    }
    response
}

async fn run(shared: &Shared, mut request: Request, next: Next) -> Response {
    let began = Instant::now();
    let _in_flight = InFlight::new();
    let method = request.method().clone();
    let route = request.extensions().get::<MatchedPath>().map_or("other", MatchedPath::as_str).to_owned();
    let accounts = &shared.app.accounts;
    let (extensions, headers) = (request.extensions(), request.headers());
    let client = Client::of(extensions, headers, request.uri(), &accounts.proxies, accounts.https);
    let visitor = Visitor::new(headers, client);
    let refused =
        !method.is_safe() && !visitor.shows_token() && comes_from_another_site(headers, visitor.client.host.as_deref());
    let response = if refused {
        ApiError::CrossSite.into_response()
    } else {
        request.extensions_mut().insert(visitor.clone());
        next.run(request).await
    };
    let mut response = guarded(response, visitor.client.https);
    // Who logs in just now is given another cookie.
    if visitor.is_stale()
        && !response.headers().contains_key(header::SET_COOKIE)
        && let Some(cookie) = visitor.set_cookie(None)
    {
        response.headers_mut().insert(header::SET_COOKIE, cookie);
    }

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
fn guarded(mut response: Response, https: bool) -> Response {
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
        headers.insert(header::STRICT_TRANSPORT_SECURITY, HeaderValue::from_static(STRICTLY_HTTPS));
    }
    if status.is_client_error() || status.is_server_error() {
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    } else {
        // What says nothing else describes the state of this moment.
        headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    }
    response
}

/// Whether a browser says that the page of another site sends this. Whoever reaches a node may change things there, some
/// of them with a cookie, but a page that its user happens to visit may not.
///
/// Browsers say so themselves, but over plain HTTP only by the page's origin, which must be the host that was asked for.
/// What says neither is no browser, and no cookie is sent without its owner's knowledge.
fn comes_from_another_site(headers: &HeaderMap, host: Option<&str>) -> bool {
    let field = |name: &str| headers.get(name).map(|value| value.to_str().unwrap_or_default());
    match (field("sec-fetch-site"), field("origin")) {
        (Some(site), _) => !matches!(site, "same-origin" | "none"),
        (None, Some(origin)) => origin.split_once("://").map(|(_, of)| of) != host,
        (None, None) => false,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn pages_of_other_sites_are_recognised() {
        for (fields, foreign) in [
            (vec![], false),
            (vec![("sec-fetch-site", "same-origin")], false),
            (vec![("sec-fetch-site", "none")], false),
            (vec![("sec-fetch-site", "same-site")], true),
            (vec![("sec-fetch-site", "cross-site"), ("origin", "http://node:8080")], true),
            (vec![("origin", "http://node:8080")], false),
            (vec![("origin", "https://node:8080")], false),
            (vec![("origin", "http://node:9090")], true),
            (vec![("origin", "http://evil.example")], true),
            (vec![("origin", "null")], true),
        ] {
            let headers = fields.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect();
            assert_eq!(comes_from_another_site(&headers, Some("node:8080")), foreign, "{fields:?}");
        }
    }
}

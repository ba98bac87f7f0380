//! Metrics of requests, and a line in the log for each.

use std::time::Instant;

use axum::extract::{MatchedPath, Request};
use axum::http::Method;
use axum::middleware::Next;
use axum::response::Response;

/// Counts a request as in flight. Dropping it ends the request, also when the client disconnects.
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

/// Runs a request and records it.
pub(super) async fn record(request: Request, next: Next) -> Response {
    let began = Instant::now();
    let _in_flight = InFlight::new();
    let method = request.method().clone();
    let route = request.extensions().get::<MatchedPath>().map_or("other", MatchedPath::as_str).to_owned();
    let response = next.run(request).await;

    let (took, status) = (began.elapsed(), response.status().as_u16());
    let labels = [("method", label(&method).to_owned()), ("route", route), ("status", status.to_string())];
    metrics::counter!("quartet_http_requests_total", &labels).increment(1);
    metrics::histogram!("quartet_http_request_seconds", &labels[1..2]).record(took.as_secs_f64());
    tracing::debug!(%method, route = labels[1].1, status, ms = took.as_millis(), "answered");
    response
}

/// The method as a label. Clients may send any method, and every label uses memory for as long as the node runs.
fn label(method: &Method) -> &str {
    match *method {
        Method::GET | Method::HEAD | Method::POST | Method::PUT | Method::PATCH | Method::DELETE | Method::OPTIONS => {
            method.as_str()
        }
        _ => "other",
    }
}

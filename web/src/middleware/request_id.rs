//! Request ids: they identify a request in its response and in the logs of all nodes.

use axum::extract::Request;
use axum::http::{HeaderName, HeaderValue};
use axum::middleware::Next;
use axum::response::Response;
use net::request::RequestId;

/// The header of the id, in requests and responses.
const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Runs a request with the id that the client sent, if it is valid, or with a random one.
pub(super) async fn assign(request: Request, next: Next) -> Response {
    let id = request.headers().get(REQUEST_ID).and_then(|value| RequestId::new(value.as_bytes()));
    let id = id.unwrap_or_else(RequestId::random);
    let header = HeaderValue::from_str(id.as_str());
    let mut response = id.scope(next.run(request)).await;
    if let Ok(header) = header {
        response.headers_mut().insert(REQUEST_ID, header);
    }
    response
}

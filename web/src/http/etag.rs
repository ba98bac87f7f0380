//! Entity tags for JSON responses: a client that already has a response gets status 304 instead.
//!
//! The tag is the hash of the body, so it is strong, and the same at every node until the response changes. The
//! response is still computed; only its transfer is saved. Files have tags of their own.

use axum::body::{Body, HttpBody, to_bytes};
use axum::extract::Request;
use axum::http::{HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use storage::blobs::Hash;

use crate::http::error::ApiError;
use crate::http::ranges::none_match_hits;

/// Adds a tag to JSON responses to GET and HEAD, and replaces a response that the client has by status 304.
pub(crate) async fn tag(request: Request, next: Next) -> Response {
    let reads = matches!(*request.method(), Method::GET | Method::HEAD);
    let known = request.headers().get(header::IF_NONE_MATCH).cloned();
    let response = next.run(request).await;
    if !reads || !is_untagged_json(&response) {
        return response;
    }
    let (mut head, body) = response.into_parts();
    // The body is in memory already, see `is_untagged_json`.
    let body = match to_bytes(body, usize::MAX).await {
        Ok(body) => body,
        Err(error) => return ApiError::internal("writing a response", &error).into_response(),
    };
    let tag = format!("\"{}\"", Hash::of(&body));
    if let Ok(tag) = HeaderValue::from_str(&tag) {
        head.headers.insert(header::ETAG, tag);
    }
    // Only the client may keep the response, and must revalidate it each time.
    head.headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("private, no-cache"));
    let hit = known.and_then(|known| known.to_str().ok().map(|known| none_match_hits(known, &tag)));
    if hit == Some(true) {
        head.status = StatusCode::NOT_MODIFIED;
        head.headers.remove(header::CONTENT_TYPE);
        head.headers.remove(header::CONTENT_LENGTH);
        return Response::from_parts(head, Body::empty());
    }
    Response::from_parts(head, Body::from(body))
}

/// Whether a response is JSON that is in memory and has no tag. The length of a stream is not known.
fn is_untagged_json(response: &Response) -> bool {
    let headers = response.headers();
    response.status() == StatusCode::OK
        && !headers.contains_key(header::ETAG)
        && headers.get(header::CONTENT_TYPE).is_some_and(|kind| kind.as_bytes().starts_with(b"application/json"))
        && response.body().size_hint().exact().is_some()
}

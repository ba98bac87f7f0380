//! Entity tags for JSON: who has an answer already is not sent it again.
//!
//! The tag is the hash of the answer, so it is strong, and the same at every node and for as long as nothing changes. It
//! costs the reading all the same; what it saves is the line. Files have tags of their own, from which their bytes
//! follow.

use axum::body::{Body, HttpBody, to_bytes};
use axum::extract::Request;
use axum::http::{HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use storage::blobs::Hash;

use crate::error::ApiError;
use crate::ranges::none_match_hits;

/// Tags what is answered to a question with JSON, and leaves out what the client has.
pub(crate) async fn tag(request: Request, next: Next) -> Response {
    let asks = matches!(*request.method(), Method::GET | Method::HEAD);
    let known = request.headers().get(header::IF_NONE_MATCH).cloned();
    let response = next.run(request).await;
    if !asks || !is_untagged_json(&response) {
        return response;
    }
    let (mut head, body) = response.into_parts();
    // It is whole in memory already, see below.
    let body = match to_bytes(body, usize::MAX).await {
        Ok(body) => body,
        Err(error) => return ApiError::internal("writing an answer", &error).into_response(),
    };
    let tag = format!("\"{}\"", Hash::of(&body));
    if let Ok(tag) = HeaderValue::from_str(&tag) {
        head.headers.insert(header::ETAG, tag);
    }
    // What is theirs alone is kept by nobody between, and asked for anew each time.
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

/// Whether an answer is JSON that is whole in memory and has no tag. A stream's length is not known before its end.
fn is_untagged_json(response: &Response) -> bool {
    let headers = response.headers();
    response.status() == StatusCode::OK
        && !headers.contains_key(header::ETAG)
        && headers.get(header::CONTENT_TYPE).is_some_and(|kind| kind.as_bytes().starts_with(b"application/json"))
        && response.body().size_hint().exact().is_some()
}

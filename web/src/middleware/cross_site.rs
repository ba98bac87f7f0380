//! Refuses requests that a page of another site sends (cross-site request forgery).
//!
//! Such a page must not change anything on behalf of a user who happens to visit it. Requests with a token pass,
//! because a page cannot make a browser send one, and so do safe methods.

use axum::extract::Request;
use axum::http::{HeaderMap, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use crate::auth::request_auth::RequestAuth;
use crate::http::error::ApiError;

/// Refuses a request that changes something and comes from another site.
pub(super) async fn refuse(request: Request, next: Next) -> Response {
    let auth = request.extensions().get::<RequestAuth>();
    let host = auth.and_then(|auth| auth.client.host.as_deref());
    let has_token = auth.is_some_and(RequestAuth::has_token);
    if !request.method().is_safe() && !has_token && is_cross_site(request.headers(), host) {
        return ApiError::CrossSite.into_response();
    }
    next.run(request).await
}

/// Whether a browser marked the request as coming from another site.
///
/// Browsers send `Sec-Fetch-Site` over HTTPS. Over plain HTTP they send only `Origin`, which must match the requested
/// host. A client that sends neither is not a browser, and sends no cookie without the knowledge of its user.
fn is_cross_site(headers: &HeaderMap, host: Option<&str>) -> bool {
    let field = |name| headers.get(name).map(|value| value.to_str().unwrap_or_default());
    match (field("sec-fetch-site"), field(header::ORIGIN.as_str())) {
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
    fn cross_site_requests_are_recognised() {
        for (fields, cross_site) in [
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
            assert_eq!(is_cross_site(&headers, Some("node:8080")), cross_site, "{fields:?}");
        }
    }
}

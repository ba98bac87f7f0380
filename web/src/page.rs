//! The web page: static files in the binary, so a node is one file and every node of a version has the same page.

use axum::body::Body;
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use rust_embed::RustEmbed;

use crate::http::error::ApiError;
use crate::http::ranges::is_known;

#[derive(RustEmbed)]
#[folder = "ui/"]
struct Files;

/// Returns a file of the page, or the 404 of the interface.
pub(crate) async fn serve(method: Method, uri: Uri, headers: HeaderMap) -> Response {
    let name = match uri.path().trim_start_matches('/') {
        "" => "index.html",
        "api" | "api/" => "api.html",
        name => name,
    };
    let Some(file) = Files::get(name) else {
        return ApiError::NoSuchPath.into_response();
    };
    if method != Method::GET && method != Method::HEAD {
        return ApiError::Method(method.to_string()).into_response();
    }
    let tag = format!("\"{}\"", hex::encode(file.metadata.sha256_hash()));
    let mut response = if is_known(&headers, &tag) {
        StatusCode::NOT_MODIFIED.into_response()
    } else {
        let kind = HeaderValue::from_str(content_type(name)).ok();
        let mut response = Body::from(file.data).into_response();
        if let Some(kind) = kind {
            response.headers_mut().insert(header::CONTENT_TYPE, kind);
        }
        response
    };
    if let Ok(tag) = HeaderValue::from_str(&tag) {
        response.headers_mut().insert(header::ETAG, tag);
    }
    // Nodes of other versions have another page, so browsers must revalidate each time.
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    response
}

fn content_type(name: &str) -> &'static str {
    match name.rsplit_once('.').map_or("", |(_, extension)| extension) {
        "html" => "text/html; charset=utf-8",
        "css" => "text/css; charset=utf-8",
        "js" => "text/javascript; charset=utf-8",
        "svg" => "image/svg+xml",
        "json" => "application/json",
        _ => "application/octet-stream",
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]

    use std::collections::BTreeSet;

    use super::*;

    /// The extensions of files of the page.
    const KINDS: [&str; 8] = [".html", ".css", ".js", ".svg", ".png", ".ico", ".woff2", ".webmanifest"];

    fn text(name: &str) -> String {
        let file = Files::get(name).unwrap_or_else(|| panic!("{name} does not exist"));
        String::from_utf8(file.data.to_vec()).unwrap()
    }

    /// The files that a file references, between quotation marks or in `url()`.
    fn named(text: &str) -> impl Iterator<Item = &str> {
        let plain = |name: &&str| name.chars().all(|one| one.is_ascii_alphanumeric() || "_-./".contains(one));
        let ending = |name: &&str| KINDS.iter().any(|kind| name.len() > kind.len() && name.ends_with(kind));
        text.split(['"', '\'', '`', '(', ')']).filter(plain).filter(ending)
    }

    #[test]
    fn referenced_files_exist_and_others_do_not() {
        let mut open = vec!["index.html".to_owned(), "api.html".to_owned()];
        let mut reached = BTreeSet::from_iter(open.clone());
        while let Some(name) = open.pop() {
            for found in named(&text(&name)) {
                let found = found.trim_start_matches("./").trim_start_matches('/').to_owned();
                assert!(Files::get(&found).is_some(), "{name} references {found}, which does not exist");
                if reached.insert(found.clone()) {
                    open.push(found);
                }
            }
        }
        let there: BTreeSet<_> = Files::iter().map(|name| name.into_owned()).collect();
        assert_eq!(reached, there, "some files are not referenced");
        assert!(there.len() > 30, "the modules were not followed: {there:?}");
    }

    #[tokio::test]
    async fn page_obeys_its_content_security_policy() {
        for name in ["index.html", "api.html"] {
            let page = text(name);
            assert!(!page.contains("<style") && !page.contains(" style="), "the policy forbids inline styles");
            let is_handler =
                |rest: &str| rest.split_once('=').is_some_and(|(name, _)| name.chars().all(char::is_alphabetic));
            let handlers = page.split(" on").skip(1).any(is_handler);
            assert!(!page.contains("<script>") && !handlers, "the policy forbids inline scripts");
        }
        let found = serve(Method::GET, Uri::from_static("/"), HeaderMap::new()).await;
        assert_eq!(found.headers()[header::CONTENT_TYPE], "text/html; charset=utf-8");
        let mut again = HeaderMap::new();
        again.insert(header::IF_NONE_MATCH, found.headers()[header::ETAG].clone());
        assert_eq!(serve(Method::GET, Uri::from_static("/"), again).await.status(), StatusCode::NOT_MODIFIED);
        let lost = serve(Method::GET, Uri::from_static("/../Cargo.toml"), HeaderMap::new()).await;
        assert_eq!(lost.status(), StatusCode::NOT_FOUND);
    }
}

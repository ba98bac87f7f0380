//! A file as a response: whole or a range, with conditions, and with a name (RFC 9110, RFC 6266).

use axum::body::Body;
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use replication::Replication;

use crate::files::source::{Source, open};
use crate::http::error::ApiError;
use crate::http::ranges::{Selection, if_range_holds, is_known, match_hits, select};

/// A file for a response.
pub(crate) struct FileResponse {
    pub(crate) source: Source,
    /// The entity tag without quotes. It determines the bytes.
    pub(crate) tag: String,
    /// The extension.
    pub(crate) format: String,
    /// The name under which clients should save the file.
    pub(crate) name: String,
    /// Whether browsers should save the file instead of showing it.
    pub(crate) download: bool,
}

/// The response with the file, or with the requested range.
pub(crate) async fn serve(
    replication: &Replication,
    file: FileResponse,
    method: &Method,
    headers: &HeaderMap,
) -> Result<Response, ApiError> {
    let tag = format!("\"{}\"", file.tag);
    let field = |name| headers.get(name).and_then(|value| value.to_str().ok());
    if field(header::IF_MATCH).is_some_and(|tags| !match_hits(tags, &tag)) {
        return Err(ApiError::Precondition);
    }
    if is_known(headers, &tag) {
        let mut response = StatusCode::NOT_MODIFIED.into_response();
        describe(response.headers_mut(), &file, &tag);
        return Ok(response);
    }

    let opened = open(replication, &file.source).await?;
    let length = opened.length();
    let range = field(header::RANGE)
        .filter(|_| *method == Method::GET)
        .filter(|_| field(header::IF_RANGE).is_none_or(|condition| if_range_holds(condition, &tag)));
    let (status, first, end) = match range.map_or(Selection::Whole, |range| select(range, length)) {
        Selection::Whole => (StatusCode::OK, 0, length),
        Selection::Part { first, last } => (StatusCode::PARTIAL_CONTENT, first, last + 1),
        Selection::Unsatisfiable => {
            let mut response = StatusCode::RANGE_NOT_SATISFIABLE.into_response();
            describe(response.headers_mut(), &file, &tag);
            response.headers_mut().remove(header::CONTENT_DISPOSITION);
            set(response.headers_mut(), header::CONTENT_RANGE, &format!("bytes */{length}"));
            return Ok(response);
        }
    };
    let body = if *method == Method::HEAD { Body::empty() } else { opened.body(first, end).await? };
    let mut response = (status, body).into_response();
    describe(response.headers_mut(), &file, &tag);
    set(response.headers_mut(), header::CONTENT_TYPE, content_type(&file.format));
    response.headers_mut().insert(header::CONTENT_LENGTH, HeaderValue::from(end - first));
    if status == StatusCode::PARTIAL_CONTENT {
        let range = format!("bytes {first}-{}/{length}", end - 1);
        set(response.headers_mut(), header::CONTENT_RANGE, &range);
    }
    Ok(response)
}

pub(crate) fn set(headers: &mut HeaderMap, name: header::HeaderName, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        headers.insert(name, value);
    }
}

fn describe(headers: &mut HeaderMap, file: &FileResponse, tag: &str) {
    set(headers, header::ETAG, tag);
    set(headers, header::ACCEPT_RANGES, "bytes");
    // Clients may keep the file but must revalidate it, because the song may have been deleted.
    set(headers, header::CACHE_CONTROL, "private, no-cache");
    let disposition = disposition(&file.name, file.download);
    set(headers, header::CONTENT_DISPOSITION, &disposition);
}

/// A `Content-Disposition` with a name from [`crate::files::file_name`]: in ASCII for old programs (RFC 6266), without
/// percent signs, which some of them decode, and percent-encoded in UTF-8 (RFC 8187).
pub(crate) fn disposition(name: &str, download: bool) -> String {
    let kind = if download { "attachment" } else { "inline" };
    let plain = |character: char| if character.is_ascii() && character != '%' { character } else { '_' };
    let plain: String = name.chars().map(plain).collect();
    let mut encoded = String::new();
    for byte in name.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => encoded.push(char::from(byte)),
            _ => encoded.push_str(&format!("%{byte:02X}")),
        }
    }
    format!("{kind}; filename=\"{plain}\"; filename*=UTF-8''{encoded}")
}

pub(crate) fn content_type(format: &str) -> &'static str {
    match format {
        "mp3" => "audio/mpeg",
        "json" => "application/json",
        "jpeg" => "image/jpeg",
        "png" => "image/png",
        "webp" => "image/webp",
        "gif" => "image/gif",
        "wav" => "audio/wav",
        "flac" => "audio/flac",
        "ogg" | "oga" | "opus" => "audio/ogg",
        "m4a" | "mp4" => "audio/mp4",
        "mov" => "video/quicktime",
        "mka" => "audio/x-matroska",
        "webm" => "audio/webm",
        "caf" => "audio/x-caf",
        "aac" => "audio/aac",
        "aif" | "aiff" => "audio/aiff",
        _ => "application/octet-stream",
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]

    use super::*;
    use crate::files::file_name::file_name;

    #[test]
    fn names_are_sent_in_two_encodings() {
        let saved = |title: &str| disposition(&file_name(title, |title| format!("{title}.mp3")), true);
        assert_eq!(
            disposition("So What - drums.mp3", false),
            "inline; filename=\"So What - drums.mp3\"; filename*=UTF-8''So%20What%20-%20drums.mp3"
        );
        assert_eq!(
            saved("100%25 Für \"Elise\"\r\nX: y/../z"),
            "attachment; filename=\"100_25 F_r _Elise_ X_ y_.._z.mp3\"; \
             filename*=UTF-8''100%2525%20F%C3%BCr%20_Elise_%20X_%20y_.._z.mp3"
        );
        for title in ["", "...", "\u{0}", "音楽", "NUL", &"x".repeat(300), &"🎸".repeat(300)] {
            assert!(HeaderValue::from_str(&saved(title)).is_ok());
        }
    }
}

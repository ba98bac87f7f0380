//! The envelope of every JSON response: `{ "ok": bool, "errors": [...], "data": ... }`.
//!
//! `data` is null when `ok` is false, and `errors` is empty when `ok` is true. Files and event streams have no
//! envelope.

use axum::Json;
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use utoipa::ToSchema;

use super::code::Code;

/// An error.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub(crate) struct ApiProblem {
    /// The code, for programs. It stays the same when the message changes.
    #[schema(value_type = String)]
    pub(crate) code: Code,
    /// The message, for people: what happened and what to do.
    pub(crate) message: String,
    /// The field of the request that caused the error, if one did.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) field: Option<&'static str>,
}

/// The envelope.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub(crate) struct Answer<T> {
    /// Whether the request succeeded.
    pub(crate) ok: bool,
    /// What went wrong.
    pub(crate) errors: Vec<ApiProblem>,
    /// The result.
    pub(crate) data: Option<T>,
}

/// The result of a request that returns no data.
#[derive(Debug, Clone, Copy, Serialize, ToSchema)]
pub(crate) struct Empty {}

impl<T> Answer<T> {
    /// The envelope of a successful request.
    pub(crate) fn with(data: T) -> Self {
        Self { ok: true, errors: Vec::new(), data: Some(data) }
    }
}

impl Answer<Empty> {
    /// The envelope of a failed request.
    pub(crate) fn refused(problems: Vec<ApiProblem>) -> Self {
        Self { ok: false, errors: problems, data: None }
    }
}

impl<T: Serialize> IntoResponse for Answer<T> {
    fn into_response(self) -> Response {
        Json(self).into_response()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn envelope_always_has_three_fields() {
        let success = serde_json::to_value(Answer::with(vec![1, 2])).unwrap();
        assert_eq!(success, serde_json::json!({ "ok": true, "errors": [], "data": [1, 2] }));
        let problem = ApiProblem { code: Code::NoSuchSong, message: "There is no song 7.".into(), field: None };
        assert_eq!(
            serde_json::to_value(Answer::refused(vec![problem])).unwrap(),
            serde_json::json!({
                "ok": false,
                "errors": [{ "code": "no_such_song", "message": "There is no song 7." }],
                "data": null
            })
        );
    }
}

//! The envelope of every JSON answer: `{ "ok": bool, "errors": [...], "data": ... }`.
//!
//! `data` is null when `ok` is false, and `errors` is empty when it is true. Files and event streams come without it.

use axum::Json;
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use utoipa::ToSchema;

/// One thing that went wrong.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct Problem {
    /// A word that programs can compare; it stays the same when the sentence changes.
    pub code: &'static str,
    /// A sentence for people: what happened and what to do.
    pub message: String,
    /// The field that it is about, if it is about one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub field: Option<&'static str>,
}

/// The envelope.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct Answer<T> {
    /// Whether the request did what it asked for.
    pub ok: bool,
    /// What went wrong.
    pub errors: Vec<Problem>,
    /// What was asked for.
    pub data: Option<T>,
}

/// The answer to a request that has nothing more to say than yes.
#[derive(Debug, Clone, Copy, Serialize, ToSchema)]
pub struct Empty {}

impl<T> Answer<T> {
    /// A request that did what it asked for.
    pub fn with(data: T) -> Self {
        Self { ok: true, errors: Vec::new(), data: Some(data) }
    }
}

impl Answer<Empty> {
    /// A request that did not.
    pub fn refused(problems: Vec<Problem>) -> Self {
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
    #![allow(clippy::unwrap_used, clippy::expect_used)]

    use super::*;

    #[test]
    fn the_envelope_has_always_the_same_three_fields() {
        let yes = serde_json::to_value(Answer::with(vec![1, 2])).unwrap();
        assert_eq!(yes, serde_json::json!({ "ok": true, "errors": [], "data": [1, 2] }));
        let no =
            Answer::refused(vec![Problem { code: "not_found", message: "There is no song 7.".into(), field: None }]);
        assert_eq!(
            serde_json::to_value(no).unwrap(),
            serde_json::json!({
                "ok": false,
                "errors": [{ "code": "not_found", "message": "There is no song 7." }],
                "data": null
            })
        );
    }
}

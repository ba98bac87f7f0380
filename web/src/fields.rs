//! What people fill in: forms and JSON alike, and everything that is wrong with it at once.

use axum::Form;
use axum::Json;
use axum::extract::{FromRequest, Request};
use axum::http::header;
use serde::de::DeserializeOwned;

use crate::answer::Problem;
use crate::error::ApiError;

/// The fields of a form or of JSON.
pub(crate) struct Fields<T>(pub(crate) T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for Fields<T> {
    type Rejection = ApiError;

    async fn from_request(request: Request, state: &S) -> Result<Self, ApiError> {
        let kind = request.headers().get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
        // The library's own words would repeat what was sent, passwords among it.
        let refused = || {
            ApiError::Malformed(
                "The fields could not be read. Send application/json or application/x-www-form-urlencoded with the \
                 fields that /api/openapi.json describes, and no others."
                    .into(),
            )
        };
        if kind.starts_with("application/x-www-form-urlencoded") {
            return Ok(Self(Form::from_request(request, state).await.map_err(|_| refused())?.0));
        }
        Ok(Self(Json::from_request(request, state).await.map_err(|_| refused())?.0))
    }
}

/// What is wrong, field by field.
#[derive(Debug, Default)]
pub(crate) struct Faults(Vec<Problem>);

impl Faults {
    /// Notes what is wrong with a field.
    pub(crate) fn add(&mut self, field: &'static str, code: &'static str, message: impl Into<String>) {
        self.0.push(Problem { code, message: message.into(), field: Some(field) });
    }

    /// Goes on if nothing is wrong.
    pub(crate) fn none(self) -> Result<(), ApiError> {
        if self.0.is_empty() { Ok(()) } else { Err(ApiError::Fields(self.0)) }
    }
}

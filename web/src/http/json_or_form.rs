//! Bodies of fields, as JSON or as a form, and the validation of fields.

use axum::Form;
use axum::Json;
use axum::extract::{DefaultBodyLimit, FromRequest, Request};
use axum::http::{StatusCode, header};
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::answer::ApiProblem;
use super::code::Code;
use super::error::ApiError;

/// The default limit of a body, in bytes.
const BODY_BYTES: usize = 64 << 10;
/// Up to here a 64-bit float represents every whole number.
const EXACT: f64 = 9_007_199_254_740_992.0;

/// The fields of a JSON object or a form of at most `LIMIT` bytes.
pub(crate) struct JsonOrForm<T, const LIMIT: usize = BODY_BYTES>(pub(crate) T);

impl<T: DeserializeOwned, S: Send + Sync, const LIMIT: usize> FromRequest<S> for JsonOrForm<T, LIMIT> {
    type Rejection = ApiError;

    async fn from_request(mut request: Request, state: &S) -> Result<Self, ApiError> {
        DefaultBodyLimit::max(LIMIT).apply(&mut request);
        let kind = request.headers().get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
        // Parameters such as the character set follow the semicolon.
        let kind = kind.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
        // The messages of axum repeat the body, which may hold passwords.
        let refused = |status: StatusCode| match status {
            StatusCode::PAYLOAD_TOO_LARGE => ApiError::TooManyBytes { limit: LIMIT },
            _ => ApiError::Malformed(
                "Cannot read the fields. Send application/json or application/x-www-form-urlencoded, and only the \
                 fields in /api/openapi.json."
                    .into(),
            ),
        };
        match kind.as_str() {
            "application/x-www-form-urlencoded" => Form::from_request(request, state)
                .await
                .map(|form| Self(form.0))
                .map_err(|error| refused(error.status())),
            "application/json" => {
                let json = Json::<Value>::from_request(request, state).await;
                let Json(mut value) = json.map_err(|error| refused(error.status()))?;
                // serde would also accept a list of the fields in their order.
                if !value.is_object() {
                    return Err(refused(StatusCode::BAD_REQUEST));
                }
                coerce_integers(&mut value);
                serde_json::from_value(value).map(Self).map_err(|_| refused(StatusCode::BAD_REQUEST))
            }
            _ => Err(ApiError::NotFields),
        }
    }
}

/// Converts whole floats to integers: JSON has one kind of number, so 7.0 is 7.
fn coerce_integers(value: &mut Value) {
    match value {
        Value::Number(number) => {
            let float = number.as_f64().filter(|float| number.is_f64() && float.fract() == 0.0 && float.abs() < EXACT);
            if let Some(whole) = float.and_then(|float| format!("{float:.0}").parse::<i64>().ok()) {
                *number = whole.into();
            }
        }
        Value::Array(values) => values.iter_mut().for_each(coerce_integers),
        Value::Object(fields) => fields.values_mut().for_each(coerce_integers),
        _ => {}
    }
}

/// Collects the errors of all fields, so that a client learns about all of them at once.
#[derive(Debug, Default)]
pub(crate) struct ValidationErrors(Vec<ApiProblem>);

impl ValidationErrors {
    /// Adds the error of a field.
    pub(crate) fn add(&mut self, field: &'static str, code: Code, message: impl Into<String>) {
        self.0.push(ApiProblem { code, message: message.into(), field: Some(field) });
    }

    /// Fails if there are errors.
    pub(crate) fn finish(self) -> Result<(), ApiError> {
        if self.0.is_empty() { Ok(()) } else { Err(ApiError::Validation(self.0)) }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use axum::body::Body;
    use axum::http;
    use serde::Deserialize;

    use super::*;

    #[derive(Debug, Deserialize, PartialEq)]
    #[serde(deny_unknown_fields)]
    struct Example {
        days: Option<u64>,
        loud: Option<f32>,
    }

    async fn read(kind: &str, body: &str) -> Result<Example, StatusCode> {
        let request =
            http::Request::post("/").header(header::CONTENT_TYPE, kind).body(Body::from(body.to_owned())).unwrap();
        JsonOrForm::<Example>::from_request(request, &()).await.map(|fields| fields.0).map_err(|error| error.status())
    }

    #[tokio::test]
    async fn only_json_and_forms_are_accepted() {
        let seven = Ok(Example { days: Some(7), loud: None });
        assert_eq!(read("application/json", r#"{"days": 7}"#).await, seven);
        assert_eq!(read("Application/JSON; charset=utf-8", r#"{"days": 7.0}"#).await, seven);
        assert_eq!(read("application/x-www-form-urlencoded", "days=7").await, seven);
        let half = Ok(Example { days: None, loud: Some(0.5) });
        assert_eq!(read("application/json", r#"{"loud": 0.5}"#).await, half);
        let bad = [r#"{"days": 7.5}"#, r#"{"days": -7.0}"#, r#"{"days": 1e300}"#, r#"{"more": 1}"#, "[7, 1]", "{", ""];
        for refused in bad {
            assert_eq!(read("application/json", refused).await, Err(StatusCode::BAD_REQUEST), "{refused}");
        }
        for other in ["", "text/plain", "application/jsonp", "multipart/form-data; boundary=b"] {
            assert_eq!(read(other, "{}").await, Err(StatusCode::UNSUPPORTED_MEDIA_TYPE), "{other}");
        }
    }

    #[tokio::test]
    async fn error_for_large_body_names_the_limit() {
        for kind in ["application/json", "application/x-www-form-urlencoded"] {
            let request =
                http::Request::post("/").header(header::CONTENT_TYPE, kind).body(Body::from("days=1")).unwrap();
            let refused = JsonOrForm::<Example, 5>::from_request(request, &()).await.err().unwrap();
            assert!(matches!(refused, ApiError::TooManyBytes { limit: 5 }), "{kind}: {refused}");
        }
    }
}

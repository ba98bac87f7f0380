//! What people fill in: forms and JSON alike, and everything that is wrong with it at once.

use axum::Form;
use axum::Json;
use axum::extract::{DefaultBodyLimit, FromRequest, Request};
use axum::http::{StatusCode, header};
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::answer::Problem;
use crate::error::ApiError;

/// The most bytes of what people fill in, where nothing else is said.
const FIELDS_BYTES: usize = 64 << 10;
/// Up to here each whole number is one of its own as a 64-bit float.
const EXACT: f64 = 9_007_199_254_740_992.0;

/// The fields of a form or of JSON, of at most so many bytes.
pub(crate) struct Fields<T, const MOST: usize = FIELDS_BYTES>(pub(crate) T);

impl<T: DeserializeOwned, S: Send + Sync, const MOST: usize> FromRequest<S> for Fields<T, MOST> {
    type Rejection = ApiError;

    async fn from_request(mut request: Request, state: &S) -> Result<Self, ApiError> {
        DefaultBodyLimit::max(MOST).apply(&mut request);
        let kind = request.headers().get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
        // What is behind the semicolon are parameters, as the alphabet.
        let kind = kind.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
        // The library's own words would repeat what was sent, passwords among it.
        let refused = |status: StatusCode| match status {
            StatusCode::PAYLOAD_TOO_LARGE => ApiError::TooManyBytes { limit: MOST },
            _ => ApiError::Malformed(
                "The fields could not be read. Send application/json or application/x-www-form-urlencoded with the \
                 fields that /api/openapi.json describes, and no others."
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
                // serde would take a list for the fields in their order as well.
                if !value.is_object() {
                    return Err(refused(StatusCode::BAD_REQUEST));
                }
                make_whole(&mut value);
                serde_json::from_value(value).map(Self).map_err(|_| refused(StatusCode::BAD_REQUEST))
            }
            _ => Err(ApiError::NotFields),
        }
    }
}

/// JSON has one kind of number: a program that writes 7.0 means 7.
fn make_whole(value: &mut Value) {
    match value {
        Value::Number(number) => {
            // Larger ones are not whole for sure.
            let float = number.as_f64().filter(|float| number.is_f64() && float.fract() == 0.0 && float.abs() < EXACT);
            if let Some(whole) = float.and_then(|float| format!("{float:.0}").parse::<i64>().ok()) {
                *number = whole.into();
            }
        }
        Value::Array(values) => values.iter_mut().for_each(make_whole),
        Value::Object(fields) => fields.values_mut().for_each(make_whole),
        _ => {}
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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use axum::body::Body;
    use axum::http::Request as Asked;
    use serde::Deserialize;

    use super::*;

    #[derive(Debug, Deserialize, PartialEq)]
    #[serde(deny_unknown_fields)]
    struct Wish {
        days: Option<u64>,
        loud: Option<f32>,
    }

    async fn read(kind: &str, body: &str) -> Result<Wish, StatusCode> {
        let request = Asked::post("/").header(header::CONTENT_TYPE, kind).body(Body::from(body.to_owned())).unwrap();
        Fields::<Wish>::from_request(request, &()).await.map(|fields| fields.0).map_err(|error| error.kind().0)
    }

    #[tokio::test]
    async fn fields_come_as_json_or_as_a_form_and_as_nothing_else() {
        let seven = Ok(Wish { days: Some(7), loud: None });
        assert_eq!(read("application/json", r#"{"days": 7}"#).await, seven);
        assert_eq!(read("Application/JSON; charset=utf-8", r#"{"days": 7.0}"#).await, seven);
        assert_eq!(read("application/x-www-form-urlencoded", "days=7").await, seven);
        let half = Ok(Wish { days: None, loud: Some(0.5) });
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
    async fn who_sends_too_much_is_told_how_much_is_taken() {
        for kind in ["application/json", "application/x-www-form-urlencoded"] {
            let request = Asked::post("/").header(header::CONTENT_TYPE, kind).body(Body::from("days=1")).unwrap();
            let refused = Fields::<Wish, 5>::from_request(request, &()).await.err().unwrap();
            assert!(matches!(refused, ApiError::TooManyBytes { limit: 5 }), "{kind}: {refused}");
        }
    }
}

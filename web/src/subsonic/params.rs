//! The parameters of a request, in its address and in its form.
//!
//! Invariant: parameters are never printed. They contain passwords and proofs, so `Params` has no `Debug`, and errors
//! contain no values.

use axum::Form;
use axum::extract::{DefaultBodyLimit, FromRequest, Query, Request};
use axum::http::{Method, StatusCode, header};

use super::answer::Form as AnswerForm;
use super::failure::Failure;
use super::ids::Id;
use crate::api::playlist_entries::ENTRIES_BYTES;
use crate::http::error::ApiError;

/// The parameters, in their order.
#[derive(Default)]
pub(super) struct Params(Vec<(String, String)>);

impl Params {
    /// Reads the parameters of the address and of the form, if there is one.
    pub(super) async fn of(mut request: Request) -> (Self, Result<(), Failure>) {
        let unreadable = || Failure::Unreadable("Malformed parameters: use UTF-8 text.".into());
        let query = Query::<Vec<(String, String)>>::try_from_uri(request.uri());
        let (mut params, mut result) = match query {
            Ok(Query(pairs)) => (Self(pairs), Ok(())),
            Err(_) => (Self::default(), Err(unreadable())),
        };
        let kind = request.headers().get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
        if *request.method() == Method::POST && kind.starts_with("application/x-www-form-urlencoded") {
            DefaultBodyLimit::max(ENTRIES_BYTES).apply(&mut request);
            match Form::<Vec<(String, String)>>::from_request(request, &()).await {
                Ok(Form(pairs)) => params.0.extend(pairs),
                Err(error) if error.status() == StatusCode::PAYLOAD_TOO_LARGE => {
                    result = Err(ApiError::TooManyBytes { limit: ENTRIES_BYTES }.into());
                }
                Err(_) => result = Err(unreadable()),
            }
        }
        (params, result)
    }

    /// The requested format of the response.
    pub(super) fn form(&self) -> (AnswerForm, Result<(), Failure>) {
        match self.get("f") {
            None | Some("xml") => (AnswerForm::Xml, Ok(())),
            Some("json") => (AnswerForm::Json, Ok(())),
            Some(_) => (AnswerForm::Xml, Err(Failure::Unreadable("Unsupported format: use f=xml or f=json.".into()))),
        }
    }

    /// The first value of a parameter, if it is not empty.
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.all(name).find(|value| !value.is_empty())
    }

    /// All values of a parameter, in their order.
    pub(super) fn all(&self, name: &str) -> impl Iterator<Item = &str> {
        self.0.iter().filter(move |(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    pub(super) fn has(&self, name: &str) -> bool {
        self.get(name).is_some()
    }

    pub(super) fn need(&self, name: &'static str) -> Result<&str, Failure> {
        self.get(name).ok_or(Failure::Missing(name))
    }

    /// The id in the parameter `id`.
    pub(super) fn id(&self) -> Result<Id, Failure> {
        Ok(Id::parse(self.need("id")?)?)
    }

    /// A number, if the parameter is present.
    pub(super) fn maybe_number(&self, name: &'static str) -> Result<Option<u64>, Failure> {
        let number = |value: &str| {
            value.parse().map_err(|_| Failure::Unreadable(format!("Invalid {name}: use a whole number.")))
        };
        self.get(name).map(number).transpose()
    }

    /// The requested number of entries, at most `most`.
    pub(super) fn count(&self, name: &'static str, otherwise: usize, most: usize) -> Result<usize, Failure> {
        let number = self.maybe_number(name)?.map(|number| usize::try_from(number).unwrap_or(usize::MAX));
        Ok(number.unwrap_or(otherwise).min(most))
    }

    /// The number of entries to skip.
    pub(super) fn offset(&self, name: &'static str) -> Result<usize, Failure> {
        self.count(name, 0, usize::MAX)
    }

    /// A boolean, if the parameter is present. Some clients write it with a capital letter.
    pub(super) fn flag(&self, name: &'static str) -> Result<Option<bool>, Failure> {
        match self.get(name).map(str::to_ascii_lowercase).as_deref() {
            None => Ok(None),
            Some("true" | "1") => Ok(Some(true)),
            Some("false" | "0") => Ok(Some(false)),
            Some(_) => Err(Failure::Unreadable(format!("Invalid {name}: use true or false."))),
        }
    }
}

//! What a request says, in its address or in a form that it posts.
//!
//! Invariant: nothing prints it. It holds passwords and what proves that one knows a token, so it has no `Debug`, and no
//! failure repeats a value of it.

use axum::Form;
use axum::extract::{DefaultBodyLimit, FromRequest, Query, Request};
use axum::http::{Method, StatusCode, header};

use super::answer::Form as AnswerForm;
use super::failure::Failure;
use super::ids::Id;
use crate::api::entries::ENTRIES_BYTES;
use crate::error::ApiError;

/// The parameters, in their order.
#[derive(Default)]
pub(super) struct Params(Vec<(String, String)>);

impl Params {
    /// Reads the address and, where the client posts a form, the form.
    pub(super) async fn of(mut request: Request) -> (Self, Result<(), Failure>) {
        let unreadable = || Failure::Unreadable("The parameters could not be read. They are text in UTF-8.".into());
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

    /// In which form the answer is wanted.
    pub(super) fn form(&self) -> (AnswerForm, Result<(), Failure>) {
        match self.get("f") {
            None | Some("xml") => (AnswerForm::Xml, Ok(())),
            Some("json") => (AnswerForm::Json, Ok(())),
            Some(_) => (AnswerForm::Xml, Err(Failure::Unreadable("Answers come with f=xml or f=json.".into()))),
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

    /// The thing that `id` names.
    pub(super) fn id(&self) -> Result<Id, Failure> {
        Ok(Id::parse(self.need("id")?)?)
    }

    /// A number, if it is given.
    pub(super) fn maybe_number(&self, name: &'static str) -> Result<Option<u64>, Failure> {
        let number = |value: &str| value.parse().map_err(|_| Failure::Unreadable(format!("{name} is a whole number.")));
        self.get(name).map(number).transpose()
    }

    /// How many of something are wanted, at most so many.
    pub(super) fn count(&self, name: &'static str, otherwise: usize, most: usize) -> Result<usize, Failure> {
        let number = self.maybe_number(name)?.map(|number| usize::try_from(number).unwrap_or(usize::MAX));
        Ok(number.unwrap_or(otherwise).min(most))
    }

    /// How many of something are left out.
    pub(super) fn offset(&self, name: &'static str) -> Result<usize, Failure> {
        self.count(name, 0, usize::MAX)
    }

    /// Yes or no, if it is given. There are clients that write it as their language does, with a capital.
    pub(super) fn flag(&self, name: &'static str) -> Result<Option<bool>, Failure> {
        match self.get(name).map(str::to_ascii_lowercase).as_deref() {
            None => Ok(None),
            Some("true" | "1") => Ok(Some(true)),
            Some("false" | "0") => Ok(Some(false)),
            Some(_) => Err(Failure::Unreadable(format!("{name} is true or false."))),
        }
    }
}

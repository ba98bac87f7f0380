//! Errors with the codes of the protocol.

use std::sync::Arc;

use state::ViewError;

use super::ids::InvalidId;
use crate::http::error::ApiError;

/// Why a request failed.
#[derive(Debug)]
pub(super) enum Failure {
    /// A required parameter is missing.
    Missing(&'static str),
    /// A parameter is malformed.
    Unreadable(String),
    /// The name or the secret is wrong.
    WrongSecret,
    /// More than one kind of credentials.
    Conflicting,
    /// The API key is not valid.
    WrongKey,
    /// The user has no permission.
    NotAllowed(&'static str),
    /// The resource does not exist, or the user has no access.
    NotFound(String),
    /// The feature is not supported.
    NotOffered(String),
    /// An error of the API.
    Api(Arc<ApiError>),
}

impl From<ApiError> for Failure {
    fn from(error: ApiError) -> Self {
        Self::Api(Arc::new(error))
    }
}

impl From<Arc<ApiError>> for Failure {
    fn from(error: Arc<ApiError>) -> Self {
        Self::Api(error)
    }
}

impl From<ViewError> for Failure {
    fn from(error: ViewError) -> Self {
        ApiError::from(error).into()
    }
}

impl From<InvalidId> for Failure {
    fn from(_: InvalidId) -> Self {
        Self::NotFound("Unknown id.".into())
    }
}

impl Failure {
    /// The code of the protocol, and a message that says what to do. Messages contain no credentials.
    pub(super) fn code_and_message(self) -> (u32, String) {
        match self {
            Self::Missing(name) => (10, format!("The parameter {name} is missing.")),
            Self::Unreadable(message) | Self::NotOffered(message) => (0, message),
            Self::WrongSecret => (
                40,
                "Wrong name or password. Players that do not send the password itself need one of your tokens as password."
                    .into(),
            ),
            Self::Conflicting => (43, "Send either apiKey, or u with p or with t and s.".into()),
            Self::WrongKey => (44, "Unknown API key. It may be revoked or expired.".into()),
            Self::NotAllowed(message) => (50, message.into()),
            Self::NotFound(message) => (70, message),
            Self::Api(error) => of_api(&error),
        }
    }
}

fn of_api(error: &ApiError) -> (u32, String) {
    match error {
        ApiError::WrongPassword | ApiError::NotLoggedIn => Failure::WrongSecret.code_and_message(),
        ApiError::UnknownToken => Failure::WrongKey.code_and_message(),
        ApiError::NeedsSession => (50, error.to_string()),
        ApiError::NoSong(_)
        | ApiError::NoJob(_)
        | ApiError::NoPart(_)
        | ApiError::NotSplit(_)
        | ApiError::NoUser(_)
        | ApiError::NoSuch { .. } => (70, error.to_string()),
        ApiError::Validation(problems) => {
            let messages: Vec<&str> = problems.iter().map(|problem| problem.message.as_str()).collect();
            (0, messages.join(" "))
        }
        other => (0, other.to_string()),
    }
}

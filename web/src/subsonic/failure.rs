//! What goes wrong, in the protocol's numbers.

use state::ViewError;

use super::ids::NoId;
use crate::error::ApiError;

/// Why a request was not done.
#[derive(Debug)]
pub(super) enum Failure {
    /// A required parameter is missing.
    Missing(&'static str),
    /// A parameter that cannot be read.
    Unreadable(String),
    /// Name and secret do not go together.
    WrongSecret,
    /// An API key and a name.
    Conflicting,
    /// An API key that opens nothing.
    WrongKey,
    /// What is not this user's to do.
    NotAllowed(&'static str),
    /// What was asked for is not there, or not for this user.
    NotFound(String),
    /// What is not offered here.
    NotOffered(String),
    /// What the rest of the interface refused.
    Refused(ApiError),
}

impl From<ApiError> for Failure {
    fn from(error: ApiError) -> Self {
        Self::Refused(error)
    }
}

impl From<ViewError> for Failure {
    fn from(error: ViewError) -> Self {
        Self::Refused(error.into())
    }
}

impl From<NoId> for Failure {
    fn from(_: NoId) -> Self {
        Self::NotFound("There is nothing with this id here.".into())
    }
}

impl Failure {
    /// The protocol's number and a sentence that says what to do. Neither has anything that proves who somebody is.
    pub(super) fn told(self) -> (u32, String) {
        match self {
            Self::Missing(name) => (10, format!("The parameter {name} is missing.")),
            Self::Unreadable(message) | Self::NotOffered(message) => (0, message),
            Self::WrongSecret => (
                40,
                "Wrong name or password. Players that do not send the password itself take one of your tokens for it."
                    .into(),
            ),
            Self::Conflicting => (43, "Send either apiKey, or u with p or with t and s.".into()),
            Self::WrongKey => (44, "This API key opens nothing. It may have been revoked or have ended.".into()),
            Self::NotAllowed(message) => (50, message.into()),
            Self::NotFound(message) => (70, message),
            Self::Refused(error) => of_interface(&error),
        }
    }
}

fn of_interface(error: &ApiError) -> (u32, String) {
    match error {
        ApiError::WrongPassword | ApiError::NotLoggedIn => Failure::WrongSecret.told(),
        ApiError::UnknownToken => Failure::WrongKey.told(),
        ApiError::NeedsSession => (50, error.to_string()),
        ApiError::NoSong(_)
        | ApiError::NoJob(_)
        | ApiError::NoPart(_)
        | ApiError::NotSplit(_)
        | ApiError::NoUser(_)
        | ApiError::NoSuch { .. } => (70, error.to_string()),
        ApiError::Fields(problems) => {
            let messages: Vec<&str> = problems.iter().map(|problem| problem.message.as_str()).collect();
            (0, messages.join(" "))
        }
        other => (0, other.to_string()),
    }
}

//! Who may call an endpoint.
//!
//! Each endpoint is declared with its access (see [`crate::api`]). The router attaches the access to the endpoint,
//! [`RequestAuth::admit`](super::request_auth::RequestAuth::admit) enforces it, and the OpenAPI description shows it.

use super::accounts::Accounts;
use super::caller::Caller;
use crate::http::error::ApiError;

/// Who may call an endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Access {
    /// Everybody who reaches the port.
    Public,
    /// Everybody who knows the secret in the address.
    Link,
    /// Users and, if the cluster allows anonymous use, callers without an account.
    Guests,
    /// Users, with a session or a token.
    Users,
    /// Users with a session. A token is refused.
    Sessions,
    /// Administrators. For others the endpoint does not exist.
    Administrators,
    /// Workers that are not part of the cluster, with one of the tokens in the configuration.
    ExternalWorkers,
}

impl Access {
    /// All values.
    pub(crate) const ALL: [Self; 7] = [
        Self::Public,
        Self::Link,
        Self::Guests,
        Self::Users,
        Self::Sessions,
        Self::Administrators,
        Self::ExternalWorkers,
    ];

    /// The word for the access in the OpenAPI description.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Public => "public",
            Self::Link => "link",
            Self::Guests => "guests",
            Self::Users => "users",
            Self::Sessions => "sessions",
            Self::Administrators => "administrators",
            Self::ExternalWorkers => "external_workers",
        }
    }

    /// The sentence about the access in the OpenAPI description.
    pub(crate) fn sentence(self) -> &'static str {
        match self {
            Self::Public => "Access: public.",
            Self::Link => "Access: everybody who has the link.",
            Self::Guests => "Access: users, and callers without an account if the cluster allows anonymous use.",
            Self::Users => "Access: users.",
            Self::Sessions => "Access: users with a session; tokens are refused.",
            Self::Administrators => "Access: administrators; others get 404.",
            Self::ExternalWorkers => "Access: external workers.",
        }
    }

    /// Refuses a caller without access. Endpoints for external workers have no callers of this kind.
    pub(super) fn check(self, caller: &Caller, accounts: &Accounts) -> Result<(), ApiError> {
        let allowed = match self {
            Self::Public | Self::Link => true,
            Self::Guests => accounts.anonymous || caller.principal.is_some(),
            Self::Users | Self::Sessions | Self::Administrators => caller.principal.is_some(),
            Self::ExternalWorkers => false,
        };
        match allowed {
            false => Err(ApiError::NotLoggedIn),
            true if self == Self::Administrators && !caller.is_administrator() => Err(ApiError::NoSuchPath),
            true => Ok(()),
        }
    }
}

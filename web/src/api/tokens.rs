//! The tokens of a user, with which programs authenticate.

use axum::extract::Path;
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use state::View;
use state::command::{MakeToken, RevokeToken};
use state::{Sealed, Token};
use utoipa::ToSchema;

use super::number_of;
use super::users::{managed, oneself};
use crate::app::State;
use crate::auth::caller::Caller;
use crate::auth::request_auth::{RequestAuth, TOKEN_PREFIX};
use crate::auth::secret::Secret;
use crate::clock::DAY;
use crate::clock::now;
use crate::http::answer::{Answer, Empty};
use crate::http::code::Code;
use crate::http::error::ApiError;
use crate::http::json_or_form::{JsonOrForm, ValidationErrors};
use crate::text::sanitize;

/// The longest name of a token, in characters.
const NAME_CHARACTERS: usize = 100;
/// The longest lifetime of a token that expires, in days.
const MOST_DAYS: u64 = 3650;

/// A token, without its secret.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub(crate) struct TokenView {
    /// The id.
    pub(crate) id: u64,
    /// The name.
    pub(crate) name: String,
    /// When the token was created, in milliseconds since 1970.
    pub(crate) created_at: u64,
    /// When the token expires, in milliseconds since 1970; null if it does not.
    pub(crate) expires_at: Option<u64>,
}

impl From<Token> for TokenView {
    fn from(token: Token) -> Self {
        let Token { id, name, created_at, expires_at, .. } = token;
        Self { id, name, created_at, expires_at }
    }
}

/// A user's tokens.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub(crate) struct TokensData {
    /// The tokens, oldest first.
    pub(crate) tokens: Vec<TokenView>,
}

/// A new token.
#[derive(Serialize, ToSchema)]
pub(crate) struct NewTokenData {
    /// The token.
    pub(crate) token: TokenView,
    /// The secret. Only this response contains it.
    #[schema(example = "qt_5f1d...")]
    pub(crate) secret: String,
}

/// Lists the tokens of a user.
///
/// Only the user and administrators have access.
#[utoipa::path(get, path = "/users/{id}/tokens", tag = "accounts", params(("id" = u64, Path)), responses(
    (status = 200, body = Answer<TokensData>),
))]
pub(crate) async fn list(
    state: State,
    auth: RequestAuth,
    Path(id): Path<String>,
) -> Result<Answer<TokensData>, ApiError> {
    let look = move |view: &View, caller: &Caller| {
        let (user, at) = (managed(view, caller, &id)?, now());
        let valid = view.tokens_of(user.id)?.into_iter().filter(|token| token.expires_at.is_none_or(|end| at < end));
        Ok(Answer::with(TokensData { tokens: valid.map(TokenView::from).collect() }))
    };
    state.read_for(&auth, look).await
}

/// The parameters of a new token.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct CreateToken {
    /// A name, with at most 100 characters.
    #[serde(default)]
    #[schema(
        required,
        max_length = 100,
        pattern = r"[^\s\x00-\x1F\x7F-\x9F\xAD\u034F\u061C\u115F\u1160\u17B4\u17B5\u180B-\u180F\u200B-\u200F\u202A-\u202E\u2060-\u206F\u2800\u3164\uFE00-\uFE0F\uFEFF\uFFA0\uFFF0-\uFFFB]",
        example = "backup script"
    )]
    name: String,
    /// The lifetime in days, 1 to 3650. Without it, the token does not expire.
    #[schema(minimum = 1, maximum = 3650)]
    days: Option<u64>,
}

/// Creates a token. Send its secret as `Authorization: Bearer SECRET`; only this response contains it.
///
/// Only the user has access. The body is a form or JSON.
#[utoipa::path(post, path = "/users/{id}/tokens", tag = "accounts",
    params(("id" = u64, Path)),
    request_body = CreateToken,
    responses(
        (status = 201, body = Answer<NewTokenData>),
        (status = 409, description = "The user has too many tokens"),
        (status = 422),
    )
)]
pub(crate) async fn create(
    state: State,
    auth: RequestAuth,
    Path(id): Path<String>,
    JsonOrForm(new): JsonOrForm<CreateToken>,
) -> Result<(StatusCode, Answer<NewTokenData>), ApiError> {
    let user = state.read_for(&auth, move |view, caller| oneself(view, caller, &id)).await?;
    let name = sanitize(&new.name);
    let mut errors = ValidationErrors::default();
    if name.is_empty() || name.chars().count() > NAME_CHARACTERS {
        let message = format!("Use a name of 1 to {NAME_CHARACTERS} characters.");
        errors.add("name", Code::BadName, message);
    }
    if new.days.is_some_and(|days| !(1..=MOST_DAYS).contains(&days)) {
        errors.add(
            "days",
            Code::BadDays,
            format!("Use 1 to {MOST_DAYS} days, or leave the field out for a token that does not expire."),
        );
    }
    errors.finish()?;

    let secret = Secret::new(TOKEN_PREFIX)?;
    let at = now();
    let expires_at = new.days.map(|days| at + days * DAY);
    let sealed = Sealed(state.accounts.seal.seal(secret.plain().as_bytes())?);
    let command = MakeToken { secret: secret.hash(), sealed, user, name: name.clone(), expires_at, at };
    let id = state.create("creating a token", command).await?;
    let token = TokenView { id, name, created_at: at, expires_at };
    Ok((StatusCode::CREATED, Answer::with(NewTokenData { token, secret: secret.plain().to_owned() })))
}

/// Revokes a token at all nodes.
///
/// Only the user and administrators have access.
#[utoipa::path(delete, path = "/users/{id}/tokens/{token}", tag = "accounts",
    params(("id" = u64, Path), ("token" = u64, Path)),
    responses(
        (status = 200, body = Answer<Empty>),
    )
)]
pub(crate) async fn revoke(
    state: State,
    auth: RequestAuth,
    Path((id, token)): Path<(String, String)>,
) -> Result<Answer<Empty>, ApiError> {
    let user = state.read_for(&auth, move |view, caller| managed(view, caller, &id)).await?.id;
    let token = number_of("token", &token)?;
    state.cluster.propose(RevokeToken { user, token }).await??;
    Ok(Answer::with(Empty {}))
}

//! A user's tokens: what programs show instead of a password. Users make, name and revoke their own.

use axum::extract::Path;
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use state::View;
use state::command::Command;
use state::{Sealed, Token};
use utoipa::ToSchema;

use super::number_of;
use super::users::{managed, oneself};
use crate::answer::{Answer, Empty};
use crate::caller::{Caller, TOKEN_PREFIX, Visitor};
use crate::dates::DAY;
use crate::error::ApiError;
use crate::fields::{Faults, Fields};
use crate::secret::Secret;
use crate::text::tidy;
use crate::{State, now};

/// The longest name, in characters.
const NAME_CHARACTERS: usize = 100;
/// The most days that a token lasts, where it does not last for ever.
const MOST_DAYS: u64 = 3650;

/// A token, without its secret.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct TokenView {
    /// Its number.
    pub id: u64,
    /// What the user calls it.
    pub name: String,
    /// When it was made, in milliseconds since 1970.
    pub created_at: u64,
    /// When it ends by itself; null if it does not.
    pub expires_at: Option<u64>,
}

impl From<Token> for TokenView {
    fn from(token: Token) -> Self {
        let Token { id, name, created_at, expires_at, .. } = token;
        Self { id, name, created_at, expires_at }
    }
}

/// A user's tokens.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct TokensData {
    /// Oldest first.
    pub tokens: Vec<TokenView>,
}

/// A token that was just made.
#[derive(Serialize, ToSchema)]
pub struct NewTokenData {
    /// The token.
    pub token: TokenView,
    /// Its secret, which is told this once.
    #[schema(example = "qt_5f1d...")]
    pub secret: String,
}

/// Lists a user's tokens.
///
/// The user and administrators may call this.
#[utoipa::path(get, path = "/users/{id}/tokens", tag = "accounts", security(("session" = []), ("token" = [])), params(("id" = u64, Path)), responses(
    (status = 200, body = Answer<TokensData>),
    (status = 401, description = "Nobody is logged in", body = Answer<Empty>),
    (status = 404, description = "No such user, or another one", body = Answer<Empty>),
    (status = 503, description = "No majority of the nodes answers", body = Answer<Empty>),
))]
pub(crate) async fn list(
    state: State,
    visitor: Visitor,
    Path(id): Path<String>,
) -> Result<Answer<TokensData>, ApiError> {
    let look = move |view: &View, caller: &Caller| {
        let (user, at) = (managed(view, caller, &id)?, now());
        let alive = view.tokens_of(user.id)?.into_iter().filter(|token| token.expires_at.is_none_or(|end| at < end));
        Ok(Answer::with(TokensData { tokens: alive.map(TokenView::from).collect() }))
    };
    state.read_for(&visitor, look).await
}

/// A token to be made.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct TokenWish {
    /// What it is for, in at most 100 characters.
    #[serde(default)]
    #[schema(
        required,
        max_length = 100,
        pattern = r"[^\s\x00-\x1F\x7F-\x9F\xAD\u034F\u061C\u115F\u1160\u17B4\u17B5\u180B-\u180F\u200B-\u200F\u202A-\u202E\u2060-\u206F\u2800\u3164\uFE00-\uFE0F\uFEFF\uFFA0\uFFF0-\uFFFB]",
        example = "the script in the kitchen"
    )]
    name: String,
    /// After how many days it ends, 1 to 3650; it does not if this is not given.
    #[schema(minimum = 1, maximum = 3650)]
    days: Option<u64>,
}

/// Makes a token. Its secret is told this once; `Authorization: Bearer` and it open what the user may.
///
/// The user may call this, and not with a token. Form or JSON.
#[utoipa::path(post, path = "/users/{id}/tokens", tag = "accounts", security(("session" = [])), params(("id" = u64, Path)),
    request_body = TokenWish,
    responses(
        (status = 201, body = Answer<NewTokenData>),
        (status = 400, description = "Neither form nor JSON, or fields that are not known", body = Answer<Empty>),
        (status = 401, description = "Nobody is logged in", body = Answer<Empty>),
        (status = 403, description = "A token asked for another one", body = Answer<Empty>),
        (status = 404, description = "No such user, or another one", body = Answer<Empty>),
        (status = 409, description = "There are too many already", body = Answer<Empty>),
        (status = 422, description = "One error for each field that is not right", body = Answer<Empty>),
        (status = 503, description = "No majority of the nodes answers", body = Answer<Empty>),
    )
)]
pub(crate) async fn make(
    state: State,
    visitor: Visitor,
    Path(id): Path<String>,
    Fields(asked): Fields<TokenWish>,
) -> Result<(StatusCode, Answer<NewTokenData>), ApiError> {
    let user = state.read_for(&visitor, move |view, caller| oneself(view, caller, &id)).await?;
    let name = tidy(&asked.name);
    let mut faults = Faults::default();
    if name.is_empty() || name.chars().count() > NAME_CHARACTERS {
        let message = format!("Say what the token is for, in 1 to {NAME_CHARACTERS} characters.");
        faults.add("name", "bad_name", message);
    }
    if asked.days.is_some_and(|days| !(1..=MOST_DAYS).contains(&days)) {
        faults.add("days", "bad_days", format!("A token lasts 1 to {MOST_DAYS} days, or for ever without this field."));
    }
    faults.none()?;

    let secret = Secret::new(TOKEN_PREFIX)?;
    let at = now();
    let expires_at = asked.days.map(|days| at + days * DAY);
    let sealed = Sealed(state.app.accounts.seal.seal(secret.plain().as_bytes())?);
    let command = Command::MakeToken { secret: secret.hash(), sealed, user, name: name.clone(), expires_at, at };
    let id = state.make("making a token", command).await?;
    let token = TokenView { id, name, created_at: at, expires_at };
    Ok((StatusCode::CREATED, Answer::with(NewTokenData { token, secret: secret.plain().to_owned() })))
}

/// Revokes a token, at all nodes at once.
///
/// The user and administrators may call this.
#[utoipa::path(delete, path = "/users/{id}/tokens/{token}", tag = "accounts", security(("session" = []), ("token" = [])),
    params(("id" = u64, Path), ("token" = u64, Path)),
    responses(
        (status = 200, body = Answer<Empty>),
        (status = 401, description = "Nobody is logged in", body = Answer<Empty>),
        (status = 404, description = "No such user or token, or another user", body = Answer<Empty>),
        (status = 503, description = "No majority of the nodes answers", body = Answer<Empty>),
    )
)]
pub(crate) async fn revoke(
    state: State,
    visitor: Visitor,
    Path((id, token)): Path<(String, String)>,
) -> Result<Answer<Empty>, ApiError> {
    let user = state.read_for(&visitor, move |view, caller| managed(view, caller, &id)).await?.id;
    let token = number_of("token", &token)?;
    state.app.cluster.propose(Command::RevokeToken { user, token }).await??;
    Ok(Answer::with(Empty {}))
}

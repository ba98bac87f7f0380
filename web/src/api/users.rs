//! Users. A user manages their own account; administrators manage all accounts.

use axum::extract::Path;
use serde::{Deserialize, Serialize};
use state::View;
use state::command::{ChangeUser, RemoveUser};
use state::{OrphanPolicy, User, folded};
use utoipa::{IntoParams, ToSchema};

use super::PageQuery;
use crate::app::State;
use crate::auth::caller::{AuthMethod, Caller};
use crate::auth::rate_limits;
use crate::auth::request_auth::RequestAuth;
use crate::auth::secret::Secret;
use crate::http::answer::{Answer, Empty};
use crate::http::code::Code;
use crate::http::error::ApiError;
use crate::http::json_or_form::{JsonOrForm, ValidationErrors};
use crate::http::query::Query;

/// The shortest password, in characters.
const SHORTEST_PASSWORD: usize = 8;
/// The longest password, in bytes.
pub(crate) const LONGEST_PASSWORD: usize = 1024;
/// The longest e-mail address, in bytes (RFC 5321).
const LONGEST_EMAIL: usize = 254;

/// A user, as the user and administrators see it.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub(crate) struct UserView {
    /// The id.
    pub(crate) id: u64,
    /// The name.
    pub(crate) username: String,
    /// The e-mail address, if there is one.
    pub(crate) email: Option<String>,
    /// Whether the user is an administrator, who has access to everything.
    pub(crate) administrator: bool,
    /// When the account was created, in milliseconds since 1970.
    pub(crate) created_at: u64,
}

impl UserView {
    pub(crate) fn of(user: User) -> Self {
        let User { id, name, email, administrator, created_at, .. } = user;
        Self { id, username: name, email, administrator, created_at }
    }

    pub(crate) fn by_id(view: &View, id: u64) -> Result<Self, ApiError> {
        view.user(id)?.map(Self::of).ok_or_else(|| no_user(&id.to_string()))
    }
}

/// One user.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub(crate) struct UserData {
    /// The user.
    pub(crate) user: UserView,
}

/// A page of users.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub(crate) struct UsersData {
    /// The users, newest first.
    pub(crate) users: Vec<UserView>,
    /// The `cursor` of the next page; null on the last page.
    pub(crate) next: Option<String>,
}

fn no_user(id: &str) -> ApiError {
    ApiError::NoUser(id.chars().take(20).collect())
}

/// The user in a path, if the caller may manage it.
pub(crate) fn managed(view: &View, caller: &Caller, id: &str) -> Result<User, ApiError> {
    let number = id.parse().map_err(|_| no_user(id))?;
    let user = view.user(number)?.filter(|user| caller.may_manage(user.id));
    user.ok_or_else(|| no_user(id))
}

/// The user in a path, if the caller is that user and has not authenticated with a token.
///
/// Tokens and web hooks are created so: a leaked token must not be able to create others that outlive it, and
/// administrators manage other users but do not act as them.
pub(crate) fn oneself(view: &View, caller: &Caller, id: &str) -> Result<u64, ApiError> {
    let user = managed(view, caller, id)?;
    if caller.user() != Some(user.id) {
        return Err(no_user(id));
    }
    if caller.method == AuthMethod::Token { Err(ApiError::NeedsSession) } else { Ok(user.id) }
}

/// Lists users, newest first.
#[utoipa::path(get, path = "/users/", tag = "accounts", params(PageQuery), responses(
    (status = 200, body = Answer<UsersData>),
))]
pub(crate) async fn list(
    state: State,
    auth: RequestAuth,
    Query(page): Query<PageQuery>,
) -> Result<Answer<UsersData>, ApiError> {
    let limit = page.limit();
    state
        .read_or_stale(&auth, page.stale, move |view, _| {
            let users = view.users(page.cursor, limit)?;
            let next = users.last().filter(|_| users.len() == limit).map(|user| user.id.to_string());
            Ok(Answer::with(UsersData { users: users.into_iter().map(UserView::of).collect(), next }))
        })
        .await
}

/// Shows a user.
///
/// Only the user and administrators have access.
#[utoipa::path(get, path = "/users/{id}", tag = "accounts", params(("id" = u64, Path)), responses(
    (status = 200, body = Answer<UserData>),
))]
pub(crate) async fn get(state: State, auth: RequestAuth, Path(id): Path<String>) -> Result<Answer<UserData>, ApiError> {
    let look = move |view: &View, caller: &Caller| {
        Ok(Answer::with(UserData { user: UserView::of(managed(view, caller, &id)?) }))
    };
    state.read_for(&auth, look).await
}

/// Validates a name.
pub(crate) fn check_name(errors: &mut ValidationErrors, name: &str) {
    if let Err(fault) = folded(name) {
        errors.add("username", Code::BadUsername, format!("Invalid user name: {fault}."));
    }
}

/// Validates a new password.
pub(crate) fn check_passwords(errors: &mut ValidationErrors, one: &Secret, two: &Secret) {
    let plain = one.plain();
    if plain.chars().count() < SHORTEST_PASSWORD || plain.len() > LONGEST_PASSWORD {
        let message = format!("Use at least {SHORTEST_PASSWORD} characters and at most {LONGEST_PASSWORD} bytes.");
        errors.add("password1", Code::BadPassword, message);
    }
    if one != two {
        errors.add("password2", Code::PasswordsDiffer, "The passwords differ. Type both again.");
    }
}

/// Validates an e-mail address.
pub(crate) fn check_email(errors: &mut ValidationErrors, email: Option<&str>) {
    let fits = |email: &str| {
        let parts = email.rsplit_once('@').is_some_and(|(name, host)| !name.is_empty() && !host.is_empty());
        parts && email.len() <= LONGEST_EMAIL && !email.chars().any(|c| c.is_whitespace() || c.is_control())
    };
    if email.is_some_and(|email| !email.is_empty() && !fits(email)) {
        errors.add("email", Code::BadEmail, "Invalid e-mail address. Correct it, or leave it out.");
    }
}

/// Changes to a user. Missing fields stay unchanged.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct UserPatch {
    /// A new name.
    #[schema(pattern = "^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")]
    username: Option<String>,
    /// A new e-mail address; empty to remove it.
    email: Option<String>,
    /// The current password, which users need to change their own password.
    #[schema(value_type = Option<String>, format = Password)]
    password: Option<Secret>,
    /// A new password.
    #[schema(value_type = Option<String>, format = Password, min_length = 8, max_length = 1024)]
    password1: Option<Secret>,
    /// The new password again.
    #[schema(value_type = Option<String>, format = Password, min_length = 8, max_length = 1024)]
    password2: Option<Secret>,
    /// Whether the user is an administrator. Only administrators may change this.
    administrator: Option<bool>,
}

/// Changes a user. A new password ends all other sessions of the user.
///
/// Only the user and administrators have access, and only administrators may change `administrator`. The body is a form
/// or JSON.
#[utoipa::path(patch, path = "/users/{id}", tag = "accounts",
    params(("id" = u64, Path)),
    request_body = UserPatch,
    responses(
        (status = 200, body = Answer<UserData>),
        (status = 409, description = "The name is taken, or the user is the last administrator"),
        (status = 422),
        (status = 429),
    )
)]
pub(crate) async fn update(
    state: State,
    auth: RequestAuth,
    Path(id): Path<String>,
    JsonOrForm(patch): JsonOrForm<UserPatch>,
) -> Result<Answer<UserData>, ApiError> {
    let look = move |view: &View, caller: &Caller| Ok((managed(view, caller, &id)?, *caller));
    let (user, caller) = state.read_for(&auth, look).await?;
    let mut errors = ValidationErrors::default();
    if let Some(name) = &patch.username {
        check_name(&mut errors, name);
    }
    check_email(&mut errors, patch.email.as_deref());
    if patch.password1.is_some() || patch.password2.is_some() {
        check_passwords(
            &mut errors,
            &patch.password1.clone().unwrap_or_default(),
            &patch.password2.clone().unwrap_or_default(),
        );
    }
    if patch.administrator.is_some() && !caller.is_administrator() {
        errors.add("administrator", Code::NotAdministrator, "Only administrators may change this field. Leave it out.");
    }
    let own = caller.user() == Some(user.id);
    if patch.password1.is_some() && own && patch.password.is_none() {
        errors.add("password", Code::MissingPassword, "To change your password, also send the current password.");
    }
    errors.finish()?;

    let (mut password, mut old_password) = (None, None);
    if let Some(new) = patch.password1 {
        if own {
            rate_limits::count(&state.cluster, &rate_limits::login_limits(&auth.client, &user.name)).await?;
            let fits = state.passwords.fits(patch.password.unwrap_or_default(), Some(user.password.clone())).await?;
            if !fits {
                return Err(ApiError::WrongPassword);
            }
            old_password = Some(user.password.clone());
        }
        password = Some(state.passwords.verifier(new).await?);
    }
    let keep = match caller.method {
        AuthMethod::Session(session) if own => Some(session),
        _ => None,
    };
    let command = ChangeUser {
        user: user.id,
        name: patch.username,
        email: patch.email,
        password,
        old_password,
        administrator: patch.administrator,
        keep,
    };
    state.cluster.propose(command).await??;
    let user = state.read(move |view| UserView::by_id(view, user.id)).await?;
    Ok(Answer::with(UserData { user }))
}

/// The parameters for deleting a user.
#[derive(Debug, Clone, Copy, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct RemoveUserQuery {
    /// What happens to the user's songs: `delete` deletes all, `hand_over` keeps those that are shared with everybody
    /// as anonymous songs and deletes the others. Required if the user has songs.
    #[param(value_type = Option<String>, pattern = "^(delete|hand_over)$")]
    songs: Option<SongsPolicy>,
}

#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "snake_case")]
enum SongsPolicy {
    Delete,
    HandOver,
}

/// Deletes a user, with all sessions, tokens and shares, and with songs as `songs` requires.
///
/// Only the user and administrators have access.
#[utoipa::path(delete, path = "/users/{id}", tag = "accounts", params(("id" = u64, Path), RemoveUserQuery), responses(
    (status = 200, body = Answer<Empty>),
    (status = 409, description = "The user has songs and `songs` is missing, or the user is the last administrator"),
))]
pub(crate) async fn delete(
    state: State,
    auth: RequestAuth,
    Path(id): Path<String>,
    query: Result<Query<RemoveUserQuery>, ApiError>,
) -> Result<Answer<Empty>, ApiError> {
    let user = state.read_for(&auth, move |view, caller| managed(view, caller, &id)).await?.id;
    let Query(query) = query?;
    let songs = query.songs.map(|songs| match songs {
        SongsPolicy::Delete => OrphanPolicy::Delete,
        SongsPolicy::HandOver => OrphanPolicy::Transfer,
    });
    state.cluster.propose(RemoveUser { user, songs }).await??;
    tracing::info!(user, "a user was deleted");
    Ok(Answer::with(Empty {}))
}

//! Users: looking, changing, removing. Each looks after themselves, and administrators after all.

use axum::extract::Path;
use serde::{Deserialize, Serialize};
use state::View;
use state::command::Command;
use state::{Legacy, User, folded};
use utoipa::{IntoParams, ToSchema};

use super::Page;
use crate::State;
use crate::answer::{Answer, Empty};
use crate::caller::{Caller, How, Visitor};
use crate::error::ApiError;
use crate::fields::{Faults, Fields};
use crate::query::Query;
use crate::secret::Secret;
use crate::tries::login_counts;

/// The shortest password, in characters.
const SHORTEST_PASSWORD: usize = 8;
/// The longest password, in bytes.
pub(crate) const LONGEST_PASSWORD: usize = 1024;
/// The longest address, in bytes (RFC 5321).
const LONGEST_EMAIL: usize = 254;

/// A user as they themselves and administrators see them.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct UserView {
    /// The number.
    pub id: u64,
    /// The name.
    pub username: String,
    /// Where to write to, if that is known.
    pub email: Option<String>,
    /// Whether everybody's things are open to them.
    pub administrator: bool,
    /// Milliseconds since 1970.
    pub created_at: u64,
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
pub struct UserData {
    /// The user.
    pub user: UserView,
}

/// Some users.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct UsersData {
    /// The users, newest first.
    pub users: Vec<UserView>,
    /// What to give as `cursor` for the next page; null when this was the last.
    pub next: Option<String>,
}

fn no_user(id: &str) -> ApiError {
    ApiError::NoUser(id.chars().take(20).collect())
}

/// The user that a path names, if the caller may look after them. Others are not there.
pub(crate) fn managed(view: &View, caller: &Caller, id: &str) -> Result<User, ApiError> {
    caller.known()?;
    let number = id.parse().map_err(|_| no_user(id))?;
    let user = view.user(number)?.filter(|user| caller.may_manage(user.id));
    user.ok_or_else(|| no_user(id))
}

/// The user that a path names, if the caller is that user and comes with more than a token. So is made what lasts, as
/// tokens and web hooks do: a token that leaked must not live on in them. And an administrator looks after others, and
/// does not act as them.
pub(crate) fn oneself(view: &View, caller: &Caller, id: &str) -> Result<u64, ApiError> {
    let user = managed(view, caller, id)?;
    if caller.user() != Some(user.id) {
        return Err(no_user(id));
    }
    if caller.how == How::Token { Err(ApiError::NeedsSession) } else { Ok(user.id) }
}

/// Lists users, newest first.
///
/// Administrators may call this. For others there is nothing here.
#[utoipa::path(get, path = "/users/", tag = "accounts", security(("session" = []), ("token" = [])), params(Page), responses(
    (status = 200, body = Answer<UsersData>),
    (status = 400, description = "`cursor` or `limit` is no number", body = Answer<Empty>),
    (status = 401, description = "Nobody is logged in", body = Answer<Empty>),
    (status = 404, description = "Not for this user", body = Answer<Empty>),
    (status = 503, description = "No majority of the nodes answers", body = Answer<Empty>),
))]
pub(crate) async fn list(
    state: State,
    visitor: Visitor,
    Query(page): Query<Page>,
) -> Result<Answer<UsersData>, ApiError> {
    let limit = page.limit();
    state
        .read_or_stale(&visitor, page.stale, move |view, caller| {
            if !caller.known()?.administrator {
                return Err(ApiError::NoSuchPath);
            }
            let users = view.users(page.cursor, limit)?;
            let next = users.last().filter(|_| users.len() == limit).map(|user| user.id.to_string());
            Ok(Answer::with(UsersData { users: users.into_iter().map(UserView::of).collect(), next }))
        })
        .await
}

/// Shows one user.
///
/// The user and administrators may call this.
#[utoipa::path(get, path = "/users/{id}", tag = "accounts", security(("session" = []), ("token" = [])), params(("id" = u64, Path)), responses(
    (status = 200, body = Answer<UserData>),
    (status = 401, description = "Nobody is logged in", body = Answer<Empty>),
    (status = 404, description = "No such user, or another one", body = Answer<Empty>),
    (status = 503, description = "No majority of the nodes answers", body = Answer<Empty>),
))]
pub(crate) async fn one(state: State, visitor: Visitor, Path(id): Path<String>) -> Result<Answer<UserData>, ApiError> {
    let look = move |view: &View, caller: &Caller| {
        Ok(Answer::with(UserData { user: UserView::of(managed(view, caller, &id)?) }))
    };
    state.read_for(&visitor, look).await
}

/// Notes what is wrong with a name.
pub(crate) fn check_name(faults: &mut Faults, name: &str) {
    if let Err(fault) = folded(name) {
        faults.add("username", "bad_username", format!("This cannot be a name: {fault}."));
    }
}

/// Notes what is wrong with a new password.
pub(crate) fn check_passwords(faults: &mut Faults, one: &Secret, two: &Secret) {
    let plain = one.plain();
    if plain.chars().count() < SHORTEST_PASSWORD || plain.len() > LONGEST_PASSWORD {
        let message =
            format!("A password has at least {SHORTEST_PASSWORD} characters, and at most {LONGEST_PASSWORD} bytes.");
        faults.add("password1", "bad_password", message);
    }
    if one != two {
        faults.add("password2", "passwords_differ", "This is not the same password again. Type both anew.");
    }
}

/// Notes what is wrong with an address.
pub(crate) fn check_email(faults: &mut Faults, email: Option<&str>) {
    let fits = |email: &str| {
        let parts = email.rsplit_once('@').is_some_and(|(name, host)| !name.is_empty() && !host.is_empty());
        parts && email.len() <= LONGEST_EMAIL && !email.chars().any(|c| c.is_whitespace() || c.is_control())
    };
    if email.is_some_and(|email| !email.is_empty() && !fits(email)) {
        faults.add("email", "bad_email", "This is no e-mail address. Correct it, or leave it out.");
    }
}

/// What can be changed of a user. What is not given stays as it is.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct UserChange {
    /// A new name.
    #[schema(pattern = "^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")]
    username: Option<String>,
    /// A new address; an empty one for none.
    email: Option<String>,
    /// The password as it is, which users need to change their own.
    #[schema(value_type = Option<String>, format = Password)]
    password: Option<Secret>,
    /// A new password.
    #[schema(value_type = Option<String>, format = Password, min_length = 8, max_length = 1024)]
    password1: Option<Secret>,
    /// The same again.
    #[schema(value_type = Option<String>, format = Password, min_length = 8, max_length = 1024)]
    password2: Option<Secret>,
    /// Whether everybody's things are open to the user; administrators alone change it.
    administrator: Option<bool>,
}

/// Changes a user. With the password, all other sessions end.
///
/// The user and administrators may call this; `administrator` is for administrators alone. Form or JSON.
#[utoipa::path(patch, path = "/users/{id}", tag = "accounts", security(("session" = []), ("token" = [])), params(("id" = u64, Path)), request_body = UserChange,
    responses(
        (status = 200, body = Answer<UserData>),
        (status = 400, description = "Neither form nor JSON, or fields that are not known", body = Answer<Empty>),
        (status = 401, description = "Nobody is logged in, or the password is wrong", body = Answer<Empty>),
        (status = 404, description = "No such user, or another one", body = Answer<Empty>),
        (status = 409, description = "The name is taken, or this is the last administrator", body = Answer<Empty>),
        (status = 422, description = "One error for each field that is not right", body = Answer<Empty>),
        (status = 429, description = "The password was tried too often", body = Answer<Empty>),
        (status = 503, description = "No majority of the nodes answers", body = Answer<Empty>),
    )
)]
pub(crate) async fn change(
    state: State,
    visitor: Visitor,
    Path(id): Path<String>,
    Fields(asked): Fields<UserChange>,
) -> Result<Answer<UserData>, ApiError> {
    let look = move |view: &View, caller: &Caller| Ok((managed(view, caller, &id)?, *caller));
    let (user, caller) = state.read_for(&visitor, look).await?;
    let mut faults = Faults::default();
    if let Some(name) = &asked.username {
        check_name(&mut faults, name);
    }
    check_email(&mut faults, asked.email.as_deref());
    if asked.password1.is_some() || asked.password2.is_some() {
        check_passwords(
            &mut faults,
            &asked.password1.clone().unwrap_or_default(),
            &asked.password2.clone().unwrap_or_default(),
        );
    }
    if asked.administrator.is_some() && !caller.is_administrator() {
        faults.add("administrator", "not_administrator", "Administrators alone make administrators. Leave this out.");
    }
    let own = caller.user() == Some(user.id);
    if asked.password1.is_some() && own && asked.password.is_none() {
        faults.add("password", "missing_password", "To change your password, send the one that you have, too.");
    }
    faults.none()?;

    let (mut password, mut old_password) = (None, None);
    if let Some(new) = asked.password1 {
        if own {
            state.count(&login_counts(&visitor.client, &user.name)).await?;
            let fits = state.passwords.fits(asked.password.unwrap_or_default(), Some(user.password.clone())).await?;
            if !fits {
                return Err(ApiError::WrongPassword);
            }
            old_password = Some(user.password.clone());
        }
        password = Some(state.passwords.verifier(new).await?);
    }
    let keep = match caller.how {
        How::Session(session) if own => Some(session),
        _ => None,
    };
    let command = Command::ChangeUser {
        user: user.id,
        name: asked.username,
        email: asked.email,
        password,
        old_password,
        administrator: asked.administrator,
        keep,
    };
    state.app.cluster.propose(command).await??;
    let user = state.read(move |view| UserView::by_id(view, user.id)).await?;
    Ok(Answer::with(UserData { user }))
}

/// What becomes of a user's songs.
#[derive(Debug, Clone, Copy, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct Leaving {
    /// `delete`, or `hand_over`: those that are for everybody stay and are nobody's, the others are deleted. It must be
    /// given if the user has songs.
    #[param(value_type = Option<String>, pattern = "^(delete|hand_over)$")]
    songs: Option<Songs>,
}

#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Songs {
    Delete,
    HandOver,
}

/// Removes a user, with sessions, tokens, shares and, as `songs` says, songs.
///
/// The user and administrators may call this.
#[utoipa::path(delete, path = "/users/{id}", tag = "accounts", security(("session" = []), ("token" = [])), params(("id" = u64, Path), Leaving), responses(
    (status = 200, body = Answer<Empty>),
    (status = 400, description = "`songs` is neither delete nor hand_over", body = Answer<Empty>),
    (status = 401, description = "Nobody is logged in", body = Answer<Empty>),
    (status = 404, description = "No such user, or another one", body = Answer<Empty>),
    (status = 409, description = "There are songs and `songs` is not given, or it is the last administrator",
        body = Answer<Empty>),
    (status = 503, description = "No majority of the nodes answers", body = Answer<Empty>),
))]
pub(crate) async fn remove(
    state: State,
    visitor: Visitor,
    Path(id): Path<String>,
    leaving: Result<Query<Leaving>, ApiError>,
) -> Result<Answer<Empty>, ApiError> {
    let user = state.read_for(&visitor, move |view, caller| managed(view, caller, &id)).await?.id;
    let Query(leaving) = leaving?;
    let songs = leaving.songs.map(|songs| match songs {
        Songs::Delete => Legacy::Delete,
        Songs::HandOver => Legacy::HandOver,
    });
    state.app.cluster.propose(Command::RemoveUser { user, songs }).await??;
    tracing::info!(user, "a user was removed");
    Ok(Answer::with(Empty {}))
}

//! Registering, logging in and out, and who one is.

use std::sync::Arc;

use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use state::command::{Command, Refusal};
use state::{Count, NAME_LENGTH, User, folded};
use utoipa::ToSchema;

use super::users::{LONGEST_PASSWORD, UserData, UserView, check_email, check_name, check_passwords};
use crate::answer::{Answer, Empty};
use crate::caller::{How, SESSION_SECONDS, Visitor};
use crate::client::Client;
use crate::error::ApiError;
use crate::fields::{Faults, Fields};
use crate::secret::Secret;
use crate::tries::{login_counts, newcomer_counts};
use crate::{State, now};

/// How much is kept of what a browser calls itself, in characters.
const SEEN_CHARACTERS: usize = 200;

/// Who wants an account.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Registration {
    /// 1 to 64 letters, digits, dots, hyphens or underscores; a letter or a digit first.
    #[serde(default)]
    #[schema(required, pattern = "^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$", example = "ada")]
    username: String,
    /// At least 8 characters, at most 1024 bytes.
    #[serde(default)]
    #[schema(value_type = String, required, format = Password, min_length = 8, max_length = 1024)]
    password1: Secret,
    /// The same again.
    #[serde(default)]
    #[schema(value_type = String, required, format = Password, min_length = 8, max_length = 1024)]
    password2: Secret,
    /// Where to write to.
    #[schema(example = "ada@example.org")]
    email: Option<String>,
}

/// Makes an account. The first one is an administrator's.
///
/// Form or JSON. Whoever reaches the port may call this while registration is open or nobody has an account; later, with
/// registration closed, administrators.
#[utoipa::path(post, path = "/auth/register", tag = "accounts", security(()), request_body = Registration, responses(
    (status = 201, body = Answer<UserData>),
    (status = 400, description = "Neither form nor JSON, or fields that are not known", body = Answer<Empty>),
    (status = 403, description = "Registration is closed", body = Answer<Empty>),
    (status = 409, description = "The name is taken", body = Answer<Empty>),
    (status = 422, description = "One error for each field that is not right", body = Answer<Empty>),
    (status = 429, description = "Too many accounts from this address; Retry-After says when", body = Answer<Empty>),
    (status = 503, description = "No majority of the nodes answers", body = Answer<Empty>),
))]
pub(crate) async fn register(
    state: State,
    visitor: Visitor,
    Fields(asked): Fields<Registration>,
) -> Result<(StatusCode, Answer<UserData>), ApiError> {
    let mut faults = Faults::default();
    check_name(&mut faults, &asked.username);
    check_passwords(&mut faults, &asked.password1, &asked.password2);
    check_email(&mut faults, asked.email.as_deref());
    faults.none()?;
    let (who, shared, name) = (visitor.clone(), Arc::clone(&state), asked.username.clone());
    // What is certain to be refused need not cost a hash; applying decides.
    let closed = state
        .read(move |view| {
            let closed = !shared.app.accounts.open && !who.recognise(view, true)?.is_administrator();
            if closed && view.has_users()? {
                return Err(Refusal::Closed.into());
            }
            let taken = folded(&name).map_or(Ok(None), |folded| view.user_named(&folded))?;
            match taken {
                Some(_) => Err(Refusal::NameTaken(name).into()),
                None => Ok(closed),
            }
        })
        .await?;
    state.count(&newcomer_counts(&visitor.client)).await?;
    let password = state.passwords.verifier(asked.password1).await?;
    let email = asked.email.filter(|email| !email.is_empty());
    let command = Command::Register { name: asked.username, email, password, closed, at: now() };
    let user = state.make("making an account", command).await?;
    tracing::info!(user, "a user has registered");
    let user = state.read(move |view| UserView::by_id(view, user)).await?;
    Ok((StatusCode::CREATED, Answer::with(UserData { user })))
}

/// Name and password.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Login {
    /// The name, in whatever case.
    username: String,
    /// The password.
    #[schema(value_type = String, format = Password)]
    password: Secret,
}

/// Begins a session, which lasts thirty days at all nodes. The answer sets its cookie.
///
/// Form or JSON. Whoever reaches the port may call this. A name's password can be tried ten times in a quarter of an hour
/// from one address, at all nodes together, and all names' a hundred times.
#[utoipa::path(post, path = "/auth/login", tag = "accounts", security(()), request_body = Login, responses(
    (status = 200, body = Answer<UserData>),
    (status = 400, description = "Neither form nor JSON, or fields are missing or not known", body = Answer<Empty>),
    (status = 401, description = "The name or the password is wrong", body = Answer<Empty>),
    (status = 429, description = "Tried too often; Retry-After says when", body = Answer<Empty>),
    (status = 503, description = "No majority of the nodes answers", body = Answer<Empty>),
))]
pub(crate) async fn login(
    state: State,
    visitor: Visitor,
    headers: header::HeaderMap,
    Fields(asked): Fields<Login>,
) -> Result<Response, ApiError> {
    let (user, counts) = known_by_password(&state, &visitor.client, &asked.username, asked.password).await?;

    let secret = Secret::new("")?;
    let at = now();
    let seen = headers.get(header::USER_AGENT).map(|agent| String::from_utf8_lossy(agent.as_bytes()).into_owned());
    let command = Command::OpenSession {
        secret: secret.hash(),
        user: user.id,
        password: user.password.clone(),
        seen: seen.unwrap_or_default().chars().filter(|c| !c.is_control()).take(SEEN_CHARACTERS).collect(),
        expires_at: at + SESSION_SECONDS * 1000,
        clears: vec![counts[0].of],
        at,
    };
    state.app.cluster.propose(command).await??;
    let mut response = Answer::with(UserData { user: UserView::of(user) }).into_response();
    if let Some(cookie) = visitor.set_cookie(Some(&secret)) {
        response.headers_mut().insert(header::SET_COOKIE, cookie);
    }
    Ok(response)
}

/// The user with this name and password, and as what the try was counted.
pub(crate) async fn known_by_password(
    state: &State,
    client: &Client,
    name: &str,
    password: Secret,
) -> Result<(User, [Count; 2]), ApiError> {
    let name: String = name.chars().take(NAME_LENGTH + 1).collect();
    let counts = login_counts(client, &name);
    state.count(&counts).await?;
    let user = match folded(&name) {
        Ok(folded) => state.read(move |view| Ok(view.user_named(&folded)?)).await?,
        Err(_) => None,
    };
    let verifier = user.as_ref().map(|user| user.password.clone());
    // A password longer than any that is taken is not worth a hash's time, but must not tell more than a wrong one.
    let password = if password.plain().len() > LONGEST_PASSWORD { Secret::default() } else { password };
    let fits = state.passwords.fits(password, verifier).await?;
    user.filter(|_| fits).map(|user| (user, counts)).ok_or(ApiError::WrongPassword)
}

/// Ends the session, at all nodes at once, and takes its cookie back.
///
/// Whoever reaches the port may call this; without a session it does nothing. A token is ended by deleting it.
#[utoipa::path(post, path = "/auth/logout", tag = "accounts", security(()), responses(
    (status = 200, body = Answer<Empty>),
    (status = 503, description = "No majority of the nodes answers", body = Answer<Empty>),
))]
pub(crate) async fn logout(state: State, visitor: Visitor) -> Result<Response, ApiError> {
    let who = visitor.clone();
    let caller = state.read(move |view| who.recognise(view, true)).await?;
    if let (Some(user), How::Session(session)) = (caller.user(), caller.how) {
        match state.app.cluster.propose(Command::EndSession { user, session }).await? {
            // Somebody else was quicker, which is as good.
            Ok(_) | Err(Refusal::NoSuchSession(_)) => {}
            Err(refusal) => return Err(refusal.into()),
        }
    }
    let mut response = Answer::with(Empty {}).into_response();
    if let Some(cookie) = visitor.set_cookie(None) {
        response.headers_mut().insert(header::SET_COOKIE, cookie);
    }
    Ok(response)
}

/// Who one is, and what the cluster allows.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct MeData {
    /// The user; null for who is not logged in.
    pub user: Option<UserView>,
    /// `session` or `token`, by which the user was recognised; null for who was not.
    pub by: Option<&'static str>,
    /// Whether people without an account may use the cluster.
    pub anonymous: bool,
    /// Whether one may register.
    pub registration: bool,
    /// Whether anybody has an account. The first to register is an administrator.
    pub accounts: bool,
}

/// Says who one is, and what the cluster allows.
///
/// Whoever reaches the port may call this.
#[utoipa::path(get, path = "/auth/me", tag = "accounts", security(()), responses(
    (status = 200, body = Answer<MeData>),
    (status = 401, description = "The token opens nothing", body = Answer<Empty>),
    (status = 503, description = "No majority of the nodes answers", body = Answer<Empty>),
))]
pub(crate) async fn me(state: State, visitor: Visitor) -> Result<Answer<MeData>, ApiError> {
    let shared = Arc::clone(&state);
    state
        .read(move |view| {
            let caller = visitor.recognise(view, true)?;
            let accounts = view.has_users()?;
            Ok(Answer::with(MeData {
                user: caller.user().map(|user| UserView::by_id(view, user)).transpose()?,
                by: match caller.how {
                    How::Not => None,
                    How::Session(_) => Some("session"),
                    How::Token => Some("token"),
                    How::Password => Some("password"),
                },
                anonymous: shared.app.accounts.anonymous,
                registration: shared.app.accounts.open || !accounts,
                accounts,
            }))
        })
        .await
}

//! Registration, login and logout.

use std::sync::Arc;

use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use state::command::{EndSession, OpenSession, Refusal, Register};
use state::{NAME_LENGTH, RateLimit, User, folded};
use utoipa::ToSchema;

use super::users::{LONGEST_PASSWORD, UserData, UserView, check_email, check_name, check_passwords};
use crate::app::State;
use crate::auth::caller::AuthMethod;
use crate::auth::client::Client;
use crate::auth::rate_limits;
use crate::auth::request_auth::{RequestAuth, SESSION_SECONDS};
use crate::auth::secret::Secret;
use crate::clock::now;
use crate::http::answer::{Answer, Empty};
use crate::http::error::ApiError;
use crate::http::json_or_form::{JsonOrForm, ValidationErrors};

/// The most characters that are stored of a browser's `User-Agent`.
const USER_AGENT_CHARACTERS: usize = 200;

/// A new account.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Registration {
    /// The name: 1 to 64 letters, digits, dots, hyphens or underscores, with a letter or a digit first.
    #[serde(default)]
    #[schema(required, pattern = "^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$", example = "ada")]
    username: String,
    /// The password: at least 8 characters and at most 1024 bytes.
    #[serde(default)]
    #[schema(value_type = String, required, format = Password, min_length = 8, max_length = 1024)]
    password1: Secret,
    /// The same password again.
    #[serde(default)]
    #[schema(value_type = String, required, format = Password, min_length = 8, max_length = 1024)]
    password2: Secret,
    /// An e-mail address.
    #[schema(example = "ada@example.org")]
    email: Option<String>,
}

/// Creates an account. The first account is an administrator.
///
/// While registration is closed, only administrators may create accounts, except for the first one. The body is a form
/// or JSON.
#[utoipa::path(post, path = "/auth/register", tag = "accounts", request_body = Registration, responses(
    (status = 201, body = Answer<UserData>),
    (status = 401),
    (status = 409),
    (status = 422),
    (status = 429),
))]
pub(crate) async fn register(
    state: State,
    auth: RequestAuth,
    JsonOrForm(new): JsonOrForm<Registration>,
) -> Result<(StatusCode, Answer<UserData>), ApiError> {
    let mut errors = ValidationErrors::default();
    check_name(&mut errors, &new.username);
    check_passwords(&mut errors, &new.password1, &new.password2);
    check_email(&mut errors, new.email.as_deref());
    errors.finish()?;
    let (shared, caller, name) = (Arc::clone(&state), auth.clone(), new.username.clone());
    // A request that will be refused should not cost a hash. The command checks again.
    let closed = state
        .read(move |view| {
            let closed = !shared.accounts.open && !caller.recognise(view, true)?.is_administrator();
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
    rate_limits::count(&state.cluster, &rate_limits::registration_limits(&auth.client)).await?;
    let password = state.passwords.verifier(new.password1).await?;
    let email = new.email.filter(|email| !email.is_empty());
    let command = Register { name: new.username, email, password, closed, at: now() };
    let user = state.create("creating an account", command).await?;
    tracing::info!(user, "a user registered");
    let user = state.read(move |view| UserView::by_id(view, user)).await?;
    Ok((StatusCode::CREATED, Answer::with(UserData { user })))
}

/// A name and a password.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct LoginBody {
    /// The name. Case does not matter.
    username: String,
    /// The password.
    #[schema(value_type = String, format = Password)]
    password: Secret,
}

/// Logs in and sets the cookie of a session, which lasts thirty days at all nodes.
///
/// From one address, 10 attempts per name and 100 attempts in total are allowed in 15 minutes, at all nodes together.
/// The body is a form or JSON.
#[utoipa::path(post, path = "/auth/login", tag = "accounts", request_body = LoginBody, responses(
    (status = 200, body = Answer<UserData>),
    (status = 401),
    (status = 429),
))]
pub(crate) async fn login(
    state: State,
    auth: RequestAuth,
    headers: header::HeaderMap,
    JsonOrForm(given): JsonOrForm<LoginBody>,
) -> Result<Response, ApiError> {
    let (user, limits) = known_by_password(&state, &auth.client, &given.username, given.password).await?;

    let secret = Secret::new("")?;
    let at = now();
    let agent = headers.get(header::USER_AGENT).map(|agent| String::from_utf8_lossy(agent.as_bytes()).into_owned());
    let command = OpenSession {
        secret: secret.hash(),
        user: user.id,
        password: user.password.clone(),
        user_agent: agent.unwrap_or_default().chars().filter(|c| !c.is_control()).take(USER_AGENT_CHARACTERS).collect(),
        expires_at: at + SESSION_SECONDS * 1000,
        clears: vec![limits[0].key],
        at,
    };
    state.cluster.propose(command).await??;
    let mut response = Answer::with(UserData { user: UserView::of(user) }).into_response();
    if let Some(cookie) = auth.set_cookie(Some(&secret)) {
        response.headers_mut().insert(header::SET_COOKIE, cookie);
    }
    Ok(response)
}

/// The user with this name and password, and the limits under which the attempt was counted.
pub(crate) async fn known_by_password(
    state: &State,
    client: &Client,
    name: &str,
    password: Secret,
) -> Result<(User, [RateLimit; 2]), ApiError> {
    let name: String = name.chars().take(NAME_LENGTH + 1).collect();
    let limits = rate_limits::login_limits(client, &name);
    rate_limits::count(&state.cluster, &limits).await?;
    let user = match folded(&name) {
        Ok(folded) => state.read(move |view| Ok(view.user_named(&folded)?)).await?,
        Err(_) => None,
    };
    let verifier = user.as_ref().map(|user| user.password.clone());
    // A password over the limit is not hashed, but gets the same response as a wrong one.
    let password = if password.plain().len() > LONGEST_PASSWORD { Secret::default() } else { password };
    let fits = state.passwords.fits(password, verifier).await?;
    user.filter(|_| fits).map(|user| (user, limits)).ok_or(ApiError::WrongPassword)
}

/// Logs out: ends the session at all nodes and removes its cookie.
///
/// Without a session this does nothing. To end a token, delete it.
#[utoipa::path(post, path = "/auth/logout", tag = "accounts", responses((status = 200, body = Answer<Empty>)))]
pub(crate) async fn logout(state: State, auth: RequestAuth) -> Result<Response, ApiError> {
    let credentials = auth.clone();
    let caller = state.read(move |view| credentials.recognise(view, true)).await?;
    if let (Some(user), AuthMethod::Session(session)) = (caller.user(), caller.method) {
        match state.cluster.propose(EndSession { user, session }).await? {
            // Another request ended the session first.
            Ok(_) | Err(Refusal::NoSuchSession(_)) => {}
            Err(refusal) => return Err(refusal.into()),
        }
    }
    let mut response = Answer::with(Empty {}).into_response();
    if let Some(cookie) = auth.set_cookie(None) {
        response.headers_mut().insert(header::SET_COOKIE, cookie);
    }
    Ok(response)
}

/// The caller, and the settings for accounts.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub(crate) struct MeData {
    /// The user; null for anonymous callers.
    pub(crate) user: Option<UserView>,
    /// How the user was authenticated: `session` or `token`; null for anonymous callers.
    pub(crate) by: Option<&'static str>,
    /// Whether callers without an account may use the cluster.
    pub(crate) anonymous: bool,
    /// Whether everybody may register.
    pub(crate) registration: bool,
    /// Whether there are accounts. The first account becomes an administrator.
    pub(crate) accounts: bool,
}

/// Shows the caller's account and the settings for accounts.
#[utoipa::path(get, path = "/auth/me", tag = "accounts", responses(
    (status = 200, body = Answer<MeData>),
    (status = 401),
))]
pub(crate) async fn me(state: State, auth: RequestAuth) -> Result<Answer<MeData>, ApiError> {
    let shared = Arc::clone(&state);
    state
        .read(move |view| {
            let caller = auth.recognise(view, true)?;
            let accounts = view.has_users()?;
            Ok(Answer::with(MeData {
                user: caller.user().map(|user| UserView::by_id(view, user)).transpose()?,
                by: match caller.method {
                    AuthMethod::None => None,
                    AuthMethod::Session(_) => Some("session"),
                    AuthMethod::Token => Some("token"),
                    AuthMethod::Password => Some("password"),
                },
                anonymous: shared.accounts.anonymous,
                registration: shared.accounts.open || !accounts,
                accounts,
            }))
        })
        .await
}

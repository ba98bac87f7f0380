//! The sessions of a user.

use axum::extract::Path;
use serde::Serialize;
use state::View;
use state::command::{EndSession, EndSessions};
use utoipa::ToSchema;

use super::number_of;
use super::users::managed;
use crate::app::State;
use crate::auth::caller::{AuthMethod, Caller};
use crate::auth::request_auth::RequestAuth;
use crate::clock::now;
use crate::http::answer::{Answer, Empty};
use crate::http::error::ApiError;

/// A session of a user.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub(crate) struct SessionView {
    /// The id.
    pub(crate) id: u64,
    /// When the session began, in milliseconds since 1970.
    pub(crate) created_at: u64,
    /// When the session expires, in milliseconds since 1970.
    pub(crate) expires_at: u64,
    /// The `User-Agent` of the browser.
    pub(crate) browser: String,
    /// Whether this request uses the session.
    pub(crate) current: bool,
}

/// A user's sessions.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub(crate) struct SessionsData {
    /// The sessions, oldest first.
    pub(crate) sessions: Vec<SessionView>,
}

/// Lists the sessions of a user.
///
/// Only the user and administrators have access.
#[utoipa::path(get, path = "/users/{id}/sessions", tag = "accounts", params(("id" = u64, Path)), responses(
    (status = 200, body = Answer<SessionsData>),
))]
pub(crate) async fn list(
    state: State,
    auth: RequestAuth,
    Path(id): Path<String>,
) -> Result<Answer<SessionsData>, ApiError> {
    let look = move |view: &View, caller: &Caller| {
        let (user, at) = (managed(view, caller, &id)?, now());
        let valid = view.sessions_of(user.id)?.into_iter().filter(|session| at < session.expires_at);
        let sessions = valid.map(|session| SessionView {
            id: session.id,
            created_at: session.created_at,
            expires_at: session.expires_at,
            browser: session.user_agent,
            current: caller.method == AuthMethod::Session(session.id),
        });
        Ok(Answer::with(SessionsData { sessions: sessions.collect() }))
    };
    state.read_for(&auth, look).await
}

/// Ends all sessions of a user, including the current one.
///
/// Only the user and administrators have access.
#[utoipa::path(delete, path = "/users/{id}/sessions", tag = "accounts", params(("id" = u64, Path)), responses(
    (status = 200, body = Answer<Empty>),
))]
pub(crate) async fn end_all(
    state: State,
    auth: RequestAuth,
    Path(id): Path<String>,
) -> Result<Answer<Empty>, ApiError> {
    let user = state.read_for(&auth, move |view, caller| managed(view, caller, &id)).await?.id;
    state.cluster.propose(EndSessions { user, keep: None }).await??;
    Ok(Answer::with(Empty {}))
}

/// Ends a session of a user at all nodes.
///
/// Only the user and administrators have access.
#[utoipa::path(delete, path = "/users/{id}/sessions/{session}", tag = "accounts",
    params(("id" = u64, Path), ("session" = u64, Path)),
    responses(
        (status = 200, body = Answer<Empty>),
    )
)]
pub(crate) async fn end(
    state: State,
    auth: RequestAuth,
    Path((id, session)): Path<(String, String)>,
) -> Result<Answer<Empty>, ApiError> {
    let user = state.read_for(&auth, move |view, caller| managed(view, caller, &id)).await?.id;
    let session = number_of("session", &session)?;
    state.cluster.propose(EndSession { user, session }).await??;
    Ok(Answer::with(Empty {}))
}

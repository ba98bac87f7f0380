//! A user's sessions: where they are logged in, and ending that from afar.

use axum::extract::Path;
use serde::Serialize;
use state::View;
use state::command::Command;
use utoipa::ToSchema;

use super::number_of;
use super::users::managed;
use crate::answer::{Answer, Empty};
use crate::caller::{Caller, How, Visitor};
use crate::error::ApiError;
use crate::{State, now};

/// A browser in which a user is logged in.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct SessionView {
    /// Its number.
    pub id: u64,
    /// When it began, in milliseconds since 1970.
    pub created_at: u64,
    /// When it ends by itself.
    pub expires_at: u64,
    /// What the browser calls itself.
    pub browser: String,
    /// Whether this very request came by it.
    pub current: bool,
}

/// A user's sessions.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct SessionsData {
    /// Oldest first.
    pub sessions: Vec<SessionView>,
}

/// Lists a user's sessions.
///
/// The user and administrators may call this.
#[utoipa::path(get, path = "/users/{id}/sessions", tag = "accounts", security(("session" = []), ("token" = [])), params(("id" = u64, Path)), responses(
    (status = 200, body = Answer<SessionsData>),
    (status = 401, description = "Nobody is logged in", body = Answer<Empty>),
    (status = 404, description = "No such user, or another one", body = Answer<Empty>),
    (status = 503, description = "No majority of the nodes answers", body = Answer<Empty>),
))]
pub(crate) async fn list(
    state: State,
    visitor: Visitor,
    Path(id): Path<String>,
) -> Result<Answer<SessionsData>, ApiError> {
    let look = move |view: &View, caller: &Caller| {
        let (user, at) = (managed(view, caller, &id)?, now());
        let alive = view.sessions_of(user.id)?.into_iter().filter(|session| at < session.expires_at);
        let sessions = alive.map(|session| SessionView {
            id: session.id,
            created_at: session.created_at,
            expires_at: session.expires_at,
            browser: session.seen,
            current: caller.how == How::Session(session.id),
        });
        Ok(Answer::with(SessionsData { sessions: sessions.collect() }))
    };
    state.read_for(&visitor, look).await
}

/// Ends all of a user's sessions, this one too.
///
/// The user and administrators may call this.
#[utoipa::path(delete, path = "/users/{id}/sessions", tag = "accounts", security(("session" = []), ("token" = [])), params(("id" = u64, Path)), responses(
    (status = 200, body = Answer<Empty>),
    (status = 401, description = "Nobody is logged in", body = Answer<Empty>),
    (status = 404, description = "No such user, or another one", body = Answer<Empty>),
    (status = 503, description = "No majority of the nodes answers", body = Answer<Empty>),
))]
pub(crate) async fn end_all(state: State, visitor: Visitor, Path(id): Path<String>) -> Result<Answer<Empty>, ApiError> {
    let user = state.read_for(&visitor, move |view, caller| managed(view, caller, &id)).await?.id;
    state.app.cluster.propose(Command::EndSessionsOf { user, keep: None }).await??;
    Ok(Answer::with(Empty {}))
}

/// Ends one of a user's sessions, at all nodes at once.
///
/// The user and administrators may call this.
#[utoipa::path(delete, path = "/users/{id}/sessions/{session}", tag = "accounts", security(("session" = []), ("token" = [])),
    params(("id" = u64, Path), ("session" = u64, Path)),
    responses(
        (status = 200, body = Answer<Empty>),
        (status = 401, description = "Nobody is logged in", body = Answer<Empty>),
        (status = 404, description = "No such user or session, or another user", body = Answer<Empty>),
        (status = 503, description = "No majority of the nodes answers", body = Answer<Empty>),
    )
)]
pub(crate) async fn end(
    state: State,
    visitor: Visitor,
    Path((id, session)): Path<(String, String)>,
) -> Result<Answer<Empty>, ApiError> {
    let user = state.read_for(&visitor, move |view, caller| managed(view, caller, &id)).await?.id;
    let session = number_of("session", &session)?;
    state.app.cluster.propose(Command::EndSession { user, session }).await??;
    Ok(Answer::with(Empty {}))
}

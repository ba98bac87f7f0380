//! What watches a node from outside: is it alive, is it ready, and its numbers.

use std::sync::Arc;
use std::time::Duration;

use axum::http::header;
use axum::response::IntoResponse;
use serde::Serialize;
use utoipa::ToSchema;

use crate::State;
use crate::answer::{Answer, Empty};
use crate::error::ApiError;

/// How long a node may take to show that it is ready.
const READY_WITHIN: Duration = Duration::from_secs(2);

/// A node that answers.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct Alive {
    /// Its number.
    pub id: u64,
    /// Its program's version.
    pub version: &'static str,
}

/// Says that the process runs, and no more.
///
/// Anyone who reaches the port may call this.
#[utoipa::path(get, path = "/healthz", tag = "health", security(()), responses((status = 200, body = Answer<Alive>)))]
pub(crate) async fn alive(state: State) -> Answer<Alive> {
    Answer::with(Alive { id: state.app.cluster.status().id, version: env!("CARGO_PKG_VERSION") })
}

/// Says whether requests should be sent to this node: it knows a leader that a majority follows, and has caught up.
///
/// Anyone who reaches the port may call this.
#[utoipa::path(get, path = "/readyz", tag = "health", security(()), responses(
    (status = 200, body = Answer<Alive>),
    (status = 503, description = "Not now, and why", body = Answer<Empty>),
))]
pub(crate) async fn ready(state: State) -> Result<Answer<Alive>, ApiError> {
    if state.app.stopping.is_cancelled() {
        return Err(ApiError::Stopping);
    }
    let status = state.app.cluster.status();
    if status.leader.is_none() {
        return Err(ApiError::NoMajority("there is no leader".into()));
    }
    // A linearizable read succeeds only with a majority behind the leader and everything before it applied here.
    match tokio::time::timeout(READY_WITHIN, state.app.cluster.read()).await {
        Ok(read) => {
            read?;
            Ok(alive(state).await)
        }
        Err(_) => Err(ApiError::NoMajority(format!(
            "this node has applied {} of the {} log entries it knows of, and is waiting for the leader",
            status.last_applied, status.last_log,
        ))),
    }
}

/// The node's numbers, in Prometheus' text format.
///
/// Anyone who reaches the port may call this. It names no songs, titles or users.
#[utoipa::path(get, path = "/metrics", tag = "health", security(()), responses(
    (status = 200, description = "Prometheus' text format", body = String, content_type = "text/plain"),
))]
pub(crate) async fn metrics(state: State) -> impl IntoResponse {
    let gather = Arc::clone(&state.app.metrics);
    let text = crate::blocking("counting", move || gather()).await;
    text.map(|text| ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], text))
}

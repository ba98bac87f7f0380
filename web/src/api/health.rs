//! Health checks and metrics of a node.

use std::sync::Arc;
use std::time::Duration;

use axum::http::header;
use axum::response::IntoResponse;
use serde::Serialize;
use utoipa::ToSchema;

use crate::app::State;
use crate::http::answer::Answer;
use crate::http::error::ApiError;

/// The longest time of the readiness check.
const READY_WITHIN: Duration = Duration::from_secs(2);

/// A live node.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub(crate) struct Alive {
    /// The id.
    pub(crate) id: u64,
    /// The version of the program.
    pub(crate) version: &'static str,
}

/// Liveness check: the process is running.
#[utoipa::path(get, path = "/healthz", tag = "health", responses((status = 200, body = Answer<Alive>)))]
pub(crate) async fn alive(state: State) -> Answer<Alive> {
    Answer::with(Alive { id: state.cluster.status().id, version: env!("CARGO_PKG_VERSION") })
}

/// Readiness check: the cluster has a leader and a majority, and this node is up to date.
#[utoipa::path(get, path = "/readyz", tag = "health", responses((status = 200, body = Answer<Alive>)))]
pub(crate) async fn ready(state: State) -> Result<Answer<Alive>, ApiError> {
    if state.stopping.is_cancelled() {
        return Err(ApiError::Stopping);
    }
    let status = state.cluster.status();
    if status.leader.is_none() {
        return Err(ApiError::NoMajority("there is no leader".into()));
    }
    // A linearizable read succeeds only if a majority follows the leader and this node has applied everything before
    // it.
    match tokio::time::timeout(READY_WITHIN, state.cluster.read()).await {
        Ok(read) => {
            read?;
            Ok(alive(state).await)
        }
        Err(_) => Err(ApiError::NoMajority(format!(
            "this node has applied {} of its {} log entries, and is waiting for the leader",
            status.last_applied, status.last_log,
        ))),
    }
}

/// Returns the metrics of the node in Prometheus' text format. They contain no titles or names of users.
#[utoipa::path(get, path = "/metrics", tag = "health", responses(
    (status = 200, description = "Prometheus' text format", body = String, content_type = "text/plain"),
))]
pub(crate) async fn metrics(state: State) -> impl IntoResponse {
    let gather = Arc::clone(&state.metrics);
    let text = crate::http::blocking("rendering the metrics", move || gather()).await;
    text.map(|text| ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], text))
}

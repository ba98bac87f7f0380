//! What all endpoints share of HTTP: the JSON envelope, errors, bodies, queries, ranges and entity tags.

pub(crate) mod answer;
pub(crate) mod code;
pub(crate) mod error;
pub(crate) mod etag;
pub(crate) mod json_or_form;
pub(crate) mod query;
pub(crate) mod ranges;

use self::error::ApiError;

/// Runs `work`, which may wait for the disk, on a thread for blocking calls. `doing` names it in errors.
pub(crate) async fn blocking<T: Send + 'static>(
    doing: &str,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, ApiError> {
    tokio::task::spawn_blocking(work).await.map_err(|error| ApiError::internal(doing, &error))
}

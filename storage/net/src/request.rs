//! Request ids, which connect the log lines of all nodes that work on one request.
//!
//! A request gets its id where it enters the cluster: at an HTTP interface, or when a worker claims a task. The id is
//! part of every log line about the request, and calls to other nodes pass it on ([`crate::Peer`]). So one search
//! through the logs of all nodes finds everything that was done for a request.
//!
//! Invariant: an id has 1 to 64 letters, digits, hyphens, underscores and full stops, even if a client chose it. So it
//! can appear in headers, logs and streams without escaping. Ids serve people who search logs; no decision depends on
//! them.

use std::fmt;
use std::sync::Arc;

use tracing::Instrument;
use uuid::Uuid;

tokio::task_local! {
    static CURRENT: RequestId;
}

/// The id of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequestId(Arc<str>);

impl RequestId {
    /// The length of the longest id in bytes.
    pub const MAX_BYTES: usize = 64;

    /// Parses an id from another process. `None` if it is not valid (see the [module](self)).
    pub fn new(text: &[u8]) -> Option<Self> {
        let is_valid = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
        if !(1..=Self::MAX_BYTES).contains(&text.len()) || !text.iter().all(is_valid) {
            return None;
        }
        std::str::from_utf8(text).ok().map(|text| Self(text.into()))
    }

    /// Generates a unique id (a version 4 UUID).
    pub fn random() -> Self {
        Self(Uuid::new_v4().to_string().into())
    }

    /// The id of the request in whose [scope](Self::scope) the current task runs.
    pub fn current() -> Option<Self> {
        CURRENT.try_with(Clone::clone).ok()
    }

    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Runs `work` for this request: log lines and calls in it carry the id. Tasks that it spawns do not.
    pub async fn scope<T>(self, work: impl Future<Output = T>) -> T {
        // No log filter removes spans of this level, so warnings carry the id too.
        let span = tracing::error_span!("request", request = %self);
        CURRENT.scope(self, work.instrument(span)).await
    }
}

impl fmt::Display for RequestId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn only_valid_ids_are_accepted() {
        for good in ["7", "a-b_c.D", &"x".repeat(64)] {
            assert_eq!(RequestId::new(good.as_bytes()).unwrap().as_str(), good);
        }
        for bad in ["", "two words", "line\nbreak", "\"", "ü", &"x".repeat(65)] {
            assert!(RequestId::new(bad.as_bytes()).is_none(), "{bad:?}");
        }
    }

    #[tokio::test]
    async fn an_id_is_current_only_in_its_scope() {
        let id = RequestId::random();
        assert_eq!(id.clone().scope(async { RequestId::current() }).await, Some(id));
        assert_eq!(RequestId::current(), None);
    }
}

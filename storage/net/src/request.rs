//! The id of the request that is being worked on, which follows it from node to node.
//!
//! A request gets its id where it enters the cluster: at an HTTP interface, or with a worker's claim. From there on the
//! id lies beside the work: every log line carries it, and every call to another node takes it along ([`crate::Peer`]),
//! so that one search in the logs of all nodes finds all that was done for one request.
//!
//! Invariant: an id is short and of few characters, whoever made it, so that it can stand in a header, in a log and in
//! the first bytes of a stream as it is. It is for people to search for; nothing is decided by it.

use std::fmt;
use std::sync::Arc;

use tracing::Instrument;
use uuid::Uuid;

tokio::task_local! {
    static CURRENT: RequestId;
}

/// A request's id.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequestId(Arc<str>);

impl RequestId {
    /// The longest id, in bytes.
    pub const LONGEST: usize = 64;

    /// Takes an id that somebody else made, if it is a sensible one: 1 to 64 letters, digits, hyphens, underscores and
    /// full stops.
    pub fn new(text: &[u8]) -> Option<Self> {
        let sensible = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
        if !(1..=Self::LONGEST).contains(&text.len()) || !text.iter().all(sensible) {
            return None;
        }
        std::str::from_utf8(text).ok().map(|text| Self(text.into()))
    }

    /// Makes an id that nobody else has.
    pub fn random() -> Self {
        Self(Uuid::new_v4().to_string().into())
    }

    /// The id of the request that this task works on, if it works on one.
    pub fn current() -> Option<Self> {
        CURRENT.try_with(Clone::clone).ok()
    }

    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Works on the request: what is logged and asked within carries its id. A task that is spawned within does not.
    pub async fn scope<T>(self, work: impl Future<Output = T>) -> T {
        // Spans of this level are there whatever is filtered, so that a warning can be traced too.
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
    fn only_sensible_ids_are_taken() {
        for good in ["7", "a-b_c.D", &"x".repeat(64)] {
            assert_eq!(RequestId::new(good.as_bytes()).unwrap().as_str(), good);
        }
        for bad in ["", "two words", "line\nbreak", "\"", "ü", &"x".repeat(65)] {
            assert!(RequestId::new(bad.as_bytes()).is_none(), "{bad:?}");
        }
    }

    #[tokio::test]
    async fn an_id_is_there_within_its_request_and_not_beyond() {
        let id = RequestId::random();
        assert_eq!(id.clone().scope(async { RequestId::current() }).await, Some(id));
        assert_eq!(RequestId::current(), None);
    }
}

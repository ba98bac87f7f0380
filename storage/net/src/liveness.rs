//! Which members have fallen silent, and telling a person so: once when one does not answer any more, and once when it
//! answers again.
//!
//! A single question without an answer is a hint for whom to ask last, no news. News is a member that has answered
//! nothing for some seconds although it was asked; consensus and reports ask each of them several times a second.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::NodeId;

/// A member that failed to answer is asked last for this long.
const SILENT_FOR: Duration = Duration::from_secs(5);
/// A member that has answered nothing for this long is worth a line in the log.
const NEWS_AFTER: Duration = Duration::from_secs(2);

struct Silence {
    /// The first of the questions that were not answered, with no answer since.
    since: Option<Instant>,
    /// The last one.
    last: Instant,
    told: bool,
}

/// What is known of who answers.
#[derive(Default)]
pub(crate) struct Liveness(Mutex<HashMap<NodeId, Silence>>);

impl Liveness {
    fn silences(&self) -> MutexGuard<'_, HashMap<NodeId, Silence>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether the member failed to answer a moment ago.
    pub(crate) fn is_unresponsive(&self, node: NodeId) -> bool {
        self.silences().get(&node).is_some_and(|silence| silence.last.elapsed() < SILENT_FOR)
    }

    /// Notes a question without an answer. Returns whether that made it news.
    pub(crate) fn unanswered(&self, node: NodeId, reason: &dyn fmt::Display) -> bool {
        let now = Instant::now();
        let mut silences = self.silences();
        let silence = silences.entry(node).or_insert(Silence { since: None, last: now, told: false });
        if silence.last.elapsed() > SILENT_FOR && !silence.told {
            // Nobody asked meanwhile, so nobody knows what it would have said.
            silence.since = None;
        }
        silence.last = now;
        let since = *silence.since.get_or_insert(now);
        if silence.told || since.elapsed() < NEWS_AFTER {
            return false;
        }
        silence.told = true;
        drop(silences);
        tracing::warn!(peer = node, %reason, "node {node} does not answer");
        true
    }

    /// Notes an answer. Returns whether it was news.
    pub(crate) fn answered(&self, node: NodeId) -> bool {
        let told = match self.silences().get_mut(&node) {
            Some(silence) => {
                silence.since = None;
                std::mem::take(&mut silence.told)
            }
            None => false,
        };
        if told {
            tracing::info!(peer = node, "node {node} answers again");
        }
        told
    }

    /// Notes a new connection to the member: it need not be asked last any more.
    pub(crate) fn connected(&self, node: NodeId) {
        self.answered(node);
        self.silences().remove(&node);
    }

    /// Forgets a member that is none any more.
    pub(crate) fn forget(&self, node: NodeId) {
        self.silences().remove(&node);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use tokio::time::advance;

    use super::*;

    const HOUR: Duration = Duration::from_secs(3600);

    #[tokio::test(start_paused = true)]
    async fn a_silence_is_told_once_and_so_is_its_end() {
        let liveness = Liveness::default();
        assert!(!liveness.unanswered(2, &"gone"), "one question without an answer is no news");
        assert!(liveness.is_unresponsive(2) && !liveness.is_unresponsive(1));
        advance(NEWS_AFTER).await;
        assert!(liveness.unanswered(2, &"gone"));
        assert!(!liveness.unanswered(2, &"gone"));
        advance(HOUR).await;
        assert!(!liveness.is_unresponsive(2), "it is worth another question");
        assert!(!liveness.unanswered(2, &"gone"), "a long silence is told once");
        assert!(liveness.answered(2));
        assert!(!liveness.answered(2));
        assert!(!liveness.unanswered(2, &"gone"), "the next silence begins anew");
    }

    #[tokio::test(start_paused = true)]
    async fn failures_with_answers_or_much_time_between_them_are_no_silence() {
        let liveness = Liveness::default();
        liveness.unanswered(2, &"slow");
        advance(NEWS_AFTER).await;
        assert!(!liveness.answered(2), "what was not told is not taken back");
        assert!(!liveness.unanswered(2, &"slow"));
        advance(HOUR).await;
        assert!(!liveness.unanswered(2, &"slow"));
    }
}

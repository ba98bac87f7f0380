//! Which members fail to answer.
//!
//! A single call without an answer is a hint: callers ask that member last for a few seconds. A member that answers
//! nothing for longer, though it is called, gets one warning in the log, and one line when it answers again. Consensus
//! and node reports call each member several times a second, so this takes about as long as the threshold below.

use std::collections::HashMap;
use std::fmt;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

use crate::NodeId;

/// How long after a call without an answer a member counts as unresponsive.
const UNRESPONSIVE_FOR: Duration = Duration::from_secs(5);
/// How long a member answers no call before the log has a warning.
const WARN_AFTER: Duration = Duration::from_secs(2);

struct Outage {
    /// The first call without an answer since the last answer.
    since: Option<Instant>,
    /// The last call without an answer.
    last: Instant,
    /// Whether the warning is in the log.
    warned: bool,
}

/// The members that failed to answer since their last connection.
#[derive(Default)]
pub(crate) struct Liveness(Mutex<HashMap<NodeId, Outage>>);

impl Liveness {
    /// Whether the member failed to answer in the last seconds.
    pub(crate) fn is_unresponsive(&self, node: NodeId) -> bool {
        self.0.lock().get(&node).is_some_and(|outage| outage.last.elapsed() < UNRESPONSIVE_FOR)
    }

    /// Records a call without an answer. Returns whether this caused the warning.
    pub(crate) fn unanswered(&self, node: NodeId, reason: &dyn fmt::Display) -> bool {
        let now = Instant::now();
        let mut outages = self.0.lock();
        let outage = outages.entry(node).or_insert(Outage { since: None, last: now, warned: false });
        if outage.last.elapsed() > UNRESPONSIVE_FOR && !outage.warned {
            // Nobody called the member in between, so its state then is unknown.
            outage.since = None;
        }
        outage.last = now;
        let since = *outage.since.get_or_insert(now);
        if outage.warned || since.elapsed() < WARN_AFTER {
            return false;
        }
        outage.warned = true;
        drop(outages);
        tracing::warn!(peer = node, %reason, "node {node} does not answer");
        true
    }

    /// Records an answer. Returns whether it ended an outage that the log has a warning about.
    pub(crate) fn answered(&self, node: NodeId) -> bool {
        let warned = match self.0.lock().get_mut(&node) {
            Some(outage) => {
                outage.since = None;
                std::mem::take(&mut outage.warned)
            }
            None => false,
        };
        if warned {
            tracing::info!(peer = node, "node {node} answers again");
        }
        warned
    }

    /// Records a new connection to the member, which is then not unresponsive any more.
    pub(crate) fn connected(&self, node: NodeId) {
        self.answered(node);
        self.remove(node);
    }

    /// Removes a node that is not a member any more.
    pub(crate) fn remove(&self, node: NodeId) {
        self.0.lock().remove(&node);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use tokio::time::advance;

    use super::*;

    const HOUR: Duration = Duration::from_secs(3600);

    #[tokio::test(start_paused = true)]
    async fn an_outage_is_logged_once_and_so_is_its_end() {
        let liveness = Liveness::default();
        assert!(!liveness.unanswered(2, &"gone"), "one call without an answer gets no warning");
        assert!(liveness.is_unresponsive(2) && !liveness.is_unresponsive(1));
        advance(WARN_AFTER).await;
        assert!(liveness.unanswered(2, &"gone"));
        assert!(!liveness.unanswered(2, &"gone"));
        advance(HOUR).await;
        assert!(!liveness.is_unresponsive(2), "after a while the member is worth another call");
        assert!(!liveness.unanswered(2, &"gone"), "a long outage gets one warning");
        assert!(liveness.answered(2));
        assert!(!liveness.answered(2));
        assert!(!liveness.unanswered(2, &"gone"), "the next outage starts anew");
    }

    #[tokio::test(start_paused = true)]
    async fn single_failures_are_no_outage() {
        let liveness = Liveness::default();
        liveness.unanswered(2, &"slow");
        advance(WARN_AFTER).await;
        assert!(!liveness.answered(2), "without a warning there is no line about its end");
        assert!(!liveness.unanswered(2, &"slow"));
        advance(HOUR).await;
        assert!(!liveness.unanswered(2, &"slow"));
    }
}

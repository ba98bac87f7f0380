//! Watches the leader and the end of consensus.
//!
//! openraft's metrics change with every entry and every heartbeat. [`LeaderState`] changes seldom, so tasks that wait
//! for it on other threads wake up seldom.

use std::sync::Arc;
use std::time::{Duration, Instant};

use net::NodeId;
use parking_lot::Mutex;
use tokio::sync::watch;

use crate::consensus::{Metrics, Raft};

/// Interval after which the time of the last known leader is refreshed. A leader's metrics change with every heartbeat;
/// a follower's metrics stay the same while nothing is written.
const REFRESH: Duration = Duration::from_millis(500);

/// The leader and whether consensus runs, as known to this node.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct LeaderState {
    pub(crate) leader: Option<NodeId>,
    /// The error or the shutdown that ended consensus.
    pub(crate) ended: Option<String>,
}

impl LeaderState {
    fn of(metrics: &Metrics) -> Self {
        let ended = metrics.running_state.as_ref().err().map(ToString::to_string);
        Self { leader: metrics.current_leader, ended }
    }
}

/// Follows the leader until consensus ends.
pub(crate) struct LeaderWatch {
    metrics: watch::Receiver<Metrics>,
    state: watch::Receiver<LeaderState>,
    /// When this node last knew a leader; at first, when the watch started.
    last_known: Arc<Mutex<Instant>>,
}

impl LeaderWatch {
    pub(crate) fn start(raft: &Raft) -> Self {
        let metrics = raft.metrics();
        let last_known = Arc::new(Mutex::new(Instant::now()));
        let initial = LeaderState::of(&metrics.borrow());
        let (sender, state) = watch::channel(initial);
        tokio::spawn(follow(metrics.clone(), sender, Arc::clone(&last_known)));
        Self { metrics, state, last_known }
    }

    pub(crate) fn subscribe(&self) -> watch::Receiver<LeaderState> {
        self.state.clone()
    }

    /// Returns the reason when consensus has ended.
    pub(crate) async fn ended(&self) -> String {
        let mut state = self.subscribe();
        let ended = state.wait_for(|state| state.ended.is_some()).await;
        ended.ok().and_then(|state| state.ended.clone()).unwrap_or_else(|| "the consensus task is gone".into())
    }

    /// How long this node has known no leader.
    pub(crate) fn leaderless(&self) -> Duration {
        if self.metrics.borrow().current_leader.is_some() {
            return Duration::ZERO;
        }
        self.last_known.lock().elapsed()
    }
}

async fn follow(
    mut metrics: watch::Receiver<Metrics>,
    state: watch::Sender<LeaderState>,
    last_known: Arc<Mutex<Instant>>,
) {
    let mut last = None;
    loop {
        let (leader, term, now) = {
            let metrics = metrics.borrow_and_update();
            (metrics.current_leader, metrics.current_term, LeaderState::of(&metrics))
        };
        state.send_if_modified(|before| {
            let changed = *before != now;
            *before = now;
            changed
        });
        if let Some(leader) = leader {
            *last_known.lock() = Instant::now();
            if last.replace((leader, term)) != Some((leader, term)) {
                metrics::counter!("quartet_raft_leader_changes_total").increment(1);
                tracing::info!(leader, term, "node {leader} is the leader");
            }
        }
        if let Ok(Err(_)) = tokio::time::timeout(REFRESH, metrics.changed()).await {
            return;
        }
    }
}

/// Returns when a node other than `leader` has become the leader.
pub(crate) async fn leader_replaced(state: &mut watch::Receiver<LeaderState>, leader: NodeId) {
    let other = |state: &LeaderState| state.leader.is_some_and(|now| now != leader);
    if state.wait_for(other).await.is_err() {
        // Consensus has ended; the call to the leader returns that error.
        std::future::pending::<()>().await;
    }
}

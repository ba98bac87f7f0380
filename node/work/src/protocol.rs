//! Calls between nodes about tasks.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::Dispatch;

/// How long the leader waits for an open task before it answers that there is none.
pub(crate) const POLL_TIMEOUT: Duration = Duration::from_secs(3);

/// A call to another node.
#[derive(Debug, Serialize, Deserialize)]
pub enum Call {
    /// Asks the leader for a task.
    Next {
        /// Whether the caller is connected to the broker.
        has_broker: bool,
    },
    /// Drops all running work.
    Reset {
        /// The reset.
        id: Uuid,
    },
}

/// The answer to a [`Call`].
#[derive(Debug, Serialize, Deserialize)]
pub enum Reply {
    /// A task, or none for now.
    Next(Option<Dispatch>),
    /// The reset was triggered.
    Reset,
}

//! How long a node waits for other nodes.

use std::time::Duration;

/// A transfer without progress for this long is given up.
pub(crate) const STALL_TIMEOUT: Duration = Duration::from_secs(10);

/// The timeouts that tests change.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Timing {
    /// The timeout for an answer that contains no blob.
    pub(crate) answer: Duration,
    /// While a member has not answered a push for this long, the next member is asked as well.
    pub(crate) hedge: Duration,
    /// Confirmations older than this are requested again.
    pub(crate) fresh: Duration,
}

pub(crate) const TIMING: Timing =
    Timing { answer: Duration::from_millis(1500), hedge: Duration::from_millis(200), fresh: Duration::from_secs(5) };

//! The time that commands carry.

use std::time::{SystemTime, UNIX_EPOCH};

/// Milliseconds since 1970 by this node's clock. Commands carry the time because applying must not read a clock. The
/// time is shown to people and decides only about expiry.
pub fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

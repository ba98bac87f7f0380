//! Decides when to build a snapshot, after which openraft purges the log.
//!
//! A snapshot writes the whole state, so it is due when the log has grown by as much: after a fixed number of entries
//! while the state is small, and in proportion to the state when it is large. So the bytes written for snapshots stay
//! within a constant factor of the bytes written for entries, with a hundred songs and with a million. Entries are
//! batches, some of them large, so their bytes count as well: the log does not grow much larger than the state.

use std::time::Duration;

use super::Raft;
use super::log::Log;
use super::machine::Machine;

/// Interval between two checks.
const CHECK_INTERVAL: Duration = Duration::from_secs(1);
/// The fewest entries between two snapshots.
const MIN_ENTRIES: u64 = 5_000;
/// The assumed size of an entry, in bytes.
const ENTRY_BYTES: u64 = 2_048;

/// Whether a snapshot is due after the log has grown by `entries` and `bytes` since the last one of `snapshot_bytes`.
fn is_due(entries: u64, bytes: u64, snapshot_bytes: u64) -> bool {
    let threshold = snapshot_bytes.max(MIN_ENTRIES * ENTRY_BYTES);
    entries * ENTRY_BYTES >= threshold || bytes >= threshold
}

/// Triggers snapshots until consensus ends.
pub(crate) async fn run(raft: Raft, machine: Machine, log: Log) {
    // Bytes appended when the last snapshot was triggered. Bytes from before the start are unknown; only entries count.
    let mut triggered_at = 0;
    loop {
        tokio::time::sleep(CHECK_INTERVAL).await;
        let (applied, last) = {
            let metrics = raft.metrics();
            let metrics = metrics.borrow();
            if metrics.running_state.is_err() {
                return;
            }
            (metrics.last_applied.map_or(0, |id| id.index), metrics.snapshot.map_or(0, |id| id.index))
        };
        let appended = log.appended();
        if is_due(applied.saturating_sub(last), appended - triggered_at, machine.snapshot_bytes()) {
            // openraft ignores the trigger while a snapshot is being built.
            match raft.trigger().snapshot().await {
                Ok(()) => triggered_at = appended,
                Err(error) => tracing::warn!(%error, "cannot trigger a snapshot"),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn large_state_is_written_less_often() {
        for (entries, snapshot) in [(5_000, 0), (5_000, 5_000_000), (1_000_000, 2_048_000_000)] {
            assert!(is_due(entries, 0, snapshot));
            assert!(!is_due(entries - 1, 0, snapshot));
        }
        // A few large entries count as much as many small ones.
        assert!(is_due(100, 10_240_000, 0));
        assert!(is_due(100, 2_048_000_000, 2_048_000_000));
        assert!(!is_due(100, 2_000_000_000, 2_048_000_000));
    }
}

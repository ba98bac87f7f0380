//! When the log is folded into a snapshot.
//!
//! A snapshot writes the whole state down, so it is due when the log has grown as much as that costs: after a fixed
//! number of entries while the state is small, and in proportion to the state when it is large. So the bytes written
//! for snapshots stay within a constant factor of those written for entries, with a hundred songs and with a million.
//! Entries are batches and some are large, so their bytes count as well: the log is not much longer than the state.

use std::time::Duration;

use super::Raft;
use super::log::Log;
use super::machine::Machine;

/// How often it is looked whether one is due.
const LOOK: Duration = Duration::from_secs(1);
/// The fewest entries between two snapshots.
const FEWEST: u64 = 5_000;
/// What an entry is taken to weigh, in bytes.
const ENTRY: u64 = 2_048;

/// Whether a log that has grown by so many entries and so many bytes since the last snapshot is worth the next one.
fn is_due(entries: u64, bytes: u64, snapshot_bytes: u64) -> bool {
    let worth = snapshot_bytes.max(FEWEST * ENTRY);
    entries * ENTRY >= worth || bytes >= worth
}

/// Has snapshots made for as long as consensus runs.
pub(crate) async fn run(raft: Raft, machine: Machine, log: Log) {
    // What was appended when the last snapshot was begun. Before a start it is not known, and the entries alone count.
    let mut begun_at = 0;
    loop {
        tokio::time::sleep(LOOK).await;
        let (applied, last) = {
            let metrics = raft.metrics();
            let metrics = metrics.borrow();
            if metrics.running_state.is_err() {
                return;
            }
            (metrics.last_applied.map_or(0, |id| id.index), metrics.snapshot.map_or(0, |id| id.index))
        };
        let appended = log.appended();
        if is_due(applied.saturating_sub(last), appended - begun_at, machine.snapshot_bytes()) {
            // Asked again while one is being built, openraft begins no second one.
            match raft.trigger().snapshot().await {
                Ok(()) => begun_at = appended,
                Err(error) => tracing::warn!(%error, "no snapshot could be begun"),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_large_state_is_written_down_less_often() {
        for (entries, snapshot) in [(5_000, 0), (5_000, 5_000_000), (1_000_000, 2_048_000_000)] {
            assert!(is_due(entries, 0, snapshot));
            assert!(!is_due(entries - 1, 0, snapshot));
        }
        // A few heavy entries are as much as many light ones.
        assert!(is_due(100, 10_240_000, 0));
        assert!(is_due(100, 2_048_000_000, 2_048_000_000));
        assert!(!is_due(100, 2_000_000_000, 2_048_000_000));
    }
}

//! When the log is folded into a snapshot.
//!
//! A snapshot writes the whole state down, so it is due when the log has grown as much as that costs: after a fixed
//! number of entries while the state is small, and in proportion to the state when it is large. So the bytes written
//! for snapshots stay within a constant factor of those written for entries, with a hundred songs and with a million.

use std::time::Duration;

use super::Raft;
use super::machine::Machine;

/// How often it is looked whether one is due.
const LOOK: Duration = Duration::from_secs(1);
/// The fewest entries between two snapshots.
const FEWEST: u64 = 5_000;
/// What an entry is taken to weigh, in bytes.
const ENTRY: u64 = 2_048;

/// How many entries a snapshot of this many bytes is worth.
fn due_after(snapshot_bytes: u64) -> u64 {
    FEWEST.max(snapshot_bytes / ENTRY)
}

/// Has snapshots made for as long as consensus runs.
pub(crate) async fn run(raft: Raft, machine: Machine) {
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
        if applied.saturating_sub(last) >= due_after(machine.snapshot_bytes())
            && let Err(error) = raft.trigger().snapshot().await
        {
            tracing::warn!(%error, "no snapshot could be begun");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_large_state_is_written_down_less_often() {
        assert_eq!(due_after(0), 5_000);
        assert_eq!(due_after(5_000_000), 5_000);
        assert_eq!(due_after(2_048_000_000), 1_000_000);
    }
}

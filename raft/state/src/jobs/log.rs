//! The logs of attempts.
//!
//! A worker's log lines arrive with the command that ends its attempt. They are stored beside the task, so that every node
//! has them, they outlive the worker, and reading a task does not read them. The lines of a worker that dies are lost.

use crate::tables::LOGS;
use crate::{LOG_BYTES, LOG_LINES, LogLine, Read, Task, Transaction, ViewError};

/// Stores the log of the attempt that ends, up to [`LOG_LINES`] lines and [`LOG_BYTES`] bytes, and removes those of attempts
/// that the task does not list any more.
pub(crate) fn keep(state: &mut Transaction, task: &Task, lines: &[LogLine]) -> Result<(), ViewError> {
    let oldest = task.attempts.first().map_or(0, |attempt| attempt.number);
    let key = |attempt| LOGS.key((task.id.job, task.id.index, attempt));
    for (key, _) in state.pairs(LOGS, (key(0), key(oldest)))? {
        state.delete_key(key);
    }
    if lines.is_empty() {
        return Ok(());
    }
    let mut left = LOG_BYTES;
    let mut fits = |line: &&LogLine| {
        let fits = line.message.len() <= left;
        left = left.saturating_sub(line.message.len());
        fits
    };
    let kept: Vec<LogLine> = lines.iter().take(LOG_LINES).take_while(|line| fits(line)).cloned().collect();
    state.put(LOGS, (task.id.job, task.id.index, task.attempt), &kept)
}

/// Removes the logs of a job.
pub(crate) fn remove(state: &mut Transaction, job: u64) -> Result<(), ViewError> {
    for (key, _) in state.pairs(LOGS, LOGS.under(job))? {
        state.delete_key(key);
    }
    Ok(())
}

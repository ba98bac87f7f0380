//! What a worker said of an attempt.
//!
//! The lines come with the command that ends the attempt and lie beside the task, so that they can be read at every node
//! and outlive the one that worked, and reading a task does not read them. A worker that dies takes its lines along.

use serde::{Deserialize, Serialize};

use super::transaction::Transaction;
use super::{ACCOUNTS, Read, TaskId, ViewError, keys};

/// The most lines of an attempt.
pub const LINES_KEPT: usize = 200;
/// The most bytes of text in the lines of an attempt.
pub const LINES_BYTES: usize = 16 << 10;

/// A line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Line {
    /// When it was said, in milliseconds since 1970.
    pub at: u64,
    /// How much it matters.
    pub level: Level,
    /// What was said.
    pub message: String,
}

/// How much a line matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Level {
    /// Something went wrong at this node.
    Error,
    /// Something did not go as it should.
    Warn,
    /// What happens.
    Info,
}

/// Keeps what was said of an attempt, as far as it is not too much, and forgets what was said of attempts before `oldest`.
pub(super) fn keep(
    state: &mut Transaction,
    task: TaskId,
    attempt: u32,
    oldest: u32,
    lines: &[Line],
) -> Result<(), ViewError> {
    if !state.has_level(ACCOUNTS)? {
        return Ok(());
    }
    for (key, _) in state.scan(keys::lines_before(task, oldest))? {
        state.delete(key);
    }
    if lines.is_empty() {
        return Ok(());
    }
    let mut left = LINES_BYTES;
    let mut fits = |line: &&Line| {
        let fits = line.message.len() <= left;
        left = left.saturating_sub(line.message.len());
        fits
    };
    let kept: Vec<&Line> = lines.iter().take(LINES_KEPT).take_while(|line| fits(line)).collect();
    state.put(keys::lines(task, attempt), &kept)
}

/// Forgets what was said of a job.
pub(super) fn forget(state: &mut Transaction, job: u64) -> Result<(), ViewError> {
    for (key, _) in state.scan(keys::lines_of(job))? {
        state.delete(key);
    }
    Ok(())
}

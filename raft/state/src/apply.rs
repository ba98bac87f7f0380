//! Applies commands: each request once, in the order of the log.

use uuid::Uuid;

use crate::command::Command;
use crate::command::answer::{Answer, Refusal};
use crate::command::apply::{Applied, refuse};
use crate::expiry::sweep;
use crate::{Read, Transaction, dedup};

/// Applies the `place`-th request of log entry `index`. A request that was applied before gets the same answer again and
/// changes nothing.
pub fn apply(state: &mut Transaction, request: &Uuid, command: &Command, index: u64, place: u32) -> Applied<Answer> {
    if let Some(answer) = dedup::answer(state, request)? {
        return Ok(answer);
    }
    let answer = run(state, command)?;
    dedup::keep(state, request, &answer, index, place)?;
    Ok(answer)
}

fn run(state: &mut Transaction, command: &Command) -> Applied<Answer> {
    let (needed, level) = (command.since(), state.level()?);
    if needed > level {
        refuse!(Refusal::NotYet { needed, level });
    }
    if let Some(at) = command.adds_expiring() {
        sweep::sweep(state, at)?;
    }
    command.apply(state)
}

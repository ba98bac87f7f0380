//! Deduplication of requests: the answers that were given, by the ids of their requests.
//!
//! A node that gets no answer sends its request again under the same id, perhaps to another leader. The request must not
//! be applied twice, and must get the same answer.
//!
//! Invariant: each stored answer is listed under the place in the log at which it was given, by which it is removed later.

use uuid::Uuid;

use crate::command::answer::{Answer, Refusal};
use crate::tables::{ANSWERED, ANSWERS, ANSWERS_REMOVED};
use crate::{Read, Transaction, ViewError};

/// How many log entries back answers are kept. A request is retried for seconds; this is hours of a busy cluster.
const KEPT: u64 = 50_000;
/// The number of log entries between two removals. A removal leaves marks behind that slow a scan over the same range, so
/// many answers are removed at once, and [`ANSWERS_REMOVED`] has the place where the next scan begins.
const REMOVE_EVERY: u64 = 64;

/// The answer to this request, if it was applied before.
pub(crate) fn answer(state: &Transaction, request: &Uuid) -> Result<Option<Result<Answer, Refusal>>, ViewError> {
    state.get(ANSWERS, request)
}

/// Stores the answer to the `place`-th request of log entry `index`, and removes old answers.
pub(crate) fn keep(
    state: &mut Transaction,
    request: &Uuid,
    answer: &Result<Answer, Refusal>,
    index: u64,
    place: u32,
) -> Result<(), ViewError> {
    state.put(ANSWERS, request, answer)?;
    state.put(ANSWERED, (index, place), request)?;
    if place == 0 {
        remove_old(state, index)?;
    }
    Ok(())
}

/// Removes the answers given too long before log entry `index`.
fn remove_old(state: &mut Transaction, index: u64) -> Result<(), ViewError> {
    let until = index.saturating_sub(KEPT);
    if until == 0 || !index.is_multiple_of(REMOVE_EVERY) {
        return Ok(());
    }
    let from = state.get(ANSWERS_REMOVED, ())?.unwrap_or(0);
    for (key, request) in state.pairs(ANSWERED, ANSWERED.between(from, until))? {
        state.delete(ANSWERS, &request);
        state.delete_key(key);
    }
    state.put(ANSWERS_REMOVED, (), &until)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::RetireNode;
    use crate::tests::Machine;

    #[test]
    fn answers_are_kept_for_a_long_time_and_then_removed() {
        let mut machine = Machine::new();
        let [early, late] = [Uuid::new_v4(), Uuid::new_v4()];
        let command = RetireNode { node: 9 };
        let kept = |machine: &Machine| [early, late].map(|request| machine.view().has(ANSWERS, &request).unwrap());
        let busy = |machine: &mut Machine| {
            for _ in 0..REMOVE_EVERY {
                machine.apply(command).unwrap();
            }
        };
        machine.apply_as(early, &command.into()).0.unwrap();
        machine.skip(500);
        machine.apply_as(late, &command.into()).0.unwrap();
        machine.skip(KEPT - 500 - 2 * REMOVE_EVERY);
        busy(&mut machine);
        assert_eq!(kept(&machine), [true, true]);
        busy(&mut machine);
        busy(&mut machine);
        assert_eq!(kept(&machine), [false, true]);
        machine.skip(500);
        busy(&mut machine);
        assert_eq!(kept(&machine), [false, false]);
        let left = machine.view().list(ANSWERED, ANSWERED.all()).unwrap().len() as u64;
        assert_eq!(left, 4 * REMOVE_EVERY);
    }
}

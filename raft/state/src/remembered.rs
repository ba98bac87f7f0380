//! The answers that were given, by the ids of their requests.
//!
//! Whoever does not hear an answer asks again under the same id, at another leader perhaps, and must neither be applied
//! twice nor told something else. Invariant: each answer that is remembered stands in the list of the place of the log at
//! which it was given, by which it is forgotten.

use uuid::Uuid;

use super::mark::ACCOUNTS;
use super::{Read, Transaction, ViewError, keys};
use crate::command::{Answer, Refusal};

/// How far back in the log answers are remembered. A request is retried for seconds; this is hours of a busy cluster.
const REMEMBERED: u64 = 50_000;
/// How many entries of the log apart answers are forgotten. It is done for many at once, and none is looked for twice:
/// what has been removed from the front of a range costs whoever reads it from the front again.
const FORGET_EVERY: u64 = 64;

/// What this request was answered, if it was.
pub(super) fn answer(state: &Transaction, request: &Uuid) -> Result<Option<Result<Answer, Refusal>>, ViewError> {
    state.value(&keys::answer(request))
}

/// Remembers what the `place`-th request of log entry `index` was answered, and forgets what was long ago.
pub(super) fn keep(
    state: &mut Transaction,
    request: &Uuid,
    answer: &Result<Answer, Refusal>,
    index: u64,
    place: u32,
) -> Result<(), ViewError> {
    state.put(keys::answer(request), answer)?;
    state.put(keys::answered_at(index, place), request)?;
    if place == 0 {
        forget(state, index)?;
    }
    Ok(())
}

/// Forgets the requests that were answered too long before the entry `index`.
fn forget(state: &mut Transaction, index: u64) -> Result<(), ViewError> {
    let until = index.saturating_sub(REMEMBERED);
    let at_once = state.has_level(ACCOUNTS)?;
    if until == 0 || (at_once && !index.is_multiple_of(FORGET_EVERY)) {
        return Ok(());
    }
    let from = if at_once { state.value(&keys::forgotten())?.unwrap_or(0) } else { 0 };
    for (key, request) in state.scan(keys::answered_between(from, until))? {
        state.delete(keys::answer(&storage::codec::decode(&request)?));
        state.delete(key);
    }
    if at_once {
        state.put(keys::forgotten(), &until)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::scripted::Machine;
    use super::super::{LEVEL, OUTSIDE};
    use super::*;
    use crate::command::Command;

    #[test]
    fn an_answer_is_remembered_for_long_and_not_for_ever() {
        for level in [OUTSIDE, LEVEL] {
            let mut machine = Machine::at_level(level);
            let [early, late] = [Uuid::new_v4(), Uuid::new_v4()];
            let command = Command::RetireNode { node: 9 };
            let remembered = |machine: &Machine| {
                [early, late].map(|request| machine.view().get(&keys::answer(&request)).unwrap().is_some())
            };
            let busy = |machine: &mut Machine| {
                for _ in 0..FORGET_EVERY {
                    machine.apply(Uuid::new_v4(), &command).0.unwrap();
                }
            };
            machine.apply(early, &command).0.unwrap();
            machine.skip(500);
            machine.apply(late, &command).0.unwrap();
            machine.skip(REMEMBERED - 500 - 2 * FORGET_EVERY);
            busy(&mut machine);
            assert_eq!(remembered(&machine), [true, true]);
            busy(&mut machine);
            busy(&mut machine);
            assert_eq!(remembered(&machine), [false, true]);
            machine.skip(500);
            busy(&mut machine);
            assert_eq!(remembered(&machine), [false, false]);
            let left = machine.view().scan(keys::answered_between(0, u64::MAX)).unwrap().len() as u64;
            assert_eq!(left, 4 * FORGET_EVERY);
        }
    }
}

//! How often something was tried that may not be tried too often: passwords, accounts, plays that count.
//!
//! A try counts before it is known how it ends, so that tries at all nodes at once share one limit. Times come with the
//! commands; this is one of the two decisions in applying that rest on them, the other being what is swept away.

use serde::{Deserialize, Serialize};
use storage::blobs::Hash;

use super::passing::{self, Passing};
use super::transaction::{Applied, refuse};
use super::{Read, Transaction, ViewError, keys};
use crate::command::{Answer, Refusal};

/// How often something was tried of late.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tries {
    /// How often.
    pub count: u32,
    /// When counting begins anew.
    pub until: u64,
}

/// A counter and what it may come to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Count {
    /// A hash of what is counted, so that the state does not hold what people type where names belong.
    pub of: Hash,
    /// How many tries there may be.
    pub most: u32,
    /// For how many milliseconds from the first.
    pub within: u64,
}

/// Counts a try with each of these counters, or with none if one of them is full.
pub(super) fn count(state: &mut Transaction, counts: &[Count], at: u64) -> Applied<Answer> {
    passing::sweep(state, at)?;
    let mut counted = Vec::new();
    for count in counts {
        let before = state.value::<Tries>(&keys::tries(&count.of))?;
        // Tries arrive in another order than they were made, and clocks differ: what another clock counted still counts,
        // and nobody waits longer than one clock alone would have them wait.
        let end = at.saturating_add(count.within);
        let counted_so_far = before.filter(|tries| tries.until > at);
        let tries = match counted_so_far.map(|tries| Tries { until: tries.until.min(end), ..tries }) {
            Some(tries) if tries.count >= count.most => {
                refuse!(Refusal::TooManyTries { wait_ms: tries.until - at });
            }
            Some(tries) => Tries { count: tries.count + 1, ..tries },
            None => Tries { count: 1, until: end },
        };
        counted.push((count.of, before, tries));
    }
    for (of, before, tries) in counted {
        if let Some(before) = before {
            state.delete(keys::passing(before.until, &of));
        }
        state.put(keys::tries(&of), &tries)?;
        state.put(keys::passing(tries.until, &of), &Passing::Tries(of))?;
    }
    Ok(Ok(Answer::Done))
}

/// Begins to count anew.
pub(super) fn clear(state: &mut Transaction, of: &Hash) -> Result<(), ViewError> {
    if let Some(tries) = state.value::<Tries>(&keys::tries(of))? {
        state.delete(keys::tries(of));
        state.delete(keys::passing(tries.until, of));
    }
    Ok(())
}

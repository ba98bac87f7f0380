//! Rate limits for what may not be tried too often: passwords, registrations, plays that count.
//!
//! A try counts before its outcome is known, so that tries at all nodes at once share one limit. Times come with the
//! commands. Applying depends on them only here and in [`crate::expiry`].

pub(crate) mod types;

use serde::{Deserialize, Serialize};
use storage::blobs::Hash;

use self::types::{RateCounter, RateLimit};
use crate::command::answer::{Answer, Refusal};
use crate::command::apply::{Applied, Apply, DONE, granted, refuse};
use crate::expiry::{self, types::Expiring};
use crate::tables::RATE_COUNTERS;
use crate::{Read, Transaction, ViewError};

/// Counts a try against rate limits. If one of them is reached, the try is refused and none counts it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CheckRateLimits {
    /// The limits.
    pub limits: Vec<RateLimit>,
    /// The time.
    pub at: u64,
}

impl Apply for CheckRateLimits {
    fn adds_expiring(&self) -> Option<u64> {
        Some(self.at)
    }

    fn apply(&self, state: &mut Transaction) -> Applied<Answer> {
        granted!(count(state, &self.limits, self.at)?);
        DONE
    }
}

/// Counts a try against each of these limits, or against none if one of them is reached.
pub(crate) fn count(state: &mut Transaction, limits: &[RateLimit], at: u64) -> Applied<()> {
    let mut counted = Vec::new();
    for limit in limits {
        let before = state.get(RATE_COUNTERS, &limit.key)?;
        // Tries may arrive in another order than they were made, and clocks differ. What another clock has counted still
        // counts, and the wait is never longer than with one clock alone.
        let end = at.saturating_add(limit.window);
        let so_far = before.filter(|counter| counter.until > at);
        let counter = match so_far.map(|counter| RateCounter { until: counter.until.min(end), ..counter }) {
            Some(counter) if counter.count >= limit.max => {
                refuse!(Refusal::RateLimited { wait_ms: counter.until - at });
            }
            Some(counter) => RateCounter { count: counter.count + 1, ..counter },
            None => RateCounter { count: 1, until: end },
        };
        counted.push((limit.key, before, counter));
    }
    for (key, before, counter) in counted {
        if let Some(before) = before {
            expiry::cancel(state, before.until, &key);
        }
        state.put(RATE_COUNTERS, &key, &counter)?;
        expiry::schedule(state, counter.until, Expiring::RateLimit(key))?;
    }
    Ok(Ok(()))
}

/// Starts the counter of a limit anew.
pub(crate) fn clear(state: &mut Transaction, key: &Hash) -> Result<(), ViewError> {
    if let Some(counter) = state.get(RATE_COUNTERS, key)? {
        state.delete(RATE_COUNTERS, key);
        expiry::cancel(state, counter.until, key);
    }
    Ok(())
}

//! Removes what has expired.

use super::types::Expiring;
use crate::accounts::{sessions, tokens};
use crate::tables::EXPIRING;
use crate::{Read, Transaction, ViewError, idempotency, rate_limits, sharing};

/// How many expired things are removed at a time.
const AT_A_TIME: usize = 8;

/// Removes some of the things that expired before `at`.
pub(crate) fn sweep(state: &mut Transaction, at: u64) -> Result<(), ViewError> {
    for (key, value) in state.scan(EXPIRING.until(at), AT_A_TIME)? {
        match codec::decode(&value)? {
            Expiring::Session(secret) => sessions::remove(state, &secret)?,
            Expiring::Token(secret) => tokens::remove(state, &secret)?,
            Expiring::Link(secret) => sharing::remove_link(state, &secret)?,
            Expiring::RateLimit(key) => rate_limits::clear(state, &key)?,
            Expiring::IdempotencyKey(key) => idempotency::remove(state, &key)?,
        }
        state.delete_key(key);
    }
    Ok(())
}

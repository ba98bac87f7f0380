//! Expiry: sessions, tokens, links, rate limits and idempotency keys that end by themselves.
//!
//! Readers refuse what has expired by their own clock. It is removed from the state later, before a command that adds
//! something else that expires ([`crate::command::apply::Apply::adds_expiring`]), by the time of that command. More is
//! removed than the command adds, so expired things do not accumulate.

pub(crate) mod sweep;
pub(crate) mod types;

use storage::blobs::Hash;

use self::types::Expiring;
use crate::tables::EXPIRING;
use crate::{Transaction, ViewError};

/// How long after its end something that users see is removed, in milliseconds: the clocks of nodes differ.
pub(crate) const GRACE: u64 = 24 * 3600 * 1000;

/// Schedules the removal of a thing.
pub(crate) fn schedule(state: &mut Transaction, at: u64, thing: Expiring) -> Result<(), ViewError> {
    state.put(EXPIRING, (at, thing.key()), &thing)
}

/// Cancels the scheduled removal of the thing with this key.
pub(crate) fn cancel(state: &mut Transaction, at: u64, key: &Hash) {
    state.delete(EXPIRING, (at, key));
}

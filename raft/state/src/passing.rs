//! What ends by itself, and is swept out of the state.
//!
//! What has ended is refused by whoever reads it, with their own clock. Here it is only swept away, later, by the time of
//! a command that brings something new that will end too: more goes with it than it brings, so nothing piles up.

use serde::{Deserialize, Serialize};
use storage::blobs::Hash;

use super::{Read, Transaction, ViewError, accounts, keys, once, sharing, tries};

/// How long after its end something that people see is swept away, in milliseconds: the clocks of nodes differ.
pub(super) const GRACE: u64 = 24 * 3600 * 1000;
/// How much of what has ended goes with something new.
const SWEPT: usize = 8;

/// What is swept away when its time has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Passing {
    Session(Hash),
    Token(Hash),
    Link(Hash),
    Tries(Hash),
    Key(Hash),
}

/// Sweeps away some of what ended before `at`.
pub(super) fn sweep(state: &mut Transaction, at: u64) -> Result<(), ViewError> {
    for (mark, value) in state.scan_some(keys::passed(at), SWEPT)? {
        match storage::codec::decode(&value)? {
            Passing::Session(secret) => accounts::remove_session(state, &secret)?,
            Passing::Token(secret) => accounts::remove_token(state, &secret)?,
            Passing::Link(secret) => sharing::remove_link(state, &secret)?,
            Passing::Tries(of) => tries::clear(state, &of)?,
            Passing::Key(key) => once::forget(state, &key)?,
        }
        state.delete(mark);
    }
    Ok(())
}

//! Web hooks and their deliveries.

use crate::{Delivery, Due, Hook, Read, View, ViewError, keys};

impl View {
    /// A user's web hook.
    pub fn hook(&self, user: u64, id: u64) -> Result<Option<Hook>, ViewError> {
        self.value(&keys::hook(user, id))
    }

    /// A user's web hooks, the oldest first.
    pub fn hooks_of(&self, user: u64) -> Result<Vec<Hook>, ViewError> {
        self.values(keys::hooks_of(user))
    }

    /// What a web hook is to be told, or was.
    pub fn delivery(&self, hook: u64, id: u64) -> Result<Option<Delivery>, ViewError> {
        self.value(&keys::delivery(hook, id))
    }

    /// All that a web hook is to be told, or was, of very much the latest, the oldest first.
    pub fn deliveries_of(&self, hook: u64) -> Result<Vec<Delivery>, ViewError> {
        self.values(keys::deliveries_of(hook))
    }

    /// At most `limit` of the deliveries that are still to be made, the soonest first.
    pub fn due(&self, limit: usize) -> Result<Vec<Due>, ViewError> {
        self.some_values(keys::all_due(), limit)
    }
}

//! Reading web hooks and their deliveries.

use crate::tables::{DELIVERIES, HOOKS, PENDING_DELIVERIES};
use crate::{Delivery, Hook, Read, RetryAt, View, ViewError};

impl View {
    /// A user's web hook.
    pub fn hook(&self, user: u64, id: u64) -> Result<Option<Hook>, ViewError> {
        self.get(HOOKS, (user, id))
    }

    /// A user's web hooks, the oldest first.
    pub fn hooks_of(&self, user: u64) -> Result<Vec<Hook>, ViewError> {
        self.list(HOOKS, HOOKS.under(user))
    }

    /// A delivery of a web hook.
    pub fn delivery(&self, hook: u64, id: u64) -> Result<Option<Delivery>, ViewError> {
        self.get(DELIVERIES, (hook, id))
    }

    /// The deliveries of a web hook that are kept, the oldest first.
    pub fn deliveries_of(&self, hook: u64) -> Result<Vec<Delivery>, ViewError> {
        self.list(DELIVERIES, DELIVERIES.under(hook))
    }

    /// At most `limit` of the pending deliveries, in the order of the times of their next attempts.
    pub fn pending_deliveries(&self, limit: usize) -> Result<Vec<RetryAt>, ViewError> {
        self.first(PENDING_DELIVERIES, PENDING_DELIVERIES.all(), limit)
    }
}

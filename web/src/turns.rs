//! Doing one thing at a time for each of many keys: who asks for what is being made waits for it, and nobody else does.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, PoisonError, Weak};

use tokio::sync::Mutex;

/// The locks that somebody has or waits for, one for each key.
pub(crate) struct Turns<K>(std::sync::Mutex<HashMap<K, Weak<Mutex<()>>>>);

impl<K> Default for Turns<K> {
    fn default() -> Self {
        Self(std::sync::Mutex::default())
    }
}

impl<K: Hash + Eq> Turns<K> {
    /// The lock of this key. It goes when nobody has it any more.
    pub(crate) fn of(&self, key: K) -> Arc<Mutex<()>> {
        let mut turns = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        turns.retain(|_, turn| turn.strong_count() > 0);
        if let Some(turn) = turns.get(&key).and_then(Weak::upgrade) {
            return turn;
        }
        let turn = Arc::new(Mutex::new(()));
        turns.insert(key, Arc::downgrade(&turn));
        turn
    }
}

//! One asynchronous lock per key.
//!
//! A lock exists as long as somebody holds it or waits for it. A cache that evicts entries cannot replace this: it
//! could evict a lock that is held.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, Weak};

use parking_lot::Mutex as SyncMutex;
use tokio::sync::Mutex;

/// The locks that somebody holds or waits for, by key.
pub(crate) struct KeyedLocks<K>(SyncMutex<HashMap<K, Weak<Mutex<()>>>>);

impl<K> Default for KeyedLocks<K> {
    fn default() -> Self {
        Self(SyncMutex::default())
    }
}

impl<K: Hash + Eq> KeyedLocks<K> {
    /// The lock of a key.
    pub(crate) fn of(&self, key: K) -> Arc<Mutex<()>> {
        let mut locks = self.0.lock();
        locks.retain(|_, lock| lock.strong_count() > 0);
        if let Some(lock) = locks.get(&key).and_then(Weak::upgrade) {
            return lock;
        }
        let lock = Arc::new(Mutex::new(()));
        locks.insert(key, Arc::downgrade(&lock));
        lock
    }
}

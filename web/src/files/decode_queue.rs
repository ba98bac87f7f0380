//! The order in which uploads are decoded.
//!
//! A node decodes a few uploads at a time, and at most one of each owner: a user, or the address of an anonymous
//! client. Owners wait in the order in which they came, and so do the uploads of one owner. An owner with many uploads,
//! or with one that takes long, delays the others by one upload at most.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{OwnedMutexGuard, OwnedSemaphorePermit, Semaphore};

use super::keyed_locks::KeyedLocks;
use crate::http::error::ApiError;

/// Files that are decoded at a time.
const PLACES: usize = 2;
/// The longest wait of an upload; then the request is refused.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// The places for decoding, and the owners that have one or wait for one.
pub(crate) struct DecodeQueue {
    places: Arc<Semaphore>,
    owners: KeyedLocks<String>,
}

impl Default for DecodeQueue {
    fn default() -> Self {
        Self { places: Arc::new(Semaphore::new(PLACES)), owners: KeyedLocks::default() }
    }
}

/// The permission to decode a file. Dropping it gives the place to the next upload.
pub(crate) struct Turn {
    // Dropped before the owner's lock, so that the next upload of the same owner queues behind the others.
    _place: OwnedSemaphorePermit,
    _owner: OwnedMutexGuard<()>,
}

impl DecodeQueue {
    /// Waits for the owner's turn, at most for `patience`.
    pub(crate) async fn turn(&self, owner: String, patience: Duration) -> Result<Turn, ApiError> {
        let lock = self.owners.of(owner);
        let turn = async {
            let owner = lock.lock_owned().await;
            let place = Arc::clone(&self.places).acquire_owned().await.map_err(|_| ApiError::Stopping)?;
            Ok(Turn { _place: place, _owner: owner })
        };
        let waited = tokio::time::timeout(patience, turn).await;
        waited.unwrap_or_else(|_| Err(ApiError::Busy("reading other uploads".into())))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use futures_util::FutureExt;

    use super::*;

    #[tokio::test]
    async fn owner_has_one_place_and_queues_behind_others() {
        let queue = DecodeQueue::default();
        let ask = |owner: &str| Box::pin(queue.turn(owner.to_owned(), PATIENCE));
        let first = ask("a").now_or_never().unwrap().unwrap();
        let mut second = ask("a");
        assert!((&mut second).now_or_never().is_none(), "one at a time");
        let other = ask("b").now_or_never().unwrap().unwrap();
        let mut third = ask("c");
        assert!((&mut third).now_or_never().is_none(), "two places");
        drop(first);
        assert!((&mut second).now_or_never().is_none(), "c waited before a came again");
        let third = (&mut third).now_or_never().unwrap().unwrap();
        drop(other);
        let second = (&mut second).now_or_never().unwrap().unwrap();
        drop((second, third));
        assert_eq!(queue.places.available_permits(), PLACES);
    }

    #[tokio::test]
    async fn expired_wait_is_refused_and_leaves_the_queue() {
        let queue = DecodeQueue::default();
        let held = queue.turn("a".into(), PATIENCE).await.unwrap();
        let refused = queue.turn("a".into(), Duration::from_millis(10)).await;
        assert!(matches!(refused, Err(ApiError::Busy(_))));
        drop(held);
        assert!(queue.turn("a".into(), PATIENCE).now_or_never().unwrap().is_ok());
    }
}

//! Whose file is decoded next.
//!
//! A node decodes a few uploads at a time, and one of each owner: a user, or the address of a client without an account.
//! Owners wait in the order in which they came, and so do the uploads of one owner. So an owner with many uploads, or with
//! one that takes long, delays the others by one upload at most.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{OwnedMutexGuard, OwnedSemaphorePermit, Semaphore};

use crate::error::ApiError;
use crate::turns::Turns;

/// Files that are decoded at a time.
const PLACES: usize = 2;
/// How long an upload waits for its turn before the client is sent away.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// The places, and who has them.
pub(crate) struct Probes {
    places: Arc<Semaphore>,
    owners: Turns<String>,
}

impl Default for Probes {
    fn default() -> Self {
        Self { places: Arc::new(Semaphore::new(PLACES)), owners: Turns::default() }
    }
}

/// The permission to decode a file; it ends with this value.
pub(crate) struct Turn {
    // First the place, so that the next upload of the same owner queues behind the others.
    _place: OwnedSemaphorePermit,
    _owner: OwnedMutexGuard<()>,
}

impl Probes {
    /// Waits for this owner's turn, but not longer than this.
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
    async fn an_owner_has_one_place_and_the_others_come_first() {
        let probes = Probes::default();
        let ask = |owner: &str| Box::pin(probes.turn(owner.to_owned(), PATIENCE));
        let first = ask("a").now_or_never().unwrap().unwrap();
        let mut second = ask("a");
        assert!((&mut second).now_or_never().is_none(), "one at a time");
        let other = ask("b").now_or_never().unwrap().unwrap();
        let mut third = ask("c");
        assert!((&mut third).now_or_never().is_none(), "two places");
        drop(first);
        assert!((&mut second).now_or_never().is_none(), "c came for a place before a came again");
        let third = (&mut third).now_or_never().unwrap().unwrap();
        drop(other);
        let second = (&mut second).now_or_never().unwrap().unwrap();
        drop((second, third));
        assert_eq!(probes.places.available_permits(), PLACES);
    }

    #[tokio::test]
    async fn who_waits_too_long_is_sent_away_and_leaves_the_queue() {
        let probes = Probes::default();
        let held = probes.turn("a".into(), PATIENCE).await.unwrap();
        let refused = probes.turn("a".into(), Duration::from_millis(10)).await;
        assert!(matches!(refused, Err(ApiError::Busy(_))));
        drop(held);
        assert!(probes.turn("a".into(), PATIENCE).now_or_never().unwrap().is_ok());
    }
}

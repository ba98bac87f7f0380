//! A cache of successful password checks, for programs that send a password with every request.
//!
//! A check with Argon2 takes time and memory, and each attempt is counted in the replicated log. An OpenSubsonic player
//! sends the password with every request, such as one per album cover, and would soon reach the rate limit. A
//! successful check is therefore cached for an hour. The cache holds no password, only the HMAC of the user, the
//! verifier and the password under a key that only this process has. The verifier is part of it, so changing the
//! password ends the entry. Concurrent requests with the same password run one check.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use moka::future::Cache;
use net::secret_box::{SecretBoxError, random, signature};
use state::User;
use tokio::sync::OnceCell;

use super::secret::Secret;
use crate::http::error::ApiError;

/// The lifetime of an entry.
const LIFETIME: Duration = Duration::from_secs(3600);
/// The most entries.
const CAPACITY: u64 = 10_000;

/// The successful checks of this process.
pub(crate) struct AuthCache {
    key: OnceCell<[u8; 32]>,
    verified: Cache<[u8; 32], ()>,
}

impl Default for AuthCache {
    fn default() -> Self {
        Self::with_lifetime(LIFETIME)
    }
}

impl AuthCache {
    fn with_lifetime(lifetime: Duration) -> Self {
        let verified = Cache::builder().max_capacity(CAPACITY).time_to_live(lifetime).build();
        Self { key: OnceCell::new(), verified }
    }

    /// Checks a user's password with `verify`, unless the same check succeeded within the lifetime of an entry.
    pub(crate) async fn verify<F: Future<Output = Result<(), ApiError>>>(
        &self,
        user: &User,
        password: &Secret,
        verify: impl FnOnce() -> F,
    ) -> Result<(), Arc<ApiError>> {
        let key = self.key.get_or_try_init(|| async { random::<32>() as Result<_, SecretBoxError> });
        let key = key.await.map_err(|error| Arc::new(error.into()))?;
        let id = user.id.to_be_bytes();
        let entry = signature(key, &[&id, user.password.0.as_bytes(), b"\0", password.plain().as_bytes()]);
        self.verified.try_get_with(entry, verify()).await
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use state::Verifier;

    use super::*;

    fn user(verifier: &str) -> User {
        let password = Verifier(verifier.into());
        User { id: 1, name: "Ada".into(), email: None, password, administrator: false, created_at: 0 }
    }

    /// Whether the password was accepted. Only "right" is; each check is counted.
    async fn ask(cache: &AuthCache, checks: &AtomicU32, verifier: &str, password: &str) -> bool {
        let verify = async || {
            checks.fetch_add(1, Ordering::Relaxed);
            tokio::task::yield_now().await;
            if password == "right" { Ok(()) } else { Err(ApiError::WrongPassword) }
        };
        cache.verify(&user(verifier), &Secret::shown(password), verify).await.is_ok()
    }

    #[tokio::test]
    async fn only_successful_checks_are_cached() {
        let (cache, checks) = (AuthCache::default(), AtomicU32::new(0));
        let ask = async |verifier: &str, password: &str| ask(&cache, &checks, verifier, password).await;
        let count = || checks.swap(0, Ordering::Relaxed);
        let six = futures_util::future::join_all((0..6).map(|_| ask("a", "right"))).await;
        assert_eq!((six, count()), (vec![true; 6], 1), "concurrent requests run one check");
        assert_eq!((ask("a", "wrong").await, ask("a", "wrong").await, count()), (false, false, 2));
        assert!(ask("b", "right").await && count() == 1, "another verifier is another check");
        assert!(ask("a", "right").await && count() == 0);
    }

    #[tokio::test]
    async fn entries_expire() {
        let lifetime = Duration::from_millis(10);
        let (cache, checks) = (AuthCache::with_lifetime(lifetime), AtomicU32::new(0));
        for expected in 1..3 {
            assert!(ask(&cache, &checks, "a", "right").await);
            assert_eq!(checks.load(Ordering::Relaxed), expected);
            tokio::time::sleep(2 * lifetime).await;
        }
    }
}

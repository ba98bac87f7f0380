//! Hashing and verifying passwords.
//!
//! Argon2id with 19 MiB, two passes and one lane, the minimum in OWASP's password storage cheat sheet. Two computations
//! run at a time, on blocking threads, so logins neither stop the node nor exhaust its memory.

use std::sync::Arc;

use argon2::password_hash::phc::PasswordHash;
use argon2::{Algorithm, Argon2, Params, PasswordHasher, PasswordVerifier, Version};
use state::Verifier;
use tokio::sync::{OnceCell, Semaphore};

use crate::auth::secret::Secret;
use crate::http::blocking;
use crate::http::error::ApiError;

/// The memory of one computation in KiB, the passes and the lanes.
const COST: (u32, u32, u32) = (19 * 1024, 2, 1);
/// Computations that run at a time.
const AT_A_TIME: usize = 2;
/// Computations that may wait. Further requests are refused.
const WAITING: usize = 64;

/// The computations of this node.
pub(crate) struct Passwords {
    turns: Arc<Semaphore>,
    queue: Semaphore,
    /// The verifier for names without a user, so that the comparison takes as long as for a user.
    no_user: OnceCell<Verifier>,
}

impl Passwords {
    pub(crate) fn new() -> Self {
        Self {
            turns: Arc::new(Semaphore::new(AT_A_TIME)),
            queue: Semaphore::new(AT_A_TIME + WAITING),
            no_user: OnceCell::new(),
        }
    }

    /// The verifier of a new password.
    pub(crate) async fn verifier(&self, password: Secret) -> Result<Verifier, ApiError> {
        self.compute("hashing a password", move || {
            let hash: PasswordHash = argon2()?.hash_password(password.plain().as_bytes())?;
            Ok(Verifier(hash.to_string()))
        })
        .await
    }

    /// Whether the password matches the verifier. Without a verifier this is false, after the same time.
    pub(crate) async fn fits(&self, password: Secret, verifier: Option<Verifier>) -> Result<bool, ApiError> {
        let known = verifier.is_some();
        let verifier = match verifier {
            Some(verifier) => verifier,
            None => self.no_user.get_or_try_init(|| self.verifier(Secret::default())).await?.clone(),
        };
        let fits = move || {
            let hash = PasswordHash::new(&verifier.0)?;
            Ok(argon2()?.verify_password(password.plain().as_bytes(), &hash).is_ok())
        };
        Ok(self.compute("comparing a password", fits).await? && known)
    }

    /// Runs a computation. It holds its permit to its end, also if the request is dropped, because it uses its memory
    /// so long.
    async fn compute<T: Send + 'static>(
        &self,
        doing: &str,
        work: impl FnOnce() -> Result<T, argon2::password_hash::Error> + Send + 'static,
    ) -> Result<T, ApiError> {
        let _queued = self.queue.try_acquire().map_err(|_| ApiError::Busy("with other logins".into()))?;
        let turn = Arc::clone(&self.turns).acquire_owned().await.map_err(|_| ApiError::Stopping)?;
        let done = blocking(doing, move || {
            let _turn = turn;
            work()
        })
        .await?;
        done.map_err(|error| ApiError::internal(doing, &error))
    }
}

fn argon2() -> Result<Argon2<'static>, argon2::password_hash::Error> {
    let (memory, passes, lanes) = COST;
    let params = Params::new(memory, passes, lanes, None).map_err(argon2::password_hash::Error::from)?;
    Ok(Argon2::new(Algorithm::Argon2id, Version::V0x13, params))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[tokio::test]
    async fn only_the_right_password_fits() {
        let passwords = Passwords::new();
        let word = Secret::shown("correct horse");
        let verifier = passwords.verifier(word.clone()).await.unwrap();
        assert!(verifier.0.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{}", verifier.0);
        assert_ne!(passwords.verifier(word.clone()).await.unwrap(), verifier);
        assert!(passwords.fits(word.clone(), Some(verifier.clone())).await.unwrap());
        assert!(!passwords.fits(Secret::shown("correct hors"), Some(verifier)).await.unwrap());
        // Without a user no password fits, not even the empty one.
        assert!(!passwords.fits(word, None).await.unwrap());
        assert!(!passwords.fits(Secret::default(), None).await.unwrap());
    }
}

//! Passwords: making what they are compared with, and comparing.
//!
//! Argon2id with 19 MiB, two passes and one lane, the least that OWASP's password storage cheat sheet recommends. Two at
//! a time, on threads that may be busy, so that logins neither stop the node nor fill its memory.

use std::sync::Arc;

use argon2::password_hash::phc::PasswordHash;
use argon2::{Algorithm, Argon2, Params, PasswordHasher, PasswordVerifier, Version};
use state::Verifier;
use tokio::sync::{OnceCell, Semaphore};

use crate::blocking;
use crate::error::ApiError;
use crate::secret::Secret;

/// The memory of one computation in KiB, its passes and its lanes.
const COST: (u32, u32, u32) = (19 * 1024, 2, 1);
/// Computations at a time.
const AT_A_TIME: usize = 2;
/// Computations that wait for their turn; who comes after them is told to come again.
const WAITING: usize = 64;

/// This node's part in dealing with passwords.
pub(crate) struct Passwords {
    turns: Arc<Semaphore>,
    queue: Semaphore,
    /// What is compared with where there is no user, so that it takes as long.
    nobody: OnceCell<Verifier>,
}

impl Passwords {
    pub(crate) fn new() -> Self {
        Self {
            turns: Arc::new(Semaphore::new(AT_A_TIME)),
            queue: Semaphore::new(AT_A_TIME + WAITING),
            nobody: OnceCell::new(),
        }
    }

    /// What this password is to be compared with from now on.
    pub(crate) async fn verifier(&self, password: Secret) -> Result<Verifier, ApiError> {
        self.compute("hashing a password", move || {
            let hash: PasswordHash = argon2()?.hash_password(password.plain().as_bytes())?;
            Ok(Verifier(hash.to_string()))
        })
        .await
    }

    /// Whether this is the password. Without a user it is not, and that takes as long to find out.
    pub(crate) async fn fits(&self, password: Secret, verifier: Option<Verifier>) -> Result<bool, ApiError> {
        let known = verifier.is_some();
        let verifier = match verifier {
            Some(verifier) => verifier,
            None => self.nobody.get_or_try_init(|| self.verifier(Secret::default())).await?.clone(),
        };
        let fits = move || {
            let hash = PasswordHash::new(&verifier.0)?;
            Ok(argon2()?.verify_password(password.plain().as_bytes(), &hash).is_ok())
        };
        Ok(self.compute("comparing a password", fits).await? && known)
    }

    /// The permit goes with the computation: one that nobody waits for any more still takes its memory.
    async fn compute<T: Send + 'static>(
        &self,
        doing: &str,
        work: impl FnOnce() -> Result<T, argon2::password_hash::Error> + Send + 'static,
    ) -> Result<T, ApiError> {
        let _queued = self.queue.try_acquire().map_err(|_| ApiError::Busy("with other people's passwords".into()))?;
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
    async fn only_the_password_fits() {
        let passwords = Passwords::new();
        let word = Secret::shown("correct horse");
        let verifier = passwords.verifier(word.clone()).await.unwrap();
        assert!(verifier.0.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{}", verifier.0);
        assert_ne!(passwords.verifier(word.clone()).await.unwrap(), verifier);
        assert!(passwords.fits(word.clone(), Some(verifier.clone())).await.unwrap());
        assert!(!passwords.fits(Secret::shown("correct hors"), Some(verifier)).await.unwrap());
        // Nobody's password is none, not even the empty one.
        assert!(!passwords.fits(word, None).await.unwrap());
        assert!(!passwords.fits(Secret::default(), None).await.unwrap());
    }
}

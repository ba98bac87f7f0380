//! Passwords that were right of late, for programs that send theirs with every request.
//!
//! Comparing a password takes Argon2's memory and time, and each try is counted in the cluster's log; a player that sends
//! its password with the picture of every album would pay that each time, and soon be refused. So what was right is
//! remembered for a while: not the password, but its HMAC under a key of this process that is nowhere else. What it was
//! compared with is part of that, so a changed password is not remembered. Several requests with one password at once
//! cost one comparison.

use std::collections::HashMap;
use std::future::Future;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use net::secret_box::{SecretBoxError, random, signature};
use state::User;
use tokio::sync::OnceCell;
use tokio::time::Instant;

use crate::error::ApiError;
use crate::secret::Secret;
use crate::turns::Turns;

/// For how long a password need not be compared again.
const LASTS: Duration = Duration::from_secs(3600);
/// How many passwords are remembered; when there are more, those of longest ago go.
const MOST: usize = 10_000;

type Print = [u8; 32];

/// What this node remembers.
#[derive(Default)]
pub(crate) struct Remembered {
    key: OnceCell<[u8; 32]>,
    right: Mutex<HashMap<Print, Instant>>,
    comparing: Turns<Print>,
}

impl Remembered {
    /// Whether this is the user's password: because it was of late, or because `compare` finds so.
    pub(crate) async fn or_compared<F: Future<Output = Result<(), ApiError>>>(
        &self,
        user: &User,
        password: &Secret,
        compare: impl FnOnce() -> F,
    ) -> Result<(), ApiError> {
        let key = self.key.get_or_try_init(|| async { random::<32>() as Result<_, SecretBoxError> }).await?;
        let print =
            signature(key, &[&user.id.to_be_bytes(), user.password.0.as_bytes(), b"\0", password.plain().as_bytes()]);
        if self.is_right(&print) {
            return Ok(());
        }
        let turn = self.comparing.of(print);
        let _turn = turn.lock().await;
        if self.is_right(&print) {
            return Ok(());
        }
        compare().await?;
        let mut right = self.right.lock().unwrap_or_else(PoisonError::into_inner);
        if right.len() >= MOST {
            let oldest = right.iter().min_by_key(|(_, since)| **since).map(|(print, _)| *print);
            oldest.and_then(|print| right.remove(&print));
        }
        right.insert(print, Instant::now());
        Ok(())
    }

    fn is_right(&self, print: &Print) -> bool {
        let mut right = self.right.lock().unwrap_or_else(PoisonError::into_inner);
        match right.get(print) {
            Some(since) if since.elapsed() < LASTS => true,
            Some(_) => {
                right.remove(print);
                false
            }
            None => false,
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::sync::atomic::{AtomicU32, Ordering};

    use state::Verifier;

    use super::*;

    fn user(verifier: &str) -> User {
        let password = Verifier(verifier.into());
        User { id: 1, name: "Ada".into(), email: None, password, administrator: false, created_at: 0 }
    }

    #[tokio::test(start_paused = true)]
    async fn a_right_password_is_compared_once_in_a_while_and_a_wrong_one_each_time() {
        let (remembered, compared) = (Remembered::default(), AtomicU32::new(0));
        let ask = async |verifier: &str, password: &str| {
            let compare = async || {
                compared.fetch_add(1, Ordering::Relaxed);
                tokio::task::yield_now().await;
                if password == "right" { Ok(()) } else { Err(ApiError::WrongPassword) }
            };
            remembered.or_compared(&user(verifier), &Secret::shown(password), compare).await.is_ok()
        };
        let count = || compared.swap(0, Ordering::Relaxed);
        let six = futures_util::future::join_all((0..6).map(|_| ask("a", "right"))).await;
        assert_eq!((six, count()), (vec![true; 6], 1));
        assert_eq!((ask("a", "wrong").await, ask("a", "wrong").await, count()), (false, false, 2));
        assert!(ask("b", "right").await && count() == 1, "it was compared with something else");
        tokio::time::advance(LASTS).await;
        assert!(ask("a", "right").await && count() == 1, "it was long ago");
    }
}

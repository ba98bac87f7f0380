//! Commands on tokens.

use serde::{Deserialize, Serialize};
use storage::blobs::Hash;

use crate::command::answer::{Answer, Refusal};
use crate::command::apply::{Applied, Apply, DONE, refuse};
use crate::expiry::{self, GRACE, types::Expiring};
use crate::tables::{TOKENS, TOKENS_OF_USER};
use crate::{Read, Sealed, Token, Transaction, ViewError};

/// How many tokens a user may have.
const MOST: usize = 100;

/// Makes a token.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MakeToken {
    /// The hash of its secret.
    pub secret: Hash,
    /// The secret, encrypted.
    pub sealed: Sealed,
    /// The user.
    pub user: u64,
    /// The user's name for it.
    pub name: String,
    /// The time at which it expires, if it does.
    pub expires_at: Option<u64>,
    /// The time.
    pub at: u64,
}

impl Apply for MakeToken {
    fn adds_expiring(&self) -> Option<u64> {
        Some(self.at)
    }

    fn apply(&self, state: &mut Transaction) -> Applied<Answer> {
        if state.user(self.user)?.is_none() {
            refuse!(Refusal::NoSuchUser(self.user));
        }
        if state.count(TOKENS_OF_USER.under(self.user), MOST)? >= MOST {
            refuse!(Refusal::TooManyTokens(MOST));
        }
        let token = Token {
            id: state.next("token")?,
            user: self.user,
            name: self.name.clone(),
            created_at: self.at,
            expires_at: self.expires_at,
            sealed: self.sealed.clone(),
        };
        state.put(TOKENS, &self.secret, &token)?;
        state.put(TOKENS_OF_USER, (self.user, token.id), &self.secret)?;
        if let Some(expires_at) = token.expires_at {
            expiry::schedule(state, expires_at.saturating_add(GRACE), Expiring::Token(self.secret))?;
        }
        Ok(Ok(Answer::Made(token.id)))
    }
}

/// Revokes a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct RevokeToken {
    /// The user.
    pub user: u64,
    /// The number of the token.
    pub token: u64,
}

impl Apply for RevokeToken {
    fn apply(&self, state: &mut Transaction) -> Applied<Answer> {
        let Some(secret) = state.get(TOKENS_OF_USER, (self.user, self.token))? else {
            refuse!(Refusal::NoSuchToken(self.token));
        };
        remove(state, &secret)?;
        DONE
    }
}

/// Revokes all tokens of a user.
pub(crate) fn revoke_all(state: &mut Transaction, user: u64) -> Result<(), ViewError> {
    for secret in state.list(TOKENS_OF_USER, TOKENS_OF_USER.under(user))? {
        remove(state, &secret)?;
    }
    Ok(())
}

/// Removes the token with this secret's hash.
pub(crate) fn remove(state: &mut Transaction, secret: &Hash) -> Result<(), ViewError> {
    if let Some(token) = state.get(TOKENS, secret)? {
        state.delete(TOKENS, secret);
        state.delete(TOKENS_OF_USER, (token.user, token.id));
        if let Some(expires_at) = token.expires_at {
            expiry::cancel(state, expires_at.saturating_add(GRACE), secret);
        }
    }
    Ok(())
}

//! Reading accounts.

use storage::blobs::Hash;

use crate::tables::{RATE_COUNTERS, SESSIONS, SESSIONS_OF_USER, TOKENS, TOKENS_OF_USER, USER_BY_NAME, USERS};
use crate::{RateCounter, Read, Session, Token, User, View, ViewError};

impl View {
    /// A user.
    pub fn user(&self, id: u64) -> Result<Option<User>, ViewError> {
        Read::user(self, id)
    }

    /// The user with this name, in the form that [`crate::folded`] gives it.
    pub fn user_named(&self, folded: &str) -> Result<Option<User>, ViewError> {
        self.get(USER_BY_NAME, folded)?.map_or(Ok(None), |id| self.user(id))
    }

    /// At most `limit` users, the newest first; `before` is the number of the last user on the page before.
    pub fn users(&self, before: Option<u64>, limit: usize) -> Result<Vec<User>, ViewError> {
        self.newest(USERS, USERS.below(before), limit)
    }

    /// Whether there are users.
    pub fn has_users(&self) -> Result<bool, ViewError> {
        Ok(self.count(USERS.all(), 1)? > 0)
    }

    /// The session with this secret's hash. It may have expired.
    pub fn session(&self, secret: &Hash) -> Result<Option<Session>, ViewError> {
        self.get(SESSIONS, secret)
    }

    /// A user's sessions, the oldest first. Some may have expired.
    pub fn sessions_of(&self, user: u64) -> Result<Vec<Session>, ViewError> {
        self.by_hashes(SESSIONS_OF_USER, SESSIONS_OF_USER.under(user), SESSIONS)
    }

    /// The token with this secret's hash. It may have expired.
    pub fn token(&self, secret: &Hash) -> Result<Option<Token>, ViewError> {
        self.get(TOKENS, secret)
    }

    /// A user's tokens, the oldest first. Some may have expired.
    pub fn tokens_of(&self, user: u64) -> Result<Vec<Token>, ViewError> {
        self.by_hashes(TOKENS_OF_USER, TOKENS_OF_USER.under(user), TOKENS)
    }

    /// The counter of the rate limit with this key.
    pub fn rate_counter(&self, key: &Hash) -> Result<Option<RateCounter>, ViewError> {
        self.get(RATE_COUNTERS, key)
    }
}

//! Users, and what opens their accounts.

use storage::blobs::Hash;

use crate::{Read, Session, Token, Tries, User, View, ViewError, keys};

impl View {
    /// A user.
    pub fn user(&self, id: u64) -> Result<Option<User>, ViewError> {
        Read::user(self, id)
    }

    /// The user with this name, as [`crate::folded`] gives it.
    pub fn user_named(&self, folded: &str) -> Result<Option<User>, ViewError> {
        self.value::<u64>(&keys::user_named(folded))?.map_or(Ok(None), |id| self.user(id))
    }

    /// At most `limit` users, the newest first; `before` goes on where an earlier page ended.
    pub fn users(&self, before: Option<u64>, limit: usize) -> Result<Vec<User>, ViewError> {
        self.newest(keys::users(before), limit)
    }

    /// Whether anybody has an account.
    pub fn has_users(&self) -> Result<bool, ViewError> {
        Ok(!self.scan_some(keys::users(None), 1)?.is_empty())
    }

    /// The session with this secret's hash. It may have ended.
    pub fn session(&self, secret: &Hash) -> Result<Option<Session>, ViewError> {
        self.value(&keys::session(secret))
    }

    /// A user's sessions, the oldest first. Some may have ended.
    pub fn sessions_of(&self, user: u64) -> Result<Vec<Session>, ViewError> {
        self.behind(keys::sessions_of(user), keys::session)
    }

    /// The token with this secret's hash. It may have ended.
    pub fn token(&self, secret: &Hash) -> Result<Option<Token>, ViewError> {
        self.value(&keys::token(secret))
    }

    /// A user's tokens, the oldest first. Some may have ended.
    pub fn tokens_of(&self, user: u64) -> Result<Vec<Token>, ViewError> {
        self.behind(keys::tokens_of(user), keys::token)
    }

    /// How often something was tried.
    pub fn tries(&self, of: &Hash) -> Result<Option<Tries>, ViewError> {
        self.value(&keys::tries(of))
    }
}

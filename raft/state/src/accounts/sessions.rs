//! Commands on sessions.

use serde::{Deserialize, Serialize};
use storage::blobs::Hash;

use crate::command::answer::{Answer, Refusal};
use crate::command::apply::{Applied, Apply, DONE, refuse};
use crate::expiry::{self, GRACE, types::Expiring};
use crate::tables::{SESSIONS, SESSIONS_OF_USER};
use crate::{Read, Session, Transaction, Verifier, ViewError, rate_limits};

/// How many sessions a user may have. A new one replaces the oldest.
const MOST: usize = 100;

/// Opens a session for a user who has given the right password.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OpenSession {
    /// The hash of the session's secret.
    pub secret: Hash,
    /// The user.
    pub user: u64,
    /// The verifier that the password was compared with. It may have been changed since.
    pub password: Verifier,
    /// The browser's name for itself.
    pub user_agent: String,
    /// The time at which the session expires.
    pub expires_at: u64,
    /// The keys of the rate limits whose counters start anew.
    pub clears: Vec<Hash>,
    /// The time.
    pub at: u64,
}

impl Apply for OpenSession {
    fn adds_expiring(&self) -> Option<u64> {
        Some(self.at)
    }

    fn apply(&self, state: &mut Transaction) -> Applied<Answer> {
        let Some(user) = state.user(self.user)? else { refuse!(Refusal::NoSuchUser(self.user)) };
        if user.password != self.password {
            refuse!(Refusal::PasswordChanged);
        }
        for key in &self.clears {
            rate_limits::clear(state, key)?;
        }
        let sessions = state.list(SESSIONS_OF_USER, SESSIONS_OF_USER.under(user.id))?;
        for oldest in sessions.iter().take((sessions.len() + 1).saturating_sub(MOST)) {
            remove(state, oldest)?;
        }
        let session = Session {
            id: state.next("session")?,
            user: user.id,
            created_at: self.at,
            expires_at: self.expires_at,
            user_agent: self.user_agent.clone(),
        };
        state.put(SESSIONS, &self.secret, &session)?;
        state.put(SESSIONS_OF_USER, (user.id, session.id), &self.secret)?;
        expiry::schedule(state, session.expires_at.saturating_add(GRACE), Expiring::Session(self.secret))?;
        Ok(Ok(Answer::Made(session.id)))
    }
}

/// Ends a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct EndSession {
    /// The user.
    pub user: u64,
    /// The number of the session.
    pub session: u64,
}

impl Apply for EndSession {
    fn apply(&self, state: &mut Transaction) -> Applied<Answer> {
        let Some(secret) = state.get(SESSIONS_OF_USER, (self.user, self.session))? else {
            refuse!(Refusal::NoSuchSession(self.session));
        };
        remove(state, &secret)?;
        DONE
    }
}

/// Ends the sessions of a user.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct EndSessions {
    /// The user.
    pub user: u64,
    /// The session that stays.
    pub keep: Option<u64>,
}

impl Apply for EndSessions {
    fn apply(&self, state: &mut Transaction) -> Applied<Answer> {
        end_all(state, self.user, self.keep)?;
        DONE
    }
}

/// Ends a user's sessions, except for `keep`.
pub(crate) fn end_all(state: &mut Transaction, user: u64, keep: Option<u64>) -> Result<(), ViewError> {
    let kept = match keep {
        Some(session) => state.get(SESSIONS_OF_USER, (user, session))?,
        None => None,
    };
    for secret in state.list(SESSIONS_OF_USER, SESSIONS_OF_USER.under(user))? {
        if Some(secret) != kept {
            remove(state, &secret)?;
        }
    }
    Ok(())
}

/// Removes the session with this secret's hash.
pub(crate) fn remove(state: &mut Transaction, secret: &Hash) -> Result<(), ViewError> {
    if let Some(session) = state.get(SESSIONS, secret)? {
        state.delete(SESSIONS, secret);
        state.delete(SESSIONS_OF_USER, (session.user, session.id));
        expiry::cancel(state, session.expires_at.saturating_add(GRACE), secret);
    }
    Ok(())
}

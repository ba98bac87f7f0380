//! Accounts: users, their sessions and tokens.
//!
//! Invariants: once there are users, one of them is an administrator: the first user is one, and the last administrator can
//! neither be demoted nor removed. Names are unique without regard to case. Sessions, tokens and everything else of a user
//! are removed together with the user.

pub(crate) mod session;
pub(crate) mod sessions;
pub(crate) mod tokens;
pub(crate) mod user;

use serde::{Deserialize, Serialize};

use crate::command::answer::{Answer, Refusal};
use crate::command::apply::{Applied, Apply, DONE, granted, refuse};
use crate::songs::RemoveSong;
use crate::tables::{ADMINISTRATORS, COUNTERS, USER_BY_NAME, USERS, VISIBLE};
use crate::{
    Audience, OrphanPolicy, Read, Transaction, User, Verifier, ViewError, folded, hooks, listening, playlists, sharing,
};

pub use sessions::{EndSession, EndSessions, OpenSession};
pub use tokens::{MakeToken, RevokeToken};

/// Registers a user. The first one is an administrator, and may register even if registration is closed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Register {
    /// The name.
    pub name: String,
    /// The e-mail address.
    pub email: Option<String>,
    /// What the password is compared with.
    pub password: Verifier,
    /// Whether registration is closed.
    pub closed: bool,
    /// The time.
    pub at: u64,
}

impl Apply for Register {
    fn apply(&self, state: &mut Transaction) -> Applied<Answer> {
        let Ok(folded) = folded(&self.name) else { refuse!(Refusal::NoName) };
        // There is always an administrator, so only one user ever is the first.
        let first = !state.has(COUNTERS, "user")?;
        if self.closed && !first {
            refuse!(Refusal::Closed);
        }
        if state.has(USER_BY_NAME, &*folded)? {
            refuse!(Refusal::NameTaken(self.name.clone()));
        }
        let user = User {
            id: state.next("user")?,
            name: self.name.clone(),
            email: self.email.clone(),
            password: self.password.clone(),
            administrator: first,
            created_at: self.at,
        };
        state.put(USER_BY_NAME, &*folded, &user.id)?;
        put(state, &user)?;
        Ok(Ok(Answer::Made(user.id)))
    }
}

/// Changes a user. Fields without a value leave the user as it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChangeUser {
    /// The user.
    pub user: u64,
    /// The new name.
    pub name: Option<String>,
    /// The new e-mail address; an empty one removes it.
    pub email: Option<String>,
    /// The verifier of the new password. All sessions end, except for `keep`.
    pub password: Option<Verifier>,
    /// The verifier that the old password was compared with, where the old password was required.
    pub old_password: Option<Verifier>,
    /// Whether the user is an administrator from now on.
    pub administrator: Option<bool>,
    /// The session that stays.
    pub keep: Option<u64>,
}

impl Apply for ChangeUser {
    fn apply(&self, state: &mut Transaction) -> Applied<Answer> {
        let Some(mut user) = state.user(self.user)? else { refuse!(Refusal::NoSuchUser(self.user)) };
        if self.old_password.as_ref().is_some_and(|old| *old != user.password) {
            refuse!(Refusal::PasswordChanged);
        }
        if self.administrator == Some(false) && is_last_administrator(state, &user)? {
            refuse!(Refusal::LastAdministrator);
        }
        if let Some(name) = &self.name {
            let (Ok(now), Ok(before)) = (folded(name), folded(&user.name)) else { refuse!(Refusal::NoName) };
            if now != before {
                if state.has(USER_BY_NAME, &*now)? {
                    refuse!(Refusal::NameTaken(name.clone()));
                }
                state.delete(USER_BY_NAME, &*before);
                state.put(USER_BY_NAME, &*now, &user.id)?;
            }
            user.name.clone_from(name);
        }
        if let Some(email) = &self.email {
            user.email = Some(email.clone()).filter(|email| !email.is_empty());
        }
        if let Some(password) = &self.password {
            user.password = password.clone();
            sessions::end_all(state, user.id, self.keep)?;
        }
        if let Some(administrator) = self.administrator {
            user.administrator = administrator;
        }
        put(state, &user)?;
        DONE
    }
}

/// Removes a user with everything that belongs to the user.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct RemoveUser {
    /// The user.
    pub user: u64,
    /// What becomes of the user's songs; required if there are any.
    pub songs: Option<OrphanPolicy>,
}

impl Apply for RemoveUser {
    fn apply(&self, state: &mut Transaction) -> Applied<Answer> {
        let id = self.user;
        let Some(user) = state.user(id)? else { refuse!(Refusal::NoSuchUser(id)) };
        if is_last_administrator(state, &user)? {
            refuse!(Refusal::LastAdministrator);
        }
        let mut songs = Vec::new();
        for song in state.list(VISIBLE, VISIBLE.under(Audience::User(id)))? {
            songs.extend(state.song(song)?.filter(|song| song.uploader_id == Some(id)));
        }
        if self.songs.is_none() && !songs.is_empty() {
            refuse!(Refusal::HasSongs(songs.len() as u64));
        }
        for song in songs {
            let number = song.id;
            let stays = self.songs == Some(OrphanPolicy::Transfer) && sharing::transfer(state, song)?;
            if !stays {
                granted!(RemoveSong { song: number }.apply(state)?);
            }
        }
        sessions::end_all(state, id, None)?;
        tokens::revoke_all(state, id)?;
        hooks::remove_user(state, id)?;
        sharing::remove_user(state, id)?;
        playlists::remove_user(state, id)?;
        listening::remove_user(state, id)?;
        if let Ok(folded) = folded(&user.name) {
            state.delete(USER_BY_NAME, &*folded);
        }
        state.delete(ADMINISTRATORS, id);
        state.delete(USERS, id);
        DONE
    }
}

fn put(state: &mut Transaction, user: &User) -> Result<(), ViewError> {
    state.set(user.administrator, ADMINISTRATORS, user.id, &user.id)?;
    state.put(USERS, user.id, user)
}

fn is_last_administrator(state: &Transaction, user: &User) -> Result<bool, ViewError> {
    Ok(user.administrator && state.count(ADMINISTRATORS.all(), 2)? < 2)
}

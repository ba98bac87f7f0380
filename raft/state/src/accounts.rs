//! Applying what has to do with users: registering, sessions and tokens.
//!
//! Invariants: among users there is an administrator; a session, a token or anything else of a user's goes with the user.

use storage::blobs::Hash;

use super::passing::{self, GRACE, Passing};
use super::transaction::{Applied, granted, refuse};
use super::{
    Audience, Legacy, Read, Sealed, Session, Token, Transaction, User, Verifier, ViewError, folded, hook, keys,
    listening, playlist, sharing, song, tries,
};
use crate::command::{Answer, Refusal};

/// How many sessions and tokens a user may have. Of sessions the oldest gives way.
const MOST: usize = 100;

/// Who wants to be a user.
pub(super) struct Newcomer<'a> {
    pub(super) name: &'a str,
    pub(super) email: Option<&'a String>,
    pub(super) password: &'a Verifier,
}

pub(super) fn register(state: &mut Transaction, newcomer: &Newcomer<'_>, closed: bool, at: u64) -> Applied<Answer> {
    let Ok(folded) = folded(newcomer.name) else { refuse!(Refusal::NoName) };
    // There is always an administrator, so the first user comes once.
    let first = state.value::<u64>(&keys::counter("user"))?.is_none();
    if closed && !first {
        refuse!(Refusal::Closed);
    }
    if state.get(&keys::user_named(&folded))?.is_some() {
        refuse!(Refusal::NameTaken(newcomer.name.into()));
    }
    let user = User {
        id: state.next("user")?,
        name: newcomer.name.into(),
        email: newcomer.email.cloned(),
        password: newcomer.password.clone(),
        administrator: first,
        created_at: at,
    };
    state.put(keys::user_named(&folded), &user.id)?;
    put_user(state, &user)?;
    Ok(Ok(Answer::Made(user.id)))
}

/// Stores a user and keeps the marks of administrators true.
fn put_user(state: &mut Transaction, user: &User) -> Result<(), ViewError> {
    let mark = keys::administrator(user.id);
    match user.administrator {
        true => state.put(mark, &user.id)?,
        false => state.delete(mark),
    }
    state.put(keys::user(user.id), user)
}

/// Whether nobody but this user is an administrator.
fn is_last(state: &Transaction, user: &User) -> Result<bool, ViewError> {
    Ok(user.administrator && state.scan_some(keys::administrators(), 2)?.len() < 2)
}

/// A session that is to begin.
pub(super) struct Opening<'a> {
    pub(super) secret: &'a Hash,
    pub(super) user: u64,
    pub(super) password: &'a Verifier,
    pub(super) seen: &'a str,
    pub(super) expires_at: u64,
    pub(super) clears: &'a [Hash],
}

pub(super) fn open(state: &mut Transaction, opening: &Opening<'_>, at: u64) -> Applied<Answer> {
    passing::sweep(state, at)?;
    let Some(user) = state.user(opening.user)? else { refuse!(Refusal::NoSuchUser(opening.user)) };
    if user.password != *opening.password {
        refuse!(Refusal::PasswordChanged);
    }
    for of in opening.clears {
        tries::clear(state, of)?;
    }
    let sessions = state.values::<Hash>(keys::sessions_of(user.id))?;
    for oldest in sessions.iter().take((sessions.len() + 1).saturating_sub(MOST)) {
        remove_session(state, oldest)?;
    }
    let session = Session {
        id: state.next("session")?,
        user: user.id,
        created_at: at,
        expires_at: opening.expires_at,
        seen: opening.seen.into(),
    };
    state.put(keys::session(opening.secret), &session)?;
    state.put(keys::session_of(user.id, session.id), opening.secret)?;
    let passing = keys::passing(session.expires_at.saturating_add(GRACE), opening.secret);
    state.put(passing, &Passing::Session(*opening.secret))?;
    Ok(Ok(Answer::Made(session.id)))
}

pub(super) fn end(state: &mut Transaction, user: u64, session: u64) -> Applied<Answer> {
    let Some(secret) = state.value::<Hash>(&keys::session_of(user, session))? else {
        refuse!(Refusal::NoSuchSession(session));
    };
    remove_session(state, &secret)?;
    Ok(Ok(Answer::Done))
}

pub(super) fn end_all(state: &mut Transaction, user: u64, keep: Option<u64>) -> Result<(), ViewError> {
    let kept = match keep {
        Some(session) => state.value::<Hash>(&keys::session_of(user, session))?,
        None => None,
    };
    for secret in state.values::<Hash>(keys::sessions_of(user))? {
        if Some(secret) != kept {
            remove_session(state, &secret)?;
        }
    }
    Ok(())
}

pub(super) fn remove_session(state: &mut Transaction, secret: &Hash) -> Result<(), ViewError> {
    if let Some(session) = state.value::<Session>(&keys::session(secret))? {
        state.delete(keys::session(secret));
        state.delete(keys::session_of(session.user, session.id));
        state.delete(keys::passing(session.expires_at.saturating_add(GRACE), secret));
    }
    Ok(())
}

/// A token that is to be made.
pub(super) struct NewToken<'a> {
    pub(super) secret: &'a Hash,
    pub(super) sealed: &'a Sealed,
    pub(super) user: u64,
    pub(super) name: &'a str,
    pub(super) expires_at: Option<u64>,
}

pub(super) fn make_token(state: &mut Transaction, new: &NewToken<'_>, at: u64) -> Applied<Answer> {
    passing::sweep(state, at)?;
    if state.user(new.user)?.is_none() {
        refuse!(Refusal::NoSuchUser(new.user));
    }
    if state.scan(keys::tokens_of(new.user))?.len() >= MOST {
        refuse!(Refusal::TooManyTokens(MOST));
    }
    let token = Token {
        id: state.next("token")?,
        user: new.user,
        name: new.name.into(),
        created_at: at,
        expires_at: new.expires_at,
        sealed: new.sealed.clone(),
    };
    state.put(keys::token(new.secret), &token)?;
    state.put(keys::token_of(new.user, token.id), new.secret)?;
    if let Some(expires_at) = token.expires_at {
        state.put(keys::passing(expires_at.saturating_add(GRACE), new.secret), &Passing::Token(*new.secret))?;
    }
    Ok(Ok(Answer::Made(token.id)))
}

pub(super) fn revoke(state: &mut Transaction, user: u64, token: u64) -> Applied<Answer> {
    let Some(secret) = state.value::<Hash>(&keys::token_of(user, token))? else { refuse!(Refusal::NoSuchToken(token)) };
    remove_token(state, &secret)?;
    Ok(Ok(Answer::Done))
}

pub(super) fn remove_token(state: &mut Transaction, secret: &Hash) -> Result<(), ViewError> {
    if let Some(token) = state.value::<Token>(&keys::token(secret))? {
        state.delete(keys::token(secret));
        state.delete(keys::token_of(token.user, token.id));
        if let Some(expires_at) = token.expires_at {
            state.delete(keys::passing(expires_at.saturating_add(GRACE), secret));
        }
    }
    Ok(())
}

/// What is to be different about a user.
pub(super) struct Changed<'a> {
    pub(super) name: Option<&'a String>,
    pub(super) email: Option<&'a String>,
    pub(super) password: Option<&'a Verifier>,
    pub(super) old_password: Option<&'a Verifier>,
    pub(super) administrator: Option<bool>,
    pub(super) keep: Option<u64>,
}

pub(super) fn change(state: &mut Transaction, id: u64, changed: &Changed<'_>) -> Applied<Answer> {
    let Some(mut user) = state.user(id)? else { refuse!(Refusal::NoSuchUser(id)) };
    if changed.old_password.is_some_and(|old| *old != user.password) {
        refuse!(Refusal::PasswordChanged);
    }
    if changed.administrator == Some(false) && is_last(state, &user)? {
        refuse!(Refusal::LastAdministrator);
    }
    if let Some(name) = changed.name {
        let (Ok(now), Ok(before)) = (folded(name), folded(&user.name)) else { refuse!(Refusal::NoName) };
        if now != before {
            if state.get(&keys::user_named(&now))?.is_some() {
                refuse!(Refusal::NameTaken(name.clone()));
            }
            state.delete(keys::user_named(&before));
            state.put(keys::user_named(&now), &id)?;
        }
        user.name.clone_from(name);
    }
    if let Some(email) = changed.email {
        user.email = Some(email.clone()).filter(|email| !email.is_empty());
    }
    if let Some(password) = changed.password {
        user.password = password.clone();
        end_all(state, id, changed.keep)?;
    }
    if let Some(administrator) = changed.administrator {
        user.administrator = administrator;
    }
    put_user(state, &user)?;
    Ok(Ok(Answer::Done))
}

/// Removes a user and what is theirs.
pub(super) fn remove(state: &mut Transaction, id: u64, legacy: Option<Legacy>) -> Applied<Answer> {
    let Some(user) = state.user(id)? else { refuse!(Refusal::NoSuchUser(id)) };
    if is_last(state, &user)? {
        refuse!(Refusal::LastAdministrator);
    }
    let mut songs = Vec::new();
    for song in state.values::<u64>(keys::all_visible(Audience::User(id), None))? {
        songs.extend(state.song(song)?.filter(|song| song.uploader_id == Some(id)));
    }
    if legacy.is_none() && !songs.is_empty() {
        refuse!(Refusal::HasSongs(songs.len() as u64));
    }
    for song in songs {
        let number = song.id;
        let stays = legacy == Some(Legacy::HandOver) && sharing::hand_over(state, song)?;
        if !stays {
            granted!(song::remove(state, number)?);
        }
    }
    end_all(state, id, None)?;
    for secret in state.values::<Hash>(keys::tokens_of(id))? {
        remove_token(state, &secret)?;
    }
    hook::forget_user(state, id)?;
    sharing::forget_user(state, id)?;
    playlist::forget_user(state, id)?;
    listening::forget_user(state, id)?;
    if let Ok(folded) = folded(&user.name) {
        state.delete(keys::user_named(&folded));
    }
    state.delete(keys::administrator(id));
    state.delete(keys::user(id));
    Ok(Ok(Answer::Done))
}

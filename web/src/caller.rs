//! Who asks: nobody in particular, or a user with the cookie of a session or the token of a program.
//!
//! A [`Visitor`] is what a request shows, a [`Caller`] what the state makes of it. Both the caller and what is asked for
//! are looked up in one view of the state, so a request costs one linearizable read, and a session that was ended at one
//! node is ended at all of them.
//!
//! A cookie that opens nothing any more makes an anonymous caller, and is taken back. A token that opens nothing is
//! refused, for a program should hear of it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, header};
use state::View;
use state::{Asker, Audience, Job, Song, User, Verifier};
use storage::blobs::Hash;

use crate::accounts::Accounts;
use crate::client::Client;
use crate::error::ApiError;
use crate::now;
use crate::secret::Secret;

/// How long a session lasts, in seconds: thirty days.
pub(crate) const SESSION_SECONDS: u64 = 30 * 24 * 3600;
/// What tokens begin with, so that they are recognised where they should not lie.
pub(crate) const TOKEN_PREFIX: &str = "qt_";

/// What a request shows.
#[derive(Debug, Clone)]
enum Shown {
    Nothing,
    Cookie(Hash),
    Bearer(Hash),
    /// The password of this user, which fitted this.
    Password(u64, Verifier),
}

/// A request's sender, before anybody has looked who it is.
#[derive(Debug, Clone)]
pub(crate) struct Visitor {
    shown: Shown,
    pub(crate) client: Client,
    /// Whether the cookie was found to open nothing.
    stale: Arc<AtomicBool>,
}

/// The name of the session's cookie. Over HTTPS the name itself makes browsers insist on `Secure` and on this host.
pub(crate) fn cookie_name(https: bool) -> &'static str {
    if https { "__Host-quartet" } else { "quartet" }
}

impl Visitor {
    /// The sender of a request with these headers.
    pub(crate) fn new(headers: &HeaderMap, client: Client) -> Self {
        let shown = match (bearer(headers), cookie(headers, cookie_name(client.https))) {
            (Some(token), _) => Shown::Bearer(Secret::shown(token).hash()),
            (None, Some(secret)) => Shown::Cookie(Secret::shown(secret).hash()),
            (None, None) => Shown::Nothing,
        };
        Self { shown, client, stale: Arc::default() }
    }

    /// Who has shown the secret of a token that hashes so, in another way than in a header.
    pub(crate) fn with_token(secret: Hash, client: Client) -> Self {
        Self { shown: Shown::Bearer(secret), client, stale: Arc::default() }
    }

    /// Who has shown this user's password, and holds good until it is changed.
    pub(crate) fn with_password(user: &User, client: Client) -> Self {
        Self { shown: Shown::Password(user.id, user.password.clone()), client, stale: Arc::default() }
    }

    /// Whether a program sends this, which no page of another site can make it do.
    pub(crate) fn shows_token(&self) -> bool {
        matches!(self.shown, Shown::Bearer(_))
    }

    /// The header that gives the browser a session, or takes it back.
    pub(crate) fn set_cookie(&self, secret: Option<&Secret>) -> Option<HeaderValue> {
        let (value, age) = secret.map_or(("", 0), |secret| (secret.plain(), SESSION_SECONDS));
        let (name, secure) = (cookie_name(self.client.https), if self.client.https { "; Secure" } else { "" });
        let text = format!("{name}={value}; Path=/; HttpOnly; SameSite=Lax; Max-Age={age}{secure}");
        let mut value = HeaderValue::from_str(&text).ok()?;
        value.set_sensitive(true);
        Some(value)
    }

    /// Whether the cookie was found to open nothing.
    pub(crate) fn is_stale(&self) -> bool {
        self.stale.load(Ordering::Relaxed)
    }

    /// Who it is, be it nobody. `certain` says that the view is as new as can be; in an old one the session may only not
    /// have arrived yet.
    pub(crate) fn recognise(&self, view: &View, certain: bool) -> Result<Caller, ApiError> {
        let at = now();
        let (user, how) = match &self.shown {
            Shown::Nothing => return Ok(Caller::nobody()),
            Shown::Password(user, verifier) => match view.user(*user)? {
                Some(user) if user.password == *verifier => (user.id, How::Password),
                _ => return Err(ApiError::WrongPassword),
            },
            Shown::Bearer(secret) => match view.token(secret)? {
                Some(token) if token.expires_at.is_none_or(|end| at < end) => (token.user, How::Token),
                _ => return Err(ApiError::UnknownToken),
            },
            Shown::Cookie(secret) => match view.session(secret)? {
                Some(session) if at < session.expires_at => (session.user, How::Session(session.id)),
                _ => {
                    self.stale.fetch_or(certain, Ordering::Relaxed);
                    return Ok(Caller::nobody());
                }
            },
        };
        let Some(user) = view.user(user)? else { return Ok(Caller::nobody()) };
        Ok(Caller { who: Some(Who { id: user.id, administrator: user.administrator }), how })
    }

    /// Who it is, if they are let in.
    pub(crate) fn admit(&self, view: &View, accounts: &Accounts, certain: bool) -> Result<Caller, ApiError> {
        let caller = self.recognise(view, certain)?;
        if caller.who.is_none() && !accounts.anonymous {
            return Err(ApiError::NotLoggedIn);
        }
        Ok(caller)
    }
}

impl<S: Sync> FromRequestParts<S> for Visitor {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, ApiError> {
        let visitor = parts.extensions.get::<Self>().cloned();
        visitor.ok_or_else(|| ApiError::Internal("looking at the request".into()))
    }
}

/// The token in `Authorization: Bearer TOKEN`.
pub(crate) fn bearer(headers: &HeaderMap) -> Option<&str> {
    let (scheme, token) = headers.get(header::AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    Some(token.trim()).filter(|token| scheme.eq_ignore_ascii_case("bearer") && !token.is_empty())
}

fn cookie<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    let fields = headers.get_all(header::COOKIE).iter().filter_map(|value| value.to_str().ok());
    let mut pairs = fields.flat_map(|field| field.split(';')).filter_map(|pair| pair.trim().split_once('='));
    pairs.find(|(key, value)| *key == name && !value.is_empty()).map(|(_, value)| value)
}

/// How a caller was recognised.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum How {
    /// By nothing.
    Not,
    /// By a session, whose number this is.
    Session(u64),
    /// By a token.
    Token,
    /// By the password, sent with the request itself.
    Password,
}

/// A user who asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Who {
    pub(crate) id: u64,
    pub(crate) administrator: bool,
}

/// Who asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Caller {
    pub(crate) who: Option<Who>,
    pub(crate) how: How,
}

impl Caller {
    fn nobody() -> Self {
        Self { who: None, how: How::Not }
    }

    /// The user's number.
    pub(crate) fn user(&self) -> Option<u64> {
        self.who.map(|who| who.id)
    }

    /// The user's number, or a refusal.
    pub(crate) fn known(&self) -> Result<Who, ApiError> {
        self.who.ok_or(ApiError::NotLoggedIn)
    }

    pub(crate) fn is_administrator(&self) -> bool {
        self.who.is_some_and(|who| who.administrator)
    }

    /// On whose behalf the state is to be changed.
    pub(crate) fn asker(&self) -> Asker {
        match self.who {
            None => Asker::Anonymous,
            Some(Who { administrator: true, .. }) => Asker::Anybody,
            Some(Who { id, .. }) => Asker::User(id),
        }
    }

    /// The lists in which the caller's songs stand; none in particular for who sees all.
    pub(crate) fn audiences(&self) -> Option<Vec<Audience>> {
        if self.is_administrator() {
            return None;
        }
        Some([Audience::Everybody].into_iter().chain(self.user().map(Audience::User)).collect())
    }

    /// Whether what happens in this audience's list is the caller's to know.
    pub(crate) fn belongs_to(&self, audience: Audience) -> bool {
        self.audiences().is_none_or(|audiences| audiences.contains(&audience))
    }

    /// Whether a song is the caller's to hear.
    pub(crate) fn may_see(&self, view: &View, song: &Song) -> Result<bool, ApiError> {
        let Some(audiences) = self.audiences() else { return Ok(true) };
        for audience in audiences.iter().copied() {
            if view.is_for(song, audience)? {
                return Ok(true);
            }
        }
        Ok(view.is_played_for(song, &audiences)?)
    }

    /// Whether a song of this number stands in one of the caller's lists.
    pub(crate) fn is_listed(&self, view: &View, song: u64) -> Result<bool, ApiError> {
        self.audiences().map_or(Ok(true), |audiences| Ok(view.is_listed(song, &audiences)?))
    }

    /// Whether a song is the caller's own; those of nobody belong to who has no account.
    pub(crate) fn owns(&self, song: &Song) -> bool {
        self.user() == song.uploader_id
    }

    /// Whether a job is the caller's to know of: it is done for a song that is theirs to hear.
    pub(crate) fn may_see_job(&self, view: &View, job: &Job) -> Result<bool, ApiError> {
        if self.is_administrator() {
            return Ok(true);
        }
        for song in view.songs_with(job)? {
            if self.may_see(view, &song)? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Whether a job is the caller's to stop and to hurry: it is done for a song that is theirs to change.
    pub(crate) fn may_change_job(&self, view: &View, job: &Job) -> Result<bool, ApiError> {
        let asker = self.asker();
        Ok(asker == Asker::Anybody || view.songs_with(job)?.iter().any(|song| asker.may_change(song)))
    }

    /// Whether this user's things are the caller's to look after.
    pub(crate) fn may_manage(&self, user: u64) -> bool {
        self.is_administrator() || self.user() == Some(user)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn client(https: bool) -> Client {
        let (extensions, uri) = (axum::http::Extensions::new(), axum::http::Uri::from_static("/"));
        Client::of(&extensions, &HeaderMap::new(), &uri, &[], https)
    }

    fn headers(fields: &[(&'static str, &str)]) -> HeaderMap {
        fields.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect()
    }

    #[test]
    fn a_session_travels_in_a_cookie_that_scripts_and_other_sites_do_not_get() {
        let secret = Secret::new("").unwrap();
        for (https, name) in [(false, "quartet="), (true, "__Host-quartet=")] {
            let visitor = Visitor::new(&HeaderMap::new(), client(https));
            let cookie = visitor.set_cookie(Some(&secret)).unwrap();
            let cookie = cookie.to_str().unwrap();
            assert!(cookie.starts_with(name) && cookie.contains("HttpOnly; SameSite=Lax"), "{cookie}");
            assert_eq!(cookie.ends_with("; Secure"), https, "{cookie}");
            let pair = cookie.split(';').next().unwrap();
            let back = Visitor::new(&headers(&[("cookie", &format!("a=b; {pair}"))]), client(https));
            assert!(matches!(back.shown, Shown::Cookie(hash) if hash == secret.hash()));
            assert!(visitor.set_cookie(None).unwrap().to_str().unwrap().contains("Max-Age=0"));
        }
        // What was given over HTTP is not taken over HTTPS, where somebody else may have set it.
        let other = Visitor::new(&headers(&[("cookie", "quartet=abc")]), client(true));
        assert!(matches!(other.shown, Shown::Nothing));
    }

    #[test]
    fn a_token_counts_more_than_a_cookie() {
        let both = headers(&[("cookie", "quartet=abc"), ("authorization", "bearer qt_1")]);
        assert!(Visitor::new(&both, client(false)).shows_token());
        for other in ["Basic qt_1", "Bearer", "Bearer "] {
            assert!(!Visitor::new(&headers(&[("authorization", other)]), client(false)).shows_token(), "{other}");
        }
    }
}

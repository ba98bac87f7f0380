//! The credentials of a request, and the caller that they authenticate.
//!
//! A [`RequestAuth`] holds what the request sent. [`RequestAuth::recognise`] looks the credentials up in a view of the
//! state and gives a [`Caller`]. Handlers look up the caller and the requested resource in one view, so that needs one
//! linearizable read, and a session that was ended at one node is ended at all of them.
//!
//! A cookie without a valid session makes an anonymous caller, and the response removes the cookie. A token that is not
//! valid is an error, because a program should notice it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, header};
use state::{User, Verifier, View};
use storage::blobs::Hash;

use super::access::Access;
use super::accounts::Accounts;
use super::caller::{AuthMethod, Caller, Principal};
use super::client::Client;
use super::secret::Secret;
use crate::clock::now;
use crate::http::error::ApiError;

/// The lifetime of a session in seconds: thirty days.
pub(crate) const SESSION_SECONDS: u64 = 30 * 24 * 3600;
/// The prefix of tokens, by which scanners recognise leaked ones.
pub(crate) const TOKEN_PREFIX: &str = "qt_";

/// What a request sent to authenticate itself.
#[derive(Debug, Clone)]
enum Credentials {
    None,
    /// The hash of a session's secret.
    Cookie(Hash),
    /// The hash of a token.
    Bearer(Hash),
    /// A user, and the verifier with which the password of the request was compared.
    Password(u64, Verifier),
}

/// The credentials and the client of a request, and the access of the endpoint that it calls.
#[derive(Debug, Clone)]
pub(crate) struct RequestAuth {
    credentials: Credentials,
    access: Access,
    pub(crate) client: Client,
    /// Whether the cookie was found to have no valid session.
    stale: Arc<AtomicBool>,
}

/// The name of the session's cookie. The prefix `__Host-` makes browsers require HTTPS and this host.
pub(crate) fn cookie_name(https: bool) -> &'static str {
    if https { "__Host-quartet" } else { "quartet" }
}

impl RequestAuth {
    /// The credentials in the headers of a request. A token takes precedence over a cookie.
    pub(crate) fn new(headers: &HeaderMap, client: Client) -> Self {
        let credentials = match (bearer(headers), cookie(headers, cookie_name(client.https))) {
            (Some(token), _) => Credentials::Bearer(Secret::shown(token).hash()),
            (None, Some(secret)) => Credentials::Cookie(Secret::shown(secret).hash()),
            (None, None) => Credentials::None,
        };
        Self { credentials, access: Access::Users, client, stale: Arc::default() }
    }

    /// Credentials of a token with this hash, which was not sent in a header. Only users have access.
    pub(crate) fn with_token(secret: Hash, client: Client) -> Self {
        Self { credentials: Credentials::Bearer(secret), access: Access::Users, client, stale: Arc::default() }
    }

    /// Credentials of a user whose password was verified. They are valid until the password is changed.
    pub(crate) fn with_password(user: &User, client: Client) -> Self {
        let credentials = Credentials::Password(user.id, user.password.clone());
        Self { credentials, access: Access::Users, client, stale: Arc::default() }
    }

    /// Whether the request has a token. Pages of other sites cannot make a browser send one.
    pub(crate) fn has_token(&self) -> bool {
        matches!(self.credentials, Credentials::Bearer(_))
    }

    /// The header that sets the session's cookie, or removes it.
    pub(crate) fn set_cookie(&self, secret: Option<&Secret>) -> Option<HeaderValue> {
        let (value, age) = secret.map_or(("", 0), |secret| (secret.plain(), SESSION_SECONDS));
        let (name, secure) = (cookie_name(self.client.https), if self.client.https { "; Secure" } else { "" });
        let text = format!("{name}={value}; Path=/; HttpOnly; SameSite=Lax; Max-Age={age}{secure}");
        let mut value = HeaderValue::from_str(&text).ok()?;
        value.set_sensitive(true);
        Some(value)
    }

    /// Whether the cookie was found to have no valid session.
    pub(crate) fn is_stale(&self) -> bool {
        self.stale.load(Ordering::Relaxed)
    }

    /// The caller. `newest` tells whether the view is the newest: in an older one the session may not be there yet.
    pub(crate) fn recognise(&self, view: &View, newest: bool) -> Result<Caller, ApiError> {
        let at = now();
        let (user, method) = match &self.credentials {
            Credentials::None => return Ok(Caller::anonymous()),
            Credentials::Password(user, verifier) => match view.user(*user)? {
                Some(user) if user.password == *verifier => (user.id, AuthMethod::Password),
                _ => return Err(ApiError::WrongPassword),
            },
            Credentials::Bearer(secret) => match view.token(secret)? {
                Some(token) if token.expires_at.is_none_or(|end| at < end) => (token.user, AuthMethod::Token),
                _ => return Err(ApiError::UnknownToken),
            },
            Credentials::Cookie(secret) => match view.session(secret)? {
                Some(session) if at < session.expires_at => (session.user, AuthMethod::Session(session.id)),
                _ => {
                    self.stale.fetch_or(newest, Ordering::Relaxed);
                    return Ok(Caller::anonymous());
                }
            },
        };
        let Some(user) = view.user(user)? else { return Ok(Caller::anonymous()) };
        let principal = Principal { id: user.id, administrator: user.administrator };
        Ok(Caller { principal: Some(principal), method })
    }

    /// The caller, if the endpoint's access allows it.
    pub(crate) fn admit(&self, view: &View, accounts: &Accounts, newest: bool) -> Result<Caller, ApiError> {
        let caller = self.recognise(view, newest)?;
        self.access.check(&caller, accounts)?;
        Ok(caller)
    }
}

impl<S: Sync> FromRequestParts<S> for RequestAuth {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, ApiError> {
        let (auth, access) = (parts.extensions.get::<Self>(), parts.extensions.get::<Access>());
        match (auth, access) {
            (Some(auth), Some(access)) => Ok(Self { access: *access, ..auth.clone() }),
            // Every endpoint is declared with its access.
            _ => Err(ApiError::Internal("reading the credentials of the request".into())),
        }
    }
}

impl<S: Sync> FromRequestParts<S> for Client {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, ApiError> {
        let client = parts.extensions.get::<RequestAuth>().map(|auth| auth.client.clone());
        client.ok_or_else(|| ApiError::Internal("reading the credentials of the request".into()))
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
    fn session_cookie_is_hidden_from_scripts_and_other_sites() {
        let secret = Secret::new("").unwrap();
        for (https, name) in [(false, "quartet="), (true, "__Host-quartet=")] {
            let auth = RequestAuth::new(&HeaderMap::new(), client(https));
            let cookie = auth.set_cookie(Some(&secret)).unwrap();
            let cookie = cookie.to_str().unwrap();
            assert!(cookie.starts_with(name) && cookie.contains("HttpOnly; SameSite=Lax"), "{cookie}");
            assert_eq!(cookie.ends_with("; Secure"), https, "{cookie}");
            let pair = cookie.split(';').next().unwrap();
            let back = RequestAuth::new(&headers(&[("cookie", &format!("a=b; {pair}"))]), client(https));
            assert!(matches!(back.credentials, Credentials::Cookie(hash) if hash == secret.hash()));
            assert!(auth.set_cookie(None).unwrap().to_str().unwrap().contains("Max-Age=0"));
        }
        // A cookie that was set over HTTP is ignored over HTTPS, because an attacker may have set it.
        let other = RequestAuth::new(&headers(&[("cookie", "quartet=abc")]), client(true));
        assert!(matches!(other.credentials, Credentials::None));
    }

    #[test]
    fn token_takes_precedence_over_cookie() {
        let both = headers(&[("cookie", "quartet=abc"), ("authorization", "bearer qt_1")]);
        assert!(RequestAuth::new(&both, client(false)).has_token());
        for other in ["Basic qt_1", "Bearer", "Bearer "] {
            assert!(!RequestAuth::new(&headers(&[("authorization", other)]), client(false)).has_token(), "{other}");
        }
    }
}

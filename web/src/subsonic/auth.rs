//! Authentication of OpenSubsonic clients.
//!
//! An API key (`apiKey`) is a token of a user. A proof (`u`, `t` and `s`) is the MD5 of a secret and a salt. The server
//! can check it only against secrets that it can decrypt: tokens, which are stored encrypted for this purpose, and not
//! the password. `u` and `p` contain the secret itself, a token or the password. Cookies are ignored, so pages of other
//! sites cannot use them, and anonymous callers have no access.
//!
//! Wrong passwords count towards the limits on logins. Wrong proofs have limits of their own, so a player without a
//! valid token cannot lock its user out of the page. Credentials are never logged and never part of a response.

use std::sync::Arc;

use md5::{Digest, Md5};
use state::View;
use state::{User, folded};
use storage::blobs::Hash;

use super::failure::Failure;
use super::params::Params;
use crate::api::auth::known_by_password;
use crate::app::State;
use crate::auth::client::Client;
use crate::auth::rate_limits;
use crate::auth::request_auth::RequestAuth;
use crate::auth::secret::Secret;
use crate::clock::now;
use crate::http::error::ApiError;

/// The longest salt, in bytes.
const LONGEST_SALT: usize = 256;

/// The credentials in the parameters of a request.
enum Login {
    Key(Secret),
    Proof { name: String, digest: String, salt: String },
    Secret { name: String, secret: Secret },
}

impl Login {
    fn of(params: &Params) -> Result<Self, Failure> {
        if let Some(key) = params.get("apiKey") {
            return match ["u", "p", "t", "s"].iter().any(|name| params.has(name)) {
                true => Err(Failure::Conflicting),
                false => Ok(Self::Key(Secret::shown(key))),
            };
        }
        let name = params.need("u")?.to_owned();
        match (params.get("t"), params.get("p")) {
            (Some(_), Some(_)) => Err(Failure::Conflicting),
            (Some(digest), None) => {
                let salt = params.need("s")?.to_owned();
                Ok(Self::Proof { name, digest: digest.to_ascii_lowercase(), salt })
            }
            (None, Some(secret)) => {
                let plain = match secret.strip_prefix("enc:") {
                    Some(hex) => {
                        let bytes = hex::decode(hex).ok().and_then(|bytes| String::from_utf8(bytes).ok());
                        bytes.ok_or_else(|| Failure::Unreadable("Invalid p: use hex after enc:.".into()))?
                    }
                    None => secret.to_owned(),
                };
                Ok(Self::Secret { name, secret: Secret::shown(&plain) })
            }
            (None, None) => Err(Failure::Missing("apiKey, or t and s, or p")),
        }
    }
}

/// Authenticates a request.
pub(super) async fn authenticate(state: &State, client: &Client, params: &Params) -> Result<RequestAuth, Failure> {
    match Login::of(params)? {
        // The token is checked in the view in which the request is served.
        Login::Key(key) => Ok(RequestAuth::with_token(key.hash(), client.clone())),
        Login::Proof { name, digest, salt } => by_proof(state, client, &name, digest, salt).await,
        Login::Secret { name, secret } => by_secret(state, client, &name, secret).await,
    }
}

async fn by_proof(
    state: &State,
    client: &Client,
    name: &str,
    digest: String,
    salt: String,
) -> Result<RequestAuth, Failure> {
    let (Ok(known), true) = (folded(name), salt.len() <= LONGEST_SALT) else { return Err(Failure::WrongSecret) };
    let limits = rate_limits::proof_limits(client, &known);
    rate_limits::check(&state.cluster, &limits, now()).await?;
    let (shared, digest, salt) = (Arc::clone(state), digest.into_bytes(), salt.into_bytes());
    let look = Arc::new(move |view: &View| {
        let Some(user) = view.user_named(&known)? else { return Ok(None) };
        for token in view.tokens_of(user.id)? {
            if token.expires_at.is_some_and(|end| end <= now()) {
                continue;
            }
            let secret = match shared.accounts.seal.open(&token.sealed.0) {
                Ok(secret) => secret,
                Err(error) => {
                    // It was made before the cluster's secret was another one.
                    tracing::debug!(token = token.id, %error, "a token cannot be compared");
                    continue;
                }
            };
            if is_proof(&digest, &secret, &salt) {
                return Ok(Some(Hash::of(&secret)));
            }
        }
        Ok::<_, ApiError>(None)
    });
    // The state of this node suffices for a valid proof, because the token is checked again in the newest view.
    let here = Arc::clone(&look);
    let mut found = state.peek(move |view| here(view)).await?;
    if found.is_none() {
        found = state.read(move |view| look(view)).await?;
    }
    match found {
        Some(token) => Ok(RequestAuth::with_token(token, client.clone())),
        None => {
            rate_limits::count(&state.cluster, &limits).await?;
            Err(Failure::WrongSecret)
        }
    }
}

/// Whether the digest is the MD5 of the secret and the salt in hex. The comparison takes constant time.
fn is_proof(digest: &[u8], secret: &[u8], salt: &[u8]) -> bool {
    let right = hex::encode(Md5::new().chain_update(secret).chain_update(salt).finalize());
    let difference = right.bytes().zip(digest).fold(0, |sum, (one, other)| sum | (one ^ other));
    right.len() == digest.len() && std::hint::black_box(difference) == 0
}

async fn by_secret(state: &State, client: &Client, name: &str, secret: Secret) -> Result<RequestAuth, Failure> {
    let (known, hash) = (folded(name).ok(), secret.hash());
    let look = move |view: &View| -> Result<(Option<User>, bool), ApiError> {
        let Some(known) = known else { return Ok((None, false)) };
        let user = view.user_named(&known)?;
        let token = view.token(&hash)?.map(|token| token.user);
        Ok((user.clone(), user.is_some_and(|user| token == Some(user.id))))
    };
    let (user, is_token) = state.read(look).await?;
    if is_token {
        return Ok(RequestAuth::with_token(hash, client.clone()));
    }
    let compare = async || known_by_password(state, client, name, secret.clone()).await.map(|(user, _)| user);
    let user = match user {
        None => compare().await?,
        Some(user) => {
            let compared = async || compare().await.map(|_| ());
            state.auth_cache.verify(&user, &secret, compared).await?;
            user
        }
    };
    Ok(RequestAuth::with_password(&user, client.clone()))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn proof_is_the_md5_of_secret_and_salt() {
        // The example of the protocol's specification.
        let proof =
            |digest: &str, secret: &str, salt: &str| is_proof(digest.as_bytes(), secret.as_bytes(), salt.as_bytes());
        assert!(proof("26719a1196d2a940705a59634eb18eab", "sesame", "c19b2d"));
        assert!(!proof("26719a1196d2a940705a59634eb18eab", "sesame", "c19b2e"));
        assert!(!proof("26719a1196d2a940705a59634eb18ea", "sesame", "c19b2d"));
        assert!(!proof("", "sesame", "c19b2d"));
    }
}

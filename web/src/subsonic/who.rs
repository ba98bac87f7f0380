//! Who asks: the proofs that Subsonic's clients give.
//!
//! A key (`apiKey`) is one of a user's tokens. A proof (`u`, `t` and `s`) is the MD5 of a secret and a salt, which can be
//! compared only with what can be had in plain: the tokens, which are kept under a seal for this, and not the password.
//! With `u` and `p` the secret itself comes, a token or the password. Cookies count for nothing here, so no other site's
//! page can make a browser do something with them, and somebody without an account is let in nowhere: the protocol knows
//! users alone.
//!
//! Wrong passwords count as those at the log-in do; wrong proofs are counted by themselves, so a player that knows no token
//! cannot lock its user out of the page. What was shown goes into no log and into no answer.

use std::sync::Arc;

use md5::{Digest, Md5};
use state::View;
use state::{User, folded};
use storage::blobs::Hash;

use super::failure::Failure;
use super::params::Params;
use crate::api::auth::known_by_password;
use crate::caller::Visitor;
use crate::client::Client;
use crate::error::ApiError;
use crate::secret::Secret;
use crate::tries::proof_counts;
use crate::{State, now};

/// The longest salt, in bytes.
const LONGEST_SALT: usize = 256;

/// What a request shows.
enum Shown {
    Key(Secret),
    Proof { name: String, digest: String, salt: String },
    Secret { name: String, secret: Secret },
}

impl Shown {
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
                        bytes.ok_or_else(|| Failure::Unreadable("Behind enc: the password stands in hex.".into()))?
                    }
                    None => secret.to_owned(),
                };
                Ok(Self::Secret { name, secret: Secret::shown(&plain) })
            }
            (None, None) => Err(Failure::Missing("apiKey, or t and s, or p")),
        }
    }
}

/// Who sends this, if they prove it.
pub(super) async fn visitor(state: &State, client: &Client, params: &Params) -> Result<Visitor, Failure> {
    match Shown::of(params)? {
        // Whether it opens anything is seen where what is asked for is looked up.
        Shown::Key(key) => Ok(Visitor::with_token(key.hash(), client.clone())),
        Shown::Proof { name, digest, salt } => by_proof(state, client, &name, digest, salt).await,
        Shown::Secret { name, secret } => by_secret(state, client, &name, secret).await,
    }
}

async fn by_proof(
    state: &State,
    client: &Client,
    name: &str,
    digest: String,
    salt: String,
) -> Result<Visitor, Failure> {
    let (Ok(known), true) = (folded(name), salt.len() <= LONGEST_SALT) else { return Err(Failure::WrongSecret) };
    let counts = proof_counts(client, &known);
    state.expect_room_for_tries(&counts, now()).await?;
    let (shared, digest, salt) = (Arc::clone(state), digest.into_bytes(), salt.into_bytes());
    let look = Arc::new(move |view: &View| {
        let Some(user) = view.user_named(&known)? else { return Ok(None) };
        for token in view.tokens_of(user.id)? {
            if token.expires_at.is_some_and(|end| end <= now()) {
                continue;
            }
            let secret = match shared.app.accounts.seal.open(&token.sealed.0) {
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
    // What this node knows suffices for one that fits, for the token is looked up again with what is asked for.
    let here = Arc::clone(&look);
    let mut found = state.peek(move |view| here(view)).await?;
    if found.is_none() {
        found = state.read(move |view| look(view)).await?;
    }
    match found {
        Some(token) => Ok(Visitor::with_token(token, client.clone())),
        None => {
            state.count(&counts).await?;
            Err(Failure::WrongSecret)
        }
    }
}

/// Whether this is the MD5 of the secret and the salt in hex, in a time that does not depend on how much of it is right.
fn is_proof(digest: &[u8], secret: &[u8], salt: &[u8]) -> bool {
    let right = hex::encode(Md5::new().chain_update(secret).chain_update(salt).finalize());
    let difference = right.bytes().zip(digest).fold(0, |sum, (one, other)| sum | (one ^ other));
    right.len() == digest.len() && std::hint::black_box(difference) == 0
}

async fn by_secret(state: &State, client: &Client, name: &str, secret: Secret) -> Result<Visitor, Failure> {
    let (known, hash) = (folded(name).ok(), secret.hash());
    let look = move |view: &View| -> Result<(Option<User>, bool), ApiError> {
        let Some(known) = known else { return Ok((None, false)) };
        let user = view.user_named(&known)?;
        let token = view.token(&hash)?.map(|token| token.user);
        Ok((user.clone(), user.is_some_and(|user| token == Some(user.id))))
    };
    let (user, is_token) = state.read(look).await?;
    if is_token {
        return Ok(Visitor::with_token(hash, client.clone()));
    }
    let compare = async || known_by_password(state, client, name, secret.clone()).await.map(|(user, _)| user);
    let user = match user {
        None => compare().await?,
        Some(user) => {
            let compared = async || compare().await.map(|_| ());
            state.remembered.or_compared(&user, &secret, compared).await?;
            user
        }
    };
    Ok(Visitor::with_password(&user, client.clone()))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn a_proof_is_the_md5_of_secret_and_salt() {
        // The example of the protocol's own description.
        let proof =
            |digest: &str, secret: &str, salt: &str| is_proof(digest.as_bytes(), secret.as_bytes(), salt.as_bytes());
        assert!(proof("26719a1196d2a940705a59634eb18eab", "sesame", "c19b2d"));
        assert!(!proof("26719a1196d2a940705a59634eb18eab", "sesame", "c19b2e"));
        assert!(!proof("26719a1196d2a940705a59634eb18ea", "sesame", "c19b2d"));
        assert!(!proof("", "sesame", "c19b2d"));
    }
}

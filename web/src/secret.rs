//! Secrets in plain: passwords as they are typed, and what opens a session, a token or a link.
//!
//! Invariant: neither logs nor error texts can show one, for it has no words: its `Debug` says nothing, and it has no
//! `Display`.

use std::fmt;

use net::secret_box::{SecretBoxError, random};
use serde::Deserialize;
use storage::blobs::Hash;

/// A secret in plain.
#[derive(Clone, Default, PartialEq, Eq, Deserialize, utoipa::ToSchema)]
#[serde(transparent)]
pub(crate) struct Secret(String);

impl fmt::Debug for Secret {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("(a secret)")
    }
}

impl Secret {
    /// One that a client showed.
    pub(crate) fn shown(text: &str) -> Self {
        Self(text.into())
    }

    /// A new one of 256 random bits, in hex after `prefix`.
    pub(crate) fn new(prefix: &str) -> Result<Self, SecretBoxError> {
        Ok(Self(format!("{prefix}{}", hex::encode(random::<32>()?))))
    }

    /// What the state knows of it. It needs no salt and no slow hash, for nobody can guess 256 bits.
    pub(crate) fn hash(&self) -> Hash {
        Hash::of(self.0.as_bytes())
    }

    /// For the one answer that may tell it, and to work with.
    pub(crate) fn plain(&self) -> &str {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn a_secret_is_random_and_mute() {
        let (one, two) = (Secret::new("qt_").unwrap(), Secret::new("qt_").unwrap());
        assert_ne!(one, two);
        assert!(one.plain().starts_with("qt_") && one.plain().len() == 67);
        assert!(!format!("{one:?}").contains("qt_"));
        assert_eq!(Secret::shown(one.plain()).hash(), one.hash());
    }
}

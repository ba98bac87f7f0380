//! Secrets in plain text: passwords, and the secrets of sessions, tokens and links.
//!
//! Invariant: logs and errors cannot contain a secret. Its `Debug` prints a placeholder, and it has no `Display`.

use std::fmt;

use net::secret_box::{SecretBoxError, random};
use serde::Deserialize;
use storage::blobs::Hash;

/// A secret in plain text.
#[derive(Clone, Default, PartialEq, Eq, Deserialize, utoipa::ToSchema)]
#[serde(transparent)]
pub(crate) struct Secret(String);

impl fmt::Debug for Secret {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("(a secret)")
    }
}

impl Secret {
    /// A secret that a client sent.
    pub(crate) fn shown(text: &str) -> Self {
        Self(text.into())
    }

    /// A new secret: `prefix` and 256 random bits in hex.
    pub(crate) fn new(prefix: &str) -> Result<Self, SecretBoxError> {
        Ok(Self(format!("{prefix}{}", hex::encode(random::<32>()?))))
    }

    /// The hash that the state holds. It needs neither salt nor a slow function, because 256 random bits cannot be
    /// guessed.
    pub(crate) fn hash(&self) -> Hash {
        Hash::of(self.0.as_bytes())
    }

    /// The plain text, for computations and for the one response that contains it.
    pub(crate) fn plain(&self) -> &str {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn secret_is_random_and_not_printed() {
        let (one, two) = (Secret::new("qt_").unwrap(), Secret::new("qt_").unwrap());
        assert_ne!(one, two);
        assert!(one.plain().starts_with("qt_") && one.plain().len() == 67);
        assert!(!format!("{one:?}").contains("qt_"));
        assert_eq!(Secret::shown(one.plain()).hash(), one.hash());
    }
}

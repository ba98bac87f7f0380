//! Users and their names.

use std::fmt;

use serde::{Deserialize, Serialize};

/// The longest name, in bytes, which are all ASCII.
pub const NAME_LENGTH: usize = 64;

/// Somebody with an account.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct User {
    /// Its number, from 1 on.
    pub id: u64,
    /// The name as it was given at the registration.
    pub name: String,
    /// The e-mail address, if one was given.
    pub email: Option<String>,
    /// What the password is compared with.
    pub password: Verifier,
    /// Whether the user may see and change everything.
    pub administrator: bool,
    /// The time of the registration, in milliseconds since 1970.
    pub created_at: u64,
}

/// What a password is compared with, as a PHC string. Its debug form hides it.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Verifier(pub String);

impl fmt::Debug for Verifier {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("(a password's verifier)")
    }
}

/// The text cannot be the name of a user.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "a name has 1 to {NAME_LENGTH} letters, digits, dots, hyphens or underscores, and begins with a letter or a digit"
)]
pub struct NoName;

/// The form in which names are compared: names that differ only in case are equal.
pub fn folded(name: &str) -> Result<String, NoName> {
    let known = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_');
    let fits = name.len() <= NAME_LENGTH && name.bytes().all(known);
    if !fits || !name.bytes().next().is_some_and(|first| first.is_ascii_alphanumeric()) {
        return Err(NoName);
    }
    Ok(name.to_ascii_lowercase())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_have_a_limited_length_and_alphabet() {
        assert_eq!(folded("Ada.Lovelace-1_"), Ok("ada.lovelace-1_".into()));
        assert!(folded(&"a".repeat(NAME_LENGTH)).is_ok());
        for bad in ["", ".ada", "-", "a b", "a/b", "a\0", "Zoë", &"a".repeat(NAME_LENGTH + 1)] {
            assert_eq!(folded(bad), Err(NoName), "{bad:?}");
        }
    }

    #[test]
    fn debug_output_hides_a_verifier() {
        assert!(!format!("{:?}", Verifier("$argon2id$secret".into())).contains("argon2"));
    }
}

//! Users: who has an account.
//!
//! Names are unique without regard to case. The first user is an administrator, and there is always one: the last one
//! can neither be demoted nor removed.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::Song;

/// The longest name, in bytes, which are all ASCII.
pub const NAME_LENGTH: usize = 64;

/// Who has an account.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct User {
    /// Its number, from 1 on.
    pub id: u64,
    /// As it was written when it was registered.
    pub name: String,
    /// Where to write to, if that was given.
    pub email: Option<String>,
    /// What a password is compared with.
    pub password: Verifier,
    /// Whether everybody's things are open to it.
    pub administrator: bool,
    /// When it was registered, in milliseconds since 1970.
    pub created_at: u64,
}

/// What a password is compared with, as a PHC string. The raft never looks into it, and nobody should.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Verifier(pub String);

impl fmt::Debug for Verifier {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("(a password's verifier)")
    }
}

/// Why something cannot be a user's name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "a name has 1 to {NAME_LENGTH} letters, digits, dots, hyphens or underscores, and begins with a letter or a digit"
)]
pub struct NoName;

/// The form in which names are compared: two that differ in case alone are one.
pub fn folded(name: &str) -> Result<String, NoName> {
    let known = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_');
    let fits = name.len() <= NAME_LENGTH && name.bytes().all(known);
    if !fits || !name.bytes().next().is_some_and(|first| first.is_ascii_alphanumeric()) {
        return Err(NoName);
    }
    Ok(name.to_ascii_lowercase())
}

/// On whose behalf something is asked, where that makes a difference in applying it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum Asker {
    /// An administrator, or the cluster itself: whoever may change everything.
    #[default]
    Anybody,
    /// Somebody without an account.
    Anonymous,
    /// A user.
    User(u64),
}

impl Asker {
    /// Whether a song is the asker's to change. What nobody owns is everybody's.
    pub fn may_change(self, song: &Song) -> bool {
        match (self, song.uploader_id) {
            (Self::Anybody, _) | (_, None) => true,
            (Self::Anonymous, Some(_)) => false,
            (Self::User(user), Some(owner)) => user == owner,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_short_and_plain() {
        assert_eq!(folded("Ada.Lovelace-1_"), Ok("ada.lovelace-1_".into()));
        assert!(folded(&"a".repeat(NAME_LENGTH)).is_ok());
        for bad in ["", ".ada", "-", "a b", "a/b", "a\0", "Zoë", &"a".repeat(NAME_LENGTH + 1)] {
            assert_eq!(folded(bad), Err(NoName), "{bad:?}");
        }
    }

    #[test]
    fn a_verifier_says_nothing() {
        assert!(!format!("{:?}", Verifier("$argon2id$secret".into())).contains("argon2"));
    }
}

//! Secrets for people and programs: random ones, a seal under which they can be kept, and what they sign.
//!
//! What is sealed opens with the cluster's secret and for the same purpose alone. Whoever has the database, or a backup,
//! and not the secret, has nothing.

use std::fmt;

use ring::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use ring::hmac::{Context, HMAC_SHA256, Key};
use ring::rand::{SecureRandom, SystemRandom};

use crate::{PeerError, Secret};

/// What can go wrong.
#[derive(Debug, thiserror::Error)]
pub enum SecretBoxError {
    /// The system gives no random numbers.
    #[error("the system gives no random numbers")]
    Random,
    /// It was sealed with another secret or for another purpose, or is damaged.
    #[error("what was sealed does not open with this cluster's secret")]
    Closed,
}

/// Random bytes that nobody can guess.
pub fn random<const LENGTH: usize>() -> Result<[u8; LENGTH], SecretBoxError> {
    let mut bytes = [0; LENGTH];
    SystemRandom::new().fill(&mut bytes).map_err(|_| SecretBoxError::Random)?;
    Ok(bytes)
}

/// What proves that whoever sends these parts, one behind the other, knows the secret: HMAC-SHA-256 (RFC 2104).
pub fn signature(secret: &[u8], parts: &[&[u8]]) -> [u8; 32] {
    let mut context = Context::with_key(&Key::new(HMAC_SHA256, secret));
    parts.iter().for_each(|part| context.update(part));
    let mut bytes = [0; 32];
    // The tag of this algorithm is as long.
    bytes.iter_mut().zip(context.sign().as_ref()).for_each(|(to, from)| *to = *from);
    bytes
}

/// Seals and opens for one purpose.
pub struct SecretBox(LessSafeKey);

impl fmt::Debug for SecretBox {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("SecretBox")
    }
}

impl SecretBox {
    /// The seal of a cluster for `purpose`.
    pub fn new(secret: &Secret, purpose: &str) -> Result<Self, PeerError> {
        let bytes = secret.derive(&format!("seal of {purpose}"))?;
        let key = UnboundKey::new(&CHACHA20_POLY1305, &bytes)
            .map_err(|_| PeerError::Identity("the secret makes no key".into()))?;
        Ok(Self(LessSafeKey::new(key)))
    }

    /// Seals `plain`. The nonce is random and comes first; at 96 bits it suffices for billions of seals.
    pub fn seal(&self, plain: &[u8]) -> Result<Vec<u8>, SecretBoxError> {
        let nonce = random::<NONCE_LEN>()?;
        let mut bytes = plain.to_vec();
        self.0
            .seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), Aad::empty(), &mut bytes)
            .map_err(|_| SecretBoxError::Closed)?;
        Ok([nonce.as_slice(), &bytes].concat())
    }

    /// Opens what [`SecretBox::seal`] made.
    pub fn open(&self, sealed: &[u8]) -> Result<Vec<u8>, SecretBoxError> {
        let (nonce, bytes) = sealed.split_at_checked(NONCE_LEN).ok_or(SecretBoxError::Closed)?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).map_err(|_| SecretBoxError::Closed)?;
        let mut bytes = bytes.to_vec();
        Ok(self.0.open_in_place(nonce, Aad::empty(), &mut bytes).map_err(|_| SecretBoxError::Closed)?.to_vec())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn seal(secret: &str, purpose: &str) -> SecretBox {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("secret");
        std::fs::write(&path, secret.repeat(8)).unwrap();
        SecretBox::new(&Secret::read(&path).unwrap(), purpose).unwrap()
    }

    #[test]
    fn signatures_are_those_of_the_standard() {
        // RFC 4231, test case 2.
        let signed = signature(b"Jefe", &[b"what do ya want ", b"for nothing?"]);
        let hex: String = signed.iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(hex, "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");
    }

    #[test]
    fn what_is_sealed_opens_with_the_same_secret_alone() {
        let mine = seal("swordfish", "tokens");
        let sealed = mine.seal(b"open sesame").unwrap();
        assert_eq!(seal("swordfish", "tokens").open(&sealed).unwrap(), b"open sesame");
        assert_ne!(mine.seal(b"open sesame").unwrap(), sealed);
        assert!(!sealed.windows(4).any(|part| part == b"open"));
        for other in [seal("marlin...", "tokens"), seal("swordfish", "letters")] {
            assert!(matches!(other.open(&sealed), Err(SecretBoxError::Closed)));
        }
        for damaged in [&sealed[..sealed.len() - 1], &sealed[1..], &[]] {
            assert!(mine.open(damaged).is_err());
        }
    }
}

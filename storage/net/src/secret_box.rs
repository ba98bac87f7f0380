//! Cryptography for stored secrets: random bytes, authenticated encryption, and signatures.
//!
//! Secrets of users, such as tokens and webhook keys, are stored encrypted under a key that is derived from the
//! cluster's secret and a purpose. A copy of the database or a backup alone does not reveal them.

use std::fmt;

use ring::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use ring::hmac::{Context, HMAC_SHA256, Key};
use ring::rand::{SecureRandom, SystemRandom};

use crate::{PeerError, Secret};

/// A cryptographic operation failed.
#[derive(Debug, thiserror::Error)]
pub enum SecretBoxError {
    /// The operating system returned no random numbers.
    #[error("the system has no random numbers")]
    Random,
    /// The data is too long.
    #[error("the data is too long to encrypt")]
    Encrypt,
    /// The data was encrypted with another secret or for another purpose, or it is damaged.
    #[error("cannot decrypt with this cluster's secret")]
    Decrypt,
}

/// Cryptographically secure random bytes.
pub fn random<const LENGTH: usize>() -> Result<[u8; LENGTH], SecretBoxError> {
    let mut bytes = [0; LENGTH];
    SystemRandom::new().fill(&mut bytes).map_err(|_| SecretBoxError::Random)?;
    Ok(bytes)
}

/// The HMAC-SHA-256 (RFC 2104) of the concatenated parts. It proves that the sender of the parts knows the secret.
pub fn signature(secret: &[u8], parts: &[&[u8]]) -> [u8; 32] {
    let mut context = Context::with_key(&Key::new(HMAC_SHA256, secret));
    parts.iter().for_each(|part| context.update(part));
    let mut bytes = [0; 32];
    // The tag of HMAC-SHA-256 has 32 bytes as well.
    bytes.iter_mut().zip(context.sign().as_ref()).for_each(|(to, from)| *to = *from);
    bytes
}

/// Encrypts and decrypts secrets for one purpose with ChaCha20-Poly1305 (RFC 8439).
pub struct SecretBox(LessSafeKey);

impl fmt::Debug for SecretBox {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("SecretBox")
    }
}

impl SecretBox {
    /// Derives the key of a cluster for `purpose`.
    pub fn new(secret: &Secret, purpose: &str) -> Result<Self, PeerError> {
        let bytes = secret.derive(&format!("seal of {purpose}"))?;
        let key = UnboundKey::new(&CHACHA20_POLY1305, &bytes)
            .map_err(|_| PeerError::Identity("cannot derive a key from the secret".into()))?;
        Ok(Self(LessSafeKey::new(key)))
    }

    /// Encrypts `plain`. The result begins with the nonce, which is random: 96 bits suffice for billions of secrets.
    pub fn seal(&self, plain: &[u8]) -> Result<Vec<u8>, SecretBoxError> {
        let nonce = random::<NONCE_LEN>()?;
        let mut bytes = plain.to_vec();
        self.0
            .seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), Aad::empty(), &mut bytes)
            .map_err(|_| SecretBoxError::Encrypt)?;
        Ok([nonce.as_slice(), &bytes].concat())
    }

    /// Decrypts the result of [`SecretBox::seal`].
    pub fn open(&self, sealed: &[u8]) -> Result<Vec<u8>, SecretBoxError> {
        let (nonce, bytes) = sealed.split_at_checked(NONCE_LEN).ok_or(SecretBoxError::Decrypt)?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).map_err(|_| SecretBoxError::Decrypt)?;
        let mut bytes = bytes.to_vec();
        Ok(self.0.open_in_place(nonce, Aad::empty(), &mut bytes).map_err(|_| SecretBoxError::Decrypt)?.to_vec())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn secret_box(secret: &str, purpose: &str) -> SecretBox {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("secret");
        std::fs::write(&path, secret.repeat(8)).unwrap();
        SecretBox::new(&Secret::read(&path).unwrap(), purpose).unwrap()
    }

    #[test]
    fn signatures_match_the_test_vectors_of_the_rfc() {
        // RFC 4231, test case 2.
        let signed = signature(b"Jefe", &[b"what do ya want ", b"for nothing?"]);
        let hex: String = signed.iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(hex, "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");
    }

    #[test]
    fn only_the_same_secret_and_purpose_decrypt() {
        let own = secret_box("swordfish", "tokens");
        let sealed = own.seal(b"open sesame").unwrap();
        assert_eq!(secret_box("swordfish", "tokens").open(&sealed).unwrap(), b"open sesame");
        assert_ne!(own.seal(b"open sesame").unwrap(), sealed);
        assert!(!sealed.windows(4).any(|part| part == b"open"));
        for other in [secret_box("marlin...", "tokens"), secret_box("swordfish", "letters")] {
            assert!(matches!(other.open(&sealed), Err(SecretBoxError::Decrypt)));
        }
        for damaged in [&sealed[..sealed.len() - 1], &sealed[1..], &[]] {
            assert!(own.open(damaged).is_err());
        }
    }
}

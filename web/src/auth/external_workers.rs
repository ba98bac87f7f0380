//! External workers: the settings, and the check of their tokens.
//!
//! The configuration holds the SHA-256 of each token, so a reader of the configuration does not learn a token. Tokens
//! are never stored or logged. Hashes are compared in constant time.

use audio::encode::Format;
use axum::http::HeaderMap;
use storage::blobs::Hash;

use super::request_auth::bearer;
use crate::http::error::ApiError;

/// The settings for external workers (`[outside]` in `cluster.toml`).
#[derive(Debug, Clone)]
pub struct ExternalWorkers {
    /// The SHA-256 of each worker's token.
    pub tokens: Vec<Hash>,
    /// Whether external workers get the uploads that do not choose workers.
    pub first: bool,
    /// The largest song for external workers, in bytes.
    pub max_bytes: u64,
}

/// The format of stems from external workers.
pub const DELIVERED: Format = Format::LISTENING;

impl ExternalWorkers {
    /// Refuses a request without the token of a worker.
    pub(crate) fn admit(&self, headers: &HeaderMap) -> Result<(), ApiError> {
        let token = Hash::of(bearer(headers).ok_or(ApiError::NoToken)?.as_bytes());
        let known = self.tokens.iter().fold(false, |known, one| known | equal(one, &token));
        if known { Ok(()) } else { Err(ApiError::WrongToken) }
    }
}

/// Compares two hashes in constant time.
fn equal(one: &Hash, other: &Hash) -> bool {
    let difference = one.as_bytes().iter().zip(other.as_bytes()).fold(0, |sum, (one, other)| sum | (one ^ other));
    std::hint::black_box(difference) == 0
}

/// Whether external workers can deliver the requested formats: the default formats, or exactly [`DELIVERED`].
pub(crate) fn delivers(formats: Option<&[String]>) -> bool {
    let kbps = |format: Format| match format {
        Format::Mp3 { kbps, .. } => Some(kbps),
        Format::Flac { .. } | Format::Wav { .. } => None,
    };
    formats
        .is_none_or(|formats| formats.iter().all(|format| format.parse().is_ok_and(|it| kbps(it) == kbps(DELIVERED))))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use axum::http::{HeaderValue, StatusCode, header};

    use super::*;

    #[test]
    fn only_worker_tokens_are_admitted() {
        let workers = ExternalWorkers { tokens: vec![Hash::of(b"one"), Hash::of(b"two")], first: false, max_bytes: 1 };
        let admit = |value: Option<&str>| {
            let mut headers = HeaderMap::new();
            headers.extend(value.map(|value| (header::AUTHORIZATION, HeaderValue::from_str(value).unwrap())));
            workers.admit(&headers).map_err(|error| error.status())
        };
        assert_eq!(admit(Some("Bearer one")), Ok(()));
        assert_eq!(admit(Some("bearer  two ")), Ok(()));
        for missing in [None, Some(""), Some("Bearer"), Some("Bearer "), Some("Basic one"), Some("one")] {
            assert_eq!(admit(missing), Err(StatusCode::UNAUTHORIZED), "{missing:?}");
        }
        // The hash in the configuration is not a token.
        let hash = format!("Bearer {}", Hash::of(b"one"));
        for wrong in ["Bearer three", "Bearer One", "Bearer one two", hash.as_str()] {
            assert_eq!(admit(Some(wrong)), Err(StatusCode::FORBIDDEN), "{wrong}");
        }
    }

    #[test]
    fn external_workers_deliver_one_format() {
        let formats = |text: &str| text.split(',').map(str::to_owned).collect::<Vec<_>>();
        assert!(delivers(None));
        assert!(delivers(Some(&formats("mp3:320:5"))));
        assert!(delivers(Some(&formats("mp3:320"))));
        for other in ["mp3:256", "flac:16", "mp3:320,wav:int16"] {
            assert!(!delivers(Some(&formats(other))), "{other}");
        }
    }
}

//! Workers outside of the cluster: who may deliver for them, and which songs go to them.
//!
//! A token is never kept or logged, only its SHA-256 is: the configuration can be read without learning one. Hashes are
//! compared to their end whatever they are, so the time that it takes says nothing.

use audio::encode::Format;
use axum::http::HeaderMap;
use storage::blobs::Hash;

use crate::caller::bearer;
use crate::error::ApiError;

/// What `[outside]` says.
#[derive(Debug, Clone)]
pub struct Outside {
    /// The SHA-256 of each worker's token.
    pub tokens: Vec<Hash>,
    /// Whether songs whose upload says nothing else go there.
    pub first: bool,
    /// The largest song that goes there, in bytes.
    pub max_bytes: u64,
}

/// The format of what workers outside deliver.
pub const DELIVERED: Format = Format::LISTENING;

impl Outside {
    /// Lets a request pass that carries a worker's token.
    pub(crate) fn admit(&self, headers: &HeaderMap) -> Result<(), ApiError> {
        let token = Hash::of(bearer(headers).ok_or(ApiError::NoToken)?.as_bytes());
        let known = self.tokens.iter().fold(false, |known, one| known | same(one, &token));
        if known { Ok(()) } else { Err(ApiError::WrongToken) }
    }
}

/// Whether two hashes are the same, in a time that does not depend on them.
fn same(one: &Hash, other: &Hash) -> bool {
    let difference = one.as_bytes().iter().zip(other.as_bytes()).fold(0, |sum, (one, other)| sum | (one ^ other));
    std::hint::black_box(difference) == 0
}

/// Whether files of MP3 alone are what was asked for: nothing in particular, or just the format that is delivered.
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
    fn only_who_has_a_token_may_deliver() {
        let outside = Outside { tokens: vec![Hash::of(b"one"), Hash::of(b"two")], first: false, max_bytes: 1 };
        let asked = |value: Option<&str>| {
            let mut headers = HeaderMap::new();
            headers.extend(value.map(|value| (header::AUTHORIZATION, HeaderValue::from_str(value).unwrap())));
            outside.admit(&headers).map_err(|error| error.kind().0)
        };
        assert_eq!(asked(Some("Bearer one")), Ok(()));
        assert_eq!(asked(Some("bearer  two ")), Ok(()));
        for nothing in [None, Some(""), Some("Bearer"), Some("Bearer "), Some("Basic one"), Some("one")] {
            assert_eq!(asked(nothing), Err(StatusCode::UNAUTHORIZED), "{nothing:?}");
        }
        // The hash itself, which the configuration shows, opens nothing.
        let shown = format!("Bearer {}", Hash::of(b"one"));
        for wrong in ["Bearer three", "Bearer One", "Bearer one two", shown.as_str()] {
            assert_eq!(asked(Some(wrong)), Err(StatusCode::FORBIDDEN), "{wrong}");
        }
    }

    #[test]
    fn who_asks_for_other_files_is_served_inside() {
        let formats = |text: &str| text.split(',').map(str::to_owned).collect::<Vec<_>>();
        assert!(delivers(None));
        assert!(delivers(Some(&formats("mp3:320:5"))));
        assert!(delivers(Some(&formats("mp3:320"))));
        for other in ["mp3:256", "flac:16", "mp3:320,wav:int16"] {
            assert!(!delivers(Some(&formats(other))), "{other}");
        }
    }
}

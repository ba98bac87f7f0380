//! The parameters of a separation: formats, priority, and who does it.

use audio::encode::Format;
use state::Priority;

use crate::app::State;
use crate::auth::external_workers::{DELIVERED, delivers};
use crate::http::error::ApiError;

/// The longest list of formats, in bytes.
const LONGEST_FORMATS: usize = 800;

/// The formats in a comma-separated list, as the state stores them.
pub(super) fn formats_of(text: &str) -> Result<Vec<String>, ApiError> {
    if text.len() > LONGEST_FORMATS {
        return Err(ApiError::Malformed("Too many formats: use at most one of each kind.".into()));
    }
    let words = text.split(',').map(str::trim).filter(|word| !word.is_empty());
    let asked = words.map(str::parse).collect::<Result<Vec<Format>, _>>();
    let mut formats = asked.map_err(|error| ApiError::Malformed(format!("Unsupported formats: {error}.")))?;
    if formats.is_empty() {
        formats = vec![Format::LISTENING, Format::WORKING];
    }
    formats.sort();
    if let Some(two) = formats.windows(2).find(|two| two[0].extension() == two[1].extension()) {
        return Err(ApiError::Malformed(format!(
            "The formats {} and {} have the same extension .{}. Use one of them.",
            two[0],
            two[1],
            two[0].extension()
        )));
    }
    Ok(formats.iter().map(Format::to_string).collect())
}

/// The priority with this name.
pub(super) fn priority_of(word: &str) -> Result<Priority, ApiError> {
    let shown: String = word.chars().take(20).collect();
    word.parse().map_err(|error| ApiError::Malformed(format!("Invalid priority {shown:?}: {error}.")))
}

/// The workers that separate a song.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Workers {
    Cluster,
    Outside,
}

pub(super) fn workers_of(word: &str) -> Result<Workers, ApiError> {
    match word {
        "cluster" => Ok(Workers::Cluster),
        "outside" => Ok(Workers::Outside),
        other => {
            let shown: String = other.chars().take(20).collect();
            Err(ApiError::Malformed(format!("Unknown workers {shown:?}: use cluster or outside.")))
        }
    }
}

/// Whether external workers separate a song of `size` bytes: as requested, or else as configured, if they can deliver the
/// requested formats and the broker can transport the song.
pub(super) fn is_external(
    state: &State,
    requested: Option<Workers>,
    formats: Option<&Vec<String>>,
    size: u64,
) -> Result<bool, ApiError> {
    let Some(workers) = &state.external_workers else {
        return match requested {
            Some(Workers::Outside) => Err(ApiError::Conflict(
                "This cluster has no external workers. Add the section [outside] to cluster.toml.".into(),
            )),
            Some(Workers::Cluster) | None => Ok(false),
        };
    };
    let wanted = requested.map_or(workers.first, |requested| requested == Workers::Outside);
    if !wanted {
        return Ok(false);
    }
    if !delivers(formats.map(Vec::as_slice)) {
        return match requested {
            None => Ok(false),
            Some(_) => Err(ApiError::Malformed(format!(
                "External workers deliver only {DELIVERED}. Leave out either `formats` or `workers`."
            ))),
        };
    }
    if size > workers.max_bytes {
        return Ok(false);
    }
    Ok(true)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn errors_about_formats_are_short() {
        assert_eq!(formats_of("flac:24, ,mp3:256").unwrap().len(), 2);
        for wrong in ["mp3:7".to_owned(), "mp3:320,mp3:256".into(), "x".repeat(10_000)] {
            let message = formats_of(&wrong).unwrap_err().to_string();
            assert!(message.len() < 200, "{message}");
        }
    }
}

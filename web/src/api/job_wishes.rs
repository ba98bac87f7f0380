//! What can be asked of a separation, from words to what the state keeps: formats, priority, and who does it.

use audio::encode::Format;
use state::{OUTSIDE, Priority, Road};

use crate::State;
use crate::error::ApiError;
use crate::outside::{DELIVERED, delivers};

/// The most bytes in which formats are asked for, of which there is one of a kind.
const LONGEST_FORMATS: usize = 800;

/// The formats that a form asks for, as the state keeps them.
pub(super) fn formats_of(text: &str) -> Result<Vec<String>, ApiError> {
    if text.len() > LONGEST_FORMATS {
        return Err(ApiError::Malformed("There are too many formats. Ask for one of each kind.".into()));
    }
    let words = text.split(',').map(str::trim).filter(|word| !word.is_empty());
    let asked = words.map(str::parse).collect::<Result<Vec<Format>, _>>();
    let mut formats = asked.map_err(|error| ApiError::Malformed(format!("The formats cannot be made: {error}.")))?;
    if formats.is_empty() {
        formats = vec![Format::LISTENING, Format::WORKING];
    }
    formats.sort();
    if let Some(two) = formats.windows(2).find(|two| two[0].extension() == two[1].extension()) {
        return Err(ApiError::Malformed(format!(
            "The formats {} and {} would both be .{}. Ask for one of them.",
            two[0],
            two[1],
            two[0].extension()
        )));
    }
    Ok(formats.iter().map(Format::to_string).collect())
}

/// The priority that a word means.
pub(super) fn priority_of(word: &str) -> Result<Priority, ApiError> {
    let shown: String = word.chars().take(20).collect();
    word.parse().map_err(|error| ApiError::Malformed(format!("{shown:?} is no priority: {error}.")))
}

/// Who is to separate a song.
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
            Err(ApiError::Malformed(format!("There are no workers {shown:?}: ask for cluster or for outside.")))
        }
    }
}

/// Who is to separate a song of `size` bytes: what was asked for, or else what the configuration says, as far as workers
/// outside can deliver what was asked for and the broker can carry the song.
pub(super) async fn road(
    state: &State,
    asked: Option<Workers>,
    formats: Option<&Vec<String>>,
    size: u64,
) -> Result<Road, ApiError> {
    let Some(outside) = &state.app.outside else {
        return match asked {
            Some(Workers::Outside) => Err(ApiError::Conflict(
                "This cluster has no workers outside: its cluster.toml has no section [outside].".into(),
            )),
            Some(Workers::Cluster) | None => Ok(Road::Inside),
        };
    };
    let wanted = asked.map_or(outside.first, |asked| asked == Workers::Outside);
    if !wanted {
        return Ok(Road::Inside);
    }
    if !delivers(formats.map(Vec::as_slice)) {
        return match asked {
            None => Ok(Road::Inside),
            Some(_) => Err(ApiError::Malformed(format!(
                "Workers outside deliver {DELIVERED} and nothing else. Ask for no formats, or for no workers."
            ))),
        };
    }
    if size > outside.max_bytes {
        return Ok(Road::Inside);
    }
    match (state.read(|view| Ok(view.has_level(OUTSIDE)?)).await?, asked) {
        (true, _) => Ok(Road::Outside),
        (false, None) => Ok(Road::Inside),
        (false, Some(_)) => Err(ApiError::Busy("upgrading: songs go outside when all nodes run this version".into())),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn what_is_wrong_with_formats_is_told_in_few_words() {
        assert_eq!(formats_of("flac:24, ,mp3:256").unwrap().len(), 2);
        for wrong in ["mp3:7".to_owned(), "mp3:320,mp3:256".into(), "x".repeat(10_000)] {
            let told = formats_of(&wrong).unwrap_err().to_string();
            assert!(told.len() < 200, "{told}");
        }
    }
}

//! The key: the one of 24 whose profile is most similar to the song's chroma.
//!
//! A profile is the frequency of each pitch class in music of a key (Krumhansl, "Cognitive foundations of musical
//! pitch", 1990). These profiles are counted in a large corpus (Albrecht and Shanahan, "The use of large corpora to
//! train a new type of key-finding algorithm", 2013). The similarity is the correlation of both.

use std::fmt;

use serde::{Deserialize, Serialize};

/// The frequencies of the pitch classes, from the tonic on, in major and in minor.
const PROFILES: [[f64; 12]; 2] = [
    [0.238, 0.006, 0.111, 0.006, 0.137, 0.094, 0.016, 0.214, 0.009, 0.080, 0.008, 0.081],
    [0.220, 0.006, 0.104, 0.123, 0.019, 0.103, 0.012, 0.214, 0.062, 0.022, 0.061, 0.052],
];
/// The tonics' names from C on, with the fewest accidentals in the key's signature, in major and in minor.
const NAMES: [[&str; 12]; 2] = [
    ["C", "Db", "D", "Eb", "E", "F", "F#", "G", "Ab", "A", "Bb", "B"],
    ["C", "C#", "D", "Eb", "E", "F", "F#", "G", "G#", "A", "Bb", "B"],
];
/// The number of characters that an error shows of an invalid text.
const SHOWN: usize = 30;
/// A song whose best correlation is lower has no key.
const LIKE: f64 = 0.5;
/// The least number of pitch classes of a key: the exponential of the chroma's entropy.
const CLASSES: f64 = 2.5;
/// The lead in correlation over the next key that gives full confidence.
const CLEAR: f64 = 0.2;

/// Major or minor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Mode {
    /// Major.
    Major,
    /// Minor.
    Minor,
}

/// A key. As text, and in JSON: "F# minor".
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct Key {
    /// The tonic in semitones above C, 0 to 11.
    pub tonic: u8,
    /// Major or minor.
    pub mode: Mode,
}

/// A song's key.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct KeyEstimate {
    /// The key.
    pub key: Key,
    /// The confidence, from 0 to 1: low if another key is as likely.
    pub confidence: f64,
}

/// A text is not a key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("Invalid key {0:?}: write it like \"F# minor\", \"Eb major\", \"F#m\", \"Eb\" or \"8A\"")]
pub struct ParseKeyError(String);

impl ParseKeyError {
    pub(super) fn new(text: &str) -> Self {
        Self(text.chars().take(SHOWN).collect())
    }
}

impl Key {
    /// All 24, by tonic, major first.
    pub fn all() -> impl Iterator<Item = Self> {
        (0..12).flat_map(|tonic| [Mode::Major, Mode::Minor].map(|mode| Self { tonic, mode }))
    }
}

impl fmt::Display for Key {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = NAMES[self.mode as usize][usize::from(self.tonic % 12)];
        let mode = match self.mode {
            Mode::Major => "major",
            Mode::Minor => "minor",
        };
        write!(out, "{name} {mode}")
    }
}

impl From<Key> for String {
    fn from(key: Key) -> Self {
        key.to_string()
    }
}

impl TryFrom<String> for Key {
    type Error = ParseKeyError;

    fn try_from(text: String) -> Result<Self, ParseKeyError> {
        text.parse()
    }
}

/// The most likely key of a song with these pitch classes, which add up to 1. None if it has too few of them or is
/// similar to no key.
pub(super) fn estimate(chroma: &[f64; 12]) -> Option<KeyEstimate> {
    let entropy: f64 = chroma.iter().filter(|share| **share > 0.0).map(|share| -share * share.ln()).sum();
    if entropy < CLASSES.ln() {
        return None;
    }
    let mut keys: Vec<(Key, f64)> = Key::all().map(|key| (key, likeness(chroma, key))).collect();
    keys.sort_by(|a, b| b.1.total_cmp(&a.1));
    let (key, best) = keys[0];
    let confidence = best * ((best - keys[1].1) / CLEAR).min(1.0);
    (best >= LIKE).then_some(KeyEstimate { key, confidence })
}

/// The correlation of a chroma with a key's profile.
fn likeness(chroma: &[f64; 12], key: Key) -> f64 {
    let profile = &PROFILES[key.mode as usize];
    let mean = |values: &[f64; 12]| values.iter().sum::<f64>() / 12.0;
    let (chroma_mean, profile_mean) = (mean(chroma), mean(profile));
    let (mut both, mut chroma_square, mut profile_square) = (0.0, 0.0, 0.0);
    for (degree, expected) in profile.iter().enumerate() {
        let found = chroma[(degree + usize::from(key.tonic)) % 12] - chroma_mean;
        let expected = expected - profile_mean;
        both += found * expected;
        chroma_square += found * found;
        profile_square += expected * expected;
    }
    if chroma_square > 0.0 { both / (chroma_square * profile_square).sqrt() } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Equal shares for these classes.
    fn shares(classes: &[usize]) -> [f64; 12] {
        let mut chroma = [0.0; 12];
        classes.iter().for_each(|class| chroma[class % 12] += 1.0 / classes.len() as f64);
        chroma
    }

    #[test]
    fn the_profile_of_a_key_is_in_that_key() {
        for key in Key::all() {
            let mut chroma = PROFILES[key.mode as usize];
            chroma.rotate_right(usize::from(key.tonic));
            let found = estimate(&chroma).unwrap();
            assert_eq!(found.key, key);
            assert!(found.confidence > 0.5 && found.confidence <= 1.0, "{found:?}");
        }
    }

    #[test]
    fn triads_are_in_the_keys_of_their_roots() {
        for tonic in 0..12 {
            for (mode, third) in [(Mode::Major, 4), (Mode::Minor, 3)] {
                let root = usize::from(tonic);
                let found = estimate(&shares(&[root, root + third, root + 7])).unwrap();
                assert_eq!(found.key, Key { tonic, mode });
            }
        }
    }

    #[test]
    fn ambiguous_pitch_classes_have_no_key() {
        for classes in [&[0][..], &[0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11], &[0, 6], &[0, 7]] {
            assert_eq!(estimate(&shares(classes)), None, "{classes:?}");
        }
    }

    #[test]
    fn keys_round_trip_as_text() {
        for key in Key::all() {
            assert_eq!(key.to_string().parse(), Ok(key));
        }
        assert_eq!(serde_json::to_string(&Key { tonic: 6, mode: Mode::Minor }).unwrap(), "\"F# minor\"");
        assert_eq!(serde_json::from_str::<Key>("\"Cb major\"").unwrap(), Key { tonic: 11, mode: Mode::Major });
    }
}

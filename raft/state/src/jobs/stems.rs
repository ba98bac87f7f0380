//! Stems: which ones a separation makes, and the files that it made.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};
use storage::blobs::Hash;

/// The stems that a separation makes, of those that its model finds.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Selection {
    /// All.
    #[default]
    All,
    /// Some, in the order of their names, each once.
    Only(Vec<String>),
    /// One, and the sum of all others under the name `no_` and its name.
    Two(String),
}

impl Selection {
    /// The names of the stems, for a model with these sources.
    pub fn of(&self, sources: &[String]) -> Vec<String> {
        match self {
            Self::All => sources.to_vec(),
            Self::Only(names) => names.clone(),
            Self::Two(name) => vec![name.clone(), format!("no_{name}")],
        }
    }
}

impl fmt::Display for Selection {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::All => formatter.write_str("all"),
            Self::Only(stems) => write!(formatter, "only {}", stems.join(",")),
            Self::Two(stem) => write!(formatter, "two {stem}"),
        }
    }
}

/// The files of a separation.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Stems {
    /// Audio files, by the stem's name and then by the file's extension.
    pub files: BTreeMap<String, BTreeMap<String, Hash>>,
    /// The results of the song's analysis.
    pub facts: Option<Box<Facts>>,
    /// The waveforms of the song and its stems, as a JSON file.
    pub peaks: Option<Hash>,
}

impl Stems {
    /// All files.
    pub(crate) fn files(&self) -> Vec<Hash> {
        self.files.values().flat_map(|files| files.values().copied()).chain(self.peaks).collect()
    }
}

/// The results of a song's analysis.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Facts {
    /// Integrated loudness in LUFS (EBU R128); none for silence.
    pub loudness: Option<f64>,
    /// Loudness range in LU (EBU Tech 3342).
    pub loudness_range: Option<f64>,
    /// The highest level in dBTP (ITU-R BS.1770).
    pub true_peak: Option<f64>,
    /// The tempo in beats per minute, and its confidence from 0 to 1; none for music without a beat.
    pub tempo: Option<(f64, f64)>,
    /// The key, as "F# minor", and its confidence from 0 to 1; none for music without a key.
    pub key: Option<(String, f64)>,
}

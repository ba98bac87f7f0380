//! What a job makes: which stems, and what became of them.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};
use storage::blobs::Hash;

/// Which stems a job makes of those that its model finds.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Selection {
    /// Each of them.
    #[default]
    All,
    /// Some, in the order of their names, each once.
    Only(Vec<String>),
    /// One, and the sum of all others as `no_` and its name.
    Two(String),
}

impl Selection {
    /// The names of the stems that it makes of a model's.
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

/// The separated sources.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Stems {
    /// By the stem's name, and then by the file's extension.
    pub files: BTreeMap<String, BTreeMap<String, Hash>>,
    /// What was found in the song on the way.
    #[serde(default)]
    pub facts: Option<Box<Facts>>,
    /// The waveforms of the song and its stems, to draw: a JSON file.
    #[serde(default)]
    pub peaks: Option<Hash>,
}

/// What musicians look for in a song.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Facts {
    /// Integrated loudness in LUFS (EBU R128); none for silence.
    pub loudness: Option<f64>,
    /// Loudness range in LU (EBU Tech 3342).
    pub loudness_range: Option<f64>,
    /// The highest level in dBTP (ITU-R BS.1770).
    pub true_peak: Option<f64>,
    /// The tempo in beats per minute, and how sure it is, from 0 to 1; none where there is no beat.
    pub tempo: Option<(f64, f64)>,
    /// The key, as "F# minor", and how sure it is, from 0 to 1; none where there is none.
    pub key: Option<(String, f64)>,
}

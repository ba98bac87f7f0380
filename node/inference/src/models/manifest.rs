//! The description of a model, `NAME.toml` beside its checkpoints.

use audio::RATE;
use serde::{Deserialize, Serialize};

/// What a model consists of.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// The name of the network's architecture. Without it, each checkpoint's class determines it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub architecture: Option<String>,
    /// The file names of its checkpoints.
    pub files: Vec<String>,
    /// The weight of each checkpoint (rows) for each stem (columns); without it, all are equal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub weights: Option<Vec<Vec<f32>>>,
    /// The length of a segment in seconds; without it, the checkpoints determine it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub segment: Option<f64>,
}

impl Manifest {
    /// The length of a segment in frames, if not the checkpoints' own.
    pub fn segment_frames(&self) -> Option<usize> {
        self.segment.map(|seconds| (seconds * f64::from(RATE)) as usize)
    }
}

/// Whether a name can be a model's: 1 to 64 ASCII letters, digits, `-`, `_` and `.`, not beginning with `.`.
pub fn is_name(name: &str) -> bool {
    !name.is_empty()
        && name.len() <= 64
        && !name.starts_with('.')
        && name.chars().all(|letter| letter.is_ascii_alphanumeric() || matches!(letter, '-' | '_' | '.'))
}

//! What every model is to the rest: something that separates one segment.

use std::ops::Range;
use std::sync::Arc;

use crate::spectral::Spectral;
use audio::Stereo;
use audio::pcm::SongStats;

/// The model for those who choose none: it needs no weights.
pub const DEFAULT_MODEL: &str = "spectral";

/// How a model cuts a song: segments of `segment` frames, one every `stride` frames.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Geometry {
    /// The model's window, in frames.
    pub segment: usize,
    /// From one segment's start to the next, in frames. With at least half a segment no more than two overlap
    /// anywhere, and a sum is the same to the bit however the segments were grouped.
    pub stride: usize,
}

impl Geometry {
    /// Segments that share a part `overlap` of their length with the next one: 0 is none, and it is below 1.
    pub fn overlapping(segment: usize, overlap: f64) -> Self {
        Self { segment, stride: (((1.0 - overlap) * segment as f64) as usize).clamp(1, segment) }
    }

    /// How many segments a song has.
    pub fn segments(&self, frames: u64) -> u32 {
        u32::try_from(frames.div_ceil(self.stride as u64)).unwrap_or(u32::MAX)
    }

    /// The frames of segment `index`: first, and one past the last.
    pub fn span(&self, index: u32, frames: u64) -> (u64, u64) {
        let start = u64::from(index) * self.stride as u64;
        (start.min(frames), (start + self.segment as u64).min(frames))
    }

    /// How much frame `at` of a segment counts in the sum of overlapping ones: a triangle, as Demucs has it
    /// (`apply_model` with `transition_power` 1).
    pub fn weight(&self, at: usize) -> f32 {
        let half = self.segment / 2;
        let height = if at < half { at + 1 } else { self.segment - at };
        height as f32 / (self.segment - half) as f32
    }
}

/// A segment cannot be separated.
#[derive(Debug, thiserror::Error)]
pub enum SeparateError {
    /// A tensor operation failed.
    #[error("the model failed: {0}")]
    Model(#[from] candle_core::Error),
    /// A transform failed.
    #[error("the transform failed: {0}")]
    Transform(String),
}

/// Separates segments of songs.
pub trait Separator: Send + Sync {
    /// The model's name, by which jobs choose it.
    fn name(&self) -> &str;

    /// The stems, in the order in which [`Separator::separate`] gives them.
    fn sources(&self) -> &[String];

    /// How it cuts a song.
    fn geometry(&self) -> Geometry;

    /// Whether a song's last segment, which is shorter, is to be separated as it is. Otherwise it comes in the middle of
    /// a whole one.
    fn any_length(&self) -> bool {
        false
    }

    /// Separates `segment`, which is as long as the geometry says unless [`Separator::any_length`], into its sources,
    /// each as long. Only its frames `inside` are the song's; before and after them it is silent.
    fn separate(&self, segment: &Stereo, inside: Range<usize>, song: &SongStats) -> Result<Vec<Stereo>, SeparateError>;
}

/// The model of this name, if it needs no weights.
pub fn built_in(name: &str) -> Option<Arc<dyn Separator>> {
    match name {
        DEFAULT_MODEL => Some(Arc::new(Spectral::new())),
        _ => None,
    }
}

//! The interface of every model: it separates one segment.

use std::ops::Range;

use audio::Stereo;
use audio::pcm::SongStats;

/// How a song is cut for a model: segments of `segment` frames, one every `stride` frames.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Geometry {
    /// The length of a segment, in frames.
    pub segment: usize,
    /// The distance between the starts of two segments, in frames. If it is at least half a segment, at most two
    /// segments overlap anywhere, and sums are bit-identical for any grouping of the segments.
    pub stride: usize,
}

impl Geometry {
    /// Segments that share the fraction `overlap` (0 to below 1) of their length with the next one.
    pub fn overlapping(segment: usize, overlap: f64) -> Self {
        Self { segment, stride: (((1.0 - overlap) * segment as f64) as usize).clamp(1, segment) }
    }

    /// The number of a song's segments.
    pub fn segments(&self, frames: u64) -> u32 {
        u32::try_from(frames.div_ceil(self.stride as u64)).unwrap_or(u32::MAX)
    }

    /// The frames of segment `index`: the first, and the end.
    pub fn span(&self, index: u32, frames: u64) -> (u64, u64) {
        let start = u64::from(index) * self.stride as u64;
        (start.min(frames), (start + self.segment as u64).min(frames))
    }

    /// The weight of frame `at` of a segment in the sum of overlapping segments: a triangle, as in Demucs
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
    #[error("the network failed: {0}")]
    Model(#[from] candle_core::Error),
    /// A transform failed.
    #[error("the transform failed: {0}")]
    Transform(String),
}

/// Separates segments of songs.
pub trait Separator: Send + Sync {
    /// The model's name, by which jobs choose it.
    fn name(&self) -> &str;

    /// The names of the sources, in the order of the output of [`Separator::separate`].
    fn sources(&self) -> &[String];

    /// The geometry in which songs must be cut.
    fn geometry(&self) -> Geometry;

    /// Whether a song's last segment, which is shorter, is separated in its own length. Otherwise it is padded on both
    /// sides to a whole segment.
    fn any_length(&self) -> bool {
        false
    }

    /// Separates `segment` into its sources, each as long as the segment. Its length is the geometry's, or any with
    /// [`Separator::any_length`]. Only the frames `inside` belong to the song; all others are silent.
    fn separate(&self, segment: &Stereo, inside: Range<usize>, song: &SongStats) -> Result<Vec<Stereo>, SeparateError>;
}

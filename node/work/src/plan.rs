//! What planning a job needs to know about models.

use inference::{DEFAULT_MODEL, Geometry, built_in};
use state::Model;

/// The models that are part of the program, described as the state describes those with files.
pub fn built_in_models() -> Vec<Model> {
    let model = built_in(DEFAULT_MODEL).map(|separator| Model {
        name: DEFAULT_MODEL.into(),
        files: Vec::new(),
        weights: None,
        sources: separator.sources().to_vec(),
        segment: separator.geometry().segment as u64,
        stride: separator.geometry().stride as u64,
        added_at: 0,
    });
    model.into_iter().collect()
}

/// The number of segments into which a model cuts a song of so many frames.
pub fn segments(model: &Model, frames: u64) -> u32 {
    let frames_of = |count: u64| usize::try_from(count).unwrap_or(usize::MAX).max(1);
    Geometry { segment: frames_of(model.segment), stride: frames_of(model.stride) }.segments(frames)
}

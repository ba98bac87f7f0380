//! What the analysis of a song leaves in the state.

use audio::analysis::Analysis;
use state::Facts;

/// What musicians look for in a song.
pub(crate) fn facts_of(analysis: &Analysis) -> Box<Facts> {
    Box::new(Facts {
        loudness: analysis.loudness,
        loudness_range: analysis.loudness_range,
        true_peak: analysis.true_peak,
        tempo: analysis.tempo.as_ref().map(|tempo| (tempo.bpm, tempo.confidence)),
        key: analysis.key.as_ref().map(|found| (found.key.to_string(), found.confidence)),
    })
}

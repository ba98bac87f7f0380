//! From the analysis of a song to the facts in the state.

use audio::analysis::Analysis;
use state::Facts;

/// The facts that the state stores about a song.
pub fn facts_of(analysis: &Analysis) -> Box<Facts> {
    Box::new(Facts {
        loudness: analysis.loudness,
        loudness_range: analysis.loudness_range,
        true_peak: analysis.true_peak,
        tempo: analysis.tempo.as_ref().map(|tempo| (tempo.bpm, tempo.confidence)),
        key: analysis.key.as_ref().map(|found| (found.key.to_string(), found.confidence)),
    })
}

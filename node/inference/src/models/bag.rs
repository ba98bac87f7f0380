//! Several networks as one separator, as Demucs' `BagOfModels` (`demucs/apply.py`) has it: each stem is a weighted mean
//! of what the networks make of it. One network is a bag of one.

use std::ops::Range;

use super::ModelsError;
use crate::demucs::Demucs;
use crate::separator::{Geometry, SeparateError, Separator};
use audio::Stereo;
use audio::pcm::SongStats;

/// Demucs' overlap of neighbouring segments.
const OVERLAP: f64 = 0.25;

pub(super) struct Bag {
    name: String,
    sources: Vec<String>,
    geometry: Geometry,
    any_length: bool,
    /// With how much each of its stems counts; what they count adds up to 1 for each stem.
    networks: Vec<(Demucs, Vec<f32>)>,
}

impl Bag {
    /// `weights` has a row for each network and a column for each stem; without it, all count alike. `segment` is how
    /// many frames are separated at a time, if not what the networks say.
    pub(super) fn new(
        name: &str,
        mut networks: Vec<Demucs>,
        weights: Option<&[Vec<f32>]>,
        segment: Option<usize>,
    ) -> Result<Self, ModelsError> {
        let wrong = |reason: String| ModelsError::Bag { name: name.into(), reason };
        for network in &mut networks {
            let own = network.segment();
            if !network.set_segment(segment.unwrap_or(own)) {
                let asked = segment.unwrap_or_default();
                return Err(wrong(format!("its segments of {own} frames cannot be made {asked} long")));
            }
        }
        let Some(first) = networks.first() else { return Err(wrong("it has no network".into())) };
        let (sources, segment, any_length) = (first.sources().to_vec(), first.segment(), first.any_length());
        for network in &networks {
            if network.sources() != sources {
                return Err(wrong(format!("one network separates {sources:?}, another {:?}", network.sources())));
            }
            if network.segment() != segment {
                return Err(wrong("its networks have segments of different lengths".into()));
            }
            if network.any_length() != any_length {
                return Err(wrong("some of its networks take segments of any length, others do not".into()));
            }
        }
        let alike = vec![vec![1.0; sources.len()]; networks.len()];
        let weights = weights.unwrap_or(&alike);
        if weights.len() != networks.len() || weights.iter().any(|row| row.len() != sources.len()) {
            return Err(wrong(format!("its weights are not {} rows of {}", networks.len(), sources.len())));
        }
        let totals: Vec<f32> = (0..sources.len()).map(|stem| weights.iter().map(|row| row[stem]).sum()).collect();
        if let Some(stem) = totals.iter().position(|total| !total.is_normal()) {
            return Err(wrong(format!("its weights for {} add up to nothing", sources[stem])));
        }
        let shares = weights.iter().map(|row| row.iter().zip(&totals).map(|(weight, total)| weight / total).collect());
        let networks: Vec<_> = networks.into_iter().zip(shares).collect();
        let geometry = Geometry::overlapping(segment, OVERLAP);
        Ok(Self { name: name.into(), sources, geometry, any_length, networks })
    }
}

impl Separator for Bag {
    fn name(&self) -> &str {
        &self.name
    }

    fn sources(&self) -> &[String] {
        &self.sources
    }

    fn geometry(&self) -> Geometry {
        self.geometry
    }

    fn any_length(&self) -> bool {
        self.any_length
    }

    fn separate(&self, segment: &Stereo, inside: Range<usize>, song: &SongStats) -> Result<Vec<Stereo>, SeparateError> {
        // The song is normalised as a whole, and what lies beyond its ends is zero after that, not before.
        let factor = song.std + 1e-8;
        let normalised = segment.each_ref().map(|channel| {
            let mut out = vec![0.0; channel.len()];
            for (out, sample) in out[inside.clone()].iter_mut().zip(&channel[inside.clone()]) {
                *out = (sample - song.mean) / factor;
            }
            out
        });
        let mut stems = vec![[vec![0.0; segment[0].len()], vec![0.0; segment[1].len()]]; self.sources.len()];
        for (network, shares) in &self.networks {
            if shares.iter().all(|share| *share == 0.0) {
                continue;
            }
            for ((sum, stem), share) in stems.iter_mut().zip(network.forward(&normalised)?).zip(shares) {
                for (sum, samples) in sum.iter_mut().zip(&stem) {
                    sum.iter_mut().zip(samples).for_each(|(sum, sample)| *sum += share * sample);
                }
            }
        }
        for sample in stems.iter_mut().flatten().flatten() {
            *sample = *sample * factor + song.mean;
        }
        Ok(stems)
    }
}

//! Several networks as one separator, as Demucs' `BagOfModels` (`demucs/apply.py`): each stem is a weighted mean of the
//! networks' outputs. A model of one network is a bag of one.

use std::ops::Range;

use crate::separator::{Geometry, SeparateError, Separator};
use audio::Stereo;
use audio::pcm::SongStats;

pub(super) struct Bag {
    name: String,
    sources: Vec<String>,
    geometry: Geometry,
    any_length: bool,
    /// The networks and the weight of each for each stem; the weights of a stem add up to 1.
    networks: Vec<(Box<dyn Separator>, Vec<f32>)>,
}

impl Bag {
    /// `weights` has a row for each network and a column for each stem; without it, all are equal. All networks must
    /// have the same sources and the same geometry. The error says what does not fit.
    pub(super) fn new(
        name: &str,
        networks: Vec<Box<dyn Separator>>,
        weights: Option<&[Vec<f32>]>,
    ) -> Result<Self, String> {
        let Some(first) = networks.first() else { return Err("there is no checkpoint".into()) };
        let (sources, geometry, any_length) = (first.sources().to_vec(), first.geometry(), first.any_length());
        for network in &networks {
            if network.sources() != sources {
                return Err(format!("one network separates {sources:?}, another {:?}", network.sources()));
            }
            if network.geometry() != geometry {
                return Err("the networks have segments of different lengths".into());
            }
            if network.any_length() != any_length {
                return Err("some of the networks take segments of any length, others do not".into());
            }
        }
        let equal = vec![vec![1.0; sources.len()]; networks.len()];
        let weights = weights.unwrap_or(&equal);
        if weights.len() != networks.len() || weights.iter().any(|row| row.len() != sources.len()) {
            return Err(format!("the weights are not {} rows of {}", networks.len(), sources.len()));
        }
        let totals: Vec<f32> = (0..sources.len()).map(|stem| weights.iter().map(|row| row[stem]).sum()).collect();
        if let Some(stem) = totals.iter().position(|total| !total.is_normal()) {
            return Err(format!("the weights for {} add up to zero", sources[stem]));
        }
        let shares = weights.iter().map(|row| row.iter().zip(&totals).map(|(weight, total)| weight / total).collect());
        let networks: Vec<_> = networks.into_iter().zip(shares).collect();
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
        let mut stems = vec![[vec![0.0; segment[0].len()], vec![0.0; segment[1].len()]]; self.sources.len()];
        for (network, shares) in &self.networks {
            if shares.iter().all(|share| *share == 0.0) {
                continue;
            }
            let separated = network.separate(segment, inside.clone(), song)?;
            for ((sum, stem), share) in stems.iter_mut().zip(separated).zip(shares) {
                for (sum, samples) in sum.iter_mut().zip(&stem) {
                    sum.iter_mut().zip(samples).for_each(|(sum, sample)| *sum += share * sample);
                }
            }
        }
        Ok(stems)
    }
}

//! PyTorch's `GroupNorm` over a whole segment, `[rows, channels]`, as a factor and a summand for each channel. The
//! activation after the norm applies them.

use rayon::prelude::*;

use crate::checkpoint::{BuildError, Weights};
use crate::demucs::dconv::Moments;

/// A norm, or the identity.
pub(super) struct GroupNorm {
    channels: usize,
    learned: Option<Learned>,
}

struct Learned {
    groups: usize,
    weights: Vec<f32>,
    biases: Vec<f32>,
}

impl GroupNorm {
    pub(super) fn load(
        weights: &mut Weights,
        prefix: &str,
        channels: usize,
        groups: Option<usize>,
    ) -> Result<Self, BuildError> {
        let mut take = |part: &str| weights.take(&format!("{prefix}.{part}"), &[channels]);
        let learned = groups
            .map(|groups| Ok::<_, BuildError>(Learned { groups, weights: take("weight")?, biases: take("bias")? }));
        Ok(Self { channels, learned: learned.transpose()? })
    }

    /// The factor and the summand of each channel.
    pub(super) fn maps(&self, values: &[f32]) -> [Vec<f32>; 2] {
        let Some(Learned { groups, weights, biases }) = &self.learned else {
            return [vec![1.0; self.channels], vec![0.0; self.channels]];
        };
        let size = self.channels / groups;
        let moments: Vec<_> = (0..*groups)
            .into_par_iter()
            .filter_map(|group| {
                let rows = values.chunks_exact(self.channels).map(|row| Moments::of(&row[group * size..][..size]));
                rows.reduce(Moments::with)
            })
            .collect();
        let all = weights.iter().zip(biases).enumerate();
        let (factors, summands) = all
            .filter_map(|(channel, (weight, bias))| Some(moments.get(channel / size)?.affine(*weight, *bias)))
            .map(|[factor, summand]| (factor, summand))
            .unzip();
        [factors, summands]
    }
}

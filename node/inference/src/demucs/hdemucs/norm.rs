//! PyTorch's `GroupNorm` over a whole segment, `[rows, channels]`. It is not applied by itself: it becomes a factor and
//! a summand for each channel, which the activation that follows applies.

use rayon::prelude::*;

use crate::demucs::ModelError;
use crate::demucs::dconv::Moments;
use crate::demucs::weights::Weights;

/// A norm, or none.
pub(super) struct Norm {
    channels: usize,
    learned: Option<Learned>,
}

struct Learned {
    groups: usize,
    weights: Vec<f32>,
    biases: Vec<f32>,
}

impl Norm {
    pub(super) fn load(
        weights: &mut Weights,
        prefix: &str,
        channels: usize,
        groups: Option<usize>,
    ) -> Result<Self, ModelError> {
        let mut take = |part: &str| weights.take(&format!("{prefix}.{part}"), &[channels]);
        let learned = groups
            .map(|groups| Ok::<_, ModelError>(Learned { groups, weights: take("weight")?, biases: take("bias")? }));
        Ok(Self { channels, learned: learned.transpose()? })
    }

    /// Each channel's factor, and each one's summand.
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

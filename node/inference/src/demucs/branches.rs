//! The layers that both versions share: encoders that downsample the spectrum and the waveform side by side, and
//! decoders that upsample them again with skip connections from the encoders.

use candle_core::{Result, Tensor};

use super::dconv::DConvShape;
use super::frequency::{self, FrequencyDecoder, FrequencyEncoder};
use super::time::{TimeDecoder, TimeEncoder};
use crate::checkpoint::{BuildError, Weights};

/// The sizes of the branches.
pub(crate) struct BranchesShape {
    pub(crate) sources: usize,
    /// The spectrum's frequencies.
    pub(crate) frequencies: usize,
    /// The residual branch of each layer with its channels, the outermost layer first.
    pub(crate) layers: Vec<DConvShape>,
    /// 1: residual branches in the encoders; 2: in the decoders; 3: in both.
    pub(crate) dconv_mode: u8,
    /// The factor of the frequency embedding after the first layer; 0 for none.
    pub(crate) embedding: f32,
    /// The indexes of the outermost decoders in the spectrum's branch and in the waveform's.
    pub(crate) outermost: [usize; 2],
}

/// The encoders and decoders of both branches.
pub(crate) struct Branches {
    encoders: Vec<(FrequencyEncoder, TimeEncoder)>,
    /// In the order in which they run: the narrowest first.
    decoders: Vec<(FrequencyDecoder, TimeDecoder)>,
}

/// The encoders' outputs for the decoders: of each layer both branches' outputs, and the waveform's length before it.
pub(crate) struct Skips(Vec<(Tensor, Tensor, usize)>);

impl Branches {
    pub(crate) fn load(weights: &mut Weights, shape: &BranchesShape) -> std::result::Result<Self, BuildError> {
        let (mut encoders, mut decoders) = (Vec::new(), Vec::new());
        for (index, dconv) in shape.layers.iter().enumerate() {
            let inner = dconv.channels;
            let [outer, outer_time] = match index {
                0 => [4, 2],
                index => [shape.layers[index - 1].channels; 2],
            };
            let of_encoder = (shape.dconv_mode & 1 != 0).then_some(*dconv);
            let of_decoder = (shape.dconv_mode & 2 != 0).then_some(*dconv);
            let embedding = (index == 0 && shape.embedding != 0.0)
                .then(|| {
                    let shape_of = [shape.frequencies / frequency::STRIDE, inner];
                    let weight = weights.take("freq_emb.embedding.weight", &shape_of)?;
                    Ok::<_, BuildError>(weight.iter().map(|value| value * shape.embedding).collect())
                })
                .transpose()?;
            let name = format!("encoder.{index}");
            let of_frequency = FrequencyEncoder::load(weights, &name, [outer, inner], of_encoder, embedding)?;
            let of_time = TimeEncoder::load(weights, &format!("t{name}"), [outer_time, inner], of_encoder)?;
            encoders.push((of_frequency, of_time));

            let last = index == 0;
            let [outer, outer_time] = if last { [4 * shape.sources, 2 * shape.sources] } else { [outer, outer_time] };
            let [name, name_of_time] = shape.outermost.map(|outermost| format!("decoder.{}", outermost - index));
            let of_frequency = FrequencyDecoder::load(weights, &name, [inner, outer], of_decoder, last)?;
            let name = format!("t{name_of_time}");
            let of_time = TimeDecoder::load(weights, &name, [inner, outer_time], of_decoder, last)?;
            decoders.insert(0, (of_frequency, of_time));
        }
        Ok(Self { encoders, decoders })
    }

    /// Maps `[frequencies, 4, frames]` and `[length, 2]` to the core's inputs.
    pub(crate) fn encode(&self, mut x: Tensor, mut xt: Tensor) -> Result<(Tensor, Tensor, Skips)> {
        let mut skips = Vec::new();
        for (of_frequency, of_time) in &self.encoders {
            let length = xt.dims2()?.0;
            x = of_frequency.forward(&x)?;
            xt = of_time.forward(&xt)?;
            skips.push((x.clone(), xt.clone(), length));
        }
        Ok((x, xt, Skips(skips)))
    }

    /// Maps the core's outputs to the original numbers of frequencies and frames, with four and two channels a source.
    pub(crate) fn decode(&self, mut x: Tensor, mut xt: Tensor, Skips(skips): Skips) -> Result<(Tensor, Tensor)> {
        for ((of_frequency, of_time), (skip, skip_time, length)) in self.decoders.iter().zip(skips.into_iter().rev()) {
            // The waveform's layer goes first: this frees its skip before the spectrum's layer needs the most memory of
            // all.
            xt = of_time.forward(xt, skip_time, length)?;
            x = of_frequency.forward(x, skip)?;
        }
        Ok((x, xt))
    }
}

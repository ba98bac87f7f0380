//! The two branches as far as they are alike in all versions: encoders that narrow the spectrum and the waveform side
//! by side, and decoders that widen them again with what the encoders saw.

use candle_core::{Result, Tensor};

use super::ModelError;
use super::dconv::DConvShape;
use super::frequency::{self, FrequencyDecoder, FrequencyEncoder};
use super::time::{TimeDecoder, TimeEncoder};
use super::weights::Weights;

/// What the branches are built from.
pub(crate) struct BranchesShape {
    pub(crate) sources: usize,
    /// Of the spectrum.
    pub(crate) frequencies: usize,
    /// Each layer's residual branch, which tells its channels, the outermost layer first.
    pub(crate) layers: Vec<DConvShape>,
    /// 1: residual branches in the encoders; 2: in the decoders; 3: in both.
    pub(crate) dconv_mode: u8,
    /// How strongly the first layer tells frequencies from each other; 0 for not at all.
    pub(crate) embedding: f32,
    /// The numbers of the outermost decoders in the spectrum's branch and in the waveform's.
    pub(crate) outermost: [usize; 2],
}

/// See the module's page.
pub(crate) struct Branches {
    encoders: Vec<(FrequencyEncoder, TimeEncoder)>,
    /// In the order in which they are run: the narrowest first.
    decoders: Vec<(FrequencyDecoder, TimeDecoder)>,
}

/// What the encoders saw, for the decoders: of each layer both branches' results, and the waveform's length before it.
pub(crate) struct Skips(Vec<(Tensor, Tensor, usize)>);

impl Branches {
    pub(crate) fn load(weights: &mut Weights, shape: &BranchesShape) -> std::result::Result<Self, ModelError> {
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
                    Ok::<_, ModelError>(weight.iter().map(|value| value * shape.embedding).collect())
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

    /// `[frequencies, 4, frames]` and `[length, 2]` to what the deep sees.
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

    /// From the deep to as many frequencies and frames as there were, with four and two channels a source.
    pub(crate) fn decode(&self, mut x: Tensor, mut xt: Tensor, Skips(skips): Skips) -> Result<(Tensor, Tensor)> {
        for ((of_frequency, of_time), (skip, skip_time, length)) in self.decoders.iter().zip(skips.into_iter().rev()) {
            // The waveform is smaller, so that its skip goes before the spectrum's layer takes the most memory of all.
            xt = of_time.forward(xt, skip_time, length)?;
            x = of_frequency.forward(x, skip)?;
        }
        Ok((x, xt))
    }
}

//! A model's configuration, read from the arguments of `HDemucs` (`demucs/hdemucs.py`) in its checkpoint.

use crate::checkpoint::BuildError;
use serde::Deserialize;
use serde_json::{Map, Value};

use crate::architecture::check_sources;
use crate::demucs::arguments::{Known, segment};
use crate::demucs::dconv::DConvShape;
use crate::demucs::local::LocalState;
use audio::RATE;

/// The number of frequencies left where the branches merge.
pub(crate) const LEFT: usize = 8;

/// The sizes of the layers.
#[derive(Debug, Clone, Deserialize)]
#[serde(default)]
pub(crate) struct HDemucsConfig {
    /// The stems, in the order of the output.
    pub(crate) sources: Vec<String>,
    /// Channels of the first layer.
    pub(crate) channels: usize,
    /// The factor by which the channels grow from layer to layer.
    pub(crate) growth: usize,
    /// The length of the spectrum's window, in samples.
    pub(crate) nfft: usize,
    /// The number of layers of the encoder and of the decoder, including those after the merge.
    pub(crate) depth: usize,
    pub(crate) freq_emb: f32,
    pub(crate) emb_scale: f32,
    /// The stride of the layers after the merge.
    pub(crate) time_stride: usize,
    /// The first layer with norms, and the number of their groups.
    norm_starts: usize,
    norm_groups: usize,
    /// 1: residual branches in the encoders; 2: in the decoders; 3: in both.
    pub(crate) dconv_mode: u8,
    dconv_depth: usize,
    /// The ratio of a residual branch's channels to its bottleneck's.
    dconv_comp: f64,
    /// The first layer with attention in its residual branch.
    dconv_attn: usize,
    /// The first layer with an LSTM in its residual branch.
    dconv_lstm: usize,
    /// The segment's length, in frames.
    #[serde(skip)]
    pub(crate) segment: usize,
    #[serde(rename = "segment")]
    seconds: Value,
}

impl Default for HDemucsConfig {
    /// The defaults of the Python class.
    fn default() -> Self {
        Self {
            sources: Vec::new(),
            channels: 48,
            growth: 2,
            nfft: 4096,
            depth: 6,
            freq_emb: 0.2,
            emb_scale: 10.0,
            time_stride: 2,
            norm_starts: 4,
            norm_groups: 4,
            dconv_mode: 1,
            dconv_depth: 2,
            dconv_comp: 4.0,
            dconv_attn: 4,
            dconv_lstm: 4,
            segment: 0,
            seconds: Value::from(40),
        }
    }
}

/// Arguments without effect on a trained model.
const WITHOUT_EFFECT: [&str; 7] =
    ["wiener_iters", "end_iters", "wiener_residual", "emb_smooth", "multi_freqs_depth", "dconv_init", "rescale"];

impl HDemucsConfig {
    /// Reads the arguments of the checkpoint.
    pub(crate) fn read(arguments: &Map<String, Value>) -> Result<Self, BuildError> {
        let built = [
            ("audio_channels", Value::from(2)),
            ("channels_time", Value::Null),
            ("cac", true.into()),
            ("rewrite", true.into()),
            ("hybrid", true.into()),
            ("hybrid_old", false.into()),
            ("multi_freqs", Value::Null),
            ("kernel_size", 8.into()),
            ("stride", 4.into()),
            ("context", 1.into()),
            ("context_enc", 0.into()),
            ("samplerate", RATE.into()),
        ];
        let read = [
            "sources",
            "channels",
            "growth",
            "nfft",
            "depth",
            "freq_emb",
            "emb_scale",
            "time_stride",
            "norm_starts",
            "norm_groups",
            "dconv_mode",
            "dconv_depth",
            "dconv_comp",
            "dconv_attn",
            "dconv_lstm",
            "segment",
        ];
        Known { built: &built, read: &read, without_effect: &WITHOUT_EFFECT }.check(arguments)?;
        let mut config: Self = serde_json::from_value(Value::Object(arguments.clone()))
            .map_err(|error| BuildError::Config(error.to_string()))?;
        config.segment = segment(&config.seconds)?;
        config.check()?;
        Ok(config)
    }

    fn check(&self) -> Result<(), BuildError> {
        let refuse = |words: &str| Err(BuildError::Config(words.into()));
        check_sources(&self.sources)?;
        // The spectrum's frames are a quarter of a window apart and each layer of the waveform's branch has a stride of
        // four. The lengths are equal at the merge if a window is a power of four.
        if !self.nfft.is_power_of_two() || !self.nfft.ilog2().is_multiple_of(2) || !(64..=1 << 16).contains(&self.nfft)
        {
            return refuse("nfft must be a power of four from 64 to 65536, else the branches cannot merge");
        }
        let merge = self.merge_layer();
        if !(merge + 1..=10).contains(&self.depth)
            || !(1..=8).contains(&self.growth)
            || !(1..=1024).contains(&self.channels)
        {
            return Err(BuildError::Config(format!(
                "depth must be {} to 10 with this nfft, growth 1 to 8, channels 1 to 1024",
                merge + 1
            )));
        }
        if !self.time_stride.is_multiple_of(2) || !(2..=16).contains(&self.time_stride) {
            return refuse("time_stride must be an even number from 2 to 16");
        }
        for (name, starts) in
            [("norm_starts", self.norm_starts), ("dconv_attn", self.dconv_attn), ("dconv_lstm", self.dconv_lstm)]
        {
            if starts < merge {
                return Err(BuildError::Unsupported(format!("{name} = {starts} (a layer before the branches merge)")));
            }
        }
        if self.dconv_comp < 1.0 || self.dconv(0).hidden == 0 || self.dconv_depth > 8 {
            return refuse("dconv_comp must be 1 to channels, dconv_depth at most 8");
        }
        for index in merge..self.depth {
            // The decoder's norm has the channels of the layer before.
            if self
                .groups(index)
                .is_some_and(|groups| groups == 0 || !self.channels_at(index - 1).is_multiple_of(groups))
            {
                return refuse("the channels of layers with norms must be a multiple of norm_groups");
            }
            let DConvShape { hidden, attention, .. } = self.dconv(index);
            if attention && !LocalState::fits(hidden) {
                return refuse("a residual branch with attention must have a bottleneck of a multiple of 4 channels");
            }
        }
        Ok(())
    }

    /// The layer in which the branches merge: each layer before it divides the frequencies by four.
    pub(crate) fn merge_layer(&self) -> usize {
        (self.nfft / 2 / LEFT).ilog2() as usize / 2
    }

    /// Channels after encoder layer `index`.
    pub(crate) fn channels_at(&self, index: usize) -> usize {
        self.channels * self.growth.pow(index as u32)
    }

    /// The number of norm groups of layer `index`, if it has norms.
    pub(crate) fn groups(&self, index: usize) -> Option<usize> {
        (index >= self.norm_starts).then_some(self.norm_groups)
    }

    /// The name of the decoder for encoder layer `index`.
    pub(crate) fn decoder(&self, index: usize) -> String {
        format!("decoder.{}", self.depth - 1 - index)
    }

    /// The residual branch of layer `index`.
    pub(crate) fn dconv(&self, index: usize) -> DConvShape {
        let (lstm, attention) = (index >= self.dconv_lstm, index >= self.dconv_attn);
        DConvShape { lstm, attention, ..DConvShape::plain(self.channels_at(index), self.dconv_comp, self.dconv_depth) }
    }
}

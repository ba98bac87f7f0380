//! A model's configuration, read from the arguments of `HTDemucs` (`demucs/htdemucs.py`) in its checkpoint.

use crate::checkpoint::BuildError;
use serde::Deserialize;
use serde_json::{Map, Value};

use crate::architecture::check_sources;
use crate::demucs::arguments::{Known, segment};
use crate::demucs::dconv::DConvShape;
use audio::RATE;

/// The sizes of the layers.
#[derive(Debug, Clone, Deserialize)]
#[serde(default)]
pub(crate) struct HTDemucsConfig {
    /// The stems, in the order of the output.
    pub(crate) sources: Vec<String>,
    /// Channels of the first layer.
    pub(crate) channels: usize,
    /// The factor by which the channels grow from layer to layer.
    pub(crate) growth: usize,
    /// The length of the spectrum's window, in samples.
    pub(crate) nfft: usize,
    /// The number of layers of each encoder and decoder.
    pub(crate) depth: usize,
    pub(crate) freq_emb: f32,
    pub(crate) emb_scale: f32,
    /// 1: residual branches in the encoders; 2: in the decoders; 3: in both.
    pub(crate) dconv_mode: u8,
    pub(crate) dconv_depth: usize,
    /// The ratio of a residual branch's channels to its bottleneck's.
    pub(crate) dconv_comp: f64,
    /// Channels of the transformer; 0 means those of the last encoder layer.
    pub(crate) bottom_channels: usize,
    pub(crate) t_layers: usize,
    pub(crate) t_hidden_scale: f64,
    pub(crate) t_heads: usize,
    pub(crate) t_max_period: f32,
    pub(crate) t_weight_pos_embed: f32,
    pub(crate) t_cross_first: bool,
    /// The segment's length, in frames.
    #[serde(skip)]
    pub(crate) segment: usize,
    #[serde(rename = "segment")]
    seconds: Value,
}

impl Default for HTDemucsConfig {
    /// The defaults of the Python class.
    fn default() -> Self {
        Self {
            sources: Vec::new(),
            channels: 48,
            growth: 2,
            nfft: 4096,
            depth: 4,
            freq_emb: 0.2,
            emb_scale: 10.0,
            dconv_mode: 1,
            dconv_depth: 2,
            dconv_comp: 8.0,
            bottom_channels: 0,
            t_layers: 5,
            t_hidden_scale: 4.0,
            t_heads: 8,
            t_max_period: 10_000.0,
            t_weight_pos_embed: 1.0,
            t_cross_first: false,
            segment: 0,
            seconds: Value::from(10),
        }
    }
}

/// Arguments without effect on a trained model; the last four belong to sparse attention, which is refused.
const WITHOUT_EFFECT: [&str; 23] = [
    "end_iters",
    "wiener_iters",
    "wiener_residual",
    "emb_smooth",
    "multi_freqs_depth",
    "time_stride",
    "norm_groups",
    "dconv_init",
    "t_dropout",
    "t_max_positions",
    "t_weight_decay",
    "t_lr",
    "t_cape_mean_normalize",
    "t_cape_augment",
    "t_cape_glob_loc_scale",
    "rescale",
    "t_sparse_attn_window",
    "t_global_window",
    "use_train_segment",
    "t_mask_type",
    "t_mask_random_seed",
    "t_sparsity",
    "t_auto_sparsity",
];

impl HTDemucsConfig {
    /// Reads the arguments of the checkpoint.
    pub(crate) fn read(arguments: &Map<String, Value>) -> Result<Self, BuildError> {
        let built = [
            ("audio_channels", Value::from(2)),
            ("channels_time", Value::Null),
            ("cac", true.into()),
            ("rewrite", true.into()),
            ("multi_freqs", Value::Null),
            ("kernel_size", 8.into()),
            ("stride", 4.into()),
            ("context", 1.into()),
            ("context_enc", 0.into()),
            ("t_emb", "sin".into()),
            ("t_norm_in", true.into()),
            ("t_norm_in_group", false.into()),
            ("t_group_norm", false.into()),
            ("t_norm_first", true.into()),
            ("t_norm_out", true.into()),
            ("t_layer_scale", true.into()),
            ("t_gelu", true.into()),
            ("t_sin_random_shift", 0.into()),
            ("t_sparse_self_attn", false.into()),
            ("t_sparse_cross_attn", false.into()),
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
            "dconv_mode",
            "dconv_depth",
            "dconv_comp",
            "bottom_channels",
            "t_layers",
            "t_hidden_scale",
            "t_heads",
            "t_max_period",
            "t_weight_pos_embed",
            "t_cross_first",
            "segment",
            "norm_starts",
        ];
        Known { built: &built, read: &read, without_effect: &WITHOUT_EFFECT }.check(arguments)?;
        let mut config: Self = serde_json::from_value(Value::Object(arguments.clone()))
            .map_err(|error| BuildError::Config(error.to_string()))?;
        config.segment = segment(&config.seconds)?;
        config.check(arguments)?;
        Ok(config)
    }

    fn check(&self, arguments: &Map<String, Value>) -> Result<(), BuildError> {
        let refuse = |words: &str| Err(BuildError::Config(words.into()));
        check_sources(&self.sources)?;
        if !(1..=4).contains(&self.depth)
            || !(1..=8).contains(&self.growth)
            || self.channels == 0
            || self.channels > 1024
        {
            return refuse("depth must be 1 to 4, growth 1 to 8, channels 1 to 1024");
        }
        // More than one frequency must be left in the spectrum's branch.
        let narrowest = (self.nfft / 2) >> (2 * (self.depth - 1));
        if !self.nfft.is_power_of_two() || self.nfft > 1 << 16 || narrowest <= 8 {
            return refuse("nfft must be a power of two that leaves more than 8 frequencies to the last layer");
        }
        let norms = arguments.get("norm_starts").map_or(Some(4), Value::as_u64);
        if norms.is_none_or(|norms| norms < self.depth as u64) {
            return Err(BuildError::Unsupported("norms in the encoders (norm_starts below depth)".into()));
        }
        let width = self.width();
        if self.dconv_comp < 1.0 || self.dconv(0).hidden == 0 || self.dconv_depth > 8 {
            return refuse("dconv_comp must be 1 to channels, dconv_depth at most 8");
        }
        if self.t_layers > 64 || self.t_heads == 0 || !width.is_multiple_of(self.t_heads) || !width.is_multiple_of(4) {
            return refuse("the transformer's channels must be a multiple of 4 and of its heads");
        }
        if !(0.0..=64.0).contains(&self.t_hidden_scale) {
            return refuse("t_hidden_scale must be 0 to 64");
        }
        if self.segment < self.nfft {
            return refuse("the segment must not be shorter than a window of nfft samples");
        }
        Ok(())
    }

    /// Channels after encoder layer `index`.
    pub(crate) fn channels_at(&self, index: usize) -> usize {
        self.channels * self.growth.pow(index as u32)
    }

    /// Channels in the transformer.
    pub(crate) fn width(&self) -> usize {
        match self.bottom_channels {
            0 => self.channels_at(self.depth - 1),
            channels => channels,
        }
    }

    /// The residual branch of layer `index`.
    pub(crate) fn dconv(&self, index: usize) -> DConvShape {
        DConvShape::plain(self.channels_at(index), self.dconv_comp, self.dconv_depth)
    }
}

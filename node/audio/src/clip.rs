//! The treatment of stems that exceed full scale, as with Demucs' `--clip-mode`.
//!
//! A stem may be louder than its song where the other stems cancel it. Integer files cannot hold samples beyond full
//! scale; see `prevent_clip` in demucs/audio.py.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::Stereo;

/// The headroom of a rescaled stem, as a factor of its peak.
const ROOM: f32 = 1.01;
/// The largest magnitude of clamped samples.
const CLAMP: f32 = 0.99;

/// The treatment of stems that exceed full scale.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ClipMode {
    /// The whole stem becomes quieter until its peak fits; stems no longer add up to the song.
    Rescale,
    /// Samples beyond ±0.99 become ±0.99.
    Clamp,
    /// Samples stay as they are; formats of integers clamp them at full scale.
    #[default]
    None,
}

impl ClipMode {
    /// Prepares samples of a stem whose largest magnitude is `peak`; only [`ClipMode::Rescale`] needs the peak.
    pub fn apply(self, samples: &mut Stereo, peak: f32) {
        match self {
            Self::Rescale => {
                let divisor = (ROOM * peak).max(1.0);
                if divisor > 1.0 {
                    samples.iter_mut().flatten().for_each(|sample| *sample /= divisor);
                }
            }
            Self::Clamp => samples.iter_mut().flatten().for_each(|sample| *sample = sample.clamp(-CLAMP, CLAMP)),
            Self::None => {}
        }
    }
}

impl fmt::Display for ClipMode {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::Rescale => "rescale",
            Self::Clamp => "clamp",
            Self::None => "none",
        })
    }
}

/// A text is not a clip mode.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("invalid clip mode {0:?}: use rescale, clamp or none")]
pub struct ClipModeError(String);

impl FromStr for ClipMode {
    type Err = ClipModeError;

    fn from_str(text: &str) -> Result<Self, ClipModeError> {
        match text {
            "rescale" => Ok(Self::Rescale),
            "clamp" => Ok(Self::Clamp),
            "none" => Ok(Self::None),
            _ => Err(ClipModeError(text.into())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clip_modes_equal_those_of_demucs() {
        let apply = |mode: ClipMode, samples: [f32; 4], peak: f32| {
            let mut stereo = [samples.to_vec(), samples.to_vec()];
            mode.apply(&mut stereo, peak);
            stereo[0].clone()
        };
        let loud = [2.0, -1.0, 0.995, -0.1];
        assert_eq!(apply(ClipMode::None, loud, 2.0), loud);
        assert_eq!(apply(ClipMode::Clamp, loud, 2.0), [0.99, -0.99, 0.99, -0.1]);
        assert_eq!(apply(ClipMode::Rescale, loud, 2.0), loud.map(|sample| sample / 2.02));
        let quiet = [0.99, -0.5, 0.0, 0.25];
        assert_eq!(apply(ClipMode::Rescale, quiet, 0.99), quiet);
    }

    #[test]
    fn clip_modes_round_trip_as_text() {
        for mode in [ClipMode::Rescale, ClipMode::Clamp, ClipMode::None] {
            assert_eq!(mode.to_string().parse(), Ok(mode));
            assert_eq!(serde_json::to_string(&mode).unwrap(), format!("\"{mode}\""));
        }
        let error = "tanh".parse::<ClipMode>().unwrap_err().to_string();
        assert!(error.contains("use rescale, clamp or none"), "{error}");
    }
}

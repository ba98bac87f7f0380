//! The formats of finished files, and their notation as text.
//!
//! The text is `mp3:KBPS`, `mp3:KBPS:PRESET`, `flac:BITS` or `wav:ENCODING`; configuration files, requests and the
//! cluster's state hold it. A format's name alone means its default. A value's text parses to the same value, and a
//! format without an encoder does not parse.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// The bitrates in kbit/s: those of MPEG-1 layer III, except 56, which LAME's binding does not offer.
pub const BITRATES: [u32; 13] = [32, 40, 48, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320];
/// LAME's presets, from the best and slowest to the fastest, as in Demucs' `--mp3-preset`.
pub const PRESETS: std::ops::RangeInclusive<u8> = 2..=7;
/// The preset of an MP3 whose text names none.
pub const DEFAULT_PRESET: u8 = 2;

/// The encoding of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub enum Format {
    /// MPEG-1 layer III at a constant bitrate.
    Mp3 {
        /// The bitrate in kbit/s, one of [`BITRATES`].
        kbps: u32,
        /// LAME's quality, one of [`PRESETS`].
        preset: u8,
    },
    /// The Free Lossless Audio Codec.
    Flac {
        /// Bits per sample: 16 or 24.
        bits: u8,
    },
    /// RIFF WAVE, and RF64 beyond 4 GB.
    Wav {
        /// The encoding of samples.
        encoding: WavEncoding,
    },
}

/// The encoding of samples in a WAV file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum WavEncoding {
    /// 16-bit integers.
    Int16,
    /// 24-bit integers.
    Int24,
    /// 32-bit floats, which are not clamped at full scale.
    Float32,
}

impl Format {
    /// For listening: 320 kbit/s, at a preset twice as fast as the best.
    pub const LISTENING: Self = Self::Mp3 { kbps: 320, preset: 5 };
    /// For further processing: 16-bit WAV.
    pub const WORKING: Self = Self::Wav { encoding: WavEncoding::Int16 };

    /// The usual extension, without the dot.
    pub fn extension(self) -> &'static str {
        match self {
            Self::Mp3 { .. } => "mp3",
            Self::Flac { .. } => "flac",
            Self::Wav { .. } => "wav",
        }
    }

    /// The media type for HTTP.
    pub fn content_type(self) -> &'static str {
        match self {
            Self::Mp3 { .. } => "audio/mpeg",
            Self::Flac { .. } => "audio/flac",
            Self::Wav { .. } => "audio/wav",
        }
    }

    /// Fails if there is no encoder for its numbers.
    pub fn check(self) -> Result<Self, FormatError> {
        match self {
            Self::Mp3 { kbps, .. } if !BITRATES.contains(&kbps) => Err(FormatError::Bitrate(kbps.to_string())),
            Self::Mp3 { preset, .. } if !PRESETS.contains(&preset) => Err(FormatError::Preset(preset.to_string())),
            Self::Flac { bits } if !matches!(bits, 16 | 24) => Err(FormatError::Bits(bits.to_string())),
            _ => Ok(self),
        }
    }
}

impl fmt::Display for Format {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Mp3 { kbps, preset: DEFAULT_PRESET } => write!(out, "mp3:{kbps}"),
            Self::Mp3 { kbps, preset } => write!(out, "mp3:{kbps}:{preset}"),
            Self::Flac { bits } => write!(out, "flac:{bits}"),
            Self::Wav { encoding: WavEncoding::Int16 } => out.write_str("wav:int16"),
            Self::Wav { encoding: WavEncoding::Int24 } => out.write_str("wav:int24"),
            Self::Wav { encoding: WavEncoding::Float32 } => out.write_str("wav:float32"),
        }
    }
}

impl FromStr for Format {
    type Err = FormatError;

    fn from_str(text: &str) -> Result<Self, FormatError> {
        let mut fields = text.split(':');
        let name = fields.next().unwrap_or_default();
        let fields: Vec<&str> = fields.collect();
        let format = match (name, fields.as_slice()) {
            ("mp3", []) => Self::Mp3 { kbps: 320, preset: DEFAULT_PRESET },
            ("mp3", [kbps]) => Self::Mp3 { kbps: bitrate(kbps)?, preset: DEFAULT_PRESET },
            ("mp3", [kbps, preset]) => Self::Mp3 {
                kbps: bitrate(kbps)?,
                preset: preset.parse().map_err(|_| FormatError::Preset((*preset).into()))?,
            },
            ("flac", []) => Self::Flac { bits: 16 },
            ("flac", [bits]) => Self::Flac { bits: bits.parse().map_err(|_| FormatError::Bits((*bits).into()))? },
            ("wav", [] | ["int16"]) => Self::Wav { encoding: WavEncoding::Int16 },
            ("wav", ["int24"]) => Self::Wav { encoding: WavEncoding::Int24 },
            ("wav", ["float32"]) => Self::Wav { encoding: WavEncoding::Float32 },
            ("wav", [encoding]) => return Err(FormatError::Encoding((*encoding).into())),
            _ => return Err(FormatError::Unknown(text.into())),
        };
        format.check()
    }
}

fn bitrate(text: &str) -> Result<u32, FormatError> {
    text.parse().map_err(|_| FormatError::Bitrate(text.into()))
}

impl From<Format> for String {
    fn from(format: Format) -> Self {
        format.to_string()
    }
}

impl TryFrom<String> for Format {
    type Error = FormatError;

    fn try_from(text: String) -> Result<Self, FormatError> {
        text.parse()
    }
}

/// A text is not a supported format.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FormatError {
    /// The text has another form.
    #[error(
        "invalid format {0:?}: use mp3:KBPS, mp3:KBPS:PRESET, flac:16, flac:24, wav:int16, wav:int24 or \
         wav:float32"
    )]
    Unknown(String),
    /// MPEG-1 layer III does not have this bitrate.
    #[error("invalid MP3 bitrate {0:?}: use one of {possible} kbit/s", possible = list(&BITRATES))]
    Bitrate(String),
    /// The preset is not one of [`PRESETS`].
    #[error(
        "invalid MP3 preset {0:?}: use {best} (the best) to {fastest} (the fastest)",
        best = PRESETS.start(),
        fastest = PRESETS.end()
    )]
    Preset(String),
    /// FLAC files have 16 or 24 bits.
    #[error("invalid number of FLAC bits {0:?}: use 16 or 24")]
    Bits(String),
    /// WAV files have one of three encodings.
    #[error("invalid WAV encoding {0:?}: use int16, int24 or float32")]
    Encoding(String),
}

fn list(numbers: &[u32]) -> String {
    numbers.iter().map(u32::to_string).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn formats_round_trip_as_text() {
        for text in ["mp3:320", "mp3:32:7", "mp3:128:3", "flac:16", "flac:24", "wav:int16", "wav:int24", "wav:float32"]
        {
            let format: Format = text.parse().unwrap();
            assert_eq!(format.to_string(), text);
            assert_eq!(serde_json::to_string(&format).unwrap(), format!("{text:?}"));
            assert_eq!(serde_json::from_str::<Format>(&format!("{text:?}")).unwrap(), format);
        }
        for (name, text) in [("mp3", "mp3:320"), ("mp3:320:2", "mp3:320"), ("flac", "flac:16"), ("wav", "wav:int16")] {
            assert_eq!(name.parse::<Format>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn errors_list_the_valid_values() {
        for (text, wanted) in [
            ("", "use mp3:KBPS"),
            ("ogg:320", "use mp3:KBPS"),
            ("mp3:320:2:1", "use mp3:KBPS"),
            ("flac:16:2", "use mp3:KBPS"),
            ("mp3:56", "use one of 32, 40, 48, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320"),
            ("mp3:", "use one of 32,"),
            ("mp3:-1", "use one of 32,"),
            ("mp3:320:1", "use 2 (the best) to 7 (the fastest)"),
            ("mp3:320:best", "use 2 (the best) to 7 (the fastest)"),
            ("flac:20", "use 16 or 24"),
            ("flac:999", "use 16 or 24"),
            ("wav:int32", "use int16, int24 or float32"),
        ] {
            let error = text.parse::<Format>().unwrap_err().to_string();
            assert!(error.contains(wanted), "{text}: {error}");
            assert!(serde_json::from_str::<Format>(&format!("{text:?}")).is_err());
        }
    }
}

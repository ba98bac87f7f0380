//! Encodes samples to files: MP3 by LAME, FLAC, and WAV.
//!
//! Every encoder is a stream: it holds a few blocks of samples, for songs of any length. A decoded file has exactly the
//! frames that were written. FLAC and WAV have exactly the same samples, after rounding and clamping at full scale.

mod flac;
mod format;
mod id3;
mod info;
mod mp3;
mod wav;

use std::io;
use std::path::Path;

use flac::FlacWriter;
pub use format::{BITRATES, DEFAULT_PRESET, Format, FormatError, PRESETS, WavEncoding};
use mp3::Mp3Writer;
use wav::WavWriter;

use crate::Stereo;
use crate::pcm::Pcm;
use crate::tags::Tags;

/// The number of frames that are read at a time.
const BLOCK: usize = 1 << 15;

/// Samples cannot be encoded.
#[derive(Debug, thiserror::Error)]
pub enum EncodeError {
    /// The disk failed.
    #[error("cannot write the file: {0}")]
    Io(#[from] io::Error),
    /// LAME failed.
    #[error("LAME failed: {0}")]
    Lame(String),
    /// The FLAC encoder failed.
    #[error("the FLAC encoder failed: {0}")]
    Flac(#[source] flac_codec::Error),
    /// There is no encoder for the format.
    #[error(transparent)]
    Format(#[from] FormatError),
    /// A stem of a mix cannot be read.
    #[error("cannot read a stem: {0}")]
    Stem(#[from] crate::decode::DecodeError),
}

/// A file that is being encoded.
pub struct Encoder(Writer);

enum Writer {
    Mp3(Mp3Writer),
    Flac(Box<FlacWriter>),
    Wav(WavWriter),
}

impl Encoder {
    /// Creates a file with its tags.
    pub fn create(path: &Path, format: Format, tags: &Tags) -> Result<Self, EncodeError> {
        Ok(Self(match format.check()? {
            Format::Mp3 { kbps, preset } => Writer::Mp3(Mp3Writer::create(path, kbps, preset, tags)?),
            Format::Flac { bits } => Writer::Flac(Box::new(FlacWriter::create(path, bits, tags)?)),
            Format::Wav { encoding } => Writer::Wav(WavWriter::create(path, encoding, tags)?),
        }))
    }

    /// Appends frames.
    pub fn write(&mut self, samples: &Stereo) -> Result<(), EncodeError> {
        match &mut self.0 {
            Writer::Mp3(writer) => writer.write(samples),
            Writer::Flac(writer) => writer.write(samples),
            Writer::Wav(writer) => writer.write(samples),
        }
    }

    /// Completes the file. Without this call it is invalid.
    pub fn finish(self) -> Result<(), EncodeError> {
        match self.0 {
            Writer::Mp3(writer) => writer.finish(),
            Writer::Flac(writer) => writer.finish(),
            Writer::Wav(writer) => writer.finish(),
        }
    }
}

/// Encodes a decoded song.
pub fn encode(pcm: &Pcm, path: &Path, format: Format, tags: &Tags) -> Result<(), EncodeError> {
    let mut encoder = Encoder::create(path, format, tags)?;
    for at in (0..pcm.frames()).step_by(BLOCK) {
        let length = (pcm.frames() - at).min(BLOCK as u64) as usize;
        encoder.write(&pcm.read(at as i64, length)?)?;
    }
    encoder.finish()
}

/// A float sample as an integer of 16 or 24 bits: rounded, and clamped at full scale. NaN becomes 0.
fn to_integer(sample: f32, bits: u8) -> i32 {
    let scale = f64::from(1u32 << (bits - 1));
    (f64::from(sample) * scale).round().clamp(-scale, scale - 1.0) as i32
}

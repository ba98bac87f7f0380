//! Samples to files: MP3 by LAME, and 16-bit WAV.

use std::fs::File;
use std::io::{self, BufWriter, Seek, SeekFrom, Write};
use std::path::Path;

use mp3lame_encoder::{Bitrate, Builder, DualPcm, Encoder, FlushGap, Quality};

use crate::pcm::Pcm;
use crate::{RATE, Stereo};

/// Frames that are read at a time.
const BLOCK: usize = 1 << 15;
/// The bytes of a WAV header.
const HEADER: u32 = 44;

/// A file cannot be encoded.
#[derive(Debug, thiserror::Error)]
pub enum EncodeError {
    /// The disk failed.
    #[error("a file cannot be written: {0}")]
    Io(#[from] io::Error),
    /// LAME failed.
    #[error("LAME failed: {0}")]
    Lame(String),
    /// The song does not fit a WAV file.
    #[error("the song is too long for a WAV file, which holds at most 4 GB")]
    TooLong,
    /// A stem that should be mixed cannot be read.
    #[error("a stem cannot be read: {0}")]
    Stem(#[from] crate::decode::DecodeError),
}

/// Writes an MP3 at 320 kbit/s, whose tag says how much silence the encoder put at both ends, so that players give
/// back exactly the frames that went in.
pub struct Mp3Writer {
    encoder: Encoder,
    file: BufWriter<File>,
    buffer: Vec<u8>,
}

impl Mp3Writer {
    /// Begins a file.
    pub fn create(path: &Path) -> Result<Self, EncodeError> {
        let lame = |error: &dyn std::fmt::Debug| EncodeError::Lame(format!("{error:?}"));
        let encoder = Builder::new()
            .ok_or_else(|| lame(&"no memory"))?
            .with_num_channels(2)
            .and_then(|builder| builder.with_sample_rate(RATE))
            .and_then(|builder| builder.with_brate(Bitrate::Kbps320))
            .and_then(|builder| builder.with_quality(Quality::Good))
            .and_then(|builder| builder.with_to_write_vbr_tag(true))
            .and_then(Builder::build)
            .map_err(|error| lame(&error))?;
        Ok(Self { encoder, file: BufWriter::new(File::create(path)?), buffer: Vec::new() })
    }

    /// Appends frames.
    pub fn write(&mut self, [left, right]: &Stereo) -> Result<(), EncodeError> {
        self.buffer.clear();
        self.buffer.reserve(mp3lame_encoder::max_required_buffer_size(left.len()));
        self.encoder
            .encode_to_vec(DualPcm { left, right }, &mut self.buffer)
            .map_err(|error| EncodeError::Lame(format!("{error:?}")))?;
        self.file.write_all(&self.buffer)?;
        Ok(())
    }

    /// Ends the file.
    pub fn finish(mut self) -> Result<(), EncodeError> {
        self.buffer.clear();
        self.buffer.reserve(mp3lame_encoder::max_required_buffer_size(0).max(7200));
        self.encoder
            .flush_to_vec::<FlushGap>(&mut self.buffer)
            .map_err(|error| EncodeError::Lame(format!("{error:?}")))?;
        self.file.write_all(&self.buffer)?;
        // LAME left room for its tag in the first frame and knows only now what to say there.
        let mut tag = Vec::with_capacity(self.encoder.lame_tag_size());
        if self.encoder.lame_tag_encode_to_vec(&mut tag).is_some() {
            self.file.seek(SeekFrom::Start(self.encoder.id3v2_tag_size() as u64))?;
            self.file.write_all(&tag)?;
        }
        self.file.flush()?;
        Ok(())
    }
}

/// Writes a 16-bit WAV. Samples beyond full scale are clamped.
pub struct WavWriter {
    file: BufWriter<File>,
    frames: u32,
}

impl WavWriter {
    /// Begins a file.
    pub fn create(path: &Path) -> Result<Self, EncodeError> {
        let mut file = BufWriter::new(File::create(path)?);
        file.write_all(&[0; HEADER as usize])?;
        Ok(Self { file, frames: 0 })
    }

    /// Appends frames.
    pub fn write(&mut self, [left, right]: &Stereo) -> Result<(), EncodeError> {
        let frames = u32::try_from(left.len()).ok().and_then(|more| self.frames.checked_add(more));
        self.frames = frames.filter(|frames| *frames < (u32::MAX - HEADER) / 4).ok_or(EncodeError::TooLong)?;
        for (left, right) in left.iter().zip(right) {
            self.file.write_all(&to_16_bit(*left).to_le_bytes())?;
            self.file.write_all(&to_16_bit(*right).to_le_bytes())?;
        }
        Ok(())
    }

    /// Ends the file.
    pub fn finish(mut self) -> Result<(), EncodeError> {
        let bytes = 4 * self.frames;
        self.file.seek(SeekFrom::Start(0))?;
        self.file.write_all(b"RIFF")?;
        self.file.write_all(&(bytes + HEADER - 8).to_le_bytes())?;
        self.file.write_all(b"WAVEfmt ")?;
        self.file.write_all(&16u32.to_le_bytes())?;
        // Integers, two channels, bytes a second, bytes a frame, bits a sample.
        self.file.write_all(&1u16.to_le_bytes())?;
        self.file.write_all(&2u16.to_le_bytes())?;
        self.file.write_all(&RATE.to_le_bytes())?;
        self.file.write_all(&(4 * RATE).to_le_bytes())?;
        self.file.write_all(&4u16.to_le_bytes())?;
        self.file.write_all(&16u16.to_le_bytes())?;
        self.file.write_all(b"data")?;
        self.file.write_all(&bytes.to_le_bytes())?;
        self.file.flush()?;
        Ok(())
    }
}

/// A float sample as a 16-bit one.
fn to_16_bit(sample: f32) -> i16 {
    (sample * 32_768.0).round().clamp(-32_768.0, 32_767.0) as i16
}

/// A decoded song in blocks.
fn blocks(pcm: &Pcm) -> impl Iterator<Item = io::Result<Stereo>> + '_ {
    (0..pcm.frames()).step_by(BLOCK).map(|at| {
        let length = (pcm.frames() - at).min(BLOCK as u64) as usize;
        pcm.read(at as i64, length)
    })
}

/// Encodes a decoded song as MP3.
pub fn mp3_of(pcm: &Pcm, path: &Path) -> Result<(), EncodeError> {
    let mut writer = Mp3Writer::create(path)?;
    blocks(pcm).try_for_each(|block| writer.write(&block?))?;
    writer.finish()
}

/// Encodes a decoded song as 16-bit WAV.
pub fn wav_of(pcm: &Pcm, path: &Path) -> Result<(), EncodeError> {
    let mut writer = WavWriter::create(path)?;
    blocks(pcm).try_for_each(|block| writer.write(&block?))?;
    writer.finish()
}

//! MP3 by LAME, at a constant bitrate.
//!
//! The file's first MPEG frame is LAME's info tag. It holds the length of the silence that the encoder added at both
//! ends, so that players can remove it. It also holds the position of each hundredth of the song, for seeking. The ID3
//! tag is before it. LAME omits its tag if the bitrate's frames are too small for it; then [`crate::encode::info`]
//! makes one.

use std::fs::File;
use std::io::{BufWriter, Seek, SeekFrom, Write};
use std::num::NonZeroU32;
use std::path::Path;

use mp3lame_encoder::{Bitrate, BuildError, Builder, DualPcm, Encoder, FlushGap, Quality};

use super::{EncodeError, id3, info};
use crate::tags::Tags;
use crate::{RATE, Stereo};

/// The lowest bitrate whose frames have space for LAME's info tag, in kbit/s.
const LEAST_WITH_TAG: u32 = 64;
/// The largest size of the last frames, in bytes (lame.h, `lame_encode_flush`).
const FLUSH: usize = 7200;
/// The largest sample for LAME, 40 dB above full scale. MP3 has no coefficients for much larger samples, and LAME
/// aborts the process for them (quantize.c, `MAX_BITS_PER_CHANNEL`).
const LOUDEST: f32 = 100.0;

pub(super) struct Mp3Writer {
    encoder: Encoder,
    file: BufWriter<File>,
    buffer: Vec<u8>,
    /// The offset of the info tag.
    info_at: u64,
    kbps: u32,
    frames: u64,
}

impl Mp3Writer {
    pub(super) fn create(path: &Path, kbps: u32, preset: u8, tags: &Tags) -> Result<Self, EncodeError> {
        let has_tag = kbps >= LEAST_WITH_TAG;
        let encoder = Builder::new()
            .ok_or_else(|| EncodeError::Lame("no memory".into()))?
            .with_num_channels(2)
            .and_then(|builder| builder.with_sample_rate(RATE))
            .and_then(|builder| builder.with_output_sample_rate(NonZeroU32::new(RATE)))
            .and_then(|builder| builder.with_brate(bitrate(kbps)?))
            .and_then(|builder| builder.with_quality(quality(preset)?))
            .and_then(|builder| builder.with_to_write_vbr_tag(has_tag))
            .and_then(Builder::build)
            .map_err(|error| EncodeError::Lame(format!("{error:?}")))?;
        let mut file = BufWriter::new(File::create(path)?);
        let tag = id3::tag(tags);
        file.write_all(&tag)?;
        if !has_tag {
            file.write_all(&[0; info::SIZE])?;
        }
        Ok(Self { encoder, file, buffer: Vec::new(), info_at: tag.len() as u64, kbps, frames: 0 })
    }

    pub(super) fn write(&mut self, samples: &Stereo) -> Result<(), EncodeError> {
        // NaN is in no range.
        if !samples.iter().flatten().all(|sample| (-LOUDEST..=LOUDEST).contains(sample)) {
            return self.encode(&samples.each_ref().map(|channel| channel.iter().copied().map(tame).collect()));
        }
        self.encode(samples)
    }

    fn encode(&mut self, [left, right]: &Stereo) -> Result<(), EncodeError> {
        self.buffer.clear();
        self.buffer.reserve(mp3lame_encoder::max_required_buffer_size(left.len()));
        self.encoder
            .encode_to_vec(DualPcm { left, right }, &mut self.buffer)
            .map_err(|error| EncodeError::Lame(format!("{error:?}")))?;
        self.file.write_all(&self.buffer)?;
        self.frames += left.len() as u64;
        Ok(())
    }

    pub(super) fn finish(mut self) -> Result<(), EncodeError> {
        self.buffer.clear();
        self.buffer.reserve(FLUSH);
        self.encoder
            .flush_to_vec::<FlushGap>(&mut self.buffer)
            .map_err(|error| EncodeError::Lame(format!("{error:?}")))?;
        self.file.write_all(&self.buffer)?;
        let bytes = self.file.stream_position()? - self.info_at;
        // The tag's content is known only now; its space was reserved.
        let mut tag = Vec::with_capacity(self.encoder.lame_tag_size());
        if self.kbps < LEAST_WITH_TAG {
            tag = info::tag(self.kbps, self.frames, bytes);
        } else if self.encoder.lame_tag_encode_to_vec(&mut tag).is_none() {
            return Err(EncodeError::Lame("it returned no info tag".into()));
        }
        self.file.seek(SeekFrom::Start(self.info_at))?;
        self.file.write_all(&tag)?;
        self.file.flush()?;
        Ok(())
    }
}

fn tame(sample: f32) -> f32 {
    if sample.is_nan() { 0.0 } else { sample.clamp(-LOUDEST, LOUDEST) }
}

fn bitrate(kbps: u32) -> Result<Bitrate, BuildError> {
    Ok(match kbps {
        32 => Bitrate::Kbps32,
        40 => Bitrate::Kbps40,
        48 => Bitrate::Kbps48,
        64 => Bitrate::Kbps64,
        80 => Bitrate::Kbps80,
        96 => Bitrate::Kbps96,
        112 => Bitrate::Kbps112,
        128 => Bitrate::Kbps128,
        160 => Bitrate::Kbps160,
        192 => Bitrate::Kbps192,
        224 => Bitrate::Kbps224,
        256 => Bitrate::Kbps256,
        320 => Bitrate::Kbps320,
        _ => return Err(BuildError::BadBRate),
    })
}

fn quality(preset: u8) -> Result<Quality, BuildError> {
    Ok(match preset {
        2 => Quality::NearBest,
        3 => Quality::VeryNice,
        4 => Quality::Nice,
        5 => Quality::Good,
        6 => Quality::Decent,
        7 => Quality::Ok,
        _ => return Err(BuildError::Generic),
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    /// Noise and impulses, from a linear congruential generator.
    fn noise(frames: usize, loudness: f32) -> Stereo {
        let mut state = 1u32;
        let mut next = || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            let sample = if state >> 31 == 0 { loudness } else { -loudness };
            if state & 0x3000_0000 == 0 { 0.0 } else { sample }
        };
        [0, 1].map(|_| (0..frames).map(|_| next()).collect())
    }

    #[test]
    fn loud_samples_do_not_abort_lame() {
        let folder = tempfile::tempdir().unwrap();
        for kbps in [32, 128, 320] {
            for loudness in [1.0, 99.0, 1e4, 1e10, f32::MAX, f32::INFINITY, f32::NAN] {
                let path = folder.path().join(format!("{kbps}-{loudness}.mp3"));
                let mut writer = Mp3Writer::create(&path, kbps, 2, &Tags::default()).unwrap();
                writer.write(&noise(44_100, loudness)).unwrap();
                writer.finish().unwrap();
                assert!(path.metadata().unwrap().len() > u64::from(kbps) * 100);
            }
        }
    }
}

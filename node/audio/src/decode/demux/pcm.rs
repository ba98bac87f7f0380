//! Contiguous samples or blocks of fixed size: WAV, AIFF, QuickTime.

use std::collections::VecDeque;
use std::ops::Range;

use symphonia::core::audio::{Channels, Position};
use symphonia::core::codecs::audio::AudioCodecId;
use symphonia::core::codecs::audio::AudioCodecParameters;

use super::window::Window;
use super::{DecodeError, Demuxer, Event, Packet, Track};
use crate::decode::signal::check_signal;

/// The smallest number of frames in a packet.
const PER_PACKET: u64 = 4096;
/// The layout of samples in a file.
#[derive(Debug, Clone)]
pub(super) struct Shape {
    pub codec: AudioCodecId,
    pub rate: u32,
    pub channels: usize,
    /// The positions of the channels in ascending order, if the file states them.
    pub positions: Option<Position>,
    /// The size of a block in bytes: of a frame, if the codec has no blocks.
    pub block: u64,
    /// The number of frames in a block.
    pub frames_per_block: u64,
    /// The bits of an encoded sample.
    pub bits: u32,
}

impl Shape {
    /// Uncompressed samples of whole bytes.
    pub(super) fn linear(codec: AudioCodecId, rate: u32, channels: usize, bytes: u64) -> Self {
        Self {
            codec,
            rate,
            channels,
            positions: None,
            block: bytes * channels as u64,
            frames_per_block: 1,
            bits: 8 * bytes as u32,
        }
    }

    /// The number of frames in this number of bytes.
    pub(super) fn frames(&self, bytes: u64) -> u64 {
        bytes / self.block.max(1) * self.frames_per_block
    }

    fn check(&self) -> Result<(), DecodeError> {
        if self.block == 0 || self.frames_per_block == 0 {
            return Err(DecodeError::Unsupported(format!(
                "{} channels in blocks of {} bytes",
                self.channels, self.block
            )));
        }
        check_signal(self.rate, self.channels)
    }

    /// The codec that decodes them.
    pub(super) fn parameters(&self) -> Result<AudioCodecParameters, DecodeError> {
        self.check()?;
        let mut parameters = AudioCodecParameters::new();
        let positions = self.positions.filter(|positions| positions.bits().count_ones() as usize == self.channels);
        let channels = match positions {
            Some(positions) => Channels::Positioned(positions),
            None => Channels::Discrete(self.channels as u16),
        };
        let blocks = PER_PACKET.div_ceil(self.frames_per_block);
        parameters
            .for_codec(self.codec)
            .with_sample_rate(self.rate)
            .with_channels(channels)
            .with_bits_per_sample(self.bits)
            .with_bits_per_coded_sample(self.bits)
            .with_max_frames_per_packet(blocks * self.frames_per_block)
            .with_frames_per_block(self.frames_per_block);
        Ok(parameters)
    }
}

/// Ranges of a file with samples of one layout.
pub(super) struct Samples {
    window: Window,
    shape: Shape,
    ranges: VecDeque<Range<u64>>,
    track: Option<Box<Track>>,
    /// The bytes of a block that spans two ranges.
    rest: Vec<u8>,
}

impl Samples {
    /// The samples in these ranges of bytes. `keep` are the frames that are kept, `promised` is their required number.
    pub(super) fn new(
        window: Window,
        shape: Shape,
        ranges: impl IntoIterator<Item = Range<u64>>,
        promised: Option<u64>,
        keep: Vec<Range<u64>>,
    ) -> Result<Self, DecodeError> {
        let track = Track { promised, keep, lossless: true, ..Track::whole(shape.parameters()?) };
        Ok(Self { window, shape, ranges: ranges.into_iter().collect(), track: Some(Box::new(track)), rest: Vec::new() })
    }
}

impl Demuxer for Samples {
    fn next(&mut self) -> Result<Option<Event>, DecodeError> {
        if let Some(track) = self.track.take() {
            return Ok(Some(Event::Track(track)));
        }
        let block = self.shape.block;
        let blocks = PER_PACKET.div_ceil(self.shape.frames_per_block);
        while let Some(range) = self.ranges.front_mut() {
            let wanted = (block * blocks).saturating_sub(self.rest.len() as u64);
            let length = wanted.min(range.end.saturating_sub(range.start));
            let bytes = self.window.get(range.start, usize::try_from(length).unwrap_or(usize::MAX))?;
            let found = bytes.len() as u64;
            self.rest.extend_from_slice(bytes);
            range.start += found;
            if found == 0 || range.start >= range.end {
                self.ranges.pop_front();
            }
            let whole = self.rest.len() as u64 / block;
            if whole == 0 || (whole < blocks && !self.ranges.is_empty()) {
                continue;
            }
            let tail = self.rest.split_off((whole * block) as usize);
            let data = std::mem::replace(&mut self.rest, tail);
            let frames = Some(whole * self.shape.frames_per_block);
            return Ok(Some(Event::Packet(Packet { frames, ..Packet::new(data) })));
        }
        Ok(None)
    }
}

//! AAC: chooses between two decoders.
//!
//! Symphonia decodes AAC-LC with one and two channels in floating point. Of HE-AAC it decodes the core only, the lower
//! half of the band, and it does not decode more channels. Fraunhofer's decoder decodes these, to 16 bits. The choice
//! often depends on the packets, because SBR need not be signalled anywhere else.

use std::collections::VecDeque;

use fdk_aac::dec::{Decoder, DecoderError, Transport};
use symphonia::core::audio::{Channels, Position};
use symphonia::core::codecs::audio::AudioCodecParameters;

use super::{Codec, DecodeError, Layout, Packet, PacketError, Signal, SymphoniaCodec, adts};

/// The size of a buffer for one frame: eight channels of 2048 frames, twice as many with SBR.
const ROOM: usize = 8 * 4096;
/// The delay of SBR in frames (ISO/IEC 14496-3, 4.6.18: 481 frames of the core).
const SBR_DELAY: usize = 962;
/// The audio object type of AAC-LC.
const LOW_COMPLEXITY: u8 = 2;

/// Creates the decoder for a track that begins with these packets.
pub(super) fn open(parameters: &AudioCodecParameters, head: &VecDeque<Packet>) -> Result<Box<dyn Codec>, DecodeError> {
    let mut parameters = parameters.clone();
    let stripped = parameters.extra_data.as_deref() == Some(&adts::MARK[..]);
    if stripped {
        let Some(first) = head.front().and_then(|packet| adts::AdtsHeader::read(&packet.data)) else {
            return Err(DecodeError::Silent);
        };
        parameters.extra_data = Some(first.config().into());
        let position =
            if first.channels == 1 { Position::FRONT_CENTER } else { Position::FRONT_LEFT | Position::FRONT_RIGHT };
        parameters.with_channels(Channels::Positioned(position));
        if first.blocks > 1 || first.channels == 0 {
            return Ok(Box::new(Fraunhofer::new(None, false, head)?));
        }
    }
    let config = parameters.extra_data.clone().unwrap_or_default();
    let (object, channels) = config_of(&config);
    // Fraunhofer's decoder detects the stream's extensions.
    let whole = Fraunhofer::new(Some(&config), stripped, head);
    if object != LOW_COMPLEXITY || !matches!(channels, 1 | 2) {
        return Ok(Box::new(whole?));
    }
    match whole {
        Ok(whole) if whole.is_extended => Ok(Box::new(whole)),
        _ => Ok(Box::new(Core { codec: SymphoniaCodec::new(&parameters)?, stripped })),
    }
}

/// The object type and channels of an AudioSpecificConfig (ISO/IEC 14496-3, 1.6.2.1); zeros if it is too short.
fn config_of(config: &[u8]) -> (u8, u8) {
    let [first, second, ..] = *config else { return (0, 0) };
    // An explicit rate shifts the channels by 24 bits.
    let channels = match (first & 7) << 1 | second >> 7 {
        15 => config.get(4).map_or(0, |fifth| fifth >> 3 & 15),
        _ => second >> 3 & 15,
    };
    (first >> 3, channels)
}

/// AAC-LC in floating point.
struct Core {
    codec: SymphoniaCodec,
    /// Whether packets have ADTS headers.
    stripped: bool,
}

impl Codec for Core {
    fn decode(&mut self, packet: &Packet, samples: &mut Vec<f32>) -> Result<Signal, PacketError> {
        if !self.stripped {
            return self.codec.decode(packet, samples);
        }
        self.codec.decode(&Packet { frames: packet.frames, ..Packet::new(stripped(packet)?) }, samples)
    }
}

/// All other AAC, in 16 bits.
struct Fraunhofer {
    decoder: Decoder,
    /// Whether packets have ADTS headers, which must be removed for the decoder.
    stripped: bool,
    pcm: Vec<i16>,
    /// The frames of the decoder's delay that are still to be dropped; `None` before the first packet.
    delay: Option<usize>,
    /// The whole delay; this many frames are still in the decoder at the end.
    owed: usize,
    last: Vec<u8>,
    /// Whether the stream has SBR or parametric stereo.
    is_extended: bool,
}

impl Fraunhofer {
    /// Creates a decoder for packets described by this AudioSpecificConfig, with ADTS headers if they are `stripped`;
    /// or, without a configuration, for ADTS frames, which describe themselves. The packets at the start of the track
    /// determine whether there is SBR.
    fn new(config: Option<&[u8]>, stripped: bool, head: &VecDeque<Packet>) -> Result<Self, DecodeError> {
        let mut trial = Self::begin(config, stripped)?;
        let mut samples = Vec::new();
        let mut is_extended = false;
        for packet in head {
            if trial.decode(packet, &mut samples).is_ok() {
                let info = trial.decoder.stream_info();
                is_extended |= info.sampleRate != info.aacSampleRate || info.numChannels > info.aacNumChannels;
            }
        }
        Ok(Self { is_extended, ..Self::begin(config, stripped)? })
    }

    fn begin(config: Option<&[u8]>, stripped: bool) -> Result<Self, DecodeError> {
        let mut decoder = Decoder::new(if config.is_some() { Transport::Raw } else { Transport::Adts });
        if let Some(config) = config {
            decoder.config_raw(config).map_err(|_| DecodeError::Unsupported("this kind of AAC".into()))?;
        }
        let last = Vec::new();
        Ok(Self { decoder, stripped, pcm: vec![0; ROOM], delay: None, owed: 0, last, is_extended: false })
    }

    fn decode_bytes(&mut self, samples: &mut Vec<f32>) -> Result<Signal, PacketError> {
        let damaged = |error: DecoderError| PacketError::Damaged(error.message().trim_end_matches('.').into());
        self.decoder.fill(&self.last).map_err(damaged)?;
        self.decoder.decode_frame(&mut self.pcm).map_err(damaged)?;
        let info = self.decoder.stream_info();
        let (channels, rate) = (usize::try_from(info.numChannels).unwrap_or(0), info.sampleRate as u32);
        let layout = layout(channels).ok_or_else(|| PacketError::Unsupported(format!("AAC of {channels} channels")))?;
        let decoded = &self.pcm[..self.decoder.decoded_frame_size().min(self.pcm.len())];
        if self.delay.is_none() {
            // Other decoders do not remove the delay of SBR, and encoders rely on that.
            let left = if info.sampleRate == info.aacSampleRate { 0 } else { SBR_DELAY };
            self.owed = (info.outputDelay as usize).saturating_sub(left);
        }
        let mut delay = self.delay.unwrap_or(self.owed);
        let dropped = delay.min(decoded.len() / channels.max(1));
        delay -= dropped;
        self.delay = Some(delay);
        samples.clear();
        samples.extend(decoded[dropped * channels..].iter().map(|sample| f32::from(*sample) / 32_768.0));
        Ok(Signal { rate, layout })
    }
}

impl Codec for Fraunhofer {
    fn decode(&mut self, packet: &Packet, samples: &mut Vec<f32>) -> Result<Signal, PacketError> {
        let data = match self.stripped {
            true => stripped(packet)?,
            false => &packet.data,
        };
        self.last.clear();
        self.last.extend_from_slice(data);
        self.decode_bytes(samples)
    }

    fn finish(&mut self, samples: &mut Vec<f32>) {
        // Decoding the last packet again drains the decoder.
        let mut block = Vec::new();
        samples.clear();
        let mut owed = self.owed;
        while owed > 0 && self.delay.is_some() {
            let Ok(signal) = self.decode_bytes(&mut block) else { break };
            let frames = (block.len() / signal.layout.count()).min(owed);
            if frames == 0 {
                break;
            }
            samples.extend_from_slice(&block[..frames * signal.layout.count()]);
            owed -= frames;
        }
    }
}

/// A packet without its ADTS header.
fn stripped(packet: &Packet) -> Result<&[u8], PacketError> {
    let header = adts::AdtsHeader::read(&packet.data);
    let data = header.and_then(|header| packet.data.get(header.header..));
    data.ok_or_else(|| PacketError::Damaged("a frame is too short".into()))
}

/// The positions of channels in WAV's order, which Fraunhofer's decoder uses.
fn layout(channels: usize) -> Option<Layout> {
    use Position as P;
    match channels {
        4 => Some(Layout::of(&[P::FRONT_LEFT, P::FRONT_RIGHT, P::FRONT_CENTER, P::REAR_CENTER])),
        channels => Layout::usual(channels),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn object_type_and_channels_are_parsed() {
        assert_eq!(config_of(&[0x12, 0x10]), (2, 2));
        assert_eq!(config_of(&[0x2b, 0x92, 0x08, 0x00]), (5, 2));
        // AAC-LC, an explicit rate, six channels.
        assert_eq!(config_of(&[0x17, 0x80, 0x56, 0x22, 0x30]), (2, 6));
        assert_eq!(config_of(&[]), (0, 0));
    }
}

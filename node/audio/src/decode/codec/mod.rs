//! Codecs: decode packets to interleaved samples.

mod aac;
pub(super) mod adts;
pub(super) mod opus;
mod vorbis;

use std::collections::VecDeque;

use symphonia::core::codecs::audio::well_known::{
    CODEC_ID_AAC, CODEC_ID_OPUS, CODEC_ID_PCM_ALAW, CODEC_ID_PCM_MULAW, CODEC_ID_VORBIS,
};
use symphonia::core::codecs::audio::{AudioCodecParameters, AudioDecoder, AudioDecoderOptions};
use symphonia::core::errors::Error;
use symphonia::core::packet::PacketRef;
use symphonia::core::units::{Duration, Timestamp};

use super::demux::{Packet, plain};
use super::downmix::Layout;
use super::error::DecodeError;
use super::signal::check_signal;

/// The format of decoded samples.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Signal {
    /// The sample rate in Hz.
    pub rate: u32,
    pub layout: Layout,
}

/// A packet cannot be decoded.
#[derive(Debug)]
pub(super) enum PacketError {
    /// This packet is damaged; the next one may be intact.
    Damaged(String),
    /// The whole track cannot be decoded.
    Unsupported(String),
}

/// Decodes the packets of one track in order.
pub(super) trait Codec {
    /// Replaces `samples` with the packet's, interleaved, and returns their signal.
    fn decode(&mut self, packet: &Packet, samples: &mut Vec<f32>) -> Result<Signal, PacketError>;

    /// Replaces `samples` with the frames of the last signal that remain in a decoder with a delay.
    fn finish(&mut self, samples: &mut Vec<f32>) {
        samples.clear();
    }
}

/// The number of packets that are inspected before an AAC decoder is chosen.
pub(super) const LOOKAHEAD: usize = 64;

/// Whether the choice of a codec depends on the track's first packets.
pub(super) fn looks_ahead(parameters: &AudioCodecParameters) -> bool {
    parameters.codec == CODEC_ID_AAC
}

/// Creates the codec for a track that begins with these packets.
pub(super) fn open(parameters: &AudioCodecParameters, head: &VecDeque<Packet>) -> Result<Box<dyn Codec>, DecodeError> {
    // A rate without an index is written as 0, and the codec determines it.
    let rate = parameters.sample_rate.filter(|rate| *rate > 0);
    if let (Some(rate), Some(channels)) = (rate, &parameters.channels) {
        check_signal(rate, channels.count())?;
    }
    match parameters.codec {
        CODEC_ID_AAC => aac::open(parameters, head),
        CODEC_ID_OPUS => Ok(Box::new(opus::Opus::new(parameters)?)),
        CODEC_ID_VORBIS => vorbis::open(parameters),
        CODEC_ID_PCM_ALAW | CODEC_ID_PCM_MULAW => {
            // Companded samples have 16 bits.
            let mut parameters = parameters.clone();
            parameters.with_bits_per_sample(16).with_bits_per_coded_sample(16);
            Ok(Box::new(SymphoniaCodec::new(&parameters)?))
        }
        _ => Ok(Box::new(SymphoniaCodec::new(parameters)?)),
    }
}

/// A codec of Symphonia.
struct SymphoniaCodec(Box<dyn AudioDecoder>);

impl SymphoniaCodec {
    fn new(parameters: &AudioCodecParameters) -> Result<Self, DecodeError> {
        // The caller trims.
        let options = AudioDecoderOptions::default().gapless(false);
        let decoder = symphonia::default::get_codecs().make_audio_decoder(parameters, &options);
        let decoder = decoder.map_err(|error| {
            DecodeError::Unsupported(match error {
                Error::Unsupported(reason) | Error::DecodeError(reason) => plain(reason),
                _ => "its codec is not supported".into(),
            })
        })?;
        Ok(Self(decoder))
    }
}

impl Codec for SymphoniaCodec {
    fn decode(&mut self, packet: &Packet, samples: &mut Vec<f32>) -> Result<Signal, PacketError> {
        let frames = Duration::from(packet.frames.unwrap_or(0));
        let packet = PacketRef::new(0, Timestamp::new(0), frames, &packet.data);
        let buffer = self.0.decode_ref(&packet).map_err(|error| match error {
            Error::Unsupported(reason) => PacketError::Unsupported(plain(reason)),
            Error::DecodeError(reason) | Error::LimitError(reason) => PacketError::Damaged(plain(reason)),
            _ => PacketError::Damaged("a packet is too short".into()),
        })?;
        samples.resize(buffer.samples_interleaved(), 0.0);
        buffer.copy_to_slice_interleaved(samples.as_mut_slice());
        let spec = buffer.spec();
        let count = spec.channels().count();
        let layout = Layout::of_channels(spec.channels())
            .ok_or_else(|| PacketError::Unsupported(format!("{count} channels without positions")))?;
        Ok(Signal { rate: spec.rate(), layout })
    }
}

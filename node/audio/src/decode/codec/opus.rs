//! Opus, by libopus (RFC 6716, RFC 7845).

use ::opus::MSDecoder;
use symphonia::core::codecs::audio::AudioCodecParameters;

use super::{Codec, DecodeError, Layout, Packet, PacketError, Signal};

/// The rate at which Opus is decoded, in Hz.
pub(in crate::decode) const RATE: u32 = 48_000;
/// The longest packet, in frames: 120 ms.
const MOST_FRAMES: usize = 5760;

/// The identification header (RFC 7845, section 5.1; in MP4 the same in big-endian order, with version 0).
#[derive(Debug, PartialEq, Eq)]
struct OpusHead {
    channels: u8,
    pre_skip: u16,
    /// The output gain, in 1/256 dB.
    gain: i16,
    family: u8,
    streams: u8,
    coupled: u8,
    mapping: Vec<u8>,
}

impl OpusHead {
    fn read(bytes: &[u8]) -> Option<Self> {
        let [version, channels, a, b, _, _, _, _, c, d, family, table @ ..] = bytes.strip_prefix(b"OpusHead")? else {
            return None;
        };
        let (pre_skip, gain) = match version {
            0 => (u16::from_be_bytes([*a, *b]), i16::from_be_bytes([*c, *d])),
            _ => (u16::from_le_bytes([*a, *b]), i16::from_le_bytes([*c, *d])),
        };
        let (streams, coupled, mapping) = match (family, table) {
            (0, _) if matches!(channels, 1 | 2) => (1, channels - 1, (0..*channels).collect()),
            (1 | 255, [streams, coupled, mapping @ ..]) => {
                (*streams, *coupled, mapping.get(..usize::from(*channels))?.to_vec())
            }
            _ => return None,
        };
        Some(Self { channels: *channels, pre_skip, gain, family: *family, streams, coupled, mapping })
    }

    /// The positions of the channels, in Vorbis' order (RFC 7845, section 5.1.1.2).
    fn layout(&self) -> Option<Layout> {
        match self.family {
            255 => Layout::usual(usize::from(self.channels)),
            _ => Layout::of_vorbis(usize::from(self.channels)),
        }
    }
}

/// The frames at 48 kHz before the song, from the track's identification header.
pub(in crate::decode) fn pre_skip(header: &[u8]) -> Option<u64> {
    OpusHead::read(header).map(|head| u64::from(head.pre_skip))
}

pub(super) struct Opus {
    decoder: MSDecoder,
    signal: Signal,
    gain: f32,
    channels: usize,
}

impl Opus {
    pub(super) fn new(parameters: &AudioCodecParameters) -> Result<Self, DecodeError> {
        let unsupported = |reason: &str| DecodeError::Unsupported(reason.into());
        let head = parameters.extra_data.as_deref().and_then(OpusHead::read);
        let head = head.ok_or_else(|| unsupported("Opus with an unknown header"))?;
        let layout = head.layout().ok_or_else(|| unsupported("Opus with channels of unknown positions"))?;
        let decoder = MSDecoder::new(RATE, head.streams, head.coupled, &head.mapping)
            .map_err(|error| unsupported(&format!("Opus: {}", error.description())))?;
        let gain = 10f32.powf(f32::from(head.gain) / 256.0 / 20.0);
        let channels = layout.count();
        Ok(Self { decoder, signal: Signal { rate: RATE, layout }, gain, channels })
    }
}

impl Codec for Opus {
    fn decode(&mut self, packet: &Packet, samples: &mut Vec<f32>) -> Result<Signal, PacketError> {
        samples.resize(MOST_FRAMES * self.channels, 0.0);
        let decoded = self.decoder.decode_float(&packet.data, samples, false);
        let frames = decoded.map_err(|error| PacketError::Damaged(error.description().into()))?;
        samples.truncate(frames * self.channels);
        if self.gain != 1.0 {
            samples.iter_mut().for_each(|sample| *sample *= self.gain);
        }
        Ok(self.signal.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_are_parsed_in_both_byte_orders() {
        let ogg = b"OpusHead\x01\x02\x38\x01\x80\xbb\0\0\0\xff\0";
        let head = OpusHead::read(ogg).unwrap();
        assert_eq!((head.channels, head.pre_skip, head.gain), (2, 312, -256));
        assert_eq!((head.streams, head.coupled, head.mapping), (1, 1, vec![0, 1]));
        let mp4 = b"OpusHead\0\x01\x01\x38\0\0\xbb\x80\xff\0\0";
        let head = OpusHead::read(mp4).unwrap();
        assert_eq!((head.channels, head.pre_skip, head.gain, head.coupled), (1, 312, -256, 0));
        let six = b"OpusHead\x01\x06\x38\x01\x80\xbb\0\0\0\0\x01\x04\x02\0\x04\x01\x02\x03\x05";
        assert_eq!(OpusHead::read(six).unwrap().mapping, [0, 4, 1, 2, 3, 5]);
        assert_eq!(OpusHead::read(&six[..24]), None);
        assert_eq!(OpusHead::read(b"OpusHead\x01\x03\0\0\0\0\0\0\0\0\0"), None);
    }
}

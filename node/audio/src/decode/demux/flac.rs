//! Native FLAC (RFC 9639), by flac-codec.
//!
//! Of the metadata only STREAMINFO is needed to decode, and a comment that gives the positions of channels. The decoder
//! gets that block alone, with impossible block sizes mended, and then the frames, so that a damaged picture or tag
//! cannot hide the sound. Every frame has a checksum: one that is missing or damaged makes the file damaged.

use std::fs::File;
use std::io::{self, BufReader, Cursor, Read};

use flac_codec::Error;
use flac_codec::decode::FlacSampleReader;
use symphonia::core::audio::Position;
use symphonia::core::codecs::audio::well_known::CODEC_ID_PCM_S32LE;

use super::pcm::Shape;
use super::window::Window;
use super::{DecodeError, Demuxer, Event, Packet, Track, trailer};
use crate::source::Source;

/// Metadata blocks that are looked at.
const MOST_BLOCKS: usize = 1024;
/// How far the search for the first frame behind damaged metadata goes, in bytes.
const SEARCH: u64 = 32 << 20;
/// The length of STREAMINFO in bytes (RFC 9639, section 8.2).
const STREAM_INFO: usize = 34;
/// Frames of sound that make a packet.
const PER_PACKET: usize = 4096;
/// The comment that gives positions as a mask of WAV's (RFC 9639, section 8.6.2).
const CHANNEL_MASK: &[u8] = b"WAVEFORMATEXTENSIBLE_CHANNEL_MASK=";
/// The longest block of comments that is searched for it, in bytes.
const MOST_COMMENTS: u64 = 1 << 20;

/// A FLAC stream.
pub(super) struct Flac {
    reader: FlacSampleReader<BufReader<io::Chain<Cursor<Vec<u8>>, Source>>>,
    track: Option<Box<Track>>,
    channels: usize,
    /// By how many bits samples are raised to fill 32.
    shift: u32,
    /// Frames of sound that are left, if STREAMINFO gives their number.
    left: Option<u64>,
    samples: Vec<i32>,
}

impl Flac {
    pub(super) fn open(file: &File, mut window: Window, begin: u64) -> Result<Self, DecodeError> {
        let damaged = |reason: &str| DecodeError::Header { format: "FLAC".into(), reason: reason.into() };
        let (info, mask) = metadata(&mut window, begin)?;
        let Some(info) = info else { return Err(damaged("it does not describe its samples")) };
        let Some(frames) = first_frame(&mut window, begin)? else {
            return Err(match info.total {
                Some(_) => damaged("there are no samples in it"),
                None => DecodeError::Silent,
            });
        };
        let end = window.end();
        let end = trailer::cut(&mut window, frames, end)?;
        let mut head = b"fLaC".to_vec();
        // The last metadata block, of the type STREAMINFO.
        head.extend([0x80, 0, 0, STREAM_INFO as u8]);
        head.extend(info.mended());
        let stream = Cursor::new(head).chain(Source::range(file, frames, end)?);
        let reader =
            FlacSampleReader::new(BufReader::with_capacity(1 << 16, stream)).map_err(|error| failed(&error))?;
        let mut shape = Shape::linear(CODEC_ID_PCM_S32LE, info.rate, info.channels, 4);
        shape.positions = mask.and_then(Position::from_wave_channel_mask);
        let mut track = Track { lossless: true, promised: info.total, ..Track::whole(shape.parameters()?) };
        track.codec.with_max_frames_per_packet(PER_PACKET as u64);
        Ok(Self {
            reader,
            track: Some(Box::new(track)),
            channels: info.channels,
            shift: 32 - info.bits,
            left: info.total,
            samples: vec![0; PER_PACKET * info.channels],
        })
    }
}

impl Demuxer for Flac {
    fn next(&mut self) -> Result<Option<Event>, DecodeError> {
        if let Some(track) = self.track.take() {
            return Ok(Some(Event::Track(track)));
        }
        // What follows the last frame is no sound.
        if self.left == Some(0) {
            return Ok(None);
        }
        let mut frames = match self.reader.read(&mut self.samples) {
            Ok(samples) => samples / self.channels,
            // The end of the last frame is missing; the promised length tells.
            Err(Error::Io(error)) if error.kind() == io::ErrorKind::UnexpectedEof => 0,
            Err(error) => return Err(failed(&error)),
        };
        if let Some(left) = &mut self.left {
            frames = frames.min(usize::try_from(*left).unwrap_or(usize::MAX));
            *left -= frames as u64;
        }
        if frames == 0 {
            return Ok(None);
        }
        let samples = &self.samples[..frames * self.channels];
        let data: Vec<u8> = samples.iter().flat_map(|sample| (sample << self.shift).to_le_bytes()).collect();
        Ok(Some(Event::Packet(Packet { frames: Some(frames as u64), ..Packet::new(data) })))
    }
}

/// What a failure of the decoder means.
fn failed(error: &Error) -> DecodeError {
    let reason = match error {
        Error::Io(error) => return DecodeError::Io(io::Error::new(error.kind(), error.to_string())),
        Error::Crc8Mismatch | Error::Crc16Mismatch => "a checksum does not match",
        Error::InvalidSyncCode => "a part is missing",
        _ => "a part of it cannot be decoded",
    };
    DecodeError::Damaged { seconds: 0.0, reason: reason.into() }
}

/// STREAMINFO (RFC 9639, section 8.2).
struct Info {
    bytes: [u8; STREAM_INFO],
    rate: u32,
    channels: usize,
    bits: u32,
    /// The frames of sound, if they are known.
    total: Option<u64>,
}

impl Info {
    fn of(bytes: [u8; STREAM_INFO]) -> Self {
        let packed = bytes[10..18].iter().fold(0u64, |packed, byte| packed << 8 | u64::from(*byte));
        Self {
            bytes,
            rate: (packed >> 44) as u32,
            channels: (packed >> 41 & 7) as usize + 1,
            bits: (packed >> 36 & 31) as u32 + 1,
            total: Some(packed & 0xf_ffff_ffff).filter(|total| *total > 0),
        }
    }

    /// The block with every block size allowed and no length, which is checked here.
    fn mended(&self) -> [u8; STREAM_INFO] {
        let mut bytes = self.bytes;
        bytes[..4].copy_from_slice(&[0, 16, 0xff, 0xff]);
        bytes[4..10].fill(0);
        bytes[13] &= 0xf0;
        bytes[14..18].fill(0);
        bytes
    }
}

/// STREAMINFO, and the positions of channels as a mask of WAV's.
fn metadata(window: &mut Window, begin: u64) -> io::Result<(Option<Info>, Option<u32>)> {
    let (mut at, mut info, mut mask) = (begin + 4, None, None);
    for _ in 0..MOST_BLOCKS {
        let Some([kind, a, b, c]) = window.array::<4>(at)? else { break };
        let length = u64::from(u32::from_be_bytes([0, a, b, c]));
        match kind & 0x7f {
            0 if info.is_none() && length >= STREAM_INFO as u64 => {
                info = window.array::<STREAM_INFO>(at + 4)?.map(Info::of);
            }
            4 if length <= MOST_COMMENTS => mask = channel_mask(window.get(at + 4, length as usize)?),
            _ => {}
        }
        at += 4 + length;
        if kind & 0x80 != 0 {
            break;
        }
    }
    Ok((info, mask))
}

fn channel_mask(comments: &[u8]) -> Option<u32> {
    let length = CHANNEL_MASK.len();
    let at = comments.windows(length).position(|name| name.eq_ignore_ascii_case(CHANNEL_MASK))?;
    let value = comments.get(at + length..)?;
    let digits = value.strip_prefix(b"0x").or_else(|| value.strip_prefix(b"0X"))?;
    let digits = digits.iter().take_while(|digit| digit.is_ascii_hexdigit()).take(8).copied().collect::<Vec<u8>>();
    u32::from_str_radix(std::str::from_utf8(&digits).ok()?, 16).ok()
}

/// Where the first frame begins: behind the metadata, or where it is found if the lengths of blocks are wrong.
fn first_frame(window: &mut Window, begin: u64) -> io::Result<Option<u64>> {
    let mut at = begin + 4;
    for _ in 0..MOST_BLOCKS {
        let Some([kind, a, b, c]) = window.array::<4>(at)? else { break };
        at += 4 + u64::from(u32::from_be_bytes([0, a, b, c]));
        if kind & 0x80 != 0 {
            if is_frame(window, at)? {
                return Ok(Some(at));
            }
            break;
        }
    }
    let mut at = begin + 8 + STREAM_INFO as u64;
    let limit = window.end().min(at.saturating_add(SEARCH));
    while at < limit {
        let bytes = window.get(at, 1 << 14)?;
        let length = bytes.len();
        let pairs = bytes.windows(2).enumerate();
        let candidates: Vec<usize> =
            pairs.filter(|(_, pair)| pair[0] == 0xff && pair[1] & 0xfe == 0xf8).map(|(at, _)| at).collect();
        for candidate in candidates {
            if is_frame(window, at + candidate as u64)? {
                return Ok(Some(at + candidate as u64));
            }
        }
        if length < 2 {
            break;
        }
        at += (length - 1) as u64;
    }
    // Perhaps there is no frame at all: a stream of no samples.
    Ok(None)
}

/// Whether a frame header with a right checksum stands there (RFC 9639, section 9.1).
fn is_frame(window: &mut Window, at: u64) -> io::Result<bool> {
    let mut header = [0; 16];
    let found = window.peek(at, &mut header)?;
    let header = &header[..found];
    let [0xff, 0xf8 | 0xf9, sizes, channels, number, ..] = *header else { return Ok(false) };
    if sizes >> 4 == 0 || sizes & 15 == 15 || channels >> 4 > 10 || channels & 1 == 1 {
        return Ok(false);
    }
    let coded = match number.leading_ones() {
        0 => 1,
        ones @ 2..=7 => ones as usize,
        _ => return Ok(false),
    };
    let block = match sizes >> 4 {
        6 => 1,
        7 => 2,
        _ => 0,
    };
    let rate = match sizes & 15 {
        12 => 1,
        13 | 14 => 2,
        _ => 0,
    };
    let length = 4 + coded + block + rate;
    let Some(checksum) = header.get(length) else { return Ok(false) };
    let computed = header[..length].iter().fold(0u8, |checksum, byte| {
        (0..8).fold(checksum ^ byte, |sum, _| if sum & 0x80 != 0 { sum << 1 ^ 0x07 } else { sum << 1 })
    });
    Ok(computed == *checksum)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mask_is_found_among_comments() {
        assert_eq!(channel_mask(b"\x05\0\0\0A=BC\x27\0\0\0waveformatextensible_channel_mask=0x10F\x02\0"), Some(0x10f));
        assert_eq!(channel_mask(b"WAVEFORMATEXTENSIBLE_CHANNEL_MASK=12"), None);
        assert_eq!(channel_mask(b"WAVEFORMATEXTENSIBLE_CHANNEL_MASK=0x"), None);
        assert_eq!(channel_mask(b""), None);
    }

    #[test]
    fn stream_info_is_read() {
        let mut bytes = [0; STREAM_INFO];
        let packed: u64 = 44_100 << 44 | 1 << 41 | 23 << 36 | 123_456;
        bytes[10..18].copy_from_slice(&packed.to_be_bytes());
        let info = Info::of(bytes);
        assert_eq!((info.rate, info.channels, info.bits, info.total), (44_100, 2, 24, Some(123_456)));
        let mended = Info::of(info.mended());
        assert_eq!((mended.rate, mended.channels, mended.bits, mended.total), (44_100, 2, 24, None));
    }
}

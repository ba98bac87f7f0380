//! Native FLAC (RFC 9639).
//!
//! Decoding needs STREAMINFO only, and a comment with the positions of channels. A reader gets that block alone and
//! then the frames, so a damaged picture or tag does not affect the sound.
//!
//! Symphonia reads and decodes a stream quickly, but it finds the end of a frame by the beginning of the next one and
//! does not support 32 bits. Where it does not find the next frame, flac-codec continues: it decodes a frame to find
//! its end, and reports what is wrong. Every frame has a checksum: a missing or damaged frame makes the file damaged.

use std::fs::File;
use std::io::{self, BufReader, Chain, Cursor, Read};

use flac_codec::Error;
use flac_codec::decode::FlacSampleReader;
use symphonia::core::audio::Position;
use symphonia::core::codecs::audio::well_known::CODEC_ID_PCM_S32LE;
use symphonia::core::formats::{FormatOptions, FormatReader};
use symphonia::core::io::{MediaSourceStream, ReadOnlySource};
use symphonia::default::formats::FlacReader;

use super::pcm::Shape;
use super::window::Window;
use super::{DecodeError, Demuxer, Event, Packet, Track, trailer};
use crate::source::Source;

/// The largest number of metadata blocks that are read.
const MOST_BLOCKS: usize = 1024;
/// The range of the search for the first frame after damaged metadata, in bytes.
const SEARCH: u64 = 32 << 20;
/// The length of STREAMINFO in bytes (RFC 9639, section 8.2).
const STREAM_INFO: usize = 34;
/// The smallest block size of a stream, in frames (RFC 9639, section 8.2).
const LEAST_BLOCK: u16 = 16;
/// The largest sample size that Symphonia decodes, in bits.
const MOST_BITS: u32 = 24;
/// The number of frames of sound in a packet.
const PER_PACKET: usize = 4096;
/// The comment that holds the positions of channels as a WAV mask (RFC 9639, section 8.6.2).
const CHANNEL_MASK: &[u8] = b"WAVEFORMATEXTENSIBLE_CHANNEL_MASK=";
/// The largest block of comments that is searched for it, in bytes.
const MOST_COMMENTS: u64 = 1 << 20;

/// A FLAC stream.
pub(super) struct Flac {
    stream: FlacStream,
    reader: Reader,
    track: Option<Box<Track>>,
    /// The number of frames of sound that were returned.
    given: u64,
}

/// The reader of the frames.
enum Reader {
    Quick(Box<FlacReader<'static>>),
    Thorough(Box<Thorough>),
}

impl Flac {
    pub(super) fn open(file: &File, mut window: Window, begin: u64) -> Result<Self, DecodeError> {
        let damaged = |reason: &str| DecodeError::Header { format: "FLAC".into(), reason: reason.into() };
        let (info, mask) = metadata(&mut window, begin)?;
        let Some(info) = info else { return Err(damaged("it has no description of its samples")) };
        let Some(frames) = first_frame(&mut window, begin)? else {
            return Err(match info.total {
                Some(_) => damaged("it has no samples"),
                None => DecodeError::Silent,
            });
        };
        let end = window.end();
        let end = trailer::cut(&mut window, frames, end)?;
        let stream = FlacStream { file: file.try_clone()?, frames, end, info, mask };
        let (reader, track) = match stream.quick()? {
            Some((reader, track)) => (Reader::Quick(Box::new(reader)), track),
            None => {
                let (reader, track) = Thorough::open(&stream)?;
                (Reader::Thorough(Box::new(reader)), track)
            }
        };
        Ok(Self { stream, reader, track: Some(Box::new(track)), given: 0 })
    }
}

impl Demuxer for Flac {
    fn next(&mut self) -> Result<Option<Event>, DecodeError> {
        if let Some(track) = self.track.take() {
            return Ok(Some(Event::Track(track)));
        }
        let info = &self.stream.info;
        // Bytes after the last frame are not sound.
        let left = info.total.map_or(u64::MAX, |total| total.saturating_sub(self.given));
        if left == 0 {
            return Ok(None);
        }
        let packet = match &mut self.reader {
            Reader::Quick(reader) => match reader.next_packet() {
                Ok(Some(found)) if u64::try_from(found.pts.get()) == Ok(self.given) && found.dur.get() > 0 => {
                    let frames = found.dur.get();
                    Packet { frames: Some(frames), trim_end: frames.saturating_sub(left), ..Packet::new(found.data) }
                }
                _ => {
                    let (mut reader, track) = Thorough::open(&self.stream)?;
                    reader.skip(self.given)?;
                    self.reader = Reader::Thorough(Box::new(reader));
                    return Ok(Some(Event::Track(Box::new(track))));
                }
            },
            Reader::Thorough(reader) => match reader.packet(left)? {
                Some(packet) => packet,
                None => {
                    let seconds = |frames: u64| frames as f64 / f64::from(info.rate.max(1));
                    return match info.total {
                        Some(total) => {
                            Err(DecodeError::Truncated { found: seconds(self.given), promised: seconds(total) })
                        }
                        None => Ok(None),
                    };
                }
            },
        };
        self.given += packet.frames.unwrap_or(0);
        Ok(Some(Event::Packet(packet)))
    }
}

/// The position of the frames, and the content of STREAMINFO.
struct FlacStream {
    file: File,
    frames: u64,
    end: u64,
    info: StreamInfo,
    /// The positions of channels as a WAV mask.
    mask: Option<u32>,
}

impl FlacStream {
    /// The bytes of a stream with this STREAMINFO as its only metadata.
    fn bytes(&self, info: [u8; STREAM_INFO]) -> io::Result<Chain<Cursor<Vec<u8>>, Source>> {
        let mut head = b"fLaC".to_vec();
        // The last metadata block, of the type STREAMINFO.
        head.extend([0x80, 0, 0, STREAM_INFO as u8]);
        head.extend(info);
        Ok(Cursor::new(head).chain(Source::range(&self.file, self.frames, self.end)?))
    }

    /// Symphonia's reader, if it supports this stream.
    fn quick(&self) -> io::Result<Option<(FlacReader<'static>, Track)>> {
        let [a, b, c, d, ..] = self.info.bytes;
        let (least, most) = (u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d]));
        let blocks = least >= LEAST_BLOCK && most >= least;
        // Without a total length, a missing last frame could not be detected.
        if !blocks || self.info.bits > MOST_BITS || self.info.total.is_none() || self.mask.is_some() {
            return Ok(None);
        }
        let source = ReadOnlySource::new(self.bytes(self.info.bytes)?);
        let stream = MediaSourceStream::new(Box::new(source), Default::default());
        let Ok(reader) = FlacReader::try_new(stream, FormatOptions::default()) else { return Ok(None) };
        let codec = reader.tracks().first().and_then(|track| track.codec_params.as_ref()?.audio().cloned());
        Ok(codec.map(|codec| (reader, Track { lossless: true, ..Track::whole(codec) })))
    }
}

/// Decodes frame by frame with flac-codec.
struct Thorough {
    reader: FlacSampleReader<BufReader<Chain<Cursor<Vec<u8>>, Source>>>,
    channels: usize,
    /// The number of bits by which samples are shifted to fill 32.
    shift: u32,
    samples: Vec<i32>,
}

impl Thorough {
    fn open(stream: &FlacStream) -> Result<(Self, Track), DecodeError> {
        let info = &stream.info;
        let bytes = BufReader::with_capacity(1 << 16, stream.bytes(info.corrected())?);
        let reader = FlacSampleReader::new(bytes).map_err(|error| failed(&error))?;
        let mut shape = Shape::linear(CODEC_ID_PCM_S32LE, info.rate, info.channels, 4);
        shape.positions = stream.mask.and_then(Position::from_wave_channel_mask);
        let mut track = Track { lossless: true, ..Track::whole(shape.parameters()?) };
        track.codec.with_max_frames_per_packet(PER_PACKET as u64);
        let samples = vec![0; PER_PACKET * info.channels];
        Ok((Self { reader, channels: info.channels, shift: 32 - info.bits, samples }, track))
    }

    /// Decodes up to `most` frames of sound into the buffer and returns their number; 0 at the end.
    fn read(&mut self, most: u64) -> Result<usize, DecodeError> {
        let most = usize::try_from(most).unwrap_or(PER_PACKET).min(PER_PACKET);
        match self.reader.read(&mut self.samples[..most * self.channels]) {
            Ok(samples) => Ok(samples / self.channels),
            // The end of the last frame is missing.
            Err(Error::Io(error)) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(0),
            Err(error) => Err(failed(&error)),
        }
    }

    /// Skips this number of frames of sound.
    fn skip(&mut self, mut frames: u64) -> Result<(), DecodeError> {
        while frames > 0 {
            match self.read(frames)? as u64 {
                0 => break,
                read => frames -= read,
            }
        }
        Ok(())
    }

    fn packet(&mut self, most: u64) -> Result<Option<Packet>, DecodeError> {
        let frames = self.read(most)?;
        let samples = &self.samples[..frames * self.channels];
        let data: Vec<u8> = samples.iter().flat_map(|sample| (sample << self.shift).to_le_bytes()).collect();
        Ok((frames > 0).then(|| Packet { frames: Some(frames as u64), ..Packet::new(data) }))
    }
}

/// The error for a failure of the decoder.
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
struct StreamInfo {
    bytes: [u8; STREAM_INFO],
    rate: u32,
    channels: usize,
    bits: u32,
    /// The total number of frames of sound, if it is known.
    total: Option<u64>,
}

impl StreamInfo {
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

    /// The block with all block sizes allowed and no length; both are checked here.
    fn corrected(&self) -> [u8; STREAM_INFO] {
        let mut bytes = self.bytes;
        bytes[..4].copy_from_slice(&[0, 16, 0xff, 0xff]);
        bytes[4..10].fill(0);
        bytes[13] &= 0xf0;
        bytes[14..18].fill(0);
        bytes
    }
}

/// STREAMINFO, and the positions of channels as a WAV mask.
fn metadata(window: &mut Window, begin: u64) -> io::Result<(Option<StreamInfo>, Option<u32>)> {
    let (mut at, mut info, mut mask) = (begin + 4, None, None);
    for _ in 0..MOST_BLOCKS {
        let Some([kind, a, b, c]) = window.array::<4>(at)? else { break };
        let length = u64::from(u32::from_be_bytes([0, a, b, c]));
        match kind & 0x7f {
            0 if info.is_none() && length >= STREAM_INFO as u64 => {
                info = window.array::<STREAM_INFO>(at + 4)?.map(StreamInfo::of);
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

/// The position of the first frame: after the metadata, or found by a search if the lengths of blocks are wrong.
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
    // The stream may have no frame at all.
    Ok(None)
}

/// Whether a frame header with a valid checksum is at this position (RFC 9639, section 9.1).
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
    fn the_mask_of_channels_is_parsed() {
        assert_eq!(channel_mask(b"\x05\0\0\0A=BC\x27\0\0\0waveformatextensible_channel_mask=0x10F\x02\0"), Some(0x10f));
        assert_eq!(channel_mask(b"WAVEFORMATEXTENSIBLE_CHANNEL_MASK=12"), None);
        assert_eq!(channel_mask(b"WAVEFORMATEXTENSIBLE_CHANNEL_MASK=0x"), None);
        assert_eq!(channel_mask(b""), None);
    }

    #[test]
    fn stream_info_is_parsed() {
        let mut bytes = [0; STREAM_INFO];
        let packed: u64 = 44_100 << 44 | 1 << 41 | 23 << 36 | 123_456;
        bytes[10..18].copy_from_slice(&packed.to_be_bytes());
        let info = StreamInfo::of(bytes);
        assert_eq!((info.rate, info.channels, info.bits, info.total), (44_100, 2, 24, Some(123_456)));
        let corrected = StreamInfo::of(info.corrected());
        assert_eq!((corrected.rate, corrected.channels, corrected.bits, corrected.total), (44_100, 2, 24, None));
    }
}

//! WAV and its extensions: RIFF, RIFX, RF64, BW64 (EBU Tech 3306, ITU-R BS.2088) and Sony's Wave64.
//!
//! Headers with a placeholder for the length are accepted: the sound then extends to the end of the file. A length that
//! is neither a placeholder nor within the file means that the file is cut off.

use symphonia::core::audio::Position;
use symphonia::core::codecs::audio::well_known::{
    CODEC_ID_ADPCM_IMA_WAV, CODEC_ID_ADPCM_MS, CODEC_ID_PCM_ALAW, CODEC_ID_PCM_F32BE, CODEC_ID_PCM_F32LE,
    CODEC_ID_PCM_F64BE, CODEC_ID_PCM_F64LE, CODEC_ID_PCM_MULAW, CODEC_ID_PCM_S16BE, CODEC_ID_PCM_S16LE,
    CODEC_ID_PCM_S24BE, CODEC_ID_PCM_S24LE, CODEC_ID_PCM_S32BE, CODEC_ID_PCM_S32LE, CODEC_ID_PCM_U8,
};

use super::mpeg::Mpeg;
use super::pcm::{Samples, Shape};
use super::window::Window;
use super::{Container, DecodeError, only};

/// The first bytes of a Wave64 file: a GUID that begins with "riff".
macro_rules! W64_START {
    () => {
        [b'r', b'i', b'f', b'f', 0x2e, 0x91, 0xcf, 0x11, 0xa5, 0xd6, 0x28, 0xdb, 0x04, 0xc1, 0x00, 0x00]
    };
}
pub(super) use W64_START;

/// The largest number of chunks that are read.
const MOST_CHUNKS: usize = 4096;
/// Lengths from here on mean "unknown" if the file is shorter: sox writes 0x7ffff000 to a pipe, arecord 0x80000000,
/// other programs 0xffffffff.
const PLACEHOLDER: u64 = 0x7f00_0000;
/// The range of the search for samples after a damaged chunk, in bytes.
const SEARCH: usize = 1 << 20;

/// The content of the format chunk.
#[derive(Debug, Clone, Copy)]
struct WaveFormat {
    tag: u16,
    channels: u16,
    rate: u32,
    align: u16,
    bits: u16,
    /// The number of frames in an ADPCM block, if the chunk states it.
    per_block: Option<u16>,
    mask: Option<u32>,
}

/// The byte order of numbers and the layout of chunks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Little,
    Big,
    Wave64,
}

impl Kind {
    fn word(self, bytes: [u8; 4]) -> u32 {
        if self == Self::Big { u32::from_be_bytes(bytes) } else { u32::from_le_bytes(bytes) }
    }

    fn half(self, bytes: [u8; 2]) -> u16 {
        if self == Self::Big { u16::from_be_bytes(bytes) } else { u16::from_le_bytes(bytes) }
    }
}

/// A chunk: its name, and the position and length of its content.
struct Chunk {
    name: [u8; 4],
    at: u64,
    length: u64,
}

pub(super) fn open(mut window: Window, begin: u64) -> Result<Container, DecodeError> {
    let start = window.array::<4>(begin)?.unwrap_or_default();
    let (kind, header) = match &start {
        b"RIFX" => (Kind::Big, 12),
        b"riff" => (Kind::Wave64, 40),
        _ => (Kind::Little, 12),
    };
    let (mut at, mut format, mut long) = (begin + header, None, None);
    for _ in 0..MOST_CHUNKS {
        let Some(chunk) = chunk_at(&mut window, at, kind)? else { break };
        match &chunk.name {
            b"ds64" => {
                // The length of the file, then that of the samples.
                long =
                    window.array::<16>(chunk.at)?.and_then(|sizes| sizes.last_chunk().copied()).map(u64::from_le_bytes);
            }
            b"fmt " => format = Some(read_format(&mut window, &chunk, kind)?),
            b"data" => {
                let Some(format) = format else {
                    return Err(damaged("the samples come before their description"));
                };
                let (end, promised) = samples_end(&mut window, &chunk, long)?;
                return samples(window, &format, kind, chunk.at, end, promised);
            }
            _ => {}
        }
        at = match next(&mut window, &chunk, kind)? {
            Some(next) => next,
            // A chunk before the samples has a damaged length; the samples are searched.
            None => match find_data(&mut window, chunk.at)? {
                Some(data) => data,
                None => break,
            },
        };
    }
    Err(match format {
        Some(_) => damaged("it has no samples"),
        None => damaged("it has no description of its samples"),
    })
}

fn damaged(reason: &str) -> DecodeError {
    DecodeError::Header { format: "WAV".into(), reason: reason.into() }
}

fn chunk_at(window: &mut Window, at: u64, kind: Kind) -> std::io::Result<Option<Chunk>> {
    if kind == Kind::Wave64 {
        let Some(header) = window.array::<24>(at)? else { return Ok(None) };
        let [a, b, c, d, ..] = header;
        let length = header.last_chunk().copied().map_or(0, u64::from_le_bytes);
        return Ok(Some(Chunk { name: [a, b, c, d], at: at + 24, length: length.saturating_sub(24) }));
    }
    let Some([a, b, c, d, e, f, g, h]) = window.array::<8>(at)? else { return Ok(None) };
    Ok(Some(Chunk { name: [a, b, c, d], at: at + 8, length: u64::from(kind.word([e, f, g, h])) }))
}

/// The position of the next chunk, if it is within the file.
fn next(window: &mut Window, chunk: &Chunk, kind: Kind) -> std::io::Result<Option<u64>> {
    let end = chunk.at.saturating_add(chunk.length);
    if end > window.end() {
        return Ok(None);
    }
    let padded = match kind {
        Kind::Wave64 => end.next_multiple_of(8),
        _ => end + end % 2,
    };
    // Some programs do not pad chunks of odd length.
    if padded != end && !is_known(window, padded)? && is_known(window, end)? {
        return Ok(Some(end));
    }
    Ok(Some(padded))
}

/// Whether a chunk with a known name begins at this position.
fn is_known(window: &mut Window, at: u64) -> std::io::Result<bool> {
    const NAMES: [&[u8; 4]; 13] = [
        b"data", b"fmt ", b"fact", b"LIST", b"id3 ", b"ID3 ", b"bext", b"iXML", b"cue ", b"smpl", b"PEAK", b"JUNK",
        b"junk",
    ];
    Ok(window.array::<4>(at)?.is_some_and(|name| NAMES.contains(&&name)))
}

fn find_data(window: &mut Window, from: u64) -> std::io::Result<Option<u64>> {
    let bytes = window.get(from, SEARCH)?;
    Ok(bytes.windows(4).position(|name| name == b"data").map(|at| from + at as u64))
}

/// The end of the samples, and their length in bytes if it is reliable.
fn samples_end(window: &mut Window, chunk: &Chunk, long: Option<u64>) -> Result<(u64, Option<u64>), DecodeError> {
    let there = window.end() - chunk.at.min(window.end());
    let length = match long {
        Some(long) if chunk.length == u64::from(u32::MAX) => long,
        _ => chunk.length,
    };
    if length == 0 {
        // A recorder that lost power writes no length; a file without samples may have chunks after them.
        let empty = there == 0
            || [Some(*b"LIST"), Some(*b"id3 "), Some(*b"ID3 "), Some(*b"bext")].contains(&window.array(chunk.at)?);
        return Ok((if empty { chunk.at } else { window.end() }, None));
    }
    if length <= there {
        return Ok((chunk.at + length, Some(length)));
    }
    Ok((window.end(), (length < PLACEHOLDER).then_some(length)))
}

fn read_format(window: &mut Window, chunk: &Chunk, kind: Kind) -> Result<WaveFormat, DecodeError> {
    let mut bytes = [0; 40];
    let wanted = usize::try_from(chunk.length).unwrap_or(bytes.len()).min(bytes.len());
    let found = window.peek(chunk.at, &mut bytes[..wanted])?;
    if found < 14 {
        return Err(damaged("the description of its samples is too short"));
    }
    let half = |at: usize| kind.half([bytes[at], bytes[at + 1]]);
    let word = |at: usize| kind.word([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]);
    let mut format = WaveFormat {
        tag: half(0),
        channels: half(2),
        rate: word(4),
        align: half(12),
        bits: half(14),
        per_block: None,
        mask: None,
    };
    match format.tag {
        // WAVE_FORMAT_EXTENSIBLE: the format is the beginning of a GUID. The valid bits before it are often wrong.
        0xfffe if found >= 26 => {
            format.mask = Some(word(20));
            format.tag = half(24);
        }
        0x02 | 0x11 if found >= 20 => format.per_block = Some(half(18)),
        _ => {}
    }
    Ok(format)
}

fn samples(
    window: Window,
    format: &WaveFormat,
    kind: Kind,
    begin: u64,
    end: u64,
    promised: Option<u64>,
) -> Result<Container, DecodeError> {
    if matches!(format.tag, 0x50 | 0x55) {
        return match Mpeg::find(window, begin, end)? {
            Some(mpeg) => Ok(Container::new("wav", mpeg)),
            None => Err(damaged("its header says MP3, but it holds none")),
        };
    }
    let channels = usize::from(format.channels);
    if channels == 0 {
        return Err(damaged("it has no channels"));
    }
    // The size of a sample is that of its container; 12 bits take two bytes, 20 bits three.
    let bytes = match u64::from(format.align) / channels as u64 {
        0 => u64::from(format.bits).div_ceil(8),
        bytes => bytes,
    };
    let big = kind == Kind::Big;
    let codec = match (format.tag, bytes) {
        (1, 1) => CODEC_ID_PCM_U8,
        (1, 2) => {
            if big {
                CODEC_ID_PCM_S16BE
            } else {
                CODEC_ID_PCM_S16LE
            }
        }
        (1, 3) => {
            if big {
                CODEC_ID_PCM_S24BE
            } else {
                CODEC_ID_PCM_S24LE
            }
        }
        (1, 4) => {
            if big {
                CODEC_ID_PCM_S32BE
            } else {
                CODEC_ID_PCM_S32LE
            }
        }
        (3, 4) => {
            if big {
                CODEC_ID_PCM_F32BE
            } else {
                CODEC_ID_PCM_F32LE
            }
        }
        (3, 8) => {
            if big {
                CODEC_ID_PCM_F64BE
            } else {
                CODEC_ID_PCM_F64LE
            }
        }
        (6, 1) => CODEC_ID_PCM_ALAW,
        (7, 1) => CODEC_ID_PCM_MULAW,
        (2, _) => CODEC_ID_ADPCM_MS,
        (0x11, _) => CODEC_ID_ADPCM_IMA_WAV,
        (1 | 3, bytes) => return Err(DecodeError::Unsupported(format!("WAV with samples of {bytes} bytes"))),
        (tag, _) => return Err(DecodeError::Unsupported(format!("WAV with the codec {tag:#06x}"))),
    };
    let mut shape = Shape::linear(codec, format.rate, channels, bytes);
    if matches!(format.tag, 2 | 0x11) {
        (shape.block, shape.bits) = (u64::from(format.align), 4);
        // A block begins with a header per channel, which holds two frames or one.
        let (header, held) = if format.tag == 2 { (7, 2) } else { (4, 1) };
        let bits =
            (shape.block.checked_sub(header * channels as u64).ok_or_else(|| damaged("its blocks are too short"))?) * 8;
        shape.frames_per_block = bits / (4 * channels as u64) + held;
        if format.bits != 4 {
            return Err(DecodeError::Unsupported(format!("ADPCM of {} bits", format.bits)));
        }
        if format.per_block.is_some_and(|frames| u64::from(frames) > shape.frames_per_block) {
            return Err(damaged("its blocks are shorter than its header says"));
        }
    }
    shape.positions = format.mask.filter(|mask| *mask != 0).and_then(Position::from_wave_channel_mask);
    let promised = promised.map(|bytes| shape.frames(bytes));
    let samples = Samples::new(window, shape, only(begin..end), promised, only(0..u64::MAX))?;
    Ok(Container::new("wav", samples))
}

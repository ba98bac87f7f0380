//! The layout and the position of uncompressed samples.

use std::io;
use std::ops::Range;

use symphonia::core::codecs::audio::AudioCodecId;
use symphonia::core::codecs::audio::well_known as known;

use super::boxes::{Mp4Box, descend, long, word};
use crate::decode::DecodeError;
use crate::decode::demux::pcm::Shape;
use crate::decode::demux::window::Window;

/// The largest number of entries of a table. A chunk holds about a second.
const MOST_ENTRIES: u32 = 1 << 20;

/// The shape of uncompressed samples; `None` for other codecs.
pub(super) fn read_shape(window: &mut Window, entry: &Mp4Box) -> io::Result<Option<Shape>> {
    let at = entry.content.start;
    let mut head = [0; 64];
    if window.peek(at, &mut head)? < 28 {
        return Ok(None);
    }
    let half = |at: usize| u16::from_be_bytes([head[at], head[at + 1]]);
    let word = |at: usize| u32::from_be_bytes([head[at], head[at + 1], head[at + 2], head[at + 3]]);
    let version = half(8);
    let (mut channels, mut bits, mut rate) = (u32::from(half(16)), u32::from(half(18)), word(24) >> 16);
    let (mut flags, mut children) = (None, at + 28);
    match version {
        1 => {
            children = at + 44;
            // In the first version, the bytes of a sample override its bits.
            bits = match word(40) {
                bytes @ 1..=8 if word(28) == 1 => 8 * bytes,
                _ => bits,
            };
        }
        2 => {
            children = at + 64;
            rate = f64::from_bits(u64::from(word(32)) << 32 | u64::from(word(36))) as u32;
            (channels, bits, flags) = (word(40), word(48), Some(word(52)));
        }
        _ => {}
    }
    let inner = children..entry.content.end;
    let little = match descend(window, inner.clone(), &[*b"wave", *b"enda"])? {
        Some(enda) => window.array(enda.start)? == Some([0, 1]),
        None => match descend(window, inner.clone(), &[*b"enda"])? {
            Some(enda) => window.array(enda.start)? == Some([0, 1]),
            None => false,
        },
    };
    let codec = match &entry.kind {
        b"sowt" => linear(bits, true, true),
        b"twos" | b"NONE" => linear(bits, little, true),
        b"raw " => linear(bits, little, bits > 8),
        b"in24" => linear(24, little, true),
        b"in32" => linear(32, little, true),
        b"fl32" => float(32, little),
        b"fl64" => float(64, little),
        // Flags of Core Audio: 1 is float, 2 big-endian, 4 signed.
        b"lpcm" => match flags {
            Some(flags) if flags & 1 == 1 => float(bits, flags & 2 == 0),
            Some(flags) => linear(bits, flags & 2 == 0, flags & 4 != 0),
            None => linear(bits, little, true),
        },
        b"ipcm" | b"fpcm" => {
            // ISO/IEC 23003-5: format flags and the size of a sample.
            let [_, _, _, _, format, size] = match descend(window, inner, &[*b"pcmC"])? {
                Some(config) => window.array(config.start)?.unwrap_or_default(),
                None => [0; 6],
            };
            bits = u32::from(size);
            if entry.kind == *b"fpcm" { float(bits, format & 1 == 1) } else { linear(bits, format & 1 == 1, true) }
        }
        b"ulaw" => Some((known::CODEC_ID_PCM_MULAW, 1)),
        b"alaw" => Some((known::CODEC_ID_PCM_ALAW, 1)),
        b"ima4" => {
            let mut shape = Shape::linear(known::CODEC_ID_ADPCM_IMA_QT, rate, channels as usize, 34);
            (shape.frames_per_block, shape.bits) = (64, 4);
            return Ok(Some(shape));
        }
        _ => None,
    };
    Ok(codec.map(|(codec, bytes)| Shape::linear(codec, rate, channels as usize, bytes)))
}

/// The codec of integers, and their size in bytes.
fn linear(bits: u32, little: bool, signed: bool) -> Option<(AudioCodecId, u64)> {
    Some(match (bits, little, signed) {
        (8, _, true) => (known::CODEC_ID_PCM_S8, 1),
        (8, _, false) => (known::CODEC_ID_PCM_U8, 1),
        (16, true, true) => (known::CODEC_ID_PCM_S16LE, 2),
        (16, false, true) => (known::CODEC_ID_PCM_S16BE, 2),
        (16, true, false) => (known::CODEC_ID_PCM_U16LE, 2),
        (16, false, false) => (known::CODEC_ID_PCM_U16BE, 2),
        (24, true, _) => (known::CODEC_ID_PCM_S24LE, 3),
        (24, false, _) => (known::CODEC_ID_PCM_S24BE, 3),
        (32, true, _) => (known::CODEC_ID_PCM_S32LE, 4),
        (32, false, _) => (known::CODEC_ID_PCM_S32BE, 4),
        _ => return None,
    })
}

/// The codec of floats, and their size in bytes.
fn float(bits: u32, little: bool) -> Option<(AudioCodecId, u64)> {
    Some(match (bits, little) {
        (32, true) => (known::CODEC_ID_PCM_F32LE, 4),
        (32, false) => (known::CODEC_ID_PCM_F32BE, 4),
        (64, true) => (known::CODEC_ID_PCM_F64LE, 8),
        (64, false) => (known::CODEC_ID_PCM_F64BE, 8),
        _ => return None,
    })
}

/// The ranges of an uncompressed track's chunks, from its sample table, `index`.
pub(super) fn chunks(window: &mut Window, index: &Range<u64>, shape: &Shape) -> Result<Vec<Range<u64>>, DecodeError> {
    let damaged = || DecodeError::Header { format: "QuickTime".into(), reason: "its index is damaged".into() };
    let table = |window: &mut Window, kind: [u8; 4]| descend(window, index.clone(), &[kind]);
    let counts = table(window, *b"stsc")?.ok_or_else(damaged)?;
    let (places, wide) = match table(window, *b"stco")? {
        Some(places) => (places, 4),
        None => (table(window, *b"co64")?.ok_or_else(damaged)?, 8),
    };
    let runs = word(window, counts.start + 4)?.min(MOST_ENTRIES);
    let places_count = word(window, places.start + 4)?.min(MOST_ENTRIES);
    if u64::from(places_count) * wide > places.end - places.start || u64::from(runs) * 12 > counts.end - counts.start {
        return Err(damaged());
    }
    // A sample is a block, or one of the frames of a block.
    let size = table(window, *b"stsz")?.map(|sizes| word(window, sizes.start + 4)).transpose()?.unwrap_or(0);
    let per_block = if size == 1 { shape.frames_per_block } else { 1 };
    let mut chunks = Vec::new();
    let (mut run, mut frames) = (0, 0);
    for chunk in 0..places_count {
        while run < runs && word(window, counts.start + 8 + 12 * u64::from(run))? <= chunk + 1 {
            frames = u64::from(word(window, counts.start + 12 + 12 * u64::from(run))?);
            run += 1;
        }
        let at = places.start + 8 + wide * u64::from(chunk);
        let begin = if wide == 4 { u64::from(word(window, at)?) } else { long(window, at)? };
        let length = (frames / per_block).saturating_mul(shape.block);
        chunks.push(begin..begin.saturating_add(length));
    }
    // Adjacent chunks are one range.
    chunks.dedup_by(|next, before| {
        let joined = before.end == next.start;
        if joined {
            before.end = next.end;
        }
        joined
    });
    Ok(chunks)
}

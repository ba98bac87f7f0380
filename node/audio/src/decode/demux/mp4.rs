//! MP4, M4A and QuickTime (ISO/IEC 14496-12; Apple, "QuickTime File Format").
//!
//! Symphonia demultiplexes compressed audio; what it does not look at is read here: edit lists, iTunes' delay of the
//! encoder, and the byte order of uncompressed samples, which are taken from their chunks directly. Boxes are walked
//! along a fixed path, so their depth is bounded.

use std::collections::VecDeque;
use std::fs::File;
use std::io;
use std::ops::Range;

use symphonia::core::codecs::audio::AudioCodecId;
use symphonia::core::codecs::audio::well_known as known;
use symphonia::core::codecs::audio::well_known::CODEC_ID_OPUS;

use super::library::Library;
use super::pcm::{Samples, Shape};
use super::window::Window;
use super::{Container, DecodeError, Demuxer, Event, only};
use crate::decode::codec::opus;

/// Boxes that are looked at in one box.
const MOST_BOXES: usize = 10_000;
/// Entries of a table that are read. A chunk holds about a second.
const MOST_ENTRIES: u32 = 1 << 20;
/// How often a track is read for parts that are heard in another order.
const MOST_PASSES: usize = 16;

/// A box: its type, and where its content lies.
#[derive(Debug, Clone)]
struct Atom {
    kind: [u8; 4],
    content: Range<u64>,
}

/// The boxes between two positions.
fn atoms(window: &mut Window, range: Range<u64>) -> io::Result<Vec<Atom>> {
    let (mut at, mut found) = (range.start, Vec::new());
    while found.len() < MOST_BOXES && at + 8 <= range.end {
        let Some([a, b, c, d, e, f, g, h]) = window.array::<8>(at)? else { break };
        let (size, header) = match u32::from_be_bytes([a, b, c, d]) {
            0 => (range.end - at, 8),
            1 => (window.array(at + 8)?.map_or(0, u64::from_be_bytes), 16),
            size => (u64::from(size), 8),
        };
        if size < header {
            break;
        }
        let end = at.saturating_add(size);
        found.push(Atom { kind: [e, f, g, h], content: at + header..end });
        at = end;
    }
    Ok(found)
}

/// The first box that is reached from `range` along this path of types.
fn descend(window: &mut Window, range: Range<u64>, path: &[[u8; 4]]) -> io::Result<Option<Range<u64>>> {
    let mut range = range;
    for kind in path {
        match atoms(window, range)?.into_iter().find(|atom| atom.kind == *kind) {
            Some(atom) => range = atom.content,
            None => return Ok(None),
        }
    }
    Ok(Some(range))
}

fn word(window: &mut Window, at: u64) -> io::Result<u32> {
    Ok(window.array(at)?.map_or(0, u32::from_be_bytes))
}

fn long(window: &mut Window, at: u64) -> io::Result<u64> {
    Ok(window.array(at)?.map_or(0, u64::from_be_bytes))
}

pub(super) fn open(file: &File, mut window: Window, begin: u64) -> Result<Container, DecodeError> {
    let end = window.end();
    let top = atoms(&mut window, begin..end)?;
    let is_music = |atom: &&Atom| matches!(&atom.kind, b"moov" | b"mdat" | b"moof");
    if top.iter().filter(is_music).any(|atom| atom.content.end > end) {
        return Err(DecodeError::CutOff);
    }
    let Some(moov) = top.iter().find(|atom| atom.kind == *b"moov") else {
        return Err(if top.iter().any(|atom| is_music(&atom)) { DecodeError::CutOff } else { DecodeError::NotAudio });
    };
    let brand = top.iter().find(|atom| atom.kind == *b"ftyp").map(|atom| atom.content.start);
    let brand = brand.map(|at| window.array::<4>(at)).transpose()?.flatten();
    let mut movie = Movie { timescale: 0, fragmented: false, smpb: None, tracks: Vec::new() };
    movie.read(&mut window, moov.content.clone())?;
    let Some(sound) = movie.tracks.first() else {
        return Err(DecodeError::Unsupported("there is no sound in it".into()));
    };
    let format = match (movie.has_video(), &brand) {
        (_, Some([b'q', b't', b' ', b' ']) | None) => "mov",
        (true, _) => "mp4",
        _ => "m4a",
    };
    if let Some(shape) = &sound.shape {
        let chunks = chunks(&mut window, sound, shape)?;
        let total: u64 = chunks.iter().map(|chunk| shape.frames(chunk.end - chunk.start)).sum();
        if chunks.iter().any(|chunk| chunk.end > end) {
            return Err(DecodeError::CutOff);
        }
        let shape = shape.clone();
        let demuxer = Edited::new(movie.keep(sound, Some(total)), move |keep| {
            Ok(Box::new(Samples::new(window.another()?, shape.clone(), chunks.clone(), None, keep)?))
        })?;
        return Ok(Container::new(format, demuxer));
    }
    if matches!(&sound.codec, b"enca" | b"drms" | b"drmi") {
        return Err(DecodeError::Unsupported("it is protected against copying".into()));
    }
    let (file, id, timescale) = (file.try_clone()?, sound.id, Some(sound.timescale).filter(|rate| *rate > 0));
    let demuxer = Edited::new(movie.keep(sound, None), move |keep| {
        let mut library = Library::mp4(&file, begin, id)?;
        if let Some(track) = library.track_mut() {
            (track.keep, track.keep_rate) = (keep, timescale);
            if track.codec.codec == CODEC_ID_OPUS && track.keep == only(0..u64::MAX) {
                let delay = track.codec.extra_data.as_deref().and_then(opus::pre_skip).unwrap_or(0);
                (track.keep, track.keep_rate) = (only(delay..u64::MAX), None);
            }
        }
        Ok(Box::new(library))
    })?;
    Ok(Container::new(format, demuxer))
}

/// Demultiplexes the track once more from its beginning for parts that are heard in another order.
type Reopen = dyn FnMut(Vec<Range<u64>>) -> Result<Box<dyn Demuxer>, DecodeError>;

/// A track whose parts are heard in the order of its edit list.
struct Edited {
    reopen: Box<Reopen>,
    current: Box<dyn Demuxer>,
    /// Parts in ascending order, for each time that the track is read.
    later: VecDeque<Vec<Range<u64>>>,
}

impl Edited {
    fn new(
        keep: Vec<Range<u64>>,
        mut reopen: impl FnMut(Vec<Range<u64>>) -> Result<Box<dyn Demuxer>, DecodeError> + 'static,
    ) -> Result<Self, DecodeError> {
        let mut passes: VecDeque<Vec<Range<u64>>> = VecDeque::new();
        for part in keep {
            match passes.back_mut() {
                Some(pass) if pass.last().is_some_and(|last| last.end <= part.start) => pass.push(part),
                _ => passes.push_back(vec![part]),
            }
        }
        if passes.len() > MOST_PASSES {
            return Err(DecodeError::Unsupported("an edit list that goes back too often".into()));
        }
        let first = passes.pop_front().unwrap_or_default();
        Ok(Self { current: reopen(first)?, reopen: Box::new(reopen), later: passes })
    }
}

impl Demuxer for Edited {
    fn next(&mut self) -> Result<Option<Event>, DecodeError> {
        loop {
            if let Some(event) = self.current.next()? {
                return Ok(Some(event));
            }
            let Some(pass) = self.later.pop_front() else { return Ok(None) };
            self.current = (self.reopen)(pass)?;
        }
    }
}

/// What the index says.
struct Movie {
    timescale: u32,
    fragmented: bool,
    /// The encoder's delay as iTunes writes it, in frames.
    smpb: Option<u64>,
    /// The audio tracks; those that are enabled come first.
    tracks: Vec<Sound>,
}

/// An audio track.
struct Sound {
    id: u32,
    enabled: bool,
    timescale: u32,
    /// The length of its media in its timescale.
    duration: u64,
    codec: [u8; 4],
    /// How its samples lie in the file, if they are not compressed.
    shape: Option<Shape>,
    edits: Vec<Edit>,
    /// The sample table.
    table: Range<u64>,
    /// How many tracks of other kinds come with it.
    others: usize,
}

/// An entry of an edit list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Edit {
    /// In the movie's timescale; 0 is up to the end.
    duration: u64,
    /// In the media's timescale; negative for nothing.
    start: i64,
}

impl Movie {
    fn read(&mut self, window: &mut Window, moov: Range<u64>) -> io::Result<()> {
        let mut others = 0;
        for atom in atoms(window, moov)? {
            match &atom.kind {
                b"mvhd" => {
                    let version = window.array::<1>(atom.content.start)?.unwrap_or_default();
                    let at = atom.content.start + if version == [1] { 20 } else { 12 };
                    self.timescale = word(window, at)?;
                }
                b"mvex" => self.fragmented = true,
                b"trak" => match read_sound(window, atom.content)? {
                    Some(sound) => self.tracks.push(sound),
                    None => others += 1,
                },
                b"udta" => self.smpb = read_smpb(window, atom.content)?,
                _ => {}
            }
        }
        self.tracks.sort_by_key(|sound| !sound.enabled);
        self.tracks.iter_mut().for_each(|sound| sound.others = others);
        Ok(())
    }

    fn has_video(&self) -> bool {
        self.tracks.iter().any(|sound| sound.others > 0)
    }

    /// The frames of a track that are heard, in its timescale and in their order. `total` is its length if that is known exactly.
    fn keep(&self, sound: &Sound, total: Option<u64>) -> Vec<Range<u64>> {
        let total = total.unwrap_or(sound.duration);
        // The unit of an edit's length, in units of the media.
        let unit = u64::from(sound.timescale).div_ceil(u64::from(self.timescale.max(1)));
        let length = |duration: u64| {
            let media = u128::from(duration) * u128::from(sound.timescale);
            u64::try_from(media / u128::from(self.timescale.max(1))).unwrap_or(u64::MAX)
        };
        let mut keep: Vec<Range<u64>> = Vec::new();
        for edit in &sound.edits {
            // An empty edit delays the track against a picture; a song begins with its first sample.
            let Ok(start) = u64::try_from(edit.start) else { continue };
            let end = match edit.duration {
                0 => u64::MAX,
                duration => start.saturating_add(length(duration)),
            };
            // An edit that ends where the media does, but for rounding, ends with it. The index of a fragmented file
            // does not know its end.
            let end = match end {
                _ if self.fragmented && sound.edits.iter().filter(|edit| edit.start >= 0).count() == 1 => u64::MAX,
                end if end.abs_diff(total) <= unit => total,
                end => end,
            };
            if start < end {
                keep.push(start..end);
            }
        }
        if keep.is_empty() {
            keep.push(self.smpb.unwrap_or(0)..u64::MAX);
        }
        keep
    }
}

fn read_sound(window: &mut Window, trak: Range<u64>) -> io::Result<Option<Sound>> {
    let Some(handler) = descend(window, trak.clone(), &[*b"mdia", *b"hdlr"])? else { return Ok(None) };
    if window.array(handler.start + 8)? != Some(*b"soun") {
        return Ok(None);
    }
    let (mut id, mut enabled) = (0, true);
    if let Some(header) = descend(window, trak.clone(), &[*b"tkhd"])? {
        let [version, _, _, flags] = window.array(header.start)?.unwrap_or_default();
        enabled = flags & 1 == 1;
        id = word(window, header.start + if version == 1 { 20 } else { 12 })?;
    }
    let (mut timescale, mut duration) = (0, 0);
    if let Some(header) = descend(window, trak.clone(), &[*b"mdia", *b"mdhd"])? {
        let [version] = window.array(header.start)?.unwrap_or_default();
        let at = header.start;
        (timescale, duration) = match version {
            1 => (word(window, at + 20)?, long(window, at + 24)?),
            _ => (word(window, at + 12)?, u64::from(word(window, at + 16)?)),
        };
    }
    let edits = match descend(window, trak.clone(), &[*b"edts", *b"elst"])? {
        Some(list) => read_edits(window, list)?,
        None => Vec::new(),
    };
    let Some(table) = descend(window, trak, &[*b"mdia", *b"minf", *b"stbl"])? else { return Ok(None) };
    let (mut codec, mut shape) = (*b"    ", None);
    if let Some(description) = descend(window, table.clone(), &[*b"stsd"])?
        && let Some(entry) = atoms(window, description.start + 8..description.end)?.into_iter().next()
    {
        codec = entry.kind;
        shape = read_shape(window, &entry)?;
    }
    Ok(Some(Sound { id, enabled, timescale, duration, codec, shape, edits, table, others: 0 }))
}

fn read_edits(window: &mut Window, list: Range<u64>) -> io::Result<Vec<Edit>> {
    let [version] = window.array(list.start)?.unwrap_or_default();
    let count = word(window, list.start + 4)?.min(MOST_ENTRIES);
    let (mut at, mut edits) = (list.start + 8, Vec::new());
    for _ in 0..count {
        let size = if version == 1 { 20 } else { 12 };
        if at + size > list.end {
            break;
        }
        edits.push(match version {
            1 => Edit { duration: long(window, at)?, start: long(window, at + 8)? as i64 },
            _ => Edit { duration: u64::from(word(window, at)?), start: i64::from(word(window, at + 4)? as i32) },
        });
        at += size;
    }
    Ok(edits)
}

/// iTunes' delay of the encoder: the first number behind the zero of the text "iTunSMPB".
fn read_smpb(window: &mut Window, udta: Range<u64>) -> io::Result<Option<u64>> {
    let Some(meta) = descend(window, udta, &[*b"meta"])? else { return Ok(None) };
    let Some(list) = descend(window, meta.start + 4..meta.end, &[*b"ilst"])? else { return Ok(None) };
    for item in atoms(window, list)?.into_iter().filter(|item| item.kind == *b"----") {
        let (mut named, mut text) = (false, None);
        for part in atoms(window, item.content)? {
            let length = usize::try_from(part.content.end - part.content.start).unwrap_or(usize::MAX).min(256);
            let bytes = window.get(part.content.start, length)?;
            match &part.kind {
                b"name" => named = bytes.get(4..) == Some(b"iTunSMPB"),
                b"data" => text = bytes.get(8..).map(|text| String::from_utf8_lossy(text).into_owned()),
                _ => {}
            }
        }
        if named && let Some(delay) = text.as_deref().and_then(|text| text.split_ascii_whitespace().nth(1)) {
            return Ok(u64::from_str_radix(delay, 16).ok().filter(|delay| *delay < 1 << 16));
        }
    }
    Ok(None)
}

/// How uncompressed samples lie in the file; `None` for other codecs.
fn read_shape(window: &mut Window, entry: &Atom) -> io::Result<Option<Shape>> {
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
            // The bytes of a sample count more than the bits of the first version.
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

/// The codec of integers, and their bytes.
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

/// The codec of floats, and their bytes.
fn float(bits: u32, little: bool) -> Option<(AudioCodecId, u64)> {
    Some(match (bits, little) {
        (32, true) => (known::CODEC_ID_PCM_F32LE, 4),
        (32, false) => (known::CODEC_ID_PCM_F32BE, 4),
        (64, true) => (known::CODEC_ID_PCM_F64LE, 8),
        (64, false) => (known::CODEC_ID_PCM_F64BE, 8),
        _ => return None,
    })
}

/// Where the chunks of an uncompressed track lie.
fn chunks(window: &mut Window, sound: &Sound, shape: &Shape) -> Result<Vec<Range<u64>>, DecodeError> {
    let damaged = || DecodeError::Header { format: "QuickTime".into(), reason: "its index is broken".into() };
    let table = |window: &mut Window, kind: [u8; 4]| descend(window, sound.table.clone(), &[kind]);
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
    // A sample is a block, or one of the frames that a block decodes to.
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
    // Neighbours are read in one go.
    chunks.dedup_by(|next, before| {
        let joined = before.end == next.start;
        if joined {
            before.end = next.end;
        }
        joined
    });
    Ok(chunks)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sound(edits: &[Edit]) -> Sound {
        Sound {
            id: 1,
            enabled: true,
            timescale: 44_100,
            duration: 441_000,
            codec: *b"mp4a",
            shape: None,
            edits: edits.to_vec(),
            table: 0..0,
            others: 0,
        }
    }

    fn keep(edits: &[Edit]) -> Vec<Range<u64>> {
        Movie { timescale: 1000, fragmented: false, smpb: Some(2112), tracks: Vec::new() }.keep(&sound(edits), None)
    }

    #[test]
    fn edits_are_what_is_heard() {
        let edit = |duration, start| Edit { duration, start };
        // The encoder's delay, up to the end but for rounding.
        assert_eq!(keep(&[edit(9_977, 1024)]), only(1024..441_000));
        // A trim at both ends.
        assert_eq!(keep(&[edit(2_000, 44_100)]), only(44_100..132_300));
        // Silence before the song is not heard.
        assert_eq!(keep(&[edit(500, -1), edit(0, 1024)]), only(1024..u64::MAX));
        // Two parts, in their order.
        assert_eq!(keep(&[edit(1_000, 88_200), edit(1_000, 0)]), [88_200..132_300, 0..44_100]);
        // Without a list iTunes' delay counts.
        assert_eq!(keep(&[]), only(2112..u64::MAX));
    }
}

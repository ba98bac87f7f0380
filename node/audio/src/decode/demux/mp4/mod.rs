//! MP4, M4A and QuickTime (ISO/IEC 14496-12; Apple, "QuickTime File Format").
//!
//! Symphonia demultiplexes compressed audio. This module reads what it ignores: edit lists, iTunes' delay of the
//! encoder, and the byte order of uncompressed samples, which are read from their chunks directly. The path through the
//! boxes is fixed, so their depth is bounded.

mod boxes;
mod index;
mod samples;

use std::collections::VecDeque;
use std::fs::File;
use std::ops::Range;

use symphonia::core::codecs::audio::well_known::CODEC_ID_OPUS;

use super::library::SymphoniaDemuxer;
use super::pcm::Samples;
use super::window::Window;
use super::{Container, DecodeError, Demuxer, Event, only};
use crate::decode::codec::opus;
use boxes::{Mp4Box, boxes};
use index::Movie;
use samples::chunks;

/// The largest number of passes over a track whose parts are played in another order.
const MOST_PASSES: usize = 16;

pub(super) fn open(file: &File, mut window: Window, begin: u64) -> Result<Container, DecodeError> {
    let end = window.end();
    let top = boxes(&mut window, begin..end)?;
    let is_music = |atom: &&Mp4Box| matches!(&atom.kind, b"moov" | b"mdat" | b"moof");
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
        return Err(DecodeError::Unsupported("it has no sound".into()));
    };
    let format = match (movie.has_video(), &brand) {
        (_, Some([b'q', b't', b' ', b' ']) | None) => "mov",
        (true, _) => "mp4",
        _ => "m4a",
    };
    if let Some(shape) = &sound.shape {
        let chunks = chunks(&mut window, &sound.table, shape)?;
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
        let mut library = SymphoniaDemuxer::mp4(&file, begin, id)?;
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

/// Opens the track again from its beginning, for parts in another order.
type Reopen = dyn FnMut(Vec<Range<u64>>) -> Result<Box<dyn Demuxer>, DecodeError>;

/// A track whose parts are played in the order of its edit list.
struct Edited {
    reopen: Box<Reopen>,
    current: Box<dyn Demuxer>,
    /// The parts of each pass over the track, in ascending order.
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

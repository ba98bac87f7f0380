//! Containers: reads a file and returns the packets of its audio track.
//!
//! A demultiplexer does not trust estimates. It compares the lengths in a header with the file, and a file counts as
//! damaged only if it contradicts its header.

mod adts;
mod aiff;
mod flac;
mod frames;
mod id3;
mod library;
mod matroska;
mod mp4;
mod mpeg;
mod pcm;
mod riff;
mod trailer;
mod window;

use std::fs::File;
use std::ops::Range;

use symphonia::core::codecs::audio::AudioCodecParameters;

use super::error::DecodeError;
pub(super) use library::plain;
use window::Window;

/// The start of a track. A file may have several in sequence, as chained Ogg files do.
#[derive(Debug)]
pub(super) struct Track {
    /// The codec that decodes it.
    pub codec: AudioCodecParameters,
    /// The frames of the decoded track that are kept, in ascending order.
    pub keep: Vec<Range<u64>>,
    /// The unit of `keep` in Hz; `None` if it is the decoded track's own sample rate.
    pub keep_rate: Option<u32>,
    /// The frames that must be decoded, if a reliable header states them, in the unit of `keep`.
    pub promised: Option<u64>,
    /// Whether a missing or damaged packet makes the file damaged.
    pub lossless: bool,
}

impl Track {
    /// A track of which all frames are kept.
    fn whole(codec: AudioCodecParameters) -> Self {
        Self { codec, keep: only(0..u64::MAX), keep_rate: None, promised: None, lossless: false }
    }
}

/// A list of one range.
fn only(range: Range<u64>) -> Vec<Range<u64>> {
    std::iter::once(range).collect()
}

/// A unit of encoded data.
#[derive(Debug)]
pub(super) struct Packet {
    /// The data.
    pub data: Box<[u8]>,
    /// The number of frames in it, if the container states it.
    pub frames: Option<u64>,
    /// The number of decoded frames at its start that are dropped.
    pub trim_start: u64,
    /// The number of decoded frames at its end that are dropped.
    pub trim_end: u64,
}

impl Packet {
    pub(in crate::decode) fn new(data: impl Into<Box<[u8]>>) -> Self {
        Self { data: data.into(), frames: None, trim_start: 0, trim_end: 0 }
    }
}

/// The next item of a demultiplexer.
#[derive(Debug)]
pub(super) enum Event {
    Track(Box<Track>),
    Packet(Packet),
}

/// Reads a container in order. The first event is a track.
pub(super) trait Demuxer {
    /// The next track or packet; `None` at the end.
    fn next(&mut self) -> Result<Option<Event>, DecodeError>;
}

/// A container, and the usual extension of its files.
pub(super) struct Container {
    pub format: &'static str,
    pub demuxer: Box<dyn Demuxer>,
}

impl Container {
    fn new(format: &'static str, demuxer: impl Demuxer + 'static) -> Self {
        Self { format, demuxer: Box::new(demuxer) }
    }
}

/// Detects the container by its first bytes. The name of a file is ignored.
pub(super) fn open(file: &File) -> Result<Container, DecodeError> {
    let mut window = Window::new(file)?;
    if window.is_empty() {
        return Err(DecodeError::Empty);
    }
    // A tag may precede any container.
    let begin = id3::skip(&mut window, 0)?;
    let mut head = [0; 16];
    let length = window.peek(begin, &mut head)?;
    let head = &head[..length];
    match head {
        [b'R', b'I', b'F', b'F' | b'X', _, _, _, _, b'W', b'A', b'V', b'E', ..]
        | [b'R', b'F', b'6', b'4', _, _, _, _, b'W', b'A', b'V', b'E', ..]
        | [b'B', b'W', b'6', b'4', _, _, _, _, b'W', b'A', b'V', b'E', ..]
        | riff::W64_START!() => riff::open(window, begin),
        [b'F', b'O', b'R', b'M', _, _, _, _, b'A', b'I', b'F', b'F' | b'C', ..] => aiff::open(window, begin),
        [b'f', b'L', b'a', b'C', ..] => Ok(Container::new("flac", flac::Flac::open(file, window, begin)?)),
        [b'O', b'g', b'g', b'S', ..] => library::ogg(file, begin),
        [0x1a, 0x45, 0xdf, 0xa3, ..] => library::matroska(file, begin),
        [b'c', b'a', b'f', b'f', ..] => library::caf(file, begin),
        [_, _, _, _, b'f', b't', b'y', b'p', ..]
        | [_, _, _, _, b'm', b'o', b'o', b'v', ..]
        | [_, _, _, _, b'm', b'd', b'a', b't', ..]
        | [_, _, _, _, b'w', b'i', b'd', b'e', ..]
        | [_, _, _, _, b'f', b'r', b'e', b'e', ..]
        | [_, _, _, _, b's', b'k', b'i', b'p', ..] => mp4::open(file, window, begin),
        [b'A', b'D', b'I', b'F', ..] => Err(DecodeError::Unsupported("AAC in an ADIF file".into())),
        _ => {
            if let Some(adts) = adts::Adts::find(window.another()?, begin)? {
                return Ok(Container::new("aac", adts));
            }
            let end = window.end();
            match mpeg::Mpeg::find(window, begin, end)? {
                Some(mpeg) => Ok(Container::new("mp3", mpeg)),
                None => Err(DecodeError::NotAudio),
            }
        }
    }
}

//! Containers that Symphonia demultiplexes: Ogg, Matroska with WebM, CAF, and compressed audio in MP4.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use symphonia::core::codecs::audio::well_known::{CODEC_ID_ALAC, CODEC_ID_FLAC, CODEC_ID_OPUS};
use symphonia::core::codecs::audio::{AudioCodecId, CODEC_ID_NULL_AUDIO};
use symphonia::core::errors::Error;
use symphonia::core::formats::{FormatOptions, FormatReader, Track as Found, TrackType};
use symphonia::core::io::MediaSourceStream;
use symphonia::default::formats::{CafReader, IsoMp4Reader, MkvReader, OggReader};

use super::window::Window;
use super::{Container, DecodeError, Demuxer, Event, Packet, Track, matroska, only};
use crate::decode::codec::opus;
use crate::source::Source;

/// The largest number of streams in a chained file.
const MOST_STREAMS: usize = 1000;

/// A file read by Symphonia.
pub(super) struct SymphoniaDemuxer {
    reader: Box<dyn FormatReader>,
    id: u32,
    track: Option<Box<Track>>,
    streams: usize,
    /// Whether the container's packets state their trimming; else the track's ranges do.
    trims: bool,
    /// Whether the duration of a packet is counted in frames.
    counts: bool,
    /// The frames of the last packet that are padding, if the container states them apart from the packet.
    discard: Option<u64>,
    held: Option<Packet>,
}

impl SymphoniaDemuxer {
    /// The track `id` of an MP4 file. The caller sets the frames that are kept.
    pub(super) fn mp4(file: &File, begin: u64, id: u32) -> Result<Self, DecodeError> {
        let reader = IsoMp4Reader::try_new(stream(file, begin)?, FormatOptions::default());
        Self::new(Box::new(reader.map_err(|error| unreadable("MP4", error))?), Some(id), false)
    }

    fn new(reader: Box<dyn FormatReader>, wanted: Option<u32>, trims: bool) -> Result<Self, DecodeError> {
        let mut library =
            Self { reader, id: 0, track: None, streams: 1, trims, counts: false, discard: None, held: None };
        library.select(wanted)?;
        Ok(library)
    }

    fn select(&mut self, wanted: Option<u32>) -> Result<(), DecodeError> {
        let found = match wanted {
            Some(id) => self.reader.tracks().iter().find(|track| track.id == id),
            None => self.reader.default_track(TrackType::Audio),
        };
        let Some(found) = found else {
            return Err(DecodeError::Unsupported("it has no sound in a supported codec".into()));
        };
        self.id = found.id;
        let mut track = track(found)?;
        if self.trims && track.codec.codec == CODEC_ID_OPUS {
            track.keep = only(opus_delay(&track)..u64::MAX);
        }
        self.track = Some(Box::new(track));
        Ok(())
    }

    /// The packet that was held back, with the padding at its end.
    fn last(&mut self) -> Option<Event> {
        let mut packet = self.held.take()?;
        packet.trim_end = self.discard.unwrap_or(0);
        Some(Event::Packet(packet))
    }

    /// The first track; the caller completes it.
    pub(super) fn track_mut(&mut self) -> Option<&mut Track> {
        self.track.as_deref_mut()
    }
}

impl Demuxer for SymphoniaDemuxer {
    fn next(&mut self) -> Result<Option<Event>, DecodeError> {
        loop {
            if let Some(track) = self.track.take() {
                return Ok(Some(Event::Track(track)));
            }
            let packet = match self.reader.next_packet() {
                Ok(Some(packet)) => packet,
                Ok(None) => return Ok(self.last()),
                // Truncation is detected elsewhere, and a recording may end anywhere.
                Err(Error::IoError(error)) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(self.last()),
                Err(Error::ResetRequired) => {
                    self.streams += 1;
                    if self.streams > MOST_STREAMS {
                        return Err(DecodeError::Unsupported(format!("more than {MOST_STREAMS} streams")));
                    }
                    self.select(None)?;
                    continue;
                }
                Err(error) => return Err(failed(0.0, error)),
            };
            if packet.track_id != self.id {
                continue;
            }
            let mut packet = Packet {
                frames: self.counts.then(|| packet.dur.get()),
                trim_start: packet.trim_start.get(),
                trim_end: packet.trim_end.get(),
                ..Packet::new(packet.data)
            };
            if !self.trims {
                (packet.trim_start, packet.trim_end) = (0, 0);
            }
            if self.discard.is_none() {
                return Ok(Some(Event::Packet(packet)));
            }
            // A packet is the last one if no other follows.
            if let Some(held) = self.held.replace(packet) {
                return Ok(Some(Event::Packet(held)));
            }
        }
    }
}

/// Ogg: Vorbis, Opus or FLAC, with any number of consecutive streams. Granule positions may begin anywhere.
pub(super) fn ogg(file: &File, begin: u64) -> Result<Container, DecodeError> {
    if is_ogg_cut_off(file)? {
        return Err(DecodeError::CutOff);
    }
    let reader = OggReader::try_new(stream(file, begin)?, FormatOptions::default());
    let library = SymphoniaDemuxer::new(Box::new(reader.map_err(|error| unreadable("Ogg", error))?), None, true)?;
    let is_opus = library.track.as_ref().is_some_and(|track| track.codec.codec == CODEC_ID_OPUS);
    Ok(Container::new(if is_opus { "opus" } else { "ogg" }, library))
}

/// CAF. Its packet table states the encoder's delay and padding.
pub(super) fn caf(file: &File, begin: u64) -> Result<Container, DecodeError> {
    let reader = CafReader::try_new(stream(file, begin)?, FormatOptions::default());
    let mut library = SymphoniaDemuxer::new(Box::new(reader.map_err(|error| unreadable("CAF", error))?), None, false)?;
    library.counts = true;
    let found = library.reader.tracks().iter().find(|track| track.id == library.id);
    if let (Some(track), Some(found)) = (&mut library.track, found) {
        let delay = u64::from(found.delay.unwrap_or(0));
        let end = found.num_frames.map_or(u64::MAX, |frames| delay.saturating_add(frames));
        track.keep = only(delay..end);
    }
    Ok(Container::new("caf", library))
}

/// Matroska and WebM.
pub(super) fn matroska(file: &File, begin: u64) -> Result<Container, DecodeError> {
    let head = matroska::read(&mut Window::new(file)?, begin)?;
    if head.is_cut_off {
        return Err(DecodeError::CutOff);
    }
    let reader = MkvReader::try_new(stream(file, begin)?, FormatOptions::default());
    let mut library =
        SymphoniaDemuxer::new(Box::new(reader.map_err(|error| unreadable("Matroska", error))?), None, false)?;
    let (id, codec_delay) = (library.id, head.delay(u64::from(library.id)));
    if let Some(track) = library.track_mut() {
        let (opus, rate) = (track.codec.codec == CODEC_ID_OPUS, track.codec.sample_rate.unwrap_or(0));
        // Opus is always decoded at this rate.
        let rate = if opus { opus::RATE } else { rate };
        let frames = |nanoseconds: u64| {
            let frames = (u128::from(nanoseconds) * u128::from(rate) + 500_000_000) / 1_000_000_000;
            u64::try_from(frames).unwrap_or(0)
        };
        // The codec's own header states the delay exactly.
        let delay = if opus { opus_delay(track) } else { frames(codec_delay) };
        track.keep = only(delay..u64::MAX);
        library.discard = Some(frames(head.discard(u64::from(id))));
    }
    Ok(Container::new(if head.is_webm { "webm" } else { "mka" }, library))
}

/// The frames before the song, from the header of an Opus track.
fn opus_delay(track: &Track) -> u64 {
    track.codec.extra_data.as_deref().and_then(opus::pre_skip).unwrap_or(0)
}

fn stream(file: &File, begin: u64) -> io::Result<MediaSourceStream<'static>> {
    let end = file.metadata()?.len();
    Ok(MediaSourceStream::new(Box::new(Source::range(file, begin, end)?), Default::default()))
}

fn track(found: &Found) -> Result<Track, DecodeError> {
    let codec = found.codec_params.as_ref().and_then(|parameters| parameters.audio());
    let Some(codec) = codec.filter(|codec| codec.codec != CODEC_ID_NULL_AUDIO) else {
        return Err(DecodeError::Unsupported("its codec is not supported".into()));
    };
    Ok(Track { lossless: is_lossless(codec.codec), ..Track::whole(codec.clone()) })
}

fn is_lossless(codec: AudioCodecId) -> bool {
    // The identifiers of uncompressed codecs are between these (symphonia-core, codecs/audio.rs).
    matches!(codec, CODEC_ID_ALAC | CODEC_ID_FLAC)
        || codec < symphonia::core::codecs::audio::well_known::CODEC_ID_ADPCM_G722
}

/// The error for a file that Symphonia cannot open, without its messages for programmers.
fn unreadable(format: &'static str, error: Error) -> DecodeError {
    match error {
        Error::IoError(error) if error.kind() == io::ErrorKind::UnexpectedEof => DecodeError::CutOff,
        Error::IoError(error) => DecodeError::Io(error),
        Error::Unsupported(reason) => DecodeError::Unsupported(plain(reason)),
        other => DecodeError::Header { format: format.into(), reason: reason(&other) },
    }
}

/// The error for a failure of Symphonia in the middle of a file.
pub(super) fn failed(seconds: f64, error: Error) -> DecodeError {
    match error {
        Error::IoError(error) if error.kind() == io::ErrorKind::UnexpectedEof => DecodeError::CutOff,
        Error::IoError(error) => DecodeError::Io(error),
        Error::Unsupported(reason) => DecodeError::Unsupported(plain(reason)),
        other => DecodeError::Damaged { seconds, reason: reason(&other) },
    }
}

fn reason(error: &Error) -> String {
    match error {
        Error::DecodeError(reason) | Error::LimitError(reason) => plain(reason),
        _ => "its structure is damaged".into(),
    }
}

/// A library's message without the name of the module.
pub(in crate::decode) fn plain(reason: &str) -> String {
    reason.split_once(": ").map_or(reason, |(_, reason)| reason).to_owned()
}

/// More than the size of any Ogg page (RFC 3533, section 6: 65,307 bytes).
const TAIL: u64 = 1 << 17;
/// The length of an Ogg page's header up to its segment table.
const PAGE_HEADER: usize = 27;

/// Whether the last page of an Ogg file is incomplete.
fn is_ogg_cut_off(file: &File) -> io::Result<bool> {
    let length = file.metadata()?.len();
    let from = length.saturating_sub(TAIL);
    let mut tail = vec![0; (length - from) as usize];
    file.read_exact_at(&mut tail, from)?;
    // The version of a page is always 0, which distinguishes it from the same letters in a packet.
    let Some(at) = tail.windows(5).rposition(|window| window == b"OggS\0") else {
        return Ok(false);
    };
    let page = &tail[at..];
    let Some(&segments) = page.get(PAGE_HEADER - 1) else {
        return Ok(true);
    };
    let Some(table) = page.get(PAGE_HEADER..PAGE_HEADER + usize::from(segments)) else {
        return Ok(true);
    };
    let body: usize = table.iter().copied().map(usize::from).sum();
    Ok(page.len() < PAGE_HEADER + table.len() + body)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_uncompressed_and_lossless_codecs_are_lossless() {
        use symphonia::core::codecs::audio::well_known as known;
        for codec in [known::CODEC_ID_PCM_S16LE, known::CODEC_ID_PCM_F64BE, known::CODEC_ID_FLAC, known::CODEC_ID_ALAC]
        {
            assert!(is_lossless(codec), "{codec}");
        }
        for codec in [known::CODEC_ID_ADPCM_MS, known::CODEC_ID_AAC, known::CODEC_ID_OPUS, known::CODEC_ID_VORBIS] {
            assert!(!is_lossless(codec), "{codec}");
        }
    }
}

//! MPEG audio layers I, II and III without a container (ISO/IEC 11172-3 and 13818-3).
//!
//! The stream is a sequence of frames without a reliable length. A Xing, Info or VBRI header in the first frame (G.
//! Bouvigne, "MP3 Info Tag revision 1") is not sound. It holds the encoder's delay and padding, and shows whether the
//! end of the file is missing. Bytes between frames (tags of joined files, zeros, pictures) are skipped.

use std::io;
use std::ops::Range;

use symphonia::core::audio::{Channels, Position};
use symphonia::core::codecs::audio::AudioCodecParameters;
use symphonia::core::codecs::audio::well_known::{CODEC_ID_MP1, CODEC_ID_MP2, CODEC_ID_MP3};

use super::frames::{FrameHeader, first, header_at, search};
use super::window::Window;
use super::{DecodeError, Demuxer, Event, Packet, Track, id3, only, trailer};

/// The number of consecutive frames that make a stream if the search does not start at a frame.
const CHAIN: usize = 4;
/// The range of the search for the first frame, in bytes.
const SEARCH: u64 = 16 << 20;
/// The number of frames by which a header's count may exceed the file's: encoders count their own header differently.
const COUNT_SLACK: u64 = 2;
/// The delay of every decoder for layer III, in frames.
const DECODER_DELAY: u64 = 529;
/// The sum of the sizes of the header and of the largest side information of layer III, in bytes.
const HEADER: usize = 4;

/// The header of a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct MpegHeader {
    /// 1 for MPEG-1, 2 for MPEG-2, 3 for MPEG-2.5.
    version: u8,
    layer: u8,
    rate: u32,
    mono: bool,
    /// The frame's length in bytes.
    length: u64,
}

impl MpegHeader {
    fn read(bytes: &[u8]) -> Option<Self> {
        let [0xff, second, third, fourth, ..] = *bytes else { return None };
        if second & 0xe0 != 0xe0 {
            return None;
        }
        let version = match second >> 3 & 3 {
            0 => 3,
            2 => 2,
            3 => 1,
            _ => return None,
        };
        let layer = match second >> 1 & 3 {
            1 => 3,
            2 => 2,
            3 => 1,
            _ => return None,
        };
        let rate = *[44_100, 48_000, 32_000].get(usize::from(third >> 2 & 3))? >> (version - 1);
        let kbps = kbps(version, layer, third >> 4)?;
        let padding = u64::from(third >> 1 & 1);
        let bytes = |factor: u64| factor * kbps * 1000 / u64::from(rate) + padding;
        let length = match (layer, version) {
            (1, _) => 4 * bytes(12),
            (2, _) | (3, 1) => bytes(144),
            _ => bytes(72),
        };
        Some(Self { version, layer, rate, mono: fourth >> 6 == 3, length })
    }

    /// The number of frames of sound in it.
    fn frames(&self) -> u64 {
        match (self.layer, self.version) {
            (1, _) => 384,
            (3, 2 | 3) => 576,
            _ => 1152,
        }
    }

    fn codec(&self) -> AudioCodecParameters {
        let mut parameters = AudioCodecParameters::new();
        let position = if self.mono { Position::FRONT_LEFT } else { Position::FRONT_LEFT | Position::FRONT_RIGHT };
        parameters
            .for_codec(match self.layer {
                1 => CODEC_ID_MP1,
                2 => CODEC_ID_MP2,
                _ => CODEC_ID_MP3,
            })
            .with_sample_rate(self.rate)
            .with_channels(Channels::Positioned(position))
            .with_max_frames_per_packet(self.frames());
        parameters
    }
}

impl FrameHeader for MpegHeader {
    const LENGTH: usize = HEADER;

    fn read(bytes: &[u8]) -> Option<Self> {
        Self::read(bytes)
    }

    fn continues(&self, other: &Self) -> bool {
        (self.version, self.layer, self.rate) == (other.version, other.layer, other.rate)
    }

    fn length(&self) -> u64 {
        self.length
    }
}

/// The bit rate of an index, in kbit/s (ISO/IEC 11172-3, 2.4.2.3; 13818-3, 2.4.2.3). `None` for free format and for the
/// forbidden index.
fn kbps(version: u8, layer: u8, index: u8) -> Option<u64> {
    const ROWS: [[u16; 14]; 5] = [
        [32, 64, 96, 128, 160, 192, 224, 256, 288, 320, 352, 384, 416, 448],
        [32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384],
        [32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320],
        [32, 48, 56, 64, 80, 96, 112, 128, 144, 160, 176, 192, 224, 256],
        [8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160],
    ];
    let row = match (version, layer) {
        (1, 1) => 0,
        (1, 2) => 1,
        (1, _) => 2,
        (_, 1) => 3,
        _ => 4,
    };
    ROWS[row].get(usize::from(index).checked_sub(1)?).map(|kbps| u64::from(*kbps))
}

/// The content of a Xing, Info or VBRI header.
#[derive(Debug, Default, PartialEq, Eq)]
struct MpegInfo {
    frames: Option<u64>,
    bytes: Option<u64>,
    /// The encoder's delay and padding, in frames of sound.
    delay: Option<(u64, u64)>,
}

impl MpegInfo {
    /// Parses the header in a whole frame.
    fn read(header: &MpegHeader, frame: &[u8]) -> Option<Self> {
        if header.layer != 3 {
            return None;
        }
        let side = match (header.version, header.mono) {
            (1, false) => 32,
            (1, true) | (_, false) => 17,
            _ => 9,
        };
        let xing = frame.get(HEADER + side..)?;
        if xing.starts_with(b"Xing") || xing.starts_with(b"Info") {
            return Self::read_xing(&xing[4..]);
        }
        // Fraunhofer's header is always 32 bytes after the frame's header.
        let vbri = frame.get(HEADER + 32..)?.strip_prefix(b"VBRI")?;
        Some(Self { bytes: word(vbri, 6), frames: word(vbri, 10), delay: None })
    }

    fn read_xing(xing: &[u8]) -> Option<Self> {
        let flags = word(xing, 0)?;
        let (mut at, mut info) = (4, Self::default());
        if flags & 1 != 0 {
            info.frames = word(xing, at);
            at += 4;
        }
        if flags & 2 != 0 {
            info.bytes = word(xing, at);
            at += 4;
        }
        at += if flags & 4 != 0 { 100 } else { 0 };
        at += if flags & 8 != 0 { 4 } else { 0 };
        // Only these encoders are known to write delay and padding.
        if let Some([b'L', b'A', b'M', b'E', ..] | [b'L', b'a', b'v', b'f' | b'c', ..]) = xing.get(at..at + 9)
            && let Some([high, middle, low]) = xing.get(at + 21..at + 24)
        {
            let delay = u64::from(*high) << 4 | u64::from(*middle >> 4);
            let padding = u64::from(*middle & 15) << 8 | u64::from(*low);
            info.delay = Some((delay, padding));
        }
        Some(info)
    }

    /// Drops a count of frames that belongs to another file: if much more sound follows, songs were joined.
    fn forget_lies(&mut self, there: u64) {
        if self.bytes.is_some_and(|bytes| bytes > 0 && there > bytes && there - bytes > bytes >> 4) {
            self.frames = None;
        }
    }

    /// The frames of sound that are kept, as FFmpeg counts them (libavformat/mp3dec.c): the encoder's delay and padding
    /// are cut, and a joined song after them is kept.
    fn keep(&self, per_frame: u64) -> Vec<Range<u64>> {
        let Some((delay, padding)) = self.delay else { return only(0..u64::MAX) };
        let first = delay + DECODER_DELAY;
        match self.frames {
            Some(count) if count > 0 => {
                let end = count.saturating_mul(per_frame);
                let last = (end + DECODER_DELAY).saturating_sub(padding).min(end);
                vec![first..last.max(first), end.max(first)..u64::MAX]
            }
            _ => only(first..u64::MAX),
        }
    }
}

fn word(bytes: &[u8], at: usize) -> Option<u64> {
    let bytes = bytes.get(at..at + 4)?;
    Some(u64::from(u32::from_be_bytes([bytes[0], bytes[1], bytes[2], bytes[3]])))
}

/// A sequence of frames.
pub(super) struct Mpeg {
    window: Window,
    at: u64,
    end: u64,
    stream: MpegHeader,
    info: MpegInfo,
    /// The position of the header of the whole file, if there is one.
    info_begin: u64,
    has_info: bool,
    begun: bool,
    /// Whether bytes that are not a frame were skipped just now.
    resumed: bool,
    mono: bool,
    found: u64,
}

impl Mpeg {
    /// Finds the first frame between `begin` and `end`. `None` if there is no MPEG audio.
    pub(super) fn find(mut window: Window, begin: u64, end: u64) -> Result<Option<Self>, DecodeError> {
        let end = trailer::cut(&mut window, begin, end)?;
        let Some((at, stream)) = first::<MpegHeader>(&mut window, begin, begin.saturating_add(SEARCH), end, CHAIN)?
        else {
            return match is_free_format(&mut window, begin, end)? {
                true => Err(DecodeError::Unsupported("MP3 with a free bit rate".into())),
                false => Ok(None),
            };
        };
        let frame = window.get(at, length_of(&stream))?;
        let mut info = MpegInfo::read(&stream, frame);
        if let Some(info) = &mut info {
            info.forget_lies(end - at);
        }
        let has_info = info.is_some();
        let next = if has_info { at + stream.length } else { at };
        let info = info.unwrap_or_default();
        Ok(Some(Self {
            window,
            at: next,
            end,
            stream,
            info,
            info_begin: at,
            has_info,
            begun: false,
            resumed: false,
            mono: stream.mono,
            found: 0,
        }))
    }

    fn track(&self, header: &MpegHeader, keep: Vec<Range<u64>>) -> Event {
        Event::Track(Box::new(Track { keep, ..Track::whole(header.codec()) }))
    }

    /// The next whole frame of the stream.
    fn frame(&mut self) -> Result<Option<(u64, MpegHeader)>, DecodeError> {
        loop {
            let Some(header) = header_at::<MpegHeader>(&mut self.window, self.at, self.end)? else {
                match self.resume()? {
                    true => continue,
                    false => return Ok(None),
                }
            };
            if !self.stream.continues(&header) {
                match self.resume()? {
                    true => continue,
                    false => return Ok(None),
                }
            }
            let at = self.at;
            if at + header.length > self.end {
                // The last frame of a recording that was stopped.
                return Ok(None);
            }
            self.at += header.length;
            if std::mem::take(&mut self.resumed)
                && MpegInfo::read(&header, self.window.get(at, length_of(&header))?).is_some()
            {
                // After its tags, a joined song begins with a header of its own.
                continue;
            }
            return Ok(Some((at, header)));
        }
    }

    /// Skips bytes that are not a frame; false if no further frame follows.
    fn resume(&mut self) -> Result<bool, DecodeError> {
        self.resumed = true;
        if let Some(length) = id3::length(&mut self.window, self.at)? {
            self.at += length;
            if self.at < self.end && header_at::<MpegHeader>(&mut self.window, self.at, self.end)?.is_some() {
                return Ok(true);
            }
        }
        let stream = self.stream;
        let wanted = |header: &MpegHeader| stream.continues(header);
        match search(&mut self.window, self.at + 1, self.end, self.end, 2, &wanted)? {
            Some((at, _)) => {
                self.at = at;
                Ok(true)
            }
            // A joined file may have another rate or layer.
            None => match search::<MpegHeader>(&mut self.window, self.at + 1, self.end, self.end, CHAIN, &|_| true)? {
                Some((at, header)) => {
                    (self.at, self.stream) = (at, header);
                    self.begun = false;
                    self.has_info = false;
                    self.info = MpegInfo::default();
                    Ok(true)
                }
                None => Ok(false),
            },
        }
    }

    /// Checks at the end whether the header's counts show that the file is cut off.
    fn check_end(&self) -> Result<(), DecodeError> {
        let Some(promised) = self.info.frames.filter(|_| self.has_info) else { return Ok(()) };
        let there = self.end - self.info_begin;
        let bytes_missing = match self.info.bytes {
            Some(bytes) if bytes > 0 => bytes > there + COUNT_SLACK * self.stream.length,
            // Without a count of bytes, only the count of frames is available.
            _ => true,
        };
        if self.found + COUNT_SLACK < promised && bytes_missing {
            let seconds = |frames: u64| (frames * self.stream.frames()) as f64 / f64::from(self.stream.rate);
            return Err(DecodeError::Truncated { found: seconds(self.found), promised: seconds(promised) });
        }
        Ok(())
    }
}

impl Demuxer for Mpeg {
    fn next(&mut self) -> Result<Option<Event>, DecodeError> {
        if !self.begun {
            self.begun = true;
            self.mono = self.stream.mono;
            let keep = self.info.keep(self.stream.frames());
            return Ok(Some(self.track(&self.stream, keep)));
        }
        let before = self.stream;
        let Some((at, header)) = self.frame()? else {
            self.check_end()?;
            return Ok(None);
        };
        if !before.continues(&self.stream) || header.mono != self.mono {
            // The decoder of a track supports one number of channels.
            self.at = at;
            self.stream = header;
            self.mono = header.mono;
            self.begun = true;
            let keep = only(0..u64::MAX);
            return Ok(Some(self.track(&header, keep)));
        }
        self.found += 1;
        let data = self.window.get(at, length_of(&header))?;
        Ok(Some(Event::Packet(Packet { frames: Some(header.frames()), ..Packet::new(data) })))
    }
}

fn length_of(header: &MpegHeader) -> usize {
    usize::try_from(header.length).unwrap_or(0)
}

/// Whether the file begins with a frame of free format, whose header does not hold its length.
fn is_free_format(window: &mut Window, begin: u64, end: u64) -> io::Result<bool> {
    let is_free = |bytes: &[u8; HEADER]| {
        // With another bit rate it is a normal header.
        bytes[2] >> 4 == 0 && MpegHeader::read(&[bytes[0], bytes[1], bytes[2] | 0x10, bytes[3]]).is_some()
    };
    let Some(first) = window.array::<HEADER>(begin)?.filter(|bytes| is_free(bytes)) else { return Ok(false) };
    // The same header occurs again: a frame of at most 640 kbit/s is shorter than this.
    let limit = usize::try_from(end - begin).unwrap_or(usize::MAX).min(1 << 14);
    let bytes = window.get(begin, limit)?;
    Ok(bytes.windows(3).skip(HEADER).any(|bytes| bytes[..2] == first[..2] && bytes[2] & 0xfc == first[2] & 0xfc))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_are_computed_from_headers() {
        // MPEG-1 layer III, 128 kbit/s, 44.1 kHz, joint stereo.
        let header = MpegHeader::read(&[0xff, 0xfb, 0x90, 0x64]).unwrap();
        assert_eq!((header.version, header.layer, header.rate, header.mono), (1, 3, 44_100, false));
        assert_eq!((header.length, header.frames()), (417, 1152));
        // MPEG-2 layer III, 64 kbit/s, 22.05 kHz, mono, padded.
        let header = MpegHeader::read(&[0xff, 0xf3, 0x82, 0xc4]).unwrap();
        assert_eq!((header.version, header.layer, header.rate, header.mono), (2, 3, 22_050, true));
        assert_eq!((header.length, header.frames()), (209, 576));
        // MPEG-2.5 layer III, 8 kHz.
        assert_eq!(MpegHeader::read(&[0xff, 0xe3, 0x18, 0xc4]).unwrap().rate, 8_000);
        // MPEG-1 layer II, 192 kbit/s, 48 kHz; layer I, 448 kbit/s, 32 kHz.
        assert_eq!(MpegHeader::read(&[0xff, 0xfd, 0xa4, 0x00]).unwrap().length, 576);
        assert_eq!(MpegHeader::read(&[0xff, 0xff, 0xe8, 0x00]).unwrap().length, 672);
        for none in [[0xff, 0xfb, 0xf0, 0], [0xff, 0xfb, 0x9c, 0], [0xff, 0xeb, 0x90, 0], [0xff, 0xf9, 0x90, 0], [0; 4]]
        {
            assert_eq!(MpegHeader::read(&none), None, "{none:x?}");
        }
    }

    #[test]
    fn delay_and_padding_are_cut_and_joined_songs_kept() {
        let info = MpegInfo { frames: Some(10), bytes: None, delay: Some((576, 1000)) };
        assert_eq!(info.keep(1152), [1105..11_049, 11_520..u64::MAX]);
        let info = MpegInfo { frames: Some(0), bytes: None, delay: Some((576, 1000)) };
        assert_eq!(info.keep(1152), only(1105..u64::MAX));
        assert_eq!(MpegInfo::default().keep(1152), only(0..u64::MAX));
        // Padding below the decoder's delay: nothing is cut at the end.
        let info = MpegInfo { frames: Some(10), bytes: None, delay: Some((576, 100)) };
        assert_eq!(info.keep(1152), [1105..11_520, 11_520..u64::MAX]);
    }
}

//! MPEG audio layers I, II and III without a container (ISO/IEC 11172-3 and 13818-3).
//!
//! The stream is the chain of its frames: there is no length to trust. A Xing, Info or VBRI header in the first frame
//! (G. Bouvigne, "MP3 Info Tag revision 1") is no sound; it tells the encoder's delay and padding, and whether the end
//! of the file is missing. Whatever lies between frames (tags of joined files, zeros, pictures) is stepped over.

use std::io;
use std::ops::Range;

use symphonia::core::audio::{Channels, Position};
use symphonia::core::codecs::audio::AudioCodecParameters;
use symphonia::core::codecs::audio::well_known::{CODEC_ID_MP1, CODEC_ID_MP2, CODEC_ID_MP3};

use super::frames::{FrameHeader, first, header_at, search};
use super::window::Window;
use super::{DecodeError, Demuxer, Event, Packet, Track, id3, only, trailer};

/// Frames in a row that make a stream where none was expected.
const CHAIN: usize = 4;
/// How far the search for the first frame goes, in bytes.
const SEARCH: u64 = 16 << 20;
/// Frames by which a header's count may exceed what is there: encoders count their own header differently.
const COUNT_SLACK: u64 = 2;
/// The delay of every decoder for layer III, in frames.
const DECODER_DELAY: u64 = 529;
/// A header is 4 bytes, the side information of layer III at most 32.
const HEADER: usize = 4;

/// The header of a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Header {
    /// 1 for MPEG-1, 2 for MPEG-2, 3 for MPEG-2.5.
    version: u8,
    layer: u8,
    rate: u32,
    mono: bool,
    /// The frame's length in bytes.
    length: u64,
}

impl Header {
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

    /// How many frames of sound it decodes to.
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

impl FrameHeader for Header {
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

/// The bit rate for an index, in kbit/s (ISO/IEC 11172-3, 2.4.2.3; 13818-3, 2.4.2.3). `None` for free format and for
/// the forbidden index.
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

/// What a Xing, Info or VBRI header says.
#[derive(Debug, Default, PartialEq, Eq)]
struct Info {
    frames: Option<u64>,
    bytes: Option<u64>,
    /// The encoder's delay and padding, in frames of sound.
    delay: Option<(u64, u64)>,
}

impl Info {
    /// Reads it from a whole frame.
    fn read(header: &Header, frame: &[u8]) -> Option<Self> {
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
        // Fraunhofer's header is always 32 bytes behind the frame's.
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
        // Only these encoders are known to fill in delay and padding.
        if let Some([b'L', b'A', b'M', b'E', ..] | [b'L', b'a', b'v', b'f' | b'c', ..]) = xing.get(at..at + 9)
            && let Some([high, middle, low]) = xing.get(at + 21..at + 24)
        {
            let delay = u64::from(*high) << 4 | u64::from(*middle >> 4);
            let padding = u64::from(*middle & 15) << 8 | u64::from(*low);
            info.delay = Some((delay, padding));
        }
        Some(info)
    }

    /// Drops a count of frames that is another file's: songs were joined if much more follows than the header says.
    fn forget_lies(&mut self, there: u64) {
        if self.bytes.is_some_and(|bytes| bytes > 0 && there > bytes && there - bytes > bytes >> 4) {
            self.frames = None;
        }
    }

    /// The frames of sound that are heard, as FFmpeg counts them (libavformat/mp3dec.c): what the encoder put before
    /// and behind the song is cut, and a song that was joined behind it is kept.
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

/// A chain of frames.
pub(super) struct Mpeg {
    window: Window,
    at: u64,
    end: u64,
    stream: Header,
    info: Info,
    /// Where the header of the whole file lies, if there is one.
    info_begin: u64,
    has_info: bool,
    begun: bool,
    /// Whether something that is no frame has just been stepped over.
    resumed: bool,
    mono: bool,
    found: u64,
}

impl Mpeg {
    /// Finds the first frame between `begin` and `end`. `None` if there is no MPEG audio.
    pub(super) fn find(mut window: Window, begin: u64, end: u64) -> Result<Option<Self>, DecodeError> {
        let end = trailer::cut(&mut window, begin, end)?;
        let Some((at, stream)) = first::<Header>(&mut window, begin, begin.saturating_add(SEARCH), end, CHAIN)? else {
            return match is_free_format(&mut window, begin, end)? {
                true => Err(DecodeError::Unsupported("MP3 of a free bit rate".into())),
                false => Ok(None),
            };
        };
        let frame = window.get(at, length_of(&stream))?;
        let mut info = Info::read(&stream, frame);
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

    fn track(&self, header: &Header, keep: Vec<Range<u64>>) -> Event {
        Event::Track(Box::new(Track { keep, ..Track::whole(header.codec()) }))
    }

    /// The next whole frame that belongs to the stream.
    fn frame(&mut self) -> Result<Option<(u64, Header)>, DecodeError> {
        loop {
            let Some(header) = header_at::<Header>(&mut self.window, self.at, self.end)? else {
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
                && Info::read(&header, self.window.get(at, length_of(&header))?).is_some()
            {
                // Behind its tags a joined song begins with a header of its own.
                continue;
            }
            return Ok(Some((at, header)));
        }
    }

    /// Steps over what is no frame; false if no further frame comes.
    fn resume(&mut self) -> Result<bool, DecodeError> {
        self.resumed = true;
        if let Some(length) = id3::length(&mut self.window, self.at)? {
            self.at += length;
            if self.at < self.end && header_at::<Header>(&mut self.window, self.at, self.end)?.is_some() {
                return Ok(true);
            }
        }
        let stream = self.stream;
        let wanted = |header: &Header| stream.continues(header);
        match search(&mut self.window, self.at + 1, self.end, self.end, 2, &wanted)? {
            Some((at, _)) => {
                self.at = at;
                Ok(true)
            }
            // A joined file may have another rate or layer.
            None => match search::<Header>(&mut self.window, self.at + 1, self.end, self.end, CHAIN, &|_| true)? {
                Some((at, header)) => {
                    (self.at, self.stream) = (at, header);
                    self.begun = false;
                    self.has_info = false;
                    self.info = Info::default();
                    Ok(true)
                }
                None => Ok(false),
            },
        }
    }

    /// At the end: whether the header's counts show that the file was cut off.
    fn check_end(&self) -> Result<(), DecodeError> {
        let Some(promised) = self.info.frames.filter(|_| self.has_info) else { return Ok(()) };
        let there = self.end - self.info_begin;
        let bytes_missing = match self.info.bytes {
            Some(bytes) if bytes > 0 => bytes > there + COUNT_SLACK * self.stream.length,
            // Without a count of bytes the count of frames is all that there is.
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
            // The decoder of this track decodes one number of channels.
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

fn length_of(header: &Header) -> usize {
    usize::try_from(header.length).unwrap_or(0)
}

/// Whether the file begins with a frame of free format, whose length its header does not tell.
fn is_free_format(window: &mut Window, begin: u64, end: u64) -> io::Result<bool> {
    let is_free = |bytes: &[u8; HEADER]| {
        // With another bit rate it is a header.
        bytes[2] >> 4 == 0 && Header::read(&[bytes[0], bytes[1], bytes[2] | 0x10, bytes[3]]).is_some()
    };
    let Some(first) = window.array::<HEADER>(begin)?.filter(|bytes| is_free(bytes)) else { return Ok(false) };
    // The same header comes again: a frame of at most 640 kbit/s is shorter than this.
    let limit = usize::try_from(end - begin).unwrap_or(usize::MAX).min(1 << 14);
    let bytes = window.get(begin, limit)?;
    Ok(bytes.windows(3).skip(HEADER).any(|bytes| bytes[..2] == first[..2] && bytes[2] & 0xfc == first[2] & 0xfc))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_give_lengths() {
        // MPEG-1 layer III, 128 kbit/s, 44.1 kHz, joint stereo.
        let header = Header::read(&[0xff, 0xfb, 0x90, 0x64]).unwrap();
        assert_eq!((header.version, header.layer, header.rate, header.mono), (1, 3, 44_100, false));
        assert_eq!((header.length, header.frames()), (417, 1152));
        // MPEG-2 layer III, 64 kbit/s, 22.05 kHz, mono, padded.
        let header = Header::read(&[0xff, 0xf3, 0x82, 0xc4]).unwrap();
        assert_eq!((header.version, header.layer, header.rate, header.mono), (2, 3, 22_050, true));
        assert_eq!((header.length, header.frames()), (209, 576));
        // MPEG-2.5 layer III, 8 kHz.
        assert_eq!(Header::read(&[0xff, 0xe3, 0x18, 0xc4]).unwrap().rate, 8_000);
        // MPEG-1 layer II, 192 kbit/s, 48 kHz; layer I, 448 kbit/s, 32 kHz.
        assert_eq!(Header::read(&[0xff, 0xfd, 0xa4, 0x00]).unwrap().length, 576);
        assert_eq!(Header::read(&[0xff, 0xff, 0xe8, 0x00]).unwrap().length, 672);
        for none in [[0xff, 0xfb, 0xf0, 0], [0xff, 0xfb, 0x9c, 0], [0xff, 0xeb, 0x90, 0], [0xff, 0xf9, 0x90, 0], [0; 4]]
        {
            assert_eq!(Header::read(&none), None, "{none:x?}");
        }
    }

    #[test]
    fn delay_and_padding_are_cut_and_joined_songs_kept() {
        let info = Info { frames: Some(10), bytes: None, delay: Some((576, 1000)) };
        assert_eq!(info.keep(1152), [1105..11_049, 11_520..u64::MAX]);
        let info = Info { frames: Some(0), bytes: None, delay: Some((576, 1000)) };
        assert_eq!(info.keep(1152), only(1105..u64::MAX));
        assert_eq!(Info::default().keep(1152), only(0..u64::MAX));
        // Padding below the decoder's delay: nothing is cut at the end.
        let info = Info { frames: Some(10), bytes: None, delay: Some((576, 100)) };
        assert_eq!(info.keep(1152), [1105..11_520, 11_520..u64::MAX]);
    }
}

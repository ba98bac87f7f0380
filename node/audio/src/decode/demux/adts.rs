//! AAC without a container: a sequence of ADTS frames (ISO/IEC 14496-3, 1.A.2.2). Their headers hold no total length;
//! the stream ends with the last frame.

use symphonia::core::codecs::audio::AudioCodecParameters;
use symphonia::core::codecs::audio::well_known::CODEC_ID_AAC;

use super::frames::{FrameHeader, first, header_at, is_chain, search};
use super::window::Window;
use super::{DecodeError, Demuxer, Event, Packet, Track, id3, trailer};
use crate::decode::codec::adts::{AdtsHeader, LENGTH, MARK};

/// The number of consecutive frames that make a stream if the search does not start at a frame.
const CHAIN: usize = 4;
/// The range of the search for the first frame, in bytes.
const SEARCH: u64 = 1 << 20;

impl FrameHeader for AdtsHeader {
    const LENGTH: usize = LENGTH;

    fn read(bytes: &[u8]) -> Option<Self> {
        Self::read(bytes)
    }

    fn continues(&self, other: &Self) -> bool {
        (self.object, self.rate_index, self.channels) == (other.object, other.rate_index, other.channels)
    }

    fn length(&self) -> u64 {
        self.length as u64
    }
}

/// A sequence of frames.
pub(super) struct Adts {
    window: Window,
    at: u64,
    end: u64,
    stream: AdtsHeader,
    begun: bool,
}

impl Adts {
    /// Finds the first frame from `begin` on. `None` if there is no ADTS stream.
    pub(super) fn find(mut window: Window, begin: u64) -> Result<Option<Self>, DecodeError> {
        let end = window.end();
        let end = trailer::cut(&mut window, begin, end)?;
        let found = first(&mut window, begin, begin.saturating_add(SEARCH), end, CHAIN)?;
        Ok(found.map(|(at, stream)| Self { window, at, end, stream, begun: false }))
    }

    /// Skips bytes that are not a frame; false if no further frame follows.
    fn resume(&mut self) -> Result<bool, DecodeError> {
        if let Some(length) = id3::length(&mut self.window, self.at)?
            && header_at::<AdtsHeader>(&mut self.window, self.at + length, self.end)?.is_some()
        {
            self.at += length;
            return Ok(true);
        }
        let stream = self.stream;
        let same = |header: &AdtsHeader| header.continues(&stream);
        let found = match search(&mut self.window, self.at + 1, self.end, self.end, 2, &same)? {
            Some(found) => Some(found),
            // A joined file may have another rate.
            None => search::<AdtsHeader>(&mut self.window, self.at + 1, self.end, self.end, CHAIN, &|_| true)?,
        };
        if let Some((at, _)) = found {
            self.at = at;
        }
        Ok(found.is_some())
    }
}

impl Demuxer for Adts {
    fn next(&mut self) -> Result<Option<Event>, DecodeError> {
        if !self.begun {
            self.begun = true;
            let mut parameters = AudioCodecParameters::new();
            parameters.for_codec(CODEC_ID_AAC).with_sample_rate(self.stream.rate).with_extra_data(MARK.into());
            return Ok(Some(Event::Track(Box::new(Track::whole(parameters)))));
        }
        loop {
            match header_at::<AdtsHeader>(&mut self.window, self.at, self.end)? {
                Some(header) if !header.continues(&self.stream) => {
                    let is_other = is_chain(&mut self.window, self.at, self.end, &header, CHAIN)?;
                    if is_other {
                        (self.stream, self.begun) = (header, false);
                        return self.next();
                    }
                }
                Some(header) => {
                    if self.at + header.length as u64 > self.end {
                        return Ok(None);
                    }
                    let data = self.window.get(self.at, header.length)?;
                    self.at += header.length as u64;
                    let packet = Packet { frames: Some(1024 * header.blocks), ..Packet::new(data) };
                    return Ok(Some(Event::Packet(packet)));
                }
                None => {}
            }
            if !self.resume()? {
                return Ok(None);
            }
        }
    }
}

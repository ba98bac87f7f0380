//! AAC without a container: a chain of ADTS frames (ISO/IEC 14496-3, 1.A.2.2). Their headers give no length of the
//! whole; the stream ends where the frames do.

use std::io;

use symphonia::core::codecs::audio::AudioCodecParameters;
use symphonia::core::codecs::audio::well_known::CODEC_ID_AAC;

use super::window::Window;
use super::{DecodeError, Demuxer, Event, Packet, Track, id3, trailer};
use crate::decode::codec::adts;

/// Frames in a row that make a stream where none was expected.
const CHAIN: usize = 4;
/// How far the search for the first frame goes, in bytes.
const SEARCH: u64 = 1 << 20;

/// A chain of frames.
pub(super) struct Adts {
    window: Window,
    at: u64,
    end: u64,
    stream: adts::Header,
    begun: bool,
}

impl Adts {
    /// Finds the first frame from `begin` on. `None` if there is no ADTS stream.
    pub(super) fn find(mut window: Window, begin: u64) -> Result<Option<Self>, DecodeError> {
        let end = window.end();
        let end = trailer::cut(&mut window, begin, end)?;
        if let Some(header) = header_at(&mut window, begin, end)?
            && chain(&mut window, begin, end, &header, 2)?
        {
            return Ok(Some(Self { window, at: begin, end, stream: header, begun: false }));
        }
        let found = search(&mut window, begin, end.min(begin.saturating_add(SEARCH)), end, CHAIN, None)?;
        Ok(found.map(|(at, stream)| Self { window, at, end, stream, begun: false }))
    }

    /// Steps over what is no frame; false if no further frame comes.
    fn resume(&mut self) -> Result<bool, DecodeError> {
        if let Some(length) = id3::length(&mut self.window, self.at)?
            && header_at(&mut self.window, self.at + length, self.end)?.is_some()
        {
            self.at += length;
            return Ok(true);
        }
        let found = match search(&mut self.window, self.at + 1, self.end, self.end, 2, Some(&self.stream))? {
            Some(found) => Some(found),
            // A joined file may have another rate.
            None => search(&mut self.window, self.at + 1, self.end, self.end, CHAIN, None)?,
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
            parameters.for_codec(CODEC_ID_AAC).with_sample_rate(self.stream.rate).with_extra_data(adts::MARK.into());
            return Ok(Some(Event::Track(Box::new(Track::whole(parameters)))));
        }
        loop {
            match header_at(&mut self.window, self.at, self.end)? {
                Some(header) if !header.continues(&self.stream) => {
                    let is_other = chain(&mut self.window, self.at, self.end, &header, CHAIN)?;
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

fn header_at(window: &mut Window, at: u64, end: u64) -> io::Result<Option<adts::Header>> {
    if at + adts::LENGTH as u64 > end {
        return Ok(None);
    }
    Ok(window.array::<{ adts::LENGTH }>(at)?.and_then(|bytes| adts::Header::read(&bytes)))
}

/// Whether `count` frames of one stream follow each other from `at` on, or as many as fit exactly before the end.
fn chain(window: &mut Window, mut at: u64, end: u64, first: &adts::Header, count: usize) -> io::Result<bool> {
    for _ in 0..count {
        match header_at(window, at, end)? {
            Some(header) if header.continues(first) => at += header.length as u64,
            _ => return Ok(at == end),
        }
    }
    Ok(true)
}

/// Searches a chain of `count` frames that begins between `from` and `to`, of the stream of `like` if one is given.
fn search(
    window: &mut Window,
    mut from: u64,
    to: u64,
    end: u64,
    count: usize,
    like: Option<&adts::Header>,
) -> io::Result<Option<(u64, adts::Header)>> {
    const STEP: usize = 1 << 14;
    while from < to {
        let bytes = window.get(from, STEP + 1)?;
        let length = bytes.len();
        let pairs = bytes.windows(2).enumerate();
        let candidates: Vec<usize> =
            pairs.filter(|(_, pair)| pair[0] == 0xff && pair[1] & 0xf6 == 0xf0).map(|(at, _)| at).collect();
        for at in candidates {
            let at = from + at as u64;
            if let Some(header) = header_at(window, at, end)?
                && like.is_none_or(|like| header.continues(like))
                && chain(window, at, end, &header, count)?
            {
                return Ok(Some((at, header)));
            }
        }
        if length <= 1 {
            break;
        }
        from += (length - 1) as u64;
    }
    Ok(None)
}

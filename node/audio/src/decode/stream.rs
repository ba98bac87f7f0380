//! From packets to stereo at the file's own rate.

use std::collections::VecDeque;
use std::fs::File;
use std::ops::Range;

use super::codec::{self, Codec, LOOKAHEAD, PacketError, Signal};
use super::demux::{self, Container, Event, Packet, Track};
use super::downmix::Downmix;
use super::error::DecodeError;
use super::signal::check_signal;
use crate::RATE;

/// The largest magnitude of a recording's samples: floating-point recorders stay far below it.
const LOUDEST: f32 = 256.0;
/// The number of damaged packets that any lossy file may have; a file cut from a stream begins with a few.
const DAMAGED_PACKETS: u64 = 8;
/// The fraction of damaged packets that a lossy file may have: one in this many.
const DAMAGED_SHARE: u64 = 50;

/// Stereo frames at the file's own rate.
pub(super) struct Block<'a> {
    pub interleaved: &'a [f32],
    pub rate: u32,
}

type Sink<'a> = dyn FnMut(Block<'_>) -> Result<(), DecodeError> + 'a;

/// A file that is being decoded.
pub(super) struct Stream {
    container: Container,
    /// Packets that were read before their codec was chosen, and the event after them.
    ahead: VecDeque<Event>,
    max_seconds: Option<u64>,
    first: Option<Signal>,
    /// The length of the sound up to here that is kept, in seconds.
    seconds: f64,
    packets: u64,
    damaged: u64,
    /// What was wrong with the first damaged packet.
    reason: Option<(f64, String)>,
}

/// The track that is being decoded.
struct Current {
    codec: Box<dyn Codec>,
    downmix: Option<(Signal, Downmix)>,
    keep: VecDeque<Range<u64>>,
    keep_rate: Option<u32>,
    promised: Option<u64>,
    lossless: bool,
    /// The number of decoded frames.
    at: u64,
    /// The number of decoded frames that are kept.
    heard: u64,
    /// The length of the last packet in frames.
    usual: u64,
}

impl Stream {
    pub(super) fn open(file: &File, max_seconds: Option<u64>) -> Result<Self, DecodeError> {
        Ok(Self {
            container: demux::open(file)?,
            ahead: VecDeque::new(),
            max_seconds,
            first: None,
            seconds: 0.0,
            packets: 0,
            damaged: 0,
            reason: None,
        })
    }

    /// The usual extension of such files.
    pub(super) fn format(&self) -> &'static str {
        self.container.format
    }

    /// The rate in Hz and the number of channels at the beginning.
    pub(super) fn signal(&self) -> (u32, usize) {
        self.first.as_ref().map_or((0, 0), |signal| (signal.rate, signal.layout.count()))
    }

    /// Decodes the file to its end.
    pub(super) fn run(&mut self, sink: &mut Sink<'_>) -> Result<(), DecodeError> {
        let (mut raw, mut stereo, mut current) = (Vec::new(), Vec::new(), None);
        while let Some(event) = self.next()? {
            match event {
                Event::Track(track) => {
                    if let Some(ended) = current.take() {
                        self.end(ended, &mut raw, &mut stereo, sink)?;
                    }
                    current = Some(self.begin(*track)?);
                }
                Event::Packet(packet) => {
                    let Some(current) = &mut current else { continue };
                    self.decode(current, &packet, &mut raw, &mut stereo, sink)?;
                }
            }
        }
        if let Some(ended) = current {
            self.end(ended, &mut raw, &mut stereo, sink)?;
        }
        if self.first.is_none() || self.seconds == 0.0 {
            return Err(match self.reason.take() {
                Some((seconds, reason)) => DecodeError::Damaged { seconds, reason },
                None => DecodeError::Silent,
            });
        }
        Ok(())
    }

    fn next(&mut self) -> Result<Option<Event>, DecodeError> {
        match self.ahead.pop_front() {
            Some(event) => Ok(Some(event)),
            None => self.container.demuxer.next().map_err(|error| self.placed(error)),
        }
    }

    /// Adds the position to an error, which a demultiplexer does not know.
    fn placed(&self, error: DecodeError) -> DecodeError {
        match error {
            DecodeError::Damaged { reason, .. } => DecodeError::Damaged { seconds: self.seconds, reason },
            other => other,
        }
    }

    fn begin(&mut self, track: Track) -> Result<Current, DecodeError> {
        let mut head = VecDeque::new();
        if codec::looks_ahead(&track.codec) {
            let mut events = std::mem::take(&mut self.ahead);
            while head.len() < LOOKAHEAD {
                let event = match events.pop_front() {
                    Some(event) => event,
                    None => match self.next()? {
                        Some(event) => event,
                        None => break,
                    },
                };
                match event {
                    Event::Packet(packet) => head.push_back(packet),
                    track => {
                        events.push_front(track);
                        break;
                    }
                }
            }
            self.ahead = events;
        }
        let codec = codec::open(&track.codec, &head)?;
        for packet in head.into_iter().rev() {
            self.ahead.push_front(Event::Packet(packet));
        }
        Ok(Current {
            codec,
            downmix: None,
            keep: track.keep.into(),
            keep_rate: track.keep_rate,
            promised: track.promised,
            lossless: track.lossless,
            at: 0,
            heard: 0,
            usual: 0,
        })
    }

    fn decode(
        &mut self,
        current: &mut Current,
        packet: &Packet,
        raw: &mut Vec<f32>,
        stereo: &mut Vec<f32>,
        sink: &mut Sink<'_>,
    ) -> Result<(), DecodeError> {
        self.packets += 1;
        let decoded = current.codec.decode(packet, raw);
        stereo.clear();
        match decoded {
            Ok(signal) => {
                if current.downmix.as_ref().is_none_or(|(known, _)| *known != signal) {
                    check_signal(signal.rate, signal.layout.count())?;
                    self.first.get_or_insert_with(|| signal.clone());
                    current.scale_keep(signal.rate);
                    let downmix = Downmix::new(&signal.layout);
                    current.downmix = Some((signal, downmix));
                }
                if let Some((_, downmix)) = &current.downmix {
                    downmix.apply(raw, stereo);
                }
                current.usual = stereo.len() as u64 / 2;
            }
            Err(PacketError::Unsupported(reason)) => return Err(DecodeError::Unsupported(reason)),
            Err(PacketError::Damaged(reason)) => {
                self.damaged += 1;
                let many = self.damaged > DAMAGED_PACKETS && self.damaged > self.packets / DAMAGED_SHARE;
                if current.lossless || many {
                    let (seconds, reason) = self.reason.take().unwrap_or((self.seconds, reason));
                    return Err(DecodeError::Damaged { seconds, reason });
                }
                self.reason.get_or_insert((self.seconds, reason));
                let frames = packet.frames.unwrap_or(current.usual);
                stereo.resize(2 * usize::try_from(frames).unwrap_or(0), 0.0);
            }
        }
        self.give(current, [packet.trim_start, packet.trim_end], stereo, sink)
    }

    /// Passes the decoded frames that are kept to `sink`.
    fn give(
        &mut self,
        current: &mut Current,
        [trim_start, trim_end]: [u64; 2],
        stereo: &mut [f32],
        sink: &mut Sink<'_>,
    ) -> Result<(), DecodeError> {
        let frames = stereo.len() as u64 / 2;
        let Some((signal, _)) = &current.downmix else {
            // The signal is still unknown; the time counts nevertheless.
            current.at += frames;
            return Ok(());
        };
        let rate = signal.rate;
        let from = current.at + trim_start.min(frames);
        let to = (current.at + frames).saturating_sub(trim_end).max(from);
        for range in current.heard_in(from..to) {
            let cut = |frame: u64| 2 * (frame - current.at) as usize;
            let heard = &mut stereo[cut(range.start)..cut(range.end)];
            check_loudness(heard)?;
            current.heard += range.end - range.start;
            self.seconds += (range.end - range.start) as f64 / f64::from(rate);
            sink(Block { interleaved: heard, rate })?;
        }
        current.at += frames;
        match self.max_seconds {
            // Resampling rounds, so one frame is tolerated.
            Some(most) if self.seconds > most as f64 + 1.0 / f64::from(RATE) => Err(DecodeError::TooLong(most)),
            _ => Ok(()),
        }
    }

    /// Completes a track: drains its codec, and compares its length with the promised one.
    fn end(
        &mut self,
        mut ended: Current,
        raw: &mut Vec<f32>,
        stereo: &mut Vec<f32>,
        sink: &mut Sink<'_>,
    ) -> Result<(), DecodeError> {
        ended.codec.finish(raw);
        stereo.clear();
        if let Some((_, downmix)) = &ended.downmix {
            downmix.apply(raw, stereo);
        }
        self.give(&mut ended, [0, 0], stereo, sink)?;
        let Some(rate) = ended.downmix.as_ref().map(|(signal, _)| signal.rate) else { return Ok(()) };
        match ended.promised {
            Some(promised) if ended.heard < promised => {
                let seconds = |frames: u64| frames as f64 / f64::from(rate);
                Err(DecodeError::Truncated { found: seconds(ended.heard), promised: seconds(promised) })
            }
            _ => Ok(()),
        }
    }
}

impl Current {
    /// Converts the ranges to the decoded track's rate, once that is known.
    fn scale_keep(&mut self, rate: u32) {
        let Some(unit) = self.keep_rate.take().filter(|unit| *unit != rate) else { return };
        let scaled = |at: u64| match at {
            u64::MAX => u64::MAX,
            at => {
                let frames = (u128::from(at) * u128::from(rate) + u128::from(unit) / 2) / u128::from(unit);
                u64::try_from(frames).unwrap_or(u64::MAX)
            }
        };
        self.keep.iter_mut().for_each(|range| *range = scaled(range.start)..scaled(range.end));
    }

    /// The parts of these frames that are kept.
    fn heard_in(&mut self, frames: Range<u64>) -> Vec<Range<u64>> {
        while self.keep.front().is_some_and(|range| range.end <= frames.start) {
            self.keep.pop_front();
        }
        let within = |range: &Range<u64>| range.start.max(frames.start)..range.end.min(frames.end);
        self.keep
            .iter()
            .take_while(|range| range.start < frames.end)
            .map(within)
            .filter(|part| !part.is_empty())
            .collect()
    }
}

/// Replaces NaN by silence, and refuses samples larger than those of any recording.
fn check_loudness(samples: &mut [f32]) -> Result<(), DecodeError> {
    // Without their sign, floats are ordered like their bits, and NaN is above all numbers.
    let highest = samples.iter().fold(0, |highest, sample| highest.max(sample.abs().to_bits()));
    if highest <= LOUDEST.to_bits() {
        return Ok(());
    }
    let mut peak = 0f32;
    for sample in samples {
        if !sample.is_finite() {
            *sample = 0.0;
        }
        peak = peak.max(sample.abs());
    }
    if peak > LOUDEST {
        return Err(DecodeError::Loud(20.0 * f64::from(peak).log10()));
    }
    Ok(())
}

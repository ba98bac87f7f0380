//! Resamples any sample rate to 44.1 kHz, as a stream.

use rubato::audioadapter_buffers::direct::InterleavedSlice;
use rubato::{Fft, FixedSync, Resampler};

use serde::{Deserialize, Serialize};

use crate::RATE;

/// A sample rate cannot be converted.
#[derive(Debug, thiserror::Error, Serialize, Deserialize)]
#[error("cannot convert the sample rate of {rate} Hz to 44.1 kHz: {reason}")]
pub struct ResampleError {
    rate: u32,
    reason: String,
}

/// The approximate number of frames that are resampled at a time.
const CHUNK: u32 = 4096;

/// The number of frames at `rate` Hz that become an even number of frames at 44.1 kHz. The filter's delay is half of
/// them and must be a whole number of frames.
fn chunk(rate: u32) -> usize {
    let (mut unit, mut rest) = (rate, RATE);
    while rest > 0 {
        (unit, rest) = (rest, unit % rest);
    }
    let pair = 2 * (rate / unit);
    (pair * CHUNK.div_ceil(pair)) as usize
}

/// The number of frames at 44.1 kHz of a song of `frames` frames at `rate` Hz.
pub(crate) fn resampled(frames: u64, rate: u32) -> u64 {
    let exact = u128::from(frames) * u128::from(RATE);
    u64::try_from((exact + u128::from(rate) / 2) / u128::from(rate)).unwrap_or(u64::MAX).max(u64::from(frames > 0))
}

/// Converts interleaved stereo at one rate to 44.1 kHz. The output has exactly [`resampled`] frames.
pub(crate) enum ToRate {
    Same,
    Fft(Box<RateConverter>),
}

pub(crate) struct RateConverter {
    resampler: Fft<f32>,
    rate: u32,
    waiting: Vec<f32>,
    output: Vec<f32>,
    /// The number of frames of the filter's delay that are still to be dropped.
    skip: usize,
    taken: u64,
    given: u64,
}

impl ToRate {
    pub(crate) fn new(rate: u32) -> Result<Self, ResampleError> {
        if rate == RATE {
            return Ok(Self::Same);
        }
        let resampler = Fft::new(rate as usize, RATE as usize, chunk(rate), 2, FixedSync::Both)
            .map_err(|error| ResampleError { rate, reason: error.to_string() })?;
        let skip = resampler.output_delay();
        let output = vec![0.0; 2 * resampler.output_frames_max()];
        Ok(Self::Fft(Box::new(RateConverter {
            resampler,
            rate,
            waiting: Vec::new(),
            output,
            skip,
            taken: 0,
            given: 0,
        })))
    }

    /// Feeds interleaved frames, and passes the output to `sink`.
    pub(crate) fn feed<E: From<ResampleError>>(
        &mut self,
        interleaved: &[f32],
        sink: &mut dyn FnMut(&[f32]) -> Result<(), E>,
    ) -> Result<(), E> {
        match self {
            Self::Same => sink(interleaved),
            Self::Fft(stream) => {
                stream.taken += interleaved.len() as u64 / 2;
                stream.waiting.extend_from_slice(interleaved);
                stream.run(sink)
            }
        }
    }

    /// Passes the remaining output to `sink`.
    pub(crate) fn finish<E: From<ResampleError>>(
        &mut self,
        sink: &mut dyn FnMut(&[f32]) -> Result<(), E>,
    ) -> Result<(), E> {
        let Self::Fft(stream) = self else {
            return Ok(());
        };
        while stream.given < resampled(stream.taken, stream.rate) {
            stream.waiting.resize(2 * stream.resampler.input_frames_next(), 0.0);
            stream.run(sink)?;
        }
        Ok(())
    }
}

impl RateConverter {
    fn run<E: From<ResampleError>>(&mut self, sink: &mut dyn FnMut(&[f32]) -> Result<(), E>) -> Result<(), E> {
        let rate = self.rate;
        let failed = |error: &dyn std::fmt::Display| ResampleError { rate, reason: error.to_string() };
        let mut used = 0;
        loop {
            let wanted = self.resampler.input_frames_next();
            let input = &self.waiting[2 * used..];
            if input.len() < 2 * wanted {
                break;
            }
            let input = InterleavedSlice::new(input, 2, wanted).map_err(|error| failed(&error))?;
            let room = self.output.len() / 2;
            let mut output = InterleavedSlice::new_mut(&mut self.output, 2, room).map_err(|error| failed(&error))?;
            let (_, made) =
                self.resampler.process_into_buffer(&input, &mut output, None).map_err(|error| failed(&error))?;
            used += wanted;
            let dropped = self.skip.min(made);
            self.skip -= dropped;
            let left = resampled(self.taken, self.rate).saturating_sub(self.given);
            let kept = (made - dropped).min(usize::try_from(left).unwrap_or(usize::MAX));
            self.given += kept as u64;
            sink(&self.output[2 * dropped..2 * (dropped + kept)])?;
        }
        self.waiting.drain(..2 * used);
        Ok(())
    }
}

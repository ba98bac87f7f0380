//! Which signals are accepted: bounds on sample rates and channels.

use std::ops::RangeInclusive;

use super::error::DecodeError;

/// Sample rates, in Hz.
const RATES: RangeInclusive<u32> = 1_000..=768_000;
/// The most samples of all channels in a second: eight channels at 192 kHz. A few kilobytes can claim more, and every
/// claimed sample costs time.
const MOST_SAMPLES: u64 = 8 * 192_000;

/// An error unless such a signal is accepted.
pub(super) fn check_signal(rate: u32, channels: usize) -> Result<(), DecodeError> {
    let samples = u64::from(rate).saturating_mul(channels as u64);
    if !RATES.contains(&rate) || channels == 0 || samples > MOST_SAMPLES {
        return Err(DecodeError::Unsupported(format!("{channels} channels at {rate} Hz")));
    }
    Ok(())
}

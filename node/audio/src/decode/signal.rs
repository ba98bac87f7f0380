//! The accepted signals: bounds on sample rates and channels.

use std::ops::RangeInclusive;

use super::error::DecodeError;

/// The accepted sample rates, in Hz.
const RATES: RangeInclusive<u32> = 1_000..=768_000;
/// The largest number of samples of all channels per second: eight channels at 192 kHz. A file of a few kilobytes can
/// claim more, and every claimed sample costs time.
const MOST_SAMPLES: u64 = 8 * 192_000;

/// Fails for a signal that is not accepted.
pub(super) fn check_signal(rate: u32, channels: usize) -> Result<(), DecodeError> {
    let samples = u64::from(rate).saturating_mul(channels as u64);
    if !RATES.contains(&rate) || channels == 0 || samples > MOST_SAMPLES {
        return Err(DecodeError::Unsupported(format!("{channels} channels at {rate} Hz")));
    }
    Ok(())
}

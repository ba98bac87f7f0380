//! A waveform's outline, small enough to send and to draw.
//!
//! The stream is cut into buckets of equally many frames, of which the lowest and the highest sample are kept. They
//! begin with one frame each; whenever there would be too many of them, neighbours are joined and the size doubles. So
//! memory is bounded, and any song ends with [`MOST`] buckets at most and, unless it is tiny, half as many at least.

use serde::{Deserialize, Serialize};

use crate::Stereo;

/// The most buckets an outline has.
const MOST: usize = 2000;
/// Full scale in an outline.
const FULL_SCALE: f32 = 127.0;

/// The outline of a song or a stem, both channels in one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Peaks {
    /// Its length in frames at 44.1 kHz.
    pub frames: u64,
    /// The frames in each bucket; the last may have fewer. A power of two.
    pub frames_per_bucket: u64,
    /// The lowest sample of each bucket; -127 is negative full scale, beyond which it is clipped.
    pub min: Vec<i8>,
    /// The highest sample of each bucket; 127 is full scale.
    pub max: Vec<i8>,
}

/// Draws an outline as samples come.
pub struct PeaksBuilder {
    frames: u64,
    frames_per_bucket: u64,
    /// Lowest and highest of each full bucket, and of the last, which fills.
    buckets: Vec<[f32; 2]>,
    /// How many frames the last bucket still takes.
    room: u64,
}

impl Default for PeaksBuilder {
    fn default() -> Self {
        Self::new()
    }
}

impl PeaksBuilder {
    /// Of a song that has not begun yet.
    pub fn new() -> Self {
        Self { frames: 0, frames_per_bucket: 1, buckets: Vec::with_capacity(MOST), room: 0 }
    }

    /// Takes the next frames, any number of them. Where a channel is longer than the other, its rest is left out;
    /// samples that are not numbers count as none.
    pub fn feed(&mut self, block: &Stereo) {
        let length = block[0].len().min(block[1].len());
        let mut from = 0;
        while from < length {
            if self.room == 0 {
                self.open();
            }
            let upto = length.min(from.saturating_add(usize::try_from(self.room).unwrap_or(usize::MAX)));
            if let Some(bucket) = self.buckets.last_mut() {
                for sample in block.iter().flat_map(|channel| &channel[from..upto]) {
                    // These pass over what is not a number.
                    bucket[0] = bucket[0].min(*sample);
                    bucket[1] = bucket[1].max(*sample);
                }
            }
            self.room -= (upto - from) as u64;
            from = upto;
        }
        self.frames += length as u64;
    }

    /// Begins a bucket, joining neighbours first where there are too many.
    fn open(&mut self) {
        if self.buckets.len() == MOST {
            for at in 0..MOST / 2 {
                let [left, right] = [self.buckets[2 * at], self.buckets[2 * at + 1]];
                self.buckets[at] = [left[0].min(right[0]), left[1].max(right[1])];
            }
            self.buckets.truncate(MOST / 2);
            self.frames_per_bucket *= 2;
        }
        self.buckets.push([f32::INFINITY, f32::NEG_INFINITY]);
        self.room = self.frames_per_bucket;
    }

    /// The outline.
    pub fn finish(self) -> Peaks {
        // A bucket without a number in it is silent.
        let level = |sample: f32, none: f32| {
            let sample = if sample == none { 0.0 } else { sample };
            (sample * FULL_SCALE).round().clamp(-FULL_SCALE, FULL_SCALE) as i8
        };
        Peaks {
            frames: self.frames,
            frames_per_bucket: self.frames_per_bucket,
            min: self.buckets.iter().map(|bucket| level(bucket[0], f32::INFINITY)).collect(),
            max: self.buckets.iter().map(|bucket| level(bucket[1], f32::NEG_INFINITY)).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outline(samples: &[f32], block: usize) -> Peaks {
        let mut builder = PeaksBuilder::new();
        samples.chunks(block).for_each(|block| builder.feed(&[block.to_vec(), vec![0.0; block.len()]]));
        builder.finish()
    }

    #[test]
    fn any_length_has_buckets_that_cover_it() {
        for length in [0, 1, 2, MOST - 1, MOST, MOST + 1, 4 * MOST, 123_456] {
            let peaks = outline(&vec![0.5; length], 1000);
            assert_eq!(peaks.frames, length as u64);
            assert_eq!(peaks.max.len() as u64, peaks.frames.div_ceil(peaks.frames_per_bucket), "{length}");
            assert_eq!(peaks.min.len(), peaks.max.len());
            assert!(peaks.max.len() <= MOST && (length < MOST || peaks.max.len() >= MOST / 2), "{length}");
        }
    }

    #[test]
    fn a_single_spike_survives_however_long_the_song() {
        let mut samples = vec![0.0; 1_000_000];
        (samples[765_432], samples[123_456]) = (1.0, -0.5);
        let peaks = outline(&samples, 4096);
        assert_eq!(peaks.max[(765_432 / peaks.frames_per_bucket) as usize], 127);
        assert_eq!(peaks.min[(123_456 / peaks.frames_per_bucket) as usize], -64);
        assert_eq!(peaks.max.iter().filter(|peak| **peak != 0).count(), 1);
    }

    #[test]
    fn how_the_stream_is_cut_changes_nothing() {
        let samples: Vec<f32> = (0..30_000).map(|at| ((at * at) as f32 * 0.001).sin()).collect();
        assert_eq!(outline(&samples, 7), outline(&samples, 30_000));
    }

    #[test]
    fn what_is_no_number_or_too_loud_is_drawn_all_the_same() {
        let peaks = outline(&[f32::NAN, 3.0, f32::NEG_INFINITY], 3);
        assert_eq!((peaks.min, peaks.max), (vec![0, 0, -127], vec![0, 127, 0]));
    }
}

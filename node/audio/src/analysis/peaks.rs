//! The outline of a waveform, small enough to send and to draw.
//!
//! The stream is cut into buckets of equally many frames, of which the lowest and the highest sample are kept. They
//! begin with one frame each. When there would be too many buckets, neighbours are joined and the size doubles. So
//! memory is bounded: any song has at most [`MOST`] buckets and, unless it is tiny, at least half as many.

use serde::{Deserialize, Serialize};

use crate::Stereo;

/// The largest number of buckets of an outline.
const MOST: usize = 2000;
/// Full scale in an outline.
const FULL_SCALE: f32 = 127.0;

/// The outline of a song or a stem, both channels in one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Peaks {
    /// The length in frames at 44.1 kHz.
    pub frames: u64,
    /// The number of frames in each bucket; the last may have fewer. A power of two.
    pub frames_per_bucket: u64,
    /// The lowest sample of each bucket, clamped; -127 is negative full scale.
    pub min: Vec<i8>,
    /// The highest sample of each bucket, clamped; 127 is full scale.
    pub max: Vec<i8>,
}

/// Computes an outline from a stream of samples.
pub struct PeaksBuilder {
    frames: u64,
    frames_per_bucket: u64,
    /// The lowest and the highest sample of each complete bucket, and of the last, which fills.
    buckets: Vec<[f32; 2]>,
    /// The number of frames that the last bucket still takes.
    room: u64,
}

impl Default for PeaksBuilder {
    fn default() -> Self {
        Self::new()
    }
}

impl PeaksBuilder {
    /// Starts the outline of a song.
    pub fn new() -> Self {
        Self { frames: 0, frames_per_bucket: 1, buckets: Vec::with_capacity(MOST), room: 0 }
    }

    /// Takes the next frames, any number of them. If a channel is longer than the other, its rest is ignored; NaN is
    /// skipped.
    pub fn feed(&mut self, block: &Stereo) {
        let length = block[0].len().min(block[1].len());
        let mut from = 0;
        while from < length {
            if self.room == 0 {
                self.open();
            }
            let end = length.min(from.saturating_add(usize::try_from(self.room).unwrap_or(usize::MAX)));
            if let Some(bucket) = self.buckets.last_mut() {
                for sample in block.iter().flat_map(|channel| &channel[from..end]) {
                    // These skip NaN.
                    bucket[0] = bucket[0].min(*sample);
                    bucket[1] = bucket[1].max(*sample);
                }
            }
            self.room -= (end - from) as u64;
            from = end;
        }
        self.frames += length as u64;
    }

    /// Begins a bucket; joins neighbours first if there are too many.
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
        // A bucket of NaN only is silent.
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
    fn buckets_cover_songs_of_any_length() {
        for length in [0, 1, 2, MOST - 1, MOST, MOST + 1, 4 * MOST, 123_456] {
            let peaks = outline(&vec![0.5; length], 1000);
            assert_eq!(peaks.frames, length as u64);
            assert_eq!(peaks.max.len() as u64, peaks.frames.div_ceil(peaks.frames_per_bucket), "{length}");
            assert_eq!(peaks.min.len(), peaks.max.len());
            assert!(peaks.max.len() <= MOST && (length < MOST || peaks.max.len() >= MOST / 2), "{length}");
        }
    }

    #[test]
    fn a_single_spike_is_in_the_outline_of_any_song() {
        let mut samples = vec![0.0; 1_000_000];
        (samples[765_432], samples[123_456]) = (1.0, -0.5);
        let peaks = outline(&samples, 4096);
        assert_eq!(peaks.max[(765_432 / peaks.frames_per_bucket) as usize], 127);
        assert_eq!(peaks.min[(123_456 / peaks.frames_per_bucket) as usize], -64);
        assert_eq!(peaks.max.iter().filter(|peak| **peak != 0).count(), 1);
    }

    #[test]
    fn blocks_of_any_length_give_the_same_outline() {
        let samples: Vec<f32> = (0..30_000).map(|at| ((at * at) as f32 * 0.001).sin()).collect();
        assert_eq!(outline(&samples, 7), outline(&samples, 30_000));
    }

    #[test]
    fn nan_and_loud_samples_have_an_outline() {
        let peaks = outline(&[f32::NAN, 3.0, f32::NEG_INFINITY], 3);
        assert_eq!((peaks.min, peaks.max), (vec![0, 0, -127], vec![0, 127, 0]));
    }
}

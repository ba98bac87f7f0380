//! Decoding, analysis and encoding of audio files.
//!
//! ```text
//! decode --> Pcm --> analysis
//!             |
//!             +----> encode, mix
//! ```
//!
//! Audio is stereo, 32-bit float, 44.1 kHz throughout. Everything is a stream: a decoded song is a file of samples, and
//! no function holds a whole song in memory. The crate has no models, clusters, tasks or HTTP.

#![cfg_attr(test, allow(clippy::unwrap_used))]

pub mod analysis;
pub mod clip;
pub mod decode;
pub mod encode;
pub mod mix;
pub mod pcm;
pub mod quality;
mod resample;
pub mod sandbox;
pub mod source;
pub mod synth;
pub mod tags;
pub mod thread;

/// The sample rate of decoded audio, in Hz.
pub const RATE: u32 = 44_100;

/// Two channels of equal length: left, right.
pub type Stereo = [Vec<f32>; 2];

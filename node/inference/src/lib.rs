//! Audio in, stems out.
//!
//! ```text
//! decode --> Pcm --> separator, segment by segment --> part --> merge --> encode
//!             |
//!             +----> analysis
//! ```
//!
//! Everything streams: a song's samples lie in a file, a task holds one segment, the merge a block. Audio is stereo
//! 32-bit float at 44.1 kHz throughout. The crate knows nothing of clusters, tasks or HTTP.

#![cfg_attr(test, allow(clippy::unwrap_used))]

pub mod analysis;
pub mod clip;
pub mod decode;
pub mod demucs;
pub mod encode;
mod ending;
mod kernels;
pub mod merge;
pub mod mix;
pub mod models;
pub mod part;
pub mod pcm;
pub mod quality;
mod resample;
pub mod separator;
mod spectral;
pub mod synth;
pub mod tags;
pub mod thread;

pub use separator::{DEFAULT_MODEL, Geometry, SeparateError, Separator, SongStats, built_in};

/// The sample rate of everything, in Hz.
pub const RATE: u32 = 44_100;

/// One channel after the other, equally long.
pub type Stereo = [Vec<f32>; 2];

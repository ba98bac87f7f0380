//! Samples in, stems out.
//!
//! ```text
//! Pcm --> separator, segment by segment --> part --> merge --> encoded stems
//! ```
//!
//! Everything streams: a song's samples are in a file, a task holds one segment, the merge holds one block. The crate
//! builds on `audio`, which decodes and encodes; it knows no clusters, tasks or HTTP.

#![cfg_attr(test, allow(clippy::unwrap_used))]

pub mod demucs;
mod kernels;
pub mod merge;
pub mod models;
pub mod part;
pub mod separator;
mod spectral;

pub use separator::{DEFAULT_MODEL, Geometry, SeparateError, Separator, built_in};

//! Separates songs into stems.
//!
//! ```text
//! Pcm --> separator, segment by segment --> part --> merge --> encoded stems
//! ```
//!
//! Everything streams: a song's samples are in a file, a task holds one segment, the merge holds one block. The crate
//! uses `audio` for decoding and encoding. It has no clusters, tasks or HTTP.

#![cfg_attr(test, allow(clippy::unwrap_used))]

mod architecture;
pub mod checkpoint;
mod demucs;
mod kernels;
pub mod merge;
pub mod models;
pub mod part;
pub mod separator;
mod spectral;

pub use models::{DEFAULT_MODEL, built_in};
pub use separator::{Geometry, SeparateError, Separator};

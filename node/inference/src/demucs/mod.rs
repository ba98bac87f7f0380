//! Demucs' hybrid networks, numerically equal to the reference (the `demucs` package): one branch processes the song's
//! spectrum, one its waveform, and each stem is the sum of the outputs of both.
//!
//! ```text
//! samples ──► spectrum ──► frequency encoders ──┐            ┌──► frequency decoders ──► samples ──┐
//!    │                                          ├─ the core ─┤                                     ├──► stems
//!    └─────────────────────► time encoders ─────┘            └──► time decoders ───────────────────┘
//! ```
//!
//! The versions differ in the core: `htdemucs` (v4) has a transformer there, `hdemucs` (v3) adds the branches up. Each
//! is an architecture. They share the arguments' rules, the spectrum, the encoders and the decoders.

mod arguments;
mod branches;
mod dconv;
mod frequency;
pub(crate) mod hdemucs;
pub(crate) mod htdemucs;
mod hybrid;
mod linear;
mod local;
mod lstm;
mod spectrum;
mod time;

//! HTDemucs: Demucs v4, whose branches meet in a transformer (Rouard, Massa and Défossez, "Hybrid transformers for music
//! source separation", 2023; `demucs/htdemucs.py`).

mod config;
mod fused;
mod plain;
mod transformer;

pub(crate) use config::Config;
pub(crate) use fused::Fused;
pub(crate) use plain::Plain;

//! Where files from strangers are read.

use std::fs::File;
use std::path::Path;

use crate::decode::{DecodeError, Limits, Probe};
use crate::pcm::{self, Pcm};
use crate::tags::{Cover, Tags};
use crate::{decode, tags};

/// What a file holds and what its tags say.
#[derive(Debug, Clone, PartialEq)]
pub struct Inspected {
    /// The sound.
    pub probe: Probe,
    /// The tags.
    pub tags: Tags,
    /// The picture of the cover.
    pub cover: Option<Cover>,
}

/// Reads files from strangers.
#[derive(Debug, Clone, Default)]
pub struct Sandbox;

impl Sandbox {
    /// Reads files in this process, without a sandbox: for tests, and for files that this process wrote.
    pub fn none() -> Self {
        Self
    }

    /// Decodes the file to its end and reads its tags.
    pub fn inspect(&self, path: &Path, limits: &Limits) -> Result<Inspected, DecodeError> {
        let file = File::open(path)?;
        let (tags, cover) = tags::tags_of(&file)?;
        let probe = decode::probe(&file, limits)?;
        Ok(Inspected { probe, tags, cover })
    }

    /// Decodes the file into `out` at 44.1 kHz.
    pub fn decode_to(&self, path: &Path, out: &Path) -> Result<Pcm, DecodeError> {
        decode::decode_to(&File::open(path)?, pcm::create(out)?)
    }

    /// Reads the file's tags.
    pub fn tags_of(&self, path: &Path) -> Result<(Tags, Option<Cover>), DecodeError> {
        tags::tags_of(&File::open(path)?)
    }
}

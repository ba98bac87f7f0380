//! Reads untrusted files in a child process.
//!
//! Decoders and tag readers are large programs. A crafted file can make one overflow its stack, allocate all memory or
//! never end. A panic can be caught; these cannot. So each file is read by a child process: the same program, started
//! with one hidden argument (`process`). The child opens the file, gives up all rights that it does not need
//! (`confine`) and only then reads the content ([`child`]). Its bounds are in `bounds`, the messages between both
//! processes in `protocol`.
//!
//! Invariants: a file cannot crash, fill or block the process that reads it through a [`Sandbox::child`]. The result
//! equals that of [`Sandbox::none`], samples and errors alike, unless a bound is exceeded or the child dies.
//! [`DecodeError::is_the_files`] separates errors caused by the file from all others.
//!
//! The child runs as the same user and in the same namespaces as its parent. On systems other than Linux it has bounds
//! but no filter of system calls.

mod bounds;
pub mod child;
mod confine;
#[cfg(debug_assertions)]
mod failpoint;
mod process;
mod protocol;

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

pub use bounds::Bounds;
use process::Program;
pub(crate) use protocol::io_error;
use protocol::{Answer, Work};

use crate::decode::{DecodeError, Limits, Probe};
use crate::pcm::{self, Pcm};
use crate::tags::{Cover, Tags};
use crate::{RATE, decode, tags};

/// The content of a file.
#[derive(Debug, Clone, PartialEq)]
pub struct Inspected {
    /// The properties of its sound.
    pub probe: Probe,
    /// Its tags.
    pub tags: Tags,
    /// Its cover.
    pub cover: Option<Cover>,
}

/// Reads untrusted files.
#[derive(Debug, Clone)]
pub struct Sandbox {
    program: Option<Program>,
    bounds: Bounds,
}

impl Sandbox {
    /// Reads files in this process, without a sandbox: for tests, and for files that this process wrote.
    pub fn none() -> Self {
        Self { program: None, bounds: Bounds::default() }
    }

    /// Reads each file in a child process. `program` must call [`child::serve`] if its first argument is
    /// [`child::ARGUMENT`].
    pub fn child(program: PathBuf) -> Self {
        Self { program: Some(Program::new(program)), bounds: Bounds::default() }
    }

    /// Reads each file in a child process of this program, even if its executable was replaced since its start.
    pub fn own_child() -> io::Result<Self> {
        // On Linux this path is the running program itself, whatever file has its name now.
        let program = if cfg!(target_os = "linux") { "/proc/self/exe".into() } else { std::env::current_exe()? };
        Ok(Self::child(program))
    }

    /// Sets the bounds.
    pub fn within(mut self, bounds: Bounds) -> Self {
        self.bounds = bounds;
        self
    }

    /// Decodes the file to its end and reads its tags.
    pub fn inspect(&self, path: &Path, limits: &Limits) -> Result<Inspected, DecodeError> {
        let file = File::open(path)?;
        let Some(program) = &self.program else { return inspect(&file, limits) };
        let budget = self.bounds.for_sound(limits.max_seconds, false);
        match program.run(file, Work::Inspect(*limits), budget, None)? {
            (Answer::Inspected { probe, tags }, cover) => Ok(Inspected { probe, tags, cover }),
            _ => Err(process::nonsense()),
        }
    }

    /// Decodes the file into `out` at 44.1 kHz.
    pub fn decode_to(&self, path: &Path, out: &Path) -> Result<Pcm, DecodeError> {
        self.decode_within(path, out, self.bounds.longest)
    }

    /// Decodes a file with about this many frames at 44.1 kHz, like [`Self::decode_to`].
    pub fn decode_known(&self, path: &Path, out: &Path, frames: u64) -> Result<Pcm, DecodeError> {
        // Other versions of a decoder may find more frames in the same file.
        let seconds = frames.div_ceil(u64::from(RATE)).saturating_mul(2).min(self.bounds.longest);
        self.decode_within(path, out, seconds)
    }

    fn decode_within(&self, path: &Path, out: &Path, seconds: u64) -> Result<Pcm, DecodeError> {
        let (file, samples) = (File::open(path)?, pcm::create(out)?);
        let Some(program) = &self.program else { return decode::decode_to(&file, samples) };
        let budget = self.bounds.for_sound(seconds, true);
        match program.run(file, Work::Decode, budget, Some(out))? {
            (Answer::Decoded { frames, stats }, _) => Ok(Pcm::open(samples, frames, stats)?),
            _ => Err(process::nonsense()),
        }
    }

    /// Reads the file's tags.
    pub fn tags_of(&self, path: &Path) -> Result<(Tags, Option<Cover>), DecodeError> {
        let file = File::open(path)?;
        let Some(program) = &self.program else { return tags::tags_of(&file) };
        match program.run(file, Work::Tags, self.bounds.for_tags(), None)? {
            (Answer::Tagged { tags }, cover) => Ok((tags, cover)),
            _ => Err(process::nonsense()),
        }
    }
}

/// Reads tags and sound in this process.
fn inspect(file: &File, limits: &Limits) -> Result<Inspected, DecodeError> {
    let (tags, cover) = tags::tags_of(file)?;
    let probe = decode::probe(file, limits)?;
    Ok(Inspected { probe, tags, cover })
}

//! Where files from strangers are read: in a process of their own.
//!
//! Decoders and tag readers are large, and a crafted file can make one overflow its stack, allocate all memory or never
//! end. A panic can be caught; these cannot. So each file is read by a child process: the same program, started with one
//! hidden argument (`process`). The child opens the file, gives up all that it does not need (`confine`) and only then
//! looks at the bytes ([`child`]). What it may use is in `bounds`, what the two processes say to each other in
//! `protocol`.
//!
//! Invariants: a file cannot end, fill or stop the process that reads it through a [`Sandbox::child`]. The result is the one
//! that [`Sandbox::none`] gives, samples and errors alike, except where a bound is exceeded or the child dies. An error that
//! is the file's fault is told from one that is not: [`DecodeError::is_the_files`].
//!
//! The child is not hidden from the machine: it runs as the same user. Outside of Linux it has bounds but no filter of
//! system calls.

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

    /// Reads each file in a process of its own. `program` must call [`child::serve`] when its first argument is
    /// [`child::ARGUMENT`].
    pub fn child(program: PathBuf) -> Self {
        Self { program: Some(Program::new(program)), bounds: Bounds::default() }
    }

    /// Reads each file in another process of this program, also when its file has been exchanged since it started.
    pub fn own_child() -> io::Result<Self> {
        // On Linux this is the running program itself, whatever now has its name.
        let program = if cfg!(target_os = "linux") { "/proc/self/exe".into() } else { std::env::current_exe()? };
        Ok(Self::child(program))
    }

    /// With other bounds.
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

    /// Decodes a file that is known to have about this many frames at 44.1 kHz, as [`Self::decode_to`] does.
    pub fn decode_known(&self, path: &Path, out: &Path, frames: u64) -> Result<Pcm, DecodeError> {
        // Other versions of a decoder may find more of the same file.
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

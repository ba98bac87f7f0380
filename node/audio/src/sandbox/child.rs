//! The child's side: reads one file and says what is in it.
//!
//! The order is fixed: open what is needed, give up everything else, look at the bytes. Nothing before the second step may
//! depend on the file's content.

use std::ffi::OsString;
use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::path::Path;
use std::process::ExitCode;

use rustix::process::getppid;

use super::confine::confine;
use super::protocol::{Answer, Request, Work, write};
use crate::decode::{DecodeError, Failure};
use crate::pcm;
use crate::tags::Cover;
use crate::{decode, tags};

/// The argument that makes a program a child.
pub const ARGUMENT: &str = "decode";

/// The status of a child that was not started by a [`super::Sandbox`], or whose parent is gone.
const NOT_ASKED: i32 = 2;

/// Does what the arguments behind [`ARGUMENT`] say. Called before anything else: no other thread may run yet.
pub fn serve(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let mut arguments = arguments.into_iter();
    let request = arguments.next().and_then(|text| serde_json::from_str::<Request>(text.to_str()?).ok());
    let Some(request) = request else {
        eprintln!("This command is for the program itself, which reads each song in a process of its own.");
        std::process::exit(NOT_ASKED);
    };
    if !has_parent(request.parent) {
        std::process::exit(NOT_ASKED);
    }
    // The parent says what has happened.
    std::panic::set_hook(Box::new(|_| {}));
    let out = arguments.next();
    let (answer, cover) = answer(&request, out.as_ref().map(Path::new)).unwrap_or_else(|error| {
        let error = match error {
            // A process whose parent ignores SIGXFSZ is not ended by it.
            DecodeError::Io(error) if error.kind() == io::ErrorKind::FileTooLarge => {
                DecodeError::Failed(Failure::Samples(request.budget.file))
            }
            error => error,
        };
        (Answer::Failed(error), None)
    });
    // A parent that does not read any more is gone.
    let _ = write(&mut io::stdout().lock(), &answer, cover.as_ref());
    ExitCode::SUCCESS
}

/// Ends this process with its parent; false if that has ended already.
fn has_parent(parent: i32) -> bool {
    #[cfg(target_os = "linux")]
    if rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::KILL)).is_err() {
        return false;
    }
    getppid().is_some_and(|found| found.as_raw_nonzero().get() == parent)
}

fn answer(request: &Request, out: Option<&Path>) -> Result<(Answer, Option<Cover>), DecodeError> {
    let file = File::from(io::stdin().as_fd().try_clone_to_owned()?);
    let samples = out.map(pcm::create).transpose()?;
    confine(&request.budget)?;
    #[cfg(debug_assertions)]
    super::failpoint::reach(samples.as_ref());
    match (request.work, samples) {
        (Work::Inspect(limits), _) => {
            let found = super::inspect(&file, &limits)?;
            Ok((Answer::Inspected { probe: found.probe, tags: found.tags }, found.cover))
        }
        (Work::Decode, Some(samples)) => {
            let pcm = decode::decode_to(&file, samples)?;
            Ok((Answer::Decoded { frames: pcm.frames(), stats: *pcm.stats() }, None))
        }
        (Work::Decode, None) => Err(io::Error::from(io::ErrorKind::InvalidInput).into()),
        (Work::Tags, _) => {
            let (tags, cover) = tags::tags_of(&file)?;
            Ok((Answer::Tagged { tags }, cover))
        }
    }
}

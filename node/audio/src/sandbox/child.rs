//! The child process: reads one file and reports its content.
//!
//! The order is fixed: open the files, give up all other rights, read the content. Nothing before the second step may
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

/// The first argument that turns a program into a child.
pub const ARGUMENT: &str = "decode";

/// The exit status of a child that no [`super::Sandbox`] started, or whose parent has ended.
const NOT_ASKED: i32 = 2;

/// Runs the request in the arguments after [`ARGUMENT`]. Must be called before anything else, while the process has one
/// thread.
pub fn serve(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let mut arguments = arguments.into_iter();
    let request = arguments.next().and_then(|text| serde_json::from_str::<Request>(text.to_str()?).ok());
    let Some(request) = request else {
        eprintln!("This command is internal: the program reads each song in a child process.");
        std::process::exit(NOT_ASKED);
    };
    if !has_parent(request.parent) {
        std::process::exit(NOT_ASKED);
    }
    // The parent reports the failure.
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
    // A parent that no longer reads has ended.
    let _ = write(&mut io::stdout().lock(), &answer, cover.as_ref());
    ExitCode::SUCCESS
}

/// Makes this process end with its parent; false if the parent has ended already.
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

//! The parent process: starts one child for one file and waits for its end.
//!
//! The child is always ended and its status read, even if the caller panics: there are no zombies.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::Signal;

use super::bounds::Budget;
use super::child::ARGUMENT;
use super::protocol::{self, Answer, LONGEST_ANSWER, Request, Work};
use crate::decode::{DecodeError, Failure};
use crate::tags::Cover;

/// Variables that the child keeps: the paths of its libraries, and the failpoints of tests. Other variables may hold
/// secrets.
const KEPT: &[&str] = if cfg!(debug_assertions) { &["LD_LIBRARY_PATH", "FAILPOINTS"] } else { &["LD_LIBRARY_PATH"] };
/// The largest part of the child's standard error that is kept, in bytes.
const MAX_STDERR: usize = 4096;
/// The message of the standard library when an allocation fails.
const NO_MEMORY: &str = "memory allocation of ";
/// The exit status of a program that panicked.
const PANICKED: i32 = 101;

/// The program that reads files.
#[derive(Debug, Clone)]
pub(super) struct Program(Arc<PathBuf>);

/// The end of a process.
struct Ended {
    status: ExitStatus,
    /// Its standard output.
    answer: Vec<u8>,
    /// Its standard error.
    error_output: Vec<u8>,
    /// The bound for which this process ended it.
    stopped: Option<Failure>,
}

/// The answer was invalid.
pub(super) fn nonsense() -> DecodeError {
    DecodeError::Failed(Failure::Nonsense)
}

impl Program {
    pub(super) fn new(path: PathBuf) -> Self {
        Self(Arc::new(path))
    }

    /// Starts a child for one file and waits for its answer. The child ends with this thread.
    pub(super) fn run(
        &self,
        file: File,
        work: Work,
        budget: Budget,
        out: Option<&Path>,
    ) -> Result<(Answer, Option<Cover>), DecodeError> {
        let parent = rustix::process::getpid().as_raw_nonzero().get();
        let request = Request { work, budget, parent };
        let mut command = Command::new(self.0.as_path());
        command
            .arg0("quartet-decode")
            .arg(ARGUMENT)
            .arg(serde_json::to_string(&request).map_err(io::Error::from)?)
            .args(out)
            .env_clear()
            .envs(KEPT.iter().filter_map(|name| Some((name, std::env::var_os(name)?))))
            .stdin(file)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            // An interrupt from the terminal is for the parent, which may stop in order.
            .process_group(0);
        let ended = Running(command.spawn()?).ended(Instant::now() + Duration::from_secs(budget.patience), &budget)?;
        let stderr = String::from_utf8_lossy(&ended.error_output);
        match outcome(&ended, &budget) {
            Ok((Answer::Failed(error), _)) => Err(error),
            Err(error) => {
                tracing::debug!(status = %ended.status, stderr = stderr.trim(), %error, "a decoder's process failed");
                Err(error)
            }
            answer => answer,
        }
    }
}

/// The error for a process' end.
fn outcome(ended: &Ended, budget: &Budget) -> Result<(Answer, Option<Cover>), DecodeError> {
    if let Some(failure) = &ended.stopped {
        return Err(DecodeError::Failed(failure.clone()));
    }
    let failure = match (ended.status.code(), ended.status.signal().and_then(Signal::from_named_raw)) {
        (Some(0), _) => return protocol::read(&ended.answer).ok_or_else(nonsense),
        (Some(PANICKED), _) => Failure::Crashed,
        // A library is missing, or the program is another one.
        (Some(code), _) => {
            return Err(io::Error::other(format!("cannot start the decoder (status {code})")).into());
        }
        (_, Some(Signal::XCPU)) => Failure::Processor(budget.processor),
        (_, Some(Signal::XFSZ)) => Failure::Samples(budget.file),
        (_, Some(Signal::ABORT)) if String::from_utf8_lossy(&ended.error_output).contains(NO_MEMORY) => {
            Failure::Memory(budget.memory)
        }
        (
            _,
            Some(Signal::ABORT | Signal::BUS | Signal::FPE | Signal::ILL | Signal::SEGV | Signal::SYS | Signal::TRAP),
        ) => Failure::Crashed,
        // Another process ended it: an operator, the system without memory, or the service manager.
        (None, _) => {
            let words = format!("another process ended the decoder ({})", ended.status);
            return Err(io::Error::new(io::ErrorKind::Interrupted, words).into());
        }
    };
    Err(DecodeError::Failed(failure))
}

/// A child process that is ended with this value.
struct Running(Child);

impl Running {
    /// Reads the process' output until it ends, or until `deadline`.
    fn ended(mut self, deadline: Instant, budget: &Budget) -> io::Result<Ended> {
        let (mut answer, mut error_output) = (Vec::new(), Vec::new());
        let mut stopped = None;
        if !self.read_streams(deadline, &mut answer, &mut error_output)? {
            let late = Instant::now() >= deadline;
            stopped = Some(if late { Failure::Time(budget.patience) } else { Failure::Nonsense });
        }
        let status = match stopped {
            None => self.wait(deadline)?,
            Some(_) => None,
        };
        let status = match status {
            Some(status) => status,
            None => {
                stopped.get_or_insert(Failure::Time(budget.patience));
                self.0.kill()?;
                self.0.wait()?
            }
        };
        Ok(Ended { status, answer, error_output, stopped })
    }

    /// Reads both streams to their ends; false if that takes too long or the output is too large.
    fn read_streams(
        &mut self,
        deadline: Instant,
        answer: &mut Vec<u8>,
        error_output: &mut Vec<u8>,
    ) -> io::Result<bool> {
        let (mut stdout, mut stderr) = (self.0.stdout.take(), self.0.stderr.take());
        let mut buffer = vec![0; 64 << 10];
        while stdout.is_some() || stderr.is_some() {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(false);
            }
            let (answered, has_errors) = {
                let mut streams = Vec::with_capacity(2);
                streams.extend(stdout.as_ref().map(|stream| PollFd::new(stream, PollFlags::IN)));
                streams.extend(stderr.as_ref().map(|stream| PollFd::new(stream, PollFlags::IN)));
                match poll(&mut streams, Some(&Timespec::try_from(left).map_err(io::Error::other)?)) {
                    Err(rustix::io::Errno::INTR) => continue,
                    polled => drop(polled?),
                }
                let mut ready = streams.iter().map(|stream| !stream.revents().is_empty());
                (stdout.is_some() && ready.next().unwrap_or(false), stderr.is_some() && ready.next().unwrap_or(false))
            };
            if answered {
                take(&mut stdout, &mut buffer, |bytes| answer.extend_from_slice(bytes))?;
            }
            if answer.len() > LONGEST_ANSWER {
                return Ok(false);
            }
            if has_errors {
                take(&mut stderr, &mut buffer, |bytes| {
                    let room = MAX_STDERR - error_output.len();
                    error_output.extend_from_slice(&bytes[..bytes.len().min(room)]);
                })?;
            }
        }
        Ok(true)
    }

    /// Waits for the end of a process that has closed its streams.
    fn wait(&mut self, deadline: Instant) -> io::Result<Option<ExitStatus>> {
        let mut pause = Duration::from_micros(50);
        loop {
            if let Some(status) = self.0.try_wait()? {
                return Ok(Some(status));
            }
            if Instant::now() >= deadline {
                return Ok(None);
            }
            std::thread::sleep(pause);
            pause = (2 * pause).min(Duration::from_millis(5));
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Both do nothing if the status has been read.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Reads the available bytes of a stream, and closes it at its end.
fn take<S: Read>(stream: &mut Option<S>, buffer: &mut [u8], mut sink: impl FnMut(&[u8])) -> io::Result<()> {
    let Some(open) = stream else { return Ok(()) };
    match open.read(buffer) {
        Ok(0) => *stream = None,
        Ok(length) => sink(&buffer[..length]),
        Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
        Err(error) => return Err(error),
    }
    Ok(())
}

//! The log lines of the attempts that this process runs.
//!
//! A [`Recorder`] layer records the lines that the node's log filter lets through. Lines are assigned to attempts by the
//! request id, which is the attempt's name ([`net::request`]). Lines are recorded while the attempt runs; the command that
//! ends the attempt stores them in the replicated state. As with logging itself, there is one set per process.

use std::collections::{BTreeMap, VecDeque};
use std::fmt::{self, Write};

use net::request::RequestId;
use parking_lot::Mutex;
use raft::now;
use state::{LOG_BYTES, LOG_LINES, LogLevel, LogLine, TaskId};
use tracing::field::{Field, Visit};
use tracing::{Event, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context;

/// The longest line, in bytes.
const MAX_LINE_BYTES: usize = 1000;

static ATTEMPTS: Mutex<BTreeMap<String, Lines>> = Mutex::new(BTreeMap::new());

/// The latest lines of an attempt, bounded in number and bytes.
#[derive(Default)]
struct Lines {
    lines: VecDeque<LogLine>,
    bytes: usize,
}

impl Lines {
    fn push(&mut self, line: LogLine) {
        self.bytes += line.message.len();
        self.lines.push_back(line);
        while self.lines.len() > LOG_LINES || self.bytes > LOG_BYTES {
            self.bytes -= self.lines.pop_front().map_or(0, |line| line.message.len());
        }
    }
}

/// The name of an attempt, which is its request id.
pub fn name_of(task: TaskId, attempt: u32) -> String {
    format!("task-{task}-attempt-{attempt}")
}

/// Records the lines of an attempt until it is dropped.
pub struct Recording(String);

impl Recording {
    /// Starts recording.
    pub fn start(task: TaskId, attempt: u32) -> Self {
        let name = name_of(task, attempt);
        ATTEMPTS.lock().insert(name.clone(), Lines::default());
        Self(name)
    }
}

impl Drop for Recording {
    fn drop(&mut self) {
        ATTEMPTS.lock().remove(&self.0);
    }
}

/// The lines recorded so far; empty if this process does not run the attempt.
pub fn lines(task: TaskId, attempt: u32) -> Vec<LogLine> {
    let attempts = ATTEMPTS.lock();
    attempts.get(&name_of(task, attempt)).map(|kept| kept.lines.iter().cloned().collect()).unwrap_or_default()
}

/// The layer that records log lines.
pub struct Recorder;

impl<S: Subscriber> Layer<S> for Recorder {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let level = match *event.metadata().level() {
            tracing::Level::ERROR => LogLevel::Error,
            tracing::Level::WARN => LogLevel::Warn,
            tracing::Level::INFO => LogLevel::Info,
            _ => return,
        };
        let Some(request) = RequestId::current() else { return };
        if let Some(lines) = ATTEMPTS.lock().get_mut(request.as_str()) {
            let mut fields = Fields::default();
            event.record(&mut fields);
            lines.push(LogLine { at: now(), level, message: fields.text() });
        }
    }
}

/// The text of an event: the message, then the other fields.
#[derive(Default)]
struct Fields {
    message: String,
    others: String,
}

impl Fields {
    fn text(mut self) -> String {
        self.message.push_str(&self.others);
        if self.message.len() > MAX_LINE_BYTES {
            self.message.truncate(self.message.floor_char_boundary(MAX_LINE_BYTES));
            self.message.push('…');
        }
        self.message
    }
}

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        // Writing to a string cannot fail.
        let _ = match field.name() {
            "message" => write!(self.message, "{value:?}"),
            // They identify the log itself.
            "task" | "attempt" => Ok(()),
            name => write!(self.others, " {name}={value:?}"),
        };
    }
}

#[cfg(test)]
mod tests {
    use tracing_subscriber::layer::SubscriberExt;

    use super::*;

    #[tokio::test]
    async fn lines_are_recorded_while_the_attempt_runs() {
        let (task, other) = (TaskId { job: 900, index: 1 }, TaskId { job: 900, index: 2 });
        let _quiet = tracing::subscriber::set_default(tracing_subscriber::registry().with(Recorder));
        let log = async |task: TaskId| {
            let id = RequestId::new(name_of(task, 1).as_bytes()).unwrap_or_else(RequestId::random);
            id.scope(async { tracing::warn!(%task, error = "no disk", "it failed") }).await;
        };
        let recording = Recording::start(task, 1);
        log(task).await;
        log(other).await;
        tracing::info!("outside of any request");
        let recorded = lines(task, 1);
        assert_eq!(
            recorded.iter().map(|line| line.message.as_str()).collect::<Vec<_>>(),
            ["it failed error=\"no disk\""]
        );
        assert_eq!(recorded[0].level, LogLevel::Warn);
        assert_eq!(lines(other, 1), []);
        for _ in 0..1000 {
            log(task).await;
        }
        assert_eq!(lines(task, 1).len(), LOG_LINES);
        drop(recording);
        assert_eq!(lines(task, 1), []);
    }
}

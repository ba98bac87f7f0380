//! What is said in this process while it works on tasks, by attempt.
//!
//! Lines are those of the node's log, so what the log does not show is not here either. They are told apart by the
//! request's id, which is the attempt's name ([`net::request`]). Lines of an attempt are kept while it is worked on; when
//! it ends they go with the command that says so into the state, where every node has them. Like logging itself this is one
//! for the whole process.

use std::collections::{BTreeMap, VecDeque};
use std::fmt::{self, Write};
use std::sync::{Mutex, PoisonError};

use net::request::RequestId;
use state::{LINES_BYTES, LINES_KEPT, Level, Line, TaskId};
use tracing::field::{Field, Visit};
use tracing::{Event, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context;

use crate::work::now;

/// The longest line, in bytes.
const LONGEST: usize = 1000;

static ATTEMPTS: Mutex<BTreeMap<String, Lines>> = Mutex::new(BTreeMap::new());

/// The latest lines of an attempt, as many as are kept.
#[derive(Default)]
struct Lines {
    lines: VecDeque<Line>,
    bytes: usize,
}

impl Lines {
    fn push(&mut self, line: Line) {
        self.bytes += line.message.len();
        self.lines.push_back(line);
        while self.lines.len() > LINES_KEPT || self.bytes > LINES_BYTES {
            self.bytes -= self.lines.pop_front().map_or(0, |line| line.message.len());
        }
    }
}

fn with_attempts<T>(look: impl FnOnce(&mut BTreeMap<String, Lines>) -> T) -> T {
    look(&mut ATTEMPTS.lock().unwrap_or_else(PoisonError::into_inner))
}

/// The name of an attempt, under which it is worked on.
pub(crate) fn name_of(task: TaskId, attempt: u32) -> String {
    format!("task-{task}-attempt-{attempt}")
}

/// An attempt whose lines are kept, until this is dropped.
pub(crate) struct Kept(String);

/// Keeps the lines of an attempt from now on.
pub(crate) fn keep(task: TaskId, attempt: u32) -> Kept {
    let name = name_of(task, attempt);
    with_attempts(|attempts| attempts.insert(name.clone(), Lines::default()));
    Kept(name)
}

impl Drop for Kept {
    fn drop(&mut self) {
        with_attempts(|attempts| attempts.remove(&self.0));
    }
}

/// What was said so far of an attempt that is worked on here.
pub(crate) fn lines(task: TaskId, attempt: u32) -> Vec<Line> {
    let name = name_of(task, attempt);
    with_attempts(|attempts| attempts.get(&name).map(|kept| kept.lines.iter().cloned().collect()).unwrap_or_default())
}

/// Hears what is logged.
pub(crate) struct Listener;

impl<S: Subscriber> Layer<S> for Listener {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let level = match *event.metadata().level() {
            tracing::Level::ERROR => Level::Error,
            tracing::Level::WARN => Level::Warn,
            tracing::Level::INFO => Level::Info,
            _ => return,
        };
        let Some(request) = RequestId::current() else { return };
        with_attempts(|attempts| {
            if let Some(kept) = attempts.get_mut(request.as_str()) {
                let mut words = Words::default();
                event.record(&mut words);
                kept.push(Line { at: now(), level, message: words.text() });
            }
        });
    }
}

/// An event's words: the message, then the other fields.
#[derive(Default)]
struct Words {
    message: String,
    fields: String,
}

impl Words {
    fn text(mut self) -> String {
        self.message.push_str(&self.fields);
        if self.message.len() > LONGEST {
            self.message.truncate(self.message.floor_char_boundary(LONGEST));
            self.message.push('…');
        }
        self.message
    }
}

impl Visit for Words {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        // Writing to a text does not fail.
        let _ = match field.name() {
            "message" => write!(self.message, "{value:?}"),
            // The line says already what it is about.
            "task" | "attempt" => Ok(()),
            name => write!(self.fields, " {name}={value:?}"),
        };
    }
}

#[cfg(test)]
mod tests {
    use tracing_subscriber::layer::SubscriberExt;

    use super::*;

    #[tokio::test]
    async fn what_is_said_of_an_attempt_is_kept_while_it_is_worked_on() {
        let (task, other) = (TaskId { job: 900, index: 1 }, TaskId { job: 900, index: 2 });
        let _quiet = tracing::subscriber::set_default(tracing_subscriber::registry().with(Listener));
        let say = async |task: TaskId| {
            let id = RequestId::new(name_of(task, 1).as_bytes()).unwrap_or_else(RequestId::random);
            id.scope(async { tracing::warn!(%task, error = "no disk", "it failed") }).await;
        };
        let kept = keep(task, 1);
        say(task).await;
        say(other).await;
        tracing::info!("said of nothing");
        let said = lines(task, 1);
        assert_eq!(said.iter().map(|line| line.message.as_str()).collect::<Vec<_>>(), ["it failed error=\"no disk\""]);
        assert_eq!(said[0].level, Level::Warn);
        assert_eq!(lines(other, 1), []);
        for _ in 0..1000 {
            say(task).await;
        }
        assert_eq!(lines(task, 1).len(), LINES_KEPT);
        drop(kept);
        assert_eq!(lines(task, 1), []);
    }
}

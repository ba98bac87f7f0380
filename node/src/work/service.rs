//! What nodes ask each other about work, over QUIC.

use std::sync::Arc;

use net::peer::{PeerError, ServeFuture, Service, Stream};
use serde::{Deserialize, Serialize};
use state::{Line, TaskId};
use storage::NodeId;
use uuid::Uuid;

use super::Hint;
use super::dispatcher::Dispatcher;
use super::reset::Reset;
use super::worker::ASK_FOR;
use crate::journal;
use crate::reports::{Report, Reports};

/// A question.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Call {
    /// Hear what I do.
    Report(Report),
    /// Give me a task; only the leader has any.
    Next {
        /// Whether the asker's broker answers.
        has_broker: bool,
    },
    /// What do you say of an attempt that you make?
    Lines {
        /// At which task.
        task: TaskId,
        /// Its number.
        attempt: u32,
    },
    /// Drop all running work.
    Reset {
        /// Which reset this is.
        id: Uuid,
    },
}

/// Its answer.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Reply {
    /// The report or the reset was heard.
    Heard,
    /// A task, or none for now.
    Hint(Option<Hint>),
    /// What was said so far.
    Lines(Vec<Line>),
}

/// Answers the other nodes.
pub(crate) struct WorkService {
    /// Hears reports.
    pub reports: Arc<Reports>,
    /// Gives tasks.
    pub dispatcher: Arc<Dispatcher>,
    /// Hears resets.
    pub reset: Arc<Reset>,
}

impl Service for WorkService {
    fn serve(&self, from: NodeId, mut stream: Stream) -> ServeFuture {
        let (reports, dispatcher, reset) =
            (Arc::clone(&self.reports), Arc::clone(&self.dispatcher), Arc::clone(&self.reset));
        Box::pin(async move {
            let reply = match stream.read_frame::<Call>().await? {
                Call::Report(report) if report.id != from => {
                    return Err(PeerError::Protocol(format!("node {from} reported as node {}", report.id)));
                }
                Call::Report(report) => {
                    reports.hear(report);
                    Reply::Heard
                }
                Call::Reset { id } => {
                    reset.hear(id);
                    Reply::Heard
                }
                Call::Lines { task, attempt } => Reply::Lines(journal::lines(task, attempt)),
                Call::Next { has_broker } => Reply::Hint(dispatcher.next(has_broker, ASK_FOR).await),
            };
            stream.write_frame(&reply).await?;
            stream.finish()
        })
    }
}

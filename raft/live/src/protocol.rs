//! Calls between nodes about live state.

use std::sync::Arc;

use net::{NodeId, PeerError, ServeFuture, Service, Stream};
use serde::{Deserialize, Serialize};
use state::{LogLine, TaskId};

use crate::attempt_log;
use crate::report::NodeReport;
use crate::reports::Reports;

/// A call to another node.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Call {
    /// Stores the caller's report.
    Report(NodeReport),
    /// Asks for the log lines of an attempt that the called node runs.
    AttemptLog {
        /// The task.
        task: TaskId,
        /// The number of the attempt.
        attempt: u32,
    },
}

/// The answer to a [`Call`].
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Reply {
    /// The report was stored.
    Received,
    /// The log lines so far.
    AttemptLog(Vec<LogLine>),
}

/// Answers calls of other nodes.
pub(crate) struct LiveService {
    pub(crate) reports: Arc<Reports>,
}

impl Service for LiveService {
    fn serve(&self, from: NodeId, mut stream: Stream) -> ServeFuture {
        let reports = Arc::clone(&self.reports);
        Box::pin(async move {
            let reply = match stream.read_frame::<Call>().await? {
                Call::Report(report) if report.id != from => {
                    return Err(PeerError::Protocol(format!("node {from} sent a report of node {}", report.id)));
                }
                Call::Report(report) => {
                    reports.insert(report);
                    Reply::Received
                }
                Call::AttemptLog { task, attempt } => Reply::AttemptLog(attempt_log::lines(task, attempt)),
            };
            stream.write_frame(&reply).await?;
            stream.finish()
        })
    }
}

//! Writes requests to the log in batches.
//!
//! One log entry holds the requests that arrived while the entries before it were being written, within the limits on
//! count and bytes. So requests share the cost of a sync.

use std::sync::Arc;

use openraft::error::ClientWriteError;
use tokio::sync::{Semaphore, mpsc, oneshot};

use crate::consensus::{Raft, Request, Requests, size_limit};
use crate::protocol::ForwardError;
use state::command::{Answer, Refusal};

/// The most requests in one log entry.
const MAX_BATCH: usize = 256;
/// The most log entries of this node in progress at a time. The next entry is gathered while one is written to the
/// disks; more entries in progress would only be smaller.
const MAX_IN_PROGRESS: usize = 2;

/// What the state machine answered to a command.
pub(crate) type CommandResult = Result<Answer, Refusal>;

struct PendingWrite {
    request: Request,
    /// The encoded size of the request.
    bytes: usize,
    answer: oneshot::Sender<Result<CommandResult, ForwardError>>,
}

/// Writes requests to this node's Raft, which must be the leader.
pub(crate) struct Writer(mpsc::Sender<PendingWrite>);

impl Writer {
    /// Starts the task that writes. It ends when the writer is dropped.
    pub(crate) fn start(raft: Raft) -> Self {
        let (sender, pending) = mpsc::channel(4 * MAX_BATCH);
        tokio::spawn(write_batches(raft, pending));
        Self(sender)
    }

    /// Writes a request and returns the answer when a majority has it on disk and it is applied here.
    pub(crate) async fn write(&self, request: Request) -> Result<CommandResult, ForwardError> {
        let (answer, answered) = oneshot::channel();
        // The log rejects a request that cannot be encoded.
        let bytes = codec::encode(&request).map_or(0, |encoded| encoded.len());
        self.0.send(PendingWrite { request, bytes, answer }).await.map_err(|_| ForwardError::NotLeader)?;
        answered.await.unwrap_or(Err(ForwardError::NotLeader))
    }
}

async fn write_batches(raft: Raft, mut pending: mpsc::Receiver<PendingWrite>) {
    let permits = Arc::new(Semaphore::new(MAX_IN_PROGRESS));
    let mut gathered: Vec<PendingWrite> = Vec::new();
    while let Ok(permit) = Arc::clone(&permits).acquire_owned().await
        && (!gathered.is_empty() || pending.recv_many(&mut gathered, MAX_BATCH).await > 0)
    {
        let mut fits = size_limit();
        let count = gathered.iter().take_while(|write| fits(write.bytes)).count();
        let (requests, senders): (Vec<_>, Vec<_>) =
            gathered.drain(..count).map(|write| (write.request, write.answer)).unzip();
        metrics::histogram!("quartet_raft_batch_requests").record(requests.len() as f64);
        let written = raft.client_write_ff(Requests(Arc::new(requests))).await;
        tokio::spawn(async move {
            let answers = match written {
                Ok(written) => written.await.map_err(|error| error.to_string()),
                Err(error) => Err(error.to_string()),
            };
            drop(permit);
            match answers {
                Ok(Ok(written)) => {
                    storage::failpoint!("proposal.committed");
                    for (sender, answer) in senders.into_iter().zip(written.data.0) {
                        // A caller that gave up repeats the request under the same id.
                        let _ = sender.send(Ok(answer));
                    }
                    return;
                }
                Ok(Err(ClientWriteError::ForwardToLeader(_))) => {}
                Ok(Err(error)) => tracing::warn!(%error, "a write to the log failed"),
                Err(error) => tracing::warn!(%error, "a write to the log failed"),
            }
            for sender in senders {
                let _ = sender.send(Err(ForwardError::NotLeader));
            }
        });
    }
}

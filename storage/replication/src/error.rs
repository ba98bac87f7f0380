//! The errors of replication.

use storage::blobs::{BlobError, Hash};

/// A blob could not be replicated or fetched.
#[derive(Debug, thiserror::Error)]
pub enum ReplicationError {
    /// Too few nodes stored the blob.
    #[error("only {stored} of the {needed} nodes that make a majority hold the file: {reasons}")]
    NoMajority {
        /// The number of nodes that hold the blob.
        stored: usize,
        /// The number of nodes that must hold it.
        needed: usize,
        /// The errors of the other nodes.
        reasons: String,
    },
    /// Too few nodes have space for the blob.
    #[error("only {stored} of the {needed} nodes that make a majority have space for the file")]
    Full {
        /// The number of nodes that hold the blob.
        stored: usize,
        /// The number of nodes that must hold it.
        needed: usize,
    },
    /// No node that answers holds the blob.
    #[error("no reachable node holds the file {hash}: {reasons}")]
    Unavailable {
        /// The blob.
        hash: Hash,
        /// The errors of the members.
        reasons: String,
    },
    /// This node could not read or store the blob.
    #[error(transparent)]
    Blob(#[from] BlobError),
}

impl ReplicationError {
    pub(crate) fn unavailable(hash: Hash, reasons: &[String]) -> Self {
        let reasons = if reasons.is_empty() { "none has it".into() } else { reasons.join("; ") };
        Self::Unavailable { hash, reasons }
    }
}

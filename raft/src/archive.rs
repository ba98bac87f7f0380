//! The state as one file: for backups, and for beginning a new cluster from one.
//!
//! A restored cluster is a new one. It begins with a single member, the node on which the backup was restored, and
//! others join it; it has a new name, so that no node of the old cluster can be taken for one of its own; and the
//! numbers of nodes that had left are free again.

use std::collections::BTreeMap;
use std::path::Path;

use codec::CodecError;
use net::NodeId;
use serde::{Deserialize, Serialize};
use storage::database::{Database, DatabaseError};
use uuid::Uuid;

use crate::ClusterError;
use crate::bootstrap::{self, StartError};
use crate::consensus::log;
use crate::consensus::machine::{self, MachineError};
use crate::consensus::snapshot::{Reader, SnapshotFile};
use crate::consensus::{LogId, Member};
use state::{FEATURE_LEVEL, View, ViewError};

/// The state could not be written down, or not be read again.
#[derive(Debug, thiserror::Error)]
pub enum ArchiveError {
    /// The cluster has no majority, or stops.
    #[error(transparent)]
    Cluster(#[from] ClusterError),
    /// The file could not be written.
    #[error("the state cannot be written down: {0}")]
    Write(String),
    /// The file could not be read.
    #[error("the state cannot be read from {path}: {source}")]
    Read {
        /// Which.
        path: std::path::PathBuf,
        /// What the system said, or that the checksum does not fit.
        source: std::io::Error,
    },
    /// The node has a past.
    #[error("the data folder is not empty: a backup is restored to a node with a new, empty folder")]
    NotEmpty,
    /// A newer program made it.
    #[error(
        "a newer version wrote the backup (feature level {0}, this one knows {FEATURE_LEVEL}); restore it with that one"
    )]
    TooNew(u32),
    /// The disk belongs to another node.
    #[error(transparent)]
    Start(#[from] StartError),
    /// The database failed.
    #[error(transparent)]
    Database(#[from] DatabaseError),
    /// A value is unreadable.
    #[error(transparent)]
    Wire(#[from] CodecError),
    /// The state is unreadable.
    #[error(transparent)]
    View(#[from] ViewError),
    /// The database could not be filled.
    #[error("the state cannot be restored: {0}")]
    Restore(String),
}

/// How far a state was.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct At {
    /// Raft's term.
    pub term: u64,
    /// The last log entry in it.
    pub index: u64,
}

/// A state that was written down. Its file goes with this value.
#[derive(Debug)]
pub struct Archive {
    /// How far it was.
    pub at: At,
    pub(crate) file: SnapshotFile,
}

impl Archive {
    /// The file.
    pub fn path(&self) -> &Path {
        self.file.path()
    }
}

fn reader(state: &Path) -> Result<Reader, ArchiveError> {
    let failed = |source| ArchiveError::Read { path: state.into(), source };
    // Read to its end once, before anything is made of it.
    Reader::verify(state).map_err(failed)?;
    Reader::open(state).map_err(failed)
}

/// Opens a written state for reading, in a database in the new folder `scratch`.
pub fn open(state: &Path, scratch: &Path) -> Result<View, ArchiveError> {
    let database = Database::open(scratch)?;
    let nobody = BTreeMap::new();
    machine::found(&database, reader(state)?, LogId::default(), nobody).map_err(told)?;
    Ok(View::new(database, 0))
}

/// Makes the database `folder`, which must not be there yet, as that of the only member of a new cluster with the
/// written state. It appears when it is complete.
pub fn restore(state: &Path, at: At, folder: &Path, node: NodeId, address: String) -> Result<(), ArchiveError> {
    if folder.exists() {
        return Err(ArchiveError::NotEmpty);
    }
    let pairs = reader(state)?;
    let unfinished = folder.with_extension("restoring");
    let failed = |error: std::io::Error| ArchiveError::Restore(format!("{}: {error}", unfinished.display()));
    if unfinished.exists() {
        std::fs::remove_dir_all(&unfinished).map_err(failed)?;
    }
    fill(pairs, at, &Database::open(&unfinished)?, node, address)?;
    std::fs::rename(&unfinished, folder).map_err(failed)?;
    let above = folder.parent().unwrap_or(Path::new("."));
    std::fs::File::open(above).and_then(|above| above.sync_all()).map_err(failed)
}

fn fill(pairs: Reader, at: At, database: &Database, node: NodeId, address: String) -> Result<(), ArchiveError> {
    let disk = bootstrap::disk(database, node)?;
    let last = LogId::new(openraft::CommittedLeaderId::new(at.term, node), at.index);
    let member = Member { disk, address, replaces: None };
    machine::found(database, pairs, last, BTreeMap::from([(node, member)])).map_err(told)?;
    log::begin_at(database, last).map_err(|error| ArchiveError::Restore(error.to_string()))?;

    let view = View::new(database.clone(), 0);
    let level = view.cluster_meta()?.map_or(FEATURE_LEVEL, |meta| meta.level);
    if level > FEATURE_LEVEL {
        return Err(ArchiveError::TooNew(level));
    }
    Ok(database.write(state::new_cluster(&view, Uuid::new_v4())?)?)
}

fn told(error: MachineError) -> ArchiveError {
    ArchiveError::Restore(error.to_string())
}

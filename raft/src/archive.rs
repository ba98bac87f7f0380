//! The state as one file, for backups and for restoring them.
//!
//! Restoring makes a new cluster. Its only member is the node on which the backup was restored; other nodes join it. It
//! has a new name, so nodes of the old cluster cannot connect to it. The ids of nodes that left the old cluster are free
//! again. Songs' files are not part of the state and are backed up separately.

use std::collections::BTreeMap;
use std::path::Path;

use codec::CodecError;
use net::NodeId;
use serde::{Deserialize, Serialize};
use storage::database::{Database, DatabaseError};
use uuid::Uuid;

use crate::consensus::log;
use crate::consensus::machine;
use crate::consensus::snapshot::{SnapshotFile, SnapshotReader};
use crate::consensus::{LogId, Member};
use crate::disk;
use crate::error::{ClusterError, StartError};
use state::{FEATURE_LEVEL, View, ViewError};

/// The state could not be written to a file, read, or restored.
#[derive(Debug, thiserror::Error)]
pub enum ArchiveError {
    /// The cluster has no majority, or this node is stopping.
    #[error(transparent)]
    Cluster(#[from] ClusterError),
    /// The file could not be written.
    #[error("the state cannot be written: {0}")]
    Write(String),
    /// The file could not be read.
    #[error("the state cannot be read from {path}: {source}")]
    Read {
        /// The path of the file.
        path: std::path::PathBuf,
        /// The error of the operating system, or `InvalidData` when the checksum does not match.
        source: std::io::Error,
    },
    /// The node has a database already.
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

/// The last log entry that a state includes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct At {
    /// Raft's term.
    pub term: u64,
    /// The index of the entry.
    pub index: u64,
}

/// A state in a temporary file. Dropping the value removes the file.
#[derive(Debug)]
pub struct Archive {
    /// The last log entry that the state includes.
    pub at: At,
    pub(crate) file: SnapshotFile,
}

impl Archive {
    /// The path of the file.
    pub fn path(&self) -> &Path {
        self.file.path()
    }
}

fn reader(state: &Path) -> Result<SnapshotReader, ArchiveError> {
    let failed = |source| ArchiveError::Read { path: state.into(), source };
    // Check the whole file before anything is made from it.
    SnapshotReader::verify(state).map_err(failed)?;
    SnapshotReader::open(state).map_err(failed)
}

/// Opens the state in the file `state` for reading. Copies it to a database in the new folder `scratch`.
pub fn open(state: &Path, scratch: &Path) -> Result<View, ArchiveError> {
    let database = Database::open(scratch)?;
    let nobody = BTreeMap::new();
    machine::bootstrap_from(&database, reader(state)?, LogId::default(), nobody).map_err(into_error)?;
    Ok(View::new(database, 0))
}

/// Restores the file `state` to the new database `folder`, as the only member of a new cluster. `folder` must not exist;
/// it appears when the database is complete.
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
    let parent = folder.parent().unwrap_or(Path::new("."));
    std::fs::File::open(parent).and_then(|parent| parent.sync_all()).map_err(failed)
}

fn fill(pairs: SnapshotReader, at: At, database: &Database, node: NodeId, address: String) -> Result<(), ArchiveError> {
    let disk = disk::open(database, node)?;
    let last = LogId::new(openraft::CommittedLeaderId::new(at.term, node), at.index);
    let member = Member { disk, address, replaces: None };
    machine::bootstrap_from(database, pairs, last, BTreeMap::from([(node, member)])).map_err(into_error)?;
    log::bootstrap_from(database, last).map_err(into_error)?;

    let view = View::new(database.clone(), 0);
    let level = view.cluster_meta()?.map_or(FEATURE_LEVEL, |meta| meta.level);
    if level > FEATURE_LEVEL {
        return Err(ArchiveError::TooNew(level));
    }
    Ok(database.write(state::new_cluster(&view, Uuid::new_v4())?)?)
}

fn into_error(error: impl std::fmt::Display) -> ArchiveError {
    ArchiveError::Restore(error.to_string())
}

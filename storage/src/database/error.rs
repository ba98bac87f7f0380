//! The errors of the database.

use std::path::{Path, PathBuf};

use rocksdb::ErrorKind;

use super::Table;

/// The database could not be opened, read or written.
#[derive(Debug, thiserror::Error)]
pub enum DatabaseError {
    /// The database could not be opened.
    #[error("cannot open the database {path}: {source}")]
    Open {
        /// The database's folder.
        path: PathBuf,
        /// The error of RocksDB.
        source: rocksdb::Error,
    },
    /// Another process has the database open.
    #[error("the database {0} is in use; is another node running on this folder?")]
    InUse(PathBuf),
    /// Data is missing or changed that was on disk.
    #[error("the database {path} is damaged: {reason}")]
    Damaged {
        /// The database's folder.
        path: PathBuf,
        /// How the damage was detected.
        reason: String,
    },
    /// The durability mark could not be opened.
    #[error("cannot open the durability mark of the database {path}: {source}")]
    Mark {
        /// The database's folder.
        path: PathBuf,
        /// The error of the operating system.
        source: std::io::Error,
    },
    /// A read failed.
    #[error("cannot read the database: {0}")]
    Read(#[source] rocksdb::Error),
    /// A write failed. Nothing of the batch took effect.
    #[error("cannot write the database: {0}")]
    Write(#[source] rocksdb::Error),
    /// The thread that writes the database could not be started.
    #[error("cannot start the database's thread: {0}")]
    Thread(#[source] std::io::Error),
    /// A table is missing that every database has.
    #[error("the database has no table {0:?}; it is damaged")]
    MissingTable(Table),
}

impl DatabaseError {
    /// Classifies the error with which RocksDB did not open `folder`.
    pub(super) fn from_open(folder: &Path, source: rocksdb::Error) -> Self {
        let (path, reason) = (folder.to_owned(), source.to_string());
        match source.kind() {
            ErrorKind::IOError if reason.contains("lock file") || reason.contains("lock hold by") => Self::InUse(path),
            // A file is missing that other files of the database refer to.
            ErrorKind::IOError if reason.contains("No such file") => Self::Damaged { path, reason },
            ErrorKind::Corruption => Self::Damaged { path, reason },
            _ => Self::Open { path, source },
        }
    }
}

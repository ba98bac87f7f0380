//! One node's disk.
//!
//! [`database`] stores values in RocksDB, [`blobs`] stores files under their SHA-256. [`codec`] encodes values for the
//! disk and for other nodes. [`mod@failpoint`] marks the steps at which tests inject faults.

pub mod blobs;
pub mod codec;
pub mod database;
pub mod failpoint;

/// A node's id. Ids are never reused.
pub type NodeId = u64;

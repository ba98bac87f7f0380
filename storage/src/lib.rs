//! One node's disk.
//!
//! [`database`] stores keys and values in RocksDB, [`blobs`] stores files under their SHA-256. [`mod@failpoint`] marks
//! the steps at which tests inject faults. It belongs here, because it exists for the steps between two durable writes,
//! and every crate that has such steps depends on this one.
//!
//! What is left out: this crate does not communicate with other nodes. Consensus replicates the database, and
//! `replication` copies blobs.

pub mod blobs;
pub mod database;
pub mod failpoint;

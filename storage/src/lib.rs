//! What one Quartet node keeps, and how files travel between nodes.
//!
//! Four floors, each standing on the ones before it: [`database`] and [`blobs`] keep things on this node's disk,
//! [`peer`] reaches the other nodes, and [`sharing`] moves blobs between them. [`request`] is the id under which all of
//! them work, [`seal`] keeps secrets, [`mod@failpoint`] marks the steps at which tests make things go wrong.

pub mod blobs;
pub mod database;
pub mod failpoint;
pub mod peer;
pub mod request;
pub mod seal;
pub mod sharing;
pub mod wire;

/// A node's number, the same for ever.
pub type NodeId = u64;

//! Calls between nodes.
//!
//! [`peer`] is a node's QUIC endpoint: it authenticates other nodes by the cluster's secret, dispatches incoming calls by
//! protocol and makes outgoing ones. [`request`] is the id that follows a request from node to node. [`secret_box`]
//! encrypts, signs and draws secrets.

#![cfg_attr(test, allow(clippy::unwrap_used))]

pub mod peer;
pub mod request;
pub mod secret_box;
#[cfg(any(test, feature = "testing"))]
pub mod testing;

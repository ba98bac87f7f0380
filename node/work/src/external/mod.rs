//! Jobs for external workers: programs outside of the cluster that get songs from a queue and return stems over HTTP.

mod publisher;
pub mod queue;

pub use publisher::ExternalPublisher;
pub use queue::ExternalMessage;

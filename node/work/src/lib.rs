//! Tasks, from the replicated state to a committed result.
//!
//! ```text
//! open tasks --(scheduler, leader only)--> Dispatch --(broker or QUIC)--> worker --> ClaimTask, runner, FinishTask
//! ```
//!
//! - [`scheduler`] orders the open tasks, publishes [`Dispatch`] messages and expires the claims of dead workers.
//! - [`broker`] is the interface to a message broker, [`rabbitmq`] its implementation.
//! - [`workers`] claim tasks, run them and commit the results.
//! - [`runner`] has one [`Runner`](runner::Runner) for each kind of task.
//! - [`external`] sends songs to workers outside of the cluster.
//!
//! Invariant: the replicated state alone decides who works on what. A [`Dispatch`] may be lost, duplicated, late or out
//! of order, because a worker claims the task through Raft before it starts.

#![cfg_attr(test, allow(clippy::unwrap_used))]

pub mod amqp;
pub mod broker;
pub mod claims;
mod dispatch;
pub mod external;
mod metrics;
pub mod plan;
pub mod protocol;
pub mod rabbitmq;
pub mod reset;
pub mod runner;
pub mod scheduler;
pub mod service;
pub mod settings;
mod slot;
pub mod tls;
pub mod workers;

pub use dispatch::{Delivery, Dispatch, Outcome};

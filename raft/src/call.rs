//! What nodes ask each other about the cluster, over QUIC.

use serde::{Deserialize, Serialize};

use crate::change::Change;
use crate::consensus::Request;

/// What nodes ask each other about the cluster.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Call {
    /// Who are you?
    Hello,
    /// Write this, leader.
    Propose(Box<Request>),
    /// How far is the log, leader?
    ReadIndex,
    /// Change the membership, leader.
    Change(Change),
}

/// Why a step failed on the asked node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Miss {
    NotLeader,
    NoMajority,
    Timeout,
}

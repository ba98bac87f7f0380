//! The cluster's name and feature level.
//!
//! During a rolling upgrade members of two versions apply the same log, and must come to the same state. So everything
//! new in applying has a feature level, and takes effect only after the cluster's state has reached that level. The
//! leader raises the level ([`crate::command::SetLevel`]) after every member has reported that it knows the new one. Until
//! then the cluster behaves as the older version does, and refuses newer commands. A version that finds a higher level in
//! the state than it knows refuses to start.

use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// The highest feature level that this version knows.
pub const FEATURE_LEVEL: u32 = 1;

/// The cluster's name and level.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClusterMeta {
    /// The cluster's random name, which never changes. A restored backup is another cluster.
    pub cluster: Uuid,
    /// The feature level: commands introduced by a higher one are refused.
    pub level: u32,
}

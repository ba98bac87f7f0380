//! Web hooks and deliveries.

use serde::{Deserialize, Serialize};

use crate::{JobError, JobState, Sealed};

/// An address that gets a delivery when a job ends.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hook {
    /// Its number.
    pub id: u64,
    /// The user. Deliveries are about jobs of this user's songs.
    pub user: u64,
    /// The address.
    pub url: String,
    /// The final states of jobs that cause a delivery, each once.
    pub events: Vec<JobState>,
    /// Whether it gets new deliveries.
    pub active: bool,
    /// The secret that signs deliveries, encrypted with a key derived from the cluster's secret.
    pub sealed: Sealed,
    /// The time at which it was made, in milliseconds since 1970.
    pub created_at: u64,
}

/// A message to a hook about the end of a job.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Delivery {
    /// Its number, which is the same with every attempt.
    pub id: u64,
    /// The number of the hook.
    pub hook: u64,
    /// The user of the hook.
    pub user: u64,
    /// The state in which the job ended.
    pub event: JobState,
    /// The number of the job.
    pub job: u64,
    /// The model of the job.
    pub model: Option<String>,
    /// Why the job failed.
    pub error: Option<JobError>,
    /// The user's songs with the job, by number and title; only the first ones if there are very many.
    pub songs: Vec<(u64, String)>,
    /// The time at which the job was added, in milliseconds since 1970.
    pub created_at: u64,
    /// The time at which the job ended.
    pub ended_at: u64,
    /// Its status.
    pub status: DeliveryStatus,
    /// The number of attempts made.
    pub attempts_made: u32,
    /// The attempts, the oldest first; only the latest ones if there are many.
    pub attempts: Vec<DeliveryAttempt>,
}

/// The status of a delivery.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DeliveryStatus {
    /// It is to be attempted, perhaps again.
    Pending {
        /// The time of the next attempt, in milliseconds since 1970.
        at: u64,
    },
    /// The receiver has it.
    Delivered,
    /// The attempts took too long, or the hook was turned off.
    GivenUp,
}

/// One attempt at a delivery.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeliveryAttempt {
    /// The time of its end, in milliseconds since 1970.
    pub at: u64,
    /// How long it took, in milliseconds.
    pub took: u64,
    /// The HTTP status of the response, if there was one.
    pub status: Option<u16>,
    /// What went wrong.
    pub error: Option<String>,
}

/// The time of the next attempt at a pending delivery.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct RetryAt {
    /// The time, in milliseconds since 1970.
    pub at: u64,
    /// The number of the hook.
    pub hook: u64,
    /// The number of the delivery.
    pub id: u64,
}

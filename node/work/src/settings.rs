//! The sections of `cluster.toml` about brokers and workers.

use std::path::PathBuf;
use std::time::Duration;

use serde::Deserialize;
use storage::blobs::Hash;

/// The longest time limit of a task, whatever is configured: thirty days.
const MAX_TASK_SECONDS: u64 = 30 * 24 * 3600;
/// The largest message that every supported RabbitMQ accepts by default, in bytes.
const MAX_MESSAGE_BYTES: u64 = 128 << 20;
/// The most tasks that a node runs at a time.
const MAX_SLOTS: u32 = 1024;

/// `[broker]`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BrokerSettings {
    /// An `amqp://` or `amqps://` address. It may contain a password, so it is never logged.
    pub url: String,
    /// A PEM file with the authorities that may have signed the broker's certificate, instead of the public ones.
    #[serde(default)]
    pub ca: Option<PathBuf>,
    /// The prefix of the names of its queues and exchanges.
    #[serde(default = "default_prefix")]
    pub prefix: String,
}

impl BrokerSettings {
    /// The fanout exchange that reaches every worker: `reset`, or `PREFIX.reset` with another prefix than the default,
    /// so that clusters can share a broker.
    pub fn reset_exchange(&self) -> String {
        if self.prefix == default_prefix() { "reset".into() } else { format!("{}.reset", self.prefix) }
    }
}

fn default_prefix() -> String {
    "quartet".into()
}

/// `[workers]`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct WorkerSettings {
    /// The number of tasks at a time.
    pub slots: u32,
    /// The model for songs whose upload names none.
    pub model: String,
    /// The number of the model's segments in a task.
    pub segments_per_task: u32,
    /// How often a task may fail.
    pub max_attempts: u32,
    /// The least time limit of a task in seconds.
    pub task_floor_seconds: u64,
    /// Seconds added to the time limit for each second of the task's music.
    pub task_seconds_per_audio_second: u64,
    /// For demonstrations: the number of healthy workers, instead of `slots`.
    pub healthy: Option<u32>,
    /// For demonstrations: the number of workers that die during each task.
    pub unhealthy: u32,
    /// For demonstrations: seconds into a task after which those die.
    pub crash_after: u64,
}

impl Default for WorkerSettings {
    fn default() -> Self {
        Self {
            slots: 1,
            model: inference::DEFAULT_MODEL.into(),
            segments_per_task: 4,
            max_attempts: 5,
            task_floor_seconds: 300,
            task_seconds_per_audio_second: 5,
            healthy: None,
            unhealthy: 0,
            crash_after: 3,
        }
    }
}

impl WorkerSettings {
    /// The number of tasks that healthy workers run at a time.
    pub fn healthy_slots(&self) -> u32 {
        self.healthy.unwrap_or(self.slots)
    }

    /// The number of tasks that all workers run at a time.
    pub fn all_slots(&self) -> u32 {
        self.healthy_slots().saturating_add(self.unhealthy)
    }

    /// The time limit of a task about `audio_seconds` seconds of music.
    pub fn time_limit(&self, audio_seconds: u64) -> Duration {
        let work = audio_seconds.saturating_mul(self.task_seconds_per_audio_second);
        Duration::from_secs(self.task_floor_seconds.saturating_add(work).min(MAX_TASK_SECONDS))
    }

    /// What is invalid, if anything.
    pub fn fault(&self) -> Option<String> {
        if self.segments_per_task == 0 || self.max_attempts == 0 {
            return Some("segments_per_task and max_attempts must be at least 1".into());
        }
        if self.task_floor_seconds == 0 {
            return Some("task_floor_seconds must be at least 1".into());
        }
        if self.all_slots() > MAX_SLOTS {
            return Some(format!("a node runs at most {MAX_SLOTS} tasks at a time"));
        }
        if !inference::models::is_name(&self.model) {
            return Some(format!("model: {:?} is not a valid name of a model", self.model));
        }
        None
    }
}

/// `[outside]`: workers outside of the cluster.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ExternalSettings {
    /// The queue for songs.
    pub queue: String,
    /// The SHA-256 of each worker's token.
    pub token_sha256: Vec<Hash>,
    /// Whether songs go there unless their upload says otherwise.
    pub first: bool,
    /// Seconds after which the cluster's own workers take a song that no external worker has delivered.
    pub patience_seconds: u64,
    /// The largest song for external workers in bytes.
    pub max_bytes: u64,
}

impl Default for ExternalSettings {
    fn default() -> Self {
        Self {
            queue: "vocalizer_queue".into(),
            token_sha256: Vec::new(),
            first: false,
            patience_seconds: 600,
            max_bytes: 16 << 20,
        }
    }
}

impl ExternalSettings {
    /// How long external workers may take.
    pub fn patience(&self) -> Duration {
        Duration::from_secs(self.patience_seconds)
    }

    /// What is invalid, if anything.
    pub fn fault(&self, has_broker: bool) -> Option<String> {
        if !has_broker {
            return Some("external workers get songs through RabbitMQ; add the section [broker]".into());
        }
        if self.queue.is_empty() || self.queue.len() > 200 {
            return Some("queue must be a name of 1 to 200 bytes".into());
        }
        if self.token_sha256.is_empty() {
            return Some(
                "token_sha256 must have the SHA-256 of at least one token; `printf %s TOKEN | sha256sum` prints it"
                    .into(),
            );
        }
        if self.patience_seconds == 0 {
            return Some("patience_seconds must be at least 1".into());
        }
        if !(1..=MAX_MESSAGE_BYTES).contains(&self.max_bytes) {
            return Some(format!("max_bytes must be 1 to {MAX_MESSAGE_BYTES}, the most that RabbitMQ accepts"));
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_limit_grows_with_the_music() {
        let workers =
            WorkerSettings { task_floor_seconds: 10, task_seconds_per_audio_second: 3, ..WorkerSettings::default() };
        assert_eq!(workers.time_limit(0), Duration::from_secs(10));
        assert_eq!(workers.time_limit(20), Duration::from_secs(70));
        assert_eq!(workers.time_limit(u64::MAX), Duration::from_secs(MAX_TASK_SECONDS));
    }
}

//! Metrics of tasks, by kind.

use std::time::Duration;

use metrics::{Counter, counter, histogram};
use state::TaskKind;

/// A counter of tasks of one kind.
pub(crate) fn counter_of(name: &'static str, kind: TaskKind) -> Counter {
    counter!(name, "kind" => kind.name())
}

/// Counts a finished task that took `duration` and had `audio_seconds` of music.
pub(crate) fn task_finished(kind: TaskKind, duration: Duration, audio_seconds: u64) {
    counter_of("quartet_tasks_finished_total", kind).increment(1);
    histogram!("quartet_task_seconds", "kind" => kind.name()).record(duration.as_secs_f64());
    counter_of("quartet_task_audio_seconds_total", kind).increment(audio_seconds);
    if let TaskKind::Separate { count, .. } = kind {
        counter!("quartet_task_segments_total").increment(count.into());
    }
}

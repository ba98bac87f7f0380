//! Metrics of the process, under the names of Prometheus' own libraries, from `/proc`.
//!
//! Systems without `/proc` have no such metrics.

use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use metrics::gauge;
use rustix::process::{Resource, getrlimit};
use rustix::time::{ClockId, clock_gettime};

/// Records the current time as the start of the process.
pub(super) fn set_start_time() {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    gauge!("process_start_time_seconds").set(since.as_secs_f64());
}

/// Records the metrics of the process.
pub(super) fn measure() {
    let used = clock_gettime(ClockId::ProcessCPUTime);
    gauge!("process_cpu_seconds_total").set(used.tv_sec as f64 + used.tv_nsec as f64 / 1e9);
    if let Ok(status) = std::fs::read_to_string("/proc/self/status") {
        if let Some(kilobytes) = field(&status, "VmRSS") {
            gauge!("process_resident_memory_bytes").set(kilobytes * 1024.0);
        }
        if let Some(threads) = field(&status, "Threads") {
            gauge!("process_threads").set(threads);
        }
    }
    if let Ok(open) = std::fs::read_dir(Path::new("/proc/self/fd")) {
        // One of them is this directory.
        gauge!("process_open_fds").set(open.count().saturating_sub(1) as f64);
    }
    if let Some(most) = getrlimit(Resource::Nofile).current {
        gauge!("process_max_fds").set(most as f64);
    }
}

/// The number in the line named `name`.
fn field(status: &str, name: &str) -> Option<f64> {
    let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
    line.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_field_is_found_by_its_whole_name() {
        let status = "Name:\tnode\nVmRSSFoo:\t1 kB\nVmRSS:\t  2048 kB\nThreads:\t7\n";
        assert_eq!((field(status, "VmRSS"), field(status, "Threads")), (Some(2048.0), Some(7.0)));
        assert_eq!(field(status, "Name"), None);
    }
}

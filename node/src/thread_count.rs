//! The value of the option `--jobs`.

/// More threads than this are most likely a typing error, and the system may refuse to start them.
const MAX_THREADS: usize = 1024;

/// Parses a number of threads, from 0 (one per processor) to 1024.
pub(crate) fn parse_thread_count(text: &str) -> Result<usize, String> {
    let count = text.parse().ok().filter(|count| *count <= MAX_THREADS);
    count.ok_or_else(|| format!("use a whole number from 0 to {MAX_THREADS}"))
}

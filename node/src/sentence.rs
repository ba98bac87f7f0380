//! How an error of the command line is told: one sentence with its causes, without a backtrace.

/// The error and its causes, separated by colons. Some errors quote their cause; it is not said again.
pub(crate) fn sentence(error: &anyhow::Error) -> String {
    let mut text = String::new();
    for cause in error.chain().map(ToString::to_string) {
        let cause = without_backtrace(&cause);
        if text.is_empty() {
            text = cause.into();
        } else if !text.contains(cause) {
            text = format!("{text}: {cause}");
        }
    }
    text
}

/// Candle writes a backtrace behind its own words where RUST_BACKTRACE is set.
fn without_backtrace(text: &str) -> &str {
    text.split_once("\n   0: ").map_or(text, |(words, _)| words)
}

#[cfg(test)]
mod tests {
    use std::io;

    use anyhow::Context;

    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("it cannot be read: {0}")]
    struct Quoting(#[source] io::Error);

    #[test]
    fn each_cause_is_said_once() {
        let disk = || io::Error::other("the disk failed");
        let outer = |error: Result<(), anyhow::Error>| error.context("song.mp3").map_err(|error| sentence(&error));
        assert_eq!(outer(Err(Quoting(disk()).into())), Err("song.mp3: it cannot be read: the disk failed".into()));
        assert_eq!(outer(Err(disk().into())), Err("song.mp3: the disk failed".into()));
        assert_eq!(outer(Err(anyhow::anyhow!("no song"))), Err("song.mp3: no song".into()));
        let traced = io::Error::other("shape mismatch\n   0: candle_core::error\n             at src/error.rs:1");
        assert_eq!(outer(Err(Quoting(traced).into())), Err("song.mp3: it cannot be read: shape mismatch".into()));
    }
}

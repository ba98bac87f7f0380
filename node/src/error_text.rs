//! The text of an error on the command line: the error and its causes in one line, without a backtrace.

/// The error and its causes, separated by colons. Causes that an error's own text quotes are not repeated.
pub(crate) fn error_text(error: &anyhow::Error) -> String {
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

/// Candle appends a backtrace to its messages if RUST_BACKTRACE is set.
fn without_backtrace(text: &str) -> &str {
    text.split_once("\n   0: ").map_or(text, |(message, _)| message)
}

#[cfg(test)]
mod tests {
    use std::io;

    use anyhow::Context;

    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("cannot be read: {0}")]
    struct Quoting(#[source] io::Error);

    #[test]
    fn each_cause_appears_once() {
        let disk = || io::Error::other("the disk failed");
        let outer = |error: Result<(), anyhow::Error>| error.context("song.mp3").map_err(|error| error_text(&error));
        assert_eq!(outer(Err(Quoting(disk()).into())), Err("song.mp3: cannot be read: the disk failed".into()));
        assert_eq!(outer(Err(disk().into())), Err("song.mp3: the disk failed".into()));
        assert_eq!(outer(Err(anyhow::anyhow!("no song"))), Err("song.mp3: no song".into()));
        let traced = io::Error::other("shape mismatch\n   0: candle_core::error\n             at src/error.rs:1");
        assert_eq!(outer(Err(Quoting(traced).into())), Err("song.mp3: cannot be read: shape mismatch".into()));
    }
}

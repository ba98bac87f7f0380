//! Steps at which a test makes the process end, stand still or slow down.
//!
//! `failpoint!("upload.shared")` marks a step between two things of which a crash may leave only the first. What happens
//! there is said by the environment variable `FAILPOINTS` when the process starts, as `NAME=ACTION;NAME=ACTION`, with the
//! actions of the crate `fail`: `return` ends the process at once and without a goodbye, as `kill -9` does,
//! `2*off->return` when it comes there for the third time, `sleep(500)` holds it up for that many milliseconds, `25%...` does
//! so one time in four. In the release profile there are no such steps.

/// Marks a step.
#[macro_export]
macro_rules! failpoint {
    ($name:literal) => {
        #[cfg(debug_assertions)]
        $crate::failpoint::reach($name)
    };
}

/// What `FAILPOINTS` says cannot be done.
#[derive(Debug, thiserror::Error)]
#[error("FAILPOINTS says {part:?}, which cannot be done: {reason}")]
pub struct ArmError {
    part: String,
    reason: String,
}

/// Refuses to have anything happen at steps that are not there.
#[cfg(not(debug_assertions))]
pub fn arm(wanted: &str) -> Result<(), ArmError> {
    let reason = || "a program of the release profile has no such steps".to_owned();
    if wanted.is_empty() { Ok(()) } else { Err(ArmError { part: wanted.into(), reason: reason() }) }
}

/// Has happen at the steps what `wanted`, the value of `FAILPOINTS`, says.
#[cfg(debug_assertions)]
pub fn arm(wanted: &str) -> Result<(), ArmError> {
    for part in wanted.split(';').map(str::trim).filter(|part| !part.is_empty()) {
        let failed = |reason: String| ArmError { part: part.into(), reason };
        let (name, actions) = part.split_once('=').ok_or_else(|| failed("it is not written as NAME=ACTION".into()))?;
        fail::cfg(name.trim(), actions.trim()).map_err(failed)?;
        tracing::warn!(step = name.trim(), actions = actions.trim(), "for a test, something happens at a step");
    }
    Ok(())
}

/// The process is at a step.
#[cfg(debug_assertions)]
pub fn reach(name: &str) {
    fail::fail_point!(name, |_| {
        // Told past the logs, which might wait for the disk.
        eprintln!("the process ends at {name}");
        std::process::abort()
    });
}

#[cfg(all(test, debug_assertions))]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn what_cannot_be_done_at_a_step_is_refused() {
        arm("").unwrap();
        arm("tests.one=off; tests.two = 3*off->sleep(1) ;").unwrap();
        for bad in ["tests.one", "tests.one=dance", "tests.one=2*off;tests.two=sleep(1"] {
            assert!(arm(bad).is_err(), "{bad}");
        }
        reach("tests.one");
        reach("tests.never");
    }
}

//! Failpoints: named steps at which a test stops, pauses or slows down the process.
//!
//! `failpoint!("upload.shared")` marks the step between two effects, where a crash may leave only the first one. The
//! environment variable `FAILPOINTS` sets what happens at these steps, as `NAME=ACTION;NAME=ACTION`. The actions are
//! those of the crate `fail`: `return` aborts the process at once, without cleanup, like `kill -9`; `2*off->return`
//! aborts it at the third time; `sleep(500)` pauses for 500 milliseconds; `25%...` acts one time in four. The release
//! profile has no failpoints.

/// Marks a failpoint with this name.
#[macro_export]
macro_rules! failpoint {
    ($name:literal) => {
        #[cfg(debug_assertions)]
        $crate::failpoint::reach($name)
    };
}

/// The value of `FAILPOINTS` is invalid.
#[derive(Debug, thiserror::Error)]
#[error("invalid FAILPOINTS, {part:?}: {reason}")]
pub struct ArmError {
    part: String,
    reason: String,
}

/// Rejects every value except an empty one, because a release build has no failpoints.
#[cfg(not(debug_assertions))]
pub fn arm(actions: &str) -> Result<(), ArmError> {
    let reason = || "a release build has no failpoints".to_owned();
    if actions.is_empty() { Ok(()) } else { Err(ArmError { part: actions.into(), reason: reason() }) }
}

/// Sets the actions of failpoints. `actions` is the value of `FAILPOINTS`.
#[cfg(debug_assertions)]
pub fn arm(actions: &str) -> Result<(), ArmError> {
    for part in actions.split(';').map(str::trim).filter(|part| !part.is_empty()) {
        let failed = |reason: String| ArmError { part: part.into(), reason };
        let (name, action) = part.split_once('=').ok_or_else(|| failed("write NAME=ACTION".into()))?;
        fail::cfg(name.trim(), action.trim()).map_err(failed)?;
        tracing::warn!(failpoint = name.trim(), action = action.trim(), "failpoint armed, for tests only");
    }
    Ok(())
}

/// Runs the action of a failpoint. The macro calls this.
#[cfg(debug_assertions)]
pub fn reach(name: &str) {
    fail::fail_point!(name, |_| {
        // Written to stderr directly, because the log may wait for the disk.
        eprintln!("aborted at the failpoint {name}");
        std::process::abort()
    });
}

#[cfg(all(test, debug_assertions))]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn invalid_actions_are_rejected() {
        arm("").unwrap();
        arm("tests.one=off; tests.two = 3*off->sleep(1) ;").unwrap();
        for bad in ["tests.one", "tests.one=dance", "tests.one=2*off;tests.two=sleep(1"] {
            assert!(arm(bad).is_err(), "{bad}");
        }
        reach("tests.one");
        reach("tests.never");
    }
}

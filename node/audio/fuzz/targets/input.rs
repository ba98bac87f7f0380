//! Common parts of the targets: the input as a file, and the panics that are faults.

use std::cell::RefCell;
use std::fs::File;
use std::os::unix::fs::FileExt;

thread_local! {
    static FILE: RefCell<Option<File>> = const { RefCell::new(None) };
}

/// Calls `read` with a file of `bytes`. All calls share one file, because creating one is slow.
pub fn as_file(bytes: &[u8], read: impl FnOnce(&File)) {
    FILE.with_borrow_mut(|kept| {
        let file = kept.get_or_insert_with(|| tempfile::tempfile().expect("a temporary file"));
        file.set_len(0).expect("an empty file");
        file.write_all_at(bytes, 0).expect("room for the input");
        read(file);
    });
}

/// Ignores panics of libraries, which Quartet catches and reports as a damaged file, and aborts the process at all
/// others. With FUZZ_LIBRARIES set, panics of libraries abort it too.
pub fn choose_panics() {
    let all = std::env::var_os("FUZZ_LIBRARIES").is_some();
    std::panic::set_hook(Box::new(move |panic| {
        let place = panic.location().map(std::panic::Location::file).unwrap_or_default();
        if !all && place.contains(LIBRARIES) {
            return;
        }
        let backtrace = std::backtrace::Backtrace::force_capture().to_string();
        if all || !called_by_library(&backtrace) {
            eprintln!("{panic}\n{backtrace}");
            std::process::abort();
        }
    }));
}

/// The folder in which cargo keeps the sources of libraries.
const LIBRARIES: &str = "/registry/src/";

/// Whether a panic inside the standard library began in a library: whether the first caller outside of it is one.
fn called_by_library(backtrace: &str) -> bool {
    let mut places = backtrace.lines().filter_map(|line| line.trim_start().strip_prefix("at "));
    places
        .find(|place| !place.starts_with("/rustc/") && !place.contains(file!()))
        .is_some_and(|place| place.contains(LIBRARIES))
}

//! Decodes one file like an upload and a worker, and prints its properties as one line of JSON.
//!
//! `cargo run --package audio --example decode FILE OUT.f32`
//!
//! OUT.f32 receives interleaved stereo samples at 44.1 kHz: 32-bit floats, little-endian. For a refused file the output
//! is `{"error": MESSAGE}` and the exit code is 1. `memory_kb` is the peak of the memory. scripts/formats compares the
//! samples with ffmpeg's.

#![allow(clippy::print_stdout)]

use std::path::Path;
use std::process::ExitCode;

use audio::RATE;
use audio::decode::{DecodeError, Limits};
use audio::sandbox::Sandbox;
use serde_json::{Value, json};

/// The longest file, in seconds: three hours.
const MAX_SECONDS: u64 = 3 * 3600;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [file, out] = arguments.as_slice() else {
        println!("{}", json!({ "error": "usage: decode FILE OUT.f32" }));
        return ExitCode::from(2);
    };
    let (mut answer, code) = match decode(Path::new(file), Path::new(out)) {
        Ok(found) => (found, ExitCode::SUCCESS),
        Err(error) => (json!({ "error": error.to_string() }), ExitCode::FAILURE),
    };
    answer["memory_kb"] = peak_memory().into();
    println!("{answer}");
    code
}

/// The peak of this process's memory, in KiB; 0 if the system does not report it.
fn peak_memory() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    peak.and_then(|peak| peak.trim().trim_end_matches(" kB").parse().ok()).unwrap_or(0)
}

fn decode(file: &Path, out: &Path) -> Result<Value, DecodeError> {
    let sandbox = Sandbox::none();
    let inspected = sandbox.inspect(file, &Limits { max_seconds: MAX_SECONDS })?;
    let decoded = sandbox.decode_to(file, out)?;
    Ok(json!({
        "format": inspected.probe.format,
        "rate": inspected.probe.rate,
        "channels": inspected.probe.channels,
        "promised": inspected.probe.frames,
        "frames": decoded.frames(),
        "seconds": decoded.frames() as f64 / f64::from(RATE),
        "tags": inspected.tags,
        "cover": inspected.cover.map(|cover| cover.mime),
    }))
}

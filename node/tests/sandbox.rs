//! Decoding in a child process: the same results as in this process, and a distinct error for every failure.

#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used)]
#![cfg(debug_assertions)]

mod harness;

use std::io::ErrorKind;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::time::Instant;

use audio::decode::{DecodeError, Failure, Limits};
use audio::sandbox::{Bounds, Sandbox};
use harness::{PATIENCE, song};
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

const LIMITS: Limits = Limits { max_seconds: 60 };

fn program() -> PathBuf {
    env!("CARGO_BIN_EXE_node").into()
}

/// A program whose decoder processes trigger the fault `fault` before they read the file.
fn program_with(fault: &str) -> PathBuf {
    static FOLDER: OnceLock<TempDir> = OnceLock::new();
    // The script is written before it is started, because a file that is open for writing cannot be executed.
    let folder = FOLDER.get_or_init(|| {
        let folder = TempDir::new().unwrap();
        let script = folder.path().join("script");
        let text = format!(
            "#!/bin/sh\nFAILPOINTS=\"decode.child=return(${{0##*/}})\" exec '{}' \"$@\"\n",
            env!("CARGO_BIN_EXE_node")
        );
        std::fs::write(&script, text).unwrap();
        std::fs::set_permissions(&script, std::fs::Permissions::from_mode(0o755)).unwrap();
        folder
    });
    let place = folder.path().join(fault);
    // Another test may have created it.
    let _ = symlink("script", &place);
    place
}

fn inspect_error(fault: &str, bounds: Bounds) -> DecodeError {
    let sandbox = Sandbox::child(program_with(fault)).within(bounds);
    sandbox.inspect(&song(2, 80), &Limits { max_seconds: 1 }).unwrap_err()
}

#[test]
fn every_failure_has_its_own_message() {
    // Limits that hold on a busy machine.
    let spins = Bounds { any_length: 1, patience: 1000, ..Bounds::default() };
    let sleeps = Bounds { any_length: 1, patience: 3, ..Bounds::default() };
    for (fault, bounds, failure, words) in [
        ("abort", Bounds::default(), Failure::Crashed, "its decoder crashed"),
        ("overflow", Bounds::default(), Failure::Crashed, "its decoder crashed"),
        ("panic", Bounds::default(), Failure::Crashed, "its decoder crashed"),
        ("allocate", Bounds::default(), Failure::Memory(512 << 20), "more than 536 MB of memory"),
        ("spin", spins, Failure::Processor(1), "more than 1 seconds of processor time"),
        ("sleep", sleeps, Failure::Time(3), "longer than 3 seconds"),
        ("exit", Bounds::default(), Failure::Nonsense, "returned an invalid result"),
        ("nonsense", Bounds::default(), Failure::Nonsense, "returned an invalid result"),
        ("flood", Bounds::default(), Failure::Nonsense, "returned an invalid result"),
    ] {
        let error = inspect_error(fault, bounds);
        assert!(error.is_the_files(), "{fault}: {error}");
        assert!(error.to_string().contains(words), "{fault}: {error}");
        assert!(matches!(&error, DecodeError::Failed(found) if *found == failure), "{fault}: {error:?}");
    }
}

#[test]
fn output_of_a_decoder_is_bounded_by_the_length_of_the_song() {
    let folder = TempDir::new().unwrap();
    let out = folder.path().join("samples");
    let sandbox = Sandbox::child(program_with("write"));
    let error = sandbox.decode_known(&song(2, 80), &out, 44_100).err().unwrap();
    // A minute more than the two seconds of the song.
    let most = 62 * 44_100 * 8;
    assert!(matches!(error, DecodeError::Failed(Failure::Samples(found)) if found == most), "{error}");
    assert!(std::fs::metadata(&out).unwrap().len() <= most);
}

#[test]
fn decoder_cannot_reach_anything_outside() {
    let song = song(2, 80);
    let reaching = Sandbox::child(program_with("reach"));
    assert_eq!(reaching.inspect(&song, &LIMITS).unwrap(), Sandbox::none().inspect(&song, &LIMITS).unwrap());
}

#[test]
fn errors_of_the_system_are_not_blamed_on_the_file() {
    let (folder, song) = (TempDir::new().unwrap(), song(2, 80));
    let io = |error: DecodeError| match error {
        DecodeError::Io(error) => error.kind(),
        error => panic!("{error}"),
    };
    // The program, the song or the folder does not exist, or the disk is full.
    let missing = Sandbox::child(folder.path().join("none"));
    assert_eq!(io(missing.inspect(&song, &LIMITS).unwrap_err()), ErrorKind::NotFound);
    let sandbox = Sandbox::child(program());
    assert_eq!(io(sandbox.inspect(&folder.path().join("none"), &LIMITS).unwrap_err()), ErrorKind::NotFound);
    assert_eq!(io(sandbox.decode_to(&song, Path::new("/dev/full")).err().unwrap()), ErrorKind::StorageFull);
    let nowhere = folder.path().join("no/folder");
    assert_eq!(io(sandbox.decode_to(&song, &nowhere).err().unwrap()), ErrorKind::NotFound);
    // Another program.
    assert_eq!(io(Sandbox::child("/bin/false".into()).tags_of(&song).unwrap_err()), ErrorKind::Other);

    // The process is killed from outside.
    for signal in [Signal::KILL, Signal::TERM] {
        let own = folder.path().join(format!("{signal:?}.wav"));
        std::fs::copy(&song, &own).unwrap();
        let error = std::thread::scope(|scope| {
            let reading = scope.spawn(|| Sandbox::child(program_with("sleep")).tags_of(&own));
            kill_process(wait_for_reader_of(&own), signal).unwrap();
            reading.join().unwrap().unwrap_err()
        });
        assert!(!error.is_the_files());
        assert_eq!(io(error), ErrorKind::Interrupted);
    }
}

/// Waits for the process that reads this file.
fn wait_for_reader_of(file: &Path) -> Pid {
    let began = Instant::now();
    loop {
        let reads = |pid: &Pid| {
            std::fs::read_link(format!("/proc/{}/fd/0", pid.as_raw_nonzero())).is_ok_and(|found| found == file)
        };
        if let Some(pid) = harness::children(std::process::id()).into_iter().find(reads) {
            return pid;
        }
        assert!(began.elapsed() < PATIENCE, "no process reads {}", file.display());
        std::thread::yield_now();
    }
}

#[test]
fn child_process_returns_the_same_results() {
    let folder = TempDir::new().unwrap();
    let at = |name: &str| folder.path().join(name);
    let wav = song(8, 81);
    let convert = |options: &str, name: &str| {
        let made = Command::new("ffmpeg")
            .args(["-v", "error", "-y", "-i"])
            .arg(&wav)
            .args(["-metadata", "title=Tïtle", "-metadata", "artist=Somebody"])
            .args(options.split_ascii_whitespace())
            .arg(at(name))
            .status();
        assert!(made.expect("these tests need ffmpeg").success(), "{name}");
    };
    for (options, name) in [
        ("-b:a 128k", "song.mp3"),
        ("-ar 48000 -sample_fmt s32", "song.flac"),
        ("-c:a libvorbis", "song.ogg"),
        ("-c:a aac", "song.m4a"),
        ("-ar 22050 -ac 1", "song.wav"),
        ("-ar 96000", "song.aiff"),
    ] {
        convert(options, name);
    }
    let flac = std::fs::read(at("song.flac")).unwrap();
    std::fs::write(at("cut.flac"), &flac[..flac.len() / 2]).unwrap();
    std::fs::write(at("empty.mp3"), b"").unwrap();
    std::fs::write(at("text.mp3"), b"Only words here. ".repeat(5000)).unwrap();
    let (own, other) = (Sandbox::none(), Sandbox::child(program()));
    let text = |error: DecodeError| format!("{error:?}: {error}");
    let short = Limits { max_seconds: 1 };
    for name in
        ["song.mp3", "song.flac", "song.ogg", "song.m4a", "song.wav", "song.aiff", "cut.flac", "empty.mp3", "text.mp3"]
    {
        let path = at(name);
        for limits in [LIMITS, short] {
            let found = [&own, &other].map(|sandbox| sandbox.inspect(&path, &limits).map_err(text));
            assert_eq!(found[0], found[1], "{name}");
        }
        let tags = [&own, &other].map(|sandbox| sandbox.tags_of(&path).map_err(text));
        assert_eq!(tags[0], tags[1], "{name}");
        let samples = [&own, &other].map(|sandbox| {
            let out = at("samples");
            let pcm = sandbox.decode_to(&path, &out).map_err(text)?;
            Ok::<_, String>((pcm.frames(), *pcm.stats(), std::fs::read(out).unwrap()))
        });
        assert!(samples[0] == samples[1], "{name}");
    }
}

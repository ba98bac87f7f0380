//! Reading files in another process: the same results as in this one, and an error for each way in which it can end.

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

/// A program whose children do this before they look at the file.
fn program_that(does: &str) -> PathBuf {
    static FOLDER: OnceLock<TempDir> = OnceLock::new();
    // All are made before the first is started: a file that is open for writing cannot be.
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
    let place = folder.path().join(does);
    // Another test may have made it.
    let _ = symlink("script", &place);
    place
}

fn inspected(does: &str, bounds: Bounds) -> DecodeError {
    let sandbox = Sandbox::child(program_that(does)).within(bounds);
    sandbox.inspect(&song(2, 80), &Limits { max_seconds: 1 }).unwrap_err()
}

#[test]
fn each_way_to_end_has_its_words() {
    // However busy the machine is.
    let spins = Bounds { any_length: 1, patience: 1000, ..Bounds::default() };
    let sleeps = Bounds { any_length: 1, patience: 3, ..Bounds::default() };
    for (does, bounds, failure, words) in [
        ("abort", Bounds::default(), Failure::Crashed, "its decoder crashed"),
        ("overflow", Bounds::default(), Failure::Crashed, "its decoder crashed"),
        ("panic", Bounds::default(), Failure::Crashed, "its decoder crashed"),
        ("allocate", Bounds::default(), Failure::Memory(512 << 20), "more than 536 MB of memory"),
        ("spin", spins, Failure::Processor(1), "more than 1 seconds of processor time"),
        ("sleep", sleeps, Failure::Time(3), "longer than 3 seconds"),
        ("exit", Bounds::default(), Failure::Nonsense, "no usable result"),
        ("nonsense", Bounds::default(), Failure::Nonsense, "no usable result"),
        ("flood", Bounds::default(), Failure::Nonsense, "no usable result"),
    ] {
        let error = inspected(does, bounds);
        assert!(error.is_the_files(), "{does}: {error}");
        assert!(error.to_string().contains(words), "{does}: {error}");
        assert!(matches!(&error, DecodeError::Failed(found) if *found == failure), "{does}: {error:?}");
    }
}

#[test]
fn a_decoder_writes_no_more_than_its_song_is_long() {
    let folder = TempDir::new().unwrap();
    let out = folder.path().join("samples");
    let sandbox = Sandbox::child(program_that("write"));
    let error = sandbox.decode_known(&song(2, 80), &out, 44_100).err().unwrap();
    // Twice a second, and a minute.
    let most = 62 * 44_100 * 8;
    assert!(matches!(error, DecodeError::Failed(Failure::Samples(found)) if found == most), "{error}");
    assert!(std::fs::metadata(&out).unwrap().len() <= most);
}

#[test]
fn a_decoder_reaches_nothing_outside() {
    let song = song(2, 80);
    let reaching = Sandbox::child(program_that("reach"));
    assert_eq!(reaching.inspect(&song, &LIMITS).unwrap(), Sandbox::none().inspect(&song, &LIMITS).unwrap());
}

#[test]
fn what_is_not_the_files_fault_is_told_from_it() {
    let (folder, song) = (TempDir::new().unwrap(), song(2, 80));
    let io = |error: DecodeError| match error {
        DecodeError::Io(error) => error.kind(),
        error => panic!("{error}"),
    };
    // There is no such program, no such song, no room, no folder.
    let missing = Sandbox::child(folder.path().join("none"));
    assert_eq!(io(missing.inspect(&song, &LIMITS).unwrap_err()), ErrorKind::NotFound);
    let sandbox = Sandbox::child(program());
    assert_eq!(io(sandbox.inspect(&folder.path().join("none"), &LIMITS).unwrap_err()), ErrorKind::NotFound);
    assert_eq!(io(sandbox.decode_to(&song, Path::new("/dev/full")).err().unwrap()), ErrorKind::StorageFull);
    let nowhere = folder.path().join("no/folder");
    assert_eq!(io(sandbox.decode_to(&song, &nowhere).err().unwrap()), ErrorKind::NotFound);
    // Another program than the one that was meant.
    assert_eq!(io(Sandbox::child("/bin/false".into()).tags_of(&song).unwrap_err()), ErrorKind::Other);

    // Somebody ends it.
    for signal in [Signal::KILL, Signal::TERM] {
        let own = folder.path().join(format!("{signal:?}.wav"));
        std::fs::copy(&song, &own).unwrap();
        let error = std::thread::scope(|scope| {
            let reading = scope.spawn(|| Sandbox::child(program_that("sleep")).tags_of(&own));
            kill_process(reader_of(&own), signal).unwrap();
            reading.join().unwrap().unwrap_err()
        });
        assert!(!error.is_the_files());
        assert_eq!(io(error), ErrorKind::Interrupted);
    }
}

/// The process that reads this file, once there is one.
fn reader_of(file: &Path) -> Pid {
    let began = Instant::now();
    loop {
        let reads = |pid: &Pid| {
            std::fs::read_link(format!("/proc/{}/fd/0", pid.as_raw_nonzero())).is_ok_and(|found| found == file)
        };
        if let Some(pid) = harness::children(std::process::id()).into_iter().find(reads) {
            return pid;
        }
        assert!(began.elapsed() < PATIENCE, "nobody reads {}", file.display());
        std::thread::yield_now();
    }
}

#[test]
fn a_child_finds_what_this_process_finds() {
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
    let told = |error: DecodeError| format!("{error:?}: {error}");
    let short = Limits { max_seconds: 1 };
    for name in
        ["song.mp3", "song.flac", "song.ogg", "song.m4a", "song.wav", "song.aiff", "cut.flac", "empty.mp3", "text.mp3"]
    {
        let path = at(name);
        for limits in [LIMITS, short] {
            let found = [&own, &other].map(|sandbox| sandbox.inspect(&path, &limits).map_err(told));
            assert_eq!(found[0], found[1], "{name}");
        }
        let tags = [&own, &other].map(|sandbox| sandbox.tags_of(&path).map_err(told));
        assert_eq!(tags[0], tags[1], "{name}");
        let samples = [&own, &other].map(|sandbox| {
            let out = at("samples");
            let pcm = sandbox.decode_to(&path, &out).map_err(told)?;
            Ok::<_, String>((pcm.frames(), *pcm.stats(), std::fs::read(out).unwrap()))
        });
        assert!(samples[0] == samples[1], "{name}");
    }
}

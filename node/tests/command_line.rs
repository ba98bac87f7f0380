//! The command line: error messages, and that existing files are kept.

#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used)]

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use tempfile::TempDir;

/// Runs `node` in a folder, with backtraces enabled and without models.
fn node(folder: &Path, words: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_node"))
        .args(words)
        .current_dir(folder)
        .env("QUARTET_MODELS", folder.join("models"))
        .env("RUST_BACKTRACE", "1")
        .env_remove("QUARTET_LOG")
        .output()
        .unwrap()
}

fn output_of(output: &Output) -> String {
    String::from_utf8_lossy(&[output.stdout.as_slice(), &output.stderr].concat()).into_owned()
}

/// The output of a command that must fail.
fn failing(folder: &Path, words: &[&str]) -> String {
    let output = node(folder, words);
    let text = output_of(&output);
    assert!(!output.status.success(), "{words:?}: {text}");
    for trace in ["backtrace", "Caused by", "panicked", "RUST_BACKTRACE", " { ", "::"] {
        assert!(!text.contains(trace), "{words:?}: {text}");
    }
    text
}

/// A folder with a song of one second, `song.wav`, and copies of it.
fn songs(copies: &[&str]) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let made = node(folder.path(), &["synthesize", "--seconds", "1", "--out", "made"]);
    assert!(made.status.success(), "{}", output_of(&made));
    for copy in ["song.wav"].iter().chain(copies) {
        let place = folder.path().join(copy);
        fs::create_dir_all(place.parent().unwrap()).unwrap();
        fs::copy(folder.path().join("made/song.wav"), place).unwrap();
    }
    folder
}

#[test]
fn errors_are_one_clear_line() {
    let folder = songs(&[]);
    let at = folder.path();
    fs::write(at.join("notes.txt"), "no music at all, and not short either\n".repeat(100)).unwrap();
    fs::write(at.join("cluster.toml"), "nodes = 3\n").unwrap();
    fs::write(at.join("broken.th"), "no checkpoint").unwrap();
    for (words, expected) in [
        (vec!["separate", "nothing.mp3"], "nothing.mp3: no such file"),
        (vec!["separate", "song.wav/x.mp3"], "song.wav/x.mp3: no such file"),
        (vec!["separate", "made"], "made: is a folder, not a file"),
        (vec!["separate", "notes.txt"], "notes.txt: "),
        (
            vec!["separate", "song.wav", "--two-stems", "piano"],
            "has no stem \"piano\", only drums, bass, other, vocals",
        ),
        (vec!["separate", "song.wav", "--overlap", "1"], "use a number from 0 to below 1"),
        (vec!["separate", "song.wav", "--overlap", "much"], "is not a number"),
        (vec!["separate", "song.wav", "--jobs", "-1"], "-1"),
        (vec!["separate", "song.wav", "--jobs", "99999999"], "from 0 to 1024"),
        (vec!["separate", "song.wav", "--shifts", "101"], "0..=100"),
        (vec!["separate", "song.wav", "--mp3", "--mp3-bitrate", "7"], "320"),
        (vec!["separate", "song.wav", "--mp3", "--mp3-preset", "1"], "2"),
        (vec!["separate", "song.wav", "--mp3", "--flac"], "cannot be used with"),
        (vec!["separate", "song.wav", "--clip-mode", "loud"], "loud"),
        (vec!["separate", "song.wav", "--out", "notes.txt"], "cannot create the folder notes.txt/spectral"),
        (vec!["separate", "song.wav", "-n", "nothing"], "no model \"nothing\""),
        (vec!["separate", "song.wav", "-n", "htdemucs"], "node model fetch htdemucs"),
        (vec!["separate"], "<SONG>"),
        (vec!["separate", "song.wav", "--filename", "{track}.{ext}"], "add {stem}"),
        (vec!["separate", "song.wav", "--filename", "{stem}.{title}"], "unknown placeholder {title}"),
        (vec!["separate", "song.wav", "--filename", "../{stem}.{ext}"], "within the folder of --out"),
        (vec!["separate", "song.wav", "--filename", "/tmp/{stem}.{ext}"], "within the folder of --out"),
        (vec!["separate", "song.wav", "--filename", "{stem}/"], "end with a file name"),
        (vec!["synthesize", "--out", "x", "--seconds", "0"], "--seconds must be above 0"),
        (vec!["synthesize", "--out", "notes.txt"], "cannot create the folder notes.txt"),
        (vec!["model", "import", "nothing.th"], "nothing.th"),
        (vec!["model", "import", "broken.th"], "broken.th"),
        (vec!["model", "remove", "nothing"], "nothing"),
        (vec!["model", "verify", "nothing"], "nothing"),
        (vec!["model", "fetch", "nothing"], "is not a released model"),
        (vec!["status"], "--cluster FILE"),
        (vec!["--cluster", "nothing.toml", "status"], "nothing.toml"),
        (vec!["--cluster", "nothing.toml", "--id", "0"], "nothing.toml"),
        (vec!["--cluster", "cluster.toml", "--id", "0"], "cluster.toml"),
        (vec!["--cluster", "cluster.toml"], "--id"),
        (vec!["--id", "0"], "--cluster"),
        (vec!["worker", "--broker", "http://x", "--backend", "http://x", "--token", "x"], "--broker"),
        (vec!["worker", "--broker", "amqp://127.0.0.1", "--backend", "x", "--token", "x"], "http://HOST:PORT"),
        (vec!["worker", "--broker", "amqp://127.0.0.1", "--backend", "http://x"], "missing token"),
        (vec!["dance"], "dance"),
    ] {
        let text = failing(at, &words);
        assert!(text.contains(expected), "{words:?}: {text}");
        // Causes are not repeated.
        for cause in ["os error", "No such file"] {
            assert!(text.matches(cause).count() <= 1, "{words:?}: {text}");
        }
    }
    assert!(!at.join("separated/spectral/song").exists());
}

#[test]
fn files_are_replaced_only_with_overwrite() {
    let folder = songs(&["b/song.wav", "{stem}.wav"]);
    let at = folder.path();
    let separated = node(at, &["separate", "song.wav", "b/song.wav", "{stem}.wav", "song.wav", "-n", "spectral"]);
    let output = output_of(&separated);
    assert!(separated.status.success(), "{output}");
    assert!(output.contains("b/song.wav: using the name \"song (2)\" for its stems"), "{output}");
    assert!(output.contains("song.wav: given twice, will be separated once"), "{output}");
    let stem = |track: &str| at.join("separated/spectral").join(track).join("drums.wav");
    for track in ["song", "song (2)", "{stem}"] {
        assert!(stem(track).metadata().unwrap().len() > 100_000, "{track}");
    }
    assert_eq!(fs::read_dir(at.join("separated/spectral")).unwrap().count(), 3);

    // Another run keeps existing files, and separates the other songs.
    fs::write(stem("song"), "mine").unwrap();
    fs::remove_dir_all(at.join("separated/spectral/{stem}")).unwrap();
    let error = failing(at, &["separate", "song.wav", "{stem}.wav", "-n", "spectral"]);
    assert!(error.contains("song.wav: separated/spectral/song/drums.wav already exists"), "{error}");
    assert!(error.contains("--overwrite"), "{error}");
    assert_eq!(fs::read_to_string(stem("song")).unwrap(), "mine");
    assert!(stem("{stem}").exists());

    let replaced = node(at, &["separate", "song.wav", "-n", "spectral", "--overwrite"]);
    assert!(replaced.status.success(), "{}", output_of(&replaced));
    assert!(stem("song").metadata().unwrap().len() > 100_000);

    // Without {track}, two songs have the same path.
    let words = ["separate", "song.wav", "{stem}.wav", "-n", "spectral", "--filename", "{stem}.{ext}"];
    let shared = failing(at, &words);
    assert!(shared.contains("{stem}.wav: separated/spectral/drums.wav is also"), "{shared}");
    assert!(shared.contains("the path of a stem of song.wav; add {track} to --filename"), "{shared}");
}

#[test]
fn long_and_reserved_names_become_valid_file_names() {
    let long = format!("{}.wav", "音".repeat(83));
    let folder = songs(&["NUL.wav", &long]);
    let words = ["separate", "NUL.wav", &long, "-n", "spectral", "--filename", "{track} - {stem}.{ext}"];
    let separated = node(folder.path(), &words);
    assert!(separated.status.success(), "{}", output_of(&separated));
    let made = fs::read_dir(folder.path().join("separated/spectral")).unwrap();
    let mut made: Vec<String> = made.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    made.sort();
    let stems = ["bass", "drums", "other", "vocals"];
    let expected = |track: &str| stems.map(|stem| format!("{track} - {stem}.wav"));
    assert_eq!(made[..4], expected("NUL"));
    for name in &made[4..] {
        assert!((250..=255).contains(&name.len()) && name.ends_with(".wav"), "{name}");
    }
    assert_eq!(made.len(), 8);
}

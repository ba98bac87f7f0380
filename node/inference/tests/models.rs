//! Folders of models: architectures, and models of several checkpoints.

#![allow(clippy::unwrap_used)]

use std::path::{Path, PathBuf};

use audio::Stereo;
use audio::pcm::SongStats;
use inference::Separator;
use inference::models::{Library, Manifest};

fn reference(file: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/reference").join(file)
}

/// A folder with the checkpoints of both architectures.
fn library() -> (tempfile::TempDir, Library) {
    let folder = tempfile::tempdir().unwrap();
    for file in ["tiny.th", "hybrid.th"] {
        std::fs::copy(reference(file), folder.path().join(file)).unwrap();
    }
    let library = Library::at(folder.path());
    (folder, library)
}

/// The error for a model with this manifest.
fn refusal(library: &Library, manifest: &Manifest) -> String {
    library.add("model", manifest).unwrap();
    library.separator("model").err().unwrap().to_string()
}

fn separate(separator: &dyn Separator) -> Vec<Stereo> {
    let length = separator.geometry().segment;
    let segment: Stereo =
        [0.3, 0.7].map(|pace| (0..length).map(|at| (pace * (at * at % 9973) as f32).sin() / 2.0).collect());
    separator.separate(&segment, 0..length, &SongStats { mean: 0.0, std: 0.4 }).unwrap()
}

#[test]
fn import_records_the_architecture() {
    let (_folder, library) = library();
    for (file, architecture) in [("tiny.th", "htdemucs"), ("hybrid.safetensors", "hdemucs")] {
        let name = library.import(&reference(file), None).unwrap();
        assert_eq!(library.manifest(&name).unwrap().architecture.as_deref(), Some(architecture));
        assert_eq!(library.separator(&name).unwrap().name(), name);
        library.verify(&name).unwrap();
    }
}

#[test]
fn the_checkpoint_determines_a_missing_architecture() {
    let (folder, library) = library();
    std::fs::write(folder.path().join("model.toml"), "files = [\"tiny.th\"]\n").unwrap();
    assert_eq!(library.separator("model").unwrap().geometry().segment, 8820);
}

#[test]
fn unknown_and_wrong_architectures_are_refused() {
    let (_folder, library) = library();
    let manifest = |architecture: &str| Manifest {
        architecture: Some(architecture.into()),
        files: vec!["tiny.th".into()],
        ..Manifest::default()
    };
    let message = refusal(&library, &manifest("roformer"));
    assert!(message.contains("\"roformer\"") && message.contains("htdemucs, hdemucs"), "{message}");
    let message = refusal(&library, &manifest("hdemucs"));
    assert!(message.contains("demucs.htdemucs.HTDemucs") && message.contains("hdemucs"), "{message}");
}

#[test]
fn a_bag_is_the_weighted_mean_of_its_networks() {
    let (_folder, library) = library();
    library.add("one", &Manifest { files: vec!["hybrid.th".into()], ..Manifest::default() }).unwrap();
    let one = separate(&*library.separator("one").unwrap());
    let files = vec!["hybrid.th".to_owned(); 2];
    for weights in [None, Some(vec![vec![1.0, 0.0], vec![0.0, 1.0]]), Some(vec![vec![1.0, 3.0], vec![3.0, 1.0]])] {
        library.add("bag", &Manifest { files: files.clone(), weights, ..Manifest::default() }).unwrap();
        let bag = separate(&*library.separator("bag").unwrap());
        let differences = one.iter().flatten().flatten().zip(bag.iter().flatten().flatten());
        assert!(differences.map(|(one, bag)| (one - bag).abs()).fold(0.0, f32::max) < 1e-5);
    }
}

#[test]
fn networks_that_do_not_fit_together_are_refused() {
    let (_folder, library) = library();
    let files = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
    for (manifest, reason) in [
        (Manifest::default(), "no checkpoint"),
        (Manifest { files: files(&["tiny.th", "hybrid.th"]), ..Manifest::default() }, "different lengths"),
        (
            Manifest { files: files(&["tiny.th", "hybrid.th"]), segment: Some(0.2), ..Manifest::default() },
            "segments of any length",
        ),
        (
            Manifest { files: files(&["tiny.th"]), weights: Some(vec![vec![1.0]]), ..Manifest::default() },
            "not 1 rows of 2",
        ),
        (
            Manifest { files: files(&["tiny.th"]), weights: Some(vec![vec![1.0, 0.0]]), ..Manifest::default() },
            "add up to zero",
        ),
    ] {
        let message = refusal(&library, &manifest);
        assert!(message.contains("the model model") && message.contains(reason), "{message}");
    }
}

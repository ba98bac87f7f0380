//! Small models with random weights, and the outputs of the reference for one segment.
//!
//! `tiny` is an HTDemucs, `hybrid` a Hybrid Demucs. `python scripts/reference.py tiny --folder
//! node/inference/tests/reference` made them, with demucs 4.1.0 and torch 2.15.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use audio::Stereo;
use audio::pcm::SongStats;
use inference::Separator;
use inference::models::{LoadError, ModelSpec, load};

/// A tensor's name, shape and numbers in half precision.
pub(crate) type Tensor = (String, Vec<usize>, Vec<u8>);
/// The metadata of a safetensors header.
pub(crate) type Notes = HashMap<String, String>;

/// A file of this folder.
pub(crate) fn reference(file: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/reference").join(file)
}

/// The outputs of the reference.
pub(crate) fn expected(file: &str) -> Vec<f32> {
    let bytes = std::fs::read(reference(file)).unwrap();
    bytes.chunks_exact(4).map(|bytes| f32::from_le_bytes(bytes.try_into().unwrap())).collect()
}

/// The input that `scripts/reference.py` makes.
pub(crate) fn segment(length: usize) -> Stereo {
    let step = |at: usize, every: usize, high: usize| f64::from(u8::from(at % every < high));
    let square = |at: usize| (at * at) as f64;
    let left = |at: usize| 0.5 * (2e-5 * square(at)).sin() + 0.1 * step(at, 997, 400);
    let right = |at: usize| 0.3 * (3e-5 * square(at) + 1.0).sin() - 0.2 * step(at, 1499, 700);
    [(0..length).map(|at| left(at) as f32).collect(), (0..length).map(|at| right(at) as f32).collect()]
}

/// The relative root mean square error.
pub(crate) fn error(found: &[f32], expected: &[f32]) -> f64 {
    assert_eq!(found.len(), expected.len());
    let power: f64 = expected.iter().map(|value| f64::from(*value).powi(2)).sum();
    let wrong: f64 = found.iter().zip(expected).map(|(one, other)| f64::from(one - other).powi(2)).sum();
    (wrong / power).sqrt()
}

/// The model of one checkpoint.
pub(crate) fn model(path: &Path) -> Result<Arc<dyn Separator>, LoadError> {
    let checkpoints = [path.to_owned()];
    load(&ModelSpec { name: "test", architecture: None, checkpoints: &checkpoints, weights: None, segment: None })
}

/// Separates a segment of a song that is already normalised.
pub(crate) fn separate(model: &dyn Separator, segment: &Stereo) -> Vec<Stereo> {
    model.separate(segment, 0..segment[0].len(), &SongStats { mean: 0.0, std: 1.0 }).unwrap()
}

/// The error for a checkpoint that is refused.
pub(crate) fn refusal(path: &Path) -> String {
    match model(path) {
        Ok(_) => panic!("{} was taken", path.display()),
        Err(error) => error.to_string(),
    }
}

/// A safetensors file with the tensors of one of the small models after `change`, and its metadata after `note`.
pub(crate) fn changed(
    folder: &Path,
    file: &str,
    change: impl FnOnce(&mut Vec<Tensor>),
    note: impl FnOnce(&mut Notes),
) -> PathBuf {
    let bytes = std::fs::read(reference(file)).unwrap();
    let whole = safetensors::SafeTensors::deserialize(&bytes).unwrap();
    let mut tensors: Vec<_> =
        whole.iter().map(|(name, view)| (name.to_owned(), view.shape().to_vec(), view.data().to_vec())).collect();
    let mut notes = safetensors::SafeTensors::read_metadata(&bytes).unwrap().1.metadata().clone().unwrap();
    change(&mut tensors);
    note(&mut notes);
    let views = tensors.iter().map(|(name, shape, data)| {
        (name, safetensors::tensor::TensorView::new(safetensors::Dtype::F16, shape.clone(), data).unwrap())
    });
    let path = folder.join("changed.safetensors");
    std::fs::write(&path, safetensors::serialize(views, Some(notes)).unwrap()).unwrap();
    path
}

/// Asserts that the error for a file contains these words.
pub(crate) fn is_refused(path: PathBuf, words: &[&str]) {
    let message = refusal(&path);
    assert!(words.iter().all(|word| message.contains(word)), "{message}");
}

/// Asserts that configurations with one change are refused: the old text, the new text, and a word of the error.
pub(crate) fn are_refused(folder: &Path, file: &str, changes: &[(&str, &str, &str)]) {
    for (from, to, word) in changes {
        let note = |notes: &mut Notes| {
            let kwargs = notes.get_mut("kwargs").unwrap();
            assert!(kwargs.contains(from), "{from} is not in {kwargs}");
            *kwargs = kwargs.replace(from, to);
        };
        is_refused(changed(folder, file, |_| {}, note), &["changed.safetensors", word]);
    }
}

//! Small models with random weights, and what the reference makes of one segment.
//!
//! `tiny` is an HTDemucs, `hybrid` a Hybrid Demucs. `python scripts/reference.py tiny --folder
//! node/inference/tests/reference` made them, with demucs 4.1.0 and torch 2.15.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use audio::Stereo;
use inference::demucs::Demucs;

/// A tensor's name, shape and numbers in half precision.
pub(crate) type Tensor = (String, Vec<usize>, Vec<u8>);
/// What a header says beside the tensors.
pub(crate) type Notes = HashMap<String, String>;

/// A file of this folder.
pub(crate) fn reference(file: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/reference").join(file)
}

/// The reference's output.
pub(crate) fn expected(file: &str) -> Vec<f32> {
    let bytes = std::fs::read(reference(file)).unwrap();
    bytes.chunks_exact(4).map(|bytes| f32::from_le_bytes(bytes.try_into().unwrap())).collect()
}

/// The segment that `scripts/reference.py` makes.
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

/// Why a checkpoint is refused.
pub(crate) fn refusal(path: &Path) -> String {
    match Demucs::load(path) {
        Ok(_) => panic!("{} was taken", path.display()),
        Err(error) => error.to_string(),
    }
}

/// A safetensors file with the tensors of one of the small models after `change`, and its header's notes after `note`.
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

/// The refusal of such a file must hold these words.
pub(crate) fn is_refused(path: PathBuf, words: &[&str]) {
    let said = refusal(&path);
    assert!(words.iter().all(|word| said.contains(word)), "{said}");
}

/// The same for each configuration that differs in one place: what stands there, what instead, and a word of the refusal.
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

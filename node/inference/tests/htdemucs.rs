//! HTDemucs compared with the outputs of the reference, and with invalid checkpoints.
//!
//! `scripts/parity` compares the released configurations in full.

#![allow(clippy::unwrap_used)]

mod reference;

use std::io::Write;
use std::path::{Path, PathBuf};

use reference::{
    Notes, Tensor, are_refused, changed, error, expected, is_refused, model, reference, refusal, segment, separate,
};

#[test]
fn outputs_equal_the_reference() {
    let expected = expected("tiny.f32");
    for file in ["tiny.th", "tiny.safetensors"] {
        let model = model(&reference(file)).unwrap();
        assert_eq!(model.sources(), ["drums", "vocals"]);
        assert_eq!((model.geometry().segment, model.any_length()), (8820, false));
        let found = separate(&*model, &segment(8820));
        let error = error(&found.concat().concat(), &expected);
        assert!(error < 5e-6, "{file}: {error:e}");
    }
}

/// A zip archive in PyTorch's layout, with this pickle.
fn archive(folder: &Path, pickle: &[u8]) -> PathBuf {
    let path = folder.join("model.th");
    let mut zip = zip::ZipWriter::new(std::fs::File::create(&path).unwrap());
    let stored = zip::write::SimpleFileOptions::default().compression_method(zip::CompressionMethod::Stored);
    zip.start_file("archive/data.pkl", stored).unwrap();
    zip.write_all(pickle).unwrap();
    zip.finish().unwrap();
    path
}

#[test]
fn pickles_run_no_code() {
    let folder = tempfile::tempdir().unwrap();
    let trace = folder.path().join("trace");
    let text = trace.to_str().unwrap();
    // `pickle.dumps` of an object whose `__reduce__` calls the shell, in protocols 0 and 4.
    let old = format!("cposix\nsystem\n(S'touch {text}'\ntR.");
    let mut new = vec![0x80, 4, 0x8c, 5];
    new.extend_from_slice(b"posix\x8c\x06system\x93X");
    let command = format!("touch {text}");
    new.extend_from_slice(&(command.len() as u32).to_le_bytes());
    new.extend_from_slice(command.as_bytes());
    new.extend_from_slice(b"\x85R.");
    for program in [old.into_bytes(), new] {
        let error = refusal(&archive(folder.path(), &program));
        assert!(error.contains("posix.system"), "{error}");
        assert!(!trace.exists());
    }
}

#[test]
fn pickles_that_exhaust_the_memory_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let nested: Vec<u8> = std::iter::repeat_n(b"]".as_slice(), 100_000)
        .chain(std::iter::repeat_n(b"a".as_slice(), 99_999))
        .flatten()
        .copied()
        .chain(*b".")
        .collect();
    // Each line is a list of ten of the list before: 10^40 elements in total.
    let mut doubled = b"]q\x00".to_vec();
    for level in 0..40u8 {
        doubled.push(b'(');
        for _ in 0..10 {
            doubled.extend_from_slice(&[b'h', level]);
        }
        doubled.extend_from_slice(&[b'l', b'q', level + 1]);
    }
    doubled.push(b'.');
    for program in [&nested, &doubled, &b"".to_vec(), &b"(".to_vec(), &b"0.".to_vec(), &b"\x8a\xff".to_vec()] {
        refusal(&archive(folder.path(), program));
    }
}

#[test]
fn damaged_checkpoints_are_refused_with_a_reason() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("damaged");
    for file in ["tiny.th", "tiny.safetensors"] {
        let whole = std::fs::read(reference(file)).unwrap();
        for length in [0, 1, 4, 100, whole.len() / 2, whole.len() - 100] {
            std::fs::write(&path, &whole[..length]).unwrap();
            let error = refusal(&path);
            assert!(
                error.contains("not a valid safetensors") || error.contains("not a valid PyTorch"),
                "{length}: {error}"
            );
        }
        // With any wrong byte the file is refused or the model is built, without a panic.
        for at in (0..whole.len()).step_by(whole.len() / 300) {
            let mut bytes = whole.clone();
            bytes[at] ^= 0xff;
            std::fs::write(&path, &bytes).unwrap();
            let _ = model(&path);
        }
    }
    assert!(refusal(Path::new("/nowhere.th")).contains("/nowhere.th"));
}

#[test]
fn invalid_checkpoints_are_refused_with_a_reason() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let file = "tiny.safetensors";
    is_refused(changed(folder, file, |tensors| drop(tensors.pop()), |_| {}), &["is missing"]);
    is_refused(
        changed(folder, file, |tensors| tensors.push(("surplus.weight".into(), vec![1], vec![0; 2])), |_| {}),
        &["surplus.weight", "not part of this network"],
    );
    let misshape = |tensors: &mut Vec<Tensor>| {
        let tensor = tensors.iter_mut().find(|tensor| tensor.0 == "encoder.0.conv.bias").unwrap();
        tensor.1 = vec![2, tensor.1[0] / 2];
    };
    is_refused(changed(folder, file, misshape, |_| {}), &["encoder.0.conv.bias", "shape"]);
    let class = |notes: &mut Notes| drop(notes.insert("klass".into(), "demucs.demucs.Demucs".into()));
    is_refused(changed(folder, file, |_| {}, class), &["demucs.demucs.Demucs"]);
    is_refused(changed(folder, file, |_| {}, |notes| drop(notes.remove("kwargs"))), &["kwargs"]);
    let changes = [
        ("\"channels\": 4", "\"channels\": 8", "shape"),
        ("\"channels\": 4", "\"channels\": 400000000", ""),
        ("\"depth\": 4", "\"depth\": 400000", ""),
        ("\"nfft\": 2048", "\"nfft\": 0", ""),
        ("\"t_heads\": 2", "\"t_heads\": 0", ""),
        ("\"t_heads\": 2", "\"t_heads\": 3", ""),
        ("\"numerator\": 1", "\"numerator\": -1", "segment"),
        ("\"denominator\": 5", "\"denominator\": 0", "segment"),
        ("\"denominator\": 5", "\"denominator\": 50000000", "segment"),
        ("\"samplerate\": 44100", "\"samplerate\": 8000", "8000"),
        ("\"cac\": true", "\"cac\": false", "cac"),
        ("\"t_emb\": \"sin\"", "\"t_emb\": \"cape\"", "cape"),
        ("\"sources\": [\"drums\", \"vocals\"]", "\"sources\": []", "sources"),
        ("\"sources\": [\"drums\", \"vocals\"]", "\"sources\": [\"../drums\", \"vocals\"]", "../drums"),
        ("\"sources\": [\"drums\", \"vocals\"]", "\"sources\": [\"drums\", \"drums\"]", "drums"),
    ];
    are_refused(folder, file, &changes);
}

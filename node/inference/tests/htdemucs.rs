//! HTDemucs against the reference's own values, and against checkpoints that are not what they should be.
//!
//! `scripts/parity` compares the released configurations in full.

#![allow(clippy::unwrap_used)]

mod reference;

use std::io::Write;
use std::path::{Path, PathBuf};

use inference::demucs::Demucs;
use reference::{Notes, Tensor, are_refused, changed, error, expected, is_refused, reference, refusal, segment};

#[test]
fn the_reference_says_the_same() {
    let expected = expected("tiny.f32");
    for file in ["tiny.th", "tiny.safetensors"] {
        let model = Demucs::load(&reference(file)).unwrap();
        assert_eq!(model.sources(), ["drums", "vocals"]);
        assert_eq!(model.segment(), 8820);
        let found = model.forward(&segment(8820)).unwrap();
        let error = error(&found.concat().concat(), &expected);
        assert!(error < 5e-6, "{file}: {error:e}");
    }
}

/// A zip as PyTorch writes it, with this pickle.
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
fn nothing_in_a_pickle_is_run() {
    let folder = tempfile::tempdir().unwrap();
    let trace = folder.path().join("trace");
    let text = trace.to_str().unwrap();
    // What `pickle.dumps` makes of an object whose `__reduce__` is a call of the shell, in protocols 0 and 4.
    let old = format!("cposix\nsystem\n(S'touch {text}'\ntR.");
    let mut new = vec![0x80, 4, 0x8c, 5];
    new.extend_from_slice(b"posix\x8c\x06system\x93X");
    let command = format!("touch {text}");
    new.extend_from_slice(&(command.len() as u32).to_le_bytes());
    new.extend_from_slice(command.as_bytes());
    new.extend_from_slice(b"\x85R.");
    for program in [old.into_bytes(), new] {
        let said = refusal(&archive(folder.path(), &program));
        assert!(said.contains("posix.system"), "{said}");
        assert!(!trace.exists());
    }
}

#[test]
fn pickles_that_would_exhaust_the_memory_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let nested: Vec<u8> = std::iter::repeat_n(b"]".as_slice(), 100_000)
        .chain(std::iter::repeat_n(b"a".as_slice(), 99_999))
        .flatten()
        .copied()
        .chain(*b".")
        .collect();
    // Each line is a list of ten of the list before: 10^40 elements when all are written out.
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
fn damaged_checkpoints_are_refused_by_name_and_reason() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("damaged");
    for file in ["tiny.th", "tiny.safetensors"] {
        let whole = std::fs::read(reference(file)).unwrap();
        for length in [0, 1, 4, 100, whole.len() / 2, whole.len() - 100] {
            std::fs::write(&path, &whole[..length]).unwrap();
            let said = refusal(&path);
            assert!(
                said.contains("no sound safetensors") || said.contains("no checkpoint of PyTorch"),
                "{length}: {said}"
            );
        }
        // Any byte may be wrong: it is refused, or the model is built of what is there, but nothing breaks.
        for at in (0..whole.len()).step_by(whole.len() / 300) {
            let mut bytes = whole.clone();
            bytes[at] ^= 0xff;
            std::fs::write(&path, &bytes).unwrap();
            let _ = Demucs::load(&path);
        }
    }
    assert!(refusal(Path::new("/nowhere.th")).contains("/nowhere.th"));
}

#[test]
fn checkpoints_that_do_not_fit_are_refused_by_name_and_reason() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let file = "tiny.safetensors";
    is_refused(changed(folder, file, |tensors| drop(tensors.pop()), |_| {}), &["is missing"]);
    is_refused(
        changed(folder, file, |tensors| tensors.push(("surplus.weight".into(), vec![1], vec![0; 2])), |_| {}),
        &["surplus.weight", "belong to nothing"],
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

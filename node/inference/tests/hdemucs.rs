//! Hybrid Demucs compared with the outputs of the reference, and with invalid checkpoints. `scripts/parity` compares
//! the released configuration in full.

#![allow(clippy::unwrap_used)]

mod reference;

use inference::models::{Library, Manifest};
use reference::{Tensor, are_refused, changed, error, expected, is_refused, model, reference, segment, separate};

#[test]
fn outputs_equal_the_reference() {
    let expected = expected("hybrid.f32");
    for file in ["hybrid.th", "hybrid.safetensors"] {
        let model = model(&reference(file)).unwrap();
        assert_eq!(model.sources(), ["drums", "vocals"]);
        assert_eq!((model.geometry().segment, model.any_length()), (13230, true));
        // Shorter segments too, down to one that is shorter than its reflection at the ends.
        let mut rest = &expected[..];
        for length in [13230, 5000, 50] {
            let (these, others) = rest.split_at(4 * length);
            rest = others;
            let found = separate(&*model, &segment(length));
            let error = error(&found.concat().concat(), these);
            assert!(error < 5e-6, "{file}: {length} frames, {error:e}");
        }
    }
}

#[test]
fn segments_of_few_frames_are_separated() {
    let model = model(&reference("hybrid.th")).unwrap();
    for length in 1..4 {
        let found = separate(&*model, &segment(length));
        assert!(found.iter().flatten().all(|samples| samples.len() == length));
    }
}

#[test]
fn the_manifest_sets_the_length_of_segments() {
    let folder = tempfile::tempdir().unwrap();
    let library = Library::at(folder.path());
    let model = |name: &str, file: &str, segment: f64| {
        std::fs::copy(reference(file), folder.path().join(file)).unwrap();
        let manifest = Manifest { files: vec![file.into()], segment: Some(segment), ..Manifest::default() };
        library.add(name, &manifest).unwrap();
        library.separator(name)
    };
    let separator = model("longer", "hybrid.th", 0.5).unwrap();
    assert_eq!((separator.geometry().segment, separator.geometry().stride), (22050, 16537));
    assert!(separator.any_length());
    // HTDemucs supports only its own segment length.
    let separator = model("same", "tiny.th", 0.2).unwrap();
    assert_eq!((separator.geometry().segment, separator.any_length()), (8820, false));
    for (name, file, seconds) in
        [("fixed", "tiny.th", 0.5), ("nothing", "hybrid.th", -1.0), ("hour", "hybrid.th", 3600.0)]
    {
        let Err(error) = model(name, file, seconds) else { panic!("{name} was taken") };
        assert!(error.to_string().contains("segments of"), "{error}");
    }
}

#[test]
fn invalid_checkpoints_are_refused_with_a_reason() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let file = "hybrid.safetensors";
    is_refused(
        changed(folder, file, |tensors| tensors.push(("surplus.weight".into(), vec![1], vec![0; 2])), |_| {}),
        &["surplus.weight", "not part of this network"],
    );
    // One tensor of each kind that only this network has.
    for name in [
        "encoder.2.norm1.weight",
        "encoder.2.dconv.layers.0.3.lstm.weight_hh_l1_reverse",
        "encoder.2.dconv.layers.1.3.linear.bias",
        "encoder.2.dconv.layers.0.4.query_decay.weight",
        "encoder.3.dconv.layers.1.8.scale",
        "encoder.3.conv.weight",
        "tencoder.2.conv.weight",
        "decoder.0.rewrite.weight",
        "decoder.1.conv_tr.weight",
        "tdecoder.0.norm2.bias",
    ] {
        let lose = |tensors: &mut Vec<Tensor>| tensors.retain(|tensor| tensor.0 != name);
        is_refused(changed(folder, file, lose, |_| {}), &[name, "is missing"]);
        let misshape = |tensors: &mut Vec<Tensor>| {
            tensors.iter_mut().filter(|tensor| tensor.0 == name).for_each(|tensor| tensor.1.insert(0, 1));
        };
        is_refused(changed(folder, file, misshape, |_| {}), &[name, "shape"]);
    }
    let changes = [
        ("\"hybrid_old\": false", "\"hybrid_old\": true", "hybrid_old = true"),
        ("\"hybrid\": true", "\"hybrid\": false", "hybrid = false"),
        ("\"cac\": true", "\"cac\": false", "cac = false"),
        ("\"multi_freqs\": []", "\"multi_freqs\": [0.5]", "multi_freqs = [0.5]"),
        ("\"channels_time\": null", "\"channels_time\": 8", "channels_time = 8"),
        ("\"rewrite\": true", "\"rewrite\": false", "rewrite = false"),
        ("\"norm_starts\": 2", "\"norm_starts\": 0", "norm_starts = 0"),
        ("\"dconv_lstm\": 2", "\"dconv_lstm\": 1", "dconv_lstm = 1"),
        ("\"dconv_attn\": 2", "\"dconv_attn\": 1", "dconv_attn = 1"),
        ("\"wiener_iters\": 0", "\"something_new\": 0", "something_new"),
        ("\"nfft\": 256", "\"nfft\": 512", "nfft"),
        ("\"nfft\": 256", "\"nfft\": 0", "nfft"),
        ("\"depth\": 4", "\"depth\": 2", "depth"),
        ("\"depth\": 4", "\"depth\": 400000", "depth"),
        ("\"channels\": 4", "\"channels\": 400000000", "channels"),
        ("\"time_stride\": 2", "\"time_stride\": 3", "time_stride"),
        ("\"time_stride\": 2", "\"time_stride\": 4", "shape"),
        ("\"norm_groups\": 4", "\"norm_groups\": 0", "norm_groups"),
        ("\"norm_groups\": 4", "\"norm_groups\": 3", "norm_groups"),
        ("\"dconv_comp\": 4", "\"dconv_comp\": 0", "dconv_comp"),
        ("\"dconv_comp\": 4", "\"dconv_comp\": 3", "bottleneck"),
        ("\"denominator\": 10", "\"denominator\": 0", "segment"),
    ];
    are_refused(folder, file, &changes);
}

//! Songs through parts to stems.

use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::AtomicBool;

use crate::part::{Cut, PartError, separate_part};
use crate::separator::{Geometry, SeparateError, Separator};
use crate::{DEFAULT_MODEL, built_in};
use audio::Stereo;
use audio::clip::ClipMode;
use audio::encode::{Format, WavEncoding};
use audio::pcm::{Pcm, PcmWriter, SongStats};
use audio::quality::si_sdr;
use audio::sandbox::Sandbox;
use audio::synth::{STEMS, compose};
use audio::tags::Tags;

use super::overlap_add::sum_parts;
use super::{Export, MergeError, Parts, Wanted, merge};

fn pcm(folder: &Path, samples: &Stereo) -> Pcm {
    let mut writer = PcmWriter::new(audio::pcm::create(&folder.join("samples")).unwrap());
    let interleaved: Vec<f32> = samples[0].iter().zip(&samples[1]).flat_map(|(left, right)| [*left, *right]).collect();
    writer.write(&interleaved).unwrap();
    writer.finish().unwrap()
}

fn parts_of(separator: &dyn Separator, frames: u64, files: Vec<PathBuf>) -> Parts {
    Parts { files, geometry: separator.geometry(), sources: separator.sources().len(), frames }
}

/// Separates in tasks of `size` segments and adds the parts up: left and right of every source, frame by frame.
fn separated(separator: &dyn Separator, pcm: &Pcm, folder: &Path, size: u32) -> Vec<f32> {
    separated_with(separator, pcm, folder, size, &[0])
}

/// The same, as the mean of several separations.
fn separated_with(separator: &dyn Separator, pcm: &Pcm, folder: &Path, size: u32, delays: &[u64]) -> Vec<f32> {
    let go_on = AtomicBool::new(false);
    let mut parts = Vec::new();
    for (delay, first) in delays.iter().flat_map(|&delay| {
        let segments = separator.geometry().segments(pcm.frames() + delay);
        (0..segments).step_by(size as usize).map(move |first| (delay, first))
    }) {
        let segments = separator.geometry().segments(pcm.frames() + delay);
        let part = folder.join(format!("part-{delay}-{first}"));
        let count = size.min(segments - first);
        let cut = Cut { geometry: separator.geometry(), delay, first, count };
        separate_part(separator, pcm, cut, &part, &go_on, &|_| {}).unwrap();
        // The order of parts does not matter.
        parts.insert(0, part);
    }
    let mut all = Vec::new();
    sum_parts(&parts_of(separator, pcm.frames(), parts), &mut |at, block| {
        assert_eq!(at, (all.len() / (2 * separator.sources().len())) as u64);
        all.extend_from_slice(block);
        Ok(())
    })
    .unwrap();
    all
}

#[test]
fn stems_add_up_to_the_song_for_any_cut() {
    let separator = built_in(DEFAULT_MODEL).unwrap();
    let stride = separator.geometry().stride;
    let song = compose(21, 40.0).mixture();
    for frames in [1, 2, 1000, stride, stride + 1, 3 * stride + 12_345] {
        let folder = tempfile::tempdir().unwrap();
        let cut = song.clone().map(|channel| channel[..frames].to_vec());
        let pcm = pcm(folder.path(), &cut);
        let whole = separated(separator.as_ref(), &pcm, folder.path(), u32::MAX);
        for size in [1, 2, 3] {
            assert!(separated(separator.as_ref(), &pcm, folder.path(), size) == whole, "{frames} by {size}");
        }
        assert_eq!(whole.len(), 8 * frames);
        for (at, stems) in whole.chunks_exact(8).enumerate() {
            for channel in 0..2 {
                let sum: f32 = (0..4).map(|source| stems[2 * source + channel]).sum();
                assert!((sum - cut[channel][at]).abs() < 1e-5, "{frames}: frame {at} is {sum}");
            }
        }
    }
}

/// Merges a song at four times full scale, and returns the samples of each stem's float file and its title.
fn exported(clip: ClipMode, folder: &Path) -> Vec<(Vec<f32>, Option<String>)> {
    let separator = built_in(DEFAULT_MODEL).unwrap();
    let mut song = compose(23, 12.0).mixture();
    song.iter_mut().flatten().for_each(|sample| *sample *= 4.0);
    let pcm = pcm(folder, &song);
    let (part, go_on) = (folder.join("part"), AtomicBool::new(false));
    let cut = Cut::whole(separator.geometry(), 0, pcm.frames());
    separate_part(separator.as_ref(), &pcm, cut, &part, &go_on, &|_| {}).unwrap();
    let float = Format::Wav { encoding: WavEncoding::Float32 };
    let tags = Tags { title: Some("Song".into()), ..Tags::default() };
    let formats = vec![float, Format::Flac { bits: 24 }, Format::WORKING, float, "mp3:128:7".parse().unwrap()];
    let export = Export { stems: Wanted::each(separator.sources()), formats, tags, clip };
    let made =
        merge(&parts_of(separator.as_ref(), pcm.frames(), vec![part]), None, folder, &export, &go_on, &|_, _| {})
            .unwrap();
    assert!(made.iter().map(|stem| stem.name.as_str()).eq(separator.sources()));
    let samples = |path: &Path| {
        let pcm = Sandbox::none().decode_to(path, &folder.join("decoded")).unwrap();
        assert_eq!(pcm.frames(), song[0].len() as u64);
        pcm.read(0, song[0].len()).unwrap().concat()
    };
    made.iter()
        .map(|stem| {
            assert_eq!(stem.files.len(), 4);
            for path in stem.files.values() {
                samples(path);
            }
            assert!(matches!(stem.file(Format::LISTENING), Err(MergeError::NotAsked(_))));
            let (tags, _) = Sandbox::none().tags_of(stem.file(float).unwrap()).unwrap();
            (samples(stem.file(float).unwrap()), tags.title)
        })
        .collect()
}

#[test]
fn exported_stems_do_not_clip() {
    let folder = tempfile::tempdir().unwrap();
    let peak = |samples: &[f32]| samples.iter().fold(0.0f32, |peak, sample| peak.max(sample.abs()));
    let plain = exported(ClipMode::None, folder.path());
    assert!(plain.iter().any(|(samples, _)| peak(samples) > 1.0));
    let titles: Vec<_> = plain.iter().map(|(_, title)| title.as_deref().unwrap()).collect();
    assert_eq!(titles, ["Song (drums)", "Song (bass)", "Song (other)", "Song (vocals)"]);
    let rescaled = exported(ClipMode::Rescale, folder.path());
    let clamped = exported(ClipMode::Clamp, folder.path());
    for (stem, (samples, _)) in plain.iter().enumerate() {
        let divisor = (1.01 * peak(samples)).max(1.0);
        assert!(rescaled[stem].0.iter().zip(samples).all(|(rescaled, sample)| *rescaled == sample / divisor));
        assert!(clamped[stem].0.iter().zip(samples).all(|(clamped, sample)| *clamped == sample.clamp(-0.99, 0.99)));
    }
}

#[test]
fn a_stem_can_be_the_song_minus_another() {
    let separator = built_in(DEFAULT_MODEL).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let song = compose(24, 3.0).mixture();
    let pcm = pcm(folder.path(), &song);
    let (part, go_on) = (folder.path().join("part"), AtomicBool::new(false));
    let cut = Cut::whole(separator.geometry(), 0, pcm.frames());
    separate_part(separator.as_ref(), &pcm, cut, &part, &go_on, &|_| {}).unwrap();
    let float = Format::Wav { encoding: WavEncoding::Float32 };
    let wanted = |name: &str, gains: [f32; 4], song| Wanted { name: name.into(), gains: gains.into(), song };
    // The stems add up to the song, so both results are equal.
    let stems = vec![wanted("sum", [1.0, 1.0, 1.0, 0.0], 0.0), wanted("minus", [0.0, 0.0, 0.0, -1.0], 1.0)];
    let export = Export { stems, formats: vec![float], ..Export::default() };
    let parts = parts_of(separator.as_ref(), pcm.frames(), vec![part]);
    let made = merge(&parts, Some(&pcm), folder.path(), &export, &go_on, &|_, _| {}).unwrap();
    let [sum, minus] = [0, 1].map(|stem| {
        let path = made[stem].file(float).unwrap();
        Sandbox::none().decode_to(path, &folder.path().join("decoded")).unwrap().read(0, song[0].len()).unwrap()
    });
    let apart = sum.iter().flatten().zip(minus.iter().flatten()).map(|(sum, minus)| (sum - minus).abs());
    assert!(apart.fold(0.0, f32::max) < 1e-5);
}

#[test]
fn a_shifted_separation_is_close_to_the_unshifted_one() {
    let separator = built_in(DEFAULT_MODEL).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let song = compose(23, 30.0).mixture();
    let pcm = pcm(folder.path(), &song);
    let apart = |one: &[f32], other: &[f32]| {
        one.iter().zip(other).map(|(one, other)| (one - other).powi(2)).sum::<f32>() / one.len() as f32
    };
    let straight = separated(separator.as_ref(), &pcm, folder.path(), 2);
    let shifted = separated_with(separator.as_ref(), &pcm, folder.path(), 2, &[20_001]);
    let both = separated_with(separator.as_ref(), &pcm, folder.path(), 2, &[0, 20_001]);
    assert_eq!(straight.len(), shifted.len());
    assert!(apart(&straight, &shifted) > 0.0 && apart(&straight, &shifted) < 1e-3);
    let mean: Vec<f32> = straight.iter().zip(&shifted).map(|(one, other)| (one + other) / 2.0).collect();
    assert!(apart(&mean, &both) < 1e-12);
}

/// Returns its input, and records its length and the range of the song in it.
struct Echo {
    sources: Vec<String>,
    any_length: bool,
    inputs: Mutex<Vec<(usize, Range<usize>)>>,
}

impl Separator for Echo {
    fn name(&self) -> &str {
        "echo"
    }

    fn sources(&self) -> &[String] {
        &self.sources
    }

    fn geometry(&self) -> Geometry {
        Geometry { segment: 100, stride: 75 }
    }

    fn any_length(&self) -> bool {
        self.any_length
    }

    fn separate(&self, segment: &Stereo, inside: Range<usize>, _: &SongStats) -> Result<Vec<Stereo>, SeparateError> {
        self.inputs.lock().unwrap().push((segment[0].len(), inside));
        Ok(vec![segment.clone()])
    }
}

#[test]
fn the_last_segment_is_short_if_the_model_supports_it() {
    let folder = tempfile::tempdir().unwrap();
    let song: Stereo = [-1.0, 1.0].map(|side| (0..240u8).map(|at| side * f32::from(at)).collect());
    let pcm = pcm(folder.path(), &song);
    let whole = [(100, 10..100), (100, 0..100), (100, 0..100)];
    for (any_length, last) in [(true, (25, 0..25)), (false, (100, 0..62))] {
        let echo = Echo { sources: vec!["all".into()], any_length, inputs: Mutex::default() };
        let found = separated_with(&echo, &pcm, folder.path(), 1, &[10]);
        assert_eq!(*echo.inputs.lock().unwrap(), [whole.as_slice(), &[last]].concat());
        for (at, [left, right]) in found.as_chunks::<2>().0.iter().enumerate() {
            let apart = (left - song[0][at]).abs().max((right - song[1][at]).abs());
            assert!(apart < 1e-4, "{at}: {left} {right}");
        }
    }
}

#[test]
fn stems_of_silence_are_silent() {
    let separator = built_in(DEFAULT_MODEL).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let pcm = pcm(folder.path(), &[vec![0.0; 100_000], vec![0.0; 100_000]]);
    assert!(separated(separator.as_ref(), &pcm, folder.path(), 1).iter().all(|sample| *sample == 0.0));
}

#[test]
fn every_stem_is_closer_to_its_original_than_the_song() {
    let separator = built_in(DEFAULT_MODEL).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let song = compose(22, 15.0);
    let mixture = song.mixture();
    let all = separated(separator.as_ref(), &pcm(folder.path(), &mixture), folder.path(), 1);
    for (source, name) in separator.sources().iter().enumerate() {
        let stem = song.stem(STEMS.iter().position(|stem| stem == name).unwrap()).concat();
        let channel = |channel| all.iter().skip(2 * source + channel).step_by(8).copied();
        let estimate: Vec<f32> = channel(0).chain(channel(1)).collect();
        let gain = si_sdr(&estimate, &stem) - si_sdr(&mixture.concat(), &stem);
        assert!(gain > 3.0, "{name} gains {gain:.1} dB");
    }
}

#[test]
fn missing_and_invalid_parts_are_refused() {
    let separator = built_in(DEFAULT_MODEL).unwrap();
    let geometry = separator.geometry();
    let folder = tempfile::tempdir().unwrap();
    let frames = 2 * geometry.stride as u64;
    let pcm = pcm(folder.path(), &[vec![0.1; frames as usize], vec![0.1; frames as usize]]);
    let go_on = AtomicBool::new(false);
    let paths = [folder.path().join("first"), folder.path().join("second")];
    for (path, first) in paths.iter().zip(0..) {
        let cut = Cut { geometry, delay: 0, first, count: 1 };
        separate_part(separator.as_ref(), &pcm, cut, path, &go_on, &|_| {}).unwrap();
    }
    let sum = |parts: &[PathBuf]| sum_parts(&parts_of(separator.as_ref(), frames, parts.to_vec()), &mut |_, _| Ok(()));
    assert!(sum(&paths).is_ok());
    assert!(matches!(sum(&paths[1..]), Err(MergeError::Gap(0))));
    assert!(matches!(sum(&paths[..1]), Err(MergeError::Gap(at)) if at == geometry.segment as u64));
    let bytes = std::fs::read(&paths[1]).unwrap();
    std::fs::write(&paths[1], &bytes[..bytes.len() - 1]).unwrap();
    assert!(matches!(sum(&paths), Err(MergeError::Part(PartError::NotAPart(_)))));
    std::fs::write(&paths[1], "short").unwrap();
    assert!(matches!(sum(&paths), Err(MergeError::Part(_))));
}

#[test]
fn the_stop_flag_stops_the_work() {
    let separator = built_in(DEFAULT_MODEL).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let pcm = pcm(folder.path(), &[vec![0.1; 1000], vec![0.1; 1000]]);
    let raised = AtomicBool::new(true);
    let part = folder.path().join("part");
    let result =
        separate_part(separator.as_ref(), &pcm, Cut::whole(separator.geometry(), 0, 1000), &part, &raised, &|_| {});
    assert!(matches!(result, Err(PartError::Stopped)));
}

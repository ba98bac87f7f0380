//! Valid and invalid files of every accepted kind.

#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used)]

use std::path::{Path, PathBuf};
use std::process::Command;

use audio::decode::{DecodeError, Limits, Pcm, Probe};
use audio::encode::{Encoder, Format};
use audio::quality::si_sdr;
use audio::sandbox::Sandbox;
use audio::synth::compose;
use audio::tags::Tags;
use audio::{RATE, Stereo};
use tempfile::TempDir;

const LIMITS: Limits = Limits { max_seconds: 600 };

struct Files(TempDir);

impl Files {
    fn new() -> Self {
        Self(TempDir::new().unwrap())
    }

    fn at(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn bytes(&self, name: &str, bytes: &[u8]) -> PathBuf {
        std::fs::write(self.at(name), bytes).unwrap();
        self.at(name)
    }

    /// Makes `name` from `from` with ffmpeg's options.
    fn convert(&self, from: &str, options: &str, name: &str) -> PathBuf {
        self.convert_with(from, options, "", name)
    }

    /// Makes `name` from `from` with ffmpeg's options; the first ones may name further inputs.
    fn convert_with(&self, from: &str, first: &str, then: &str, name: &str) -> PathBuf {
        let status = Command::new("ffmpeg")
            .args(["-v", "error", "-y", "-i"])
            .arg(self.at(from))
            .args(first.split_ascii_whitespace())
            .args(then.split_ascii_whitespace())
            .arg(self.at(name))
            .status()
            .expect("these tests need ffmpeg");
        assert!(status.success(), "ffmpeg cannot make {name}");
        self.at(name)
    }

    /// The results of probing and of decoding a file.
    fn read(&self, path: &Path) -> Result<(Probe, Pcm), DecodeError> {
        let probe = Sandbox::none().inspect(path, &LIMITS)?.probe;
        Ok((probe, Sandbox::none().decode_to(path, &self.at("samples"))?))
    }
}

/// A 32-bit float WAV of one channel at `rate`.
fn float_wav(rate: u32, samples: &[f32]) -> Vec<u8> {
    let bytes = 4 * samples.len() as u32;
    let mut file = b"RIFF".to_vec();
    file.extend((36 + bytes).to_le_bytes());
    file.extend(b"WAVEfmt ");
    file.extend(16u32.to_le_bytes());
    file.extend([3, 0, 1, 0]);
    file.extend(rate.to_le_bytes());
    file.extend((4 * rate).to_le_bytes());
    file.extend([4, 0, 32, 0]);
    file.extend(b"data");
    file.extend(bytes.to_le_bytes());
    file.extend(samples.iter().flat_map(|sample| sample.to_le_bytes()));
    file
}

/// The SI-SDR in dB between the song and a decoded song that begins `lag` frames late.
fn likeness(pcm: &Pcm, song: &Stereo, lag: i64) -> f64 {
    let margin = 4096;
    let length = song[0].len() - 2 * margin;
    let read = pcm.read(lag + margin as i64, length).unwrap();
    let cut = song.clone().map(|channel| channel[margin..margin + length].to_vec());
    si_sdr(&read.concat(), &cut.concat())
}

#[test]
fn every_format_is_decoded() {
    let files = Files::new();
    let song = compose(11, 4.0);
    song.write(files.0.path()).unwrap();
    let song = song.mixture();
    // Options, name, the format that the probe reports, the frames before the song, and the least SI-SDR in dB.
    for (options, name, format, lag, wanted) in [
        ("-c:a pcm_s16le", "s16.wav", "wav", 0, 90.0),
        ("-c:a pcm_s24le", "s24.wav", "wav", 0, 90.0),
        ("-c:a pcm_f32le", "f32.wav", "wav", 0, 90.0),
        ("-c:a pcm_s16be", "s16.aiff", "aiff", 0, 90.0),
        ("-c:a flac", "lossless.flac", "flac", 0, 90.0),
        ("-ar 48000 -c:a flac", "48.flac", "flac", 0, 25.0),
        ("-ar 96000 -c:a pcm_s24le", "96.wav", "wav", 0, 25.0),
        ("-ar 192000 -c:a pcm_s24le", "192.wav", "wav", 0, 25.0),
        ("-ar 22050 -c:a pcm_s16le", "22.wav", "wav", 0, 10.0),
        ("-b:a 320k", "cbr.mp3", "mp3", 0, 25.0),
        ("-q:a 0 -id3v2_version 3 -metadata title=Tagged", "vbr.mp3", "mp3", 0, 20.0),
        ("-ar 48000 -b:a 320k", "48.mp3", "mp3", 0, 20.0),
        ("-c:a libvorbis -q:a 8", "vorbis.ogg", "ogg", 0, 15.0),
        ("-c:a aac -b:a 320k", "aac.m4a", "m4a", 0, 15.0),
        // Without a container, the encoder's delay of 1024 frames is unknown.
        ("-c:a aac -b:a 320k", "aac.aac", "aac", 1024, 15.0),
    ] {
        let path = files.convert("song.wav", options, name);
        let (probe, pcm) = files.read(&path).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!(probe.format, format, "{name}");
        assert_eq!(probe.frames, pcm.frames(), "{name}");
        assert_eq!(probe.channels, 2, "{name}");
        let length = song[0].len() as u64;
        if lag == 0 && format != "ogg" {
            assert_eq!(pcm.frames(), length, "{name}");
        } else {
            assert!(pcm.frames().abs_diff(length) <= 3072, "{name}: {}", pcm.frames());
        }
        let like = likeness(&pcm, &song, lag);
        assert!(like > wanted, "{name}: {like:.1} dB");
    }
}

#[test]
fn wrong_extensions_are_ignored() {
    let files = Files::new();
    compose(12, 1.0).write(files.0.path()).unwrap();
    files.convert("song.wav", "-c:a flac", "truth.flac");
    std::fs::rename(files.at("truth.flac"), files.at("lie.mp3")).unwrap();
    assert_eq!(files.read(&files.at("lie.mp3")).unwrap().0.format, "flac");
    std::fs::rename(files.at("lie.mp3"), files.at("bare")).unwrap();
    assert_eq!(files.read(&files.at("bare")).unwrap().0.format, "flac");
}

#[test]
fn any_number_of_channels_is_mixed_to_two() {
    let files = Files::new();
    let song = compose(13, 2.0);
    song.write(files.0.path()).unwrap();

    let mono = files.convert("song.wav", "-ac 1 -ar 8000", "mono.wav");
    let (probe, pcm) = files.read(&mono).unwrap();
    assert_eq!((probe.rate, probe.channels, pcm.frames()), (8000, 1, 2 * u64::from(RATE)));
    let [left, right] = pcm.read(0, 2 * RATE as usize).unwrap();
    assert_eq!(left, right);

    // Only the low-frequency channel of six has sound, then only the left surround channel.
    let surround = |channel: usize, name: &str| {
        let mut filter = ["0*c0"; 6];
        filter[channel] = "c0";
        let pan: Vec<_> = filter.iter().enumerate().map(|(at, gain)| format!("c{at}={gain}")).collect();
        files.convert("song.wav", &format!("-af pan=5.1|{}", pan.join("|")), name)
    };
    let (probe, pcm) = files.read(&surround(3, "low.wav")).unwrap();
    assert_eq!(probe.channels, 6);
    assert!(pcm.read(0, 10_000).unwrap().iter().flatten().all(|sample| sample.abs() < 1e-4));
    let (_, pcm) = files.read(&surround(4, "back.wav")).unwrap();
    let [left, right] = pcm.read(0, 80_000).unwrap();
    assert!(right.iter().all(|sample| sample.abs() < 1e-4));
    let reference = &song.mixture()[0][..80_000];
    assert!(si_sdr(&left, reference) > 60.0);
}

#[test]
fn resampling_preserves_duration_and_pitch() {
    let files = Files::new();
    for rate in [8_000, 11_025, 16_000, 22_050, 32_000, 37_801, 48_000, 88_200, 96_000, 192_000] {
        let tone = |rate: u32, seconds: u32| -> Vec<f32> {
            (0..rate * seconds).map(|at| (6000.0 * f64::from(at) / f64::from(rate)).sin() as f32).collect()
        };
        let path = files.bytes("tone.wav", &float_wav(rate, &tone(rate, 2)));
        let (_, pcm) = files.read(&path).unwrap();
        let wanted = tone(RATE, 2);
        assert_eq!(pcm.frames(), wanted.len() as u64, "{rate} Hz");
        let like = likeness(&pcm, &[wanted.clone(), wanted], 0);
        assert!(like > 100.0, "{rate} Hz: {like:.1} dB");
    }
}

#[test]
fn short_silent_and_unusual_files_are_handled() {
    let files = Files::new();
    let one = files.bytes("one.wav", &float_wav(RATE, &[0.5]));
    assert_eq!(files.read(&one).unwrap().1.read(0, 1).unwrap(), [[0.5], [0.5]]);
    let one = files.bytes("one-at-8-kHz.wav", &float_wav(8_000, &[0.5]));
    assert_eq!(files.read(&one).unwrap().1.frames(), 6);

    let silence = files.bytes("silence.wav", &float_wav(RATE, &[0.0; 1000]));
    let (_, pcm) = files.read(&silence).unwrap();
    assert_eq!((pcm.stats().mean, pcm.stats().std), (0.0, 0.0));

    let broken = [f32::NAN, f32::INFINITY, 0.25, f32::NEG_INFINITY];
    let broken = files.bytes("nan.wav", &float_wav(RATE, &broken));
    assert_eq!(files.read(&broken).unwrap().1.read(0, 4).unwrap()[0], [0.0, 0.0, 0.25, 0.0]);

    // Floats may exceed full scale; samples larger than those of any recording are refused.
    let hot = files.bytes("hot.wav", &float_wav(RATE, &[40.0, -40.0]));
    assert_eq!(files.read(&hot).unwrap().1.read(0, 2).unwrap()[0], [40.0, -40.0]);
    for peak in [32_768.0, f32::MAX] {
        let huge: Vec<f32> = (0..10_000).map(|at| if at % 2 == 0 { peak } else { -peak }).collect();
        let huge = files.bytes("huge.wav", &float_wav(RATE, &huge));
        let Err(DecodeError::Loud(level)) = files.read(&huge) else { panic!("{peak} was accepted") };
        assert!((level - 20.0 * f64::from(peak).log10()).abs() < 1e-6, "{level} dB");
    }
}

#[test]
fn a_constant_offset_is_preserved() {
    let files = Files::new();
    let tone = |at: u32| 0.25 + 0.5 * (at as f32 / 20.0).sin();
    for rate in [RATE, 48_000] {
        let samples: Vec<f32> = (0..2 * rate).map(tone).collect();
        let path = files.bytes("offset.wav", &float_wav(rate, &samples));
        let (_, pcm) = files.read(&path).unwrap();
        assert!((pcm.stats().mean - 0.25).abs() < 1e-3, "{}", pcm.stats().mean);
    }
}

#[test]
fn lossless_formats_are_decoded_exactly() {
    let files = Files::new();
    // More than 16 bits, at 44.1 kHz in stereo, in multiples of a 24-bit step.
    let song = compose(16, 2.0).mixture().map(|channel| {
        let fine = |(at, sample): (usize, f32)| sample * 0.9 + (at % 251) as f32 / 8_388_608.0;
        let step = |sample: f32| (sample * 8_388_608.0).round() / 8_388_608.0;
        channel.into_iter().enumerate().map(fine).map(step).collect::<Vec<_>>()
    });
    let mut encoder = Encoder::create(&files.at("fine.wav"), "wav:float32".parse().unwrap(), &Tags::default()).unwrap();
    encoder.write(&song).unwrap();
    encoder.finish().unwrap();
    for (options, name) in [
        ("-c:a pcm_s24le", "24.wav"),
        ("-c:a pcm_s32le", "32.wav"),
        ("-c:a pcm_f32le", "float.wav"),
        ("-c:a pcm_f64le", "double.wav"),
        ("-c:a pcm_s24be", "24.aiff"),
        ("-c:a pcm_s32be", "32.aiff"),
        ("-c:a flac -sample_fmt s32 -bits_per_raw_sample 24", "24.flac"),
    ] {
        let path = files.convert("fine.wav", options, name);
        let (probe, pcm) = files.read(&path).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!((probe.rate, probe.channels), (RATE, 2), "{name}");
        assert!(pcm.read(0, song[0].len()).unwrap() == song, "{name} is read with other numbers");
        assert_eq!(pcm.frames(), song[0].len() as u64, "{name}");
    }
}

#[test]
fn an_mp3_of_ours_gives_back_every_frame() {
    let files = Files::new();
    let song = compose(14, 3.0).mixture();
    for length in [1, 575, 1151, 1152, 1153, 44_100, 100_001] {
        let path = files.at("ours.mp3");
        let mut writer = Encoder::create(&path, Format::LISTENING, &Tags::default()).unwrap();
        let cut = song.clone().map(|channel| channel[..length].to_vec());
        writer.write(&cut).unwrap();
        writer.finish().unwrap();
        let (probe, pcm) = files.read(&path).unwrap();
        assert_eq!((probe.frames, pcm.frames()), (length as u64, length as u64));
        if length > 20_000 {
            let like = likeness(&pcm, &cut, 0);
            assert!(like > 25.0, "{length}: {like:.1} dB");
        }
    }
}

#[test]
fn invalid_files_are_refused_with_a_reason() {
    let files = Files::new();
    compose(15, 8.0).write(files.0.path()).unwrap();
    let error = |name: &str, bytes: &[u8]| match files.read(&files.bytes(name, bytes)) {
        Err(error) => error,
        Ok((probe, _)) => panic!("{name} was taken: {probe:?}"),
    };
    assert!(matches!(error("empty.mp3", b""), DecodeError::Empty));
    assert!(matches!(error("text.mp3", &b"Only words here. ".repeat(5000)), DecodeError::NotAudio));
    assert!(matches!(error("zeros.wav", &[0; 100_000]), DecodeError::NotAudio));
    assert!(matches!(error("image.png", b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR"), DecodeError::NotAudio));
    assert!(matches!(error("nothing.wav", &float_wav(RATE, &[])), DecodeError::Silent));
    assert!(matches!(error("slow.wav", &float_wav(10, &[0.5; 100])), DecodeError::Unsupported(_)));
    let long = float_wav(1_000, &vec![0.1; 601_000]);
    assert!(matches!(error("long.wav", &long), DecodeError::TooLong(600)));

    for (options, name) in
        [("", "cut.wav"), ("", "cut.flac"), ("-b:a 192k", "cut.mp3"), ("-c:a libvorbis", "cut.ogg"), ("", "cut.m4a")]
    {
        let whole = std::fs::read(files.convert("song.wav", options, name)).unwrap();
        let error = error(name, &whole[..whole.len() / 2]);
        let cut = matches!(error, DecodeError::Truncated { .. } | DecodeError::Damaged { .. } | DecodeError::CutOff);
        assert!(cut, "{name}: {error}");
    }
}

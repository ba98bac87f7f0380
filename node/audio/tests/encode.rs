//! Every output format, decoded by two decoders: ours and ffmpeg's.

#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used)]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use audio::encode::{BITRATES, EncodeError, Encoder, Format, PRESETS};
use audio::quality::si_sdr;
use audio::sandbox::Sandbox;
use audio::synth::compose;
use audio::tags::Tags;
use audio::{RATE, Stereo};
use tempfile::TempDir;

fn write(folder: &Path, format: &str, tags: &Tags, samples: &Stereo) -> PathBuf {
    let format: Format = format.parse().unwrap();
    let path = folder.join(format!("song.{}", format.extension()));
    let mut encoder = Encoder::create(&path, format, tags).unwrap();
    // In blocks of different sizes.
    for at in (0..samples[0].len()).step_by(10_007) {
        let end = samples[0].len().min(at + 10_007);
        encoder.write(&samples.clone().map(|channel| channel[at..end].to_vec())).unwrap();
    }
    encoder.finish().unwrap();
    path
}

/// The file's samples from our decoder.
fn read(path: &Path) -> Stereo {
    let pcm = Sandbox::none().decode_to(path, &path.with_extension("samples")).unwrap();
    pcm.read(0, pcm.frames() as usize).unwrap()
}

/// The file's samples from ffmpeg, with options for the input file.
fn ffmpeg(path: &Path, options: &[&str]) -> Stereo {
    let output = Command::new("ffmpeg")
        .args(["-v", "error"])
        .args(options)
        .arg("-i")
        .arg(path)
        .args(["-f", "f32le", "-c:a", "pcm_f32le", "-"])
        .output()
        .expect("these tests need ffmpeg");
    let complaint = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && complaint.is_empty(), "{}: {complaint}", path.display());
    let samples: Vec<f32> =
        output.stdout.chunks_exact(4).map(|bytes| f32::from_le_bytes(bytes.try_into().unwrap())).collect();
    [0, 1].map(|channel| samples.iter().skip(channel).step_by(2).copied().collect())
}

/// The output of ffprobe for a file: the entries of the format and the stream, and the tags, with names in lower case.
fn ffprobe(path: &Path) -> BTreeMap<String, String> {
    let output = Command::new("ffprobe")
        .args(["-v", "error", "-show_format", "-show_streams", "-of", "default=noprint_wrappers=1"])
        .arg(path)
        .output()
        .expect("these tests need ffprobe");
    let text = String::from_utf8(output.stdout).unwrap();
    text.lines()
        .filter_map(|line| line.split_once('='))
        .map(|(key, value)| (key.to_lowercase(), value.into()))
        .collect()
}

fn tags() -> Tags {
    let song = Tags {
        title: Some("Ein Lied für Æsa ☂".into()),
        artist: Some("Sigur & Söhne".into()),
        album: Some("Odd".into()),
        track: Some("7".into()),
        year: Some("2021".into()),
        genre: Some("Chamber Pop".into()),
        ..Tags::default()
    };
    song.for_stem("vocals")
}

/// Noise at and beyond full scale, which predictors cannot compress, with the extreme values of integers.
fn noise(frames: usize) -> Stereo {
    let mut state = 1u64;
    let mut next = move || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 40) as f32 / (1 << 23) as f32 - 1.0
    };
    let mut samples = [0, 1].map(|_| (0..frames).map(|_| 1.1 * next()).collect::<Vec<_>>());
    for at in (0..frames.min(20_000)).step_by(2) {
        (samples[0][at], samples[1][at]) = (1.0, -1.0);
        if at + 1 < frames {
            (samples[0][at + 1], samples[1][at + 1]) = (-1.0, 1.0);
        }
    }
    samples
}

/// Signals that encoders treat specially, in turns: single impulses, a flickering lowest bit, a ramp, few used bits,
/// and equal or opposite channels.
fn changeable(frames: usize) -> Stereo {
    let random = noise(frames);
    let sample = |channel: usize, at: usize| {
        let noise = random[channel][at];
        match at / 3_000 % 6 {
            0 => f32::from(at % 997 == channel),
            1 => (noise * 1.4).round() / 8_388_608.0,
            2 => (at % 3_000) as f32 / 3_000.0 - 0.5,
            3 => (noise * 100.0).round() / 128.0,
            4 => random[0][at],
            _ => random[0][at] * (1.0 - 2.0 * channel as f32),
        }
    };
    [0, 1].map(|channel| (0..frames).map(|at| sample(channel, at)).collect())
}

/// The samples, rounded and clamped to integers of `bits` bits.
fn quantized(samples: &Stereo, bits: u32) -> Stereo {
    let scale = f64::from(1u32 << (bits - 1));
    samples.clone().map(|channel| {
        let round = |sample: f32| ((f64::from(sample) * scale).round().clamp(-scale, scale - 1.0) / scale) as f32;
        channel.into_iter().map(round).collect()
    })
}

#[test]
fn lossless_formats_preserve_every_sample() {
    let folder = TempDir::new().unwrap();
    let mut song = compose(31, 6.0).mixture();
    // Values that 16 bits round.
    song.iter_mut().flatten().enumerate().for_each(|(at, sample)| *sample += (at % 77) as f32 * 1e-6);
    let silence = [vec![0.0; 100_000], vec![0.0; 100_000]];
    let constant = [vec![0.25; 100_000], vec![-0.5; 100_000]];
    for samples in
        [song, noise(100_000), changeable(200_000), silence, constant, noise(1), noise(2), noise(4096), noise(4097)]
    {
        for (format, wanted) in [
            ("flac:16", quantized(&samples, 16)),
            ("flac:24", quantized(&samples, 24)),
            ("wav:int16", quantized(&samples, 16)),
            ("wav:int24", quantized(&samples, 24)),
            ("wav:float32", samples.clone()),
        ] {
            let path = write(folder.path(), format, &Tags::default(), &samples);
            let frames = samples[0].len();
            assert!(read(&path) == wanted, "{format}: our decoder reads other numbers of {frames} frames");
            assert!(ffmpeg(&path, &[]) == wanted, "{format}: ffmpeg reads other numbers of {frames} frames");
        }
    }
}

#[test]
fn flac_headers_hold_the_length_and_the_md5() {
    let folder = TempDir::new().unwrap();
    let song = compose(32, 25.0).mixture();
    for bits in [16u32, 24] {
        let path = write(folder.path(), &format!("flac:{bits}"), &tags(), &song);
        let bytes = std::fs::read(&path).unwrap();
        // STREAMINFO (RFC 9639, section 8.2): 5 bits of the sample size minus one, 36 of the length, 128 of the MD5.
        let info = &bytes[8..42];
        assert_eq!(u32::from(info[12] & 1) << 4 | u32::from(info[13] >> 4), bits - 1);
        let frames = (u64::from(info[13] & 15) << 32) | u64::from(u32::from_be_bytes(info[14..18].try_into().unwrap()));
        assert_eq!(frames, song[0].len() as u64);
        let raw = format!("s{bits}le");
        let md5 = Command::new("ffmpeg")
            .args(["-v", "error", "-i"])
            .arg(&path)
            .args(["-f", "md5", "-c:a", &format!("pcm_{raw}"), "-"])
            .output()
            .unwrap();
        let stated: String = info[18..].iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(String::from_utf8(md5.stdout).unwrap().trim(), format!("MD5={stated}"));
        // A position in the middle can be sought.
        let tail = ffmpeg(&path, &["-ss", "20"]);
        assert!(tail[0] == quantized(&song, bits)[0][20 * RATE as usize..]);
    }
}

#[test]
fn an_mp3_has_every_frame_at_every_bitrate() {
    let folder = TempDir::new().unwrap();
    let song = compose(33, 4.0).mixture();
    for (at, kbps) in BITRATES.into_iter().enumerate() {
        let tags = if at % 2 == 0 { tags() } else { Tags::default() };
        // Lengths around the limit between our info tag and LAME's, and at the end.
        let lengths: &[usize] =
            if kbps <= 64 || kbps == 320 { &[1, 575, 576, 577, 1152, 44_100, 100_001] } else { &[1, 100_001] };
        for length in lengths.iter().copied() {
            let cut = song.clone().map(|channel| channel[..length].to_vec());
            let path = write(folder.path(), &format!("mp3:{kbps}:7"), &tags, &cut);
            let ours = read(&path);
            assert_eq!(ours[0].len(), length, "{kbps} kbit/s: our decoder");
            let theirs = ffmpeg(&path, &[]);
            assert_eq!(theirs[0].len(), length, "{kbps} kbit/s: ffmpeg");
            if length > 50_000 {
                let probe = ffprobe(&path);
                assert_eq!((probe["codec_name"].as_str(), probe["sample_rate"].as_str()), ("mp3", "44100"));
                let like = si_sdr(&ours.concat(), &theirs.concat());
                assert!(like > 80.0, "{kbps} kbit/s: the decoders differ: {like:.1} dB");
                let like = si_sdr(&ours[0], &cut[0]);
                let wanted = if kbps < 64 { 3.0 } else { 8.0 };
                assert!(like > wanted, "{kbps} kbit/s: {like:.1} dB");
            }
        }
    }
}

#[test]
fn an_mp3_can_be_sought_in() {
    let folder = TempDir::new().unwrap();
    let song = compose(34, 30.0).mixture();
    for format in ["mp3:320", "mp3:128:7", "mp3:48:7"] {
        let path = write(folder.path(), format, &tags(), &song);
        let seconds: f64 = ffprobe(&path)["duration"].parse().unwrap();
        assert!((seconds - 30.0).abs() < 0.06, "{format}: {seconds} s");
        let whole = ffmpeg(&path, &[]);
        let tail = ffmpeg(&path, &["-ss", "20"]);
        let shift = whole[0].len() - tail[0].len();
        assert!(shift.abs_diff(20 * RATE as usize) <= 1152, "{format}: {shift}");
        let like = si_sdr(&tail[0][5_000..], &whole[0][shift + 5_000..]);
        assert!(like > 40.0, "{format}: {like:.1} dB");
    }
}

#[test]
fn presets_range_from_the_best_to_the_fastest() {
    let folder = TempDir::new().unwrap();
    let song = compose(35, 3.0).mixture();
    for preset in PRESETS {
        let path = write(folder.path(), &format!("mp3:128:{preset}"), &Tags::default(), &song);
        let bytes = std::fs::read(&path).unwrap();
        // The last digit of the info tag's quality is LAME's (Xing's 100 to 0, minus 10 per VBR quality of 4).
        let quality = u32::from_be_bytes(bytes[152..156].try_into().unwrap());
        assert_eq!(10 - quality % 10, u32::from(preset), "{quality}");
    }
}

#[test]
fn ffprobe_and_our_reader_find_the_tags() {
    let folder = TempDir::new().unwrap();
    let song = compose(36, 1.0).mixture();
    for format in ["mp3:320", "mp3:32", "flac:16", "flac:24", "wav:int16", "wav:int24", "wav:float32"] {
        let path = write(folder.path(), format, &tags(), &song);
        let probe = ffprobe(&path);
        let stem = if format.starts_with("wav") { "tag:isbj" } else { "tag:stem" };
        for (key, value) in [
            ("tag:title", "Ein Lied für Æsa ☂ (vocals)"),
            ("tag:artist", "Sigur & Söhne"),
            ("tag:album", "Odd"),
            ("tag:track", "7"),
            ("tag:date", "2021"),
            ("tag:genre", "Chamber Pop"),
            (stem, "vocals"),
        ] {
            assert_eq!(probe.get(key).map(String::as_str), Some(value), "{format}: {key} in {probe:?}");
        }
        assert_eq!(Sandbox::none().tags_of(&path).unwrap(), (tags(), None), "{format}");
        assert_eq!(read(&path)[0].len(), song[0].len(), "{format}");

        let path = write(folder.path(), format, &Tags::default(), &song);
        assert_eq!(Sandbox::none().tags_of(&path).unwrap(), (Tags::default(), None), "{format}");
    }
}

#[test]
fn long_tags_do_not_damage_files() {
    let folder = TempDir::new().unwrap();
    let song = compose(37, 1.0).mixture();
    let long = Some("long ".repeat(200).trim().to_owned());
    let tags = Tags { title: long.clone(), artist: long.clone(), album: long, ..Tags::default() };
    for format in ["mp3:320", "flac:16", "wav:int16"] {
        let path = write(folder.path(), format, &tags, &song);
        assert_eq!(Sandbox::none().tags_of(&path).unwrap().0, tags, "{format}");
        assert_eq!(read(&path)[0].len(), song[0].len(), "{format}");
        assert_eq!(ffmpeg(&path, &[])[0].len(), song[0].len(), "{format}");
    }
}

#[test]
fn unsupported_formats_are_refused_with_a_reason() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("song");
    for format in [
        Format::Mp3 { kbps: 100, preset: 2 },
        Format::Mp3 { kbps: 320, preset: 9 },
        Format::Flac { bits: 8 },
        Format::Flac { bits: 32 },
    ] {
        let error = Encoder::create(&path, format, &Tags::default()).err().unwrap();
        assert!(matches!(error, EncodeError::Format(_)), "{error}");
        assert!(error.to_string().contains("use "), "{error}");
        assert!(!path.exists());
    }
    let error = Encoder::create(&folder.path().join("no/folder"), Format::WORKING, &Tags::default()).err().unwrap();
    assert!(matches!(error, EncodeError::Io(_)), "{error}");
}

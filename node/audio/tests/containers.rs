//! Wrong headers of real programs, and formats without a length in the header: the decoded song is the sound in the
//! file.

#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used)]

use std::path::PathBuf;
use std::process::Command;

use audio::decode::{DecodeError, Limits, Pcm};
use audio::sandbox::Sandbox;
use audio::{RATE, Stereo};
use tempfile::TempDir;

struct Files(TempDir);

impl Files {
    /// A folder with `song.wav`: two seconds of noise and tones in 16 bits. Returns the samples too.
    fn new() -> (Self, Stereo) {
        let files = Self(TempDir::new().unwrap());
        let mut state = 1u32;
        let mut noise = || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 16) as i16 / 8
        };
        let samples: Vec<i16> = (0..2 * RATE)
            .flat_map(|at| {
                let tone = (f64::from(at) * 0.05).sin() * 8_000.0;
                [tone as i16 + noise(), (tone / 2.0) as i16 - noise()]
            })
            .collect();
        files.put("song.wav", &wav(&samples));
        let channel = |first: usize| samples[first..].iter().step_by(2).map(|one| f32::from(*one) / 32_768.0).collect();
        (files, [channel(0), channel(1)])
    }

    fn at(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn put(&self, name: &str, bytes: &[u8]) {
        std::fs::write(self.at(name), bytes).unwrap();
    }

    /// Makes `name` from song.wav with ffmpeg's options, and returns its bytes.
    fn made(&self, options: &str, name: &str) -> Vec<u8> {
        let status = Command::new("ffmpeg")
            .args(["-v", "error", "-y", "-i"])
            .arg(self.at("song.wav"))
            .args(options.split_ascii_whitespace())
            .arg(self.at(name))
            .status()
            .expect("these tests need ffmpeg");
        assert!(status.success(), "ffmpeg cannot make {name}");
        std::fs::read(self.at(name)).unwrap()
    }

    /// Decodes these bytes; probe and decoding must find the same length.
    fn decoded(&self, bytes: &[u8]) -> Result<Pcm, DecodeError> {
        self.put("file", bytes);
        let sandbox = Sandbox::none();
        let found = sandbox.inspect(&self.at("file"), &Limits { max_seconds: 600 })?;
        let pcm = sandbox.decode_to(&self.at("file"), &self.at("samples"))?;
        assert_eq!(found.probe.frames, pcm.frames());
        Ok(pcm)
    }
}

fn wav(samples: &[i16]) -> Vec<u8> {
    let bytes = 2 * samples.len() as u32;
    let mut file = b"RIFF".to_vec();
    file.extend((36 + bytes).to_le_bytes());
    file.extend(b"WAVEfmt \x10\0\0\0\x01\0\x02\0");
    file.extend(RATE.to_le_bytes());
    file.extend((4 * RATE).to_le_bytes());
    file.extend(b"\x04\0\x10\0data");
    file.extend(bytes.to_le_bytes());
    file.extend(samples.iter().flat_map(|sample| sample.to_le_bytes()));
    file
}

/// The bytes with a part replaced.
fn with(bytes: &[u8], at: usize, new: &[u8]) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    bytes[at..at + new.len()].copy_from_slice(new);
    bytes
}

fn is_the_song(pcm: &Pcm, song: &Stereo) -> bool {
    pcm.frames() == song[0].len() as u64 && pcm.read(0, song[0].len()).unwrap() == *song
}

#[test]
fn wrong_wav_headers_are_accepted() {
    let (files, song) = Files::new();
    let good = std::fs::read(files.at("song.wav")).unwrap();
    let (head, samples) = good.split_at(44);
    let chunked = |chunks: &[&[u8]]| [&head[..12], &chunks.concat(), &good[36..]].concat();
    let format = &head[12..36];
    for (name, file) in [
        ("RIFF size 8 too small", with(&good, 4, &(good.len() as u32 - 16).to_le_bytes())),
        ("RIFF size 0, data size 0", with(&with(&good, 4, &[0; 4]), 40, &[0; 4])),
        ("data size 0", with(&good, 40, &[0; 4])),
        ("sizes of sox in a pipe", with(&with(&good, 4, b"\x24\xf0\xff\x7f"), 40, b"\0\xf0\xff\x7f")),
        ("sizes of ffmpeg in a pipe", with(&with(&good, 4, &[0xff; 4]), 40, &[0xff; 4])),
        ("format of 18 bytes", chunked(&[b"fmt \x12\0\0\0", &format[8..], b"\0\0"])),
        ("format of 20 bytes", chunked(&[b"fmt \x14\0\0\0", &format[8..], b"\0\0\0\0"])),
        ("fact of 8 bytes", chunked(&[format, b"fact\x08\0\0\0\0\0\0\0\0\0\0\0"])),
        ("a list with a child that is too long", chunked(&[format, b"LIST\x0c\0\0\0INFOIART\xff\xff\xff\x7f"])),
        ("an odd chunk without padding", chunked(&[format, b"abcd\x03\0\0\x00xyz"])),
        ("an odd chunk with padding", chunked(&[format, b"abcd\x03\0\0\x00xyz\0"])),
        ("a chunk that is longer than the file", chunked(&[format, b"abcd\xff\xff\xff\x00xyz\0"])),
        ("a tag behind", [&good[..], b"TAG", &[b'x'; 125]].concat()),
        ("junk behind", [&good[..], &[0x55; 5000]].concat()),
    ] {
        match files.decoded(&file) {
            Ok(pcm) if file.len() > good.len() + 4000 => assert!(is_the_song(&pcm, &song), "{name}"),
            Ok(pcm) => assert!(is_the_song(&pcm, &song), "{name}: {} frames", pcm.frames()),
            Err(error) => panic!("{name}: {error}"),
        }
    }
    // RF64 has its lengths in a separate chunk.
    let mut rf64 = b"RF64\xff\xff\xff\xffWAVEds64\x1c\0\0\0".to_vec();
    rf64.extend((good.len() as u64 + 28).to_le_bytes());
    rf64.extend((samples.len() as u64).to_le_bytes());
    rf64.extend([0; 12]);
    rf64.extend(format);
    rf64.extend(b"data\xff\xff\xff\xff");
    rf64.extend(samples);
    assert!(is_the_song(&files.decoded(&rf64).unwrap(), &song));
    assert!(is_the_song(&files.decoded(&files.made("-c:a pcm_s16le", "song.w64")).unwrap(), &song));
    // Valid bits of 0 in an extensible header.
    let extensible = files.made("-c:a pcm_f32le -channel_layout stereo", "float.wav");
    if let Some(at) = extensible.windows(2).position(|tag| tag == [0xfe, 0xff]) {
        assert!(is_the_song(&files.decoded(&with(&extensible, at + 18, &[0, 0])).unwrap(), &song));
    }
    assert!(is_the_song(&files.decoded(&extensible).unwrap(), &song));

    // Any other length means that the file is cut off; samples without a description are a damaged header.
    let cut = &good[..good.len() / 2];
    assert!(matches!(files.decoded(cut), Err(DecodeError::Truncated { .. })));
    let bare = [&head[..12], &good[36..]].concat();
    assert!(matches!(files.decoded(&bare), Err(DecodeError::Header { .. })));
}

#[test]
fn wrong_aiff_headers_are_accepted() {
    let (files, song) = Files::new();
    let good = files.made("-c:a pcm_s16be", "song.aiff");
    for size in [0u32, 8, u32::MAX, good.len() as u32 + 100] {
        assert!(is_the_song(&files.decoded(&with(&good, 4, &size.to_be_bytes())).unwrap(), &song), "{size}");
    }
    assert!(matches!(files.decoded(&good[..good.len() - 1000]), Err(DecodeError::Truncated { .. })));
}

#[test]
fn flac_is_decoded_exactly_or_refused() {
    let (files, song) = Files::new();
    let good = files.made("-c:a flac", "song.flac");
    for (name, file) in [
        ("minimum block 0", with(&good, 8, &[0, 0])),
        ("maximum block 0", with(&good, 8, &[0, 0, 0, 0])),
        ("total length not known", with(&with(&good, 21, &[good[21] & 0xf0]), 22, &[0; 4])),
        ("ID3 in front", [b"ID3\x03\0\0\0\0\0\x0a0123456789", &good[..]].concat()),
        ("ID3v1 behind", [&good[..], b"TAG", &[b'x'; 125]].concat()),
        ("junk behind", [&good[..], &[0x55; 5000]].concat()),
    ] {
        match files.decoded(&file) {
            Ok(pcm) => assert!(is_the_song(&pcm, &song), "{name}: {} frames", pcm.frames()),
            Err(error) => panic!("{name}: {error}"),
        }
    }
    // A bit in the middle: a frame is lost and must not be replaced.
    let at = good.len() / 2;
    let flipped = with(&good, at, &[good[at] ^ 1]);
    assert!(matches!(files.decoded(&flipped), Err(DecodeError::Damaged { .. })));
    assert!(files.decoded(&good[..good.len() - 2000]).is_err());
    // 32 bits, as written by flac 1.4; ffmpeg writes 24 at most.
    let deep = files.made("-c:a flac -sample_fmt s32 -bits_per_raw_sample 24", "24.flac");
    assert!(is_the_song(&files.decoded(&deep).unwrap(), &song));
}

#[test]
fn mp3_lengths_come_from_the_frames() {
    let (files, song) = Files::new();
    let length = song[0].len() as u64;
    let tagged = files.made("-c:a libmp3lame -q:a 4 -id3v2_version 0", "xing.mp3");
    let bare = files.made("-c:a libmp3lame -q:a 4 -id3v2_version 0 -write_xing 0", "bare.mp3");
    assert_eq!(files.decoded(&tagged).unwrap().frames(), length);
    let whole = files.decoded(&bare).unwrap().frames();
    assert!(whole >= length && whole < length + 4 * 1152, "{whole}");
    assert_eq!(whole % 1152, 0);

    let count = tagged.windows(4).position(|name| name == b"Xing" || name == b"Info").unwrap() + 8;
    for (name, file, frames) in [
        ("a count of 0", with(&tagged, count, &[0; 4]), whole - 1105),
        ("zeros behind", [&tagged[..], &[0; 30_000]].concat(), length),
        ("a tag behind", [&tagged[..], b"TAG", &[b'x'; 125]].concat(), length),
        ("zeros in front", [&[0; 30_000], &bare[..]].concat(), whole),
        ("two joined", [&bare[..], &bare[..]].concat(), 2 * whole),
        ("three joined with tags", [&bare[..], b"TAG", &[b'x'; 125], &bare[..], &bare[..]].concat(), 3 * whole),
    ] {
        match files.decoded(&file) {
            Ok(pcm) => assert!(pcm.frames().abs_diff(frames) <= 1152, "{name}: {} of {frames}", pcm.frames()),
            Err(error) => panic!("{name}: {error}"),
        }
    }
    // A header with a count of bytes shows that half is missing.
    assert!(matches!(files.decoded(&tagged[..tagged.len() / 2]), Err(DecodeError::Truncated { .. })));
    // The header of a free-format frame holds no length.
    let free = [0xff, 0xfb, 0x00, 0x64].iter().copied().chain([0; 500]).collect::<Vec<u8>>().repeat(20);
    assert!(matches!(files.decoded(&free), Err(DecodeError::Unsupported(_))));
}

#[test]
fn adts_lengths_are_those_of_the_frames() {
    let (files, _) = Files::new();
    let aac = files.made("-af volume=0:enable='lt(t,1)' -c:a aac -b:a 96k", "song.aac");
    let frames = files.decoded(&aac).unwrap().frames();
    assert_eq!(frames % 1024, 0);
    assert!((88_200..88_200 + 4096).contains(&frames), "{frames}");
    assert_eq!(files.decoded(&[&aac[..], &[0; 5000]].concat()).unwrap().frames(), frames);
    assert_eq!(files.decoded(&[&aac[..], &aac[..]].concat()).unwrap().frames(), 2 * frames);
}

#[test]
fn quicktime_samples_are_read_in_their_byte_order() {
    let (files, song) = Files::new();
    for codec in
        ["pcm_s16be", "pcm_s16le", "pcm_s24be", "pcm_s32le", "pcm_f32be", "pcm_f32le", "pcm_f64be", "pcm_f64le"]
    {
        let file = files.made(&format!("-c:a {codec}"), "song.mov");
        assert!(is_the_song(&files.decoded(&file).unwrap(), &song), "{codec}");
    }
}

#[test]
fn edit_lists_determine_the_start_of_a_song() {
    let (files, song) = Files::new();
    // ALAC is lossless, so a trim can be compared exactly.
    let whole = files.made("-c:a alac", "song.m4a");
    assert!(is_the_song(&files.decoded(&whole).unwrap(), &song));
    let list = whole.windows(4).position(|name| name == b"elst").expect("ffmpeg writes an edit list") + 12;
    // One second, from half a second on.
    let edited = with(&with(&whole, list, &1000u32.to_be_bytes()), list + 4, &22_050u32.to_be_bytes());
    let pcm = files.decoded(&edited).unwrap();
    assert_eq!(pcm.frames(), 44_100);
    let wanted = song.clone().map(|channel| channel[22_050..66_150].to_vec());
    assert_eq!(pcm.read(0, 44_100).unwrap(), wanted);
    // The encoder's delay of AAC is cut.
    let aac = files.made("-c:a aac -b:a 192k", "aac.m4a");
    let frames = files.decoded(&aac).unwrap().frames();
    assert!(frames.abs_diff(song[0].len() as u64) <= 1024, "{frames}");
}

#[test]
fn all_streams_of_chained_ogg_are_decoded() {
    let (files, song) = Files::new();
    let one = files.made("-c:a libvorbis -serial_offset 1", "one.ogg");
    let length = files.decoded(&one).unwrap().frames();
    assert_eq!(length, song[0].len() as u64);
    let other = files.made("-c:a libvorbis -serial_offset 2 -ar 48000", "two.ogg");
    assert_eq!(files.decoded(&[&one[..], &other[..]].concat()).unwrap().frames(), 2 * length);
    assert!(matches!(files.decoded(&one[..one.len() - 50]), Err(DecodeError::CutOff)));
    let opus = files.made("-c:a libopus", "song.opus");
    assert_eq!(files.decoded(&opus).unwrap().frames(), length);
    let webm = files.made("-c:a libopus", "song.webm");
    assert!(files.decoded(&webm).unwrap().frames().abs_diff(length) <= 1);
}

#[test]
fn impossible_headers_are_refused_at_once() {
    let (files, _) = Files::new();
    let good = std::fs::read(files.at("song.wav")).unwrap();
    // 65,535 channels; a rate of 4 GHz; blocks of no bytes.
    for (at, new) in [(22, &[0xff, 0xff][..]), (24, &[0xff; 4][..]), (22, &[0, 0][..])] {
        let error = files.decoded(&with(&good, at, new)).err().unwrap();
        assert!(matches!(error, DecodeError::Unsupported(_) | DecodeError::Header { .. }), "{error}");
    }
}

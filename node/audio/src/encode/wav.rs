//! WAV, and RF64 (EBU Tech 3306) for files beyond the 32-bit lengths of WAV.
//!
//! The length is known only at the end. So every file begins with a chunk that readers skip, as large as the chunk of
//! RF64's 64-bit lengths, and the header is written again when the file is complete. Tags are a RIFF INFO list before
//! the samples, so that readers find it without reading the samples. The stem's name is the subject (`ISBJ`).

use std::fs::File;
use std::io::{BufWriter, Seek, SeekFrom, Write};
use std::path::Path;

use super::format::WavEncoding;
use super::{EncodeError, to_integer};
use crate::tags::Tags;
use crate::{RATE, Stereo};

/// The largest length that a WAV file's header can hold, in bytes.
const MOST: u64 = u32::MAX as u64;

pub(super) struct WavWriter {
    file: BufWriter<File>,
    encoding: WavEncoding,
    info: Vec<u8>,
    frames: u64,
    bytes: Vec<u8>,
    /// The largest length of a file before it becomes RF64.
    most: u64,
}

impl WavWriter {
    pub(super) fn create(path: &Path, encoding: WavEncoding, tags: &Tags) -> Result<Self, EncodeError> {
        Self::with_most(path, encoding, tags, MOST)
    }

    fn with_most(path: &Path, encoding: WavEncoding, tags: &Tags, most: u64) -> Result<Self, EncodeError> {
        let mut file = BufWriter::new(File::create(path)?);
        let info = info(tags);
        file.write_all(&header(encoding, &info, 0, most))?;
        Ok(Self { file, encoding, info, frames: 0, bytes: Vec::new(), most })
    }

    pub(super) fn write(&mut self, [left, right]: &Stereo) -> Result<(), EncodeError> {
        self.bytes.clear();
        for sample in left.iter().zip(right).flat_map(|(left, right)| [*left, *right]) {
            match self.encoding {
                WavEncoding::Int16 => self.bytes.extend(&to_integer(sample, 16).to_le_bytes()[..2]),
                WavEncoding::Int24 => self.bytes.extend(&to_integer(sample, 24).to_le_bytes()[..3]),
                WavEncoding::Float32 => self.bytes.extend(sample.to_le_bytes()),
            }
        }
        self.file.write_all(&self.bytes)?;
        self.frames += left.len() as u64;
        Ok(())
    }

    pub(super) fn finish(mut self) -> Result<(), EncodeError> {
        self.file.seek(SeekFrom::Start(0))?;
        self.file.write_all(&header(self.encoding, &self.info, self.frames, self.most))?;
        self.file.flush()?;
        Ok(())
    }
}

/// Everything before the samples of a song of `frames` frames; its length is the same for any number of them.
fn header(encoding: WavEncoding, info: &[u8], frames: u64, most: u64) -> Vec<u8> {
    let (tag, bytes): (u16, u16) = match encoding {
        WavEncoding::Int16 => (1, 2),
        WavEncoding::Int24 => (1, 3),
        WavEncoding::Float32 => (3, 4),
    };
    let frame = 2 * bytes;
    let samples = frames * u64::from(frame);
    let small = |number: u64| u32::try_from(number).unwrap_or(u32::MAX);

    let mut format = tag.to_le_bytes().to_vec();
    format.extend(2u16.to_le_bytes());
    format.extend(RATE.to_le_bytes());
    format.extend((RATE * u32::from(frame)).to_le_bytes());
    format.extend(frame.to_le_bytes());
    format.extend((8 * bytes).to_le_bytes());
    let mut chunks = Vec::new();
    if encoding == WavEncoding::Float32 {
        // Formats other than integers have the size of their extension, which is 0, and the number of frames.
        format.extend(0u16.to_le_bytes());
        chunk(&mut chunks, b"fmt ", &format);
        chunk(&mut chunks, b"fact", &small(frames).to_le_bytes());
    } else {
        chunk(&mut chunks, b"fmt ", &format);
    }
    if !info.is_empty() {
        chunk(&mut chunks, b"LIST", info);
    }

    // The lengths of the file and of the samples, the number of frames, and an empty table of further lengths.
    const LENGTHS: usize = 28;
    let length = 4 + (8 + LENGTHS + chunks.len() + 8) as u64 + samples;
    let large = length > most;
    let mut header = if large { b"RF64".to_vec() } else { b"RIFF".to_vec() };
    header.extend(if large { u32::MAX } else { small(length) }.to_le_bytes());
    header.extend(b"WAVE");
    if large {
        let mut lengths = Vec::with_capacity(LENGTHS);
        lengths.extend(length.to_le_bytes());
        lengths.extend(samples.to_le_bytes());
        lengths.extend(frames.to_le_bytes());
        lengths.extend(0u32.to_le_bytes());
        chunk(&mut header, b"ds64", &lengths);
    } else {
        chunk(&mut header, b"JUNK", &[0; LENGTHS]);
    }
    header.extend(chunks);
    header.extend(b"data");
    header.extend(if large { u32::MAX } else { small(samples) }.to_le_bytes());
    header
}

/// The tags as the content of a list chunk; empty if there are none.
fn info(tags: &Tags) -> Vec<u8> {
    let mut info = Vec::new();
    for (name, value) in [
        (b"INAM", &tags.title),
        (b"IART", &tags.artist),
        (b"IPRD", &tags.album),
        (b"IPRT", &tags.track),
        (b"ICRD", &tags.year),
        (b"IGNR", &tags.genre),
        (b"ISBJ", &tags.stem),
    ] {
        if let Some(value) = value {
            if info.is_empty() {
                info.extend(b"INFO");
            }
            let mut text = value.clone().into_bytes();
            text.push(0);
            chunk(&mut info, name, &text);
        }
    }
    info
}

/// Appends a chunk, padded to an even length.
fn chunk(file: &mut Vec<u8>, name: &[u8; 4], content: &[u8]) {
    file.extend(name);
    file.extend((content.len() as u32).to_le_bytes());
    file.extend(content);
    if content.len() % 2 == 1 {
        file.push(0);
    }
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    fn ffprobe(path: &Path, entry: &str) -> String {
        let output = Command::new("ffprobe")
            .args(["-v", "error", "-show_entries", entry, "-of", "default=noprint_wrappers=1:nokey=1"])
            .arg(path)
            .output()
            .unwrap();
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    }

    #[test]
    fn a_file_that_is_too_large_becomes_rf64() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("song.wav");
        let samples: Vec<f32> = (0..10_000).map(|at| (at as f32 / 50.0).sin()).collect();
        let tags = Tags { title: Some("Long".into()), ..Tags::default() };
        for encoding in [WavEncoding::Int16, WavEncoding::Int24, WavEncoding::Float32] {
            let read = |most: u64| {
                let mut writer = WavWriter::with_most(&path, encoding, &tags, most).unwrap();
                writer.write(&[samples.clone(), samples.clone()]).unwrap();
                writer.finish().unwrap();
                let decoded =
                    Command::new("ffmpeg").args(["-v", "error", "-i"]).arg(&path).args(["-f", "f32le", "-"]).output();
                (std::fs::read(&path).unwrap(), decoded.unwrap())
            };
            let (small, wanted) = read(MOST);
            let (large, decoded) = read(1000);
            assert_eq!((&small[..4], &large[..4]), (&b"RIFF"[..], &b"RF64"[..]));
            assert_eq!(small.len(), large.len());
            assert_eq!((decoded.stdout.len(), decoded.stderr), (80_000, Vec::new()));
            assert!(decoded.stdout == wanted.stdout);
            assert_eq!(ffprobe(&path, "format_tags=title"), "Long");
        }
    }

    #[test]
    fn eight_hours_of_floats_have_a_valid_length() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("song.wav");
        let frames = 8 * 3600 * u64::from(RATE);
        let header = header(WavEncoding::Float32, b"", frames, MOST);
        std::fs::write(&path, &header).unwrap();
        // The samples are a hole in a sparse file.
        File::options().write(true).open(&path).unwrap().set_len(header.len() as u64 + 8 * frames).unwrap();
        assert_eq!(ffprobe(&path, "format=duration"), "28800.000000");
    }

    #[test]
    fn the_largest_file_that_fits_is_plain_wav() {
        let overhead = header(WavEncoding::Int16, b"", 0, MOST).len() as u64 - 8;
        let frames = (MOST - overhead) / 4;
        assert_eq!(&header(WavEncoding::Int16, b"", frames, MOST)[..4], b"RIFF");
        assert_eq!(&header(WavEncoding::Int16, b"", frames + 1, MOST)[..4], b"RF64");
    }
}

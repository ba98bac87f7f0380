//! A decoded song as a file: interleaved stereo, 32-bit little-endian floats, 44.1 kHz.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::os::unix::fs::FileExt;

use serde::{Deserialize, Serialize};

use crate::Stereo;

const FRAME: u64 = 8;

/// Statistics of a whole song, for the normalisation in models.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct SongStats {
    /// The mean of the mono sum.
    pub mean: f32,
    /// The unbiased standard deviation of the mono sum.
    pub std: f32,
}

/// Writes a decoded song and computes its statistics.
pub struct PcmWriter {
    file: BufWriter<File>,
    frames: u64,
    sum: f64,
    squares: f64,
}

impl PcmWriter {
    /// Starts a song in an empty file that is open for writing and reading.
    pub fn new(file: File) -> Self {
        Self { file: BufWriter::with_capacity(1 << 18, file), frames: 0, sum: 0.0, squares: 0.0 }
    }

    /// Appends interleaved frames.
    pub fn write(&mut self, interleaved: &[f32]) -> io::Result<()> {
        for frame in interleaved.chunks_exact(2) {
            let mono = f64::from(frame[0] + frame[1]) / 2.0;
            self.sum += mono;
            self.squares += mono * mono;
            self.file.write_all(&frame[0].to_le_bytes())?;
            self.file.write_all(&frame[1].to_le_bytes())?;
        }
        self.frames += interleaved.len() as u64 / 2;
        Ok(())
    }

    /// Completes the file.
    pub fn finish(self) -> io::Result<Pcm> {
        let file = self.file.into_inner().map_err(io::IntoInnerError::into_error)?;
        let count = self.frames as f64;
        let mean = if self.frames > 0 { self.sum / count } else { 0.0 };
        // The unbiased variance, as torch computes it.
        let variance =
            if self.frames > 1 { (self.squares - count * mean * mean).max(0.0) / (count - 1.0) } else { 0.0 };
        let stats = SongStats { mean: mean as f32, std: variance.sqrt() as f32 };
        Ok(Pcm { file, frames: self.frames, stats })
    }
}

/// A decoded song.
pub struct Pcm {
    file: File,
    frames: u64,
    stats: SongStats,
}

impl Pcm {
    /// Opens a file that a [`PcmWriter`] wrote, of `frames` frames with these statistics; fails if it is shorter.
    pub fn open(file: File, frames: u64, stats: SongStats) -> io::Result<Self> {
        if file.metadata()?.len() < frames.saturating_mul(FRAME) {
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the decoded song is shorter than its length"));
        }
        Ok(Self { file, frames, stats })
    }

    /// Its length in frames at 44.1 kHz.
    pub fn frames(&self) -> u64 {
        self.frames
    }

    /// The mean and the deviation of its mono sum.
    pub fn stats(&self) -> &SongStats {
        &self.stats
    }

    /// Reads `length` frames from `start` on. Frames outside of the song are silent.
    pub fn read(&self, start: i64, length: usize) -> io::Result<Stereo> {
        let mut window = [vec![0.0; length], vec![0.0; length]];
        let first = start.max(0) as u64;
        let end = start.saturating_add_unsigned(length as u64).clamp(0, self.frames as i64) as u64;
        if first >= end {
            return Ok(window);
        }
        let mut bytes = vec![0; ((end - first) * FRAME) as usize];
        self.file.read_exact_at(&mut bytes, first * FRAME)?;
        let offset = (first as i64 - start) as usize;
        for (at, frame) in bytes.chunks_exact(FRAME as usize).enumerate() {
            for (channel, window) in window.iter_mut().enumerate() {
                let sample = &frame[4 * channel..4 * channel + 4];
                window[offset + at] = f32::from_le_bytes([sample[0], sample[1], sample[2], sample[3]]);
            }
        }
        Ok(window)
    }
}

/// Creates an empty file for a decoded song, open for writing and reading.
pub fn create(path: &std::path::Path) -> io::Result<File> {
    File::options().create(true).truncate(true).read(true).write(true).open(path)
}

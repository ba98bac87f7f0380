//! FLAC of 16 or 24 bits, with Vorbis comments.
//!
//! The stream's header holds the number of frames and the MD5 of all samples, so that a decoder can check its output.
//! There is space for a table of seek points, one every ten seconds of four hours. Longer songs have no table, and
//! players search instead. The encoder keeps the positions of its blocks in memory: 20 kB per minute.

use std::fs::File;
use std::io::{self, BufWriter, Seek, SeekFrom, Write};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use flac_codec::encode::{FlacSampleWriter, Options};

use super::{EncodeError, to_integer};
use crate::tags::Tags;
use crate::{RATE, Stereo};

/// The space for seek points, in bytes: 18 for each.
const ROOM: u32 = 18 * 4 * 360 + 4;

pub(super) struct FlacWriter {
    encoder: FlacSampleWriter<Shared>,
    file: Shared,
    bits: u8,
    interleaved: Vec<i32>,
}

impl FlacWriter {
    pub(super) fn create(path: &Path, bits: u8, tags: &Tags) -> Result<Self, EncodeError> {
        let mut options = Options::default().padding(ROOM).map_err(|error| io::Error::other(error.to_string()))?;
        for (field, value) in [
            ("TITLE", &tags.title),
            ("ARTIST", &tags.artist),
            ("ALBUM", &tags.album),
            ("TRACKNUMBER", &tags.track),
            ("DATE", &tags.year),
            ("GENRE", &tags.genre),
            ("STEM", &tags.stem),
        ] {
            if let Some(value) = value {
                options = options.tag(field, value);
            }
        }
        let file = Shared(Arc::new(Mutex::new(BufWriter::with_capacity(1 << 16, File::create(path)?))));
        let encoder =
            FlacSampleWriter::new(file.clone(), options, RATE, u32::from(bits), 2, None).map_err(EncodeError::Flac)?;
        Ok(Self { encoder, file, bits, interleaved: Vec::new() })
    }

    pub(super) fn write(&mut self, [left, right]: &Stereo) -> Result<(), EncodeError> {
        self.interleaved.clear();
        let bits = self.bits;
        self.interleaved.extend(
            left.iter().zip(right).flat_map(|(left, right)| [to_integer(*left, bits), to_integer(*right, bits)]),
        );
        self.encoder.write(&self.interleaved).map_err(EncodeError::Flac)
    }

    pub(super) fn finish(self) -> Result<(), EncodeError> {
        self.encoder.finalize().map_err(EncodeError::Flac)?;
        self.file.lock().flush()?;
        Ok(())
    }
}

/// A file that the encoder shares with its owner: the encoder drops its output without reporting whether the last bytes
/// were written.
#[derive(Clone)]
struct Shared(Arc<Mutex<BufWriter<File>>>);

impl Shared {
    fn lock(&self) -> MutexGuard<'_, BufWriter<File>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Write for Shared {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.lock().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.lock().flush()
    }
}

impl Seek for Shared {
    fn seek(&mut self, position: SeekFrom) -> io::Result<u64> {
        self.lock().seek(position)
    }
}

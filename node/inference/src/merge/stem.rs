//! Stems: their shares of the sources, and their files.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::error::MergeError;
use audio::Stereo;
use audio::analysis::{Peaks, PeaksBuilder};
use audio::clip::ClipMode;
use audio::encode::{EncodeError, Encoder, Format};
use audio::tags::Tags;

/// A stem as a weighted sum of the model's sources and the song.
#[derive(Debug, Clone, PartialEq)]
pub struct Wanted {
    /// Its name.
    pub name: String,
    /// The gain of each source.
    pub gains: Vec<f32>,
    /// The gain of the song itself.
    pub song: f32,
}

impl Wanted {
    /// Every source as a stem of its own.
    pub fn each(sources: &[String]) -> Vec<Self> {
        let gains = |source: usize| (0..sources.len()).map(|other| f32::from(u8::from(other == source))).collect();
        sources
            .iter()
            .enumerate()
            .map(|(source, name)| Self { name: name.clone(), gains: gains(source), song: 0.0 })
            .collect()
    }

    /// The sum of all other sources, named `no_` and the name of this stem.
    pub fn rest(&self) -> Self {
        let gains = self.gains.iter().map(|gain| 1.0 - gain).collect();
        Self { name: format!("no_{}", self.name), gains, song: 0.0 }
    }
}

/// The stems to make and their files.
#[derive(Debug, Clone, Default)]
pub struct Export {
    /// The stems.
    pub stems: Vec<Wanted>,
    /// The formats; every stem gets a file in each.
    pub formats: Vec<Format>,
    /// The song's tags; the stems' tags derive from them.
    pub tags: Tags,
    /// The treatment of stems that exceed full scale.
    pub clip: ClipMode,
}

/// One finished stem.
#[derive(Debug, Clone)]
pub struct MadeStem {
    /// Its name.
    pub name: String,
    /// Its files by format.
    pub files: BTreeMap<Format, PathBuf>,
    /// The outline of its waveform.
    pub peaks: Peaks,
}

impl MadeStem {
    /// Its file in one of the exported formats.
    pub fn file(&self, format: Format) -> Result<&Path, MergeError> {
        self.files.get(&format).map(PathBuf::as_path).ok_or(MergeError::NotAsked(format))
    }
}

/// A stem that is being written.
pub(super) struct StemWriter {
    files: BTreeMap<Format, PathBuf>,
    wanted: Wanted,
    pub(super) peaks: PeaksBuilder,
    pub(super) encoders: Vec<Encoder>,
    /// The largest absolute sample, if a pass for peaks was made.
    pub(super) peak: f32,
}

impl StemWriter {
    pub(super) fn create(wanted: &Wanted, folder: &Path, export: &Export) -> Result<Self, EncodeError> {
        let name = &wanted.name;
        let files: BTreeMap<Format, PathBuf> = export
            .formats
            .iter()
            .map(|format| {
                let kind = format.to_string().replace(':', "-");
                (*format, folder.join(format!("{name}.{kind}.{}", format.extension())))
            })
            .collect();
        let tags = export.tags.for_stem(name);
        let encoders =
            files.iter().map(|(format, path)| Encoder::create(path, *format, &tags)).collect::<Result<_, _>>()?;
        Ok(Self { files, wanted: wanted.clone(), peaks: PeaksBuilder::new(), encoders, peak: 0.0 })
    }

    /// The stem's samples for a block of all sources; `song` is the same block of the song.
    pub(super) fn samples(&self, block: &[f32], song: &Stereo) -> Stereo {
        let width = 2 * self.wanted.gains.len();
        std::array::from_fn(|channel| {
            let mut sum: Vec<f32> = song[channel].iter().map(|sample| self.wanted.song * sample).collect();
            sum.resize(block.len() / width, 0.0);
            for (source, gain) in self.wanted.gains.iter().enumerate().filter(|(_, gain)| **gain != 0.0) {
                let column = block.iter().skip(2 * source + channel).step_by(width);
                sum.iter_mut().zip(column).for_each(|(sum, sample)| *sum += gain * sample);
            }
            sum
        })
    }

    /// Completes the files.
    pub(super) fn finish(self) -> Result<MadeStem, MergeError> {
        self.encoders.into_iter().try_for_each(Encoder::finish)?;
        Ok(MadeStem { name: self.wanted.name, files: self.files, peaks: self.peaks.finish() })
    }
}

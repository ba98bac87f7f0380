//! From parts to stems: overlap-add, then encoding, as a stream.
//!
//! Where stems are rescaled, the parts are added up twice: once for the stems' peaks, once for the files.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use rayon::prelude::*;

use crate::clip::ClipMode;
use crate::encode::{EncodeError, Encoder, Format};
use crate::part::{PartError, PartReader};
use crate::separator::{Geometry, Separator};
use crate::tags::Tags;

/// Frames that are merged at a time.
const BLOCK: u64 = 1 << 15;

/// The stems could not be made.
#[derive(Debug, thiserror::Error)]
pub enum MergeError {
    /// A part is missing or wrong.
    #[error(transparent)]
    Part(#[from] PartError),
    /// A stem could not be written.
    #[error(transparent)]
    Encode(#[from] EncodeError),
    /// The disk failed.
    #[error("the stems cannot be written: {0}")]
    Io(#[from] io::Error),
    /// The parts do not cover the song.
    #[error("the parts leave a gap at frame {0}")]
    Gap(u64),
    /// The caller wants a file that was not to be made.
    #[error("there is no file of the format {0}, for the export did not ask for one")]
    NotAsked(Format),
    /// The caller's flag was raised.
    #[error("the merge was stopped")]
    Stopped,
}

/// What the stems become.
#[derive(Debug, Clone, Default)]
pub struct Export {
    /// Every stem has a file of each.
    pub formats: Vec<Format>,
    /// The song's tags, from which the stems' are made.
    pub tags: Tags,
    /// What is done with a stem that goes beyond full scale.
    pub clip: ClipMode,
}

/// One finished stem.
#[derive(Debug, Clone)]
pub struct MadeStem {
    /// Its name.
    pub name: String,
    /// Its files by format.
    pub files: BTreeMap<Format, PathBuf>,
}

impl MadeStem {
    /// Its file of a format that the export asked for.
    pub fn file(&self, format: Format) -> Result<&Path, MergeError> {
        self.files.get(&format).map(PathBuf::as_path).ok_or(MergeError::NotAsked(format))
    }
}

struct StemWriter {
    made: MadeStem,
    encoders: Vec<Encoder>,
    peak: f32,
}

impl StemWriter {
    fn create(name: &str, folder: &Path, export: &Export) -> Result<Self, EncodeError> {
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
        Ok(Self { made: MadeStem { name: name.into(), files }, encoders, peak: 0.0 })
    }
}

/// Merges the parts of a song of `frames` frames into `folder`. `stop` ends it between blocks.
pub fn merge(
    separator: &dyn Separator,
    frames: u64,
    parts: &[PathBuf],
    folder: &Path,
    export: &Export,
    stop: &AtomicBool,
) -> Result<Vec<MadeStem>, MergeError> {
    let mut stems: Vec<StemWriter> = separator
        .sources()
        .iter()
        .map(|source| StemWriter::create(source, folder, export))
        .collect::<Result<_, _>>()?;
    let (geometry, width) = (separator.geometry(), 2 * stems.len());
    let go_on = || if stop.load(Ordering::Relaxed) { Err(MergeError::Stopped) } else { Ok(()) };
    if export.clip == ClipMode::Rescale {
        sum_parts(geometry, stems.len(), frames, parts, &mut |block| {
            go_on()?;
            for (source, stem) in stems.iter_mut().enumerate() {
                let samples = block.chunks_exact(width).flat_map(|frame| &frame[2 * source..2 * source + 2]);
                stem.peak = samples.fold(stem.peak, |peak, sample| peak.max(sample.abs()));
            }
            Ok(())
        })?;
    }
    sum_parts(geometry, stems.len(), frames, parts, &mut |block| {
        go_on()?;
        stems.par_iter_mut().enumerate().try_for_each(|(source, stem)| {
            let samples = |channel| block.iter().skip(2 * source + channel).step_by(width).copied().collect();
            let mut stereo = [samples(0), samples(1)];
            export.clip.apply(&mut stereo, stem.peak);
            stem.encoders.iter_mut().try_for_each(|encoder| encoder.write(&stereo))
        })?;
        Ok(())
    })?;
    stems
        .into_par_iter()
        .map(|stem| {
            stem.encoders.into_iter().try_for_each(Encoder::finish)?;
            Ok(stem.made)
        })
        .collect()
}

/// Adds the parts up, divides by the weights, and gives the song to `sink` in blocks of interleaved frames, each with
/// left and right of every source.
pub(crate) fn sum_parts(
    geometry: Geometry,
    sources: usize,
    frames: u64,
    parts: &[PathBuf],
    sink: &mut dyn FnMut(&[f32]) -> Result<(), MergeError>,
) -> Result<(), MergeError> {
    let width = 2 * sources;
    let mut readers: Vec<PartReader> =
        parts.iter().map(|part| PartReader::open(part, width)).collect::<Result<_, _>>()?;
    readers.sort_by_key(PartReader::begin);
    let mut covered = 0;
    for reader in &readers {
        if reader.begin() > covered {
            return Err(MergeError::Gap(covered));
        }
        covered = covered.max(reader.end());
    }
    if covered != frames {
        return Err(MergeError::Gap(covered.min(frames)));
    }
    let mut at = 0;
    while at < frames {
        let length = BLOCK.min(frames - at) as usize;
        let mut block = vec![0.0; length * width];
        for reader in &mut readers {
            reader.add_to(&mut block, at)?;
        }
        for (frame, samples) in block.chunks_exact_mut(width).enumerate() {
            let weights = weights_at(geometry, at + frame as u64);
            samples.iter_mut().for_each(|sample| *sample /= weights);
        }
        sink(&block)?;
        at += length as u64;
    }
    Ok(())
}

/// The sum of the weights of all segments over a frame, the earliest first.
fn weights_at(geometry: Geometry, frame: u64) -> f32 {
    let (segment, stride) = (geometry.segment as u64, geometry.stride as u64);
    let last = frame / stride;
    let first = (frame + 1).saturating_sub(segment).div_ceil(stride);
    (first..=last).fold(0.0, |sum, index| sum + geometry.weight((frame - index * stride) as usize))
}

#[cfg(test)]
mod tests {
    use crate::decode::{Pcm, decode_to};
    use crate::encode::WavEncoding;
    use crate::part::separate_part;
    use crate::pcm::PcmWriter;
    use crate::quality::si_sdr;
    use crate::synth::{STEMS, compose};
    use crate::tags::tags_of;
    use crate::{DEFAULT_MODEL, Stereo, separator};

    use super::*;

    fn pcm(folder: &Path, samples: &Stereo) -> Pcm {
        let mut writer = PcmWriter::create(&folder.join("samples")).unwrap();
        let interleaved: Vec<f32> =
            samples[0].iter().zip(&samples[1]).flat_map(|(left, right)| [*left, *right]).collect();
        writer.write(&interleaved).unwrap();
        writer.finish().unwrap()
    }

    /// Separates in tasks of `size` segments and adds the parts up: left and right of every source, frame by frame.
    fn separated(separator: &dyn Separator, pcm: &Pcm, folder: &Path, size: u32) -> Vec<f32> {
        let segments = separator.geometry().segments(pcm.frames());
        let go_on = AtomicBool::new(false);
        let mut parts = Vec::new();
        for first in (0..segments).step_by(size as usize) {
            let part = folder.join(format!("part-{first}"));
            let count = size.min(segments - first);
            separate_part(separator, pcm, first, count, &part, &go_on, &|_| {}).unwrap();
            // Parts may come in any order.
            parts.insert(0, part);
        }
        let mut all = Vec::new();
        sum_parts(separator.geometry(), separator.sources().len(), pcm.frames(), &parts, &mut |block| {
            all.extend_from_slice(block);
            Ok(())
        })
        .unwrap();
        all
    }

    #[test]
    fn stems_add_up_to_the_song_however_it_was_cut() {
        let separator = separator(DEFAULT_MODEL).unwrap();
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

    /// Merges a song that is four times as loud as it can be, and gives each stem's float file and its title.
    fn exported(clip: ClipMode, folder: &Path) -> Vec<(Vec<f32>, Option<String>)> {
        let separator = separator(DEFAULT_MODEL).unwrap();
        let mut song = compose(23, 12.0).mixture();
        song.iter_mut().flatten().for_each(|sample| *sample *= 4.0);
        let pcm = pcm(folder, &song);
        let (part, go_on) = (folder.join("part"), AtomicBool::new(false));
        separate_part(separator.as_ref(), &pcm, 0, 2, &part, &go_on, &|_| {}).unwrap();
        let float = Format::Wav { encoding: WavEncoding::Float32 };
        let tags = Tags { title: Some("Song".into()), ..Tags::default() };
        let formats = vec![float, Format::Flac { bits: 24 }, Format::WORKING, float, "mp3:128:7".parse().unwrap()];
        let export = Export { formats, tags, clip };
        let made = merge(separator.as_ref(), pcm.frames(), &[part], folder, &export, &go_on).unwrap();
        assert!(made.iter().map(|stem| stem.name.as_str()).eq(separator.sources().iter().copied()));
        let samples = |path: &Path| {
            let extension = path.extension().and_then(|extension| extension.to_str());
            let pcm = decode_to(path, extension, &folder.join("decoded")).unwrap();
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
                let (tags, _) = tags_of(stem.file(float).unwrap(), Some("wav")).unwrap();
                (samples(stem.file(float).unwrap()), tags.title)
            })
            .collect()
    }

    #[test]
    fn stems_are_exported_and_kept_from_clipping() {
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
    fn silence_stays_silent() {
        let separator = separator(DEFAULT_MODEL).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let pcm = pcm(folder.path(), &[vec![0.0; 100_000], vec![0.0; 100_000]]);
        assert!(separated(separator.as_ref(), &pcm, folder.path(), 1).iter().all(|sample| *sample == 0.0));
    }

    #[test]
    fn every_stem_is_nearer_to_the_truth_than_the_song_is() {
        let separator = separator(DEFAULT_MODEL).unwrap();
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
    fn missing_wrong_and_foreign_parts_are_refused() {
        let separator = separator(DEFAULT_MODEL).unwrap();
        let geometry = separator.geometry();
        let folder = tempfile::tempdir().unwrap();
        let frames = 2 * geometry.stride as u64;
        let pcm = pcm(folder.path(), &[vec![0.1; frames as usize], vec![0.1; frames as usize]]);
        let go_on = AtomicBool::new(false);
        let paths = [folder.path().join("first"), folder.path().join("second")];
        for (path, first) in paths.iter().zip(0..) {
            separate_part(separator.as_ref(), &pcm, first, 1, path, &go_on, &|_| {}).unwrap();
        }
        let sum = |parts: &[PathBuf]| sum_parts(geometry, 4, frames, parts, &mut |_| Ok(()));
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
    fn a_raised_flag_stops_the_work() {
        let separator = separator(DEFAULT_MODEL).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let pcm = pcm(folder.path(), &[vec![0.1; 1000], vec![0.1; 1000]]);
        let raised = AtomicBool::new(true);
        let part = folder.path().join("part");
        let result = separate_part(separator.as_ref(), &pcm, 0, 1, &part, &raised, &|_| {});
        assert!(matches!(result, Err(PartError::Stopped)));
    }
}

//! From parts to stems: overlap-add, then encoding, as a stream.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use rayon::prelude::*;

use crate::encode::{EncodeError, Mp3Writer, WavWriter};
use crate::part::{PartError, PartReader};
use crate::separator::{Geometry, Separator};

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
    /// The caller's flag was raised.
    #[error("the merge was stopped")]
    Stopped,
}

/// One finished stem.
#[derive(Debug, Clone)]
pub struct MadeStem {
    /// Its name.
    pub name: String,
    /// For listening: 320 kbit/s.
    pub mp3: PathBuf,
    /// For working on: 16 bit.
    pub wav: PathBuf,
}

struct StemWriter {
    made: MadeStem,
    mp3: Mp3Writer,
    wav: WavWriter,
}

/// Merges the parts of a song of `frames` frames into `folder`. `stop` ends it between blocks.
pub fn merge(
    separator: &dyn Separator,
    frames: u64,
    parts: &[PathBuf],
    folder: &Path,
    stop: &AtomicBool,
) -> Result<Vec<MadeStem>, MergeError> {
    let mut stems = Vec::new();
    for source in separator.sources() {
        let made = MadeStem {
            name: source.clone(),
            mp3: folder.join(format!("{source}.mp3")),
            wav: folder.join(format!("{source}.wav")),
        };
        let (mp3, wav) = (Mp3Writer::create(&made.mp3)?, WavWriter::create(&made.wav)?);
        stems.push(StemWriter { made, mp3, wav });
    }
    sum_parts(separator.geometry(), stems.len(), frames, parts, &mut |block| {
        if stop.load(Ordering::Relaxed) {
            return Err(MergeError::Stopped);
        }
        let width = 2 * stems.len();
        stems.par_iter_mut().enumerate().try_for_each(|(source, stem)| {
            let samples = |channel| block.iter().skip(2 * source + channel).step_by(width).copied().collect();
            let stereo = [samples(0), samples(1)];
            stem.wav.write(&stereo)?;
            stem.mp3.write(&stereo)?;
            Ok::<_, MergeError>(())
        })
    })?;
    stems
        .into_par_iter()
        .map(|stem| {
            stem.wav.finish()?;
            stem.mp3.finish()?;
            Ok(stem.made)
        })
        .collect()
}

/// Adds the parts up, divides by the weights, and gives the song to `sink` in blocks of interleaved frames, each with
/// left and right of every source. Parts of several delays are as many separations of the song; their mean is given.
pub(crate) fn sum_parts(
    geometry: Geometry,
    sources: usize,
    frames: u64,
    parts: &[PathBuf],
    sink: &mut dyn FnMut(&[f32]) -> Result<(), MergeError>,
) -> Result<(), MergeError> {
    let width = 2 * sources;
    let mut passes: BTreeMap<u64, Vec<PartReader>> = BTreeMap::new();
    for part in parts {
        let reader = PartReader::open(part, width)?;
        passes.entry(reader.delay()).or_default().push(reader);
    }
    if passes.is_empty() {
        return Err(MergeError::Gap(0));
    }
    for (delay, readers) in &mut passes {
        readers.sort_by_key(PartReader::begin);
        let mut covered = 0;
        for reader in &*readers {
            if reader.begin() > covered {
                return Err(MergeError::Gap(covered));
            }
            covered = covered.max(reader.end());
        }
        if covered != frames + delay {
            return Err(MergeError::Gap(covered.min(frames)));
        }
    }
    let share = 1.0 / passes.len() as f32;
    let mut streams: Vec<_> =
        passes.into_iter().map(|(delay, readers)| Pass { geometry, delay, width, readers, at: 0 }).collect();
    for stream in &mut streams {
        stream.skip_silence()?;
    }
    for at in (0..frames).step_by(BLOCK as usize) {
        let length = BLOCK.min(frames - at) as usize;
        let mut streams = streams.iter_mut();
        let Some(first) = streams.next() else { break };
        let mut block = first.next(length)?;
        for stream in streams {
            block.iter_mut().zip(stream.next(length)?).for_each(|(sum, sample)| *sum += sample);
        }
        if share < 1.0 {
            block.iter_mut().for_each(|sum| *sum *= share);
        }
        sink(&block)?;
    }
    Ok(())
}

/// One separation of the song, read from its beginning to its end.
struct Pass {
    geometry: Geometry,
    delay: u64,
    width: usize,
    readers: Vec<PartReader>,
    /// The next frame, counted with the delay.
    at: u64,
}

impl Pass {
    fn skip_silence(&mut self) -> Result<(), MergeError> {
        while self.at < self.delay {
            self.next((self.delay - self.at).min(BLOCK) as usize)?;
        }
        Ok(())
    }

    fn next(&mut self, length: usize) -> Result<Vec<f32>, MergeError> {
        let mut block = vec![0.0; length * self.width];
        for reader in &mut self.readers {
            reader.add_to(&mut block, self.at)?;
        }
        for (frame, samples) in block.chunks_exact_mut(self.width).enumerate() {
            let weights = weights_at(self.geometry, self.at + frame as u64);
            samples.iter_mut().for_each(|sample| *sample /= weights);
        }
        self.at += length as u64;
        Ok(block)
    }
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
    use crate::decode::Pcm;
    use crate::part::{Cut, separate_part};
    use crate::pcm::PcmWriter;
    use crate::quality::si_sdr;
    use crate::synth::{STEMS, compose};
    use crate::{DEFAULT_MODEL, Stereo, built_in};

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
        separated_with(separator, pcm, folder, size, &[0])
    }

    /// The same as the mean of several separations.
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

    #[test]
    fn a_shifted_separation_is_of_the_same_song() {
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

    #[test]
    fn silence_stays_silent() {
        let separator = built_in(DEFAULT_MODEL).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let pcm = pcm(folder.path(), &[vec![0.0; 100_000], vec![0.0; 100_000]]);
        assert!(separated(separator.as_ref(), &pcm, folder.path(), 1).iter().all(|sample| *sample == 0.0));
    }

    #[test]
    fn every_stem_is_nearer_to_the_truth_than_the_song_is() {
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
    fn missing_wrong_and_foreign_parts_are_refused() {
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
        let separator = built_in(DEFAULT_MODEL).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let pcm = pcm(folder.path(), &[vec![0.1; 1000], vec![0.1; 1000]]);
        let raised = AtomicBool::new(true);
        let part = folder.path().join("part");
        let result =
            separate_part(separator.as_ref(), &pcm, Cut::whole(separator.geometry(), 0, 1000), &part, &raised, &|_| {});
        assert!(matches!(result, Err(PartError::Stopped)));
    }
}

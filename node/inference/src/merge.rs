//! From parts to stems: overlap-add, then encoding, as a stream.
//!
//! Where stems are rescaled, the parts are added up twice: once for the stems' peaks, once for the files.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use rayon::prelude::*;

use crate::part::{PartError, PartReader};
use crate::separator::Geometry;
use audio::Stereo;
use audio::analysis::{Peaks, PeaksBuilder};
use audio::clip::ClipMode;
use audio::encode::{EncodeError, Encoder, Format};
use audio::pcm::Pcm;
use audio::tags::Tags;

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

/// A separated song that is still in parts.
#[derive(Debug, Clone)]
pub struct Parts {
    /// The parts' files, in any order. Those of several delays are as many separations, of which the mean is taken.
    pub files: Vec<PathBuf>,
    /// How the song was cut.
    pub geometry: Geometry,
    /// How many sources the model makes.
    pub sources: usize,
    /// The song's length in frames.
    pub frames: u64,
}

/// A stem as a weighted sum of what the model makes.
#[derive(Debug, Clone, PartialEq)]
pub struct Wanted {
    /// Its name.
    pub name: String,
    /// How much of each source is in it.
    pub gains: Vec<f32>,
    /// How much of the song itself is in it.
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

    /// The sum of all other sources, as `no_` and the name of this one.
    pub fn rest(&self) -> Self {
        let gains = self.gains.iter().map(|gain| 1.0 - gain).collect();
        Self { name: format!("no_{}", self.name), gains, song: 0.0 }
    }
}

/// What the stems become.
#[derive(Debug, Clone, Default)]
pub struct Export {
    /// The stems.
    pub stems: Vec<Wanted>,
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
    /// Its waveform, to draw.
    pub peaks: Peaks,
}

impl MadeStem {
    /// Its file of a format that the export asked for.
    pub fn file(&self, format: Format) -> Result<&Path, MergeError> {
        self.files.get(&format).map(PathBuf::as_path).ok_or(MergeError::NotAsked(format))
    }
}

struct StemWriter {
    files: BTreeMap<Format, PathBuf>,
    wanted: Wanted,
    peaks: PeaksBuilder,
    encoders: Vec<Encoder>,
    peak: f32,
}

impl StemWriter {
    fn create(wanted: &Wanted, folder: &Path, export: &Export) -> Result<Self, EncodeError> {
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

    /// The stem's share of a block of all sources; `song` is the song there.
    fn samples(&self, block: &[f32], song: &Stereo) -> Stereo {
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
}

/// A pass over all parts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pass {
    /// Finds the peaks of the stems; only where they are rescaled.
    Peaks,
    /// Writes the files.
    Files,
}

/// Merges parts into stems in `folder`. `song` is the decoded song, for stems that have a share of it. `stop` ends it
/// between blocks; `progress` is called after each with the number of frames that the pass has done.
pub fn merge(
    parts: &Parts,
    song: Option<&Pcm>,
    folder: &Path,
    export: &Export,
    stop: &AtomicBool,
    progress: &dyn Fn(Pass, u64),
) -> Result<Vec<MadeStem>, MergeError> {
    let mut stems: Vec<StemWriter> =
        export.stems.iter().map(|wanted| StemWriter::create(wanted, folder, export)).collect::<Result<_, _>>()?;
    let song = song.filter(|_| export.stems.iter().any(|wanted| wanted.song != 0.0));
    let length = |block: &[f32]| block.len() / (2 * parts.sources);
    let song_at = |at: u64, block: &[f32]| {
        if stop.load(Ordering::Relaxed) {
            return Err(MergeError::Stopped);
        }
        let length = length(block);
        Ok(song.map(|song| song.read(at as i64, length)).transpose()?.unwrap_or_default())
    };
    if export.clip == ClipMode::Rescale {
        sum_parts(parts, &mut |at, block| {
            let song = song_at(at, block)?;
            stems.par_iter_mut().for_each(|stem| {
                let samples = stem.samples(block, &song);
                stem.peak = samples.iter().flatten().fold(stem.peak, |peak, sample| peak.max(sample.abs()));
            });
            progress(Pass::Peaks, at + length(block) as u64);
            Ok(())
        })?;
    }
    sum_parts(parts, &mut |at, block| {
        let song = song_at(at, block)?;
        stems.par_iter_mut().try_for_each(|stem| {
            let mut samples = stem.samples(block, &song);
            export.clip.apply(&mut samples, stem.peak);
            stem.peaks.feed(&samples);
            stem.encoders.iter_mut().try_for_each(|encoder| encoder.write(&samples))
        })?;
        progress(Pass::Files, at + length(block) as u64);
        Ok(())
    })?;
    stems
        .into_par_iter()
        .map(|stem| {
            stem.encoders.into_iter().try_for_each(Encoder::finish)?;
            Ok(MadeStem { name: stem.wanted.name, files: stem.files, peaks: stem.peaks.finish() })
        })
        .collect()
}

/// Takes blocks of a song: the number of the first frame, and the frames.
type Sink<'a> = dyn FnMut(u64, &[f32]) -> Result<(), MergeError> + 'a;

/// Adds the parts up, divides by the weights, and gives the song to `sink` in blocks of interleaved frames, each with
/// left and right of every source, with the number of the first one.
pub(crate) fn sum_parts(parts: &Parts, sink: &mut Sink<'_>) -> Result<(), MergeError> {
    let Parts { ref files, geometry, sources, frames } = *parts;
    let width = 2 * sources;
    let mut passes: BTreeMap<u64, Vec<PartReader>> = BTreeMap::new();
    for part in files {
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
        passes.into_iter().map(|(delay, readers)| Separation { geometry, delay, width, readers, at: 0 }).collect();
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
        sink(at, &block)?;
    }
    Ok(())
}

/// One separation of the song, read from its beginning to its end.
struct Separation {
    geometry: Geometry,
    delay: u64,
    width: usize,
    readers: Vec<PartReader>,
    /// The next frame, counted with the delay.
    at: u64,
}

impl Separation {
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
    use std::ops::Range;
    use std::sync::Mutex;

    use crate::part::{Cut, separate_part};
    use crate::separator::{SeparateError, Separator};
    use crate::{DEFAULT_MODEL, built_in};
    use audio::Stereo;
    use audio::encode::WavEncoding;
    use audio::pcm::PcmWriter;
    use audio::pcm::SongStats;
    use audio::quality::si_sdr;
    use audio::sandbox::Sandbox;
    use audio::synth::{STEMS, compose};

    use super::*;

    fn pcm(folder: &Path, samples: &Stereo) -> Pcm {
        let mut writer = PcmWriter::new(audio::pcm::create(&folder.join("samples")).unwrap());
        let interleaved: Vec<f32> =
            samples[0].iter().zip(&samples[1]).flat_map(|(left, right)| [*left, *right]).collect();
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
        sum_parts(&parts_of(separator, pcm.frames(), parts), &mut |at, block| {
            assert_eq!(at, (all.len() / (2 * separator.sources().len())) as u64);
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

    /// Merges a song that is four times as loud as it can be, and gives each stem's float file and its title.
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
    fn a_stem_can_be_the_song_without_another() {
        let separator = built_in(DEFAULT_MODEL).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let song = compose(24, 3.0).mixture();
        let pcm = pcm(folder.path(), &song);
        let (part, go_on) = (folder.path().join("part"), AtomicBool::new(false));
        let cut = Cut::whole(separator.geometry(), 0, pcm.frames());
        separate_part(separator.as_ref(), &pcm, cut, &part, &go_on, &|_| {}).unwrap();
        let float = Format::Wav { encoding: WavEncoding::Float32 };
        let wanted = |name: &str, gains: [f32; 4], song| Wanted { name: name.into(), gains: gains.into(), song };
        // The stems add up to the song, so both are the same here.
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

    /// Gives back what it hears, and remembers how long that was and where the song lay in it.
    struct Echo {
        sources: Vec<String>,
        any_length: bool,
        heard: Mutex<Vec<(usize, Range<usize>)>>,
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

        fn separate(
            &self,
            segment: &Stereo,
            inside: Range<usize>,
            _: &SongStats,
        ) -> Result<Vec<Stereo>, SeparateError> {
            self.heard.lock().unwrap().push((segment[0].len(), inside));
            Ok(vec![segment.clone()])
        }
    }

    #[test]
    fn a_last_segment_is_as_short_as_the_model_takes_it() {
        let folder = tempfile::tempdir().unwrap();
        let song: Stereo = [-1.0, 1.0].map(|side| (0..240u8).map(|at| side * f32::from(at)).collect());
        let pcm = pcm(folder.path(), &song);
        let whole = [(100, 10..100), (100, 0..100), (100, 0..100)];
        for (any_length, last) in [(true, (25, 0..25)), (false, (100, 0..62))] {
            let echo = Echo { sources: vec!["all".into()], any_length, heard: Mutex::default() };
            let found = separated_with(&echo, &pcm, folder.path(), 1, &[10]);
            assert_eq!(*echo.heard.lock().unwrap(), [whole.as_slice(), &[last]].concat());
            for (at, [left, right]) in found.as_chunks::<2>().0.iter().enumerate() {
                let apart = (left - song[0][at]).abs().max((right - song[1][at]).abs());
                assert!(apart < 1e-4, "{at}: {left} {right}");
            }
        }
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
        let sum =
            |parts: &[PathBuf]| sum_parts(&parts_of(separator.as_ref(), frames, parts.to_vec()), &mut |_, _| Ok(()));
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

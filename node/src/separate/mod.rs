//! `node separate`: separates songs on this machine, without a cluster.
//!
//! The path of every stem is decided before the first song is separated ([`output_paths`]). Existing files are replaced
//! only with `--overwrite` ([`mod@move_files`]). If a song cannot be separated, the command reports it, continues with the
//! other songs, and fails at the end.

mod move_files;
mod options;
mod output_paths;
mod path_pattern;
mod progress;

use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;
use std::time::Instant;

use anyhow::{Context, Error, Result, ensure};
use audio::RATE;
use audio::analysis::{Analysis, analyse};
use audio::clip::ClipMode;
use audio::decode::DecodeError;
use audio::pcm::Pcm;
use audio::sandbox::Sandbox;
use audio::tags::Tags;
use inference::merge::{Export, Parts, Pass, Wanted, merge};
use inference::part::{Cut, separate_part};
use inference::{DEFAULT_MODEL, Geometry, Separator};

use crate::error_text::error_text;
use crate::models;
use move_files::move_files;
use options::OtherMethod;
pub(crate) use options::SeparateOptions;
use output_paths::{Layout, OutputPaths};
use progress::{Progress, Stage, WorkEstimate};

/// The longest shift in samples: half a second, as in Demucs.
const MAX_SHIFT: f64 = RATE as f64 / 2.0;

/// Separates the songs of the options.
pub(crate) fn run(options: &SeparateOptions, sandbox: &Sandbox) -> Result<()> {
    let format = options.format().check()?;
    // 0 means one thread per processor.
    rayon::ThreadPoolBuilder::new().num_threads(options.jobs).build_global()?;
    let library = models::own_library()?;
    let name = options.name.clone().map_or_else(|| models::default_model(&library), Ok)?;
    let separator = library.separator(&name)?;
    if let Some(stem) = &options.two_stems {
        let sources = separator.sources();
        ensure!(sources.contains(stem), "the model {name} has no stem {stem:?}, only {}", sources.join(", "));
    }

    let mut songs: Vec<PathBuf> = Vec::new();
    for song in &options.songs {
        if songs.contains(song) {
            eprintln!("{}: given twice, will be separated once", song.display());
        } else {
            songs.push(song.clone());
        }
    }
    let stems: Vec<String> = selected_stems(separator.sources(), options).into_iter().map(|stem| stem.name).collect();
    let layout = Layout {
        folder: &options.out.join(separator.name()),
        pattern: &options.filename,
        stems: &stems,
        extension: format.extension(),
        overwrite: options.overwrite,
    };
    let (mut ready, mut failed) = (Vec::new(), 0);
    let mut fail = |song: &Path, error: Error| {
        let error = error.context(song.display().to_string());
        failed += 1;
        // The error of a single song is the error of the command.
        if songs.len() == 1 {
            return Err(error);
        }
        eprintln!("{}", error_text(&error));
        Ok(())
    };
    for (song, paths) in songs.iter().zip(layout.plan(&songs)) {
        match paths {
            Err(error) => fail(song, error.into())?,
            Ok(paths) => {
                if let Some((other, name)) = &paths.renamed {
                    eprintln!(
                        "{}: using the name \"{name}\" for its stems, because {} has the same name",
                        song.display(),
                        other.display()
                    );
                }
                ready.push((song, paths));
            }
        }
    }
    for (song, paths) in &ready {
        if let Err(error) = separate(sandbox, song, paths, layout.folder, separator.as_ref(), options) {
            fail(song, error)?;
        }
    }
    ensure!(failed == 0, "{failed} of {} songs could not be separated", songs.len());
    Ok(())
}

fn separate(
    sandbox: &Sandbox,
    song: &Path,
    paths: &OutputPaths,
    folder: &Path,
    separator: &dyn Separator,
    options: &SeparateOptions,
) -> Result<()> {
    let began = Instant::now();
    std::fs::create_dir_all(folder).with_context(|| format!("cannot create the folder {}", folder.display()))?;
    let scratch = tempfile::Builder::new()
        .prefix(".separating-")
        .tempdir_in(folder)
        .with_context(|| format!("cannot write to the folder {}", folder.display()))?;
    let analysis = separate_to(sandbox, scratch.path(), song, paths, separator, options)?;
    let parent = paths.files.first().and_then(|file| file.parent()).unwrap_or(folder);
    eprintln!(
        "{}: {} in {:.1} s, in {}",
        song.display(),
        summary(&analysis),
        began.elapsed().as_secs_f64(),
        parent.display()
    );
    Ok(())
}

fn separate_to(
    sandbox: &Sandbox,
    scratch: &Path,
    song: &Path,
    paths: &OutputPaths,
    separator: &dyn Separator,
    options: &SeparateOptions,
) -> Result<Analysis> {
    let (stems, format) = (selected_stems(separator.sources(), options), options.format());
    let work = WorkEstimate {
        network: separator.name() != DEFAULT_MODEL,
        separated: 1.0,
        stems: stems.len(),
        format,
        levelled: options.clip_mode == ClipMode::Rescale,
    };
    let name = song.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let mut progress = Progress::begin(name, work)?;
    let (pcm, tags) = read(sandbox, song, &scratch.join("song.f32"))?;

    let geometry = match options.overlap {
        Some(overlap) => Geometry::overlapping(separator.geometry().segment, overlap),
        None => separator.geometry(),
    };
    let cuts: Vec<Cut> = delays(options.shifts).map(|delay| Cut::whole(geometry, delay, pcm.frames())).collect();
    let segments: u32 = cuts.iter().map(|cut| cut.count).sum();
    progress.set_separated(f64::from(segments) * geometry.segment as f64 / pcm.frames().max(1) as f64);
    let never = AtomicBool::new(false);
    let (mut files, mut before) = (Vec::new(), 0);
    for (pass, cut) in cuts.iter().enumerate() {
        let part = scratch.join(format!("part-{pass}"));
        let report = |done: u32| progress.reach(Stage::Separating, f64::from(before + done) / f64::from(segments));
        separate_part(separator, &pcm, *cut, &part, &never, &report)?;
        before += cut.count;
        files.push(part);
    }

    let export = Export { stems, formats: vec![format], tags, clip: options.clip_mode };
    let parts = Parts { files, geometry, sources: separator.sources().len(), frames: pcm.frames() };
    let report = |pass: Pass, done: u64| progress.reach(pass.into(), done as f64 / parts.frames as f64);
    let made = merge(&parts, Some(&pcm), scratch, &export, &never, &report)?;
    progress.reach(Stage::Analysing, 0.0);
    let analysis = analyse(&pcm)?.0;
    let mut moves = Vec::new();
    for (stem, path) in made.iter().zip(&paths.files) {
        moves.push((stem.file(format)?.to_owned(), path.clone()));
    }
    move_files(&moves, options.overwrite)?;
    Ok(analysis)
}

/// Decodes a song to `samples`, and reads its tags.
fn read(sandbox: &Sandbox, song: &Path, samples: &Path) -> Result<(Pcm, Tags), DecodeError> {
    let pcm = sandbox.decode_to(song, samples)?;
    let (tags, _) = sandbox.tags_of(song)?;
    Ok((pcm, tags))
}

/// Length, tempo, key and loudness in a few words.
fn summary(analysis: &Analysis) -> String {
    let mut words = vec![format!("{:.1} s", analysis.seconds)];
    words.extend(analysis.tempo.as_ref().map(|tempo| format!("{:.1} BPM", tempo.bpm)));
    words.extend(analysis.key.as_ref().map(|estimate| estimate.key.to_string()));
    words.extend(analysis.loudness.map(|loudness| format!("{loudness:.1} LUFS")));
    words.join(", ")
}

/// The shift of each separation of a song in samples. A single separation is not shifted. Several are spread over the
/// longest shift by the golden ratio, which keeps any number of them apart.
fn delays(shifts: u32) -> impl Iterator<Item = u64> {
    const GOLDEN: f64 = 0.618_033_988_749_894_9;
    (0..shifts.max(1)).map(|pass| ((f64::from(pass) * GOLDEN).fract() * MAX_SHIFT) as u64)
}

/// The stems that the options select.
fn selected_stems(sources: &[String], options: &SeparateOptions) -> Vec<Wanted> {
    let mut stems = Wanted::each(sources);
    let Some(one) = &options.two_stems else { return stems };
    stems.retain(|stem| stem.name == *one);
    let rest = stems.first().and_then(|stem| match options.other_method {
        OtherMethod::None => None,
        OtherMethod::Add => Some(stem.rest()),
        OtherMethod::Minus => {
            Some(Wanted { gains: stem.gains.iter().map(|gain| -gain).collect(), song: 1.0, ..stem.rest() })
        }
    });
    stems.extend(rest);
    stems
}

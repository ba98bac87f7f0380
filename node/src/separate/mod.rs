//! `node separate`: separates songs here and now, without a cluster.
//!
//! Where every stem goes is decided before the first song is separated ([`places`]), and nothing that is there is
//! replaced unless the options say so ([`mod@publish`]). A song that cannot be separated is named, and the others go on.

mod pattern;
mod places;
mod progress;
mod publish;

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

use crate::command_line::{Other, Separate};
use crate::models;
use crate::sentence::sentence;
pub(crate) use pattern::Pattern;
use places::{Naming, Places};
use progress::{Progress, Stage, Work};
use publish::publish;

/// The longest shift, as Demucs has it: half a second.
const LONGEST_SHIFT: f64 = RATE as f64 / 2.0;

/// Separates the songs as the options say.
pub(crate) fn run(options: &Separate, sandbox: &Sandbox) -> Result<()> {
    let format = options.format().check()?;
    // 0 is as many as there are processors.
    rayon::ThreadPoolBuilder::new().num_threads(options.jobs).build_global()?;
    let library = models::own_library()?;
    let name = options.name.clone().map_or_else(|| models::usual(&library), Ok)?;
    let separator = library.separator(&name)?;
    if let Some(stem) = &options.two_stems {
        let sources = separator.sources();
        ensure!(sources.contains(stem), "{name} makes no stem {stem:?}, only {}", sources.join(", "));
    }

    let mut songs: Vec<PathBuf> = Vec::new();
    for song in &options.songs {
        if songs.contains(song) {
            eprintln!("{}: named twice, separated once", song.display());
        } else {
            songs.push(song.clone());
        }
    }
    let stems: Vec<String> = wanted(separator.sources(), options).into_iter().map(|stem| stem.name).collect();
    let naming = Naming {
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
        // What is wrong with the only song ends the program.
        if songs.len() == 1 {
            return Err(error);
        }
        eprintln!("{}", sentence(&error));
        Ok(())
    };
    for (song, places) in songs.iter().zip(naming.plan(&songs)) {
        match places {
            Err(error) => fail(song, error.into())?,
            Ok(places) => {
                if let Some((other, name)) = &places.renamed {
                    eprintln!(
                        "{}: its stems are named \"{name}\", for {} has its name",
                        song.display(),
                        other.display()
                    );
                }
                ready.push((song, places));
            }
        }
    }
    for (song, places) in &ready {
        if let Err(error) = separate(sandbox, song, places, naming.folder, separator.as_ref(), options) {
            fail(song, error)?;
        }
    }
    ensure!(failed == 0, "{failed} of {} songs could not be separated", songs.len());
    Ok(())
}

fn separate(
    sandbox: &Sandbox,
    song: &Path,
    places: &Places,
    folder: &Path,
    separator: &dyn Separator,
    options: &Separate,
) -> Result<()> {
    let began = Instant::now();
    std::fs::create_dir_all(folder).with_context(|| format!("{} cannot be made", folder.display()))?;
    let scratch = tempfile::Builder::new()
        .prefix(".separating-")
        .tempdir_in(folder)
        .with_context(|| format!("{} cannot be written to", folder.display()))?;
    let found = separate_within(sandbox, scratch.path(), song, places, separator, options)?;
    let within = places.files.first().and_then(|file| file.parent()).unwrap_or(folder);
    eprintln!(
        "{}: {} in {:.1} s, in {}",
        song.display(),
        described(&found),
        began.elapsed().as_secs_f64(),
        within.display()
    );
    Ok(())
}

fn separate_within(
    sandbox: &Sandbox,
    scratch: &Path,
    song: &Path,
    places: &Places,
    separator: &dyn Separator,
    options: &Separate,
) -> Result<Analysis> {
    let (stems, format) = (wanted(separator.sources(), options), options.format());
    let work = Work {
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
        let hear = |done: u32| progress.reach(Stage::Separating, f64::from(before + done) / f64::from(segments));
        separate_part(separator, &pcm, *cut, &part, &never, &hear)?;
        before += cut.count;
        files.push(part);
    }

    let export = Export { stems, formats: vec![format], tags, clip: options.clip_mode };
    let parts = Parts { files, geometry, sources: separator.sources().len(), frames: pcm.frames() };
    let hear = |pass: Pass, done: u64| progress.reach(pass.into(), done as f64 / parts.frames as f64);
    let made = merge(&parts, Some(&pcm), scratch, &export, &never, &hear)?;
    progress.reach(Stage::Analysing, 0.0);
    let found = analyse(&pcm)?.0;
    let mut moves = Vec::new();
    for (stem, place) in made.iter().zip(&places.files) {
        moves.push((stem.file(format)?.to_owned(), place.clone()));
    }
    publish(&moves, options.overwrite)?;
    Ok(found)
}

/// Decodes a song to `samples`, and reads its tags.
fn read(sandbox: &Sandbox, song: &Path, samples: &Path) -> Result<(Pcm, Tags), DecodeError> {
    let pcm = sandbox.decode_to(song, samples)?;
    let (tags, _) = sandbox.tags_of(song)?;
    Ok((pcm, tags))
}

/// What a musician wants to know, in a few words.
fn described(found: &Analysis) -> String {
    let mut words = vec![format!("{:.1} s", found.seconds)];
    words.extend(found.tempo.as_ref().map(|tempo| format!("{:.1} BPM", tempo.bpm)));
    words.extend(found.key.as_ref().map(|estimate| estimate.key.to_string()));
    words.extend(found.loudness.map(|loudness| format!("{loudness:.1} LUFS")));
    words.join(", ")
}

/// How far each separation of a song is shifted: not at all for one, and otherwise spread over the longest shift by the
/// golden ratio, which leaves no two close together however many there are.
fn delays(shifts: u32) -> impl Iterator<Item = u64> {
    const GOLDEN: f64 = 0.618_033_988_749_894_9;
    (0..shifts.max(1)).map(|pass| ((f64::from(pass) * GOLDEN).fract() * LONGEST_SHIFT) as u64)
}

/// The stems that the options ask for.
fn wanted(sources: &[String], options: &Separate) -> Vec<Wanted> {
    let mut stems = Wanted::each(sources);
    let Some(one) = &options.two_stems else { return stems };
    stems.retain(|stem| stem.name == *one);
    let rest = stems.first().and_then(|stem| match options.other_method {
        Other::None => None,
        Other::Add => Some(stem.rest()),
        Other::Minus => Some(Wanted { gains: stem.gains.iter().map(|gain| -gain).collect(), song: 1.0, ..stem.rest() }),
    });
    stems.extend(rest);
    stems
}

//! What `node` does without a cluster: separate songs here and now, and compose songs to try things with.

use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;
use std::time::Instant;

use anyhow::{Context, Result, bail, ensure};
use audio::RATE;
use audio::analysis::{Analysis, analyse};
use audio::sandbox::Sandbox;
use indicatif::{ProgressBar, ProgressStyle};
use inference::merge::{Export, MadeStem, Parts, Wanted, merge};
use inference::part::{Cut, separate_part};
use inference::{Geometry, Separator};

use crate::command_line::{Other, Separate};

/// The longest shift, as Demucs has it: half a second.
const LONGEST_SHIFT: f64 = RATE as f64 / 2.0;

/// Separates one song as the options say.
pub(crate) fn separate(sandbox: &Sandbox, song: &Path, separator: &dyn Separator, options: &Separate) -> Result<()> {
    let began = Instant::now();
    if let Some(stem) = &options.two_stems
        && !separator.sources().contains(stem)
    {
        bail!("{} makes no stem {stem:?}, only {}", separator.name(), separator.sources().join(", "));
    }
    let folder = options.out.join(separator.name());
    std::fs::create_dir_all(&folder).with_context(|| format!("{} cannot be made", folder.display()))?;
    let scratch = tempfile::Builder::new()
        .prefix(".separating-")
        .tempdir_in(&folder)
        .with_context(|| format!("{} cannot be written to", folder.display()))?;
    let found = separate_within(sandbox, song, &folder, scratch.path(), separator, options)?;
    eprintln!(
        "{}: {} in {:.1} s, in {}",
        song.display(),
        described(&found),
        began.elapsed().as_secs_f64(),
        folder.display()
    );
    Ok(())
}

fn separate_within(
    sandbox: &Sandbox,
    song: &Path,
    folder: &Path,
    scratch: &Path,
    separator: &dyn Separator,
    options: &Separate,
) -> Result<Analysis> {
    let pcm = sandbox.decode_to(song, &scratch.join("song.f32"))?;
    let geometry = match options.overlap {
        Some(overlap) => Geometry::overlapping(separator.geometry().segment, overlap),
        None => separator.geometry(),
    };
    let cuts: Vec<Cut> = delays(options.shifts).map(|delay| Cut::whole(geometry, delay, pcm.frames())).collect();
    let bar = ProgressBar::new(cuts.iter().map(|cut| u64::from(cut.count)).sum());
    bar.set_style(ProgressStyle::with_template("{msg} {wide_bar} {percent} %, {eta} left")?);
    bar.set_message(song.file_name().unwrap_or_default().to_string_lossy().into_owned());
    bar.tick();
    let never = AtomicBool::new(false);
    let mut files = Vec::new();
    for (pass, cut) in cuts.iter().enumerate() {
        let part = scratch.join(format!("part-{pass}"));
        separate_part(separator, &pcm, *cut, &part, &never, &|_| bar.inc(1))?;
        files.push(part);
    }
    bar.finish_and_clear();
    let (tags, _) = sandbox.tags_of(song)?;
    let formats = options.formats();
    let export = Export { stems: wanted(separator.sources(), options), formats, tags, clip: options.clip_mode };
    let parts = Parts { files, geometry, sources: separator.sources().len(), frames: pcm.frames() };
    for MadeStem { name, files, .. } in merge(&parts, Some(&pcm), scratch, &export, &never)? {
        for (format, made) in files {
            let place = place(folder, &options.filename, song, &name, format.extension());
            if let Some(parent) = place.parent() {
                std::fs::create_dir_all(parent).with_context(|| format!("{} cannot be made", parent.display()))?;
            }
            std::fs::rename(&made, &place).with_context(|| format!("{} cannot be written", place.display()))?;
        }
    }
    Ok(analyse(&pcm)?.0)
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

/// Where a stem's file goes.
fn place(folder: &Path, pattern: &str, song: &Path, stem: &str, extension: &str) -> PathBuf {
    let text = |part: Option<&std::ffi::OsStr>| part.unwrap_or_default().to_string_lossy().into_owned();
    let name = pattern
        .replace("{trackext}", &text(song.extension()))
        .replace("{track}", &text(song.file_stem()))
        .replace("{stem}", stem)
        .replace("{ext}", extension);
    folder.join(name)
}

/// Composes a song into `out`: song.wav and its true stems.
pub(crate) fn synthesize(out: &Path, seconds: f64, seed: u64) -> Result<()> {
    ensure!(seconds > 0.0 && seconds <= 36_000.0, "--seconds must be above 0 and at most 36000");
    std::fs::create_dir_all(out).with_context(|| format!("{} cannot be made", out.display()))?;
    audio::synth::compose(seed, seconds).write(out)?;
    Ok(())
}

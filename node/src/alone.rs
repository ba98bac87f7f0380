//! What `node` does without a cluster: separate songs here and now, and compose songs to try things with.

use std::io::IsTerminal;
use std::path::Path;
use std::sync::atomic::AtomicBool;
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use inference::decode::decode_to;
use inference::encode::Format;
use inference::merge::{Export, merge};
use inference::part::separate_part;
use inference::tags::tags_of;
use inference::{RATE, Separator};

/// Separates one song into `out`/model/song/stem.mp3 and .wav, and prints the seconds it took.
pub(crate) fn separate(song: &Path, out: &Path, model: &str) -> Result<()> {
    let began = Instant::now();
    let separator = inference::separator(model)?;
    let name = song.file_stem().with_context(|| format!("{} is no file", song.display()))?;
    let folder = out.join(model).join(name);
    let scratch = folder.join(".scratch");
    std::fs::create_dir_all(&scratch).with_context(|| format!("{} cannot be made", scratch.display()))?;
    let made = separate_within(song, &folder, &scratch, separator.as_ref());
    std::fs::remove_dir_all(&scratch)?;
    let seconds = made?;
    if std::io::stderr().is_terminal() {
        eprint!("\r");
    }
    eprintln!(
        "{}: {:.1} s of music in {:.1} s, in {}",
        song.display(),
        seconds,
        began.elapsed().as_secs_f64(),
        folder.display()
    );
    Ok(())
}

fn separate_within(song: &Path, folder: &Path, scratch: &Path, separator: &dyn Separator) -> Result<f64> {
    let extension = song.extension().and_then(|extension| extension.to_str());
    let pcm = decode_to(song, extension, &scratch.join("song.f32")).with_context(|| song.display().to_string())?;
    let segments = separator.geometry().segments(pcm.frames());
    let never = AtomicBool::new(false);
    let part = scratch.join("part");
    separate_part(separator, &pcm, 0, segments, &part, &never, &|done| {
        if !std::io::stderr().is_terminal() {
            return;
        }
        eprint!("\r{}: {:3} %", song.display(), 100 * u64::from(done) / u64::from(segments.max(1)));
    })?;
    let (tags, _) = tags_of(song, extension)?;
    let export = Export { formats: vec![Format::LISTENING, Format::WORKING], tags, ..Export::default() };
    for stem in merge(separator, pcm.frames(), &[part], scratch, &export, &never)? {
        for (format, file) in &stem.files {
            std::fs::rename(file, folder.join(format!("{}.{}", stem.name, format.extension())))?;
        }
    }
    Ok(pcm.frames() as f64 / f64::from(RATE))
}

/// Composes a song into `out`: song.wav and its true stems.
pub(crate) fn synthesize(out: &Path, seconds: f64, seed: u64) -> Result<()> {
    ensure!(seconds > 0.0 && seconds <= 36_000.0, "--seconds must be above 0 and at most 36000");
    std::fs::create_dir_all(out).with_context(|| format!("{} cannot be made", out.display()))?;
    inference::synth::compose(seed, seconds).write(out)?;
    Ok(())
}

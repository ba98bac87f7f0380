//! `node synthesize`: writes a generated song together with its true stems, for tests and experiments.

use std::path::Path;

use anyhow::{Context, Result, ensure};

/// Writes a song of `seconds` and its true stems to the folder `out`: song.wav and one file per stem.
pub(crate) fn synthesize(out: &Path, seconds: f64, seed: u64) -> Result<()> {
    ensure!(seconds > 0.0 && seconds <= 36_000.0, "--seconds must be above 0 and at most 36000");
    std::fs::create_dir_all(out).with_context(|| format!("cannot create the folder {}", out.display()))?;
    audio::synth::compose(seed, seconds).write(out)?;
    Ok(())
}

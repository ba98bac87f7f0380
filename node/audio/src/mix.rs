//! A weighted sum of stems as one MP3.

use std::path::{Path, PathBuf};

use crate::encode::{EncodeError, Encoder, Format};
use crate::pcm::Pcm;
use crate::sandbox::Sandbox;
use crate::tags::Tags;

/// The number of frames that are mixed at a time.
const BLOCK: usize = 1 << 15;

/// Mixes the stems with their weights into `out`. The sum is clamped at full scale. Working files are beside `out`
/// until it returns.
pub fn mix_mp3(sandbox: &Sandbox, stems: &[(PathBuf, f32)], out: &Path) -> Result<(), EncodeError> {
    let mut decoded = Vec::new();
    for (at, (stem, weight)) in stems.iter().enumerate() {
        let samples = Working(out.with_extension(format!("samples-{at}")));
        decoded.push((sandbox.decode_to(stem, &samples.0)?, *weight, samples));
    }
    let frames = decoded.iter().map(|(pcm, ..): &(Pcm, _, _)| pcm.frames()).max().unwrap_or(0);
    let mut writer = Encoder::create(out, Format::LISTENING, &Tags::default())?;
    for at in (0..frames).step_by(BLOCK) {
        let length = (frames - at).min(BLOCK as u64) as usize;
        let mut sum = [vec![0.0f32; length], vec![0.0f32; length]];
        for (pcm, weight, _) in &decoded {
            for (sum, samples) in sum.iter_mut().zip(pcm.read(at as i64, length)?) {
                sum.iter_mut().zip(samples).for_each(|(sum, sample)| *sum += weight * sample);
            }
        }
        sum.iter_mut().flatten().for_each(|sample| *sample = sample.clamp(-1.0, 1.0));
        writer.write(&sum)?;
    }
    writer.finish()
}

/// A file that is removed with this value.
struct Working(PathBuf);

impl Drop for Working {
    fn drop(&mut self) {
        // The creator of the folder removes it and all its files too.
        let _ = std::fs::remove_file(&self.0);
    }
}

//! Separates one segment with a checkpoint, for comparison with the reference: `scripts/bench` runs it.
//!
//! `parity CHECKPOINT IN OUT [TIMES]`: IN holds the segment's left and then right samples as 32-bit little-endian
//! floats. OUT gets every stem's left and right samples. The program prints the seconds of each run.

#![allow(clippy::print_stdout)]

use std::error::Error;
use std::path::PathBuf;
use std::time::Instant;

use audio::pcm::SongStats;
use inference::models::{ModelSpec, load};

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().collect();
    let [_, checkpoint, input, output, times @ ..] = &arguments[..] else {
        return Err("usage: parity CHECKPOINT IN OUT [TIMES]".into());
    };
    let times: u32 = times.first().map_or(Ok(1), |times| times.parse())?;
    let checkpoints = [PathBuf::from(checkpoint)];
    let spec =
        ModelSpec { name: "parity", architecture: None, checkpoints: &checkpoints, weights: None, segment: None };
    let model = load(&spec)?;
    let bytes = std::fs::read(input)?;
    let samples: Vec<f32> = bytes.as_chunks::<4>().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect();
    let (left, right) = samples.split_at(samples.len() / 2);
    if left.len() != model.geometry().segment && !model.any_length() {
        return Err(
            format!("the segment has {} frames and should have {}", left.len(), model.geometry().segment).into()
        );
    }
    let mixture = [left.to_vec(), right.to_vec()];
    // The segment is already normalised.
    let song = SongStats { mean: 0.0, std: 1.0 };
    let mut stems = Vec::new();
    for _ in 0..times {
        let began = Instant::now();
        stems = model.separate(&mixture, 0..left.len(), &song)?;
        println!("{:.3}", began.elapsed().as_secs_f64());
    }
    let bytes: Vec<u8> = stems.iter().flatten().flatten().flat_map(|sample| sample.to_le_bytes()).collect();
    std::fs::write(output, bytes)?;
    Ok(())
}

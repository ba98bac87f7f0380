//! Prints the separation quality of a model on composed songs: the SI-SDR of each stem in dB beside that of the mixture
//! itself, which is the result of a separator that does nothing.
//!
//! `cargo run -p inference --example quality [MODEL [FOLDER]]`; FOLDER is a folder of `node model`.

#![allow(clippy::print_stdout)]

use std::error::Error;
use std::time::Instant;

use audio::RATE;
use audio::pcm::SongStats;
use audio::quality::si_sdr;
use audio::synth::{STEMS, compose};
use inference::DEFAULT_MODEL;
use inference::models::Library;

const SONGS: u64 = 8;
const SECONDS: f64 = 24.0;

fn main() -> Result<(), Box<dyn Error>> {
    let model = std::env::args().nth(1).unwrap_or_else(|| DEFAULT_MODEL.into());
    let library = Library::at(std::env::args().nth(2).unwrap_or_else(|| "models".into()));
    let separator = library.separator(&model)?;
    let mut rows = vec![Vec::new(); STEMS.len()];
    let began = Instant::now();
    let mut separating = 0.0;
    for seed in 1..=SONGS {
        let song = compose(seed, SECONDS);
        let mixture = song.mixture();
        let geometry = separator.geometry();
        let piece =
            |samples: &[Vec<f32>; 2], at: usize| samples.clone().map(|all| all[at..at + geometry.segment].to_vec());
        let at = (mixture[0].len().saturating_sub(geometry.segment)) / 2;
        let started = Instant::now();
        let stems =
            separator.separate(&piece(&mixture, at), 0..geometry.segment, &SongStats { mean: 0.0, std: 1.0 })?;
        separating += started.elapsed().as_secs_f64();
        for (source, estimate) in separator.sources().iter().zip(&stems) {
            let Some(stem) = STEMS.iter().position(|stem| stem == source) else {
                continue;
            };
            let truth = piece(song.stem(stem), at).concat();
            let mixture = piece(&mixture, at).concat();
            rows[stem].push((si_sdr(&mixture, &truth), si_sdr(&estimate.concat(), &truth)));
        }
    }
    println!("{model}, a segment from each of {SONGS} composed songs, SI-SDR in dB (median):");
    println!("{:>8} {:>9} {:>9} {:>9}", "stem", "mixture", model, "gain");
    for (stem, row) in STEMS.iter().zip(&mut rows) {
        let median = |mut values: Vec<f64>| {
            values.sort_by(f64::total_cmp);
            values[values.len() / 2]
        };
        let (before, after) =
            (median(row.iter().map(|row| row.0).collect()), median(row.iter().map(|row| row.1).collect()));
        println!("{stem:>8} {before:>9.2} {after:>9.2} {:>9.2}", after - before);
    }
    let seconds = SONGS as f64 * separator.geometry().segment as f64 / f64::from(RATE);
    println!(
        "{:.1} times as fast as the music plays ({:.1} s in all)",
        seconds / separating,
        began.elapsed().as_secs_f64()
    );
    Ok(())
}

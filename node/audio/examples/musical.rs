//! Prints the accuracy of the analysis on composed songs with known tempo and key, and its duration.
//!
//! `cargo run --release -p audio --example musical`

#![allow(clippy::print_stdout)]

use std::time::{Duration, Instant};

use audio::analysis::{Analyser, Key, Mode, PeaksBuilder};
use audio::synth::{Groove, Plan, compose_as};
use audio::{RATE, Stereo};

const SECONDS: f64 = 30.0;
const SONGS: usize = 48;
const GROOVES: [Groove; 4] = [Groove::Rock, Groove::House, Groove::Ballad, Groove::Unplugged];

/// The errors in the key, from none to any.
fn relation(truth: Key, found: Option<Key>) -> &'static str {
    let Some(found) = found else { return "none" };
    let interval = (found.tonic + 12 - truth.tonic) % 12;
    match (truth.mode, found.mode, interval) {
        (Mode::Major, Mode::Major, 0) | (Mode::Minor, Mode::Minor, 0) => "exact",
        (Mode::Major, Mode::Minor, 9) | (Mode::Minor, Mode::Major, 3) => "relative",
        (_, _, 0) => "parallel",
        (Mode::Major, Mode::Major, 5 | 7) | (Mode::Minor, Mode::Minor, 5 | 7) => "fifth",
        _ => "other",
    }
}

fn main() {
    let keys: Vec<Key> = Key::all().collect();
    let (mut within, mut octave) = (0, 0);
    let mut relations = Vec::new();
    println!("{:>7} {:>9} {:>5}   {:>10} {:>10} {:>5}   groove", "BPM", "found", "conf", "key", "found", "conf");
    for song in 0..SONGS {
        // Tempi from 60 to 190, in an order that is independent of the keys'.
        let bpm = 60.0 + 130.0 * ((song * 19 % SONGS) as f32 + 0.37) / SONGS as f32;
        let groove = GROOVES[(song / 2 + song / 24) % GROOVES.len()];
        let plan = Plan { bpm, key: keys[song % keys.len()], groove };
        let mut analyser = Analyser::new();
        analyser.feed(&compose_as(song as u64, SECONDS, &plan).mixture());
        let found = analyser.finish();

        let (tempo, sure) = found.tempo.map_or((0.0, 0.0), |tempo| (tempo.bpm, tempo.confidence));
        let is = |factor: f64| (tempo / (factor * f64::from(bpm)) - 1.0).abs() <= 0.01;
        within += usize::from(is(1.0));
        octave += usize::from([0.5, 1.0, 2.0].into_iter().any(is));
        let relation = relation(plan.key, found.key.map(|found| found.key));
        relations.push(relation);
        let (key, clear) = found.key.map_or((String::new(), 0.0), |found| (found.key.to_string(), found.confidence));
        let mark = if is(1.0) { ' ' } else { '*' };
        println!(
            "{bpm:>7.2} {tempo:>8.2}{mark} {sure:>5.2}   {:>10} {key:>10} {clear:>5.2}   {groove:?}{}",
            plan.key.to_string(),
            if relation == "exact" { String::new() } else { format!(", {relation} key") }
        );
    }
    let share = |count: usize| format!("{:>5.1} %", 100.0 * count as f64 / SONGS as f64);
    println!("\n{SONGS} songs of {SECONDS} s");
    println!("tempo within 1 %              {}", share(within));
    println!("the same, or half or double   {}", share(octave));
    for name in ["exact", "relative", "fifth", "parallel", "other", "none"] {
        println!("key: {name:<8}                 {}", share(relations.iter().filter(|found| **found == name).count()));
    }

    let plan = Plan { bpm: 123.0, key: keys[3], groove: Groove::Rock };
    let song = compose_as(1, 180.0, &plan).mixture();
    let took = |work: &mut dyn FnMut(&Stereo)| -> Duration {
        let began = Instant::now();
        for from in (0..song[0].len()).step_by(1 << 16) {
            work(&song.each_ref().map(|channel| channel[from..channel.len().min(from + (1 << 16))].to_vec()));
        }
        began.elapsed()
    };
    let (mut analyser, mut peaks) = (Analyser::new(), PeaksBuilder::new());
    let analysing = took(&mut |block| analyser.feed(block));
    let began = Instant::now();
    let found = analyser.finish();
    let finishing = began.elapsed();
    let outlining = took(&mut |block| peaks.feed(block));
    println!("\n{:.0} s of music: {analysing:.2?} to analyse, {finishing:.2?} to judge, {outlining:.2?} to outline", {
        song[0].len() as f64 / f64::from(RATE)
    });
    println!("{found:?}, {} buckets", peaks.finish().max.len());
}

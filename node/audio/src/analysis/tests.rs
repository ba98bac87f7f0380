//! The whole analysis on songs with known properties, and on other signals.

use std::f32::consts::TAU;

use super::*;
use crate::synth::{Groove, Plan, compose_as};

const SECOND: usize = RATE as usize;

fn analysed(song: &Stereo) -> Analysis {
    let mut analyser = Analyser::new();
    analyser.feed(song);
    analyser.finish()
}

fn mono(samples: Vec<f32>) -> Stereo {
    [samples.clone(), samples]
}

fn sines(pitches: &[f32], seconds: usize) -> Stereo {
    let hertz = |pitch: f32| 440.0 * ((pitch - 69.0) / 12.0).exp2();
    let sample = |at: usize| -> f32 {
        pitches.iter().map(|pitch| 0.1 * (TAU * (hertz(*pitch) * at as f32 / RATE as f32).fract()).sin()).sum()
    };
    mono((0..seconds * SECOND).map(sample).collect())
}

fn noise(seconds: usize) -> Stereo {
    let mut state = 1u32;
    let sample = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        state as f32 / u32::MAX as f32 - 0.5
    };
    mono(std::iter::repeat_with(sample).take(seconds * SECOND).collect())
}

fn clicks(bpm: f64, seconds: usize) -> Stereo {
    let mut samples = vec![0.0; seconds * SECOND];
    for beat in 0.. {
        let at = (f64::from(beat) * 60.0 / bpm * f64::from(RATE)) as usize;
        let Some(click) = samples.get_mut(at..at + 200) else { break };
        click.iter_mut().enumerate().for_each(|(at, sample)| *sample = 0.8 * (-(at as f32) / 40.0).exp());
    }
    mono(samples)
}

fn plan(bpm: f32, key: Key, groove: Groove) -> Plan {
    Plan { bpm, key, groove }
}

/// Whether all numbers are finite: JSON has no others.
fn is_finite(analysis: &Analysis) -> bool {
    let text = serde_json::to_string(analysis).unwrap();
    serde_json::from_str::<Analysis>(&text).unwrap() == *analysis
}

#[test]
fn tempo_and_key_of_composed_songs_are_mostly_right() {
    let keys: Vec<Key> = Key::all().collect();
    let grooves = [Groove::Rock, Groove::House, Groove::Ballad, Groove::Unplugged];
    let (mut exactly, mut up_to_octave, mut in_key) = (0, 0, 0);
    const SONGS: usize = 16;
    for song in 0..SONGS {
        let bpm = 60.0 + 130.0 * (song as f32 + 0.3) / SONGS as f32;
        let plan = plan(bpm, keys[song * 7 % 24], grooves[song % 4]);
        let found = analysed(&compose_as(100 + song as u64, 20.0, &plan).mixture());
        let tempo = found.tempo.map_or(0.0, |tempo| tempo.bpm);
        let is = |factor: f64| (tempo / (factor * f64::from(bpm)) - 1.0).abs() <= 0.01;
        exactly += usize::from(is(1.0));
        up_to_octave += usize::from(is(0.5) || is(1.0) || is(2.0));
        in_key += usize::from(found.key.is_some_and(|found| found.key == plan.key));
        assert!(is_finite(&found));
    }
    assert!(exactly * 100 >= SONGS * 65, "{exactly} of {SONGS} tempi");
    assert!(up_to_octave * 100 >= SONGS * 90, "{up_to_octave} of {SONGS} tempi up to an octave");
    assert!(in_key * 100 >= SONGS * 90, "{in_key} of {SONGS} keys");
}

#[test]
fn silence_has_only_a_duration() {
    for seconds in [0, 1, 10] {
        let found = analysed(&mono(vec![0.0; seconds * SECOND]));
        let nothing = Analysis {
            seconds: seconds as f64,
            loudness: None,
            loudness_range: None,
            true_peak: None,
            sample_peak: None,
            tempo: None,
            key: None,
        };
        assert_eq!(found, nothing);
    }
}

#[test]
fn a_single_frame_is_analysed() {
    let found = analysed(&mono(vec![0.5]));
    assert_eq!(found.seconds, 1.0 / f64::from(RATE));
    assert!((found.sample_peak.unwrap() + 6.02).abs() < 0.01);
    assert_eq!((found.loudness, found.tempo, found.key), (None, None, None));
}

#[test]
fn nan_gives_finite_results() {
    let key = Key { tonic: 2, mode: Mode::Minor };
    let mut song = compose_as(1, 10.0, &plan(120.0, key, Groove::Rock)).mixture();
    song[0][100_000] = f32::NAN;
    song[1][200_000] = f32::INFINITY;
    song[1][200_001] = f32::MIN;
    let found = analysed(&song);
    assert!(is_finite(&found));
    assert!(found.loudness.is_some());
}

#[test]
fn noise_has_neither_tempo_nor_key() {
    for seconds in [3, 10, 60] {
        let found = analysed(&noise(seconds));
        assert_eq!((found.tempo, found.key), (None, None), "{seconds} s");
    }
}

#[test]
fn a_steady_tone_has_neither_tempo_nor_key() {
    for pitch in [33.0, 57.0, 69.3, 90.0] {
        let found = analysed(&sines(&[pitch], 15));
        assert_eq!((found.tempo, found.key), (None, None), "pitch {pitch}");
    }
}

#[test]
fn clicks_have_a_tempo_and_no_key() {
    for bpm in [72.0, 100.0, 127.9, 145.3] {
        let found = analysed(&clicks(bpm, 30));
        let tempo = found.tempo.unwrap();
        assert!((tempo.bpm - bpm).abs() < 0.1 && tempo.confidence > 0.5, "{bpm}: {tempo:?}");
        assert_eq!(found.key, None);
    }
}

#[test]
fn a_held_chord_has_a_key_and_no_tempo() {
    let found = analysed(&sines(&[48.0, 60.0, 64.0, 67.0], 15));
    assert_eq!(found.key.unwrap().key.to_string(), "C major");
    assert_eq!(found.tempo, None);
}

#[test]
fn blocks_of_any_length_give_the_same_analysis() {
    let key = Key { tonic: 9, mode: Mode::Minor };
    let song = compose_as(3, 8.0, &plan(110.0, key, Groove::House)).mixture();
    let whole = analysed(&song);
    for sizes in [&[1, 0, 999][..], &[44_100], &[8192, 3]] {
        let mut analyser = Analyser::new();
        let mut from = 0;
        for size in sizes.iter().cycle() {
            let end = (from + size).min(song[0].len());
            analyser.feed(&song.each_ref().map(|channel| channel[from..end].to_vec()));
            from = end;
            if from == song[0].len() {
                break;
            }
        }
        assert_eq!(analyser.finish(), whole, "{sizes:?}");
    }
}

#[test]
fn level_and_a_constant_offset_change_neither_tempo_nor_key() {
    let key = Key { tonic: 4, mode: Mode::Major };
    let song = compose_as(4, 15.0, &plan(98.0, key, Groove::Rock)).mixture();
    let plain = analysed(&song);
    for (gain, offset) in [(0.01, 0.0), (0.5, 0.2)] {
        let changed = analysed(&song.each_ref().map(|channel| channel.iter().map(|s| gain * s + offset).collect()));
        assert_eq!(changed.key.unwrap().key, key);
        assert!((changed.tempo.unwrap().bpm - plain.tempo.unwrap().bpm).abs() < 0.1);
    }
}

#[test]
fn an_inverted_channel_is_analysed() {
    let key = Key { tonic: 7, mode: Mode::Minor };
    let [left, _] = compose_as(5, 15.0, &plan(120.0, key, Groove::Rock)).mixture();
    let right = left.iter().map(|sample| -sample).collect();
    let found = analysed(&[left, right]);
    assert_eq!(found.key.unwrap().key, key);
    assert!((found.tempo.unwrap().bpm - 120.0).abs() < 0.2);
}

#[test]
fn a_decoded_song_is_analysed_and_outlined() {
    let folder = tempfile::tempdir().unwrap();
    let key = Key { tonic: 0, mode: Mode::Major };
    let song = compose_as(6, 5.0, &plan(120.0, key, Groove::Rock));
    song.write(folder.path()).unwrap();
    let pcm =
        crate::sandbox::Sandbox::none().decode_to(&folder.path().join("song.wav"), &folder.path().join("pcm")).unwrap();
    let (analysis, peaks) = analyse(&pcm).unwrap();
    assert_eq!(analysis.seconds, 5.0);
    assert_eq!(analysis.key.unwrap().key, key);
    assert_eq!(peaks.frames, pcm.frames());
    assert!(serde_json::to_string(&peaks).unwrap().len() < 20_000);
}

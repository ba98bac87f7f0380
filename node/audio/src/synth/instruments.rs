//! Drums and tones.

use std::f32::consts::TAU;

use super::random::Random;
use crate::{RATE, Stereo};

/// A note of a simple instrument.
pub(super) struct Note {
    pub(super) from: usize,
    pub(super) length: usize,
    pub(super) hertz: f32,
    pub(super) level: f32,
    /// -1 is left, 1 is right.
    pub(super) pan: f32,
}

impl Note {
    /// Plays the note with these harmonics; `attack` and `release` are in seconds.
    pub(super) fn play(&self, out: &mut Stereo, gains: &[f32], attack: f32, release: f32) {
        let [left, right] = sides(self.pan);
        let frames = self.length.min(out[0].len().saturating_sub(self.from));
        let mut phase = 0.0f32;
        for frame in 0..frames {
            phase = (phase + self.hertz / RATE as f32).fract();
            let sample = self.level * envelope(frame, self.length, attack, release) * harmonics(phase, gains);
            out[0][self.from + frame] += left * sample;
            out[1][self.from + frame] += right * sample;
        }
    }
}

pub(super) fn kick(out: &mut Stereo, from: usize) {
    let mut phase = 0.0f32;
    hit(out, from, 0.25, 0.0, |seconds| {
        phase += (46.0 + 110.0 * (-seconds * 32.0).exp()) / RATE as f32;
        0.8 * (-seconds * 14.0).exp() * (TAU * phase).sin() + 0.25 * (-seconds * 400.0).exp()
    });
}

pub(super) fn snare(out: &mut Stereo, from: usize, random: &mut Random) {
    hit(out, from, 0.2, 0.1, |seconds| {
        let noise = 0.4 * (-seconds * 22.0).exp() * random.between(-1.0, 1.0);
        noise + 0.25 * (-seconds * 35.0).exp() * (TAU * 185.0 * seconds).sin()
    });
}

pub(super) fn hat(out: &mut Stereo, from: usize, level: f32, random: &mut Random) {
    let mut before = 0.0;
    hit(out, from, 0.06, 0.3, |seconds| {
        // The difference of neighbours keeps the high frequencies.
        let noise = random.between(-1.0, 1.0);
        let treble = noise - before;
        before = noise;
        level * (-seconds * 70.0).exp() * treble
    });
}

/// Plays `seconds` of `sound`, a function of the time since the hit.
fn hit(out: &mut Stereo, from: usize, seconds: f32, pan: f32, mut sound: impl FnMut(f32) -> f32) {
    let [left, right] = sides(pan);
    let frames = ((seconds * RATE as f32) as usize).min(out[0].len().saturating_sub(from));
    for frame in 0..frames {
        let sample = sound(frame as f32 / RATE as f32);
        out[0][from + frame] += left * sample;
        out[1][from + frame] += right * sample;
    }
}

/// The gains of a pan position with equal power everywhere.
fn sides(pan: f32) -> [f32; 2] {
    let angle = (pan + 1.0) * std::f32::consts::FRAC_PI_4;
    [angle.cos() * std::f32::consts::SQRT_2, angle.sin() * std::f32::consts::SQRT_2]
}

/// An envelope that rises over `attack` seconds and falls over the last `release` seconds.
pub(super) fn envelope(frame: usize, length: usize, attack: f32, release: f32) -> f32 {
    let rate = RATE as f32;
    (frame as f32 / (attack * rate)).min((length - frame) as f32 / (release * rate)).min(1.0)
}

/// The sum of sines at multiples of a phase from 0 to 1, by the recurrence of the sines.
pub(super) fn harmonics(phase: f32, gains: &[f32]) -> f32 {
    let (sine, cosine) = (TAU * phase).sin_cos();
    let (mut before, mut now, mut sum) = (0.0, sine, 0.0);
    for gain in gains {
        sum += gain * now;
        (before, now) = (now, 2.0 * cosine * now - before);
    }
    sum
}

/// The gain of a glottal pulse's harmonic in a vowel.
pub(super) fn formant_gain(frequency: f32, formants: &[f32; 3]) -> f32 {
    let resonance: f32 = formants
        .iter()
        .zip([1.0, 0.6, 0.3])
        .map(|(formant, level)| level / (1.0 + ((frequency - formant) / 110.0).powi(2)))
        .sum();
    (resonance + 0.03) * (200.0 / frequency).sqrt()
}

/// The frequency of a MIDI note, in Hz.
pub(super) fn hertz(pitch: i32) -> f32 {
    hertz_of(pitch as f32)
}

/// The same for fractional notes.
pub(super) fn hertz_of(pitch: f32) -> f32 {
    440.0 * ((pitch - 69.0) / 12.0).exp2()
}

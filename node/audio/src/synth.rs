//! Composes songs whose stems are known: for demonstrations, tests, and to measure separators.
//!
//! A drum kit, a bass, chords and a wordless lead voice play over four chords that return. Each stem is rounded to
//! 16 bit first and the song is their sum, so the stems add up to it exactly. [`compose`] chooses tempo and key by its
//! seed; [`compose_as`] takes them from a [`Plan`], for songs whose analysis is to be judged.

use std::f32::consts::TAU;
use std::path::Path;

use crate::analysis::{Key, Mode};
use crate::encode::{EncodeError, Encoder, Format};
use crate::tags::Tags;
use crate::{RATE, Stereo};

/// A song and its stems, in the order of their names in `STEMS`.
pub struct Composition {
    stems: [Stereo; 4],
}

/// What is composed.
pub const STEMS: [&str; 4] = ["drums", "bass", "other", "vocals"];

/// The loudest a song gets.
const PEAK: f32 = 0.9;
/// Scale degrees of the four chords' roots, in semitones above the key: one of these a song.
const PROGRESSIONS: [[i32; 4]; 4] = [[0, 9, 5, 7], [0, 7, 9, 5], [9, 5, 0, 7], [0, 5, 9, 7]];
/// The same in minor, with the dominant's leading note or a cadence to the tonic. Loops of the relative major's chords,
/// as i VI III VII, are not among them: their key is a matter of opinion.
const MINOR_PROGRESSIONS: [[i32; 4]; 4] = [[0, 5, 0, 7], [0, 8, 5, 7], [0, 10, 8, 7], [0, 5, 10, 0]];
/// The degrees of the major scale whose chords are minor, and those of the minor scale.
const MINOR_CHORDS: [&[i32]; 2] = [&[2, 4, 9], &[0, 5]];
/// The scale the lead sings, in major and in minor.
const PENTATONIC: [[i32; 5]; 2] = [[0, 2, 4, 7, 9], [0, 3, 5, 7, 10]];
/// The first three formants of five vowels (a, e, i, o, u), in Hz (Peterson and Barney, 1952, men's averages).
const VOWELS: [[f32; 3]; 5] =
    [[730., 1090., 2440.], [530., 1840., 2480.], [270., 2290., 3010.], [570., 840., 2410.], [300., 870., 2240.]];

/// Composes `seconds` of music. The same seed gives the same song.
pub fn compose(seed: u64, seconds: f64) -> Composition {
    let frames = ((seconds * f64::from(RATE)).round() as usize).max(1);
    let mut random = Random(seed);
    let beat = RATE as f32 * 60.0 / random.between(92.0, 126.0);
    let key = random.below(12) as i32;
    let roots = PROGRESSIONS[random.below(PROGRESSIONS.len())];
    // Voice and bass are not in the chords' key here; what a seed has always sounded like is kept.
    let song = Song { frames, beat, key, mode: Mode::Major, groove: Groove::Rock, roots, lead: 57 + key % 5, bass: 28 };
    song.play(random)
}

/// What a song is to be.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Plan {
    /// Beats per minute; four beats make a bar.
    pub bpm: f32,
    /// Its key, which all instruments keep to.
    pub key: Key,
    /// What the drums play.
    pub groove: Groove,
}

/// What the drums play.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Groove {
    /// Kick on one and three, snare on two and four, hats on the eighths.
    Rock,
    /// A kick on every beat, hats between them.
    House,
    /// Kick on one, snare on three, hats on the beats.
    Ballad,
    /// Nothing.
    Unplugged,
}

/// Composes `seconds` of music to a plan. The same seed and plan give the same song.
pub fn compose_as(seed: u64, seconds: f64, plan: &Plan) -> Composition {
    let mut random = Random(seed);
    let key = i32::from(plan.key.tonic);
    let progressions = match plan.key.mode {
        Mode::Major => PROGRESSIONS,
        Mode::Minor => MINOR_PROGRESSIONS,
    };
    let song = Song {
        frames: ((seconds * f64::from(RATE)).round() as usize).max(1),
        beat: RATE as f32 * 60.0 / plan.bpm,
        key,
        mode: plan.key.mode,
        groove: plan.groove,
        roots: progressions[random.below(progressions.len())],
        lead: 50 + (key - 50).rem_euclid(12),
        bass: 36,
    };
    song.play(random)
}

impl Composition {
    /// The stem at this place in [`STEMS`].
    pub fn stem(&self, at: usize) -> &Stereo {
        &self.stems[at]
    }

    /// The sum of the stems.
    pub fn mixture(&self) -> Stereo {
        let mut sum = self.stems[0].clone();
        for stem in &self.stems[1..] {
            for (sum, samples) in sum.iter_mut().zip(stem) {
                sum.iter_mut().zip(samples).for_each(|(sum, sample)| *sum += sample);
            }
        }
        sum
    }

    /// Writes song.wav and a file for each stem.
    pub fn write(&self, folder: &Path) -> Result<(), EncodeError> {
        let save = |name: &str, samples: &Stereo| {
            let mut writer = Encoder::create(&folder.join(format!("{name}.wav")), Format::WORKING, &Tags::default())?;
            writer.write(samples)?;
            writer.finish()
        };
        STEMS.iter().zip(&self.stems).try_for_each(|(name, stem)| save(name, stem))?;
        save("song", &self.mixture())
    }
}

struct Song {
    frames: usize,
    /// Frames a beat; four make a bar.
    beat: f32,
    /// Semitones above C.
    key: i32,
    mode: Mode,
    groove: Groove,
    roots: [i32; 4],
    /// The lead's lowest tonic, a MIDI note.
    lead: i32,
    /// What the bass plays for the pitch class C, a MIDI note.
    bass: i32,
}

impl Song {
    /// Plays all instruments and sets their common level.
    fn play(&self, mut random: Random) -> Composition {
        let mut stems =
            [self.drums(&mut random), self.bass(&mut random), self.chords(&mut random), self.lead(&mut random)];
        let mut peak = 0.0f32;
        for channel in 0..2 {
            for frame in 0..self.frames {
                peak = peak.max(stems.iter().map(|stem| stem[channel][frame]).sum::<f32>().abs());
            }
        }
        let gain = if peak > 0.0 { PEAK / peak } else { 0.0 };
        for sample in stems.iter_mut().flatten().flatten() {
            *sample = (*sample * gain * 32_768.0).round() / 32_768.0;
        }
        Composition { stems }
    }

    /// The frame where a beat, or part of one, begins.
    fn at(&self, beats: f32) -> usize {
        (beats * self.beat) as usize
    }

    fn bars(&self) -> usize {
        self.frames.div_ceil(self.at(4.0).max(1))
    }

    fn silence(&self) -> Stereo {
        [vec![0.0; self.frames], vec![0.0; self.frames]]
    }

    /// The pitches of a bar's chord, in semitones above C: root, third, fifth.
    fn chord(&self, bar: usize) -> [i32; 3] {
        let root = self.roots[bar % 4];
        let third = if MINOR_CHORDS[self.mode as usize].contains(&root) { 3 } else { 4 };
        [root, root + third, root + 7].map(|pitch| self.key + pitch)
    }

    fn drums(&self, random: &mut Random) -> Stereo {
        let mut out = self.silence();
        let (kicks, snares, hats): (&[f32], &[f32], &[f32]) = match self.groove {
            Groove::Rock => (&[0.0, 2.0, 2.5], &[1.0, 3.0], &[0.0, 0.5, 1.0, 1.5, 2.0, 2.5, 3.0, 3.5]),
            Groove::House => (&[0.0, 1.0, 2.0, 3.0], &[1.0, 3.0], &[0.5, 1.5, 2.5, 3.5]),
            Groove::Ballad => (&[0.0, 3.5], &[2.0], &[0.0, 1.0, 2.0, 3.0]),
            Groove::Unplugged => return out,
        };
        for bar in 0..self.bars() {
            let start = 4.0 * bar as f32;
            for beat in kicks {
                kick(&mut out, self.at(start + beat));
            }
            for beat in snares {
                snare(&mut out, self.at(start + beat), random);
            }
            for beat in hats {
                let loud = if beat.fract() == 0.0 { 0.16 } else { 0.1 };
                hat(&mut out, self.at(start + beat), loud, random);
            }
            if bar % 4 == 3 {
                for sixteenth in 12..16 {
                    snare(&mut out, self.at(start + 0.25 * sixteenth as f32), random);
                }
            }
        }
        out
    }

    fn bass(&self, random: &mut Random) -> Stereo {
        let mut out = self.silence();
        let pattern: Vec<i32> = (0..8).map(|_| [0, 0, 0, 7, 12][random.below(5)]).collect();
        for bar in 0..self.bars() {
            let root = self.chord(bar)[0].rem_euclid(12);
            for (eighth, step) in pattern.iter().enumerate() {
                let from = self.at(4.0 * bar as f32 + 0.5 * eighth as f32);
                let note =
                    Note { from, length: self.at(0.48), hertz: hertz(self.bass + root + step), level: 0.32, pan: 0.0 };
                note.play(&mut out, &[1.0, 0.5, 0.25, 0.12, 0.06], 0.006, 0.05);
            }
        }
        out
    }

    fn chords(&self, random: &mut Random) -> Stereo {
        let mut out = self.silence();
        let bright: Vec<f32> = (1..=12).map(|harmonic| 1.0 / harmonic as f32).collect();
        for bar in 0..self.bars() {
            for (voice, pitch) in self.chord(bar).into_iter().enumerate() {
                let pan = [-0.7, 0.75, -0.45][voice];
                let from = self.at(4.0 * bar as f32);
                let pitch = 55 + (pitch - 55).rem_euclid(12);
                for detune in [-0.06, 0.05] {
                    let hertz = hertz(pitch) * (detune / 12.0f32).exp2();
                    Note { from, length: self.at(3.9), hertz, level: 0.05, pan }.play(&mut out, &bright, 0.03, 0.25);
                }
            }
            // A plucked figure over them, now on one side and now on the other.
            for eighth in 0..8 {
                let pitch = self.chord(bar)[eighth % 3];
                let pan = if eighth % 2 == 0 { 0.8 } else { -0.8 };
                let from = self.at(4.0 * bar as f32 + 0.5 * eighth as f32) + random.below(200);
                let hertz = hertz(72 + (pitch - 72).rem_euclid(12));
                Note { from, length: self.at(0.45), hertz, level: 0.06, pan }.play(&mut out, &bright[..5], 0.004, 0.3);
            }
        }
        out
    }

    /// Phrases of a wordless voice with vibrato and gliding pitch, with rests between them.
    fn lead(&self, random: &mut Random) -> Stereo {
        let mut out = self.silence();
        let (mut pitch, mut phase, mut degree) = (0.0f32, 0.0f32, 5i32);
        for bar in 0..self.bars() {
            let mut beat = if bar % 2 == 0 { 0.5 } else { 0.0 };
            let last = if bar % 2 == 0 { 4.0 } else { 2.5 };
            while beat < last {
                let beats = [0.5f32, 0.5, 1.0, 1.5][random.below(4)].min(last - beat);
                degree = (degree + random.below(5) as i32 - 2).clamp(0, 10);
                let step = PENTATONIC[self.mode as usize][(degree % 5) as usize];
                let target = (self.lead + 12 * (degree / 5) + step) as f32;
                let vowel = VOWELS[random.below(VOWELS.len())];
                let gains: Vec<f32> = (1..=28).map(|k| formant_gain(k as f32 * hertz_of(target), &vowel)).collect();
                if pitch == 0.0 {
                    pitch = target;
                }
                let (from, length) = (self.at(4.0 * bar as f32 + beat), self.at(beats * 0.94));
                for frame in 0..length.min(self.frames.saturating_sub(from)) {
                    let seconds = frame as f32 / RATE as f32;
                    // Glides in about 40 ms; the vibrato comes in after a fifth of a second.
                    pitch += (target - pitch) * 0.0006;
                    let vibrato = 0.35 * ((seconds - 0.2) * 4.0).clamp(0.0, 1.0) * (TAU * 5.6 * seconds).sin();
                    phase = (phase + hertz_of(pitch + vibrato) / RATE as f32).fract();
                    let breath = 0.01 * random.between(-1.0, 1.0);
                    let level = 0.5 * envelope(frame, length, 0.04, 0.06);
                    let sample = level * (harmonics(phase, &gains) + breath);
                    out[0][from + frame] += sample;
                    out[1][from + frame] += sample;
                }
                beat += beats;
            }
        }
        out
    }
}

/// A note of the plain instruments.
struct Note {
    from: usize,
    length: usize,
    hertz: f32,
    level: f32,
    /// -1 is left, 1 is right.
    pan: f32,
}

impl Note {
    /// Plays it with these harmonics; `attack` and `release` are in seconds.
    fn play(&self, out: &mut Stereo, gains: &[f32], attack: f32, release: f32) {
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

fn kick(out: &mut Stereo, from: usize) {
    let mut phase = 0.0f32;
    hit(out, from, 0.25, 0.0, |seconds| {
        phase += (46.0 + 110.0 * (-seconds * 32.0).exp()) / RATE as f32;
        0.8 * (-seconds * 14.0).exp() * (TAU * phase).sin() + 0.25 * (-seconds * 400.0).exp()
    });
}

fn snare(out: &mut Stereo, from: usize, random: &mut Random) {
    hit(out, from, 0.2, 0.1, |seconds| {
        let noise = 0.4 * (-seconds * 22.0).exp() * random.between(-1.0, 1.0);
        noise + 0.25 * (-seconds * 35.0).exp() * (TAU * 185.0 * seconds).sin()
    });
}

fn hat(out: &mut Stereo, from: usize, level: f32, random: &mut Random) {
    let mut before = 0.0;
    hit(out, from, 0.06, 0.3, |seconds| {
        // The difference of neighbours keeps the treble.
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

/// Equal power at every place between left and right.
fn sides(pan: f32) -> [f32; 2] {
    let angle = (pan + 1.0) * std::f32::consts::FRAC_PI_4;
    [angle.cos() * std::f32::consts::SQRT_2, angle.sin() * std::f32::consts::SQRT_2]
}

/// Rises over `attack` seconds and falls over the last `release` seconds.
fn envelope(frame: usize, length: usize, attack: f32, release: f32) -> f32 {
    let rate = RATE as f32;
    (frame as f32 / (attack * rate)).min((length - frame) as f32 / (release * rate)).min(1.0)
}

/// The sum of sines at multiples of a phase that goes from 0 to 1, by the recurrence of their sines.
fn harmonics(phase: f32, gains: &[f32]) -> f32 {
    let (sine, cosine) = (TAU * phase).sin_cos();
    let (mut before, mut now, mut sum) = (0.0, sine, 0.0);
    for gain in gains {
        sum += gain * now;
        (before, now) = (now, 2.0 * cosine * now - before);
    }
    sum
}

/// How much of a glottal pulse's harmonic passes the vowel.
fn formant_gain(frequency: f32, formants: &[f32; 3]) -> f32 {
    let resonance: f32 = formants
        .iter()
        .zip([1.0, 0.6, 0.3])
        .map(|(formant, level)| level / (1.0 + ((frequency - formant) / 110.0).powi(2)))
        .sum();
    (resonance + 0.03) * (200.0 / frequency).sqrt()
}

/// A MIDI note's frequency.
fn hertz(pitch: i32) -> f32 {
    hertz_of(pitch as f32)
}

/// The same between the notes.
fn hertz_of(pitch: f32) -> f32 {
    440.0 * ((pitch - 69.0) / 12.0).exp2()
}

/// SplitMix64 (Steele, Lea and Flood, 2014): small, and the same everywhere.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, limit: usize) -> usize {
        (self.next() % limit as u64) as usize
    }

    fn between(&mut self, low: f32, high: f32) -> f32 {
        low + (high - low) * (self.next() >> 40) as f32 / (1u64 << 24) as f32
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_gives_the_same_song_and_another_seed_another() {
        let song = |seed| compose(seed, 3.0).mixture();
        assert_eq!(song(1), song(1));
        assert_ne!(song(1), song(2));
    }

    #[test]
    fn every_stem_sounds_and_nothing_clips() {
        let song = compose(5, 12.3);
        for stem in &song.stems {
            assert_eq!(stem[0].len(), (12.3 * f64::from(RATE)) as usize);
            assert!(stem[0].iter().any(|sample| sample.abs() > 0.05));
        }
        assert!(song.mixture().iter().flatten().all(|sample| sample.abs() <= PEAK + 0.001));
    }
}

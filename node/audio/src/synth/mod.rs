//! Composes songs whose stems are known: for demonstrations, tests, and measurements of separators.
//!
//! A drum kit, a bass, chords and a wordless lead voice play over a loop of four chords. Each stem is rounded to 16 bit
//! first and the song is their sum, so the stems add up to it exactly. The seed of [`compose`] determines tempo and
//! key; [`compose_as`] takes them from a [`Plan`], for tests of the analysis.

mod instruments;
mod random;

use std::f32::consts::TAU;
use std::path::Path;

use crate::analysis::{Key, Mode};
use crate::encode::{EncodeError, Encoder, Format};
use crate::tags::Tags;
use crate::{RATE, Stereo};
use instruments::{Note, envelope, formant_gain, harmonics, hat, hertz, hertz_of, kick, snare};
use random::Random;

/// A song and its stems, in the order of their names in `STEMS`.
pub struct Composition {
    stems: [Stereo; 4],
}

/// The names of the stems.
pub const STEMS: [&str; 4] = ["drums", "bass", "other", "vocals"];

/// The peak of a song.
const PEAK: f32 = 0.9;
/// The roots of the four chords in semitones above the tonic, as scale degrees in major; a song has one of these loops.
const PROGRESSIONS: [[i32; 4]; 4] = [[0, 9, 5, 7], [0, 7, 9, 5], [9, 5, 0, 7], [0, 5, 9, 7]];
/// The same in minor, with the leading note of the dominant or a cadence to the tonic. Loops of the relative major's
/// chords, such as i VI III VII, are left out because their key is ambiguous.
const MINOR_PROGRESSIONS: [[i32; 4]; 4] = [[0, 5, 0, 7], [0, 8, 5, 7], [0, 10, 8, 7], [0, 5, 10, 0]];
/// The degrees of the major scale whose chords are minor, and those of the minor scale.
const MINOR_CHORDS: [&[i32]; 2] = [&[2, 4, 9], &[0, 5]];
/// The scale of the lead, in major and in minor.
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
    // Voice and bass are not in the chords' key here; the result for a seed must not change.
    let song = Song { frames, beat, key, mode: Mode::Major, groove: Groove::Rock, roots, lead: 57 + key % 5, bass: 28 };
    song.play(random)
}

/// Tempo, key and drums of a song.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Plan {
    /// Beats per minute; four beats make a bar.
    pub bpm: f32,
    /// The key of all instruments.
    pub key: Key,
    /// The drums' pattern.
    pub groove: Groove,
}

/// A pattern of the drums.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Groove {
    /// Kick on one and three, snare on two and four, hats on the eighths.
    Rock,
    /// A kick on every beat, hats between them.
    House,
    /// Kick on one, snare on three, hats on the beats.
    Ballad,
    /// No drums.
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
    /// The stem at this index of [`STEMS`].
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
    /// Frames per beat; a bar has four beats.
    beat: f32,
    /// Semitones above C.
    key: i32,
    mode: Mode,
    groove: Groove,
    roots: [i32; 4],
    /// The lead's lowest tonic, as a MIDI note.
    lead: i32,
    /// The bass's note for the pitch class C, as a MIDI note.
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

    /// The frame at which a beat, or a fraction of one, begins.
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
            // A plucked figure over the chords, alternating between the left and the right.
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
                    // Glides last about 40 ms; the vibrato begins after a fifth of a second.
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_seed_determines_the_song() {
        let song = |seed| compose(seed, 3.0).mixture();
        assert_eq!(song(1), song(1));
        assert_ne!(song(1), song(2));
    }

    #[test]
    fn no_stem_is_silent_and_none_clips() {
        let song = compose(5, 12.3);
        for stem in &song.stems {
            assert_eq!(stem[0].len(), (12.3 * f64::from(RATE)) as usize);
            assert!(stem[0].iter().any(|sample| sample.abs() > 0.05));
        }
        assert!(song.mixture().iter().flatten().all(|sample| sample.abs() <= PEAK + 0.001));
    }
}

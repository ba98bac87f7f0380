//! How far the work on a song is, from its first byte to its last file.
//!
//! Each stage has a share of the bar that is as large as its share of the time on the machine on which it was measured.
//! The time that is left comes from how fast the bar moves, so it does not depend on the machine.

use std::fmt::Write;
use std::time::Duration;

use anyhow::Result;
use audio::encode::Format;
use indicatif::{ProgressBar, ProgressState, ProgressStyle};
use inference::merge::Pass;

/// The bar's length; it moves in steps of these.
const STEPS: u64 = 1000;
/// How often the time that is left is drawn.
const TICK: Duration = Duration::from_millis(200);

/// What is done to a song, in this order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stage {
    /// The file becomes samples.
    Decoding,
    /// The model runs.
    Separating,
    /// The stems' peaks are found, to rescale the stems.
    Levelling,
    /// The stems' files are written.
    Encoding,
    /// Tempo, key and loudness are found.
    Analysing,
}

impl Stage {
    const ALL: [Self; 5] = [Self::Decoding, Self::Separating, Self::Levelling, Self::Encoding, Self::Analysing];

    fn word(self) -> &'static str {
        match self {
            Self::Decoding => "decoding",
            Self::Separating => "separating",
            Self::Levelling => "levelling",
            Self::Encoding => "encoding",
            Self::Analysing => "analysing",
        }
    }
}

impl From<Pass> for Stage {
    fn from(pass: Pass) -> Self {
        match pass {
            Pass::Peaks => Self::Levelling,
            Pass::Files => Self::Encoding,
        }
    }
}

/// How much work there is.
pub(super) struct Work {
    /// Whether the model is a network, and not the built-in one.
    pub(super) network: bool,
    /// The length of all segments together, in lengths of the song.
    pub(super) separated: f64,
    /// How many stems are written.
    pub(super) stems: usize,
    /// What each stem is written as.
    pub(super) format: Format,
    /// Whether the stems' peaks are needed.
    pub(super) levelled: bool,
}

impl Work {
    /// The stages' times for a minute of music.
    fn times(&self) -> [f64; 5] {
        let stems = self.stems as f64;
        let encoding = match self.format {
            Format::Mp3 { preset, .. } => {
                if preset < 5 {
                    MP3_BEST
                } else {
                    MP3_QUICK
                }
            }
            Format::Flac { .. } => FLAC,
            Format::Wav { .. } => WAV,
        };
        [
            DECODING,
            self.separated * if self.network { NETWORK } else { SPECTRAL },
            if self.levelled { LEVELLING } else { 0.0 },
            stems * encoding,
            ANALYSING,
        ]
    }

    /// Where in the whole work a stage is that is done to `share`, from 0 to 1.
    fn reached(&self, stage: Stage, share: f64) -> f64 {
        let times = self.times();
        let before: f64 =
            Stage::ALL.iter().zip(times).take_while(|(other, _)| **other != stage).map(|(_, time)| time).sum();
        let own = times[Stage::ALL.iter().position(|other| *other == stage).unwrap_or_default()];
        (before + own * share.clamp(0.0, 1.0)) / times.iter().sum::<f64>()
    }
}

/// A bar on the terminal; nothing is drawn elsewhere.
pub(super) struct Progress {
    bar: ProgressBar,
    song: String,
    work: Work,
}

impl Progress {
    /// Shows the bar of a song, which starts with its decoding.
    pub(super) fn begin(song: String, work: Work) -> Result<Self> {
        let bar = ProgressBar::new(STEPS);
        let style = ProgressStyle::with_template("{msg} {wide_bar} {percent} %{left}")?;
        bar.set_style(style.with_key("left", |state: &ProgressState, out: &mut dyn Write| {
            // A bar that cannot be drawn is no reason to end.
            let _ = out.write_str(&left(state.pos(), state.eta()));
        }));
        let progress = Self { bar, song, work };
        progress.reach(Stage::Decoding, 0.0);
        progress.bar.enable_steady_tick(TICK);
        Ok(progress)
    }

    /// Sets how large the separation is, which is known when the song is decoded.
    pub(super) fn set_separated(&mut self, lengths: f64) {
        self.work.separated = lengths;
    }

    /// Shows that a stage is done to `share`, from 0 to 1.
    pub(super) fn reach(&self, stage: Stage, share: f64) {
        let message = format!("{}: {}", self.song, stage.word());
        if self.bar.message() != message {
            self.bar.set_message(message);
        }
        // The last step is the end of all.
        let at = (self.work.reached(stage, share) * STEPS as f64) as u64;
        self.bar.set_position(at.min(STEPS - 1));
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}

/// The time that is left, if anything says how long it is.
fn left(position: u64, time: Duration) -> String {
    if position == 0 || time.is_zero() {
        return String::new();
    }
    let seconds = time.as_secs_f64().ceil() as u64;
    match (seconds / 3600, seconds / 60 % 60, seconds % 60) {
        (0, 0, seconds) => format!(", {seconds} s left"),
        (0, minutes, seconds) => format!(", {minutes}:{seconds:02} min left"),
        (hours, minutes, _) => format!(", {hours}:{minutes:02} h left"),
    }
}

/// Times for a minute of music in milliseconds, on two busy cores; only their ratios count. A model's is for a minute of
/// its segments.
const DECODING: f64 = 750.0;
const SPECTRAL: f64 = 3200.0;
const NETWORK: f64 = 58_000.0;
const LEVELLING: f64 = 60.0;
const ANALYSING: f64 = 350.0;
/// The same for a minute of one stem.
const MP3_BEST: f64 = 1500.0;
const MP3_QUICK: f64 = 560.0;
const FLAC: f64 = 1100.0;
const WAV: f64 = 75.0;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bar_moves_on_from_stage_to_stage_and_ends_with_the_last() {
        for (network, format, levelled) in
            [(false, Format::WORKING, true), (false, Format::LISTENING, false), (true, Format::Flac { bits: 24 }, true)]
        {
            let work = Work { network, separated: 1.3, stems: 4, format, levelled };
            let mut last = 0.0;
            for stage in Stage::ALL {
                for share in [0.0, 0.5, 1.0, 2.0] {
                    let reached = work.reached(stage, share);
                    assert!((last..=1.0).contains(&reached), "{stage:?} {share}: {reached} after {last}");
                    last = reached;
                }
            }
            assert_eq!(last, 1.0);
        }
    }

    #[test]
    fn mp3_files_have_their_share_of_the_bar() {
        let work = |format| Work { network: false, separated: 1.3, stems: 4, format, levelled: true };
        let share = |work: &Work| work.reached(Stage::Encoding, 1.0) - work.reached(Stage::Encoding, 0.0);
        assert!(share(&work(Format::Mp3 { kbps: 320, preset: 2 })) > 0.4);
        assert!(share(&work(Format::WORKING)) < 0.2);
    }

    #[test]
    fn no_time_is_told_before_it_is_known() {
        let seconds = Duration::from_secs_f64;
        assert_eq!(left(0, seconds(5.0)), "");
        assert_eq!(left(5, seconds(0.0)), "");
        assert_eq!(left(5, seconds(0.2)), ", 1 s left");
        assert_eq!(left(5, seconds(65.0)), ", 1:05 min left");
        assert_eq!(left(5, seconds(7300.0)), ", 2:01 h left");
    }
}

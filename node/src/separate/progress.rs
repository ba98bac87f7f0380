//! The progress bar of a song, from decoding to the last output file.
//!
//! The share of a stage in the bar is its share of the total time, measured on one machine. The remaining time is
//! estimated from the speed of the bar, so it does not depend on that machine.

use std::fmt::Write;
use std::time::Duration;

use anyhow::Result;
use audio::encode::Format;
use indicatif::{ProgressBar, ProgressState, ProgressStyle};
use inference::merge::Pass;

/// The length of the bar in steps.
const STEPS: u64 = 1000;
/// How often the remaining time is redrawn.
const REDRAW_INTERVAL: Duration = Duration::from_millis(200);

/// The stages of the work on a song, in order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stage {
    /// The file is decoded.
    Decoding,
    /// The model runs.
    Separating,
    /// The peaks of the stems are measured, to rescale the stems.
    Levelling,
    /// The stems are encoded.
    Encoding,
    /// Tempo, key and loudness are measured.
    Analysing,
}

impl Stage {
    const ALL: [Self; 5] = [Self::Decoding, Self::Separating, Self::Levelling, Self::Encoding, Self::Analysing];

    fn name(self) -> &'static str {
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

/// The amount of work.
pub(super) struct WorkEstimate {
    /// Whether the model is a neural network, not the built-in `spectral`.
    pub(super) network: bool,
    /// The total length of all segments, relative to the length of the song.
    pub(super) separated: f64,
    /// The number of stems.
    pub(super) stems: usize,
    /// The format of the stems.
    pub(super) format: Format,
    /// Whether the peaks of the stems are measured.
    pub(super) levelled: bool,
}

impl WorkEstimate {
    /// The time of each stage in milliseconds per minute of music.
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

    /// The progress of the whole work, from 0 to 1, when a stage has done `share` of its work, from 0 to 1.
    fn reached(&self, stage: Stage, share: f64) -> f64 {
        let times = self.times();
        let before: f64 =
            Stage::ALL.iter().zip(times).take_while(|(other, _)| **other != stage).map(|(_, time)| time).sum();
        let own = times[Stage::ALL.iter().position(|other| *other == stage).unwrap_or_default()];
        (before + own * share.clamp(0.0, 1.0)) / times.iter().sum::<f64>()
    }
}

/// A progress bar on the terminal. Without a terminal, nothing is drawn.
pub(super) struct Progress {
    bar: ProgressBar,
    song: String,
    work: WorkEstimate,
}

impl Progress {
    /// Shows the bar of a song at the start of decoding.
    pub(super) fn begin(song: String, work: WorkEstimate) -> Result<Self> {
        let bar = ProgressBar::new(STEPS);
        let style = ProgressStyle::with_template("{msg} {wide_bar} {percent} %{left}")?;
        bar.set_style(style.with_key("left", |state: &ProgressState, out: &mut dyn Write| {
            // An error of the terminal must not end the command.
            let _ = out.write_str(&remaining(state.pos(), state.eta()));
        }));
        let progress = Self { bar, song, work };
        progress.reach(Stage::Decoding, 0.0);
        progress.bar.enable_steady_tick(REDRAW_INTERVAL);
        Ok(progress)
    }

    /// Sets the total length of all segments relative to the song, which is known after decoding.
    pub(super) fn set_separated(&mut self, lengths: f64) {
        self.work.separated = lengths;
    }

    /// Shows that a stage has done `share` of its work, from 0 to 1.
    pub(super) fn reach(&self, stage: Stage, share: f64) {
        let message = format!("{}: {}", self.song, stage.name());
        if self.bar.message() != message {
            self.bar.set_message(message);
        }
        // The last step is reached only when everything is done.
        let at = (self.work.reached(stage, share) * STEPS as f64) as u64;
        self.bar.set_position(at.min(STEPS - 1));
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}

/// The remaining time, or an empty text while it is unknown.
fn remaining(position: u64, time: Duration) -> String {
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

/// Measured times per minute of music in milliseconds, on two busy cores. Only their ratios matter. Those of models are per
/// minute of segments.
const DECODING: f64 = 750.0;
const SPECTRAL: f64 = 3200.0;
const NETWORK: f64 = 58_000.0;
const LEVELLING: f64 = 60.0;
const ANALYSING: f64 = 350.0;
/// Measured times per minute of one stem in milliseconds.
const MP3_BEST: f64 = 1500.0;
const MP3_QUICK: f64 = 560.0;
const FLAC: f64 = 1100.0;
const WAV: f64 = 75.0;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn progress_never_decreases_and_ends_at_one() {
        for (network, format, levelled) in
            [(false, Format::WORKING, true), (false, Format::LISTENING, false), (true, Format::Flac { bits: 24 }, true)]
        {
            let work = WorkEstimate { network, separated: 1.3, stems: 4, format, levelled };
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
    fn mp3_encoding_takes_a_large_share_of_the_bar() {
        let work = |format| WorkEstimate { network: false, separated: 1.3, stems: 4, format, levelled: true };
        let share = |work: &WorkEstimate| work.reached(Stage::Encoding, 1.0) - work.reached(Stage::Encoding, 0.0);
        assert!(share(&work(Format::Mp3 { kbps: 320, preset: 2 })) > 0.4);
        assert!(share(&work(Format::WORKING)) < 0.2);
    }

    #[test]
    fn remaining_time_is_empty_while_unknown() {
        let seconds = Duration::from_secs_f64;
        assert_eq!(remaining(0, seconds(5.0)), "");
        assert_eq!(remaining(5, seconds(0.0)), "");
        assert_eq!(remaining(5, seconds(0.2)), ", 1 s left");
        assert_eq!(remaining(5, seconds(65.0)), ", 1:05 min left");
        assert_eq!(remaining(5, seconds(7300.0)), ", 2:01 h left");
    }
}

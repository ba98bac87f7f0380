//! The options of `node separate`.

use std::path::PathBuf;

use audio::clip::ClipMode;
use audio::encode::{DEFAULT_PRESET, Format, WavEncoding};

use super::path_pattern::PathPattern;
use crate::thread_count::parse_thread_count;

/// The options of `node separate`.
#[derive(Debug, clap::Args)]
pub(crate) struct SeparateOptions {
    /// The files to separate.
    #[arg(required = true, value_name = "SONG")]
    pub songs: Vec<PathBuf>,
    /// The model; `node model list` lists the models. [default: htdemucs if it is installed, otherwise the built-in spectral]
    #[arg(short = 'n', long, value_name = "MODEL")]
    pub name: Option<String>,
    /// The output folder. Stems are written to a subfolder with the name of the model.
    #[arg(short, long, default_value = "separated", value_name = "FOLDER")]
    pub out: PathBuf,
    /// The path of a stem within that subfolder. {track} and {trackext} are the name and extension of the song, {stem} and
    /// {ext} those of the stem. Names are shortened to 255 bytes, and characters that Windows does not allow become _.
    #[arg(long, default_value = "{track}/{stem}.{ext}", value_name = "PATTERN")]
    pub filename: PathPattern,
    /// Replaces existing files. Without this option, a song is skipped with an error if one of its stems exists.
    #[arg(long)]
    pub overwrite: bool,
    /// Writes only this stem, and the rest of the song as no_STEM.
    #[arg(long, value_name = "STEM")]
    pub two_stems: Option<String>,
    /// How no_STEM is made: the sum of the other stems, the song minus the stem, or not at all.
    #[arg(long, value_enum, default_value_t = OtherMethod::Add)]
    pub other_method: OtherMethod,
    /// Separates the song N times with shifts of up to half a second and averages the results: slightly better, and N
    /// times slower. 0 and 1 separate it once without a shift.
    #[arg(long, default_value_t = 0, value_name = "N", value_parser = clap::value_parser!(u32).range(0..=100))]
    pub shifts: u32,
    /// The overlap of consecutive segments as a fraction of their length, from 0 to below 1.
    #[arg(long, value_name = "FRACTION", value_parser = parse_overlap)]
    pub overlap: Option<f64>,
    /// Writes MP3 files.
    #[arg(long, group = "kind")]
    pub mp3: bool,
    /// Writes FLAC files.
    #[arg(long, group = "kind", conflicts_with = "float32")]
    pub flac: bool,
    /// Writes WAV files, the default.
    #[arg(long, group = "kind")]
    pub wav: bool,
    /// The bit rate of MP3 files in kbit/s.
    #[arg(long, value_name = "N", default_value_t = 320)]
    pub mp3_bitrate: u32,
    /// The quality of the MP3 encoder, from 2 (best) to 7 (fastest).
    #[arg(long, value_name = "N", default_value_t = DEFAULT_PRESET)]
    pub mp3_preset: u8,
    /// Writes 24-bit FLAC and WAV files instead of 16-bit ones.
    #[arg(long, group = "depth")]
    pub int24: bool,
    /// Writes 32-bit float WAV files.
    #[arg(long, group = "depth")]
    pub float32: bool,
    /// What to do with a stem that exceeds full scale: scale the whole stem down, clip its peaks, or nothing.
    #[arg(long, value_name = "rescale|clamp|none", default_value_t = ClipMode::Rescale)]
    pub clip_mode: ClipMode,
    /// The number of threads; 0 means one per processor.
    #[arg(short, long, value_name = "N", default_value_t = 0, value_parser = parse_thread_count)]
    pub jobs: usize,
}

impl SeparateOptions {
    /// The format of the stems.
    pub(crate) fn format(&self) -> Format {
        let encoding = match (self.float32, self.int24) {
            (true, _) => WavEncoding::Float32,
            (_, true) => WavEncoding::Int24,
            _ => WavEncoding::Int16,
        };
        if self.mp3 {
            Format::Mp3 { kbps: self.mp3_bitrate, preset: self.mp3_preset }
        } else if self.flac {
            Format::Flac { bits: if self.int24 { 24 } else { 16 } }
        } else {
            Format::Wav { encoding }
        }
    }
}

/// How the rest of a song (no_STEM) is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum OtherMethod {
    /// The sum of the other stems.
    Add,
    /// The song minus the stem.
    Minus,
    /// Not at all.
    None,
}

fn parse_overlap(text: &str) -> Result<f64, String> {
    let overlap = text.parse().map_err(|_| format!("{text:?} is not a number"))?;
    if (0.0..1.0).contains(&overlap) { Ok(overlap) } else { Err("use a number from 0 to below 1".into()) }
}

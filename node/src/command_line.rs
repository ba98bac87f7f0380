//! The command line.

use std::path::PathBuf;

use audio::clip::ClipMode;
use audio::encode::{DEFAULT_PRESET, Format, WavEncoding};
use clap::{Parser, Subcommand};
use net::NodeId;

use crate::logs::LogFormat;
use crate::separate::Pattern;

/// Turns songs into their stems, on one machine or on several that stand in for each other.
///
/// Without arguments, `node` runs a cluster of one in a data folder and prints the address to open in a browser.
/// With --id and --cluster it runs one node of the cluster that the file describes.
#[derive(Debug, Parser)]
#[command(name = "node", version, max_term_width = 100)]
pub(crate) struct CommandLine {
    /// Which of the cluster file's nodes this is.
    #[arg(long, requires = "cluster")]
    pub id: Option<NodeId>,

    /// The cluster file; see the commented cluster.toml.
    #[arg(long, value_name = "FILE")]
    pub cluster: Option<PathBuf>,

    /// The folder of a cluster of one; quartet-data if it is not given.
    #[arg(long, value_name = "FOLDER", conflicts_with = "cluster")]
    pub data: Option<PathBuf>,

    /// The address at which a cluster of one answers browsers.
    #[arg(long, value_name = "HOST:PORT", default_value = "127.0.0.1:8080", conflicts_with = "cluster")]
    pub listen: String,

    /// The model for songs whose upload names none, in a cluster of one.
    #[arg(long, value_name = "NAME", conflicts_with = "cluster")]
    pub model: Option<String>,

    /// How log lines look: for people, or as JSON objects. QUARTET_LOG says what is logged, as in info,raft=debug.
    #[arg(long, value_enum, value_name = "FORMAT", env = "QUARTET_LOG_FORMAT", default_value_t = LogFormat::Human)]
    pub log: LogFormat,

    /// Does something else than running a node.
    #[command(subcommand)]
    pub action: Option<Action>,
}

/// What `node` does apart from running.
#[derive(Debug, Subcommand)]
pub(crate) enum Action {
    /// Separates songs here and now, without a cluster. Takes what the `demucs` command takes.
    Separate(Separate),
    /// Separates songs for a cluster from a machine that is none of its nodes: takes them from RabbitMQ, delivers the
    /// stems to a node.
    Worker(crate::external_worker::Options),
    /// Fetches, imports, lists, checks and removes models. They are kept for `node separate` and for a cluster of one;
    /// with --id and --cluster (or --data) before `model`, the cluster of that node gets them.
    Model {
        /// What to do.
        #[command(subcommand)]
        action: crate::models::Action,
    },
    /// Looks after a cluster: --cluster names its file, and who can read its secret may.
    #[command(flatten)]
    Operator(crate::operator::Action),
    /// Composes a song whose stems are known, to try things with.
    Synthesize {
        /// The folder for song.wav and its stems.
        #[arg(short, long, value_name = "FOLDER")]
        out: PathBuf,
        /// How long the song is.
        #[arg(long, default_value_t = 60.0)]
        seconds: f64,
        /// Another seed is another song.
        #[arg(long, default_value_t = 1)]
        seed: u64,
    },
}

/// How songs are separated.
#[derive(Debug, clap::Args)]
pub(crate) struct Separate {
    /// The songs.
    #[arg(required = true, value_name = "SONG")]
    pub songs: Vec<PathBuf>,
    /// The model; `node model list` shows them. Without it, htdemucs if it is here, and else the built-in spectral.
    #[arg(short = 'n', long, value_name = "MODEL")]
    pub name: Option<String>,
    /// The folder for the stems, which lie in a folder of the model's name in it.
    #[arg(short, long, default_value = "separated", value_name = "FOLDER")]
    pub out: PathBuf,
    /// Where a stem goes within that folder; {track}, {trackext}, {stem} and {ext} stand for the song's and the stem's
    /// name and extension. Names are shortened to 255 bytes, and what Windows does not allow in them becomes _.
    #[arg(long, default_value = "{track}/{stem}.{ext}", value_name = "PATTERN")]
    pub filename: Pattern,
    /// Replaces stems that are there already. Without it, a song of which one is there is not separated.
    #[arg(long)]
    pub overwrite: bool,
    /// Only this stem, and the rest of the song as no_STEM.
    #[arg(long, value_name = "STEM")]
    pub two_stems: Option<String>,
    /// How the rest is made: the sum of the other stems, the song without the stem, or not at all.
    #[arg(long, value_enum, default_value_t = Other::Add)]
    pub other_method: Other,
    /// Separates this many times, each time shifted by up to half a second, and takes the mean: a little better, and
    /// so many times slower. 0 and 1 are once, as it is.
    #[arg(long, default_value_t = 0, value_name = "N", value_parser = clap::value_parser!(u32).range(0..=100))]
    pub shifts: u32,
    /// How much of a segment the next one shares, from 0 to below 1.
    #[arg(long, value_name = "SHARE", value_parser = overlap)]
    pub overlap: Option<f64>,
    /// Writes MP3 files.
    #[arg(long, group = "kind")]
    pub mp3: bool,
    /// Writes FLAC files.
    #[arg(long, group = "kind", conflicts_with = "float32")]
    pub flac: bool,
    /// Writes WAV files; so it is without --mp3 and --flac.
    #[arg(long, group = "kind")]
    pub wav: bool,
    /// The MP3 files' kbit/s.
    #[arg(long, value_name = "N", default_value_t = 320)]
    pub mp3_bitrate: u32,
    /// How much time MP3 encoding takes: 2 sounds best, 7 is quickest.
    #[arg(long, value_name = "N", default_value_t = DEFAULT_PRESET)]
    pub mp3_preset: u8,
    /// 24 bits in FLAC and WAV files instead of 16.
    #[arg(long, group = "depth")]
    pub int24: bool,
    /// 32-bit floats in WAV files.
    #[arg(long, group = "depth")]
    pub float32: bool,
    /// What is done with a stem that goes beyond full scale: the whole stem made quieter, its peaks cut, or nothing.
    #[arg(long, value_name = "rescale|clamp|none", default_value_t = ClipMode::Rescale)]
    pub clip_mode: ClipMode,
    /// How many threads work; otherwise as many as there are processors.
    #[arg(short, long, value_name = "N", default_value_t = 0, value_parser = jobs)]
    pub jobs: usize,
}

impl Separate {
    /// What a stem is written as.
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

/// How the rest of a song is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Other {
    /// The sum of the other stems.
    Add,
    /// The song without the stem.
    Minus,
    /// Not at all.
    None,
}

/// Reads a number of threads, of which a system does not start any number.
pub(crate) fn jobs(text: &str) -> Result<usize, String> {
    const MOST: usize = 1024;
    text.parse().ok().filter(|jobs| *jobs <= MOST).ok_or_else(|| format!("it must be a whole number from 0 to {MOST}"))
}

fn overlap(text: &str) -> Result<f64, String> {
    let share = text.parse().map_err(|_| format!("{text:?} is no number"))?;
    if (0.0..1.0).contains(&share) { Ok(share) } else { Err("it must be at least 0 and below 1".into()) }
}

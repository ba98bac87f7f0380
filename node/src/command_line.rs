//! The command line.

use std::path::PathBuf;

use clap::{Parser, Subcommand};
use storage::NodeId;

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
    #[arg(long, value_name = "FILE", requires = "id")]
    pub cluster: Option<PathBuf>,

    /// The folder of a cluster of one.
    #[arg(long, value_name = "FOLDER", default_value = "quartet-data", conflicts_with = "cluster")]
    pub data: PathBuf,

    /// The address at which a cluster of one answers browsers.
    #[arg(long, value_name = "HOST:PORT", default_value = "127.0.0.1:8080", conflicts_with = "cluster")]
    pub listen: String,

    /// Does something else than running a node.
    #[command(subcommand)]
    pub action: Option<Action>,
}

/// What `node` does apart from running.
#[derive(Debug, Subcommand)]
pub(crate) enum Action {
    /// Separates songs here and now, without a cluster.
    Separate {
        /// The songs.
        #[arg(required = true, value_name = "SONG")]
        songs: Vec<PathBuf>,
        /// The folder for the stems: OUT/MODEL/SONG/STEM.mp3 and .wav.
        #[arg(short, long, default_value = "separated", value_name = "FOLDER")]
        out: PathBuf,
        /// The model.
        #[arg(short = 'n', long, default_value = inference::DEFAULT_MODEL)]
        name: String,
    },
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

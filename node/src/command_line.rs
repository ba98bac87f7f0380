//! The command line.

use std::path::PathBuf;

use clap::{Parser, Subcommand};
use net::NodeId;

use crate::external_worker::WorkerOptions;
use crate::logs::LogFormat;
use crate::models::ModelCommand;
use crate::operator::OperatorCommand;
use crate::separate::SeparateOptions;

/// Separates songs into their stems, on one machine or on a fault-tolerant cluster.
///
/// Without arguments, `node` runs a standalone node and prints the address to open in a browser.
/// With --id and --cluster, it runs one node of the cluster that the file describes.
#[derive(Debug, Parser)]
#[command(name = "node", version, max_term_width = 100)]
pub(crate) struct CommandLine {
    /// The id of this node in the cluster file.
    #[arg(long, requires = "cluster")]
    pub id: Option<NodeId>,

    /// The cluster file. The example cluster.toml documents every key.
    #[arg(long, value_name = "FILE")]
    pub cluster: Option<PathBuf>,

    /// The data folder of a standalone node [default: quartet-data].
    #[arg(long, value_name = "FOLDER", conflicts_with = "cluster")]
    pub data: Option<PathBuf>,

    /// The HTTP address of a standalone node.
    #[arg(long, value_name = "HOST:PORT", default_value = "127.0.0.1:8080", conflicts_with = "cluster")]
    pub listen: String,

    /// The default model of a standalone node, for songs whose upload names no model.
    #[arg(long, value_name = "NAME", conflicts_with = "cluster")]
    pub model: Option<String>,

    /// The format of log lines: text for people, or JSON. QUARTET_LOG sets the levels, for example info,raft=debug.
    #[arg(long, value_enum, value_name = "FORMAT", env = "QUARTET_LOG_FORMAT", default_value_t = LogFormat::Human)]
    pub log: LogFormat,

    /// The command; without one, a node runs.
    #[command(subcommand)]
    pub command: Option<Command>,
}

/// The commands other than running a node.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Separates songs on this machine without a cluster. Accepts the options of the `demucs` command.
    Separate(SeparateOptions),
    /// Runs an external worker: it takes songs from RabbitMQ and uploads the stems to a node of the cluster.
    Worker(WorkerOptions),
    /// Manages models. Downloaded models are used by `node separate` and by standalone nodes; with --id and --cluster (or
    /// --data) before `model`, they are added to the cluster of that node.
    Model {
        /// The command.
        #[command(subcommand)]
        command: ModelCommand,
    },
    /// Operates a cluster. Needs --cluster, and read access to the secret that the file names.
    #[command(flatten)]
    Operator(OperatorCommand),
    /// Generates a song with known stems, for tests and experiments.
    Synthesize {
        /// The folder for song.wav and its stems.
        #[arg(short, long, value_name = "FOLDER")]
        out: PathBuf,
        /// The length of the song in seconds.
        #[arg(long, default_value_t = 60.0)]
        seconds: f64,
        /// The seed of the random generator. Each seed gives a different song.
        #[arg(long, default_value_t = 1)]
        seed: u64,
    },
}

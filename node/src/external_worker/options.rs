//! The options of `node worker`.

use std::path::PathBuf;

use anyhow::{Context, Result, ensure};
use inference::DEFAULT_MODEL;

use super::api_client::Token;
use crate::thread_count::parse_thread_count;

/// The environment variable for the token, which keeps it out of the process list.
const TOKEN_VARIABLE: &str = "QUARTET_WORKER_TOKEN";

/// The options of `node worker`.
#[derive(Debug, clap::Args)]
pub(crate) struct WorkerOptions {
    /// The address of RabbitMQ: amqps://USER:PASSWORD@HOST:PORT/%2f, or amqp:// without TLS. Other users of this machine can
    /// see command lines, but not the environment variable.
    #[arg(long, value_name = "URL", env = "QUARTET_WORKER_BROKER", hide_env_values = true)]
    pub broker: String,
    /// The address of a node: https://HOST:PORT, or http:// without TLS. Repeat the option to give more nodes; if one fails,
    /// the worker uses the next.
    #[arg(long, value_name = "URL", required = true)]
    pub backend: Vec<String>,
    /// A PEM file with the certificate authorities to trust for RabbitMQ and the nodes, instead of the public ones.
    #[arg(long, value_name = "FILE")]
    pub ca: Option<PathBuf>,
    /// The token of the worker. A file or QUARTET_WORKER_TOKEN is safer.
    #[arg(long, value_name = "TOKEN", conflicts_with = "token_file", value_parser = |text: &str| Ok::<_, String>(Token(text.into())))]
    pub token: Option<Token>,
    /// A file that contains the token.
    #[arg(long, value_name = "FILE")]
    pub token_file: Option<PathBuf>,
    /// The queue of songs.
    #[arg(long, value_name = "NAME", default_value = "vocalizer_queue")]
    pub queue: String,
    /// The model for songs whose message names no model.
    #[arg(long, value_name = "MODEL", default_value = DEFAULT_MODEL)]
    pub model: String,
    /// The largest accepted song in bytes.
    #[arg(long, value_name = "BYTES", default_value_t = 128 << 20)]
    pub max_bytes: usize,
    /// The number of threads; 0 means one per processor.
    #[arg(short, long, value_name = "N", default_value_t = 0, value_parser = parse_thread_count)]
    pub jobs: usize,
}

impl WorkerOptions {
    /// The token of the options, of the file or of the environment.
    pub(super) fn token(&self) -> Result<Token> {
        let text = match (&self.token, &self.token_file) {
            (Some(token), _) => token.0.clone(),
            (None, Some(file)) => std::fs::read_to_string(file)
                .with_context(|| format!("cannot read the token file {}", file.display()))?,
            (None, None) => std::env::var(TOKEN_VARIABLE)
                .with_context(|| format!("missing token: use --token-file FILE, {TOKEN_VARIABLE} or --token"))?,
        };
        let token = text.trim();
        ensure!(!token.is_empty(), "the token is empty");
        ensure!(
            token.chars().all(|letter| letter.is_ascii_graphic()),
            "the token must have only letters, digits and punctuation of ASCII"
        );
        Ok(Token(token.into()))
    }
}

//! The program `node`: reads the command line, and runs a node or one command.

mod command_line;
mod configuration;
mod daemon;
mod error_text;
mod external_worker;
mod http_server;
mod logs;
mod maintenance;
mod metrics;
mod models;
mod operator;
mod separate;
mod signals;
mod synthesize;
mod thread_count;
mod tls_listener;
mod webhooks;

use std::process::ExitCode;

use anyhow::{Context, Result};
use audio::sandbox::{Sandbox, child};
use clap::Parser;

use command_line::{Command, CommandLine};
use configuration::Configuration;
use error_text::error_text;
use logs::LogFormat;

fn main() -> ExitCode {
    let mut arguments = std::env::args_os().skip(1);
    if arguments.next().is_some_and(|first| first == child::ARGUMENT) {
        // First of all: a sandbox process handles one file, must start quickly and has a single thread.
        return child::serve(arguments);
    }
    let line = CommandLine::parse();
    let format = line.log;
    // Only the log lines of a running node carry its id.
    let node = line.command.is_none().then(|| line.id.unwrap_or(0));
    match logs::init(format, node).and_then(|()| run(line)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let error = error_text(&error);
            match format {
                LogFormat::Human => eprintln!("Error: {error}"),
                LogFormat::Json => tracing::error!("{error}"),
            }
            ExitCode::FAILURE
        }
    }
}

fn run(line: CommandLine) -> Result<()> {
    match line.command {
        Some(Command::Separate(options)) => separate::run(&options, &sandbox()?),
        Some(Command::Worker(options)) => {
            let library = models::own_library()?;
            let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
            let ended = runtime.block_on(external_worker::run(options, library, sandbox()?));
            // Do not wait for a thread that separates a segment.
            runtime.shutdown_background();
            ended
        }
        Some(Command::Model { command }) => {
            let data = match (line.data, &line.cluster, line.id) {
                (_, Some(file), Some(id)) => Some(Configuration::read(file, id)?.me().data.clone()),
                (data, ..) => data,
            };
            models::run(command, data.as_deref())
        }
        Some(Command::Operator(command)) => {
            let file = line.cluster.context("missing --cluster FILE")?;
            operator::run(command, &file, line.id)
        }
        Some(Command::Synthesize { out, seconds, seed }) => synthesize::synthesize(&out, seconds, seed),
        None => {
            storage::failpoint::arm(&std::env::var("FAILPOINTS").unwrap_or_default())?;
            let configuration = match (&line.cluster, line.id) {
                (Some(file), Some(id)) => Configuration::read(file, id)?,
                (Some(_), None) => anyhow::bail!("missing --id: the id of this node in the cluster file"),
                _ => Configuration::standalone(
                    line.data.unwrap_or_else(|| "quartet-data".into()),
                    line.listen,
                    line.model,
                    models::own_library().ok(),
                ),
            };
            tokio::runtime::Builder::new_multi_thread()
                .enable_all()
                .build()?
                .block_on(daemon::run(configuration, sandbox()?))
        }
    }
}

/// The sandbox in which files of users are decoded.
fn sandbox() -> Result<Sandbox> {
    Sandbox::own_child().context("cannot find the path of this program, which the sandbox starts for each file")
}

//! The Quartet node: reads what it is told, and runs it.

mod command_line;
mod configuration;
mod daemon;
mod external_worker;
mod hooks;
mod https;
mod logs;
mod maintenance;
mod metrics;
mod models;
mod operator;
mod sentence;
mod separate;
mod serving;
mod synthesize;

use std::process::ExitCode;

use anyhow::{Context, Result};
use audio::sandbox::{Sandbox, child};
use clap::Parser;

use command_line::{Action, CommandLine};
use configuration::Configuration;
use logs::LogFormat;
use sentence::sentence;

fn main() -> ExitCode {
    let mut arguments = std::env::args_os().skip(1);
    if arguments.next().is_some_and(|first| first == child::ARGUMENT) {
        // Before anything is read or started: a process for one file should begin at once and has a single thread.
        return child::serve(arguments);
    }
    let line = CommandLine::parse();
    let format = line.log;
    // Only a running node is one; the other commands speak for whoever gives them.
    let node = line.action.is_none().then(|| line.id.unwrap_or(0));
    match logs::begin(format, node).and_then(|()| act(line)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let error = sentence(&error);
            match format {
                LogFormat::Human => eprintln!("Error: {error}"),
                LogFormat::Json => tracing::error!("{error}"),
            }
            ExitCode::FAILURE
        }
    }
}

fn act(line: CommandLine) -> Result<()> {
    match line.action {
        Some(Action::Separate(options)) => separate::run(&options, &sandbox()?),
        Some(Action::Worker(options)) => {
            let library = models::own_library()?;
            let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
            let ended = runtime.block_on(external_worker::run(options, library, sandbox()?));
            // A thread in the middle of a segment is not waited for.
            runtime.shutdown_background();
            ended
        }
        Some(Action::Model { action }) => {
            let data = match (line.data, &line.cluster, line.id) {
                (_, Some(file), Some(id)) => Some(Configuration::read(file, id)?.me().data.clone()),
                (data, ..) => data,
            };
            models::run(action, data.as_deref())
        }
        Some(Action::Operator(action)) => {
            let file = line.cluster.context("missing --cluster FILE")?;
            operator::run(action, &file, line.id)
        }
        Some(Action::Synthesize { out, seconds, seed }) => synthesize::synthesize(&out, seconds, seed),
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

/// Where songs are read.
fn sandbox() -> Result<Sandbox> {
    Sandbox::own_child().context("cannot find this program, which must be started for each file")
}

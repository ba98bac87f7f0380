//! The operator's commands: status, membership, reset, scrub, backup and restore.
//!
//! The commands connect to any node of the cluster file over QUIC, with the identity [`net::OPERATOR`]. They need the
//! cluster's secret, and none of them is available over HTTP.

mod backup;
mod client;
mod membership;
mod protocol;
mod scrub;
mod service;
mod status;

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use net::NodeId;

use crate::configuration::Configuration;
use client::OperatorClient;
pub(crate) use service::OperatorService;

/// The operator's commands.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum OperatorCommand {
    /// Shows the status of the cluster: nodes, leader, tasks, broker and background activities.
    Status {
        /// Prints JSON.
        #[arg(long)]
        json: bool,
    },
    /// Adds the node --id to the running cluster. Start the node first: it waits for this command.
    Join {
        /// The member that it replaces, because that one is dead or has lost its disk.
        #[arg(long, value_name = "ID")]
        replace: Option<NodeId>,
    },
    /// Removes the node --id from the cluster permanently, after its files have been copied to the other nodes.
    Leave {
        /// Does not wait for the copies. Use this for a dead node.
        #[arg(long)]
        force: bool,
    },
    /// Stops all running tasks. They start again, without counting as failed.
    Reset,
    /// Makes all nodes, or only the node --id, verify all their files now and fetch damaged ones again.
    Scrub,
    /// Copies the cluster's state and all its files to a folder. Updates an existing backup in the same folder.
    Backup {
        /// The folder of the backup.
        folder: PathBuf,
    },
    /// Restores a backup to the empty node --id, as the first member of a new cluster. Other nodes can then join it.
    Restore {
        /// The folder of the backup.
        folder: PathBuf,
    },
}

/// Runs a command.
pub(crate) fn run(command: OperatorCommand, file: &Path, id: Option<NodeId>) -> Result<()> {
    let required_id = || id.context("missing --id: the id of the node");
    tokio::runtime::Builder::new_multi_thread().enable_all().build()?.block_on(async {
        match command {
            OperatorCommand::Restore { folder } => {
                backup::restore(&Configuration::read(file, required_id()?)?, &folder).await
            }
            OperatorCommand::Join { replace } => {
                let configuration = Configuration::read(file, required_id()?)?;
                membership::join(&OperatorClient::new(&configuration).await?, configuration.me(), replace).await
            }
            OperatorCommand::Leave { force } => {
                let node = required_id()?;
                membership::leave(&OperatorClient::new(&Configuration::read_any(file)?).await?, node, force).await
            }
            OperatorCommand::Status { json } => {
                status::show(&OperatorClient::new(&Configuration::read_any(file)?).await?, json).await
            }
            OperatorCommand::Reset => {
                let silent = OperatorClient::new(&Configuration::read_any(file)?).await?.reset().await?;
                for node in silent {
                    eprintln!("node {node} did not reply; it gets the reset through RabbitMQ, unless it is down");
                }
                Ok(())
            }
            OperatorCommand::Scrub => {
                scrub::run(&OperatorClient::new(&Configuration::read_any(file)?).await?, id).await
            }
            OperatorCommand::Backup { folder } => {
                backup::make(&OperatorClient::new(&Configuration::read_any(file)?).await?, &folder).await
            }
        }
    })
}

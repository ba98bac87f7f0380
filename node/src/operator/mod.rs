//! What the person who runs a cluster does with it from the command line.
//!
//! Who holds the cluster's secret is its operator: the commands speak QUIC with any node of the cluster file, under
//! the operator's own name. Nothing of this can be reached over HTTP.

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
use client::Client;
pub(crate) use service::OperatorService;

/// What an operator does.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum Action {
    /// Shows the cluster: who is there, who leads, what is going on.
    Status {
        /// For programs.
        #[arg(long)]
        json: bool,
    },
    /// Lets the node --id into the running cluster. Start it first: it waits for this.
    Join {
        /// The member whose place it takes: one that is dead, or whose disk is lost.
        #[arg(long, value_name = "ID")]
        replace: Option<NodeId>,
    },
    /// Takes the node --id out of the cluster, for ever. Its files are copied to the others first.
    Leave {
        /// Does not wait for the copies: for a node that is dead.
        #[arg(long)]
        force: bool,
    },
    /// Makes every worker drop what it is doing. Nothing is lost and nothing counts as failed: the tasks begin anew.
    Reset,
    /// Has every node, or the node --id alone, read all its files now and fetch again what is damaged.
    Scrub,
    /// Copies the cluster's state and all its files to a folder. Into the same folder again, it copies what is new.
    Backup {
        /// The folder.
        folder: PathBuf,
    },
    /// Makes the empty node --id the first of a new cluster that has all that the backup has; let the others join it.
    Restore {
        /// The folder of the backup.
        folder: PathBuf,
    },
}

/// Does it.
pub(crate) fn run(action: Action, file: &Path, id: Option<NodeId>) -> Result<()> {
    let named = || id.context("say which node with --id");
    tokio::runtime::Builder::new_multi_thread().enable_all().build()?.block_on(async {
        match action {
            Action::Restore { folder } => backup::restore(&Configuration::read(file, named()?)?, &folder).await,
            Action::Join { replace } => {
                let configuration = Configuration::read(file, named()?)?;
                membership::join(&Client::new(&configuration).await?, configuration.me(), replace).await
            }
            Action::Leave { force } => {
                let node = named()?;
                membership::leave(&Client::new(&Configuration::read_any(file)?).await?, node, force).await
            }
            Action::Status { json } => status::show(&Client::new(&Configuration::read_any(file)?).await?, json).await,
            Action::Reset => {
                let silent = Client::new(&Configuration::read_any(file)?).await?.reset().await?;
                for node in silent {
                    eprintln!("node {node} did not answer; it has heard through the broker, or works on nothing");
                }
                Ok(())
            }
            Action::Scrub => scrub::run(&Client::new(&Configuration::read_any(file)?).await?, id).await,
            Action::Backup { folder } => {
                backup::make(&Client::new(&Configuration::read_any(file)?).await?, &folder).await
            }
        }
    })
}

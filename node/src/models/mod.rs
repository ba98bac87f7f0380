//! The command `node model`, and the publication of models to the cluster.
//!
//! `node model` manages a folder of models. The folder `models` in a node's data folder is the node's inbox: the node
//! publishes every model in it ([`publish`]) and then removes it from the inbox.

mod fetch;
pub(crate) mod publish;

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use inference::models::{Library, OFFICIAL, RELEASED, Released, State};

/// The commands of `node model`.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum ModelCommand {
    /// Lists installed and available models.
    List,
    /// Downloads a model. An interrupted download continues where it ended.
    Fetch {
        /// The model; `node model list` lists the available ones.
        name: String,
        /// Another server: a mirror of the released files, or the address of a folder with NAME.toml and the files that it
        /// names.
        #[arg(long, value_name = "URL")]
        from: Option<String>,
    },
    /// Adds your own checkpoint: a .th file written by Demucs, or a .safetensors file.
    Import {
        /// The checkpoint.
        file: PathBuf,
        /// The name of the model [default: the name of the file].
        #[arg(long)]
        name: Option<String>,
    },
    /// Removes a model.
    Remove {
        /// The model.
        name: String,
    },
    /// Checks the files of a model against the checksums in their names, and loads it. Without a name, checks all models.
    Verify {
        /// The model.
        name: Option<String>,
    },
}

/// The user's folder of models: `$QUARTET_MODELS`, or `quartet/models` in the user's data folder (XDG).
pub(crate) fn own_library() -> Result<Library> {
    let variable = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let folder = variable("QUARTET_MODELS")
        .or_else(|| Some(variable("XDG_DATA_HOME")?.join("quartet/models")))
        .or_else(|| Some(variable("HOME")?.join(".local/share/quartet/models")))
        .context("there is no home folder for models; set QUARTET_MODELS to a folder")?;
    Ok(Library::at(folder))
}

/// The model if none is given: htdemucs if it is installed, otherwise the built-in one.
pub(crate) fn default_model(library: &Library) -> Result<String> {
    const PREFERRED: &str = "htdemucs";
    if library.names()?.iter().any(|name| name == PREFERRED) {
        return Ok(PREFERRED.into());
    }
    eprintln!(
        "Using the built-in model {}. For much better results, install a model: node model fetch {PREFERRED}",
        inference::DEFAULT_MODEL
    );
    Ok(inference::DEFAULT_MODEL.into())
}

/// The inbox of a node, whose models it publishes to the cluster.
pub(crate) fn inbox(data: &Path) -> Library {
    Library::at(data.join("models"))
}

/// Runs a command on the user's folder or, with a node's data folder, on that node's inbox.
pub(crate) fn run(command: ModelCommand, data: Option<&Path>) -> Result<()> {
    let library = data.map_or_else(own_library, |data| Ok(inbox(data)))?;
    match command {
        ModelCommand::List => list(&library),
        ModelCommand::Fetch { name, from } => {
            let released = Released::find(&name).map(Released::manifest);
            if released.is_none() && from.is_none() {
                let known: Vec<_> = RELEASED.iter().map(|released| released.name).collect();
                bail!(
                    "{name:?} is not a released model; those are {}. For other models, use --from URL",
                    known.join(", ")
                );
            }
            fetch::fetch(&library, &name, released, from.as_deref().unwrap_or(OFFICIAL))?;
            print_location(&library, &name, data.is_some());
            Ok(())
        }
        ModelCommand::Import { file, name } => {
            let name = library.import(&file, name.as_deref())?;
            print_location(&library, &name, data.is_some());
            Ok(())
        }
        ModelCommand::Remove { name } if data.is_some() => {
            publish::request_removal(&library, &name)?;
            eprintln!("The node will remove {name} from its cluster while it runs.");
            Ok(())
        }
        ModelCommand::Remove { name } => Ok(library.remove(&name)?),
        ModelCommand::Verify { name } => verify(&library, name),
    }
}

fn print_location(library: &Library, name: &str, node: bool) {
    if node {
        eprintln!("{name} is in {}. The node will add it to its cluster while it runs.", library.folder().display());
    } else {
        eprintln!("{name} is in {}. Try: node separate -n {name} SONG", library.folder().display());
    }
}

#[allow(clippy::print_stdout, reason = "the result belongs on standard output")]
fn verify(library: &Library, name: Option<String>) -> Result<()> {
    let names = name.map_or_else(|| library.names(), |name| Ok(vec![name]))?;
    for name in &names {
        library.verify(name)?;
        println!("{name} is valid");
    }
    if names.is_empty() {
        println!("There are no models in {}.", library.folder().display());
    }
    Ok(())
}

#[allow(clippy::print_stdout, reason = "the list belongs on standard output")]
fn list(library: &Library) -> Result<()> {
    for model in library.list()? {
        let megabytes = model.bytes as f64 / 1e6;
        let released = Released::find(&model.name);
        let state = match (model.state, released) {
            (State::BuiltIn, _) => "built in".to_owned(),
            (State::Here, _) => format!("installed, {megabytes:.0} MB"),
            (State::Incomplete, _) => "incomplete: fetch it again".to_owned(),
            (State::Released, Some(released)) => format!("available, {} MB", released.megabytes),
            (State::Released, None) => "available".to_owned(),
        };
        let about = match (model.state, released) {
            (State::BuiltIn, _) => "fast, needs no download, much lower quality than the others",
            (_, Some(released)) => released.about,
            (_, None) => "your own checkpoint",
        };
        println!("{:<14} {state:<24} {about}", model.name);
    }
    Ok(())
}

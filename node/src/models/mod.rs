//! Models on the command line and on their way into the cluster.
//!
//! `node model` keeps a folder of models. A node's own folder, `models` in its data folder, is a inbox: what is
//! put there is published, that is, its files become blobs that a majority holds, the state learns of the model, and
//! the folder is emptied.

mod fetch;
pub(crate) mod publish;

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use inference::models::{Library, OFFICIAL, RELEASED, Released, State};

/// What `node model` does.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum Action {
    /// Shows which models are here and which can be fetched.
    List,
    /// Downloads a model. A download that broke off goes on where it ended.
    Fetch {
        /// The model; `node model list` shows those that can be had.
        name: String,
        /// Another place to download from: a mirror of the released files, or any folder of models that a web server
        /// shows, with NAME.toml and the files that it names.
        #[arg(long, value_name = "URL")]
        from: Option<String>,
    },
    /// Adds a checkpoint of your own: a .th file as Demucs writes it, or safetensors.
    Import {
        /// The checkpoint.
        file: PathBuf,
        /// What the model shall be called; otherwise like its file.
        #[arg(long)]
        name: Option<String>,
    },
    /// Removes a model.
    Remove {
        /// The model.
        name: String,
    },
    /// Checks a model's files against the checksums in their names, and builds it. Without a name, all models.
    Verify {
        /// The model.
        name: Option<String>,
    },
}

/// The folder of models of whoever runs this: `$QUARTET_MODELS`, or `quartet/models` among the user's data.
pub(crate) fn own_library() -> Result<Library> {
    let variable = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let folder = variable("QUARTET_MODELS")
        .or_else(|| Some(variable("XDG_DATA_HOME")?.join("quartet/models")))
        .or_else(|| Some(variable("HOME")?.join(".local/share/quartet/models")))
        .context("there is no home folder to keep models in; set QUARTET_MODELS to a folder")?;
    Ok(Library::at(folder))
}

/// The model for those who name none: the one that most people mean if it is here, and else the one that always is.
pub(crate) fn usual(library: &Library) -> Result<String> {
    const USUAL: &str = "htdemucs";
    if library.names()?.iter().any(|name| name == USUAL) {
        return Ok(USUAL.into());
    }
    eprintln!(
        "Separating with {}, which needs no weights. `node model fetch {USUAL}` gets a model that separates far better.",
        inference::DEFAULT_MODEL
    );
    Ok(inference::DEFAULT_MODEL.into())
}

/// The folder from which a node takes models into the cluster.
pub(crate) fn inbox(data: &Path) -> Library {
    Library::at(data.join("models"))
}

/// Does it, on the user's own folder or, with a node's data folder, for that node's cluster.
pub(crate) fn run(action: Action, data: Option<&Path>) -> Result<()> {
    let library = data.map_or_else(own_library, |data| Ok(inbox(data)))?;
    match action {
        Action::List => list(&library),
        Action::Fetch { name, from } => {
            let released = Released::find(&name).map(Released::manifest);
            if released.is_none() && from.is_none() {
                let known: Vec<_> = RELEASED.iter().map(|released| released.name).collect();
                bail!("{name:?} is no released model; there are {}. Others need --from URL", known.join(", "));
            }
            fetch::fetch(&library, &name, released, from.as_deref().unwrap_or(OFFICIAL))?;
            tell_where(&library, &name, data.is_some());
            Ok(())
        }
        Action::Import { file, name } => {
            let name = library.import(&file, name.as_deref())?;
            tell_where(&library, &name, data.is_some());
            Ok(())
        }
        Action::Remove { name } if data.is_some() => {
            publish::ask_removal(&library, &name)?;
            eprintln!("The node removes {name} from its cluster as soon as it runs.");
            Ok(())
        }
        Action::Remove { name } => Ok(library.remove(&name)?),
        Action::Verify { name } => verify(&library, name),
    }
}

fn tell_where(library: &Library, name: &str, node: bool) {
    if node {
        eprintln!(
            "{name} is in {}; the node takes it into its cluster as soon as it runs.",
            library.folder().display()
        );
    } else {
        eprintln!("{name} is in {}. Try: node separate -n {name} SONG", library.folder().display());
    }
}

#[allow(clippy::print_stdout, reason = "the answer is for standard output")]
fn verify(library: &Library, name: Option<String>) -> Result<()> {
    let names = name.map_or_else(|| library.names(), |name| Ok(vec![name]))?;
    for name in &names {
        library.verify(name)?;
        println!("{name} is sound");
    }
    if names.is_empty() {
        println!("There are no models in {}.", library.folder().display());
    }
    Ok(())
}

#[allow(clippy::print_stdout, reason = "a list is for standard output")]
fn list(library: &Library) -> Result<()> {
    for kept in library.list()? {
        let megabytes = kept.bytes as f64 / 1e6;
        let released = Released::find(&kept.name);
        let state = match (kept.state, released) {
            (State::BuiltIn, _) => "built in".to_owned(),
            (State::Here, _) => format!("here, {megabytes:.0} MB"),
            (State::Incomplete, _) => "incomplete: fetch it again".to_owned(),
            (State::Released, Some(released)) => format!("can be fetched, {} MB", released.megabytes),
            (State::Released, None) => "can be fetched".to_owned(),
        };
        let about = match (kept.state, released) {
            (State::BuiltIn, _) => "a quick separator that needs no weights, and no match for the others",
            (_, Some(released)) => released.about,
            (_, None) => "a checkpoint of your own",
        };
        println!("{:<14} {state:<24} {about}", kept.name);
    }
    Ok(())
}

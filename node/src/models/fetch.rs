//! Downloading models.
//!
//! A file is complete when it stands under its own name. Until then it grows beside it, so that a download that broke
//! off, or whose program was killed, goes on where it ended; and it gets its name only if its SHA-256 begins as the
//! name says.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail, ensure};
use indicatif::{ProgressBar, ProgressStyle};
use inference::models::{Library, Manifest, checksum_in, checksum_of, is_name};
use ureq::Agent;
use ureq::http::StatusCode;

/// How often a broken connection is taken up again without a byte in between.
const TRIES: u32 = 5;
/// The longest manifest, in bytes.
const LARGEST_MANIFEST: u64 = 64 << 10;
/// No checkpoint of this kind is larger.
const LARGEST: u64 = 4 << 30;

/// Downloads what of the model is not here yet, and makes the model known. A model whose manifest is not known has it
/// beside its files.
pub(super) fn fetch(library: &Library, name: &str, manifest: Option<Manifest>, from: &str) -> Result<()> {
    let folder = library.folder();
    fs::create_dir_all(folder).with_context(|| format!("the folder {} cannot be made", folder.display()))?;
    let agent: Agent = Agent::config_builder()
        .timeout_connect(Some(Duration::from_secs(20)))
        .timeout_recv_response(Some(Duration::from_secs(30)))
        .http_status_as_error(false)
        .user_agent(concat!("quartet/", env!("CARGO_PKG_VERSION")))
        .build()
        .into();
    let url = |file: &str| format!("{}/{file}", from.trim_end_matches('/'));
    let manifest = manifest.map_or_else(|| described(&agent, &url(&format!("{name}.toml"))), Ok)?;
    for file in &manifest.files {
        download(&agent, &url(file), folder, file)?;
    }
    library.add(name, &manifest)?;
    Ok(())
}

/// What a manifest elsewhere says.
fn described(agent: &Agent, url: &str) -> Result<Manifest> {
    let mut response = agent.get(url).call().with_context(|| format!("{url} cannot be had"))?;
    ensure!(response.status().is_success(), "{url}: the server says {}", response.status());
    let text = response.body_mut().with_config().limit(LARGEST_MANIFEST).read_to_string();
    let manifest: Manifest = toml::from_str(&text.with_context(|| format!("{url} cannot be read"))?)
        .map_err(|error| anyhow!("{url} is no model's description: {}", error.message()))?;
    let has_checksum = |file: &String| is_name(file) && checksum_in(Path::new(file)).is_some();
    if let Some(file) = manifest.files.iter().find(|file| !has_checksum(file)) {
        bail!(
            "{url} names the file {file:?}; a name must end with eight digits of its SHA-256, as in NAME-8726e21a.th"
        );
    }
    Ok(manifest)
}

fn download(agent: &Agent, url: &str, folder: &Path, file: &str) -> Result<()> {
    let place = folder.join(file);
    if !place.exists() {
        let half = folder.join(format!(".{file}.half"));
        let mut out = File::options().create(true).append(true).open(&half).context("the download's file")?;
        if out.try_lock().is_err() {
            bail!("{} is being downloaded by another program", place.display());
        }
        receive(agent, url, file, &mut out)?;
        out.sync_all().context("the download's file")?;
        check(&half, file, url)?;
        fs::rename(&half, &place).context("the download's file")?;
    }
    Ok(())
}

/// The file's name says how its SHA-256 begins.
fn check(half: &Path, file: &str, url: &str) -> Result<()> {
    let expected = checksum_in(Path::new(file)).unwrap_or_default();
    let found = checksum_of(half)?;
    if !found.starts_with(&expected) {
        fs::remove_file(half).context("the damaged download")?;
        bail!(
            "what {url} sends is not the model: its SHA-256 begins with {}, not {expected}. It was thrown away; \
             try again, or from another place with --from",
            &found[..8]
        );
    }
    Ok(())
}

/// Appends what is missing, and goes on when the connection breaks.
fn receive(agent: &Agent, url: &str, file: &str, out: &mut File) -> Result<()> {
    let bar = ProgressBar::no_length().with_message(file.to_owned());
    bar.set_style(ProgressStyle::with_template("{msg} {wide_bar} {bytes} of {total_bytes}, {eta} left")?);
    let (mut tries, mut last) = (0, out.metadata()?.len());
    loop {
        let error = match receive_once(agent, url, out, &bar) {
            Ok(()) => {
                bar.finish_and_clear();
                return Ok(());
            }
            Err(Broken::ForGood(error)) => return Err(error),
            Err(Broken::ForNow(error)) => error,
        };
        let length = out.metadata()?.len();
        tries = if length > last { 0 } else { tries + 1 };
        last = length;
        if tries >= TRIES {
            return Err(error.context(format!(
                "{url} cannot be had; what has come is kept, and the same command goes on from there"
            )));
        }
        std::thread::sleep(Duration::from_millis(300) * 2u32.pow(tries));
    }
}

/// Why a download ended early.
enum Broken {
    /// Trying again may help.
    ForNow(anyhow::Error),
    /// It will not.
    ForGood(anyhow::Error),
}

fn receive_once(agent: &Agent, url: &str, out: &mut File, bar: &ProgressBar) -> Result<(), Broken> {
    let told = |error: std::io::Error| Broken::ForGood(anyhow::Error::from(error).context("the download's file"));
    let here = out.metadata().map_err(told)?.len();
    let mut request = agent.get(url);
    if here > 0 {
        request = request.header("range", format!("bytes={here}-"));
    }
    let mut response = request.call().map_err(|error| match error {
        ureq::Error::BadUri(_) | ureq::Error::Http(_) => Broken::ForGood(error.into()),
        error => Broken::ForNow(error.into()),
    })?;
    let number = |name: &str| response.headers().get(name)?.to_str().ok()?.parse::<u64>().ok();
    let rest = match response.status() {
        StatusCode::PARTIAL_CONTENT => number("content-length"),
        StatusCode::OK => {
            // The server knows no ranges, or nothing was here: from the beginning.
            let length = number("content-length");
            out.set_len(0).map_err(told)?;
            length
        }
        // Nothing is missing.
        StatusCode::RANGE_NOT_SATISFIABLE if here > 0 => return Ok(()),
        status if status.is_server_error() => return Err(Broken::ForNow(anyhow::anyhow!("the server says {status}"))),
        status => {
            return Err(Broken::ForGood(anyhow::anyhow!(
                "{url}: the server says {status}; is the address right? Another place can be named with --from"
            )));
        }
    };
    let from = out.metadata().map_err(told)?.len();
    bar.set_position(from);
    if let Some(rest) = rest {
        bar.set_length(from + rest);
    }
    let mut body = response.body_mut().with_config().limit(LARGEST).reader();
    let (mut block, mut came) = (vec![0; 1 << 16], 0);
    loop {
        match body.read(&mut block) {
            Ok(0) => break,
            Ok(count) => {
                out.write_all(&block[..count]).map_err(told)?;
                came += count as u64;
                bar.set_position(from + came);
            }
            Err(error) => return Err(Broken::ForNow(error.into())),
        }
    }
    match rest {
        Some(rest) if came < rest => Err(Broken::ForNow(anyhow::anyhow!("the connection broke off"))),
        _ => Ok(()),
    }
}

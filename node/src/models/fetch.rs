//! Downloads of models.
//!
//! A file with its final name is complete. A download is written to a hidden file with the suffix `.half`, so an
//! interrupted one continues where it ended. The file gets its final name only if its SHA-256 begins with the digits in
//! that name.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail, ensure};
use indicatif::{ProgressBar, ProgressStyle};
use inference::models::{Library, Manifest, checksum_in, checksum_of, is_name};
use ureq::Agent;
use ureq::http::StatusCode;

/// The number of consecutive attempts without a received byte before a download fails.
const MAX_ATTEMPTS: u32 = 5;
/// The largest manifest in bytes.
const MAX_MANIFEST_BYTES: u64 = 64 << 10;
/// The largest checkpoint in bytes.
const MAX_FILE_BYTES: u64 = 4 << 30;

/// Downloads the missing files of a model and adds the model to the library. Without a `manifest`, it is downloaded from
/// the same place as the files, as NAME.toml.
pub(super) fn fetch(library: &Library, name: &str, manifest: Option<Manifest>, from: &str) -> Result<()> {
    let folder = library.folder();
    fs::create_dir_all(folder).with_context(|| format!("cannot create the folder {}", folder.display()))?;
    let agent: Agent = Agent::config_builder()
        .timeout_connect(Some(Duration::from_secs(20)))
        .timeout_recv_response(Some(Duration::from_secs(30)))
        .http_status_as_error(false)
        .user_agent(concat!("quartet/", env!("CARGO_PKG_VERSION")))
        .build()
        .into();
    let url = |file: &str| format!("{}/{file}", from.trim_end_matches('/'));
    let manifest = manifest.map_or_else(|| fetch_manifest(&agent, &url(&format!("{name}.toml"))), Ok)?;
    for file in &manifest.files {
        download(&agent, &url(file), folder, file)?;
    }
    library.add(name, &manifest)?;
    Ok(())
}

/// Downloads a manifest.
fn fetch_manifest(agent: &Agent, url: &str) -> Result<Manifest> {
    let mut response = agent.get(url).call().with_context(|| format!("cannot download {url}"))?;
    ensure!(response.status().is_success(), "{url}: the server answered {}", response.status());
    let text = response.body_mut().with_config().limit(MAX_MANIFEST_BYTES).read_to_string();
    let manifest: Manifest = toml::from_str(&text.with_context(|| format!("cannot read {url}"))?)
        .map_err(|error| anyhow!("{url} is not a valid manifest of a model: {}", error.message()))?;
    let has_checksum = |file: &String| is_name(file) && checksum_in(Path::new(file)).is_some();
    if let Some(file) = manifest.files.iter().find(|file| !has_checksum(file)) {
        bail!(
            "{url} has an invalid file name {file:?}: names must end with the first eight digits of the SHA-256, for example \
             NAME-8726e21a.th"
        );
    }
    Ok(manifest)
}

fn download(agent: &Agent, url: &str, folder: &Path, file: &str) -> Result<()> {
    let path = folder.join(file);
    if !path.exists() {
        let half = folder.join(format!(".{file}.half"));
        let mut out = File::options().create(true).append(true).open(&half).context("cannot write the download")?;
        if out.try_lock().is_err() {
            bail!("another process is downloading {}", path.display());
        }
        receive(agent, url, file, &mut out)?;
        out.sync_all().context("cannot write the download")?;
        check(&half, file, url)?;
        fs::rename(&half, &path).context("cannot write the download")?;
    }
    Ok(())
}

/// Compares the SHA-256 of a download with the digits in the file's name, and removes the download if they differ.
fn check(half: &Path, file: &str, url: &str) -> Result<()> {
    let expected = checksum_in(Path::new(file)).unwrap_or_default();
    let found = checksum_of(half)?;
    if !found.starts_with(&expected) {
        fs::remove_file(half).context("cannot remove the damaged download")?;
        bail!(
            "{url} is not the expected file: its SHA-256 begins with {}, not {expected}. The download was removed; try again, \
             or use another server with --from",
            &found[..8]
        );
    }
    Ok(())
}

/// Appends the missing bytes to `out`. Reconnects if the connection breaks.
fn receive(agent: &Agent, url: &str, file: &str, out: &mut File) -> Result<()> {
    let bar = ProgressBar::no_length().with_message(file.to_owned());
    bar.set_style(ProgressStyle::with_template("{msg} {wide_bar} {bytes} of {total_bytes}, {eta} left")?);
    let (mut attempts, mut last) = (0, out.metadata()?.len());
    loop {
        let error = match receive_once(agent, url, out, &bar) {
            Ok(()) => {
                bar.finish_and_clear();
                return Ok(());
            }
            Err(DownloadError::Permanent(error)) => return Err(error),
            Err(DownloadError::Temporary(error)) => error,
        };
        let length = out.metadata()?.len();
        attempts = if length > last { 0 } else { attempts + 1 };
        last = length;
        if attempts >= MAX_ATTEMPTS {
            return Err(
                error.context(format!("cannot download {url}; run the same command again to continue this download"))
            );
        }
        std::thread::sleep(Duration::from_millis(300) * 2u32.pow(attempts));
    }
}

/// A download ended early.
enum DownloadError {
    /// Another attempt may succeed.
    Temporary(anyhow::Error),
    /// Another attempt would fail too.
    Permanent(anyhow::Error),
}

fn receive_once(agent: &Agent, url: &str, out: &mut File, bar: &ProgressBar) -> Result<(), DownloadError> {
    let disk = |error: std::io::Error| {
        DownloadError::Permanent(anyhow::Error::from(error).context("cannot write the download"))
    };
    let received = out.metadata().map_err(disk)?.len();
    let mut request = agent.get(url);
    if received > 0 {
        request = request.header("range", format!("bytes={received}-"));
    }
    let mut response = request.call().map_err(|error| match error {
        ureq::Error::BadUri(_) | ureq::Error::Http(_) => DownloadError::Permanent(error.into()),
        error => DownloadError::Temporary(error.into()),
    })?;
    let number = |name: &str| response.headers().get(name)?.to_str().ok()?.parse::<u64>().ok();
    let rest = match response.status() {
        StatusCode::PARTIAL_CONTENT => number("content-length"),
        StatusCode::OK => {
            // The whole file: nothing was here, or the server does not support ranges.
            let length = number("content-length");
            out.set_len(0).map_err(disk)?;
            length
        }
        // The file is complete.
        StatusCode::RANGE_NOT_SATISFIABLE if received > 0 => return Ok(()),
        status if status.is_server_error() => {
            return Err(DownloadError::Temporary(anyhow::anyhow!("the server answered {status}")));
        }
        status => {
            return Err(DownloadError::Permanent(anyhow::anyhow!(
                "{url}: the server answered {status}; check the address, or use another server with --from"
            )));
        }
    };
    let from = out.metadata().map_err(disk)?.len();
    bar.set_position(from);
    if let Some(rest) = rest {
        bar.set_length(from + rest);
    }
    let mut body = response.body_mut().with_config().limit(MAX_FILE_BYTES).reader();
    let (mut block, mut count) = (vec![0; 1 << 16], 0);
    loop {
        match body.read(&mut block) {
            Ok(0) => break,
            Ok(read) => {
                out.write_all(&block[..read]).map_err(disk)?;
                count += read as u64;
                bar.set_position(from + count);
            }
            Err(error) => return Err(DownloadError::Temporary(error.into())),
        }
    }
    match rest {
        Some(rest) if count < rest => Err(DownloadError::Temporary(anyhow::anyhow!("the connection ended early"))),
        _ => Ok(()),
    }
}

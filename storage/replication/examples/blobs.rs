//! A benchmark of blob transfers: it moves one large file between two processes in four ways and prints their speeds.
//!
//! The ways are a push and a fetch as nodes make them, a copy over plain TCP, and a download with curl over HTTPS.
//! `scripts/bench blobs` starts nginx and runs this. Push and fetch verify each piece and the whole file, and fsync it.
//! The copy fsyncs. The download is timed twice: when curl ends, and after an fsync and a SHA-256, which push and fetch
//! include. Every second round runs in the opposite order, because each way finds the caches as the previous one left
//! them.

#![allow(clippy::print_stdout)]

use std::collections::BTreeMap;
use std::error::Error;
use std::fs::File;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Instant;

use net::{Peer, PeerConfig, Secret};
use replication::{Replication, ReplicationError};
use sha2::{Digest, Sha256};
use storage::blobs::{Blobs, Hash, Quota};

type BoxError = Box<dyn Error + Send + Sync>;

/// The node with the file, in this process.
const SOURCE: u64 = 0;
/// The node without the file, in the other process.
const TARGET: u64 = 1;

fn node(id: u64, folder: &Path, addresses: &[SocketAddr; 2]) -> Result<Replication, BoxError> {
    let members =
        [SOURCE, TARGET].into_iter().zip(addresses.iter().map(SocketAddr::to_string)).collect::<BTreeMap<_, _>>();
    let secret = Secret::read(&folder.join("secret"))?;
    let data = folder.join(format!("blobs-{id}"));
    std::fs::create_dir_all(&data)?;
    let listen = addresses[usize::try_from(id)?];
    let peer = Peer::bind(PeerConfig { id, listen, members, secret, consensus_runtime: None })?;
    Ok(Replication::start(Blobs::open(&data, Quota::default())?, peer))
}

/// The other process. It reads one order per line and prints `done` after each.
async fn run_target(folder: &Path, addresses: [SocketAddr; 2]) -> Result<(), BoxError> {
    let replication = node(TARGET, folder, &addresses)?;
    let listener = TcpListener::bind("127.0.0.1:0")?;
    println!("{}", listener.local_addr()?);
    for line in std::io::stdin().lines() {
        let line = line?;
        match line.split_once(' ') {
            Some(("fetch", hash)) => {
                let (replication, hash) = (replication.clone(), hash.parse()?);
                on_worker_thread(async move { replication.fetch(&hash).await }).await?;
            }
            Some(("remove", hash)) => replication.blobs().remove(&hash.parse()?)?,
            Some(("receive", file)) => {
                let (mut stream, _) = listener.accept()?;
                let mut file = File::create(file)?;
                std::io::copy(&mut stream, &mut file)?;
                file.sync_all()?;
            }
            _ => return Err(format!("unknown order: {line}").into()),
        }
        println!("done");
    }
    Ok(())
}

/// Runs a task on a worker thread of the runtime, as nodes do, and not on the thread in `block_on`.
async fn on_worker_thread<T: Send + 'static>(
    work: impl Future<Output = Result<T, ReplicationError>> + Send + 'static,
) -> Result<T, BoxError> {
    Ok(tokio::spawn(work).await??)
}

/// A handle of the other process.
struct Target {
    child: Child,
    output: BufReader<std::process::ChildStdout>,
    tcp: String,
}

impl Target {
    fn start(folder: &Path, addresses: &[SocketAddr; 2]) -> Result<Self, BoxError> {
        let mut child = Command::new(std::env::current_exe()?)
            .arg("target")
            .arg(folder)
            .args(addresses.map(|address| address.to_string()))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let output = BufReader::new(child.stdout.take().ok_or("no output")?);
        let mut target = Self { child, output, tcp: String::new() };
        target.tcp = target.read_line()?;
        Ok(target)
    }

    fn read_line(&mut self) -> Result<String, BoxError> {
        let mut line = String::new();
        self.output.read_line(&mut line)?;
        let line = line.trim().to_owned();
        if line.is_empty() { Err("the other process ended".into()) } else { Ok(line) }
    }

    fn write_line(&mut self, order: &str) -> Result<(), BoxError> {
        writeln!(self.child.stdin.as_mut().ok_or("no input")?, "{order}")?;
        Ok(())
    }

    fn order(&mut self, order: &str) -> Result<(), BoxError> {
        self.write_line(order)?;
        self.read_line().map(drop)
    }
}

impl Drop for Target {
    fn drop(&mut self) {
        // It ends when its input ends. If it hangs, it is killed.
        drop(self.child.stdin.take());
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Copies the file to the other process over TCP.
fn copy(target: &mut Target, from: &Path, to: &Path) -> Result<(), BoxError> {
    target.write_line(&format!("receive {}", to.display()))?;
    let mut stream = TcpStream::connect(&target.tcp)?;
    std::io::copy(&mut File::open(from)?, &mut stream)?;
    drop(stream);
    target.read_line().map(drop)
}

fn download(url: &str, to: &Path) -> Result<(), BoxError> {
    let done = Command::new("curl").args(["-sSf", "--insecure", "--tlsv1.3", "-o"]).arg(to).arg(url).status()?;
    if done.success() { Ok(()) } else { Err("curl failed".into()) }
}

fn hash(file: &Path) -> Result<String, BoxError> {
    let (mut file, mut hasher, mut buffer) = (File::open(file)?, Sha256::new(), vec![0; 1 << 20]);
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok(hex::encode(hasher.finalize())),
            read => hasher.update(&buffer[..read]),
        }
    }
}

/// The measured ways in the order of the output, and the seconds of each round.
#[derive(Default)]
struct Measurements(Vec<(&'static str, Vec<f64>)>);

impl Measurements {
    fn add(&mut self, what: &'static str, seconds: f64) {
        match self.0.iter_mut().find(|(known, _)| *known == what) {
            Some((_, times)) => times.push(seconds),
            None => self.0.push((what, vec![seconds])),
        }
    }

    fn print(&self, bytes: u64) {
        for (what, times) in &self.0 {
            let mut rates: Vec<f64> = times.iter().map(|seconds| bytes as f64 / 1e6 / seconds).collect();
            rates.sort_by(f64::total_cmp);
            let (least, median, most) = (rates[0], rates[rates.len() / 2], rates[rates.len() - 1]);
            println!("{what:<42} {median:>6.0} MB/s ({least:.0} to {most:.0})");
        }
    }

    fn ratio(&self, of: &str, to: &str) -> Option<f64> {
        let times = |what| self.0.iter().find(|(known, _)| *known == what).map(|(_, times)| times);
        let mut ratios: Vec<f64> = times(of)?.iter().zip(times(to)?).map(|(ours, theirs)| theirs / ours).collect();
        ratios.sort_by(f64::total_cmp);
        ratios.get(ratios.len() / 2).copied()
    }
}

const PUSH: &str = "push over QUIC, verified and fsynced";
const FETCH: &str = "fetch over QUIC, verified and fsynced";
const COPY: &str = "copy over TCP, fsynced";
const CURL: &str = "nginx and curl over HTTPS";
/// The ways of one round, in order.
const WAYS: [&str; 4] = [PUSH, FETCH, COPY, CURL];
const CHECKED: &str = "nginx and curl, then fsync and SHA-256";

async fn measure(folder: &Path, file: &Path, url: &str, rounds: usize) -> Result<(), BoxError> {
    let free = || UdpSocket::bind("127.0.0.1:0")?.local_addr();
    let addresses = [free()?, free()?];
    std::fs::write(folder.join("secret"), Hash::of(addresses[0].to_string().as_bytes()).to_string())?;
    let replication = node(SOURCE, folder, &addresses)?;
    let mut target = Target::start(folder, &addresses)?;

    let mut source = File::open(file)?;
    let mut staged = replication.blobs().stage(source.metadata()?.len()).await?;
    let mut buffer = vec![0; 1 << 20];
    loop {
        match source.read(&mut buffer)? {
            0 => break,
            read => staged.write(&buffer[..read]).await?,
        }
    }
    let (name, length) = staged.commit().await?;
    let held = replication.blobs().path(&name);
    let arrived = folder.join("arrived");

    let mut times = Measurements::default();
    let forth = WAYS.into_iter();
    for what in forth.clone().chain(forth.rev()).cycle().take(rounds * WAYS.len()) {
        let began = Instant::now();
        match what {
            PUSH => {
                let replication = replication.clone();
                on_worker_thread(async move { replication.replicate(&[name]).await }).await?;
            }
            FETCH => target.order(&format!("fetch {name}"))?,
            COPY => copy(&mut target, &held, &arrived)?,
            _ => download(url, &arrived)?,
        }
        times.add(what, began.elapsed().as_secs_f64());
        match what {
            PUSH | FETCH => target.order(&format!("remove {name}"))?,
            COPY => std::fs::remove_file(&arrived)?,
            _ => {
                File::open(&arrived)?.sync_all()?;
                if hash(&arrived)? != name.to_string() {
                    return Err("curl wrote another file".into());
                }
                times.add(CHECKED, began.elapsed().as_secs_f64());
                std::fs::remove_file(&arrived)?;
            }
        }
    }
    times.print(length);
    for (ours, name) in [(PUSH, "push"), (FETCH, "fetch")] {
        for (theirs, what) in [(COPY, "the copy"), (CURL, "the download"), (CHECKED, "the download with its checks")] {
            if let Some(ratio) = times.ratio(ours, theirs) {
                println!("{name} / {what}: {ratio:.2}");
            }
        }
    }
    Ok(())
}

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        ["target", folder, source, target] => run_target(Path::new(folder), [source.parse()?, target.parse()?]).await,
        [folder, file, url, rounds] => measure(Path::new(folder), Path::new(file), url, rounds.parse()?).await,
        _ => Err("usage: blobs FOLDER FILE URL ROUNDS".into()),
    }
}

//! Moves one large file between two processes in four ways, by turns, and prints how fast each was: pushed and fetched as
//! nodes do it, copied over plain TCP, and downloaded by curl over HTTPS. `scripts/bench blobs` starts nginx and runs this.
//!
//! Ours hashes and verifies every piece and the whole, and has it fsynced, before it says that it is done. The copy over
//! TCP writes and fsyncs. For the download the time is given as curl ends, and after an fsync and a SHA-256 as well, which
//! is what ours includes. Every other round goes the other way round, for each finds the machine as the one before has left
//! it.

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

type Failed = Box<dyn Error + Send + Sync>;

/// The end that holds the file, and the end that wants it.
const HERE: u64 = 0;
const THERE: u64 = 1;

fn node(id: u64, folder: &Path, addresses: &[SocketAddr; 2]) -> Result<Replication, Failed> {
    let members =
        [HERE, THERE].into_iter().zip(addresses.iter().map(SocketAddr::to_string)).collect::<BTreeMap<_, _>>();
    let secret = Secret::read(&folder.join("secret"))?;
    let data = folder.join(format!("blobs-{id}"));
    std::fs::create_dir_all(&data)?;
    let listen = addresses[usize::try_from(id)?];
    let peer = Peer::bind(PeerConfig { id, listen, members, secret, consensus_runtime: None })?;
    Ok(Replication::start(Blobs::open(&data, Quota::default())?, peer))
}

/// The other process: told what to do line by line, it says a word when it has done it.
async fn other(folder: &Path, addresses: [SocketAddr; 2]) -> Result<(), Failed> {
    let sharing = node(THERE, folder, &addresses)?;
    let listener = TcpListener::bind("127.0.0.1:0")?;
    println!("{}", listener.local_addr()?);
    for line in std::io::stdin().lines() {
        let line = line?;
        match line.split_once(' ') {
            Some(("fetch", hash)) => {
                let (sharing, hash) = (sharing.clone(), hash.parse()?);
                on_a_worker(async move { sharing.fetch(&hash).await }).await?;
            }
            Some(("remove", hash)) => sharing.blobs().remove(&hash.parse()?)?,
            Some(("receive", file)) => {
                let (mut stream, _) = listener.accept()?;
                let mut file = File::create(file)?;
                std::io::copy(&mut stream, &mut file)?;
                file.sync_all()?;
            }
            _ => return Err(format!("no such order: {line}").into()),
        }
        println!("done");
    }
    Ok(())
}

/// Runs it where nodes run such things: on the runtime's own threads, not on the one that waits for them.
async fn on_a_worker<T: Send + 'static>(
    work: impl Future<Output = Result<T, ReplicationError>> + Send + 'static,
) -> Result<T, Failed> {
    Ok(tokio::spawn(work).await??)
}

/// The other process, as this one sees it.
struct Other {
    child: Child,
    said: BufReader<std::process::ChildStdout>,
    tcp: String,
}

impl Other {
    fn start(folder: &Path, addresses: &[SocketAddr; 2]) -> Result<Self, Failed> {
        let mut child = Command::new(std::env::current_exe()?)
            .arg("other")
            .arg(folder)
            .args(addresses.map(|address| address.to_string()))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let said = BufReader::new(child.stdout.take().ok_or("no output")?);
        let mut other = Self { child, said, tcp: String::new() };
        other.tcp = other.hear()?;
        Ok(other)
    }

    fn hear(&mut self) -> Result<String, Failed> {
        let mut line = String::new();
        self.said.read_line(&mut line)?;
        let line = line.trim().to_owned();
        if line.is_empty() { Err("the other process ended".into()) } else { Ok(line) }
    }

    fn tell(&mut self, order: &str) -> Result<(), Failed> {
        writeln!(self.child.stdin.as_mut().ok_or("no input")?, "{order}")?;
        Ok(())
    }

    fn order(&mut self, order: &str) -> Result<(), Failed> {
        self.tell(order)?;
        self.hear().map(drop)
    }
}

impl Drop for Other {
    fn drop(&mut self) {
        // It ends with its input; whoever hangs is ended.
        drop(self.child.stdin.take());
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Copies the file to the other process over TCP.
fn copy(other: &mut Other, from: &Path, to: &Path) -> Result<(), Failed> {
    other.tell(&format!("receive {}", to.display()))?;
    let mut stream = TcpStream::connect(&other.tcp)?;
    std::io::copy(&mut File::open(from)?, &mut stream)?;
    drop(stream);
    other.hear().map(drop)
}

fn download(url: &str, to: &Path) -> Result<(), Failed> {
    let done = Command::new("curl").args(["-sSf", "--insecure", "--tlsv1.3", "-o"]).arg(to).arg(url).status()?;
    if done.success() { Ok(()) } else { Err("curl failed".into()) }
}

fn hash(file: &Path) -> Result<String, Failed> {
    let (mut file, mut hasher, mut buffer) = (File::open(file)?, Sha256::new(), vec![0; 1 << 20]);
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok(hex::encode(hasher.finalize())),
            read => hasher.update(&buffer[..read]),
        }
    }
}

/// What was measured, in the order in which it is printed, and the seconds of each round.
#[derive(Default)]
struct Times(Vec<(&'static str, Vec<f64>)>);

impl Times {
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
/// Whose turns there are.
const TURNS: [&str; 4] = [PUSH, FETCH, COPY, CURL];
const CHECKED: &str = "nginx and curl, then fsync and SHA-256";

async fn measure(folder: &Path, file: &Path, url: &str, rounds: usize) -> Result<(), Failed> {
    let free = || UdpSocket::bind("127.0.0.1:0")?.local_addr();
    let addresses = [free()?, free()?];
    std::fs::write(folder.join("secret"), Hash::of(addresses[0].to_string().as_bytes()).to_string())?;
    let sharing = node(HERE, folder, &addresses)?;
    let mut other = Other::start(folder, &addresses)?;

    let mut source = File::open(file)?;
    let mut staged = sharing.blobs().stage(source.metadata()?.len()).await?;
    let mut buffer = vec![0; 1 << 20];
    loop {
        match source.read(&mut buffer)? {
            0 => break,
            read => staged.write(&buffer[..read]).await?,
        }
    }
    let (name, length) = staged.commit().await?;
    let held = sharing.blobs().path(&name);
    let arrived = folder.join("arrived");

    let mut times = Times::default();
    let forth = TURNS.into_iter();
    for what in forth.clone().chain(forth.rev()).cycle().take(rounds * TURNS.len()) {
        let began = Instant::now();
        match what {
            PUSH => {
                let sharing = sharing.clone();
                on_a_worker(async move { sharing.replicate(&[name]).await }).await?;
            }
            FETCH => other.order(&format!("fetch {name}"))?,
            COPY => copy(&mut other, &held, &arrived)?,
            _ => download(url, &arrived)?,
        }
        times.add(what, began.elapsed().as_secs_f64());
        match what {
            PUSH | FETCH => other.order(&format!("remove {name}"))?,
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
async fn main() -> Result<(), Failed> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        ["other", folder, here, there] => other(Path::new(folder), [here.parse()?, there.parse()?]).await,
        [folder, file, url, rounds] => measure(Path::new(folder), Path::new(file), url, rounds.parse()?).await,
        _ => Err("usage: blobs FOLDER FILE URL ROUNDS".into()),
    }
}

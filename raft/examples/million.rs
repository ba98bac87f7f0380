//! Measures a cluster with many songs: the rate of writes while a snapshot is built and while one is installed on an
//! empty node, the memory for that, the start of a node, and the time to read a page of songs.
//!
//! `scripts/bench state [SONGS]` runs this. The songs have finished jobs with tasks and stems. All nodes run in this
//! process, and their data folders are in a temporary folder below TMPDIR, which is removed at the end.

#![allow(clippy::print_stdout)]

use std::collections::BTreeMap;
use std::error::Error;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use futures_util::StreamExt;
use net::{NodeId, Peer, PeerConfig, Secret};
use raft::{Change, Cluster, ClusterConfig};
use state::command::{AddSong, Answer, FinishJob};
use state::{Facts, JobOptions, JobResult, Plan, Selection, SeparationSpec, Stems};
use storage::blobs::Hash;
use storage::database::Database;
use tokio::task::JoinSet;

type Result<T> = std::result::Result<T, Box<dyn Error + Send + Sync>>;

/// How many songs are added concurrently while the state is filled.
const AT_A_TIME: usize = 1024;
/// The number of concurrent writers during a measurement.
const WRITERS: usize = 16;
/// The duration of a measurement that has no end of its own.
const QUIET: Duration = Duration::from_secs(15);

struct Node {
    cluster: Cluster,
    peer: Peer,
}

impl Node {
    async fn start(id: NodeId, members: &BTreeMap<NodeId, String>, root: &Path) -> Result<Self> {
        let secret = root.join("secret");
        std::fs::write(&secret, "a secret of more than thirty-two characters")?;
        let secret = Secret::read(&secret)?;
        let listen = members[&id].parse()?;
        let peer = Peer::bind(PeerConfig { id, listen, members: members.clone(), secret, consensus_runtime: None })?;
        let data = root.join(id.to_string());
        let database = Database::open(&data.join("database"))?;
        let (heartbeat, election) = (Duration::from_millis(60), Duration::from_millis(200)..Duration::from_millis(350));
        let feature_level = state::FEATURE_LEVEL;
        let config = ClusterConfig { id, members: members.clone(), data, heartbeat, election, feature_level };
        Ok(Self { cluster: Cluster::start(config, database, peer.clone()).await?, peer })
    }

    async fn stop(self) {
        self.cluster.stop().await;
        self.peer.close().await;
    }
}

/// A song with a file of its own, for an external worker, which delivers all stems at once.
fn song(number: u64) -> AddSong {
    AddSong {
        title: format!("Song number {number}"),
        hash: Hash::of(&number.to_be_bytes()),
        size: 4_000_000,
        format: "mp3".into(),
        uploader_id: None,
        credits: Box::default(),
        separation: SeparationSpec {
            model: "htdemucs".into(),
            formats: vec!["mp3:320".into(), "wav:int16".into()],
            plan: Plan { frames: 44_100 * 90, segments: 12, segments_per_task: 4 },
            selection: Selection::All,
        },
        job: JobOptions { max_attempts: 5, external: true, ..JobOptions::default() },
        at: 1_700_000_000_000 + number,
    }
}

fn stems(number: u64) -> Stems {
    let files = ["vocals", "drums", "bass", "other"].into_iter().map(|stem| {
        let of = |format: &str| (format.to_owned(), Hash::of(format!("{number} {stem} {format}").as_bytes()));
        (stem.to_owned(), [of("mp3"), of("wav")].into())
    });
    let facts = Facts { loudness: Some(-14.2), tempo: Some((120.0, 0.9)), ..Facts::default() };
    let peaks = Some(Hash::of(format!("{number} peaks").as_bytes()));
    Stems { files: files.collect(), facts: Some(Box::new(facts)), peaks }
}

async fn add(cluster: &Cluster, number: u64) -> Result<()> {
    match cluster.propose(song(number)).await?? {
        Answer::Song(song) => {
            let (job, at) = (song.job, 1_700_000_100_000);
            let result = Box::new(JobResult::Separation(stems(number)));
            cluster.propose(FinishJob { job, result, at }).await??;
            Ok(())
        }
        other => Err(format!("a song was answered with {other:?}").into()),
    }
}

/// Concurrent writers, and the latencies of their writes.
struct Writers {
    stop: Arc<AtomicBool>,
    failed: Arc<AtomicU64>,
    running: JoinSet<Vec<Duration>>,
    began: Instant,
}

impl Writers {
    fn start(cluster: &Cluster) -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(1 << 40);
        let (stop, failed) = (Arc::<AtomicBool>::default(), Arc::<AtomicU64>::default());
        let mut running = JoinSet::new();
        for _ in 0..WRITERS {
            let (cluster, stop, failed) = (cluster.clone(), Arc::clone(&stop), Arc::clone(&failed));
            running.spawn(async move {
                let mut took = Vec::new();
                while !stop.load(Ordering::Relaxed) {
                    let began = Instant::now();
                    match cluster.propose(song(NEXT.fetch_add(1, Ordering::Relaxed))).await {
                        Ok(Ok(_)) => took.push(began.elapsed()),
                        _ => {
                            failed.fetch_add(1, Ordering::Relaxed);
                        }
                    }
                }
                took
            });
        }
        Self { stop, failed, running, began: Instant::now() }
    }

    async fn end(mut self, what: &str) {
        self.stop.store(true, Ordering::Relaxed);
        let seconds = self.began.elapsed().as_secs_f64();
        let mut all: Vec<Duration> = Vec::new();
        while let Some(Ok(took)) = self.running.join_next().await {
            all.extend(took);
        }
        all.sort_unstable();
        let at = |share: f64| {
            let place = (all.len() as f64 * share) as usize;
            all.get(place.min(all.len().saturating_sub(1))).copied().map_or(0.0, milliseconds)
        };
        println!(
            "{what:<40} {:>8.0} {:>9.1} {:>9.1} {:>9.0} {:>7}",
            all.len() as f64 / seconds,
            at(0.5),
            at(0.99),
            at(1.0),
            self.failed.load(Ordering::Relaxed)
        );
    }
}

fn milliseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1000.0
}

/// A line of /proc/self/status, in MB.
fn memory(line: &str) -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let found = status.lines().find_map(|text| text.strip_prefix(line)?.split_whitespace().nth(1)?.parse().ok());
    found.unwrap_or(0_u64) / 1024
}

/// The memory at the start of a measurement, to compare with the peak.
struct Peak(u64);

impl Peak {
    fn begin() -> Self {
        // Resets the peak. If that is not possible, the printed growth counts from the start of the process.
        let _ = std::fs::write("/proc/self/clear_refs", "5");
        Self(memory("VmRSS"))
    }

    fn text(&self) -> String {
        format!("{} MB before, at most {} MB more", self.0, memory("VmHWM").saturating_sub(self.0))
    }
}

fn bytes(path: &Path) -> u64 {
    match std::fs::read_dir(path) {
        Ok(entries) => entries.flatten().map(|entry| bytes(&entry.path())).sum(),
        Err(_) => std::fs::metadata(path).map_or(0, |about| about.len()),
    }
}

fn megabytes(path: &Path) -> u64 {
    bytes(path) >> 20
}

async fn wait_until(mut question: impl FnMut() -> bool) {
    while !question() {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::main]
async fn main() -> Result<()> {
    let songs: u64 = std::env::args().nth(1).map_or(Ok(1_000_000), |word| word.parse())?;
    let folder = tempfile::Builder::new().prefix("quartet-million").tempdir()?;
    let root = folder.path();
    let mut members = BTreeMap::new();
    let sockets = [std::net::UdpSocket::bind("127.0.0.1:0")?, std::net::UdpSocket::bind("127.0.0.1:0")?];
    for (id, socket) in (0..).zip(&sockets) {
        members.insert(id, socket.local_addr()?.to_string());
    }
    drop(sockets);

    let began = Instant::now();
    let first = Node::start(0, &BTreeMap::from([(0, members[&0].clone())]), root).await?;
    let newest =
        || first.cluster.peek().cluster_meta().ok().flatten().map(|meta| meta.level) == Some(state::FEATURE_LEVEL);
    wait_until(newest).await;
    {
        let filling = futures_util::stream::iter(0..songs).map(|number| add(&first.cluster, number));
        let mut filling = std::pin::pin!(filling.buffer_unordered(AT_A_TIME));
        while let Some(added) = filling.next().await {
            added?;
        }
    }
    println!(
        "{songs} songs with jobs, four tasks and nine files each, in {:.0} s; on the disk {} MB, memory {} MB",
        began.elapsed().as_secs_f64(),
        megabytes(root),
        memory("VmRSS")
    );

    println!("\n{:<40} writes/s {:>9} {:>9} {:>9} {:>7}", "", "median ms", "99 % ms", "worst ms", "failed");
    let writers = Writers::start(&first.cluster);
    tokio::time::sleep(QUIET).await;
    writers.end("one node, nothing else").await;

    let (writers, peak, began) = (Writers::start(&first.cluster), Peak::begin(), Instant::now());
    first.cluster.snapshot().await?;
    let (built, building) = (began.elapsed(), peak.text());
    writers.end("one node, while a snapshot is built").await;
    let snapshot = megabytes(&root.join("0/snapshots"));

    let writers = Writers::start(&first.cluster);
    tokio::time::sleep(QUIET).await;
    writers.end("one node, after it").await;

    let term = first.cluster.status().term;
    let (writers, peak, began) = (Writers::start(&first.cluster), Peak::begin(), Instant::now());
    let starting = {
        let (members, root) = (members.clone(), root.to_owned());
        tokio::spawn(async move { Node::start(1, &members, &root).await })
    };
    let join = Change::Join { node: 1, address: members[&1].clone(), replaces: None };
    while first.cluster.change(join.clone()).await?.is_err() {
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let second = starting.await??;
    wait_until(|| second.cluster.peek().cluster_meta().is_ok_and(|meta| meta.is_some())).await;
    let installed = began.elapsed();
    wait_until(|| second.cluster.status().members.contains(&1)).await;
    let (joined, installing) = (began.elapsed(), peak.text());
    writers.end("one node, while another one joins").await;

    let writers = Writers::start(&second.cluster);
    tokio::time::sleep(QUIET).await;
    writers.end("two nodes, asked through the follower").await;
    println!("\nsnapshot    {snapshot} MB in {:.1} s; memory {building}", built.as_secs_f64());
    println!(
        "installed   after {:.1} s, a member after {:.1} s, {} new terms; memory of both nodes {installing}",
        installed.as_secs_f64(),
        joined.as_secs_f64(),
        first.cluster.status().term - term
    );

    let view = first.cluster.read().await?;
    for (what, before) in [("the newest", None), ("from the middle", Some(songs / 2))] {
        let began = Instant::now();
        let page = view.songs(before, 50)?;
        for song in &page {
            view.song_status(song)?;
        }
        println!("a page      {:.2} ms for {} songs, {what}", milliseconds(began.elapsed()), page.len());
    }
    let (peak, began) = (Peak::begin(), Instant::now());
    let files = tokio::task::spawn_blocking(move || view.references().map(|files| files.len())).await??;
    println!("references  {:.1} s for {files} files; memory {}", began.elapsed().as_secs_f64(), peak.text());

    second.stop().await;
    let began = Instant::now();
    let second = loop {
        match Node::start(1, &members, root).await {
            Ok(node) => break node,
            Err(error) if began.elapsed() > Duration::from_secs(60) => return Err(error),
            // A stopped node releases its database and port a moment later.
            Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
        }
    };
    let started = began.elapsed();
    while second.cluster.read().await.is_err() {}
    println!(
        "start       {:.2} s, and {:.2} s until it answers a linearizable read; on the disk {} MB a node",
        started.as_secs_f64(),
        began.elapsed().as_secs_f64(),
        megabytes(&root.join("1"))
    );
    second.stop().await;
    first.stop().await;
    Ok(())
}

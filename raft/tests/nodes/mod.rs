//! Nodes in one process, over real QUIC and real disks, for the tests.

#![allow(dead_code, clippy::unwrap_used, clippy::expect_used)]

use std::collections::BTreeMap;
use std::fs::File;
use std::net::UdpSocket;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use net::{NodeId, Peer, PeerConfig, Secret};
use raft::{Change, Cluster, ClusterConfig, ClusterError, MembershipError, StartError};
use state::command::{AddSong, Answer, Command, Refusal};
use state::{JobOptions, Plan, Selection, SeparationSpec, Song};
use storage::blobs::Hash;
use storage::database::Database;
use tempfile::TempDir;

/// A running node.
pub(crate) struct Node {
    pub cluster: Cluster,
    pub peer: Peer,
}

impl Node {
    pub(crate) async fn stop(self) {
        self.cluster.stop().await;
        self.peer.close().await;
    }
}

/// The longest wait for anything.
pub(crate) const PATIENCE: Duration = Duration::from_secs(120);

/// Addresses that stay free for this process while a node is down. Each port is reserved by a file lock, as in scripts
/// and the other tests, and lies below the ports that the system assigns.
pub(crate) fn free_ports(count: u64) -> BTreeMap<NodeId, String> {
    (0..count).map(|id| (id, format!("127.0.0.1:{}", reserve_port()))).collect()
}

fn reserve_port() -> u16 {
    const FROM: u32 = 20_000;
    const COUNT: u32 = 12_000;
    static CALLS: AtomicU32 = AtomicU32::new(0);
    static RESERVED: parking_lot::Mutex<Vec<File>> = parking_lot::Mutex::new(Vec::new());
    let cache = std::env::var_os("XDG_CACHE_HOME")
        .filter(|cache| !cache.is_empty())
        .map_or_else(|| PathBuf::from(std::env::var_os("HOME").unwrap_or_default()).join(".cache"), PathBuf::from);
    let folder = cache.join("quartet/ports");
    std::fs::create_dir_all(&folder).unwrap();
    loop {
        // Processes start at different ports.
        let place = std::process::id().wrapping_mul(101).wrapping_add(CALLS.fetch_add(1, Ordering::Relaxed));
        let port = u16::try_from(FROM + place % COUNT).unwrap();
        let lock = File::create(folder.join(port.to_string())).unwrap();
        if lock.try_lock().is_ok() && UdpSocket::bind(("127.0.0.1", port)).is_ok() {
            RESERVED.lock().push(lock);
            return port;
        }
    }
}

/// Repeats `open` until it succeeds: a stopped node releases its database and port a moment later.
async fn once_free<T, E: std::fmt::Display>(open: impl Fn() -> Result<T, E>) -> T {
    let began = std::time::Instant::now();
    loop {
        match open() {
            Ok(opened) => return opened,
            Err(error) => assert!(began.elapsed() < PATIENCE, "{error}"),
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

pub(crate) async fn start(id: NodeId, members: &BTreeMap<NodeId, String>, root: &Path) -> Result<Node, StartError> {
    start_version(id, members, root, state::FEATURE_LEVEL).await
}

/// Starts a node of a version that knows this feature level.
pub(crate) async fn start_version(
    id: NodeId,
    members: &BTreeMap<NodeId, String>,
    root: &Path,
    feature_level: u32,
) -> Result<Node, StartError> {
    let secret = root.join("secret");
    std::fs::write(&secret, "a secret of more than thirty-two characters").unwrap();
    let peer = once_free(|| {
        Peer::bind(PeerConfig {
            id,
            listen: members[&id].parse().unwrap(),
            members: members.clone(),
            secret: Secret::read(&secret).unwrap(),
            consensus_runtime: None,
        })
    })
    .await;
    let data = root.join(id.to_string());
    let database = once_free(|| Database::open(&data.join("database"))).await;
    let config = ClusterConfig {
        id,
        members: members.clone(),
        data,
        // Long enough that a busy machine causes no election.
        heartbeat: Duration::from_millis(100),
        election: Duration::from_millis(1000)..Duration::from_millis(2000),
        feature_level,
    };
    match Cluster::start(config, database, peer.clone()).await {
        Ok(cluster) => Ok(Node { cluster, peer }),
        Err(error) => {
            peer.close().await;
            Err(error)
        }
    }
}

pub(crate) async fn start_all(members: &BTreeMap<NodeId, String>, root: &TempDir) -> Vec<Node> {
    let starting = members.keys().map(|id| start(*id, members, root.path()));
    futures_util::future::join_all(starting).await.into_iter().map(Result::unwrap).collect()
}

pub(crate) fn add(title: &str) -> AddSong {
    AddSong {
        title: title.into(),
        hash: Hash::of(title.as_bytes()),
        size: 1,
        format: "wav".into(),
        uploader_id: None,
        credits: Box::default(),
        separation: SeparationSpec {
            model: "spectral".into(),
            formats: vec!["mp3:320".into()],
            plan: Plan { frames: 1, segments: 3, segments_per_task: 2 },
            selection: Selection::All,
        },
        job: JobOptions { max_attempts: 3, ..JobOptions::default() },
        at: 0,
    }
}

/// Proposes a command, and repeats it while there is no majority: on a busy machine an election takes a while.
pub(crate) async fn propose(node: &Node, command: impl Into<Command>) -> Result<Answer, Refusal> {
    let command = command.into();
    let began = std::time::Instant::now();
    loop {
        match node.cluster.propose(command.clone()).await {
            Err(ClusterError::NoMajority) => assert!(began.elapsed() < PATIENCE, "timed out waiting for a majority"),
            other => return other.unwrap(),
        }
        tokio::time::sleep(Duration::from_millis(30)).await;
    }
}

pub(crate) async fn add_song(node: &Node, title: &str) -> Song {
    match propose(node, add(title)).await {
        Ok(Answer::Song(song)) => song,
        other => panic!("{other:?}"),
    }
}

pub(crate) async fn titles(node: &Node) -> Vec<String> {
    let mut view = None;
    wait_until("a majority", async || {
        view = node.cluster.read().await.ok();
        view.is_some()
    })
    .await;
    view.unwrap().songs(None, 10_000).unwrap().into_iter().map(|song| song.title).collect()
}

/// Waits until `question` returns true.
pub(crate) async fn wait_until(what: &str, mut question: impl AsyncFnMut() -> bool) {
    let began = std::time::Instant::now();
    while !question().await {
        assert!(began.elapsed() < PATIENCE, "timed out waiting for {what}");
        tokio::time::sleep(Duration::from_millis(30)).await;
    }
}

/// Waits until a node knows a leader.
pub(crate) async fn leader(node: &Node) -> NodeId {
    wait_until("a leader", async || node.cluster.status().leader.is_some()).await;
    node.cluster.status().leader.unwrap()
}

/// Requests a change of the membership, and repeats it while there is no leader or another change is under way.
pub(crate) async fn decided(through: &Node, change: Change) -> Result<(), MembershipError> {
    let mut decision = None;
    wait_until("a decision about the membership", async || {
        decision = through.cluster.change(change.clone()).await.ok();
        !matches!(decision, None | Some(Err(MembershipError::Busy | MembershipError::Upgrading)))
    })
    .await;
    decision.unwrap()
}

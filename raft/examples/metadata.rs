//! Writes alternately to a running Quartet cluster and to a running etcd, and prints writes per second and latencies.
//! `scripts/bench metadata` starts both and runs this.
//!
//! Both are used in the same way: all clients share one connection to each node (QUIC streams to Quartet, HTTP/2 streams
//! to etcd), and each client waits for an answer before its next write. First all clients write to the leader, then to
//! all nodes in turn. Every answer means that a majority has the write on its disk.

#![allow(clippy::print_stdout)]

use std::collections::BTreeMap;
use std::error::Error;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use net::{NodeId, OPERATOR, Peer, PeerConfig, Secret};
use raft::Remote;
use state::command::{AddSong, Answer, ChangePlaylist, Command, MakePlaylist, Register};
use state::{Credits, JobOptions, MOST_PLAYLISTS, Plan, Selection, SeparationSpec, Verifier};
use storage::blobs::Hash;
use tonic::client::Grpc;
use tonic::codegen::http::uri::PathAndQuery;
use tonic::transport::{Channel, Endpoint};
use tonic_prost::ProstCodec;

type Failed = Box<dyn Error + Send + Sync>;

/// The numbers of clients to measure.
const CLIENTS: [usize; 3] = [1, 16, 128];
/// The size of a value in etcd and of a playlist's description, in bytes.
const VALUE: usize = 256;
/// How long each system is written to before the first measurement.
const FILL: Duration = Duration::from_secs(8);
/// How long the clients of a measurement run before writes are counted.
const WARM_UP: Duration = Duration::from_millis(500);

// The messages of etcd's rpc.proto that this program needs.

#[derive(Clone, PartialEq, prost::Message)]
struct PutRequest {
    #[prost(bytes = "vec", tag = "1")]
    key: Vec<u8>,
    #[prost(bytes = "vec", tag = "2")]
    value: Vec<u8>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Header {
    #[prost(uint64, tag = "2")]
    member: u64,
}

#[derive(Clone, PartialEq, prost::Message)]
struct PutResponse {
    #[prost(message, optional, tag = "1")]
    header: Option<Header>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct StatusRequest {}

#[derive(Clone, PartialEq, prost::Message)]
struct StatusResponse {
    #[prost(message, optional, tag = "1")]
    header: Option<Header>,
    #[prost(uint64, tag = "4")]
    leader: u64,
}

async fn ask<Q, A>(channel: &Channel, path: &'static str, question: Q) -> Result<A, Failed>
where
    Q: prost::Message + 'static,
    A: prost::Message + Default + 'static,
{
    let mut client = Grpc::new(channel.clone());
    client.ready().await?;
    let codec = ProstCodec::<Q, A>::default();
    Ok(client.unary(tonic::Request::new(question), PathAndQuery::from_static(path), codec).await?.into_inner())
}

/// The system to write to, and what to write.
enum System {
    /// The description of a playlist.
    Playlists { remote: Remote, nodes: Vec<NodeId>, playlists: Vec<u64> },
    /// A song.
    Songs { remote: Remote, nodes: Vec<NodeId> },
    /// A value.
    Etcd(Vec<Channel>),
}

/// Proposes a command that must not be rejected.
async fn change(remote: &Remote, node: NodeId, command: impl Into<Command>) -> Result<Answer, Failed> {
    Ok(remote.propose(node, command).await??)
}

impl System {
    /// The first node is the leader.
    fn songs(secret: &Path, leader: NodeId, members: BTreeMap<NodeId, String>) -> Result<Self, Failed> {
        let secret = Secret::read(secret)?;
        let mut nodes: Vec<NodeId> = members.keys().copied().collect();
        nodes.sort_by_key(|node| *node != leader);
        let listen = SocketAddr::from(([127, 0, 0, 1], 0));
        let peer = Peer::bind(PeerConfig { id: OPERATOR, listen, members, secret, consensus_runtime: None })?;
        Ok(Self::Songs { remote: Remote::new(peer), nodes })
    }

    /// The same nodes, with a user who has as many playlists as one may have.
    async fn playlists(remote: Remote, nodes: Vec<NodeId>) -> Result<Self, Failed> {
        let (name, password) = ("benchmark".to_owned(), Verifier("nobody logs in".into()));
        let register = Register { name, email: None, password, closed: false, at: 0 };
        let Answer::Made(owner) = change(&remote, nodes[0], register).await? else {
            return Err("a user was to be made and was not".into());
        };
        let mut playlists = Vec::new();
        for number in 0..MOST_PLAYLISTS {
            let name = format!("Playlist {number}");
            let make = MakePlaylist { owner, name, description: String::new(), at: 0 };
            let Answer::Made(id) = change(&remote, nodes[0], make).await? else {
                return Err("a playlist was to be made and was not".into());
            };
            playlists.push(id);
        }
        Ok(Self::Playlists { remote, nodes, playlists })
    }

    /// The first node is the leader.
    async fn etcd(addresses: &str) -> Result<Self, Failed> {
        let mut members = Vec::new();
        for address in addresses.split(',') {
            let channel = Endpoint::from_shared(address.to_owned())?.tcp_nodelay(true).connect().await?;
            let status: StatusResponse = ask(&channel, "/etcdserverpb.Maintenance/Status", StatusRequest {}).await?;
            members.push((status.header.is_none_or(|header| header.member != status.leader), channel));
        }
        members.sort_by_key(|(follows, _)| *follows);
        Ok(Self::Etcd(members.into_iter().map(|(_, channel)| channel).collect()))
    }

    fn name(&self) -> &'static str {
        match self {
            Self::Playlists { .. } => "playlist",
            Self::Songs { .. } => "song",
            Self::Etcd(_) => "etcd",
        }
    }

    /// Writes item `number` through node `place`.
    async fn write(&self, place: usize, number: u64) -> Result<(), Failed> {
        match self {
            Self::Playlists { remote, nodes, playlists } => {
                let playlist = playlists[number as usize % playlists.len()];
                let description = Some("x".repeat(VALUE));
                let describe = ChangePlaylist { playlist, name: None, description, at: number };
                change(remote, nodes[place % nodes.len()], describe).await?;
            }
            Self::Songs { remote, nodes } => {
                change(remote, nodes[place % nodes.len()], song(number)).await?;
            }
            Self::Etcd(channels) => {
                let put = PutRequest { key: format!("song/{number:016}").into_bytes(), value: vec![b'x'; VALUE] };
                ask::<_, PutResponse>(&channels[place % channels.len()], "/etcdserverpb.KV/Put", put).await?;
            }
        }
        Ok(())
    }
}

/// Another song with a known file. It writes about 25 keys: its record, its entries in lists, orders and the word index,
/// the counter, and the stored answer to the request.
fn song(number: u64) -> AddSong {
    AddSong {
        title: format!("Song {number} of the benchmark"),
        hash: Hash::of(b"the file of all of them"),
        size: 4 << 20,
        format: "mp3".into(),
        uploader_id: None,
        credits: Box::new(Credits {
            artist: Some("An artist".into()),
            album: Some("An album".into()),
            ..Credits::default()
        }),
        separation: SeparationSpec {
            model: "spectral".into(),
            formats: vec!["mp3".into(), "wav".into()],
            plan: Plan { frames: 180 * 44_100, segments: 31, segments_per_task: 31 },
            selection: Selection::All,
        },
        job: JobOptions { max_attempts: 5, owner: "the benchmark".into(), ..JobOptions::default() },
        at: number,
    }
}

/// The result of one measurement: writes per second, and latencies in milliseconds.
#[derive(Clone, Copy)]
struct Turn {
    rate: f64,
    median: f64,
    late: f64,
}

/// Measures writes of `clients` concurrent clients for `time`.
async fn turn(system: &Arc<System>, clients: usize, spread: bool, time: Duration) -> Result<Turn, Failed> {
    static NUMBER: AtomicU64 = AtomicU64::new(0);
    let begin = Instant::now() + WARM_UP;
    let end = begin + time;
    let clients: Vec<_> = (0..clients)
        .map(|client| {
            let system = Arc::clone(system);
            tokio::spawn(async move {
                let mut latencies = Vec::new();
                for round in 0.. {
                    let asked = Instant::now();
                    if asked >= end {
                        break;
                    }
                    let place = if spread { client + round } else { 0 };
                    system.write(place, NUMBER.fetch_add(1, Ordering::Relaxed)).await?;
                    let answered = Instant::now();
                    if answered >= begin && answered < end {
                        latencies.push((answered - asked).as_secs_f64() * 1000.0);
                    }
                }
                Ok::<_, Failed>(latencies)
            })
        })
        .collect();
    let mut latencies = Vec::new();
    for client in clients {
        latencies.extend(client.await??);
    }
    latencies.sort_by(f64::total_cmp);
    let at = |share: f64| latencies.get((latencies.len() as f64 * share) as usize).copied().unwrap_or(f64::NAN);
    Ok(Turn { rate: latencies.len() as f64 / time.as_secs_f64(), median: at(0.5), late: at(0.99) })
}

/// Minimum, median and maximum.
fn spread_of(mut values: Vec<f64>) -> [f64; 3] {
    values.sort_by(f64::total_cmp);
    [values[0], values[values.len() / 2], values[values.len() - 1]]
}

/// Prints the measurements of all systems. The last system is the reference for the others.
fn print(clients: usize, at: &str, systems: &[Arc<System>], turns: &[Vec<Turn>]) {
    for (system, turns) in systems.iter().zip(turns) {
        let [least, rate, most] = spread_of(turns.iter().map(|turn| turn.rate).collect());
        let [_, median, _] = spread_of(turns.iter().map(|turn| turn.median).collect());
        let [_, late, _] = spread_of(turns.iter().map(|turn| turn.late).collect());
        println!(
            "{clients:>4} clients, {at:<13} {:<8} {rate:>7.0} writes/s ({least:.0} to {most:.0}), \
             median {median:.2} ms, 99 % within {late:.2} ms",
            system.name()
        );
    }
    let Some((etcd, ours)) = turns.split_last() else { return };
    for (system, turns) in systems.iter().zip(ours) {
        let ratios = |of: fn(&Turn) -> f64| spread_of(turns.iter().zip(etcd).map(|(a, b)| of(a) / of(b)).collect());
        let [least, rate, most] = ratios(|turn| turn.rate);
        let [quick, median, slow] = ratios(|turn| turn.median);
        println!(
            "     {} / etcd, round by round: writes {rate:.2} ({least:.2} to {most:.2}), \
             median latency {median:.2} ({quick:.2} to {slow:.2})",
            system.name()
        );
    }
}

#[tokio::main]
async fn main() -> Result<(), Failed> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [secret, leader, members, etcd, seconds, rounds] = arguments.as_slice() else {
        return Err("usage: metadata SECRET_FILE LEADER ID=HOST:PORT,... HTTP_ADDRESS,... SECONDS ROUNDS".into());
    };
    let members = members
        .split(',')
        .map(|member| {
            let (id, address) = member.split_once('=').ok_or("a member is written as ID=HOST:PORT")?;
            Ok((id.parse()?, address.to_owned()))
        })
        .collect::<Result<BTreeMap<NodeId, String>, Failed>>()?;
    let (time, rounds) = (Duration::from_secs_f64(seconds.parse()?), rounds.parse::<usize>()?);
    let songs = System::songs(Path::new(secret), leader.parse()?, members)?;
    let System::Songs { remote, nodes } = &songs else { return Err("songs are written as songs".into()) };
    let playlists = System::playlists(remote.clone(), nodes.clone()).await?;
    let systems = [Arc::new(playlists), Arc::new(songs), Arc::new(System::etcd(etcd).await?)];

    println!(
        "A write is in etcd a Put of {VALUE} bytes; in Quartet a playlist's description of {VALUE} bytes, or a song with \
         its lists, orders and words. Quartet remembers the answer to each."
    );
    // Long enough that both systems reuse existing log files, as in a cluster that has run for a while.
    for system in &systems {
        turn(system, CLIENTS[2], false, FILL).await?;
    }
    for spread in [false, true] {
        for clients in CLIENTS {
            let mut turns = vec![Vec::new(); systems.len()];
            for round in 0..rounds {
                // Rotate the order, so that no system always comes last.
                for place in 0..systems.len() {
                    let which = (place + round) % systems.len();
                    let system = &systems[which];
                    let turn = turn(system, clients, spread, time).await;
                    turns[which].push(turn.map_err(|error| format!("{}: {error}", system.name()))?);
                }
            }
            print(clients, if spread { "at all nodes" } else { "at the leader" }, &systems, &turns);
        }
    }
    Ok(())
}

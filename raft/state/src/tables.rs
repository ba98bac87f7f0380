//! The tables of the state: which values lie under which keys.
//!
//! A key begins with the number of its table in two bytes. The parts of the key follow ([`crate::key`]). A table whose
//! values repeat a part of the key is an index.
//!
//! Invariant: a number that a release has used never changes. Two tables with one number do not compile.

use crate::NodeId;
use storage::blobs::Hash;
use uuid::Uuid;

use crate::command::answer::{Answer, Refusal};
use crate::expiry::types::Expiring;
use crate::idempotency::types::IdempotencyRecord;
use crate::key::{Bytes, Table, Text};
use crate::rate_limits::types::RateCounter;
use crate::{
    Audience, ClusterMeta, Delivery, Entry, Hook, IndexEntry, Job, JobState, Link, LogLine, Model, Order, Played,
    Playlist, RetryAt, Session, Song, Task, TaskId, Token, User,
};

/// Declares the tables in the one list of their numbers.
macro_rules! tables {
    ($($(#[$doc:meta])* $number:literal $name:ident: $key:ty => $value:ty;)*) => {
        #[allow(non_camel_case_types, clippy::upper_case_acronyms)]
        #[repr(u16)]
        enum Number {
            $($name = $number,)*
        }

        $($(#[$doc])* pub(crate) const $name: Table<$key, $value> = Table::new(Number::$name as u16);)*

        /// The table and the parts of a key in readable form.
        #[cfg(test)]
        pub(crate) fn show_key(key: &[u8]) -> String {
            let (number, parts) = key.split_at(2);
            match u16::from_be_bytes([number[0], number[1]]) {
                $($number => $name.show_key(stringify!($name), parts),)*
                other => panic!("no table has the number {other}"),
            }
        }

        /// The value under a key.
        #[cfg(test)]
        pub(crate) fn decode(key: &[u8], value: &[u8]) -> serde_json::Value {
            match u16::from_be_bytes([key[0], key[1]]) {
                $($number => serde_json::to_value(codec::decode::<$value>(value).unwrap()).unwrap(),)*
                other => panic!("no table has the number {other}"),
            }
        }
    };
}

tables! {
    /// Songs by number, the oldest first.
    1 SONGS: u64 => Song;
    /// The songs with a file.
    2 SONGS_OF_FILE: (Hash, u64) => u64;
    /// The jobs of a song besides its own.
    3 JOBS_OF_SONG: (u64, u64) => u64;
    /// The index entry of a song.
    4 INDEX_ENTRIES: u64 => IndexEntry;
    /// Songs by sort key, in each order.
    5 SORTED: (Order, Bytes) => u64;
    /// Songs by the words of their texts.
    6 WORDS: (Text, u64) => u64;

    /// Jobs by number, the oldest first.
    10 JOBS: u64 => Job;
    /// The job that an equal request joins, by the dedup key of its spec.
    11 JOB_BY_SPEC: Text => u64;
    /// The open jobs of an owner.
    12 OPEN_JOBS: (Text, u64) => u64;
    /// The open jobs that external workers do.
    13 EXTERNAL_JOBS: u64 => u64;
    /// Jobs by state.
    14 JOBS_IN_STATE: (JobState, u64) => u64;
    /// Ended jobs by the time of their end.
    15 ENDED_JOBS: (u64, u64) => u64;
    /// Tasks, in the order of their jobs.
    16 TASKS: (u64, u32) => Task;
    /// Tasks that are pending or running.
    17 OPEN_TASKS: (u64, u32) => TaskId;
    /// The log of an attempt, by job, index of the task, and number of the attempt.
    18 LOGS: (u64, u32, u32) => Vec<LogLine>;

    /// Models by name.
    30 MODELS: Text => Model;

    /// The answer to a request.
    40 ANSWERS: Uuid => Result<Answer, Refusal>;
    /// Answered requests, by log index and place in the log entry.
    41 ANSWERED: (u64, u32) => Uuid;
    /// The log index below which the answers have been removed.
    42 ANSWERS_REMOVED: () => u64;
    /// The last number given to a thing of this name.
    43 COUNTERS: Text => u64;
    /// The cluster's name and feature level.
    44 CLUSTER_META: () => ClusterMeta;
    /// Nodes that leave or have left.
    45 RETIRED_NODES: NodeId => NodeId;
    /// What expires, by time and key.
    46 EXPIRING: (u64, Hash) => Expiring;

    /// Users by number, the oldest first.
    50 USERS: u64 => User;
    /// The user with a name, in the form that [`crate::folded`] gives it.
    51 USER_BY_NAME: Text => u64;
    /// Users that are administrators.
    52 ADMINISTRATORS: u64 => u64;
    /// Sessions by the hash of their secret.
    53 SESSIONS: Hash => Session;
    /// A user's sessions.
    54 SESSIONS_OF_USER: (u64, u64) => Hash;
    /// Tokens by the hash of their secret.
    55 TOKENS: Hash => Token;
    /// A user's tokens.
    56 TOKENS_OF_USER: (u64, u64) => Hash;
    /// How often something was counted against a rate limit.
    57 RATE_COUNTERS: Hash => RateCounter;
    /// What the idempotency key of a client stands for.
    58 IDEMPOTENCY: Hash => IdempotencyRecord;
    /// A client's idempotency keys, the oldest first.
    59 IDEMPOTENCY_OF_OWNER: (Hash, u64) => Hash;

    /// The songs in an audience's list.
    70 VISIBLE: (Audience, u64) => u64;
    /// The audiences that a song is shared with.
    71 SHARES: (u64, Audience) => Audience;
    /// Links by the hash of their secret.
    72 LINKS: Hash => Link;
    /// A song's links.
    73 LINKS_OF_SONG: (u64, u64) => Hash;

    /// Web hooks, by user and number.
    80 HOOKS: (u64, u64) => Hook;
    /// Deliveries, by hook and number.
    81 DELIVERIES: (u64, u64) => Delivery;
    /// Pending deliveries, by the time of their next attempt and number.
    82 PENDING_DELIVERIES: (u64, u64) => RetryAt;

    /// Playlists by number.
    90 PLAYLISTS: u64 => Playlist;
    /// A user's playlists.
    91 PLAYLISTS_OF_USER: (u64, u64) => u64;
    /// A playlist's entries in their order.
    92 ENTRIES: u64 => Vec<Entry>;
    /// The playlists with a song, by song, owner of the playlist, and playlist.
    93 PLAYLISTS_WITH_SONG: (u64, u64, u64) => u64;
    /// The audiences that a playlist is shared with.
    94 PLAYLIST_SHARES: (u64, Audience) => Audience;
    /// The playlists that are shared with an audience.
    95 PLAYLISTS_FOR: (Audience, u64) => u64;

    /// A user's favourite songs.
    100 FAVOURITES: (u64, u64) => u64;
    /// The users whose favourite a song is.
    101 FAVOURED_BY: (u64, u64) => u64;
    /// How often a song was played.
    102 PLAYS: u64 => u64;
    /// How a user has played a song.
    103 PLAYED: (u64, u64) => Played;
    /// The songs that a user has played, by user, time of the last play, and song.
    104 PLAYED_AT: (u64, u64, u64) => u64;
    /// The users that have played a song.
    105 PLAYED_BY: (u64, u64) => u64;
}

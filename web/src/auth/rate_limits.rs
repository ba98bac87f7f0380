//! Rate limits on password attempts, registrations and plays.
//!
//! An attempt is counted in the replicated state before its result is known, so all nodes together allow as many as one
//! node would. Password attempts are counted per name and address and per address alone, so nobody can lock a user out
//! from another address. Names are stored as hashes, because users sometimes type a password into the name field.

use raft::Cluster;
use state::RateLimit;
use state::command::{CheckRateLimits, Refusal};
use storage::blobs::Hash;

use super::accounts::owner_of;
use super::client::Client;
use crate::clock::now;
use crate::http::blocking;
use crate::http::error::ApiError;

/// Milliseconds in a minute.
const MINUTE: u64 = 60_000;
/// Password attempts for one name from one address, and the window in milliseconds.
const NAME: (u32, u64) = (10, 15 * MINUTE);
/// Password attempts for all names from one address, and the window in milliseconds.
const ADDRESS: (u32, u64) = (100, 15 * MINUTE);
/// Registrations from one address, and the window in milliseconds.
const REGISTRATIONS: (u32, u64) = (30, 60 * MINUTE);
/// Plays of one listener, and the window in milliseconds.
const PLAYS: (u32, u64) = (60, MINUTE);

/// The limits on an attempt to log in. A successful login resets the first.
pub(crate) fn login_limits(client: &Client, name: &str) -> [RateLimit; 2] {
    let address = client.name();
    let name = name.to_ascii_lowercase();
    [limit(&["login", &address, &name], NAME), limit(&["login", &address], ADDRESS)]
}

/// The limits on wrong OpenSubsonic token proofs. They do not affect logins.
pub(crate) fn proof_limits(client: &Client, name: &str) -> [RateLimit; 2] {
    let address = client.name();
    let name = name.to_ascii_lowercase();
    [limit(&["proof", &address, &name], NAME), limit(&["proof", &address], ADDRESS)]
}

/// The limit on registrations.
pub(crate) fn registration_limits(client: &Client) -> [RateLimit; 1] {
    [limit(&["register", &client.name()], REGISTRATIONS)]
}

/// The limit on plays.
pub(crate) fn play_limit(client: &Client, user: Option<u64>) -> RateLimit {
    limit(&["play", &owner_of(client, user)], PLAYS)
}

fn limit(key: &[&str], (max, window): (u32, u64)) -> RateLimit {
    RateLimit { key: Hash::of(key.join("\0").as_bytes()), max, window }
}

/// RateLimits an attempt, or refuses it.
pub(crate) async fn count(cluster: &Cluster, limits: &[RateLimit]) -> Result<(), ApiError> {
    let at = now();
    check(cluster, limits, at).await?;
    cluster.propose(CheckRateLimits { limits: limits.to_vec(), at }).await??;
    Ok(())
}

/// Refuses an attempt that exceeds a limit in the state that this node applied last. That state suffices to refuse, and
/// without this check a refusal would cost as much as an attempt: an entry in the log.
pub(crate) async fn check(cluster: &Cluster, limits: &[RateLimit], at: u64) -> Result<(), ApiError> {
    let (view, limits) = (cluster.peek(), limits.to_vec());
    let wait_ms = blocking("reading the state", move || {
        let mut wait = 0;
        for limit in limits {
            let counter = view.rate_counter(&limit.key)?.filter(|counter| counter.count >= limit.max);
            let until = counter.map_or(0, |counter| counter.until.min(at + limit.window));
            wait = wait.max(until.saturating_sub(at));
        }
        Ok::<_, ApiError>(wait)
    })
    .await??;
    if wait_ms > 0 { Err(Refusal::RateLimited { wait_ms }.into()) } else { Ok(()) }
}

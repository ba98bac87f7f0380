//! How often a password may be tried, an account asked for, a play told of.
//!
//! A try counts before it is known how it ends, in the state, so that as many are possible at all nodes together as at
//! one. Counted is the name together with the address it is tried from, and the address for itself: nobody can lock
//! somebody else out from another address. Names are counted under a hash, for people type passwords where names belong.

use state::Count;
use state::command::{Command, Refusal};
use storage::blobs::Hash;

use crate::accounts::owner_of;
use crate::client::Client;
use crate::error::ApiError;
use crate::{Shared, now};

/// Milliseconds in a minute.
const MINUTE: u64 = 60_000;
/// How often a name's password may be tried from one address, and within which time.
const NAME: (u32, u64) = (10, 15 * MINUTE);
/// How often any password may be tried from one address.
const ADDRESS: (u32, u64) = (100, 15 * MINUTE);
/// How many accounts may be asked for from one address.
const NEWCOMERS: (u32, u64) = (30, 60 * MINUTE);
/// How many plays of one listener count, and within which time in milliseconds.
const PLAYS: (u32, u64) = (60, MINUTE);

/// What a try at a password is counted as; the first is forgotten when it succeeds.
pub(crate) fn login_counts(client: &Client, name: &str) -> [Count; 2] {
    let address = client.name();
    let name = name.to_ascii_lowercase();
    [counted(&["login", &address, &name], NAME), counted(&["login", &address], ADDRESS)]
}

/// What a wrong proof that one knows a name's token is counted as. It locks out no login.
pub(crate) fn proof_counts(client: &Client, name: &str) -> [Count; 2] {
    let address = client.name();
    let name = name.to_ascii_lowercase();
    [counted(&["proof", &address, &name], NAME), counted(&["proof", &address], ADDRESS)]
}

/// What asking for an account is counted as.
pub(crate) fn newcomer_counts(client: &Client) -> [Count; 1] {
    [counted(&["register", &client.name()], NEWCOMERS)]
}

/// What a play is counted as.
pub(crate) fn play_count(client: &Client, user: Option<u64>) -> Count {
    counted(&["play", &owner_of(client, user)], PLAYS)
}

fn counted(what: &[&str], (most, within): (u32, u64)) -> Count {
    Count { of: Hash::of(what.join("\0").as_bytes()), most, within }
}

impl Shared {
    /// Counts a try, or refuses it.
    pub(crate) async fn count(&self, counts: &[Count]) -> Result<(), ApiError> {
        let at = now();
        self.expect_room_for_tries(counts, at).await?;
        self.app.cluster.propose(Command::CountTry { counts: counts.to_vec(), at }).await??;
        Ok(())
    }

    /// Refuses what this node knows to be refused: it need not go through the log, or refusing would cost more than
    /// trying.
    pub(crate) async fn expect_room_for_tries(&self, counts: &[Count], at: u64) -> Result<(), ApiError> {
        let asked = counts.to_vec();
        let wait = self
            .peek(move |view| {
                let mut wait = 0;
                for count in asked {
                    let tries = view.tries(&count.of)?.filter(|tries| tries.count >= count.most);
                    let until = tries.map_or(0, |tries| tries.until.min(at + count.within));
                    wait = wait.max(until.saturating_sub(at));
                }
                Ok(wait)
            })
            .await?;
        if wait > 0 {
            return Err(Refusal::TooManyTries { wait_ms: wait }.into());
        }
        Ok(())
    }
}

//! Checks of `cluster.toml` beyond its format. An error names the key and the values that it can have.

use std::collections::{BTreeMap, BTreeSet};

use net::NodeId;
use work::amqp;

use super::file::{ClusterFile, Consensus, Limits, Member};

/// The longest scrub period. A longer one would be as good as none.
const MAX_SCRUB_DAYS: f64 = 3650.0;

/// The shortest grace period of an unreferenced blob, in seconds. A replicated blob is confirmed within its last five
/// seconds, a command is proposed for at most eight seconds, and the rest is a margin for a busy node.
const MIN_GRACE_SECONDS: u64 = 30;

/// Checks the settings, without the list of nodes.
pub(super) fn check_settings(file: &ClusterFile) -> Result<(), String> {
    for (key, value) in [
        ("limits.upload_bytes", file.limits.upload_bytes),
        ("limits.song_seconds", file.limits.song_seconds),
        ("limits.repair_after_seconds", file.limits.repair_after_seconds),
        ("consensus.heartbeat_ms", file.consensus.heartbeat_ms),
    ] {
        if value == 0 {
            return Err(format!("{key} must be at least 1"));
        }
    }
    if let Some(fault) = file.workers.fault() {
        return Err(format!("workers: {fault}"));
    }
    check_limits(&file.limits)?;
    check_consensus(&file.consensus)?;
    if let Some(Err(error)) = file.broker.as_ref().map(|broker| amqp::check(&broker.url)) {
        return Err(format!("broker.url: {error}"));
    }
    match file.outside.as_ref().and_then(|outside| outside.fault(file.broker.is_some())) {
        Some(fault) => Err(format!("outside: {fault}")),
        None => Ok(()),
    }
}

fn check_limits(limits: &Limits) -> Result<(), String> {
    if limits.collect_grace_seconds < MIN_GRACE_SECONDS && !limits.collect_unsafely {
        return Err(format!(
            "limits.collect_grace_seconds must be at least {MIN_GRACE_SECONDS}: with a shorter grace period, a file could \
             be removed while its song is being added"
        ));
    }
    if !(limits.scrub_days > 0.0 && limits.scrub_days <= MAX_SCRUB_DAYS) {
        return Err(format!("limits.scrub_days must be above 0 and at most {MAX_SCRUB_DAYS}"));
    }
    Ok(())
}

fn check_consensus(consensus: &Consensus) -> Result<(), String> {
    let Consensus { heartbeat_ms, election_min_ms, election_max_ms } = *consensus;
    if election_min_ms < 2 * heartbeat_ms || election_max_ms <= election_min_ms {
        return Err(
            "consensus: election_min_ms must be at least twice heartbeat_ms, and election_max_ms above election_min_ms"
                .into(),
        );
    }
    Ok(())
}

/// The nodes by their ids, if ids and addresses are unique and there is a node `id`.
pub(super) fn members_by_id(nodes: Vec<Member>, id: NodeId) -> Result<BTreeMap<NodeId, Member>, String> {
    let mut members = BTreeMap::new();
    let mut addresses = BTreeSet::new();
    for member in nodes {
        let id = member.id;
        for (key, address) in [("http", &member.http), ("quic", &member.quic)] {
            if address.rsplit_once(':').and_then(|(_, port)| port.parse::<u16>().ok()).is_none() {
                return Err(format!("node {id}: invalid address {key} = {address:?}; use host:port"));
            }
            if !addresses.insert((key, address.clone())) {
                return Err(format!("two nodes have {key} = {address:?}; use a different address for each node"));
            }
        }
        if members.insert(id, member).is_some() {
            return Err(format!("node {id} is listed twice; use a different id for each node"));
        }
    }
    if !members.contains_key(&id) {
        let known: Vec<String> = members.keys().map(u64::to_string).collect();
        return Err(format!("there is no node {id} in this file, only {}", known.join(", ")));
    }
    Ok(members)
}

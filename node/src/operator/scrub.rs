//! Having nodes read all their files, and waiting for what they find.
//!
//! The nodes do it by themselves and at their own pace, whether somebody waits or not: breaking the command off ends the
//! waiting alone.

use std::io::Write as _;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use net::NodeId;

use super::client::Client;
use super::status::bytes;
use crate::maintenance::OrderedRound;

const LOOK_AGAIN: Duration = Duration::from_millis(500);
/// A node that was asked in vain for this long is not waited for.
const SILENT: Duration = Duration::from_secs(60);
/// How often it is said how far a node is.
const SAY_EVERY: Duration = Duration::from_secs(30);

/// Has all nodes, or this one, read their files; fails when one did not do it, or could not make good what it found.
pub(crate) async fn run(client: &Client, node: Option<NodeId>) -> Result<()> {
    let known = client.overview().await?.status.addresses;
    let nodes: Vec<NodeId> = match node {
        Some(node) if !known.contains_key(&node) => bail!("node {node} is no member of this cluster"),
        Some(node) => vec![node],
        None => known.into_keys().collect(),
    };
    let mut faults = Vec::new();
    let mut ordered = Vec::new();
    for node in nodes {
        match client.scrub(node).await {
            Ok(order) => ordered.push((node, order)),
            Err(error) => faults.push(format!("node {node} reads nothing: {error}")),
        }
    }
    for (node, order) in ordered {
        match ended(client, node, order).await {
            Ok(round) => {
                writeln!(std::io::stdout(), "node {node}: {}", text(&round))?;
                let lost = round.damaged - round.replaced - round.unneeded;
                if lost > 0 {
                    faults.push(format!("node {node} could not get {lost} of them back yet, and goes on trying"));
                }
            }
            Err(error) => faults.push(format!("{error:#}")),
        }
    }
    ensure!(faults.is_empty(), "{}; `status` shows more", faults.join("; "));
    Ok(())
}

/// Waits until the node has ended the round that was ordered under this number, or a later one.
async fn ended(client: &Client, node: NodeId, order: u64) -> Result<OrderedRound> {
    let (mut heard, mut said) = (Instant::now(), Instant::now());
    loop {
        match client.scrubbed(node).await {
            Ok(round) if round.order >= order && round.ended => return Ok(round),
            Ok(round) => {
                heard = Instant::now();
                // A node counts its orders from its start.
                ensure!(
                    round.given >= order,
                    "node {node} was restarted and has forgotten that it should read its files; order it again"
                );
                if said.elapsed() > SAY_EVERY {
                    said = Instant::now();
                    eprintln!("node {node}: {} of {} files read", round.files, round.total);
                }
            }
            Err(error) if heard.elapsed() > SILENT => {
                return Err(error).context(format!("node {node} does not say how far it is"));
            }
            Err(_) => {}
        }
        tokio::time::sleep(LOOK_AGAIN).await;
    }
}

fn text(round: &OrderedRound) -> String {
    let mut text = format!("{} files ({}) read, {} damaged", round.files, bytes(round.bytes), round.damaged);
    for (count, what) in [(round.replaced, "fetched again"), (round.unneeded, "needed by nothing")] {
        if count > 0 {
            text += &format!(", {count} {what}");
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_found_is_said() {
        let sound = OrderedRound { ended: true, files: 12, total: 12, bytes: 3_400_000, ..Default::default() };
        assert_eq!(text(&sound), "12 files (3.4 MB) read, 0 damaged");
        let damaged = OrderedRound { damaged: 3, replaced: 2, unneeded: 1, ..sound };
        assert_eq!(text(&damaged), "12 files (3.4 MB) read, 3 damaged, 2 fetched again, 1 needed by nothing");
    }
}

//! `node scrub`: requests a scrub of the nodes, and waits for the results.
//!
//! The nodes run the scrub on their own. Interrupting the command only ends the wait.

use std::io::Write as _;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use net::NodeId;

use super::client::OperatorClient;
use super::status::bytes;
use crate::maintenance::ScrubProgress;

/// How often the progress is polled.
const POLL_INTERVAL: Duration = Duration::from_millis(500);
/// A node that does not reply for this time is given up.
const SILENCE_LIMIT: Duration = Duration::from_secs(60);
/// How often the progress of a node is printed.
const REPORT_INTERVAL: Duration = Duration::from_secs(30);

/// Scrubs all nodes, or one. Fails if a scrub fails, or if a damaged file could not be fetched again.
pub(crate) async fn run(client: &OperatorClient, node: Option<NodeId>) -> Result<()> {
    let known = client.overview().await?.status.addresses;
    let nodes: Vec<NodeId> = match node {
        Some(node) if !known.contains_key(&node) => bail!("node {node} is not a member of this cluster"),
        Some(node) => vec![node],
        None => known.into_keys().collect(),
    };
    let mut errors = Vec::new();
    let mut started = Vec::new();
    for node in nodes {
        match client.scrub(node).await {
            Ok(request) => started.push((node, request)),
            Err(error) => errors.push(format!("node {node} cannot be scrubbed: {error}")),
        }
    }
    for (node, request) in started {
        match wait_for_end(client, node, request).await {
            Ok(round) => {
                writeln!(std::io::stdout(), "node {node}: {}", text(&round))?;
                let lost = round.damaged - round.replaced - round.unneeded;
                if lost > 0 {
                    errors.push(format!("node {node} could not yet fetch {lost} damaged files again, and will retry"));
                }
            }
            Err(error) => errors.push(format!("{error:#}")),
        }
    }
    ensure!(errors.is_empty(), "{}; for details, run `node status`", errors.join("; "));
    Ok(())
}

/// Waits for the end of the scrub with this number, or of a later one.
async fn wait_for_end(client: &OperatorClient, node: NodeId, request: u64) -> Result<ScrubProgress> {
    let (mut replied_at, mut reported_at) = (Instant::now(), Instant::now());
    loop {
        match client.scrub_progress(node).await {
            Ok(round) if round.request >= request && round.ended => return Ok(round),
            Ok(round) => {
                replied_at = Instant::now();
                // A node numbers requests from its start.
                ensure!(
                    round.last_request >= request,
                    "node {node} was restarted, which ended its scrub; run the command again"
                );
                if reported_at.elapsed() > REPORT_INTERVAL {
                    reported_at = Instant::now();
                    eprintln!("node {node}: {} of {} files read", round.files, round.total);
                }
            }
            Err(error) if replied_at.elapsed() > SILENCE_LIMIT => {
                return Err(error).context(format!("node {node} does not reply"));
            }
            Err(_) => {}
        }
        tokio::time::sleep(POLL_INTERVAL).await;
    }
}

fn text(round: &ScrubProgress) -> String {
    let mut text = format!("{} files ({}) read, {} damaged", round.files, bytes(round.bytes), round.damaged);
    for (count, what) in [(round.replaced, "fetched again"), (round.unneeded, "not needed any more")] {
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
    fn results_are_shown() {
        let sound = ScrubProgress { ended: true, files: 12, total: 12, bytes: 3_400_000, ..Default::default() };
        assert_eq!(text(&sound), "12 files (3.4 MB) read, 0 damaged");
        let damaged = ScrubProgress { damaged: 3, replaced: 2, unneeded: 1, ..sound };
        assert_eq!(text(&damaged), "12 files (3.4 MB) read, 3 damaged, 2 fetched again, 1 not needed any more");
    }
}

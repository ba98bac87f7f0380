//! The cluster on a screen.

use std::fmt::Write as _;
use std::io::Write as _;

use anyhow::Result;
use web::api::cluster::NodeReport;

use super::client::Client;
use super::protocol::Overview;

/// Prints it.
pub(crate) async fn show(client: &Client, json: bool) -> Result<()> {
    let overview = client.overview().await?;
    let text = if json { serde_json::to_string_pretty(&overview)? + "\n" } else { text(&overview)? };
    Ok(std::io::stdout().write_all(text.as_bytes())?)
}

fn text(overview: &Overview) -> Result<String, std::fmt::Error> {
    let Overview { status, nodes, broker } = overview;
    let alive = nodes.iter().filter(|node| node.alive && status.members.contains(&node.id)).count();
    let health = match (status.leader, alive * 2 > status.members.len(), alive == status.members.len()) {
        (Some(_), true, true) => "all is well",
        (Some(_), true, false) => "works, with nodes missing",
        _ => "DOWN: no majority, or no leader",
    };
    let mut text = String::new();
    writeln!(text, "{health}: {alive} of {} members answer", status.members.len())?;
    match status.leader {
        Some(leader) => writeln!(text, "leader   node {leader}, term {}", status.term)?,
        None => writeln!(text, "leader   none, term {}", status.term)?,
    }
    writeln!(text, "log      {} entries, applied to {} at node {}", status.last_log, status.last_applied, status.id)?;
    writeln!(text, "tasks    {} running, {} waiting", broker.running, broker.pending)?;
    match (broker.configured, broker.connected) {
        (false, _) => writeln!(text, "broker   none; workers ask the leader")?,
        (true, true) => writeln!(text, "broker   connected, {} messages wait", broker.ready.unwrap_or(0))?,
        (true, false) => writeln!(text, "broker   not connected; workers ask the leader")?,
    }
    writeln!(text)?;
    let heading = ["node", "state", "http", "version", "files", "held", "free", "done", "works on"].map(String::from);
    let rows: Vec<[String; 9]> = nodes.iter().map(|node| row(node, overview)).collect();
    let widths: Vec<usize> = (0..heading.len())
        .map(|at| rows.iter().chain([&heading]).map(|row| row[at].chars().count()).max().unwrap_or(0))
        .collect();
    for row in [&heading].into_iter().chain(&rows) {
        let cells: Vec<String> = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}")).collect();
        writeln!(text, "{}", cells.join("  ").trim_end())?;
    }
    Ok(text)
}

fn row(node: &NodeReport, overview: &Overview) -> [String; 9] {
    let status = &overview.status;
    let state = match (status.joining.get(&node.id), node.alive, node.heard_ms_ago) {
        (Some(Some(lag)), true, _) => format!("joins, {lag} to go"),
        (Some(_), true, _) => "joins".into(),
        (_, true, _) if node.leader => "leads".into(),
        (_, true, _) => "there".into(),
        (_, false, Some(silence)) => format!("silent for {} s", silence / 1000),
        (_, false, None) => "never heard".into(),
    };
    [
        node.id.to_string(),
        state,
        node.http.clone(),
        node.version.clone(),
        node.blobs.to_string(),
        bytes(node.blob_bytes),
        bytes(node.free_bytes),
        node.tasks_done.to_string(),
        if node.working_on.is_empty() { "-".into() } else { node.working_on.join(" ") },
    ]
}

fn bytes(count: u64) -> String {
    let mut value = count as f64;
    for unit in ["B", "kB", "MB", "GB"] {
        if value < 1000.0 {
            return if unit == "B" { format!("{count} B") } else { format!("{value:.1} {unit}") };
        }
        value /= 1000.0;
    }
    format!("{value:.1} TB")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn sizes_are_short() {
        let sizes = [0, 999, 1000, 1_250_000, 3_000_000_000_000].map(bytes);
        assert_eq!(sizes, ["0 B", "999 B", "1.0 kB", "1.2 MB", "3.0 TB"]);
    }
}

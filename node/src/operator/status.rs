//! The cluster on a screen.

use std::fmt::Write as _;
use std::io::Write as _;

use anyhow::Result;
use state::LEVEL;
use web::api::cluster::NodeReport;

use super::client::Client;
use super::protocol::Overview;

/// So many log entries are more than a moment's.
const FAR_BEHIND: u64 = 100;

/// Prints it.
pub(crate) async fn show(client: &Client, json: bool) -> Result<()> {
    let overview = client.overview().await?;
    let text = if json { serde_json::to_string_pretty(&overview)? + "\n" } else { text(&overview)? };
    Ok(std::io::stdout().write_all(text.as_bytes())?)
}

fn text(overview: &Overview) -> Result<String, std::fmt::Error> {
    let Overview { status, nodes, broker, level, retired } = overview;
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
    if let Some(level) = level.filter(|level| *level < LEVEL) {
        let late = "what is new in this version begins when all members run it";
        writeln!(text, "upgrade  the state is at level {level} of {LEVEL}: {late}")?;
    }
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
    let leaving = retired
        .iter()
        .filter(|node| status.addresses.contains_key(node))
        .map(|node| format!("node {node}: it was told to leave and is still a member; `leave` goes on with that"));
    let news: Vec<String> = leaving.chain(nodes.iter().flat_map(news)).collect();
    if !news.is_empty() {
        writeln!(text, "\n{}", news.join("\n"))?;
    }
    Ok(text)
}

/// What a node does beside its tasks, and what should not be.
fn news(node: &NodeReport) -> Vec<String> {
    let id = node.id;
    let mut news = Vec::new();
    for (count, what) in [
        (node.damaged, "files were found damaged there since it started, and set aside"),
        (node.short, "files have too few copies, as it sees it"),
        (node.missing, "of them are for it to take"),
        (node.stuck.into(), "slots are lost to threads that do not end; a restart frees them"),
    ] {
        if count > 0 {
            news.push(format!("node {id}: {count} {what}"));
        }
    }
    for work in &node.loops {
        if let Some(doing) = &work.doing {
            news.push(format!("node {id}: {}: {doing}, {} of {}", work.name, work.done, work.total));
        }
        if let Some(error) = &work.error {
            news.push(format!("node {id}: {} fails and goes on trying: {error}", work.name));
        }
    }
    news
}

fn row(node: &NodeReport, overview: &Overview) -> [String; 9] {
    let status = &overview.status;
    let state = match (status.joining.get(&node.id), node.alive, node.heard_ms_ago) {
        (Some(Some(lag)), true, _) => format!("joins, {lag} to go"),
        (Some(_), true, _) => "joins".into(),
        (_, true, _) if node.leader => "leads".into(),
        (_, true, _) => match status.behind.get(&node.id) {
            Some(behind) if *behind >= FAR_BEHIND => format!("there, {behind} behind"),
            _ => "there".into(),
        },
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

pub(super) fn bytes(count: u64) -> String {
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

    fn overview() -> Overview {
        let node = |id: u64| {
            serde_json::json!({
                "id": id, "http": "h", "alive": true, "heard_ms_ago": 1, "leader": id == 0, "version": "1",
                "working_on": [], "slots": 1, "tasks_done": 0, "blobs": 2, "blob_bytes": 3, "free_bytes": 4,
            })
        };
        let mut troubled = node(1);
        troubled["damaged"] = 2.into();
        troubled["loops"] = serde_json::json!([
            { "name": "repair", "doing": "counting copies", "done": 5, "total": 9, "bytes": 0 },
            { "name": "scrub", "done": 0, "total": 0, "bytes": 0, "error": "the disk is gone" },
        ]);
        serde_json::from_value(serde_json::json!({
            "status": {
                "id": 0, "leader": 0, "term": 3, "role": "leader", "last_applied": 900, "last_log": 900,
                "behind": { "1": 400, "2": 1 }, "members": [0, 1, 2], "joining": {}, "addresses": {}, "quorum_ack_ms": 1,
            },
            "nodes": [node(0), troubled, node(2)],
            "broker": { "configured": false, "connected": false, "queue": "", "ready": null, "pending": 0, "running": 0 },
        }))
        .unwrap()
    }

    #[test]
    fn what_a_person_should_know_is_shown_and_no_more() {
        let shown = text(&overview()).unwrap();
        for expected in [
            "all is well: 3 of 3 members answer",
            "leader   node 0, term 3",
            "there, 400 behind",
            "node 1: 2 files were found damaged there",
            "node 1: repair: counting copies, 5 of 9",
            "node 1: scrub fails and goes on trying: the disk is gone",
        ] {
            assert!(shown.contains(expected), "{expected:?} is not in\n{shown}");
        }
        assert!(!shown.contains("1 behind") && !shown.contains("node 0: ") && !shown.contains("node 2: "), "{shown}");
        assert!(!shown.contains("upgrade"), "{shown}");
    }

    #[test]
    fn a_leave_that_broke_off_is_shown() {
        let mut overview = overview();
        overview.status.addresses = [(1, "a".to_owned())].into();
        overview.retired = [1, 7].into();
        let shown = text(&overview).unwrap();
        assert!(shown.contains("node 1: it was told to leave") && !shown.contains("node 7"), "{shown}");
    }

    #[test]
    fn an_upgrade_that_is_under_way_is_shown() {
        let shown = |level| text(&Overview { level: Some(level), ..overview() }).unwrap();
        assert!(shown(LEVEL - 1).contains(&format!("level {} of {LEVEL}", LEVEL - 1)), "{}", shown(LEVEL - 1));
        assert!(!shown(LEVEL).contains("upgrade"));
    }

    #[test]
    fn sizes_are_short() {
        let sizes = [0, 999, 1000, 1_250_000, 3_000_000_000_000].map(bytes);
        assert_eq!(sizes, ["0 B", "999 B", "1.0 kB", "1.2 MB", "3.0 TB"]);
    }
}

//! `node status`: the cluster as text or JSON.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::io::Write as _;

use anyhow::Result;
use net::NodeId;
use raft::Status;
use serde::Serialize;
use state::FEATURE_LEVEL;
use web::api::cluster::{BrokerView, NodeView};

use super::client::OperatorClient;
use super::protocol::Overview;

/// A follower that lacks at least this many log entries counts as behind.
const FAR_BEHIND: u64 = 100;

/// The cluster as a node sees it, with nodes and broker as in `GET /cluster`.
#[derive(Debug, Clone, Serialize)]
struct ClusterView {
    status: Status,
    nodes: Vec<NodeView>,
    broker: BrokerView,
    level: Option<u32>,
    retired: BTreeSet<NodeId>,
}

impl From<Overview> for ClusterView {
    fn from(overview: Overview) -> Self {
        let leader = overview.status.leader;
        Self {
            nodes: overview.nodes.into_iter().map(|node| NodeView::of(node, leader)).collect(),
            broker: BrokerView::of(overview.broker, overview.pending, overview.running),
            status: overview.status,
            level: overview.level,
            retired: overview.retired,
        }
    }
}

/// Prints the status of the cluster.
pub(crate) async fn show(client: &OperatorClient, json: bool) -> Result<()> {
    let overview = ClusterView::from(client.overview().await?);
    let text = if json { serde_json::to_string_pretty(&overview)? + "\n" } else { text(&overview)? };
    Ok(std::io::stdout().write_all(text.as_bytes())?)
}

fn text(overview: &ClusterView) -> Result<String, std::fmt::Error> {
    let ClusterView { status, nodes, broker, level, retired } = overview;
    let alive = nodes.iter().filter(|node| node.alive && status.members.contains(&node.id)).count();
    let health = match (status.leader, alive * 2 > status.members.len(), alive == status.members.len()) {
        (Some(_), true, true) => "healthy",
        (Some(_), true, false) => "degraded",
        _ => "DOWN: no majority or no leader",
    };
    let mut text = String::new();
    writeln!(text, "{health}: {alive} of {} members are up", status.members.len())?;
    match status.leader {
        Some(leader) => writeln!(text, "leader   node {leader}, term {}", status.term)?,
        None => writeln!(text, "leader   none, term {}", status.term)?,
    }
    writeln!(text, "log      {} entries, {} applied at node {}", status.last_log, status.last_applied, status.id)?;
    if let Some(level) = level.filter(|level| *level < FEATURE_LEVEL) {
        let late = "new features start when all members run this version";
        writeln!(text, "upgrade  the state is at level {level} of {FEATURE_LEVEL}: {late}")?;
    }
    writeln!(text, "tasks    {} running, {} waiting", broker.running, broker.pending)?;
    match (broker.configured, broker.connected) {
        (false, _) => writeln!(text, "broker   none; workers get tasks from the leader")?,
        (true, true) => writeln!(text, "broker   connected, {} messages waiting", broker.ready.unwrap_or(0))?,
        (true, false) => writeln!(text, "broker   not connected; workers get tasks from the leader")?,
    }
    writeln!(text)?;
    let heading = ["node", "state", "http", "version", "files", "held", "free", "done", "running"].map(String::from);
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
        .map(|node| format!("node {node}: leaving is not complete; run `leave` again"));
    let notices: Vec<String> = leaving.chain(nodes.iter().flat_map(notices)).collect();
    if !notices.is_empty() {
        writeln!(text, "\n{}", notices.join("\n"))?;
    }
    Ok(text)
}

/// The problems of a node and its background activities.
fn notices(node: &NodeView) -> Vec<String> {
    let id = node.id;
    let mut notices = Vec::new();
    for (count, what) in [
        (node.damaged, "damaged files found and set aside since it started"),
        (node.short, "files have too few replicas"),
        (node.missing, "of them to be copied to this node"),
        (node.stuck.into(), "slots stuck in threads that do not end; restart the node to free them"),
    ] {
        if count > 0 {
            notices.push(format!("node {id}: {count} {what}"));
        }
    }
    for work in &node.loops {
        if let Some(doing) = &work.doing {
            notices.push(format!("node {id}: {}: {doing}, {} of {}", work.name, work.done, work.total));
        }
        if let Some(error) = &work.error {
            notices.push(format!("node {id}: {} is failing and will retry: {error}", work.name));
        }
    }
    notices
}

fn row(node: &NodeView, overview: &ClusterView) -> [String; 9] {
    let status = &overview.status;
    let state = match (status.joining.get(&node.id), node.alive, node.heard_ms_ago) {
        (Some(Some(lag)), true, _) => format!("joining, {lag} entries behind"),
        (Some(_), true, _) => "joining".into(),
        (_, true, _) if node.leader => "leader".into(),
        (_, true, _) => match status.behind.get(&node.id) {
            Some(behind) if *behind >= FAR_BEHIND => format!("up, {behind} entries behind"),
            _ => "up".into(),
        },
        (_, false, Some(silence)) => format!("down for {} s", silence / 1000),
        (_, false, None) => "never seen".into(),
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

    use std::time::Duration;

    use live::{LoopStatus, NodeReport, NodeStatus};

    use super::*;

    fn overview() -> ClusterView {
        let node = |id: u64, report: NodeReport| NodeStatus {
            id,
            http: "h".into(),
            alive: true,
            silence: Some(Duration::from_millis(1)),
            report: Some(report),
        };
        let repair = LoopStatus {
            name: "repair".into(),
            doing: Some("counting replicas".into()),
            done: 5,
            total: 9,
            ..LoopStatus::default()
        };
        let scrub =
            LoopStatus { name: "scrub".into(), error: Some("the disk is gone".into()), ..LoopStatus::default() };
        let troubled = NodeReport { damaged: 2, loops: vec![repair, scrub], ..NodeReport::default() };
        let status = serde_json::from_value(serde_json::json!({
            "id": 0, "leader": 0, "term": 3, "role": "leader", "last_applied": 900, "last_log": 900,
            "behind": { "1": 400, "2": 1 }, "members": [0, 1, 2], "joining": {}, "addresses": {}, "quorum_ack_ms": 1,
        }));
        Overview {
            status: status.unwrap(),
            nodes: vec![node(0, NodeReport::default()), node(1, troubled), node(2, NodeReport::default())],
            broker: None,
            pending: 0,
            running: 0,
            level: None,
            retired: BTreeSet::new(),
        }
        .into()
    }

    #[test]
    fn problems_are_shown() {
        let shown = text(&overview()).unwrap();
        for expected in [
            "healthy: 3 of 3 members are up",
            "leader   node 0, term 3",
            "up, 400 entries behind",
            "node 1: 2 damaged files found",
            "node 1: repair: counting replicas, 5 of 9",
            "node 1: scrub is failing and will retry: the disk is gone",
        ] {
            assert!(shown.contains(expected), "{expected:?} is not in\n{shown}");
        }
        assert!(
            !shown.contains(" 1 entries behind") && !shown.contains("node 0: ") && !shown.contains("node 2: "),
            "{shown}"
        );
        assert!(!shown.contains("upgrade"), "{shown}");
    }

    #[test]
    fn an_incomplete_leave_is_shown() {
        let mut overview = overview();
        overview.status.addresses = [(1, "a".to_owned())].into();
        overview.retired = [1, 7].into();
        let shown = text(&overview).unwrap();
        assert!(shown.contains("node 1: leaving is not complete") && !shown.contains("node 7"), "{shown}");
    }

    #[test]
    fn an_upgrade_in_progress_is_shown() {
        let shown = |level| text(&ClusterView { level: Some(level), ..overview() }).unwrap();
        assert!(
            shown(FEATURE_LEVEL - 1).contains(&format!("level {} of {FEATURE_LEVEL}", FEATURE_LEVEL - 1)),
            "{}",
            shown(FEATURE_LEVEL - 1)
        );
        assert!(!shown(FEATURE_LEVEL).contains("upgrade"));
    }

    #[test]
    fn sizes_are_short() {
        let sizes = [0, 999, 1000, 1_250_000, 3_000_000_000_000].map(bytes);
        assert_eq!(sizes, ["0 B", "999 B", "1.0 kB", "1.2 MB", "3.0 TB"]);
    }
}

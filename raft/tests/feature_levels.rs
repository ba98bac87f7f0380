//! The feature level during a rolling upgrade.

#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used)]

mod nodes;

use futures_util::future::join_all;
use nodes::{Node, add_song, decided, free_ports, start_version, wait_until};
use raft::{Change, MembershipError, StartError};
use state::FEATURE_LEVEL;

const NEXT: u32 = FEATURE_LEVEL + 1;

fn level(node: &Node) -> Option<u32> {
    node.cluster.peek().cluster_meta().unwrap().map(|meta| meta.level)
}

#[tokio::test(flavor = "multi_thread")]
async fn leader_raises_the_level_when_every_member_knows_it() {
    let root = tempfile::tempdir().unwrap();
    let addresses = free_ports(4);
    let three = addresses.clone().into_iter().filter(|(id, _)| *id < 3).collect();
    let start = async |id, level| start_version(id, &three, root.path(), level).await;
    let mut nodes: Vec<Node> =
        join_all((0..3).map(|id| start(id, FEATURE_LEVEL))).await.into_iter().map(Result::unwrap).collect();
    add_song(&nodes[0], "before").await;
    wait_until("the first level", async || level(&nodes[0]) == Some(FEATURE_LEVEL)).await;
    let name = nodes[0].cluster.peek().cluster_meta().unwrap().unwrap().cluster;

    // While one member runs the older version, the level stays.
    for id in [0, 1] {
        nodes.remove(0).stop().await;
        nodes.push(start(id, NEXT).await.unwrap());
    }
    add_song(&nodes[1], "meanwhile").await;
    wait_until("a leader that has asked the members", async || nodes.iter().any(|node| node.cluster.is_leader())).await;
    tokio::time::sleep(std::time::Duration::from_secs(1)).await;
    assert!(nodes.iter().all(|node| level(node) == Some(FEATURE_LEVEL)));

    nodes.remove(0).stop().await;
    nodes.push(start(2, NEXT).await.unwrap());
    for node in &nodes {
        wait_until("the next level", async || level(node) == Some(NEXT)).await;
        assert_eq!(node.cluster.peek().cluster_meta().unwrap().unwrap().cluster, name);
    }

    // The older version can neither come back nor join.
    nodes.remove(0).stop().await;
    let refused = start(0, FEATURE_LEVEL).await.err().unwrap();
    assert!(matches!(refused, StartError::TooNew { found: NEXT, known: FEATURE_LEVEL }), "{refused}");
    let joining = tokio::spawn({
        let (addresses, root) = (addresses.clone(), root.path().to_owned());
        async move { start_version(3, &addresses, &root, FEATURE_LEVEL).await.map(|_| ()) }
    });
    let join = Change::Join { node: 3, address: addresses[&3].clone(), replaces: None };
    wait_until("an answer of the node that joins", async || {
        match decided(&nodes[0], join.clone()).await.unwrap_err() {
            MembershipError::TooOld { node: 3, level: FEATURE_LEVEL, needed: NEXT } => true,
            error => {
                assert!(error.is_temporary(), "{error}");
                false
            }
        }
    })
    .await;
    joining.abort();
}

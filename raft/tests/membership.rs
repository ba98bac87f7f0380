//! Nodes that join, leave and take each other's place while the cluster works.

#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used)]

mod nodes;

use std::collections::BTreeMap;
use std::path::Path;

use net::NodeId;
use nodes::{Node, PATIENCE, add_song, decided, free_ports, leader, start, start_all, titles, wait_until};
use raft::{Change, MembershipError, StartError};

type Addresses = BTreeMap<NodeId, String>;

fn only(addresses: &Addresses, ids: impl IntoIterator<Item = NodeId>) -> Addresses {
    ids.into_iter().map(|id| (id, addresses[&id].clone())).collect()
}

fn join(addresses: &Addresses, node: NodeId, replaces: Option<NodeId>) -> Change {
    Change::Join { node, address: addresses[&node].clone(), replaces }
}

/// Starts a node with an empty disk, adds it to the cluster through the node `through`, and waits until it votes.
async fn add_node(addresses: &Addresses, through: &Node, id: NodeId, replaces: Option<NodeId>, root: &Path) -> Node {
    let starting = start(id, addresses, root);
    let adding = async {
        wait_until("the node to be added", async || match decided(through, join(addresses, id, replaces)).await {
            Ok(()) => true,
            Err(error) if error.is_temporary() => false,
            Err(other) => panic!("{other}"),
        })
        .await;
        wait_until("a vote", async || through.cluster.status().members.contains(&id)).await;
    };
    let (node, ()) = tokio::join!(starting, adding);
    node.unwrap()
}

async fn leave(through: &Node, node: NodeId) {
    wait_until("the node to leave", async || match decided(through, Change::Leave { node }).await {
        Ok(()) | Err(MembershipError::NoMember(_)) => true,
        Err(error) if error.is_temporary() => false,
        Err(other) => panic!("{other}"),
    })
    .await;
    wait_until("all to know", async || !through.cluster.status().members.contains(&node)).await;
}

/// Waits until a node knows that it has left.
async fn has_left(node: &Node) {
    tokio::time::timeout(PATIENCE, node.cluster.left()).await.expect("the node to know that it has left");
}

#[tokio::test(flavor = "multi_thread")]
async fn cluster_grows_to_five_and_shrinks_to_three_during_writes() {
    let root = tempfile::tempdir().unwrap();
    let addresses = free_ports(5);
    let mut nodes = start_all(&only(&addresses, 0..3), &root).await;
    let writing = Node { cluster: nodes[1].cluster.clone(), peer: nodes[1].peer.clone() };
    // Counts its writes until the receiver is dropped.
    let (count, mut counted) = tokio::sync::watch::channel(0);
    let writer = tokio::spawn(async move {
        let mut written = 0;
        while !count.is_closed() {
            add_song(&writing, &format!("song {written}")).await;
            written += 1;
            count.send_replace(written);
        }
        written
    });
    let mut writes_go_on = async || {
        let before = *counted.borrow();
        tokio::time::timeout(PATIENCE, counted.wait_for(|written| *written > before)).await.unwrap().unwrap();
    };
    for id in [3, 4] {
        let node = add_node(&addresses, &nodes[0], id, None, root.path()).await;
        nodes.push(node);
        writes_go_on().await;
    }
    assert_eq!(nodes[0].cluster.status().members, [0, 1, 2, 3, 4]);

    // The leader and a follower leave.
    let leader = leader(&nodes[1]).await;
    let other = if leader == 4 { 0 } else { 4 };
    for id in [leader, other].into_iter().filter(|id| *id != 1) {
        leave(&nodes[1], id).await;
        writes_go_on().await;
        let at = nodes.iter().position(|node| node.peer.id() == id).unwrap();
        let gone = nodes.remove(at);
        has_left(&gone).await;
        gone.stop().await;
        let refused = start(id, &addresses, root.path()).await.err().unwrap();
        assert!(matches!(refused, StartError::Left(left) if left == id), "{refused}");
    }
    drop(counted);
    let written = writer.await.unwrap();
    for node in &nodes {
        assert_eq!(titles(node).await.len(), written);
        assert!(node.cluster.status().members.len() <= 4);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn two_nodes_can_join_at_the_same_time() {
    let root = tempfile::tempdir().unwrap();
    let addresses = free_ports(5);
    let mut nodes = start_all(&only(&addresses, 0..3), &root).await;
    let (three, four) = tokio::join!(
        add_node(&addresses, &nodes[0], 3, None, root.path()),
        add_node(&addresses, &nodes[0], 4, None, root.path()),
    );
    nodes.extend([three, four]);
    for node in &nodes {
        wait_until("all five to vote", async || node.cluster.status().members == [0, 1, 2, 3, 4]).await;
    }
    for node in nodes {
        node.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn dead_node_is_replaced_under_a_new_id() {
    let root = tempfile::tempdir().unwrap();
    let addresses = free_ports(4);
    let mut nodes = start_all(&only(&addresses, 0..3), &root).await;
    add_song(&nodes[0], "before").await;
    nodes.pop().unwrap().stop().await;
    std::fs::remove_dir_all(root.path().join("2")).unwrap();
    let new = add_node(&addresses, &nodes[0], 3, Some(2), root.path()).await;
    wait_until("the old one to go", async || nodes[0].cluster.status().members == [0, 1, 3]).await;
    // The new node counts: with another of the first three stopped, it is part of the majority.
    nodes.pop().unwrap().stop().await;
    add_song(&new, "after").await;
    assert_eq!(titles(&nodes[0]).await, ["after", "before"]);

    // The old id cannot be used again.
    let refused = start(2, &addresses, root.path()).await.err().unwrap();
    assert!(matches!(refused, StartError::Used(2)), "{refused}");
    assert_eq!(decided(&nodes[0], join(&addresses, 2, None)).await, Err(MembershipError::Used(2)));
}

#[tokio::test(flavor = "multi_thread")]
async fn repeated_leave_completes_an_interrupted_one() {
    let root = tempfile::tempdir().unwrap();
    let addresses = free_ports(4);
    let mut nodes = start_all(&addresses, &root).await;
    add_song(&nodes[0], "before").await;
    wait_until("a name", async || nodes[0].cluster.peek().cluster_meta().unwrap().is_some()).await;
    assert_eq!(decided(&nodes[0], Change::Retire { node: 3 }).await, Ok(()));

    // The command is interrupted here and the leader restarts. The retirement survives both.
    let leader = leader(&nodes[0]).await;
    let at = nodes.iter().position(|node| node.peer.id() == leader).unwrap();
    nodes.remove(at).stop().await;
    nodes.insert(at, start(leader, &addresses, root.path()).await.unwrap());
    wait_until("a leader", async || nodes[1].cluster.propose(nodes::add("after")).await.is_ok()).await;
    let status = nodes[0].cluster.status();
    assert!(status.members.contains(&3), "it is still a member");
    assert_eq!(decided(&nodes[1], join(&addresses, 3, None)).await, Err(MembershipError::Leaving(3)));

    leave(&nodes[0], 3).await;
    has_left(&nodes[3]).await;
    // A repetition succeeds too.
    for change in [Change::Retire { node: 3 }, Change::Leave { node: 3 }] {
        assert_eq!(decided(&nodes[0], change).await, Ok(()));
    }
    assert_eq!(decided(&nodes[0], join(&addresses, 3, None)).await, Err(MembershipError::Used(3)));
    assert_eq!(nodes[0].cluster.status().members, [0, 1, 2]);
}

#[tokio::test(flavor = "multi_thread")]
async fn harmful_membership_changes_are_rejected() {
    let root = tempfile::tempdir().unwrap();
    let addresses = free_ports(5);
    let mut nodes = start_all(&only(&addresses, 0..3), &root).await;
    add_song(&nodes[0], "kept").await;
    let ask = async |change| decided(&nodes[0], change).await;
    wait_until("a name", async || nodes[0].cluster.peek().cluster_meta().unwrap().is_some()).await;
    assert_eq!(ask(Change::Leave { node: 9 }).await, Err(MembershipError::NoMember(9)));
    let silent = ask(join(&addresses, 3, None)).await.unwrap_err();
    assert!(matches!(silent, MembershipError::Unreachable { node: 3, .. }), "{silent}");
    assert_eq!(ask(join(&addresses, 1, None)).await, Ok(()), "joining again changes nothing");
    assert_eq!(ask(join(&addresses, 3, Some(8))).await, Err(MembershipError::NoMember(8)));

    // A node of another cluster cannot join.
    let elsewhere = tempfile::tempdir().unwrap();
    let alone = start(4, &only(&addresses, [4]), elsewhere.path()).await.unwrap();
    add_song(&alone, "its own").await;
    let foreign = ask(join(&addresses, 4, None)).await.unwrap_err();
    assert!(foreign == MembershipError::NotFresh(4) || foreign.to_string().contains("another cluster"), "{foreign}");
    alone.stop().await;

    // One of the two nodes that would remain is dead.
    nodes.pop().unwrap().stop().await;
    let few = decided(&nodes[0], Change::Leave { node: 1 }).await;
    // On a busy machine the other one may not answer in time either.
    assert!(matches!(few, Err(MembershipError::NoMajorityLeft { alive: 0 | 1, members: 2 })), "{few:?}");
    assert!(nodes[0].cluster.read().await.unwrap().retired().unwrap().is_empty(), "nothing was retired");
    add_song(&nodes[1], "still there").await;
    assert_eq!(titles(&nodes[0]).await, ["still there", "kept"]);
}

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

/// Starts a node with an empty disk, which waits to be let in, lets it in by `through`, and waits until it votes.
async fn let_in(addresses: &Addresses, through: &Node, id: NodeId, replaces: Option<NodeId>, root: &Path) -> Node {
    let starting = start(id, addresses, root);
    let letting = async {
        wait_until("the node to be let in", async || match decided(through, join(addresses, id, replaces)).await {
            Ok(()) => true,
            Err(error) if error.is_temporary() => false,
            Err(other) => panic!("{other}"),
        })
        .await;
        wait_until("a vote", async || through.cluster.status().members.contains(&id)).await;
    };
    let (node, ()) = tokio::join!(starting, letting);
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

/// Waits until a node hears that it has left.
async fn has_left(node: &Node) {
    tokio::time::timeout(PATIENCE, node.cluster.left()).await.expect("the node to hear that it has left");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_grows_to_five_and_shrinks_to_three_while_it_works() {
    let root = tempfile::tempdir().unwrap();
    let addresses = free_ports(5);
    let mut nodes = start_all(&only(&addresses, 0..3), &root).await;
    let writing = Node { cluster: nodes[1].cluster.clone(), peer: nodes[1].peer.clone() };
    // Counts what it has written, until nobody looks any more.
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
        let node = let_in(&addresses, &nodes[0], id, None, root.path()).await;
        nodes.push(node);
        writes_go_on().await;
    }
    assert_eq!(nodes[0].cluster.status().members, [0, 1, 2, 3, 4]);

    // The leader leaves, and one that does not lead.
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
async fn two_that_join_at_once_both_become_members() {
    let root = tempfile::tempdir().unwrap();
    let addresses = free_ports(5);
    let mut nodes = start_all(&only(&addresses, 0..3), &root).await;
    let (three, four) = tokio::join!(
        let_in(&addresses, &nodes[0], 3, None, root.path()),
        let_in(&addresses, &nodes[0], 4, None, root.path()),
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
async fn a_dead_node_is_replaced_under_a_new_number() {
    let root = tempfile::tempdir().unwrap();
    let addresses = free_ports(4);
    let mut nodes = start_all(&only(&addresses, 0..3), &root).await;
    add_song(&nodes[0], "before").await;
    nodes.pop().unwrap().stop().await;
    std::fs::remove_dir_all(root.path().join("2")).unwrap();
    let new = let_in(&addresses, &nodes[0], 3, Some(2), root.path()).await;
    wait_until("the old one to go", async || nodes[0].cluster.status().members == [0, 1, 3]).await;
    // The new one counts: with another of the first three gone, it is the majority.
    nodes.pop().unwrap().stop().await;
    add_song(&new, "after").await;
    assert_eq!(titles(&nodes[0]).await, ["after", "before"]);

    // The old number is used up.
    let refused = start(2, &addresses, root.path()).await.err().unwrap();
    assert!(matches!(refused, StartError::Used(2)), "{refused}");
    assert_eq!(decided(&nodes[0], join(&addresses, 2, None)).await, Err(MembershipError::Used(2)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_leave_that_broke_off_is_finished_by_giving_it_again() {
    let root = tempfile::tempdir().unwrap();
    let addresses = free_ports(4);
    let mut nodes = start_all(&addresses, &root).await;
    add_song(&nodes[0], "before").await;
    wait_until("a name", async || nodes[0].cluster.peek().cluster_meta().unwrap().is_some()).await;
    assert_eq!(decided(&nodes[0], Change::Retire { node: 3 }).await, Ok(()));

    // Here the command broke off, and the leader goes as well. The mark outlives both.
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
    // Whoever did not hear that it is done hears it now.
    for change in [Change::Retire { node: 3 }, Change::Leave { node: 3 }] {
        assert_eq!(decided(&nodes[0], change).await, Ok(()));
    }
    assert_eq!(decided(&nodes[0], join(&addresses, 3, None)).await, Err(MembershipError::Used(3)));
    assert_eq!(nodes[0].cluster.status().members, [0, 1, 2]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_would_hurt_the_cluster_is_refused() {
    let root = tempfile::tempdir().unwrap();
    let addresses = free_ports(5);
    let mut nodes = start_all(&only(&addresses, 0..3), &root).await;
    add_song(&nodes[0], "kept").await;
    let ask = async |change| decided(&nodes[0], change).await;
    wait_until("a name", async || nodes[0].cluster.peek().cluster_meta().unwrap().is_some()).await;
    assert_eq!(ask(Change::Leave { node: 9 }).await, Err(MembershipError::NoMember(9)));
    let silent = ask(join(&addresses, 3, None)).await.unwrap_err();
    assert!(matches!(silent, MembershipError::Unreachable { node: 3, .. }), "{silent}");
    assert_eq!(ask(join(&addresses, 1, None)).await, Ok(()), "a member is a member");
    assert_eq!(ask(join(&addresses, 3, Some(8))).await, Err(MembershipError::NoMember(8)));

    // A node that has a cluster of its own cannot come over with it.
    let elsewhere = tempfile::tempdir().unwrap();
    let alone = start(4, &only(&addresses, [4]), elsewhere.path()).await.unwrap();
    add_song(&alone, "its own").await;
    let foreign = ask(join(&addresses, 4, None)).await.unwrap_err();
    assert!(foreign == MembershipError::NotFresh(4) || foreign.to_string().contains("another cluster"), "{foreign}");
    alone.stop().await;

    // Of the two that would be left, one is dead.
    nodes.pop().unwrap().stop().await;
    let few = decided(&nodes[0], Change::Leave { node: 1 }).await;
    // A busy machine may keep the other one from answering in time as well.
    assert!(matches!(few, Err(MembershipError::NoMajorityLeft { alive: 0 | 1, members: 2 })), "{few:?}");
    assert!(nodes[0].cluster.read().await.unwrap().retired().unwrap().is_empty(), "it is not half gone either");
    add_song(&nodes[1], "still there").await;
    assert_eq!(titles(&nodes[0]).await, ["still there", "kept"]);
}

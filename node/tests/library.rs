//! A library in a cluster of three: what one node takes in, every node finds, lists and plays.

#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used)]

mod harness;

use harness::{Cluster, song, turn, wait_for};
use reqwest::StatusCode;

/// Nodes that separate nothing, and that move no files by themselves.
const IDLE: &str = "[workers]\nslots = 0\n";

/// A number of a node's, as Prometheus reads it.
async fn number(cluster: &Cluster, node: u64, name: &str) -> f64 {
    let text = cluster.get(node, "/metrics").await.unwrap().text().await.unwrap();
    let line = text.lines().find(|line| line.starts_with(name) && !line.starts_with('#'));
    line.unwrap_or_else(|| panic!("{name} is not in\n{text}")).rsplit(' ').next().unwrap().parse().unwrap()
}

#[tokio::test]
async fn who_seeks_in_a_long_song_at_a_node_without_it_does_not_wait_for_the_whole() {
    let _turn = turn().await;
    let cluster = Cluster::start(3, None, IDLE).await;
    let file = song(180, 500);
    let bytes = std::fs::read(&file).unwrap();
    assert!(bytes.len() > 20 << 20);
    let made = cluster.upload(0, "Long", &file).await;
    let hash = made["hash"].as_str().unwrap();
    let holds = |node: u64| cluster.folder.path().join(format!("node-{node}/blobs/{}/{hash}", &hash[..2])).exists();
    let without = (0..3).find(|node| !holds(*node)).expect("a majority holds the song, and one node does not");
    // From the end, the middle and the beginning, over the borders of pieces.
    for (first, length) in [(bytes.len() - 1000, 1000), ((10 << 20) - 7, 20), (0, 100)] {
        let url = cluster.url(without, &format!("/songs/{}/song.wav", made["id"]));
        let range = format!("bytes={first}-{}", first + length - 1);
        let answer = cluster.client.get(url).header("range", range).send().await.unwrap();
        assert_eq!(answer.status(), StatusCode::PARTIAL_CONTENT);
        assert_eq!(answer.bytes().await.unwrap(), bytes[first..first + length]);
    }
    // The first listener was served out of single pieces, and the file is here for the next.
    assert!(number(&cluster, without, "quartet_blobs_passed_bytes_total").await > 0.0);
    wait_for("the song to be kept", async || holds(without).then_some(())).await;
    let whole = cluster.get(without, &format!("/songs/{}/song.wav", made["id"])).await.unwrap();
    assert_eq!(whole.bytes().await.unwrap(), bytes);
}

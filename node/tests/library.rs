//! The library of a three-node cluster: every node finds, lists and plays all songs.

#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used)]

mod harness;

use harness::{Cluster, permits, song, wait_for};
use reqwest::multipart::{Form, Part};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

/// Nodes without workers, which therefore fetch no files for tasks.
const IDLE: &str = "[workers]\nslots = 0\n";

/// The value of a node's metric.
async fn metric(cluster: &Cluster, node: u64, name: &str) -> f64 {
    let text = cluster.get(node, "/metrics").await.unwrap().text().await.unwrap();
    let line = text.lines().find(|line| line.starts_with(name) && !line.starts_with('#'));
    line.unwrap_or_else(|| panic!("{name} is not in\n{text}")).rsplit(' ').next().unwrap().parse().unwrap()
}

#[tokio::test]
async fn seeking_at_a_node_without_the_song_fetches_single_pieces() {
    let _permit = permits(1).await;
    let mut cluster = Cluster::start(3, None, IDLE).await;
    let file = song(180, 500);
    let bytes = std::fs::read(&file).unwrap();
    assert!(bytes.len() > 20 << 20);
    // A node that is down gets no replica.
    cluster.kill(2);
    let made = cluster.upload(0, "Long", &file).await;
    cluster.run(2);
    cluster.wait_until_ready(2).await;
    let hash = made["hash"].as_str().unwrap();
    let holds = |node: u64| cluster.folder.path().join(format!("node-{node}/blobs/{}/{hash}", &hash[..2])).exists();
    let without = (0..3).find(|node| !holds(*node)).expect("a majority holds the song, and one node does not");
    // Ranges at the end, the middle and the start, across the borders of pieces.
    for (first, length) in [(bytes.len() - 1000, 1000), ((10 << 20) - 7, 20), (0, 100)] {
        let url = cluster.url(without, &format!("/songs/{}/song.wav", made["id"]));
        let range = format!("bytes={first}-{}", first + length - 1);
        let answer = cluster.client.get(url).header("range", range).send().await.unwrap();
        assert_eq!(answer.status(), StatusCode::PARTIAL_CONTENT);
        assert_eq!(answer.bytes().await.unwrap(), bytes[first..first + length]);
    }
    // The ranges were served from single pieces. The whole file is fetched in the background.
    assert!(metric(&cluster, without, "quartet_blobs_passed_bytes_total").await > 0.0);
    wait_for("the song to be kept", async || holds(without).then_some(())).await;
    let whole = cluster.get(without, &format!("/songs/{}/song.wav", made["id"])).await.unwrap();
    assert_eq!(whole.bytes().await.unwrap(), bytes);
}

/// Sends a request with a cookie.
async fn ask(cluster: &Cluster, node: u64, who: &str, what: &str, body: &Value) -> (StatusCode, Value) {
    let (method, path) = what.split_once(' ').unwrap();
    let method = Method::from_bytes(method.as_bytes()).unwrap();
    let mut request = cluster.client.request(method, cluster.url(node, path)).header("cookie", who);
    if !body.is_null() {
        request = request.json(body);
    }
    let answer = request.send().await.unwrap();
    (answer.status(), answer.json().await.unwrap_or_default())
}

fn ids(body: &Value) -> Vec<u64> {
    body["data"]["songs"].as_array().unwrap().iter().map(|song| song["id"].as_u64().unwrap()).collect()
}

/// Creates an account as soon as the cluster accepts accounts, and returns the cookie of a session.
async fn person(cluster: &Cluster, node: u64, name: &str) -> String {
    let password = format!("{name}'s password");
    let fields = json!({ "username": name, "password1": password, "password2": password });
    wait_for("an account", async || {
        let (status, _) = ask(cluster, node, "", "POST /auth/register", &fields).await;
        (status == StatusCode::CREATED).then_some(())
    })
    .await;
    let fields = json!({ "username": name, "password": password });
    let answer = cluster.client.post(cluster.url(node, "/auth/login")).json(&fields).send().await.unwrap();
    answer.headers()["set-cookie"].to_str().unwrap().split(';').next().unwrap().to_owned()
}

#[tokio::test]
async fn changes_at_one_node_are_visible_at_all_nodes_and_durable() {
    let _permit = permits(1).await;
    let mut cluster = Cluster::start(3, None, IDLE).await;
    let ada = person(&cluster, 0, "Ada").await;
    let bob = person(&cluster, 1, "Bob").await;
    let mut songs = Vec::new();
    for (seed, title) in [(510, "Zoë"), (511, "Anna"), (512, "Mia")] {
        let form = Form::new()
            .text("title", title)
            .part("file", Part::bytes(std::fs::read(song(2, seed)).unwrap()).file_name("song.wav"));
        let node = u64::from(seed) % 3;
        let request = cluster.client.post(cluster.url(node, "/songs/upload")).header("cookie", &ada).multipart(form);
        let made: Value = request.send().await.unwrap().json().await.unwrap();
        let id = made["data"]["song"]["id"].as_u64().unwrap();
        songs.push(id);
        // Every node finds it at once.
        let word = title.to_lowercase().replace('ë', "e");
        for node in 0..3 {
            let (_, found) = ask(&cluster, node, &ada, &format!("GET /songs/?q={word}"), &Value::Null).await;
            assert_eq!(ids(&found), [id], "{title} at node {node}");
        }
    }
    let [zoe, anna, mia] = songs[..] else { unreachable!() };
    let edit = format!("PATCH /songs/{mia}");
    assert_eq!(ask(&cluster, 1, &ada, &edit, &json!({ "artist": "Quartet" })).await.0, StatusCode::OK);
    let (_, made) = ask(&cluster, 2, &ada, "POST /playlists", &json!({ "name": "Three" })).await;
    let list = format!("/playlists/{}", made["data"]["playlist"]["id"]);
    // Concurrent additions at all nodes: none is lost.
    let adds = (0..9).map(|n| {
        let (cluster, ada, list) = (&cluster, &ada, &list);
        let song = songs[n as usize % 3];
        async move { ask(cluster, n % 3, ada, &format!("POST {list}/songs"), &json!({ "songs": [song] })).await.0 }
    });
    assert!(futures_util::future::join_all(adds).await.iter().all(StatusCode::is_success));
    let share = format!("POST {list}/shares");
    assert_eq!(ask(&cluster, 0, &ada, &share, &json!({ "user": "Bob" })).await.0, StatusCode::OK);
    let plays = (0..6).map(|n| {
        let (cluster, bob) = (&cluster, &bob);
        async move { ask(cluster, n % 3, bob, &format!("POST /songs/{anna}/plays"), &Value::Null).await.0 }
    });
    assert!(futures_util::future::join_all(plays).await.iter().all(StatusCode::is_success));
    let favour = format!("PUT /songs/{zoe}/favourite");
    assert_eq!(ask(&cluster, 1, &bob, &favour, &Value::Null).await.0, StatusCode::OK);

    for round in ["at once", "after all were killed"] {
        for node in 0..3 {
            let of =
                async |who: &str, path: &str| ask(&cluster, node, who, &format!("GET {path}"), &Value::Null).await.1;
            assert_eq!(ids(&of(&ada, "/songs/?sort=title").await), [anna, mia, zoe], "{round}, node {node}");
            assert_eq!(ids(&of(&ada, "/songs/?sort=-plays&limit=1").await), [anna]);
            assert_eq!(of(&ada, "/artists").await["data"]["artists"][0]["name"], "Quartet");
            assert_eq!(ids(&of(&bob, "/songs/?sort=-played").await), [anna]);
            assert_eq!(ids(&of(&bob, "/songs/?favourite=true").await), [zoe]);
            assert_eq!(of(&bob, &format!("/songs/{anna}")).await["data"]["song"]["plays"], 6);
            let playlist = of(&bob, &list).await["data"]["playlist"].clone();
            assert_eq!((&playlist["songs"], &playlist["hidden"]), (&json!(9), &json!(0)), "{playlist}");
            assert_eq!(playlist["entries"].as_array().unwrap().len(), 9);
        }
        if round == "at once" {
            for node in 0..3 {
                cluster.kill(node);
            }
            for node in 0..3 {
                cluster.run(node);
            }
            for node in 0..3 {
                cluster.wait_until_ready(node).await;
            }
        }
    }
}

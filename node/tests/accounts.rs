//! Accounts in a three-node cluster: changes are visible at all nodes at once, and survive a kill of all nodes.

#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used)]

mod harness;

use harness::{Cluster, permits, song, wait_for, write_certificates};
use reqwest::multipart::{Form, Part};
use reqwest::{Client, Method, StatusCode};
use serde_json::{Value, json};

/// Nodes without workers.
const IDLE: &str = "[workers]\nslots = 0\n";

/// Sends a request with a cookie, or with a token that begins with `qt_`.
async fn ask(cluster: &Cluster, node: u64, who: &str, what: &str, body: &Value) -> (StatusCode, Value) {
    let (method, path) = what.split_once(' ').unwrap();
    let mut request = cluster.client.request(Method::from_bytes(method.as_bytes()).unwrap(), cluster.url(node, path));
    if who.starts_with("qt_") {
        request = request.bearer_auth(who);
    } else if !who.is_empty() {
        request = request.header("cookie", who);
    }
    if !body.is_null() {
        request = request.json(body);
    }
    let answer = request.send().await.unwrap();
    (answer.status(), answer.json().await.unwrap_or_default())
}

/// A cluster that accepts accounts: a new one does when its nodes have exchanged their feature levels.
async fn start(more: &str) -> Cluster {
    let cluster = Cluster::start(3, None, more).await;
    let fields = json!({ "username": "nobody", "password": "a guess" });
    wait_for("accounts", async || {
        let (status, _) = ask(&cluster, 0, "", "POST /auth/login", &fields).await;
        (status == StatusCode::UNAUTHORIZED).then_some(())
    })
    .await;
    cluster
}

async fn register(cluster: &Cluster, node: u64, name: &str) -> (StatusCode, Value) {
    let password = format!("{name}'s password");
    let fields = json!({ "username": name, "password1": password, "password2": password });
    ask(cluster, node, "", "POST /auth/register", &fields).await
}

/// Logs in and returns the cookie.
async fn login(cluster: &Cluster, node: u64, name: &str) -> String {
    let fields = json!({ "username": name, "password": format!("{name}'s password") });
    let answer = cluster.client.post(cluster.url(node, "/auth/login")).json(&fields).send().await.unwrap();
    assert_eq!(answer.status(), StatusCode::OK, "{name} at node {node}");
    answer.headers()["set-cookie"].to_str().unwrap().split(';').next().unwrap().to_owned()
}

async fn upload(cluster: &Cluster, node: u64, who: &str, title: &str, seed: u32) -> u64 {
    let file = Part::bytes(std::fs::read(song(2, seed)).unwrap()).file_name("song.wav");
    let form = Form::new().text("title", title.to_owned()).part("file", file);
    let asked = cluster.client.post(cluster.url(node, "/songs/upload")).header("cookie", who);
    let body: Value = asked.multipart(form).send().await.unwrap().json().await.unwrap();
    body["data"]["song"]["id"].as_u64().unwrap_or_else(|| panic!("{body}"))
}

/// The user name that belongs to a cookie or token, according to a node.
async fn name(cluster: &Cluster, node: u64, who: &str) -> Option<String> {
    let (_, me) = ask(cluster, node, who, "GET /auth/me", &Value::Null).await;
    me["data"]["user"]["username"].as_str().map(str::to_owned)
}

#[tokio::test]
async fn session_is_valid_at_every_node_and_ends_at_every_node() {
    let _permit = permits(1).await;
    let mut cluster = start(IDLE).await;
    // Of two concurrent first registrations, one becomes the administrator.
    let (one, two) = tokio::join!(register(&cluster, 0, "Ada"), register(&cluster, 1, "Bob"));
    let administrators = [&one, &two]
        .map(|(_, body)| body["data"]["user"]["administrator"].as_bool().unwrap())
        .iter()
        .filter(|is| **is)
        .count();
    assert_eq!(administrators, 1, "{one:?} {two:?}");
    // Of two concurrent registrations with the same name, one succeeds.
    let (one, two) = tokio::join!(register(&cluster, 1, "Cleo"), register(&cluster, 2, "CLEO"));
    let mut statuses = [one.0.as_u16(), two.0.as_u16()];
    statuses.sort_unstable();
    assert_eq!(statuses, [201, 409], "{one:?} {two:?}");

    // Several rounds, because chance can hide a node that is behind.
    for round in 0..10 {
        let ada = login(&cluster, round % 3, "Ada").await;
        for node in 0..3 {
            assert_eq!(name(&cluster, node, &ada).await.as_deref(), Some("Ada"), "at node {node}");
        }
        let (status, _) = ask(&cluster, (round + 1) % 3, &ada, "POST /auth/logout", &Value::Null).await;
        assert_eq!(status, StatusCode::OK);
        for node in 0..3 {
            assert_eq!(name(&cluster, node, &ada).await, None, "at node {node}");
        }
    }

    // A token is valid at every node until it is revoked.
    let ada = login(&cluster, 0, "Ada").await;
    let (_, me) = ask(&cluster, 0, &ada, "GET /auth/me", &Value::Null).await;
    let tokens = format!("/users/{}/tokens", me["data"]["user"]["id"]);
    let (status, made) = ask(&cluster, 1, &ada, &format!("POST {tokens}"), &json!({ "name": "kitchen" })).await;
    assert_eq!(status, StatusCode::CREATED, "{made}");
    let token = made["data"]["secret"].as_str().unwrap().to_owned();
    let mine = upload(&cluster, 2, &ada, "Mine", 301).await;

    // Users, sessions, tokens and rights survive a kill of all nodes.
    for node in 0..3 {
        cluster.kill(node);
    }
    for node in 0..3 {
        cluster.run(node);
    }
    for node in 0..3 {
        cluster.wait_until_ready(node).await;
    }
    for node in 0..3 {
        for who in [&ada, &token] {
            assert_eq!(name(&cluster, node, who).await.as_deref(), Some("Ada"), "at node {node}");
            let (status, _) = ask(&cluster, node, who, &format!("GET /songs/{mine}"), &Value::Null).await;
            assert_eq!(status, StatusCode::OK);
        }
        let (status, _) = ask(&cluster, node, "", &format!("GET /songs/{mine}"), &Value::Null).await;
        assert_eq!(status, StatusCode::NOT_FOUND);
    }
    let revoke = format!("DELETE {tokens}/{}", made["data"]["token"]["id"]);
    assert_eq!(ask(&cluster, 2, &ada, &revoke, &Value::Null).await.0, StatusCode::OK);
    for node in 0..3 {
        let (status, _) = ask(&cluster, node, &token, "GET /songs", &Value::Null).await;
        assert_eq!(status, StatusCode::UNAUTHORIZED, "at node {node}");
    }

    // No log contains credentials.
    for node in 0..3 {
        let log = std::fs::read_to_string(cluster.log(node)).unwrap();
        for secret in ["password", &token, ada.split_once('=').unwrap().1, "argon2id"] {
            assert!(!log.contains(secret), "{secret} in the log of node {node}");
        }
    }
}

#[tokio::test]
async fn login_attempts_are_limited_across_all_nodes() {
    let _permit = permits(1).await;
    let cluster = start(&format!("{IDLE}[http]\ntrusted_proxies = [\"127.0.0.1\"]\n")).await;
    assert_eq!(register(&cluster, 0, "Ada").await.0, StatusCode::CREATED);
    let attempt = async |node: u64, from: &str, name: &str, password: &str| {
        let asked = cluster.client.post(cluster.url(node, "/auth/login")).header("x-forwarded-for", from);
        let answer = asked.json(&json!({ "username": name, "password": password })).send().await.unwrap();
        let after = answer.headers().get("retry-after").map(|after| after.to_str().unwrap().parse::<u32>().unwrap());
        (answer.status().as_u16(), after)
    };
    // Concurrent attempts, so that no node knows the attempts at the others beforehand.
    let attempts = (0..15).map(|n| attempt(n % 3, "203.0.113.1", "ada", "a guess"));
    let results = futures_util::future::join_all(attempts).await;
    assert_eq!(results.iter().filter(|(status, _)| *status == 401).count(), 10, "{results:?}");
    assert_eq!(results.iter().filter(|(status, _)| *status == 429).count(), 5, "{results:?}");
    for node in 0..3 {
        // The right password is rejected too.
        let (status, after) = attempt(node, "203.0.113.1", "Ada", "Ada's password").await;
        assert_eq!(status, 429);
        assert!((1..=900).contains(&after.unwrap()), "{after:?}");
        // Other addresses and other users are not affected.
        assert_eq!(attempt(node, "203.0.113.2", "Ada", "Ada's password").await.0, 200);
        assert_eq!(attempt(node, "203.0.113.1", "nobody", "a guess").await.0, 401);
    }
    // Successful logins do not count.
    for n in 0..12 {
        assert_eq!(attempt(n % 3, "203.0.113.3", "Ada", "Ada's password").await.0, 200, "attempt {n}");
    }
}

#[tokio::test]
async fn deleting_a_user_deletes_or_transfers_their_songs() {
    let _permit = permits(1).await;
    let cluster = start(IDLE).await;
    for name in ["root", "Ada", "Bob"] {
        assert_eq!(register(&cluster, 0, name).await.0, StatusCode::CREATED);
    }
    let mut cookies = Vec::new();
    for name in ["root", "Ada", "Bob"] {
        cookies.push(login(&cluster, 1, name).await);
    }
    let [root, ada, bob] = &cookies[..] else { unreachable!() };
    let (open, closed) = (upload(&cluster, 0, ada, "Open", 310).await, upload(&cluster, 1, ada, "Closed", 311).await);
    let bobs = upload(&cluster, 2, bob, "Bob's", 310).await;
    let share = format!("POST /songs/{open}/shares");
    assert_eq!(ask(&cluster, 2, ada, &share, &json!({ "everybody": true })).await.0, StatusCode::OK);
    let visible = async |node: u64, who: &str| {
        let (_, body) = ask(&cluster, node, who, "GET /songs", &Value::Null).await;
        let songs = body["data"]["songs"].as_array().unwrap().iter();
        songs.map(|song| song["id"].as_u64().unwrap()).collect::<Vec<_>>()
    };
    for node in 0..3 {
        assert_eq!(visible(node, "").await, [open]);
        assert_eq!(visible(node, ada).await, [closed, open]);
        assert_eq!(visible(node, bob).await, [bobs, open]);
        assert_eq!(visible(node, root).await, [bobs, closed, open]);
    }
    // The request must say what happens to the songs.
    let (status, body) = ask(&cluster, 0, ada, "DELETE /users/2", &Value::Null).await;
    assert_eq!(status, StatusCode::CONFLICT);
    assert!(body["errors"][0]["message"].as_str().unwrap().contains("songs=hand_over"), "{body}");
    assert_eq!(ask(&cluster, 0, ada, "DELETE /users/2?songs=burn", &Value::Null).await.0, StatusCode::BAD_REQUEST);
    assert_eq!(ask(&cluster, 0, ada, "DELETE /users/2?songs=hand_over", &Value::Null).await.0, StatusCode::OK);
    for node in 0..3 {
        assert_eq!(name(&cluster, node, ada).await, None);
        assert_eq!(visible(node, root).await, [bobs, open]);
        let (_, song) = ask(&cluster, node, "", &format!("GET /songs/{open}"), &Value::Null).await;
        assert_eq!(song["data"]["song"]["uploader_id"], Value::Null);
    }
    // An administrator deletes Bob with all his songs. The file that a transferred song also uses stays.
    assert_eq!(ask(&cluster, 1, root, "DELETE /users/3?songs=delete", &Value::Null).await.0, StatusCode::OK);
    for node in 0..3 {
        assert_eq!(visible(node, root).await, [open]);
        let file = cluster.get(node, &format!("/songs/{open}/song.wav")).await.unwrap();
        assert_eq!(file.bytes().await.unwrap(), std::fs::read(song(2, 310)).unwrap());
    }
    let fields = json!({ "username": "Bob", "password": "Bob's password" });
    assert_eq!(ask(&cluster, 2, "", "POST /auth/login", &fields).await.0, StatusCode::UNAUTHORIZED);
}

fn trusting(root: &str) -> Client {
    let root = reqwest::Certificate::from_pem(root.as_bytes()).unwrap();
    Client::builder().tls_certs_only([root]).build().unwrap()
}

#[tokio::test]
async fn node_serves_https_and_reloads_its_certificate() {
    let _permit = permits(1).await;
    let mut cluster = Cluster::start(1, None, IDLE).await;
    let folder = cluster.folder.path().to_owned();
    let first = trusting(&write_certificates(&folder, "127.0.0.1"));
    let log = cluster.log(0);
    cluster.kill(0);
    let file = folder.join("cluster.toml");
    let tls = "[http.tls]\ncertificate = \"certificate.pem\"\nkey = \"key.pem\"\n";
    std::fs::write(&file, std::fs::read_to_string(&file).unwrap() + tls).unwrap();
    cluster.run(0);
    let address = cluster.http[&0].clone();
    let url = |path: &str| format!("https://{address}{path}");
    let ready = async |client: &Client| {
        let answer = client.get(url("/readyz")).send().await.ok()?;
        answer.status().is_success().then_some(answer)
    };
    let answer = wait_for("HTTPS", async || ready(&first).await).await;
    assert_eq!(answer.version(), reqwest::Version::HTTP_2);
    assert!(answer.headers()["strict-transport-security"].to_str().unwrap().starts_with("max-age="));
    // Clients with plain HTTP and silent clients do not affect others.
    assert!(cluster.get(0, "/healthz").await.is_none());
    let mut silent = Vec::new();
    for _ in 0..20 {
        silent.push(tokio::net::TcpStream::connect(&address).await.unwrap());
    }
    let fields = json!({ "username": "Ada", "password1": "Ada's password", "password2": "Ada's password" });
    wait_for("an account", async || {
        let answer = first.post(url("/auth/register")).json(&fields).send().await.unwrap();
        (answer.status() == StatusCode::CREATED).then_some(())
    })
    .await;
    let fields = json!({ "username": "Ada", "password": "Ada's password" });
    let answer = first.post(url("/auth/login")).json(&fields).send().await.unwrap();
    let cookie = answer.headers()["set-cookie"].to_str().unwrap().to_owned();
    assert!(cookie.starts_with("__Host-quartet=") && cookie.ends_with("; Secure"), "{cookie}");
    // An incomplete file changes nothing. A new certificate is used after the signal.
    std::fs::write(folder.join("certificate.pem"), "-----BEGIN CERT").unwrap();
    cluster.process(0).signal(rustix::process::Signal::HUP);
    wait_for("the warning", async || {
        std::fs::read_to_string(&log).unwrap().contains("the old one stays in use").then_some(())
    })
    .await;
    assert!(ready(&first).await.is_some());
    let second = trusting(&write_certificates(&folder, "127.0.0.1"));
    cluster.process(0).signal(rustix::process::Signal::HUP);
    wait_for("the new certificate", async || ready(&second).await).await;
    // Open connections continue. A client that trusts only another authority cannot connect.
    let elsewhere = tempfile::tempdir().unwrap();
    let third = trusting(&write_certificates(elsewhere.path(), "127.0.0.1"));
    assert!(third.get(url("/healthz")).send().await.is_err());
    drop(silent);
    cluster.process(0).terminate();
    assert!(cluster.process(0).wait(harness::PATIENCE).unwrap().success());
}

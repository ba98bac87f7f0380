//! What a dashboard asks of jobs, and what a song can be separated into, in a cluster of one whose worker is this test.

#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used)]

mod standalone;

use live::attempt_log::{Recorder, Recording, name_of};
use net::request::RequestId;
use std::process::Command as Program;
use tracing_subscriber::layer::SubscriberExt;

use axum::http::StatusCode;
use serde_json::{Value, json};
use standalone::{Node, claim, wav, work};
use state::command::{ClaimTask, FailTask};
use state::{LogLevel, LogLine, TaskId};
use storage::blobs::Hash;

async fn post(node: &Node, path: &str, body: Value) -> (StatusCode, Value) {
    node.json_as("", "POST", path, &body).await
}

/// The ids of the jobs that a search finds.
async fn found(node: &Node, query: &str) -> Vec<u64> {
    let (status, body) = node.json("GET", &format!("/jobs/?{query}")).await;
    assert_eq!(status, StatusCode::OK, "{query}: {body}");
    body["data"]["jobs"].as_array().unwrap().iter().map(|job| job["id"].as_u64().unwrap()).collect()
}

fn now() -> u64 {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_millis() as u64
}

#[tokio::test(flavor = "multi_thread")]
async fn song_is_separated_again() {
    let node = Node::start().await;
    assert_eq!(node.upload("blue.wav", &wav()).await.0, StatusCode::OK);
    let one = "/songs/1/separate";
    // Every field has an error of its own.
    for (wish, status, code) in [
        (json!({ "stems": ["kazoo", "drums", "lute"] }), 422, "no_such_stem"),
        (json!({ "stems": [] }), 422, "no_stems"),
        (json!({ "two_stems": "kazoo" }), 422, "no_such_stem"),
        (json!({ "two_stems": "drums", "stems": ["drums"] }), 422, "two_choices"),
        (json!({ "model": "nobody's" }), 400, "malformed"),
        (json!({ "formats": ["ogg"] }), 400, "malformed"),
        (json!({ "priority": "now" }), 400, "malformed"),
        (json!({ "stem": "drums" }), 400, "malformed"),
    ] {
        let (found, body) = post(&node, one, wish.clone()).await;
        assert_eq!((found.as_u16(), body["errors"][0]["code"].as_str()), (status, Some(code)), "{wish}: {body}");
    }
    let (_, body) = post(&node, one, json!({ "stems": ["kazoo", "drums", "lute"] })).await;
    assert_eq!(body["errors"].as_array().unwrap().len(), 2);

    // Two stems. The same parameters give the same job, and no parameters the primary one.
    let (status, body) = post(&node, one, json!({ "two_stems": "vocals", "formats": ["flac:24"] })).await;
    assert_eq!(status, StatusCode::OK, "{body}");
    let job = &body["data"]["job"];
    assert_eq!((&job["id"], &job["two_stems"], &job["formats"]), (&json!(2), &json!("vocals"), &json!(["flac:24"])));
    assert_eq!(job["songs"], json!([{ "id": 1, "title": "Blue" }]));
    let (_, body) = post(&node, one, json!({ "formats": ["flac:24"], "two_stems": "vocals" })).await;
    assert_eq!(body["data"]["job"]["id"], 2);
    assert_eq!(post(&node, one, json!({})).await.1["data"]["job"]["id"], 1);
    assert_eq!(
        post(&node, one, json!({ "stems": ["vocals", "drums", "bass", "other"] })).await.1["data"]["job"]["id"],
        1
    );
    // The limit on open jobs applies.
    assert_eq!(post(&node, one, json!({ "stems": ["drums"] })).await.0, StatusCode::TOO_MANY_REQUESTS);

    // A part that this separation does not make, and one that is not ready.
    for (path, code) in [
        ("drums.wav?job=2", "no_such_part"),
        ("no_vocals.wav?job=2", "not_split"),
        ("no_vocals.wav", "no_such_part"),
        ("drums.wav?job=9", "no_such_job"),
        ("stems.zip?job=2", "not_split"),
    ] {
        let (status, body) = node.json("GET", &format!("/songs/1/{path}")).await;
        assert_eq!((status.as_u16(), body["errors"][0]["code"].as_str()), (404, Some(code)), "{path}: {body}");
    }
    work(&node, 2, &["vocals", "no_vocals"], &wav(), now()).await;
    let (_, body) = node.json("GET", "/songs/1/separations").await;
    let separations = body["data"]["separations"].as_array().unwrap();
    assert_eq!(separations.iter().map(|one| &one["own"]).collect::<Vec<_>>(), [true, false]);
    assert_eq!(separations[1]["job"]["state"], "done");
    let file = separations[1]["parts"]["no_vocals"]["wav"].as_str().unwrap();
    assert_eq!(file, "/songs/1/no_vocals.wav?job=2");
    let (status, _, bytes) = node.ask("GET", file, &[], Vec::new()).await;
    assert_eq!((status, bytes), (StatusCode::OK, wav()));
    // The primary separation is still waiting.
    assert_eq!(node.json("GET", "/songs/1").await.1["data"]["song"]["status"], "UPLOADED");

    assert_eq!(node.json("DELETE", "/songs/1/separations/1").await.0, StatusCode::CONFLICT);
    assert_eq!(node.json("DELETE", "/songs/1/separations/2").await.0, StatusCode::OK);
    assert_eq!(node.json("DELETE", "/songs/1/separations/2").await.0, StatusCode::NOT_FOUND);
    assert_eq!(node.json("GET", "/jobs/2").await.0, StatusCode::NOT_FOUND);
}

#[tokio::test(flavor = "multi_thread")]
async fn archive_has_all_stems() {
    let node = Node::start().await;
    assert_eq!(node.upload("blue.wav", &wav()).await.0, StatusCode::OK);
    // More than one piece, and not a multiple of it.
    let long: Vec<u8> = wav().into_iter().cycle().take(3_000_001).collect();
    work(&node, 1, &["drums", "vocals"], &long, now()).await;
    let (status, headers, body) = node.ask("GET", "/songs/1/stems.zip?format=wav", &[], Vec::new()).await;
    assert_eq!((status, headers["content-type"].to_str().unwrap()), (StatusCode::OK, "application/zip"));
    assert_eq!(headers["content-length"].to_str().unwrap(), body.len().to_string());
    assert!(headers["content-disposition"].to_str().unwrap().starts_with("attachment; filename=\"Blue.zip\""));
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("stems.zip");
    std::fs::write(&path, &body).unwrap();
    let program = "import hashlib, sys, zipfile\n\
                   z = zipfile.ZipFile(sys.argv[1])\n\
                   for i in z.infolist(): print(i.filename, hashlib.sha256(z.read(i)).hexdigest())";
    let output = Program::new("python3").args(["-c", program]).arg(&path).output().unwrap();
    let hash = Hash::of(&long);
    assert_eq!(
        String::from_utf8(output.stdout).unwrap(),
        format!("Blue - drums.wav {hash}\nBlue - vocals.wav {hash}\n"),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let tag = headers["etag"].to_str().unwrap();
    let (status, _, again) =
        node.ask("GET", "/songs/1/stems.zip?format=wav", &[("if-none-match", tag)], Vec::new()).await;
    assert_eq!((status, again.len()), (StatusCode::NOT_MODIFIED, 0));
    let (status, headers, none) = node.ask("HEAD", "/songs/1/stems.zip?format=wav", &[], Vec::new()).await;
    assert_eq!(
        (status, headers["content-length"].to_str().unwrap(), none.len()),
        (StatusCode::OK, body.len().to_string().as_str(), 0)
    );
    assert_eq!(node.json("GET", "/songs/1/stems.zip?format=ogg").await.0, StatusCode::BAD_REQUEST);
}

#[tokio::test(flavor = "multi_thread")]
async fn jobs_are_searched() {
    let node = Node::start().await;
    let songs = [0, 1, 2].map(|extra| [wav(), vec![0; extra]].concat());
    assert_eq!(node.upload("one.wav", &songs[0]).await.0, StatusCode::OK);
    work(&node, 1, &["drums"], &wav(), now()).await;
    assert_eq!(node.upload("two.wav", &songs[1]).await.0, StatusCode::OK);
    assert_eq!(node.json("POST", "/jobs/2/cancel").await.0, StatusCode::OK);
    assert_eq!(node.upload("three.wav", &songs[2]).await.0, StatusCode::OK);
    for (query, jobs) in [
        ("", vec![3, 2, 1]),
        ("q=state:done", vec![1]),
        ("q=state:done,cancelled", vec![2, 1]),
        ("q=state:running", vec![]),
        ("q=node:3", vec![1]),
        ("q=node:2", vec![]),
        ("q=blue+state:pending", vec![3]),
        ("q=title:%22bl%22", vec![3, 2, 1]),
        ("q=title:red", vec![]),
        ("q=model:spectral", vec![3, 2, 1]),
        ("q=model:other", vec![]),
        ("q=after:2020-01-01+before:2020-01-02", vec![]),
        ("q=after:2020-01-01", vec![3, 2, 1]),
        ("q=before:2020-01-01", vec![]),
        ("q=user:nobody", vec![]),
        ("cursor=3", vec![2, 1]),
        ("before=2", vec![1]),
        ("limit=2", vec![3, 2]),
        ("q=state:done,cancelled&limit=1", vec![2]),
        ("q=state:done,cancelled&limit=1&cursor=2", vec![1]),
    ] {
        assert_eq!(found(&node, query).await, jobs, "{query}");
    }
    let (_, page) = node.json("GET", "/jobs/?q=state:done,cancelled&limit=1").await;
    assert_eq!(page["data"]["next"], "2");
    for bad in ["q=state:lost", "q=colour:red", "q=after:noon", "q=node:a", "cursor=x"] {
        let (status, body) = node.json("GET", &format!("/jobs/?{bad}")).await;
        assert_eq!(status, StatusCode::BAD_REQUEST, "{bad}: {body}");
    }
    assert_eq!(node.json("GET", "/jobs/?q=user:me").await.0, StatusCode::UNAUTHORIZED);
}

#[tokio::test(flavor = "multi_thread")]
async fn job_has_history_log_and_statistics() {
    let node = Node::start().await;
    assert_eq!(node.upload("one.wav", &wav()).await.0, StatusCode::OK);
    // All times are in the past.
    let began = now() - 20_000;
    work(&node, 1, &["drums"], &wav(), began).await;
    let (_, body) = node.json("GET", "/jobs/1").await;
    let job = &body["data"]["job"];
    let states: Vec<_> = job["history"].as_array().unwrap().iter().map(|was| was["state"].as_str().unwrap()).collect();
    assert_eq!(states, ["pending", "running", "done"]);
    assert_eq!((&job["started_at"], &job["finished_at"]), (&json!(began), &json!(began + 3000)));
    assert_eq!(job["tasks"][1]["attempts"][0]["seconds"], 2.0);

    // A failed attempt's log is in the state; the node that runs an attempt has its log.
    let song = [wav(), vec![0]].concat();
    assert_eq!(node.upload("two.wav", &song).await.0, StatusCode::OK);
    claim(&node, 2, 0, 1, began).await;
    let line = LogLine { at: began + 1, level: LogLevel::Warn, message: "the file is gone".into() };
    let (task, reason) = (TaskId { job: 2, index: 0 }, "no song".to_owned());
    let fail = FailTask { task, attempt: 1, node: 3, reason, lines: vec![line], at: began + 2 };
    node.cluster.propose(fail).await.unwrap().unwrap();
    let claim = ClaimTask { task, attempt: 2, node: 0, at: began + 3 };
    node.cluster.propose(claim).await.unwrap().unwrap();
    let _recording = Recording::start(task, 2);
    {
        let _recorder = tracing::subscriber::set_default(tracing_subscriber::registry().with(Recorder));
        tracing::callsite::rebuild_interest_cache();
        let id = RequestId::new(name_of(task, 2).as_bytes()).unwrap();
        id.scope(async { tracing::info!("segment 1 of 1") }).await;
    }
    let (_, body) = node.json("GET", "/jobs/2/log").await;
    let log: Vec<_> = body["data"]["log"]
        .as_array()
        .unwrap()
        .iter()
        .map(|line| {
            (line["attempt"].as_u64().unwrap(), line["level"].as_str().unwrap(), line["message"].as_str().unwrap())
        })
        .collect();
    assert_eq!(log, [(1, "warn", "the file is gone"), (1, "error", "no song"), (2, "info", "segment 1 of 1")]);

    // The statistics count both jobs.
    let (_, body) = node.json("GET", "/stats/series?span=600&step=60").await;
    let series = body["data"]["series"].as_array().unwrap();
    assert_eq!(series.len(), 10);
    let sum = |key: &str| series.iter().filter_map(|point| point[key].as_u64()).sum::<u64>();
    assert_eq!((sum("finished"), sum("failed"), sum("cancelled")), (1, 0, 0));
    assert_eq!(series[9]["running"], 1, "{body}");
    let times: Vec<f64> = series.iter().filter_map(|point| point["seconds_per_song"].as_f64()).collect();
    assert_eq!(times, [3.0]);
    let busy: f64 = series.iter().filter_map(|point| point["nodes"]["3"].as_f64()).sum();
    assert!(busy > 0.0 && body["data"]["complete_from"].as_u64() == series[0]["at"].as_u64(), "{body}");
    for bad in ["span=0", "span=99999999", "span=86400&step=1", "step=0", "step=18446744073709551615", "span=x"] {
        assert_eq!(node.json("GET", &format!("/stats/series?{bad}")).await.0, StatusCode::BAD_REQUEST, "{bad}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn webhooks_need_a_session_and_a_public_address() {
    let node = Node::start().await;
    for name in ["root", "Ada"] {
        assert_eq!(node.register(name).await.0, StatusCode::CREATED);
    }
    let (root, ada) = (node.login("root").await, node.login("Ada").await);
    let hooks = "/users/2/webhooks";
    for (wish, field) in [
        (json!({ "url": "http://127.0.0.1:9/" }), "url"),
        (json!({ "url": "http://169.254.169.254/latest" }), "url"),
        (json!({ "url": "nowhere" }), "url"),
        (json!({ "url": "https://example.org", "events": ["job.lost"] }), "events"),
        (json!({ "url": "https://example.org", "events": [] }), "events"),
    ] {
        let (status, body) = node.json_as(&ada, "POST", hooks, &wish).await;
        assert_eq!((status.as_u16(), body["errors"][0]["field"].as_str()), (422, Some(field)), "{wish}: {body}");
    }
    let wish = json!({ "url": "https://example.org/q", "events": ["job.failed", "job.done", "job.done"] });
    let (status, body) = node.json_as(&ada, "POST", hooks, &wish).await;
    assert_eq!(status, StatusCode::CREATED, "{body}");
    let secret = body["data"]["secret"].as_str().unwrap();
    assert!(secret.starts_with("qh_") && secret.len() == 67);
    assert_eq!(body["data"]["webhook"]["events"], json!(["job.done", "job.failed"]));
    // The secret is returned only once.
    let (_, list) = node.json_as(&ada, "GET", hooks, &Value::Null).await;
    assert!(!list.to_string().contains("qh_") && list["data"]["webhooks"][0]["active"] == true, "{list}");
    // Administrators manage other users, but do not act as them.
    assert_eq!(node.json_as(&root, "GET", hooks, &Value::Null).await.0, StatusCode::OK);
    assert_eq!(node.json_as(&root, "POST", hooks, &wish).await.0, StatusCode::NOT_FOUND);
    assert_eq!(
        node.json_as(&root, "PATCH", &format!("{hooks}/1"), &json!({ "active": false })).await.0,
        StatusCode::NOT_FOUND
    );
    let inside = json!({ "url": "http://[::1]/" });
    assert_eq!(node.json_as(&ada, "PATCH", &format!("{hooks}/1"), &inside).await.0, StatusCode::UNPROCESSABLE_ENTITY);
    // A token cannot create a web hook.
    let (_, token) = node.json_as(&ada, "POST", "/users/2/tokens", &json!({ "name": "t" })).await;
    let bearer = format!("Bearer {}", token["data"]["secret"].as_str().unwrap());
    let headers = [("authorization", bearer.as_str()), ("content-type", "application/json")];
    let (status, _, _) = node.ask("POST", hooks, &headers, wish.to_string().into_bytes()).await;
    assert_eq!(status, StatusCode::FORBIDDEN);

    // Deliveries are stored until they are delivered.
    assert_eq!(node.upload_as(&ada, "blue.wav", &wav()).await.0, StatusCode::OK);
    let change = json!({ "events": ["job.cancelled"] });
    let (status, body) = node.json_as(&ada, "PATCH", &format!("{hooks}/1"), &change).await;
    assert_eq!((status, &body["data"]["webhook"]["events"]), (StatusCode::OK, &json!(["job.cancelled"])));
    assert_eq!(node.json_as(&ada, "POST", "/jobs/1/cancel", &Value::Null).await.0, StatusCode::OK);
    let (_, delivered) = node.json_as(&ada, "GET", &format!("{hooks}/1/deliveries"), &Value::Null).await;
    let delivered = delivered["data"]["deliveries"].as_array().unwrap();
    assert_eq!(delivered.len(), 1);
    assert_eq!(
        (&delivered[0]["event"], &delivered[0]["state"], &delivered[0]["tried"]),
        (&json!("job.cancelled"), &json!("pending"), &json!(0))
    );
    assert_eq!(node.json_as(&ada, "DELETE", &format!("{hooks}/1"), &Value::Null).await.0, StatusCode::OK);
    assert_eq!(
        node.json_as(&ada, "GET", &format!("{hooks}/1/deliveries"), &Value::Null).await.0,
        StatusCode::NOT_FOUND
    );
}

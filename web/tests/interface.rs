//! Songs and jobs over the HTTP interface of a cluster of one node.

#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used)]

mod standalone;

use std::time::Duration;

use axum::body::Body;
use axum::http::{Request, StatusCode};
use futures_util::StreamExt;
use serde_json::Value;
use standalone::{Node, wav};
use tower::ServiceExt;

/// The longest wait for anything.
const PATIENCE: Duration = Duration::from_secs(120);

#[tokio::test(flavor = "multi_thread")]
async fn song_is_uploaded_played_and_deleted() {
    let node = Node::start().await;
    let (status, body) = node.upload("blue.wav", &wav()).await;
    assert_eq!(status, StatusCode::OK, "{body}");
    let song = &body["data"]["song"];
    assert_eq!(song["title"], "Blue");
    assert_eq!(song["status"], "UPLOADED");
    assert_eq!(song["uploader_id"], Value::Null);
    assert_eq!(song["seconds"], 1.0);
    assert_eq!(song["parts"]["song"]["wav"], "/songs/1/song.wav");
    assert_eq!(song["hash"].as_str().unwrap().len(), 64);

    assert_eq!(node.json("GET", "/songs/1").await.1["data"]["song"], *song);
    assert_eq!(node.json("GET", "/songs").await.1["data"]["songs"][0], *song);
    assert_eq!(node.json("GET", "/songs/?before=1").await.1["data"]["songs"], serde_json::json!([]));
    let (_, job) = node.json("GET", &format!("/jobs/{}", song["job_id"])).await;
    assert_eq!(job["data"]["job"]["tasks"][0]["state"], "pending");
    assert_eq!(job["data"]["job"]["tasks_done"], 0);
    assert_eq!(node.json("GET", "/jobs").await.1["data"]["jobs"][0]["state"], "pending");

    // The original file, whole and in ranges.
    let (status, headers, body) = node.ask("GET", "/songs/1/song.wav", &[], Vec::new()).await;
    assert_eq!((status, &body), (StatusCode::OK, &wav()));
    assert_eq!(headers["content-type"], "audio/wav");
    assert_eq!(headers["etag"], format!("\"{}\"", song["hash"].as_str().unwrap()));
    let etag = headers["etag"].to_str().unwrap();
    for (condition, status, length) in [
        (vec![("range", "bytes=10-19")], 206, 10),
        (vec![("range", "bytes=10-19"), ("if-range", etag)], 206, 10),
        (vec![("range", "bytes=10-19"), ("if-range", "\"other\"")], 200, wav().len()),
        (vec![("range", "bytes=10-19,30-39")], 200, wav().len()),
        (vec![("range", "bytes=999999-")], 416, 0),
        (vec![("if-none-match", etag)], 304, 0),
    ] {
        let (found, _, body) = node.ask("GET", "/songs/1/song.wav", &condition, Vec::new()).await;
        assert_eq!((found.as_u16(), body.len()), (status, length), "{condition:?}");
    }
    let (status, headers, body) = node.ask("HEAD", "/songs/1/song.wav", &[], Vec::new()).await;
    assert_eq!((status, headers["content-length"].to_str().unwrap(), body.len()), (StatusCode::OK, "88244", 0));
    // The other format is generated.
    let (status, headers, _) = node.ask("GET", "/songs/1/song.mp3?download=1", &[], Vec::new()).await;
    assert_eq!((status, headers["content-type"].to_str().unwrap()), (StatusCode::OK, "audio/mpeg"));
    assert!(headers["content-disposition"].to_str().unwrap().starts_with("attachment; filename=\"Blue.mp3\""));
    assert_eq!(node.files("cache"), 1);

    // The stems are not ready.
    for (path, code) in [("drums.mp3", "not_split"), ("mix.mp3", "not_split"), ("kazoo.mp3", "no_such_part")] {
        let (status, body) = node.json("GET", &format!("/songs/1/{path}")).await;
        assert_eq!((status.as_u16(), body["errors"][0]["code"].as_str().unwrap()), (404, code), "{path}");
    }

    assert_eq!(node.json("POST", "/jobs/1/cancel").await.1["data"]["job"]["state"], "cancelled");
    assert_eq!(node.json("POST", "/jobs/1/cancel").await.0, StatusCode::CONFLICT);
    assert_eq!(node.json("GET", "/songs/1").await.1["data"]["song"]["status"], "CANCELLED");
    assert_eq!(node.json("POST", "/jobs/1/retry").await.1["data"]["job"]["state"], "pending");

    assert_eq!(node.json("DELETE", "/songs/1").await.0, StatusCode::OK);
    for path in ["/songs/1", "/songs/1/song.wav", "/jobs/1"] {
        assert_eq!(node.json("GET", path).await.0, StatusCode::NOT_FOUND, "{path}");
    }
    assert_eq!(node.json("DELETE", "/songs/1").await.0, StatusCode::NOT_FOUND);
}

#[tokio::test(flavor = "multi_thread")]
async fn priority_of_a_job_can_be_changed() {
    let node = Node::start().await;
    assert_eq!(node.upload("blue.wav", &wav()).await.0, StatusCode::OK);
    assert_eq!(node.json("GET", "/jobs/1").await.1["data"]["job"]["priority"], "normal");
    let json = [("content-type", "application/json")];
    for (body, status) in [
        (r#"{"priority": "high"}"#, 200),
        (r#"{"priority": "now"}"#, 400),
        (r#"{"priority": ""}"#, 400),
        (r#"{"priority": "low", "owner": "me"}"#, 400),
        ("{", 400),
    ] {
        let (found, _, answer) = node.ask("PATCH", "/jobs/1", &json, body.into()).await;
        let answer: Value = serde_json::from_slice(&answer).unwrap();
        assert_eq!(found.as_u16(), status, "{body}: {answer}");
        let message = answer["errors"][0]["message"].as_str();
        assert!(
            status == 200 || message.is_some_and(|it| it.contains("high") || it.contains("openapi")),
            "{body}: {answer}"
        );
        assert_eq!(node.json("GET", "/jobs/1").await.1["data"]["job"]["priority"], "high");
    }
    assert_eq!(node.ask("PATCH", "/jobs/9", &json, r#"{"priority": "low"}"#.into()).await.0, StatusCode::NOT_FOUND);
    assert_eq!(node.json("POST", "/jobs/1/cancel").await.0, StatusCode::OK);
    assert_eq!(node.ask("PATCH", "/jobs/1", &json, r#"{"priority": "low"}"#.into()).await.0, StatusCode::CONFLICT);
}

#[tokio::test(flavor = "multi_thread")]
async fn number_of_open_jobs_is_limited() {
    let node = Node::start().await;
    let songs = [0, 1, 2].map(|extra| [wav(), vec![0; extra]].concat());
    for song in &songs[..2] {
        assert_eq!(node.upload("blue.wav", song).await.0, StatusCode::OK);
    }
    let (status, body) = node.upload("blue.wav", &songs[2]).await;
    assert_eq!(status, StatusCode::TOO_MANY_REQUESTS, "{body}");
    assert_eq!(body["errors"][0]["code"], "too_many_jobs");
    assert!(body["errors"][0]["message"].as_str().unwrap().contains("cancel one"), "{body}");
    // An existing job does not count.
    assert_eq!(node.upload("blue.wav", &songs[0]).await.0, StatusCode::OK);
    // An ended job does not count, and a retry counts again.
    assert_eq!(node.json("POST", "/jobs/1/cancel").await.0, StatusCode::OK);
    assert_eq!(node.upload("blue.wav", &songs[2]).await.0, StatusCode::OK);
    assert_eq!(node.json("POST", "/jobs/1/retry").await.0, StatusCode::TOO_MANY_REQUESTS);

    // A retry returns another job that does the same by now.
    assert_eq!(node.json("POST", "/jobs/2/cancel").await.0, StatusCode::OK);
    let (_, body) = node.upload("blue.wav", &songs[0]).await;
    let other = body["data"]["song"]["job_id"].clone();
    assert_ne!(other, 1);
    assert_eq!(node.json("POST", "/jobs/1/retry").await.1["data"]["job"]["id"], other);
    assert_eq!(node.json("GET", "/songs/1").await.1["data"]["song"]["job_id"], other);
}

#[tokio::test(flavor = "multi_thread")]
async fn refused_requests_have_messages_and_leave_no_files() {
    let node = Node::start().await;
    let (status, body) = node.upload("letter.mp3", &b"This is a letter. ".repeat(500)).await;
    assert_eq!(status, StatusCode::UNSUPPORTED_MEDIA_TYPE, "{body}");
    assert_eq!(node.upload("a.wav", b"").await.0, StatusCode::UNPROCESSABLE_ENTITY);
    assert_eq!(node.upload("a.wav", &vec![0; 1_000_001]).await.0, StatusCode::PAYLOAD_TOO_LARGE);
    assert_eq!((node.files("staging"), node.files("blobs")), (0, 0));

    for (method, path, status) in [
        ("GET", "/nowhere", 404),
        ("GET", "/songs/none", 404),
        ("GET", "/songs/1", 404),
        ("GET", "/songs/1/drums.mp3", 404),
        ("GET", "/songs/upload", 405),
        ("GET", "/jobs/1/events", 404),
        ("GET", "/songs/?limit=many", 400),
        ("PUT", "/songs/1", 405),
        ("POST", "/cluster", 405),
        ("POST", "/", 405),
    ] {
        let (found, body) = node.json(method, path).await;
        assert_eq!(found.as_u16(), status, "{method} {path}");
        assert_eq!(body["ok"], false);
        assert_eq!(body["data"], Value::Null);
        assert!(body["errors"][0]["message"].as_str().unwrap().len() > 20, "{body}");
    }

    let headers = [("sec-fetch-site", "cross-site")];
    assert_eq!(node.ask("DELETE", "/songs/1", &headers, Vec::new()).await.0, StatusCode::FORBIDDEN);
}

#[tokio::test(flavor = "multi_thread")]
async fn node_reports_its_health() {
    let node = Node::start().await;
    for path in ["/healthz", "/readyz"] {
        assert_eq!(node.json("GET", path).await.0, StatusCode::OK, "{path}");
    }
    let (_, cluster) = node.json("GET", "/cluster").await;
    assert_eq!(cluster["data"]["leader"], 0);
    assert_eq!(cluster["data"]["health"], "good");
    assert_eq!(cluster["data"]["members"], serde_json::json!([0]));
    let (status, _, metrics) = node.ask("GET", "/metrics", &[], Vec::new()).await;
    assert_eq!((status, metrics.as_slice()), (StatusCode::OK, b"quartet_number 1\n".as_slice()));
    let (status, headers, page) = node.ask("GET", "/", &[("x-request-id", "mine")], Vec::new()).await;
    assert_eq!(status, StatusCode::OK);
    assert_eq!(headers["x-request-id"], "mine");
    assert_eq!(headers["x-content-type-options"], "nosniff");
    assert!(headers["content-security-policy"].to_str().unwrap().contains("default-src 'none'"));
    assert!(String::from_utf8(page).unwrap().contains("<title>Quartet</title>"));
    node.stopping.cancel();
    assert_eq!(node.json("GET", "/readyz").await.0, StatusCode::SERVICE_UNAVAILABLE);
}

#[tokio::test(flavor = "multi_thread")]
async fn events_of_a_job_end_with_the_job() {
    let node = Node::start().await;
    assert_eq!(node.upload("blue.wav", &wav()).await.0, StatusCode::OK);
    let request = Request::get("/jobs/1/events").body(Body::empty()).unwrap();
    let response = node.router.clone().oneshot(request).await.unwrap();
    assert_eq!(response.headers()["content-type"], "text/event-stream");
    let mut stream = response.into_body().into_data_stream();
    let mut text = String::new();
    let begun = async {
        while !text.contains("\"state\":\"pending\"") {
            text.push_str(std::str::from_utf8(&stream.next().await.unwrap().unwrap()).unwrap());
        }
    };
    tokio::time::timeout(PATIENCE, begun).await.expect("the job's state");
    assert_eq!(node.json("POST", "/jobs/1/cancel").await.0, StatusCode::OK);
    let ended = async {
        while let Some(chunk) = stream.next().await {
            text.push_str(std::str::from_utf8(&chunk.unwrap()).unwrap());
        }
    };
    tokio::time::timeout(PATIENCE, ended).await.expect("the stream's end");
    assert!(text.contains("\"state\":\"cancelled\""), "{text}");

    // An open stream ends when the node stops.
    let request = Request::get("/events").body(Body::empty()).unwrap();
    let response = node.router.clone().oneshot(request).await.unwrap();
    let mut stream = response.into_body().into_data_stream();
    stream.next().await.unwrap().unwrap();
    node.stopping.cancel();
    let ended = tokio::time::timeout(PATIENCE, async { while stream.next().await.is_some() {} });
    ended.await.expect("the stream's end");
}

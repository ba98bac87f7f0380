//! What programs rely on: the OpenAPI description, entity tags, errors, and idempotent uploads.

#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used)]

mod standalone;

use axum::http::StatusCode;
use serde_json::{Value, json};
use standalone::{Node, wav};

#[tokio::test(flavor = "multi_thread")]
async fn description_is_complete_and_depends_on_the_configuration() {
    let node = Node::start().await;
    let (status, headers, body) = node.ask("GET", "/api/openapi.json", &[], Vec::new()).await;
    assert_eq!((status, headers["content-type"].to_str().unwrap()), (StatusCode::OK, "application/json"));
    let document: Value = serde_json::from_slice(&body).unwrap();
    // Every reference leads somewhere.
    let text = document.to_string();
    for reference in text.split("\"$ref\":\"#").skip(1).filter_map(|rest| rest.split('"').next()) {
        assert!(document.pointer(reference).is_some(), "{reference} is missing");
    }
    // Without anonymous use, other operations are open.
    let closed = Node::start_with(false, true).await.json("GET", "/api/openapi.json").await.1;
    assert_ne!(document["paths"]["/songs/"]["get"]["security"], closed["paths"]["/songs/"]["get"]["security"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn unchanged_responses_are_not_sent_again() {
    let node = Node::start().await;
    assert_eq!(node.upload("blue.wav", &wav()).await.0, StatusCode::OK);
    for path in ["/songs", "/songs/1", "/jobs/", "/jobs/1", "/models", "/api/openapi.json"] {
        let (status, headers, body) = node.ask("GET", path, &[], Vec::new()).await;
        assert_eq!(status, StatusCode::OK, "{path}");
        let tag = headers["etag"].to_str().unwrap();
        assert!(tag.starts_with('"') && !body.is_empty(), "{path}: {tag}");
        assert_eq!(headers["cache-control"], "private, no-cache", "{path}");
        let head = node.ask("HEAD", path, &[], Vec::new()).await;
        assert_eq!((head.1["etag"].to_str().unwrap(), head.2.len()), (tag, 0), "{path}");
        let weak = format!("\"other\", W/{tag}");
        for condition in [tag, &weak, "*"] {
            let (status, headers, body) = node.ask("GET", path, &[("if-none-match", condition)], Vec::new()).await;
            assert_eq!((status, body.len()), (StatusCode::NOT_MODIFIED, 0), "{path}");
            assert!(headers.contains_key("etag") && !headers.contains_key("content-type"), "{path}: {headers:?}");
        }
    }
    // A changed response has another tag.
    let tag = node.ask("GET", "/songs/1", &[], Vec::new()).await.1["etag"].to_str().unwrap().to_owned();
    assert_eq!(node.json("POST", "/jobs/1/cancel").await.0, StatusCode::OK);
    let (status, headers, _) = node.ask("GET", "/songs/1", &[("if-none-match", &tag)], Vec::new()).await;
    assert_eq!(status, StatusCode::OK);
    assert_ne!(headers["etag"].to_str().unwrap(), tag);
    // Errors and responses to changes have no tag.
    for (method, path) in [("GET", "/songs/9"), ("POST", "/jobs/1/retry"), ("GET", "/metrics")] {
        let (_, headers, _) = node.ask(method, path, &[("if-none-match", "*")], Vec::new()).await;
        assert!(!headers.contains_key("etag"), "{method} {path}");
        assert_eq!(headers["cache-control"], "no-store", "{method} {path}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn malformed_queries_have_errors_in_the_envelope() {
    let node = Node::start().await;
    assert_eq!(node.register("Ada").await.0, StatusCode::CREATED);
    let ada = node.login("Ada").await;
    assert_eq!(node.upload_as(&ada, "blue.wav", &wav()).await.0, StatusCode::OK);
    assert_eq!(node.json_as(&ada, "POST", "/playlists/", &json!({ "name": "Sunday" })).await.0, StatusCode::CREATED);
    let (_, made) = node.json_as(&ada, "POST", "/songs/1/links", &json!({})).await;
    let secret = made["data"]["address"].as_str().unwrap().trim_start_matches("/shared/").to_owned();
    let document = node.json("GET", "/api/openapi.json").await.1;
    let mut tried = 0;
    for (path, item) in document["paths"].as_object().unwrap() {
        let address = path.replace("{id}", "1").replace("{file}", "song.wav").replace("{secret}", &secret);
        for parameter in item["get"]["parameters"].as_array().into_iter().flatten() {
            let kind = parameter["schema"]["type"].to_string();
            let is_text = !["integer", "number", "boolean"].iter().any(|other| kind.contains(other));
            if parameter["in"] != "query" || is_text {
                continue;
            }
            let asked = format!("{address}?{}=x", parameter["name"].as_str().unwrap());
            let (status, body) = node.json_as(&ada, "GET", &asked, &Value::Null).await;
            let refused = (StatusCode::BAD_REQUEST, &json!("malformed"));
            assert_eq!((status, &body["errors"][0]["code"]), refused, "{asked}: {body}");
            tried += 1;
        }
    }
    assert!(tried > 20, "{tried}");
}

/// Uploads a form with this title and these keys.
async fn upload(node: &Node, cookie: &str, keys: &[&str], title: &str) -> (u16, Value) {
    let mut body = format!("--b\r\nContent-Disposition: form-data; name=\"title\"\r\n\r\n{title}\r\n").into_bytes();
    body.extend(b"--b\r\nContent-Disposition: form-data; name=\"file\"; filename=\"blue.wav\"\r\n\r\n");
    body.extend(wav());
    body.extend(b"\r\n--b--\r\n");
    let mut headers = vec![("content-type", "multipart/form-data; boundary=b"), ("cookie", cookie)];
    headers.extend(keys.iter().map(|key| ("idempotency-key", *key)));
    let (status, _, body) = node.ask("POST", "/songs/upload", &headers, body).await;
    (status.as_u16(), serde_json::from_slice(&body).unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn repeated_upload_with_a_key_adds_one_song() {
    let node = Node::start().await;
    let (status, first) = upload(&node, "", &["one"], "Blue").await;
    assert_eq!((status, &first["data"]["song"]["id"]), (200, &json!(1)), "{first}");
    assert_eq!(upload(&node, "", &["one"], "Blue").await, (200, first));
    // Of concurrent uploads one adds the song, and the other returns it.
    let (one, other) = tokio::join!(upload(&node, "", &["two"], "Blue"), upload(&node, "", &["two"], "Blue"));
    assert_eq!((one.0, other.0), (200, 200), "{} {}", one.1, other.1);
    assert_eq!(one.1["data"]["song"]["id"], other.1["data"]["song"]["id"]);
    assert_eq!(node.json("GET", "/songs").await.1["data"]["songs"].as_array().unwrap().len(), 2);

    let (status, body) = upload(&node, "", &["one"], "Red").await;
    assert_eq!((status, &body["errors"][0]["code"]), (422, &json!("key_taken")), "{body}");
    let long = "k".repeat(256);
    for keys in [vec![""], vec!["one", "two"], vec![long.as_str()]] {
        let (status, body) = upload(&node, "", &keys, "Blue").await;
        assert_eq!((status, &body["errors"][0]["code"]), (400, &json!("malformed")), "{keys:?}: {body}");
    }
    // Users may use the same key.
    assert_eq!(node.register("Ada").await.0, StatusCode::CREATED);
    let ada = node.login("Ada").await;
    let (status, body) = upload(&node, &ada, &["one"], "Blue").await;
    assert_eq!((status, &body["data"]["song"]["uploader_id"]), (200, &json!(1)), "{body}");
    // A deleted song is not added again.
    assert_eq!(node.json("DELETE", "/songs/1").await.0, StatusCode::OK);
    let (status, body) = upload(&node, "", &["one"], "Blue").await;
    assert_eq!((status, &body["errors"][0]["code"]), (409, &json!("conflict")), "{body}");
}

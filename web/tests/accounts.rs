//! Who has access to what, endpoint by endpoint.

#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used)]

mod standalone;

use std::collections::{BTreeMap, BTreeSet};

use axum::http::StatusCode;
use futures_util::StreamExt;
use serde_json::{Value, json};
use standalone::{Endpoint, Node, endpoints, wav};

/// What an endpoint returns to a caller who has no access to the resource.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum For {
    /// The same as to everybody: it needs no authentication.
    Everybody,
    /// The caller's own view.
    Each,
    /// 404, as for a resource that does not exist.
    Owner,
    /// 401 or 404, because the secret is wrong.
    Secret,
    /// Status 200 with an error of the OpenSubsonic protocol.
    Protocol,
}

/// Every endpoint, with a body that it accepts.
const ROUTES: &[(&str, &str, For, &str)] = &[
    ("POST", "/auth/register", For::Everybody, ""),
    ("POST", "/auth/login", For::Everybody, ""),
    ("POST", "/auth/logout", For::Everybody, ""),
    ("GET", "/auth/me", For::Everybody, ""),
    ("GET", "/users", For::Owner, ""),
    ("GET", "/users/", For::Owner, ""),
    ("GET", "/users/{id}", For::Owner, ""),
    ("PATCH", "/users/{id}", For::Owner, r#"{"email": "a@b.example"}"#),
    ("DELETE", "/users/{id}", For::Owner, ""),
    ("GET", "/users/{id}/sessions", For::Owner, ""),
    ("DELETE", "/users/{id}/sessions", For::Owner, ""),
    ("DELETE", "/users/{id}/sessions/{session}", For::Owner, ""),
    ("GET", "/users/{id}/tokens", For::Owner, ""),
    ("POST", "/users/{id}/tokens", For::Owner, r#"{"name": "mine now"}"#),
    ("DELETE", "/users/{id}/tokens/{token}", For::Owner, ""),
    ("GET", "/users/{id}/webhooks", For::Owner, ""),
    ("POST", "/users/{id}/webhooks", For::Owner, r#"{"url": "https://example.org"}"#),
    ("PATCH", "/users/{id}/webhooks/{hook}", For::Owner, r#"{"active": false}"#),
    ("DELETE", "/users/{id}/webhooks/{hook}", For::Owner, ""),
    ("GET", "/users/{id}/webhooks/{hook}/deliveries", For::Owner, ""),
    ("GET", "/shared/{secret}", For::Secret, ""),
    ("GET", "/shared/{secret}/stems.zip", For::Secret, ""),
    ("GET", "/shared/{secret}/mix.mp3", For::Secret, ""),
    ("GET", "/shared/{secret}/cover", For::Secret, ""),
    ("GET", "/shared/{secret}/{file}", For::Secret, ""),
    ("GET", "/songs", For::Each, ""),
    ("GET", "/songs/", For::Each, ""),
    ("POST", "/songs/upload", For::Each, ""),
    ("GET", "/songs/{id}", For::Owner, ""),
    ("PATCH", "/songs/{id}", For::Owner, r#"{"title": "Mine now"}"#),
    ("DELETE", "/songs/{id}", For::Owner, ""),
    ("POST", "/songs/{id}/plays", For::Owner, ""),
    ("PUT", "/songs/{id}/favourite", For::Owner, ""),
    ("DELETE", "/songs/{id}/favourite", For::Owner, ""),
    ("GET", "/artists", For::Each, ""),
    ("GET", "/albums", For::Each, ""),
    ("GET", "/genres", For::Each, ""),
    ("GET", "/playlists", For::Each, ""),
    ("POST", "/playlists", For::Each, r#"{"name": "Bob's"}"#),
    ("GET", "/playlists/", For::Each, ""),
    ("POST", "/playlists/", For::Each, r#"{"name": "Bob's"}"#),
    ("GET", "/playlists/{id}", For::Owner, ""),
    ("PATCH", "/playlists/{id}", For::Owner, r#"{"name": "Mine now"}"#),
    ("DELETE", "/playlists/{id}", For::Owner, ""),
    ("POST", "/playlists/{id}/songs", For::Owner, r#"{"songs": []}"#),
    ("DELETE", "/playlists/{id}/songs/{entry}", For::Owner, ""),
    ("PUT", "/playlists/{id}/order", For::Owner, r#"{"entries": [1]}"#),
    ("GET", "/playlists/{id}/shares", For::Owner, ""),
    ("POST", "/playlists/{id}/shares", For::Owner, r#"{"everybody": true}"#),
    ("DELETE", "/playlists/{id}/shares/{with}", For::Owner, ""),
    ("GET", "/songs/{id}/shares", For::Owner, ""),
    ("POST", "/songs/{id}/shares", For::Owner, r#"{"everybody": true}"#),
    ("DELETE", "/songs/{id}/shares/{with}", For::Owner, ""),
    ("GET", "/songs/{id}/links", For::Owner, ""),
    ("POST", "/songs/{id}/links", For::Owner, "{}"),
    ("DELETE", "/songs/{id}/links/{link}", For::Owner, ""),
    ("POST", "/songs/{hash}/upload_result", For::Secret, ""),
    ("POST", "/songs/{id}/separate", For::Owner, "{}"),
    ("GET", "/songs/{id}/separations", For::Owner, ""),
    ("DELETE", "/songs/{id}/separations/{job}", For::Owner, ""),
    ("GET", "/songs/{id}/stems.zip", For::Owner, ""),
    ("GET", "/songs/{id}/mix.mp3", For::Owner, ""),
    ("GET", "/songs/{id}/cover", For::Owner, ""),
    ("PUT", "/songs/{id}/cover", For::Owner, "GIF89a"),
    ("DELETE", "/songs/{id}/cover", For::Owner, ""),
    ("GET", "/songs/{id}/{file}", For::Owner, ""),
    ("GET", "/jobs", For::Each, ""),
    ("GET", "/jobs/", For::Each, ""),
    ("GET", "/jobs/{id}", For::Owner, ""),
    ("PATCH", "/jobs/{id}", For::Owner, r#"{"priority": "low"}"#),
    ("POST", "/jobs/{id}/cancel", For::Owner, ""),
    ("POST", "/jobs/{id}/retry", For::Owner, ""),
    ("GET", "/jobs/{id}/log", For::Owner, ""),
    ("GET", "/jobs/{id}/events", For::Owner, ""),
    ("GET", "/stats/series", For::Each, ""),
    ("GET", "/models", For::Each, ""),
    ("GET", "/events", For::Each, ""),
    ("GET", "/cluster", For::Each, ""),
    ("GET", "/healthz", For::Everybody, ""),
    ("GET", "/readyz", For::Everybody, ""),
    ("GET", "/metrics", For::Everybody, ""),
    ("GET", "/api/openapi.json", For::Everybody, ""),
    ("GET", "/rest/{method}", For::Protocol, ""),
    ("POST", "/rest/{method}", For::Protocol, ""),
];

#[tokio::test(flavor = "multi_thread")]
async fn every_endpoint_is_in_the_table() {
    let table: BTreeSet<_> =
        ROUTES.iter().map(|(method, path, _, _)| ((*method).to_owned(), (*path).to_owned())).collect();
    let endpoints = endpoints(&Node::start().await).await;
    let found: BTreeSet<_> = endpoints.into_iter().map(|Endpoint { method, path, .. }| (method, path)).collect();
    assert!(found.len() > 40);
    assert_eq!(found, table);
}

#[test]
fn only_the_list_of_endpoints_adds_routes() {
    // The OpenSubsonic protocol, whose methods check the access themselves.
    assert_eq!(include_str!("../src/router.rs").matches(".route(").count(), 1);
    // Lists without the slash at the end, with the access of those with it.
    assert_eq!(include_str!("../src/api/endpoints.rs").matches(".route(").count(), 1);
    assert_eq!(include_str!("../src/api/mod.rs").matches(".route(").count(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn declared_access_matches_the_table() {
    for Endpoint { method, path, access } in endpoints(&Node::start().await).await {
        let (_, _, is_for, _) = ROUTES.iter().find(|row| (row.0, row.1) == (method.as_str(), path.as_str())).unwrap();
        let fits = match is_for {
            For::Everybody => access == "public",
            For::Secret => access == "link" || access == "external_workers",
            For::Each => access == "guests" || access == "users",
            For::Owner => ["guests", "users", "sessions", "administrators"].contains(&access.as_str()),
            For::Protocol => access == "protocol",
        };
        assert!(fits, "{method} {path} is for {is_for:?} and declared for {access}");
    }
}

/// The access of an endpoint that only users may call, as declared.
fn is_for_users(access: &str) -> bool {
    ["users", "sessions", "administrators"].contains(&access)
}

/// A node with the administrator root, Ada and Bob, who are the users 1, 2 and 3, and their cookies.
async fn people(anonymous: bool) -> (Node, [String; 3]) {
    let node = Node::start_with(anonymous, true).await;
    let mut cookies = Vec::new();
    for name in ["root", "Ada", "Bob"] {
        let (status, body) = node.register(name).await;
        assert_eq!(status, StatusCode::CREATED, "{body}");
        cookies.push(node.login(name).await);
    }
    (node, cookies.try_into().unwrap())
}

/// The address of an endpoint for the resource with this id.
fn address(path: &str, id: &str) -> String {
    let path =
        path.replace("{id}", id).replace("{hash}", id).replace("{file}", "song.wav").replace("{with}", "everybody");
    let path = path.replace("{entry}", "1").replace("{method}", "getArtists");
    let path = path.replace("{hook}", "1").replace("{job}", "1");
    path.replace("{session}", "1").replace("{token}", "1").replace("{link}", "1").replace("{secret}", "guessed")
}

#[tokio::test(flavor = "multi_thread")]
async fn inaccessible_resources_return_the_same_404_as_missing_ones() {
    let (node, [root, ada, bob]) = people(true).await;
    let (status, body) = node.upload_as(&ada, "blue.wav", &wav()).await;
    assert_eq!(status, StatusCode::OK, "{body}");
    assert_eq!(body["data"]["song"]["uploader_id"], 2);
    let link = node.json_as(&ada, "POST", "/songs/1/links", &json!({})).await;
    assert_eq!(link.0, StatusCode::CREATED, "{}", link.1);
    let list = node.json_as(&ada, "POST", "/playlists", &json!({ "name": "Ada's" })).await;
    assert_eq!(list.0, StatusCode::CREATED, "{}", list.1);
    let added = node.json_as(&ada, "POST", "/playlists/1/songs", &json!({ "songs": [1] })).await;
    assert_eq!(added.0, StatusCode::OK, "{}", added.1);

    let access: BTreeMap<_, _> =
        endpoints(&node).await.into_iter().map(|it| ((it.method, it.path), it.access)).collect();
    for (method, path, is_for, body) in ROUTES {
        let access = &access[&((*method).to_owned(), (*path).to_owned())];
        // Ada is user 2. Her song and its job have the id 1.
        let id = if path.starts_with("/users") { "2" } else { "1" };
        for (who, cookie) in [("Bob", bob.as_str()), ("nobody", "")] {
            let headers = [("cookie", cookie), ("content-type", "application/json")];
            match is_for {
                For::Owner => {
                    let (status, _, found) = node.ask(method, &address(path, id), &headers, (*body).into()).await;
                    let expected = if who == "nobody" && is_for_users(access) { 401 } else { 404 };
                    assert_eq!(status, expected, "{method} {path} as {who}: {}", String::from_utf8_lossy(&found));
                    let never = node.ask(method, &address(path, "99"), &headers, (*body).into()).await;
                    let found = String::from_utf8(found).unwrap();
                    let never = String::from_utf8(never.2).unwrap();
                    assert_eq!(found, never.replace("99", id), "{method} {path} as {who}");
                }
                For::Secret => {
                    let (status, _, _) = node.ask(method, &address(path, id), &headers, Vec::new()).await;
                    let expected = if path.starts_with("/shared") { 404 } else { 401 };
                    assert_eq!(status, expected, "{method} {path} as {who}");
                }
                For::Protocol => {
                    // The protocol ignores cookies.
                    let (status, _, found) = node.ask(method, &address(path, id), &headers, Vec::new()).await;
                    let found = String::from_utf8(found).unwrap();
                    assert!(
                        status == StatusCode::OK && found.contains(r#"<error code="10""#),
                        "{method} {path}: {found}"
                    );
                }
                For::Each if who == "nobody" && is_for_users(access) => {
                    let (status, _, found) = node.ask(method, &address(path, id), &headers, (*body).into()).await;
                    assert_eq!(status, 401, "{method} {path}: {}", String::from_utf8_lossy(&found));
                }
                For::Each | For::Everybody => {}
            }
        }
    }
    // None of these requests changed anything.
    for (list, of) in [("/songs", "songs"), ("/jobs", "jobs")] {
        for (cookie, count) in [(&root, 1), (&ada, 1), (&bob, 0), (&String::new(), 0)] {
            let (_, body) = node.json_as(cookie, "GET", list, &Value::Null).await;
            assert_eq!(body["data"][of].as_array().unwrap().len(), count, "{list}: {body}");
            assert_eq!(body["data"]["next"], Value::Null);
        }
    }
    let list = node.json_as(&ada, "GET", "/playlists/1", &Value::Null).await.1["data"]["playlist"].clone();
    assert_eq!((&list["name"], &list["entries"][0]["song"]["title"]), (&json!("Ada's"), &json!("Blue")), "{list}");
    assert_eq!(list["entries"][0]["song"]["plays"], 0);
    assert_eq!(node.json_as(&ada, "GET", "/jobs/1", &Value::Null).await.1["data"]["job"]["state"], "pending");
    assert_eq!(node.json_as(&root, "GET", "/songs/1/song.wav", &Value::Null).await.0, StatusCode::OK);
    assert_eq!(node.json_as(&root, "GET", "/users/2", &Value::Null).await.1["data"]["user"]["username"], "Ada");
    assert_eq!(node.json_as(&root, "GET", "/users?limit=2", &Value::Null).await.1["data"]["next"], "2");
    // Users with whom a song is shared may only listen to it.
    let (status, body) = node.json_as(&ada, "POST", "/songs/1/shares", &json!({ "user": "bob" })).await;
    assert_eq!((status, &body["data"]["users"][0]["username"]), (StatusCode::OK, &json!("Bob")), "{body}");
    for (method, path, status) in [
        ("GET", "/songs/1", 200),
        ("GET", "/songs/1/song.mp3", 200),
        ("GET", "/jobs/1", 200),
        ("DELETE", "/songs/1", 404),
        ("POST", "/jobs/1/cancel", 404),
        ("GET", "/songs/1/shares", 404),
    ] {
        assert_eq!(node.json_as(&bob, method, path, &Value::Null).await.0.as_u16(), status, "{method} {path}");
        let nobody = node.json("GET", "/songs/1").await.0;
        assert_eq!(nobody, StatusCode::NOT_FOUND);
    }
    assert_eq!(node.json_as(&ada, "DELETE", "/songs/1/shares/3", &Value::Null).await.0, StatusCode::OK);
    assert_eq!(node.json_as(&bob, "GET", "/songs/1", &Value::Null).await.0, StatusCode::NOT_FOUND);
    // Everybody who has a link may listen to its song.
    let at = link.1["data"]["address"].as_str().unwrap();
    let (status, body) = node.json("GET", at).await;
    assert_eq!((status, &body["data"]["song"]["title"]), (StatusCode::OK, &json!("Blue")), "{body}");
    assert_eq!(body["data"]["song"]["uploader_id"], Value::Null);
    let file = body["data"]["song"]["parts"]["song"]["wav"].as_str().unwrap().to_owned();
    assert_eq!(file, format!("{at}/song.wav"));
    assert_eq!(node.ask("GET", &file, &[("range", "bytes=0-3")], Vec::new()).await.2, b"RIFF");
    assert_eq!(node.json_as(&ada, "DELETE", "/songs/1/links/1", &Value::Null).await.0, StatusCode::OK);
    assert_eq!(node.json("GET", &file).await.0, StatusCode::NOT_FOUND);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_anonymous_use_few_endpoints_are_open() {
    let (node, [_, ada, _]) = people(false).await;
    assert_eq!(node.upload_as(&ada, "blue.wav", &wav()).await.0, StatusCode::OK);
    for (method, path, is_for, body) in ROUTES {
        let json = [("content-type", "application/json")];
        let (status, headers, found) = match (*method, *path) {
            ("POST", "/songs/upload") => {
                let (status, body) = node.upload("blue.wav", &wav()).await;
                (status, axum::http::HeaderMap::new(), body.to_string().into_bytes())
            }
            _ => node.ask(method, &address(path, "1"), &json, (*body).into()).await,
        };
        let found = String::from_utf8_lossy(&found);
        match is_for {
            For::Each | For::Owner => {
                assert_eq!(status, StatusCode::UNAUTHORIZED, "{method} {path}: {found}");
                assert!(found.contains("not_logged_in"), "{found}");
            }
            For::Everybody | For::Secret | For::Protocol => {
                assert!(!found.contains(r#""code":"not_logged_in""#), "{method} {path}: {found}");
            }
        }
        assert!(!headers.contains_key("set-cookie") || *path == "/auth/logout");
    }
    for page in ["/", "/app.js"] {
        assert_eq!(node.ask("GET", page, &[], Vec::new()).await.0, StatusCode::OK, "{page}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn registration_lists_all_errors() {
    let node = Node::start_with(true, false).await;
    let me = node.json("GET", "/auth/me").await.1;
    assert_eq!(
        me["data"],
        json!({ "user": null, "by": null, "anonymous": true, "registration": true, "accounts": false })
    );
    // All errors are returned at once, and no password is repeated.
    let fields = json!({ "username": "a b", "password1": "hunter", "password2": "HUNTER", "email": "nowhere" });
    let (status, body) = node.json_as("", "POST", "/auth/register", &fields).await;
    assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY);
    let wrong: Vec<_> =
        body["errors"].as_array().unwrap().iter().map(|error| error["field"].as_str().unwrap()).collect();
    assert_eq!(wrong, ["username", "password1", "password2", "email"]);
    assert!(!body.to_string().to_lowercase().contains("hunter"), "{body}");
    for broken in [r#"{"username": "hunter2", "pass": "hunter2"}"#, r#"{"password": 1"#, "hunter2"] {
        let json = [("content-type", "application/json")];
        let (status, _, body) = node.ask("POST", "/auth/login", &json, broken.into()).await;
        assert_eq!(status, StatusCode::BAD_REQUEST);
        assert!(!String::from_utf8(body).unwrap().contains("hunter"));
    }
    // The first account may be created while registration is closed, also with a form.
    let form = [("content-type", "application/x-www-form-urlencoded")];
    let fields = "username=root&password1=root%27s+password&password2=root%27s+password&email=root%40b.example";
    let (status, _, body) = node.ask("POST", "/auth/register", &form, fields.into()).await;
    let body: Value = serde_json::from_slice(&body).unwrap();
    assert_eq!((status, &body["data"]["user"]["administrator"]), (StatusCode::CREATED, &json!(true)), "{body}");
    assert_eq!(node.json("GET", "/auth/me").await.1["data"]["registration"], false);
    assert_eq!(node.register("Ada").await.0, StatusCode::FORBIDDEN);
    let root = node.login("root").await;
    let fields = json!({ "username": "Ada", "password1": "Ada's password", "password2": "Ada's password" });
    let (status, body) = node.json_as(&root, "POST", "/auth/register", &fields).await;
    assert_eq!((status, &body["data"]["user"]["administrator"]), (StatusCode::CREATED, &json!(false)), "{body}");
    let (status, body) = node.json_as(&root, "POST", "/auth/register", &fields).await;
    assert_eq!((status, &body["errors"][0]["code"]), (StatusCode::CONFLICT, &json!("name_taken")), "{body}");

    // Names have no case, passwords have.
    let ada = node.login_with("ADA", "Ada's password").await.unwrap();
    assert_eq!(node.login_with("ada", "ada's password").await.unwrap_err(), StatusCode::UNAUTHORIZED);
    assert_eq!(node.json_as(&ada, "GET", "/auth/me", &Value::Null).await.1["data"]["by"], "session");
    // Users make no administrators, and change their password only with the one they have.
    for (fields, status) in [
        (json!({ "administrator": true }), 422),
        (json!({ "password1": "another password", "password2": "another password" }), 422),
        (json!({ "password": "wrong", "password1": "another password", "password2": "another password" }), 401),
        (json!({ "username": "ROOT" }), 409),
        (json!({ "username": "Ada.L", "email": "ada@b.example" }), 200),
        (
            json!({ "password": "Ada's password", "password1": "another password", "password2": "another password" }),
            200,
        ),
    ] {
        let (found, body) = node.json_as(&ada, "PATCH", "/users/2", &fields).await;
        assert_eq!(found.as_u16(), status, "{fields}: {body}");
    }
    assert_eq!(node.json_as(&ada, "GET", "/users/2", &Value::Null).await.1["data"]["user"]["email"], "ada@b.example");
    assert!(node.login_with("ada.l", "Ada's password").await.is_err());
    node.login_with("ada.l", "another password").await.unwrap();
    // The last administrator stays.
    assert_eq!(node.json_as(&root, "DELETE", "/users/1", &Value::Null).await.0, StatusCode::CONFLICT);
    assert_eq!(
        node.json_as(&root, "PATCH", "/users/1", &json!({ "administrator": false })).await.0,
        StatusCode::CONFLICT
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_is_made_shown_once_used_and_revoked() {
    let (node, [_, ada, _]) = people(true).await;
    assert_eq!(node.json_as(&ada, "POST", "/users/2/tokens", &json!({ "name": " " })).await.0, 422);
    let (status, made) = node.json_as(&ada, "POST", "/users/2/tokens", &json!({ "name": "kitchen", "days": 3 })).await;
    assert_eq!(status, StatusCode::CREATED, "{made}");
    let secret = made["data"]["secret"].as_str().unwrap();
    assert!(secret.starts_with("qt_"));
    let (_, listed) = node.json_as(&ada, "GET", "/users/2/tokens", &Value::Null).await;
    assert_eq!(listed["data"]["tokens"][0]["name"], "kitchen");
    assert!(!listed.to_string().contains(secret));
    let bearer = format!("Bearer {secret}");
    // Other sites cannot make a browser send a token, so it is asked for no origin.
    let headers =
        [("authorization", bearer.as_str()), ("origin", "http://evil.example"), ("content-type", "application/json")];
    let (_, _, me) = node.ask("GET", "/auth/me", &headers, Vec::new()).await;
    let me: Value = serde_json::from_slice(&me).unwrap();
    assert_eq!((&me["data"]["by"], &me["data"]["user"]["username"]), (&json!("token"), &json!("Ada")));
    let (status, _, _) = node.ask("POST", "/users/2/tokens", &headers, br#"{"name": "more"}"#.to_vec()).await;
    assert_eq!(status, StatusCode::FORBIDDEN);
    assert_eq!(node.json_as(&ada, "DELETE", "/users/2/tokens/1", &Value::Null).await.0, StatusCode::OK);
    for path in ["/auth/me", "/songs", "/songs/1"] {
        assert_eq!(node.ask("GET", path, &headers, Vec::new()).await.0, StatusCode::UNAUTHORIZED, "{path}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn cookies_change_things_only_from_our_own_page() {
    let (node, [_, ada, _]) = people(true).await;
    for (field, value, status) in [
        ("origin", "http://evil.example", 403),
        ("origin", "null", 403),
        ("sec-fetch-site", "same-site", 403),
        ("sec-fetch-site", "cross-site", 403),
        ("sec-fetch-site", "same-origin", 200),
        ("origin", "http://quartet.example:8080", 200),
    ] {
        let headers = [("cookie", ada.as_str()), ("host", "quartet.example:8080"), (field, value)];
        let (found, _, _) = node.ask("DELETE", "/users/2/sessions", &headers, Vec::new()).await;
        assert_eq!(found.as_u16(), status, "{field}: {value}");
        if status == 200 {
            // The session is not valid any more, so the cookie is removed.
            let (status, headers, _) = node.ask("GET", "/songs", &[("cookie", &ada)], Vec::new()).await;
            assert_eq!(status, StatusCode::OK);
            assert!(headers["set-cookie"].to_str().unwrap().contains("Max-Age=0"));
            break;
        }
    }
    let ada = node.login("Ada").await;
    let headers =
        [("cookie", ada.as_str()), ("host", "quartet.example:8080"), ("origin", "http://quartet.example:8080")];
    assert_eq!(node.ask("POST", "/auth/logout", &headers, Vec::new()).await.0, StatusCode::OK);
}

/// The text of a stream up to these words.
async fn read_until(events: &mut axum::body::BodyDataStream, words: &str) -> String {
    let mut heard = String::new();
    while !heard.contains(words) {
        let chunk = tokio::time::timeout(std::time::Duration::from_secs(120), events.next()).await;
        heard.push_str(std::str::from_utf8(&chunk.unwrap().unwrap().unwrap()).unwrap());
    }
    heard
}

#[tokio::test(flavor = "multi_thread")]
async fn users_with_the_same_file_do_not_learn_of_each_other() {
    let (node, [_, ada, bob]) = people(true).await;
    assert_eq!(node.upload_as(&ada, "blue.wav", &wav()).await.0, StatusCode::OK);
    let mut events = node.events(&bob).await;
    let (_, body) = node.upload_as(&bob, "blue.wav", &wav()).await;
    assert_eq!(body["data"]["song"]["job_id"], 1);
    let mut heard = read_until(&mut events, "event: song\ndata: {\"id\":2,").await;
    // Bob cancels his job. The job continues for Ada.
    let (status, body) = node.json_as(&bob, "POST", "/jobs/1/cancel", &Value::Null).await;
    assert_eq!((status, &body["data"]["job"]["state"]), (StatusCode::OK, &json!("cancelled")), "{body}");
    assert_eq!(node.json_as(&bob, "GET", "/songs/2", &Value::Null).await.1["data"]["song"]["status"], "CANCELLED");
    assert_eq!(node.json_as(&bob, "GET", "/jobs/1", &Value::Null).await.0, StatusCode::NOT_FOUND);
    assert_eq!(node.json_as(&ada, "GET", "/songs/1", &Value::Null).await.1["data"]["song"]["status"], "UPLOADED");
    let (_, body) = node.json_as(&bob, "POST", "/jobs/2/retry", &Value::Null).await;
    assert_eq!(body["data"]["job"]["id"], 1, "{body}");
    // Bob receives events of his own song only, also when Ada deletes hers.
    assert_eq!(node.json_as(&ada, "DELETE", "/songs/1", &Value::Null).await.0, StatusCode::OK);
    assert_eq!(node.json_as(&bob, "DELETE", "/songs/2", &Value::Null).await.0, StatusCode::OK);
    heard += &read_until(&mut events, "event: song_removed\ndata: {\"id\":2}").await;
    assert!(!heard.contains("event: song\ndata: {\"id\":1,") && !heard.contains("data: {\"id\":1}"), "{heard}");
    // The stream ends with the session, at the next event.
    assert_eq!(node.json_as(&bob, "DELETE", "/users/3/sessions", &Value::Null).await.0, StatusCode::OK);
    assert_eq!(node.upload("blue.wav", &wav()).await.0, StatusCode::OK);
    let end = async { while events.next().await.is_some() {} };
    tokio::time::timeout(std::time::Duration::from_secs(120), end).await.expect("the stream's end");
}

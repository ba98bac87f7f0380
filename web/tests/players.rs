//! The OpenSubsonic protocol in a cluster of one node. scripts/subsonic tests three nodes with other client libraries.

#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used)]

mod standalone;

use std::io::Write;
use std::sync::{Arc, Mutex};

use axum::http::StatusCode;
use serde_json::{Value, json};
use standalone::{Node, wav, work};

/// A player with credentials.
struct Player<'a> {
    node: &'a Node,
    credentials: String,
}

impl Player<'_> {
    /// The response as JSON.
    async fn ask(&self, method: &str, query: &str) -> Value {
        let path = format!("/rest/{method}?{}&f=json{query}", self.credentials);
        let (status, _, body) = self.node.ask("GET", &path, &[], Vec::new()).await;
        assert_eq!(status, StatusCode::OK, "{method}{query}");
        serde_json::from_slice::<Value>(&body).unwrap()["subsonic-response"].clone()
    }

    async fn good(&self, method: &str, query: &str) -> Value {
        let answer = self.ask(method, query).await;
        assert_eq!(answer["status"], "ok", "{method}{query}: {answer}");
        answer
    }

    /// The code of the error, which may be 0.
    async fn code(&self, method: &str, query: &str) -> Option<u64> {
        self.ask(method, query).await["error"]["code"].as_u64()
    }

    async fn bytes(&self, method: &str, query: &str, headers: &[(&str, &str)]) -> (u16, Vec<u8>) {
        let path = format!("/rest/{method}?{}{query}", self.credentials);
        let (status, _, body) = self.node.ask("GET", &path, headers, Vec::new()).await;
        (status.as_u16(), body)
    }
}

/// The id, the cookie and a token of a new user.
async fn person(node: &Node, name: &str) -> (u64, String, String) {
    let id = node.register(name).await.1["data"]["user"]["id"].as_u64().unwrap();
    let cookie = node.login(name).await;
    let made = node.json_as(&cookie, "POST", &format!("/users/{id}/tokens"), &json!({ "name": "a player" })).await.1;
    (id, cookie, made["data"]["secret"].as_str().unwrap().to_owned())
}

fn hex_of(text: &str) -> String {
    text.bytes().map(|byte| format!("{byte:02x}")).collect()
}

fn proof(name: &str, secret: &str) -> String {
    use md5::Digest;
    let digest = md5::Md5::digest(format!("{secret}salt"));
    let digest: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("u={name}&t={digest}&s=salt")
}

/// Uploads a song with a file of its own, and sets its fields.
async fn song(node: &Node, who: &str, number: u8, about: &Value) -> (u64, u64) {
    let file = [wav(), vec![0; number.into()]].concat();
    let body = node.upload_as(who, "song.wav", &file).await.1;
    let (id, job) = (body["data"]["song"]["id"].as_u64().unwrap(), body["data"]["song"]["job_id"].as_u64().unwrap());
    assert_eq!(node.json_as(who, "PATCH", &format!("/songs/{id}"), about).await.0, StatusCode::OK);
    (id, job)
}

fn names<'a>(list: &'a Value, field: &str) -> Vec<&'a str> {
    list.as_array().unwrap().iter().map(|one| one[field].as_str().unwrap()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn only_valid_credentials_are_accepted() {
    let node = Node::start().await;
    let (_, _, other) = person(&node, "root").await;
    let (id, ada, token) = person(&node, "Ada").await;
    let password = "p=Ada's%20password";
    let enc = format!("p=enc:{}", hex_of("Ada's password"));
    let code = async |shown: &str| Player { node: &node, credentials: shown.to_owned() }.code("ping", "").await;
    for (shown, expected) in [
        (format!("apiKey={token}"), None),
        (proof("ada", &token), None),
        (proof("ADA", &token).replace("t=", "v=1.16.1&c=x&t="), None),
        (format!("u=Ada&p={token}"), None),
        (format!("u=Ada&{password}"), None),
        (format!("u=Ada&{enc}"), None),
        (String::new(), Some(10)),
        ("u=Ada".into(), Some(10)),
        ("u=Ada&t=0123".into(), Some(10)),
        (format!("apiKey={token}&u=Ada"), Some(43)),
        (format!("{}&{password}", proof("ada", &token)), Some(43)),
        ("apiKey=qt_0123".into(), Some(44)),
        (proof("root", &token), Some(40)),
        (proof("nobody", &token), Some(40)),
        (proof("ada", &other), Some(40)),
        (proof("ada", "Ada's password"), Some(40)),
        ("u=Ada&p=wrong".into(), Some(40)),
        (format!("u=root&p={token}"), Some(40)),
        ("u=Ada&p=enc:zz".into(), Some(0)),
    ] {
        assert_eq!(code(&shown).await, expected, "{shown}");
    }
    // Cookies and the Authorization header are ignored.
    let bearer = format!("Bearer {token}");
    for header in [("cookie", ada.as_str()), ("authorization", &bearer)] {
        let (_, _, body) = node.ask("GET", "/rest/ping?f=json", &[header], Vec::new()).await;
        assert!(String::from_utf8(body).unwrap().contains(r#""code":10"#), "{header:?}");
    }
    // In both formats, with both methods, and with both spellings of the name.
    let form = [("content-type", "application/x-www-form-urlencoded")];
    for name in ["ping", "ping.view"] {
        let shown = proof("ada", &token);
        for (method, path, body) in
            [("GET", format!("/rest/{name}?{shown}"), ""), ("POST", format!("/rest/{name}"), shown.as_str())]
        {
            let (_, headers, found) = node.ask(method, &path, &form, body.into()).await;
            let found = String::from_utf8(found).unwrap();
            assert!(found.contains(r#"status="ok" version="1.16.1" type="quartet""#), "{method} {name}: {found}");
            assert_eq!(headers["content-type"], "application/xml; charset=utf-8");
        }
    }
    let (_, _, body) = node.ask("GET", &format!("/rest/ping?apiKey={token}&f=yaml"), &[], Vec::new()).await;
    assert!(String::from_utf8(body).unwrap().contains(r#"<error code="0""#));
    let player = Player { node: &node, credentials: format!("apiKey={token}") };
    assert_eq!(player.code("makeCoffee", "").await, Some(0));
    let open = Player { node: &node, credentials: String::new() };
    assert!(open.good("getOpenSubsonicExtensions", "").await["openSubsonicExtensions"].is_array());
    assert_eq!(open.code("getLicense", "").await, Some(10));
    // Changes of credentials take effect at once.
    let other_password =
        json!({ "password": "Ada's password", "password1": "another one", "password2": "another one" });
    assert_eq!(node.json_as(&ada, "PATCH", &format!("/users/{id}"), &other_password).await.0, StatusCode::OK);
    assert_eq!(code(&format!("u=Ada&{password}")).await, Some(40));
    assert_eq!(code("u=Ada&p=another%20one").await, None);
    let again = node.login_with("Ada", "another one").await.unwrap();
    assert_eq!(node.json_as(&again, "DELETE", &format!("/users/{id}/tokens/2"), &Value::Null).await.0, StatusCode::OK);
    assert_eq!(code(&proof("ada", &token)).await, Some(40));
    assert_eq!(code(&format!("apiKey={token}")).await, Some(44));
}

#[tokio::test(flavor = "multi_thread")]
async fn only_wrong_credentials_count_towards_the_limits() {
    let node = Node::start().await;
    let (_, _, token) = person(&node, "Ada").await;
    let message = async |shown: &str| {
        let answer = Player { node: &node, credentials: shown.to_owned() }.ask("ping", "").await;
        answer["error"]["message"].as_str().map(str::to_owned)
    };
    for _ in 0..10 {
        assert!(message(&proof("ada", "wrong")).await.unwrap().contains("Wrong name or password"));
    }
    assert!(message(&proof("ada", "wrong")).await.unwrap().contains("seconds"));
    // Wrong proofs do not lock the user out of the page, or out of other kinds of credentials.
    assert!(node.login_with("Ada", "Ada's password").await.is_ok());
    for _ in 0..30 {
        assert_eq!(message("u=Ada&p=Ada's%20password").await, None);
        assert_eq!(message(&format!("apiKey={token}")).await, None);
    }
    for _ in 0..9 {
        // Another error would not count.
        let said = message("u=Ada&p=wrong").await;
        assert!(said.as_ref().is_some_and(|said| said.contains("Wrong name or password")), "{said:?}");
    }
    assert_eq!(node.login_with("Ada", "Ada's password").await, Err(StatusCode::TOO_MANY_REQUESTS));
}

#[tokio::test(flavor = "multi_thread")]
async fn stems_are_an_album_and_private() {
    let node = Node::start().await;
    let (_, root, boss) = person(&node, "root").await;
    let (_, ada, token) = person(&node, "Ada").await;
    let (_, _, stranger) = person(&node, "Bob").await;
    let (id, job) = song(&node, &ada, 0, &json!({ "title": "Blue", "artist": "A & B", "year": 1959 })).await;
    let player = |credentials: String| Player { node: &node, credentials };
    let (ada_plays, bob_plays) = (player(proof("ada", &token)), player(format!("apiKey={stranger}")));
    let albums = async || ada_plays.good("getAlbumList2", "&type=newest").await["albumList2"]["album"].clone();
    assert_eq!(names(&albums().await, "name"), ["Blue"]);
    assert_eq!(ada_plays.code("getAlbum", &format!("&id=sa-{id}")).await, Some(70));

    let file = [wav(), b"as separated".to_vec()].concat();
    work(&node, job, &["drums", "no_drums"], &file, 5).await;
    assert_eq!(names(&albums().await, "name"), ["Blue", "Blue (stems)"]);
    let album = ada_plays.good("getAlbum", &format!("&id=sa-{id}")).await["album"].clone();
    assert_eq!(names(&album["song"], "title"), ["Drums", "No drums"], "{album}");
    assert_eq!((&album["artist"], &album["songCount"]), (&json!("A & B"), &json!(2)));
    let drums = &album["song"][0];
    assert_eq!((&drums["id"], &drums["albumId"]), (&json!(format!("st-{id}-drums")), &json!(format!("sa-{id}"))));
    assert_eq!((&drums["suffix"], &drums["duration"]), (&json!("wav"), &json!(1)));
    let stem = format!("&id=st-{id}-drums");
    assert_eq!(ada_plays.bytes("stream", &stem, &[]).await, (200, file.clone()));
    assert_eq!(ada_plays.bytes("download", &stem, &[("range", "bytes=0-3")]).await, (206, b"RIFF".to_vec()));
    assert_eq!(ada_plays.bytes("stream", &format!("&id=so-{id}"), &[]).await, (200, wav()));
    let made_small = ada_plays.bytes("stream", &format!("&id=so-{id}&maxBitRate=192"), &[]).await;
    assert_eq!(made_small, ada_plays.bytes("stream", &format!("&id=so-{id}&format=mp3"), &[]).await);
    assert!(made_small.0 == 200 && made_small.1 != wav());
    for missing in [format!("&id=st-{id}-kazoo"), "&id=so-99".into(), "&id=st-99-drums".into(), "&id=al-00-".into()] {
        assert_eq!(ada_plays.code("stream", &missing).await, Some(70), "{missing}");
    }
    let made = ada_plays.good("createPlaylist", &format!("&name=Mix&songId=so-{id}&songId=so-{id}")).await;
    assert_eq!(made["playlist"]["entry"].as_array().unwrap().len(), 2, "{made}");
    assert_eq!(ada_plays.code("createPlaylist", &format!("&name=Mix&songId=st-{id}-drums")).await, Some(0));
    assert_eq!(ada_plays.good("getPlaylists", "").await["playlists"]["playlist"].as_array().unwrap().len(), 1);

    // Other users have no access by any id. Administrators have access to everything.
    let list = &made["playlist"]["id"].as_str().unwrap();
    let artist = album["artistId"].as_str().unwrap();
    for (method, query) in [
        ("getSong", format!("&id=so-{id}")),
        ("getSong", stem.clone()),
        ("getAlbum", format!("&id=si-{id}")),
        ("getAlbum", format!("&id=sa-{id}")),
        ("getArtist", format!("&id={artist}")),
        ("getMusicDirectory", format!("&id=sa-{id}")),
        ("getPlaylist", format!("&id={list}")),
        ("updatePlaylist", format!("&playlistId={list}&name=Mine")),
        ("updatePlaylist", format!("&playlistId={list}&public=false")),
        ("createPlaylist", format!("&playlistId={list}")),
        ("createPlaylist", format!("&name=Mine&songId=so-{id}")),
        ("deletePlaylist", format!("&id={list}")),
        ("stream", format!("&id=so-{id}")),
        ("download", stem.clone()),
        ("getCoverArt", format!("&id=so-{id}")),
        ("star", format!("&id=so-{id}")),
        ("unstar", stem.clone()),
        ("scrobble", stem.clone()),
        ("scrobble", format!("&id=so-{id}&submission=false")),
        ("setRating", format!("&id=so-{id}&rating=0")),
    ] {
        assert_eq!(bob_plays.code(method, &query).await, Some(70), "{method}{query}");
    }
    assert_eq!(bob_plays.good("getPlaylists", "").await["playlists"]["playlist"], json!([]));
    assert_eq!(bob_plays.good("search3", "&query=").await["searchResult3"]["album"], json!([]));
    assert_eq!(bob_plays.good("getRandomSongs", "").await["randomSongs"]["song"], json!([]));
    assert_eq!(bob_plays.good("getArtists", "").await["artists"]["index"], json!([]));
    assert_eq!(bob_plays.code("getUser", "&username=Ada").await, Some(50));
    assert_eq!(node.json_as(&root, "GET", &format!("/songs/{id}"), &Value::Null).await.1["data"]["song"]["plays"], 0);
    assert_eq!(
        names(&player(format!("apiKey={boss}")).good("search3", "&query=").await["searchResult3"]["song"], "title"),
        ["Blue"]
    );
    // A public playlist is public for players.
    ada_plays.good("updatePlaylist", &format!("&playlistId={list}&public=true&comment=all")).await;
    let shared = bob_plays.good("getPlaylist", &format!("&id={list}")).await["playlist"].clone();
    assert_eq!(
        (&shared["owner"], &shared["readonly"], &shared["comment"]),
        (&json!("Ada"), &json!(true), &json!("all"))
    );
    assert_eq!(bob_plays.bytes("stream", &format!("&id=so-{id}"), &[]).await.0, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn lists_are_complete_in_pages_of_any_size() {
    let node = Node::start().await;
    let (_, ada, token) = person(&node, "Ada").await;
    let player = Player { node: &node, credentials: format!("apiKey={token}") };
    let about = |title: &str, artist: Value, album: Value, year: u32| json!({ "title": title, "artist": artist, "album": album, "year": year });
    for (number, about) in [
        about("b", json!("Zoe"), json!("Delta"), 2001),
        about("a", json!("zoé"), json!("delta"), 2001),
        about("Echo", json!("Yan"), Value::Null, 1999),
        about("c", json!("Yan"), json!("Delta"), 2000),
        about("Alpha", Value::Null, Value::Null, 1990),
        about("d", Value::Null, json!("Charlie"), 1990),
    ]
    .iter()
    .enumerate()
    {
        let (_, job) = song(&node, &ada, number as u8, about).await;
        if number % 2 == 0 {
            work(&node, job, &["drums"], &wav(), 5).await;
        } else {
            assert_eq!(
                node.json_as(&ada, "POST", &format!("/jobs/{job}/cancel"), &Value::Null).await.0,
                StatusCode::OK
            );
        }
    }
    for (list, expected) in [
        (
            "alphabeticalByName",
            vec!["Alpha", "Alpha (stems)", "b (stems)", "Charlie", "Delta", "Delta", "Echo", "Echo (stems)"],
        ),
        (
            "alphabeticalByArtist",
            vec!["Delta", "Echo", "Echo (stems)", "b (stems)", "Delta", "Alpha", "Alpha (stems)", "Charlie"],
        ),
        ("newest", vec!["Charlie", "Alpha", "Alpha (stems)", "Delta", "Echo", "Echo (stems)", "Delta", "b (stems)"]),
        ("byYear&fromYear=2001&toYear=1999", vec!["Delta", "b (stems)", "Delta", "Echo (stems)", "Echo"]),
        ("byYear&fromYear=1999&toYear=2001", vec!["Echo", "Echo (stems)", "Delta", "b (stems)", "Delta"]),
        ("frequent", vec![]),
        ("recent", vec![]),
        ("starred", vec![]),
        ("highest", vec![]),
    ] {
        for size in [500, 1, 3] {
            let mut found = Vec::new();
            for offset in (0..9).step_by(size) {
                let query = format!("&type={list}&size={size}&offset={offset}");
                let page = player.good("getAlbumList2", &query).await["albumList2"]["album"].clone();
                found.extend(names(&page, "name").into_iter().map(str::to_owned));
            }
            assert_eq!(found, expected, "{list} in pages of {size}");
        }
    }
    assert_eq!(player.code("getAlbumList2", "&type=loudest").await, Some(0));
    assert_eq!(player.code("getAlbumList2", "").await, Some(10));
    assert_eq!(player.code("getAlbumList2", "&type=newest&size=many").await, Some(0));
    // Names that differ only in spelling are one artist with all albums.
    let artists = player.good("getArtists", "").await["artists"]["index"].clone();
    let counted: Vec<_> = artists
        .as_array()
        .unwrap()
        .iter()
        .map(|index| (&index["name"], &index["artist"][0]["name"], &index["artist"][0]["albumCount"]))
        .collect();
    let told = [("Y", "Yan", 3), ("Z", "Zoe", 2), ("#", "[Unknown Artist]", 3)]
        .map(|(letter, name, albums)| (json!(letter), json!(name), json!(albums)));
    assert_eq!(counted, told.iter().map(|(letter, name, albums)| (letter, name, albums)).collect::<Vec<_>>());
    // Malformed parameters are refused.
    let (_, _, body) = node.ask("GET", "/rest/ping?u=%ff&f=json", &[], Vec::new()).await;
    assert!(String::from_utf8(body).unwrap().contains("failed"));
    let long = format!("{}&{}", player.credentials, "songId=so-1&".repeat(50_000));
    let form = [("content-type", "application/x-www-form-urlencoded")];
    let (status, _, body) = node.ask("POST", "/rest/createPlaylist", &form, long.into_bytes()).await;
    assert!(status == StatusCode::OK && String::from_utf8(body).unwrap().contains("bytes"));
}

/// Everything that is logged.
#[derive(Clone, Default)]
struct LogBuffer(Arc<Mutex<Vec<u8>>>);

impl Write for LogBuffer {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn credentials_are_not_logged_and_not_returned() {
    let log_buffer = LogBuffer::default();
    let writer = log_buffer.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(tracing::Level::TRACE)
        .with_ansi(false)
        .with_writer(move || writer.clone())
        .finish();
    // This includes all threads, also those of concurrent tests.
    tracing::subscriber::set_global_default(subscriber).unwrap();
    let node = Node::start().await;
    let (_, _, token) = person(&node, "Ada").await;
    let mut answers = Vec::new();
    let ways = [
        format!("apiKey={token}"),
        "apiKey=hunter2".into(),
        "u=Ada&p=hunter2".into(),
        format!("u=Ada&p=enc:{}", hex_of("hunter2")),
        "u=Ada&p=enc:hunter2".into(),
        "u=Ada&t=hunter2&s=hunter2".into(),
        proof("ada", &token),
        format!("apiKey={token}&u=hunter2&id=hunter2&size=hunter2&f=hunter2&type=hunter2"),
    ];
    let form = [("content-type", "application/x-www-form-urlencoded")];
    for shown in &ways {
        for method in ["ping", "getAlbumList2", "stream", "hunter2", "%ff"] {
            let path = format!("/rest/{method}?{shown}");
            answers.extend(node.ask("GET", &path, &[], Vec::new()).await.2);
            answers.extend(node.ask("POST", &format!("/rest/{method}"), &form, shown.clone().into_bytes()).await.2);
            answers.extend(node.ask("PUT", &path, &[], Vec::new()).await.2);
        }
    }
    let digest = proof("ada", &token).split("t=").nth(1).unwrap().split('&').next().unwrap().to_owned();
    let log = String::from_utf8_lossy(&log_buffer.0.lock().unwrap()).into_owned();
    let answers = String::from_utf8_lossy(&answers).into_owned();
    assert!(log.contains("/rest/{method}"), "nothing was logged");
    for secret in ["hunter2", token.as_str(), digest.as_str(), hex_of("hunter2").as_str()] {
        assert!(!log.contains(secret), "the log holds {secret}");
        assert!(!answers.contains(secret), "an answer holds {secret}");
    }
}

//! The library of a cluster of one node: fields of songs, search, playlists, favourites and plays.

#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used)]

mod standalone;

use axum::http::StatusCode;
use serde_json::{Value, json};
use standalone::{Node, wav};
use storage::blobs::Hash;

/// A file that differs for each number.
fn file(number: u8) -> Vec<u8> {
    [wav(), vec![0; number.into()]].concat()
}

/// Uploads a song and sets its fields.
async fn song(node: &Node, who: &str, number: u8, about: &Value) -> u64 {
    let (status, body) = node.upload_as(who, "song.wav", &file(number)).await;
    assert_eq!(status, StatusCode::OK, "{body}");
    let id = body["data"]["song"]["id"].as_u64().unwrap();
    // The number of open jobs is limited.
    let job = &body["data"]["song"]["job_id"];
    assert!(node.json_as(who, "POST", &format!("/jobs/{job}/cancel"), &Value::Null).await.0.is_success());
    let (status, body) = node.json_as(who, "PATCH", &format!("/songs/{id}"), about).await;
    assert_eq!(status, StatusCode::OK, "{body}");
    id
}

async fn get(node: &Node, who: &str, path: &str) -> Value {
    let (status, body) = node.json_as(who, "GET", path, &Value::Null).await;
    assert_eq!(status, StatusCode::OK, "{path}: {body}");
    body["data"].clone()
}

fn ids(data: &Value) -> Vec<u64> {
    data["songs"].as_array().unwrap().iter().map(|song| song["id"].as_u64().unwrap()).collect()
}

/// The songs of all pages with this limit.
async fn pages(node: &Node, who: &str, path: &str, limit: usize) -> Vec<u64> {
    let (mut found, mut cursor) = (Vec::new(), String::new());
    for _ in 0..100 {
        let data = get(node, who, &format!("{path}&limit={limit}{cursor}")).await;
        let page = ids(&data);
        assert!(page.len() <= limit);
        found.extend(page);
        match data["next"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => return found,
        }
    }
    panic!("{path} has no end");
}

async fn person(node: &Node, name: &str) -> String {
    assert_eq!(node.register(name).await.0, StatusCode::CREATED);
    node.login(name).await
}

#[tokio::test(flavor = "multi_thread")]
async fn songs_are_found_by_words_in_every_order() {
    let node = Node::start().await;
    let (root, ada) = (person(&node, "root").await, person(&node, "Ada").await);
    let about = |title: &str, artist: Value, album: Value, genre: Value| json!({ "title": title, "artist": artist, "album": album, "genre": genre });
    let none = Value::Null;
    let halo = song(&node, &ada, 1, &about("Halo", json!("Beyoncé"), json!("Sasha"), json!("R&B"))).await;
    let army =
        song(&node, "", 2, &about("Seven Nation Army", json!("White Stripes"), json!("Elephant"), json!("Rock"))).await;
    let tokyo = song(&node, &ada, 3, &about("東京の夜", json!("beyonce"), none.clone(), json!("rock"))).await;
    let quiet = song(&node, "", 4, &about("(untitled)", none.clone(), none.clone(), none.clone())).await;
    let roots = song(&node, &root, 5, &about("Halo of roots", json!("Root"), json!("Elephant"), json!("Rock"))).await;

    for (query, expected) in [
        ("", vec![quiet, tokyo, army, halo]),
        ("?sort=added", vec![halo, army, tokyo, quiet]),
        ("?sort=title", vec![halo, army, quiet, tokyo]),
        ("?sort=-title", vec![tokyo, quiet, army, halo]),
        ("?sort=artist", vec![halo, tokyo, army, quiet]),
        ("?sort=-album", vec![quiet, tokyo, halo, army]),
        ("?sort=duration", vec![halo, army, tokyo, quiet]),
        ("?sort=bpm", vec![halo, army, tokyo, quiet]),
        ("?q=halo", vec![halo]),
        ("?q=HAL%C3%93", vec![halo]),
        ("?q=beyonc", vec![tokyo, halo]),
        ("?q=rock", vec![tokyo, army]),
        ("?q=rock%20seven%20ele", vec![army]),
        ("?q=%E5%A4%9C", vec![tokyo]),
        ("?q=roots", vec![]),
        ("?artist=BEYONC%C3%89&sort=title", vec![halo, tokyo]),
        ("?artist=beyon", vec![]),
        ("?album=elephant", vec![army]),
        ("?genre=rock&sort=-title", vec![tokyo, army]),
        ("?mine=true", vec![tokyo, halo]),
        ("?status=CANCELLED&mine=true&sort=title", vec![halo, tokyo]),
        ("?status=SPLIT", vec![]),
    ] {
        assert_eq!(ids(&get(&node, &ada, &format!("/songs/{query}")).await), expected, "{query}");
        let joined = if query.is_empty() { "/songs/?" } else { query };
        let path = if query.is_empty() { joined.to_owned() } else { format!("/songs/{joined}") };
        for limit in 1..3 {
            assert_eq!(pages(&node, &ada, &path, limit).await, expected, "{query} in pages of {limit}");
        }
    }
    // Other users do not find a private song. Administrators find all songs.
    assert_eq!(ids(&get(&node, "", "/songs/?q=halo").await), [0u64; 0]);
    assert_eq!(ids(&get(&node, "", "/songs/?sort=title&mine=true").await), [army, quiet]);
    assert_eq!(ids(&get(&node, &root, "/songs/?q=halo&sort=title").await), [halo, roots]);
    let hash = get(&node, &ada, &format!("/songs/{halo}")).await["song"]["hash"].as_str().unwrap().to_owned();
    assert_eq!(ids(&get(&node, &ada, &format!("/songs/?hash={hash}")).await), [halo]);
    assert_eq!(ids(&get(&node, "", &format!("/songs/?hash={hash}")).await), [0u64; 0]);

    // Names that differ only in spelling are one.
    let artists = get(&node, &ada, "/artists").await;
    let named = |data: &Value, of: &str| -> Vec<(String, u64)> {
        let groups = data[of].as_array().unwrap().iter();
        groups.map(|group| (group["name"].as_str().unwrap().to_owned(), group["songs"].as_u64().unwrap())).collect()
    };
    assert_eq!(named(&artists, "artists"), [("Beyoncé".to_owned(), 2), ("White Stripes".to_owned(), 1)]);
    for who in [&ada, &root] {
        let first = get(&node, who, "/albums?limit=1").await;
        let second = get(&node, who, &format!("/albums?limit=1&cursor={}", first["next"].as_str().unwrap())).await;
        let elephants = if *who == root { 2 } else { 1 };
        assert_eq!(named(&first, "albums"), [("Elephant".to_owned(), elephants)]);
        assert_eq!((named(&second, "albums"), &second["next"]), (vec![("Sasha".to_owned(), 1)], &Value::Null));
        assert_eq!(named(&get(&node, who, "/genres?q=ro").await, "genres")[0].1, 1 + elephants);
    }

    for bad in ["sort=size", "cursor=%20", "sort=title&cursor=xyz", "status=lost", "hash=12", "limit=many"] {
        let (status, body) = node.json("GET", &format!("/songs/?{bad}")).await;
        assert_eq!(status, StatusCode::BAD_REQUEST, "{bad}: {body}");
    }
    for mine in ["favourite=true", "sort=played"] {
        assert_eq!(node.json("GET", &format!("/songs/?{mine}")).await.0, StatusCode::UNAUTHORIZED, "{mine}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn new_songs_do_not_shift_pages() {
    let node = Node::start().await;
    for (number, title) in [(0, "c"), (1, "e"), (2, "g"), (3, "i")] {
        song(&node, "", number, &json!({ "title": title })).await;
    }
    for (sort, first, second) in [("title", [1, 2], [3, 4]), ("-title", [4, 3], [2, 1]), ("-added", [4, 3], [2, 1])] {
        let page = get(&node, "", &format!("/songs/?sort={sort}&limit=2")).await;
        assert_eq!(ids(&page), first);
        // One song is added before the page, and one behind it.
        let early = song(&node, "", 8, &json!({ "title": "d" })).await;
        let late = song(&node, "", 9, &json!({ "title": "a" })).await;
        let next = page["next"].as_str().unwrap();
        let rest = ids(&get(&node, "", &format!("/songs/?sort={sort}&cursor={next}")).await);
        let old: Vec<u64> = rest.iter().copied().filter(|id| *id < early).collect();
        assert_eq!(old, second, "{sort}: {rest:?}");
        assert!(rest.iter().all(|id| !first.contains(id)));
        for id in [early, late] {
            assert_eq!(node.json("DELETE", &format!("/songs/{id}")).await.0, StatusCode::OK);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn fields_of_a_song_can_be_changed() {
    let node = Node::start().await;
    let ada = person(&node, "Ada").await;
    let about = json!({ "title": " Blue ", "artist": "A\u{1}B", "genre": "Jazz", "year": 1999, "track": 3 });
    let id = song(&node, &ada, 0, &about).await;
    let path = format!("/songs/{id}");
    let shown = get(&node, &ada, &path).await["song"].clone();
    assert_eq!(shown["title"], "Blue");
    assert_eq!((&shown["artist"], &shown["genre"], &shown["album"]), (&json!("A B"), &json!("Jazz"), &Value::Null));
    assert_eq!((&shown["year"], &shown["track"], &shown["duration"]), (&json!(1999), &json!(3), &json!(1.0)));
    assert_eq!((&shown["mine"], &shown["uploader"]), (&json!(true), &json!({ "id": 1, "name": "Ada" })));
    let (status, body) =
        node.json_as(&ada, "PATCH", &path, &json!({ "genre": null, "year": null, "artist": "" })).await;
    assert_eq!(status, StatusCode::OK);
    let shown = &body["data"]["song"];
    assert_eq!((&shown["title"], &shown["track"]), (&json!("Blue"), &json!(3)), "{shown}");
    assert!(shown["genre"].is_null() && shown["year"].is_null() && shown["artist"].is_null(), "{shown}");
    assert_eq!(ids(&get(&node, &ada, "/songs/?q=jazz").await), [0u64; 0]);
    for (fields, status) in [
        (json!({ "title": "" }), 422),
        (json!({ "title": "x".repeat(201) }), 422),
        (json!({ "album": "x".repeat(201) }), 422),
        (json!({ "year": 0 }), 422),
        (json!({ "year": 99999 }), 400),
        (json!({ "year": "soon" }), 400),
        (json!({ "loudness": 120 }), 400),
    ] {
        assert_eq!(node.json_as(&ada, "PATCH", &path, &fields).await.0.as_u16(), status, "{fields}");
    }
    // The same file is a duplicate for its uploader only.
    let again = node.upload_as(&ada, "song.wav", &file(0)).await.1;
    assert_eq!(again["data"]["song"]["duplicates"], json!([id]));
    assert_eq!(node.upload("song.wav", &file(0)).await.1["data"]["song"]["duplicates"], json!([]));
}

#[tokio::test(flavor = "multi_thread")]
async fn tempo_and_key_can_be_corrected() {
    let node = Node::start().await;
    let (_, ada, bob) = (person(&node, "root").await, person(&node, "Ada").await, person(&node, "Bob").await);
    let first = song(&node, &ada, 0, &json!({ "title": "First", "bpm": 127.957, "key": " f#m " })).await;
    let second = song(&node, &ada, 1, &json!({ "title": "Second", "bpm": 90.0, "key": "8A" })).await;
    let third = song(&node, &ada, 2, &json!({ "title": "Third" })).await;
    let path = format!("/songs/{first}");
    let shown = get(&node, &ada, &path).await["song"].clone();
    assert_eq!((&shown["bpm"], &shown["key"]), (&json!(127.96), &json!("F# minor")), "{shown}");
    assert_eq!((&shown["own_bpm"], &shown["own_key"]), (&json!(127.96), &json!("F# minor")), "{shown}");
    assert_eq!(get(&node, &ada, &format!("/songs/{second}")).await["song"]["key"], "A minor");
    assert_eq!(ids(&get(&node, &ada, "/songs/?sort=bpm").await), [third, second, first]);

    for (fields, status, code) in [
        (json!({ "bpm": 19.99 }), 422, "out_of_range"),
        (json!({ "bpm": 400.1 }), 422, "out_of_range"),
        (json!({ "bpm": "fast" }), 400, "malformed"),
        (json!({ "key": "H minor" }), 422, "bad_key"),
        (json!({ "key": "x".repeat(1000) }), 422, "bad_key"),
        (json!({ "key": "\u{84}" }), 422, "bad_key"),
        (json!({ "key": 5 }), 400, "malformed"),
    ] {
        let (found, body) = node.json_as(&ada, "PATCH", &path, &fields).await;
        assert_eq!((found.as_u16(), &body["errors"][0]["code"]), (status, &json!(code)), "{fields}: {body}");
        assert!(code != "bad_key" || body["errors"][0]["message"].as_str().unwrap().contains("8A"), "{body}");
    }
    let form = [("cookie", ada.as_str()), ("content-type", "application/x-www-form-urlencoded")];
    for (fields, status) in [("bpm=NaN", 422), ("bpm=80.5&key=Eb", 200)] {
        assert_eq!(node.ask("PATCH", &path, &form, fields.into()).await.0.as_u16(), status, "{fields}");
    }
    assert_eq!(ids(&get(&node, &ada, "/songs/?sort=-bpm").await), [second, first, third]);
    let (_, body) = node.json_as(&ada, "PATCH", &path, &json!({ "bpm": null, "key": "" })).await;
    let shown = &body["data"]["song"];
    assert!(shown["bpm"].is_null() && shown["key"].is_null() && shown["own_bpm"].is_null(), "{shown}");
    assert_eq!(ids(&get(&node, &ada, "/songs/?sort=-bpm").await), [second, third, first]);
    assert_eq!(node.json_as(&bob, "PATCH", &path, &json!({ "bpm": 100 })).await.0, StatusCode::NOT_FOUND);
}

#[tokio::test(flavor = "multi_thread")]
async fn cover_is_replaced_and_removed() {
    let node = Node::start().await;
    let (_, ada, bob) = (person(&node, "root").await, person(&node, "Ada").await, person(&node, "Bob").await);
    let id = song(&node, &ada, 0, &json!({ "title": "Blue" })).await;
    let path = format!("/songs/{id}/cover");
    let put = async |who: &str, bytes: &[u8]| {
        // The Content-Type does not matter.
        let headers = [("cookie", who), ("content-type", "text/plain")];
        let (status, _, body) = node.ask("PUT", &path, &headers, bytes.to_vec()).await;
        (status.as_u16(), serde_json::from_slice::<Value>(&body).unwrap())
    };
    let held = || node.files("blobs");
    let before = held();
    let mut large = b"\xff\xd8\xff".to_vec();
    large.resize((8 << 20) + 1, 7);
    let larger = [large.clone(), vec![7; 1 << 20]].concat();
    for (who, bytes, status, code) in [
        (&ada, b"<svg onload=alert(1)>".as_slice(), 415, "not_picture"),
        (&ada, b"", 415, "not_picture"),
        (&ada, &large, 413, "too_large"),
        (&ada, &larger, 413, "too_large"),
        (&bob, b"GIF89a of Bob's", 404, "no_such_song"),
    ] {
        let (found, body) = put(who, bytes).await;
        assert_eq!((found, &body["errors"][0]["code"]), (status, &json!(code)), "{body}");
        assert!(code != "too_large" || body["errors"][0]["message"].as_str().unwrap().contains("picture"), "{body}");
    }
    assert_eq!((held(), node.files("staging")), (before, 0));
    assert_eq!(node.json_as(&ada, "GET", &path, &Value::Null).await.0, StatusCode::NOT_FOUND);

    large.pop();
    let mut addresses = vec![Value::Null];
    for (bytes, kind) in [
        (b"GIF89a picture".as_slice(), "image/gif"),
        (b"\x89PNG\r\n\x1a\n picture", "image/png"),
        (b"RIFF\0\0\0\0WEBPVP8 ", "image/webp"),
        (&large, "image/jpeg"),
    ] {
        let (status, body) = put(&ada, bytes).await;
        let cover = body["data"]["song"]["cover"].clone();
        assert_eq!(status, 200, "{body}");
        // Every cover has another address.
        assert!(!addresses.contains(&cover), "{cover}");
        let (status, headers, found) =
            node.ask("GET", cover.as_str().unwrap(), &[("cookie", ada.as_str())], Vec::new()).await;
        assert_eq!((status, headers["content-type"].to_str().unwrap()), (StatusCode::OK, kind));
        assert!(found == bytes, "another picture than {kind}");
        addresses.push(cover);
    }
    // Only the last cover is still referenced.
    let view = node.cluster.read().await.unwrap();
    assert!(view.references().unwrap().contains(&Hash::of(&large)));
    assert!(!view.references().unwrap().contains(&Hash::of(b"GIF89a picture")));

    assert_eq!(node.json_as(&bob, "DELETE", &path, &Value::Null).await.0, StatusCode::NOT_FOUND);
    for _ in 0..2 {
        let (status, body) = node.json_as(&ada, "DELETE", &path, &Value::Null).await;
        assert_eq!((status, &body["data"]["song"]["cover"]), (StatusCode::OK, &Value::Null), "{body}");
    }
    assert_eq!(node.json_as(&ada, "GET", &path, &Value::Null).await.0, StatusCode::NOT_FOUND);
    assert!(!node.cluster.read().await.unwrap().references().unwrap().contains(&Hash::of(&large)));
}

#[tokio::test(flavor = "multi_thread")]
async fn shared_playlist_grants_listening_to_its_owners_songs() {
    let node = Node::start().await;
    let root = person(&node, "root").await;
    let (ada, bob) = (person(&node, "Ada").await, person(&node, "Bob").await);
    let adas = song(&node, &ada, 0, &json!({ "title": "Ada's" })).await;
    let secret = song(&node, &ada, 1, &json!({ "title": "Secret" })).await;
    let roots = song(&node, &root, 2, &json!({ "title": "Root's" })).await;
    let open = song(&node, "", 3, &json!({ "title": "Open" })).await;
    let share = json!({ "user": "ada" });
    assert_eq!(node.json_as(&root, "POST", &format!("/songs/{roots}/shares"), &share).await.0, StatusCode::OK);

    assert_eq!(node.json_as("", "POST", "/playlists", &json!({ "name": "x" })).await.0, StatusCode::UNAUTHORIZED);
    for bad in [json!({}), json!({ "name": " " }), json!({ "name": "x".repeat(201) })] {
        assert_eq!(node.json_as(&ada, "POST", "/playlists", &bad).await.0, StatusCode::UNPROCESSABLE_ENTITY, "{bad}");
    }
    let (_, made) = node.json_as(&ada, "POST", "/playlists", &json!({ "name": "Mix", "description": "all" })).await;
    let list = format!("/playlists/{}", made["data"]["playlist"]["id"]);
    let put = async |songs: Value| node.json_as(&ada, "POST", &format!("{list}/songs"), &songs).await;
    assert_eq!(put(json!({ "songs": [adas, roots, open] })).await.0, StatusCode::OK);
    assert_eq!(put(json!({ "songs": [adas], "at": 0 })).await.1["data"]["playlist"]["songs"], 4);
    assert_eq!(put(json!({ "songs": [adas, 99] })).await.0, StatusCode::NOT_FOUND);
    assert_eq!(put(json!({ "songs": vec![adas; 9_997] })).await.0, StatusCode::CONFLICT);
    let entries = async |who: &str, query: &str| {
        let data = get(&node, who, &format!("{list}{query}")).await;
        let entries = data["playlist"]["entries"].as_array().unwrap().iter();
        let numbers: Vec<_> =
            entries.map(|entry| (entry["id"].as_u64().unwrap(), entry["song"]["id"].as_u64().unwrap())).collect();
        (numbers, data["playlist"]["hidden"].as_u64().unwrap(), data["next"].clone())
    };
    assert_eq!(entries(&ada, "").await, (vec![(4, adas), (1, adas), (2, roots), (3, open)], 0, Value::Null));
    let order = json!({ "entries": [3, 2, 1, 4] });
    assert_eq!(node.json_as(&ada, "PUT", &format!("{list}/order"), &order).await.0, StatusCode::OK);
    assert_eq!(entries(&ada, "?limit=3").await, (vec![(3, open), (2, roots), (1, adas)], 0, json!("1")));
    assert_eq!(entries(&ada, "?limit=3&cursor=1").await, (vec![(4, adas)], 0, Value::Null));
    assert_eq!(node.json_as(&ada, "DELETE", &format!("{list}/songs/4"), &Value::Null).await.0, StatusCode::OK);
    assert_eq!(node.json_as(&ada, "GET", &format!("{list}?cursor=4"), &Value::Null).await.0, StatusCode::CONFLICT);
    let order = json!({ "entries": [3, 2, 1, 4] });
    assert_eq!(node.json_as(&ada, "PUT", &format!("{list}/order"), &order).await.0, StatusCode::CONFLICT);

    // Bob gets access to the playlist and Ada's songs in it, but not to songs that are shared with Ada.
    assert_eq!(node.json_as(&bob, "GET", &list, &Value::Null).await.0, StatusCode::NOT_FOUND);
    assert_eq!(node.json_as(&bob, "GET", &format!("/songs/{adas}"), &Value::Null).await.0, StatusCode::NOT_FOUND);
    let (status, shares) = node.json_as(&ada, "POST", &format!("{list}/shares"), &json!({ "user": "bob" })).await;
    assert_eq!((status, &shares["data"]["users"][0]["username"]), (StatusCode::OK, &json!("Bob")));
    assert_eq!(entries(&bob, "").await, (vec![(3, open), (1, adas)], 1, Value::Null));
    assert_eq!(get(&node, &bob, "/playlists").await["playlists"][0]["owner"]["name"], "Ada");
    for (id, status) in [(adas, 200), (secret, 404), (roots, 404)] {
        for path in [format!("/songs/{id}"), format!("/songs/{id}/song.wav")] {
            assert_eq!(node.json_as(&bob, "GET", &path, &Value::Null).await.0.as_u16(), status, "{path}");
        }
    }
    // Bob may listen but change nothing. The song is in the playlist and not in his library.
    for (method, path) in
        [("DELETE", format!("/songs/{adas}")), ("PATCH", list.clone()), ("DELETE", format!("{list}/songs/1"))]
    {
        let body = json!({ "name": "Bob's" });
        assert_eq!(node.json_as(&bob, method, &path, &body).await.0, StatusCode::NOT_FOUND, "{method} {path}");
    }
    assert_eq!(ids(&get(&node, &bob, "/songs/").await), [open]);
    assert_eq!(node.json_as(&bob, "PUT", &format!("/songs/{adas}/favourite"), &Value::Null).await.0, StatusCode::OK);
    assert_eq!(ids(&get(&node, &bob, "/songs/?favourite=true").await), [adas]);
    // Anonymous callers see playlists for everybody.
    assert_eq!(get(&node, "", "/playlists").await["playlists"], json!([]));
    assert_eq!(
        node.json_as(&ada, "POST", &format!("{list}/shares"), &json!({ "everybody": true })).await.0,
        StatusCode::OK
    );
    assert_eq!(entries("", "").await.0, [(3, open), (1, adas)]);
    for with in ["everybody", "3"] {
        let path = format!("{list}/shares/{with}");
        assert_eq!(node.json_as(&ada, "DELETE", &path, &Value::Null).await.0, StatusCode::OK, "{with}");
    }
    for who in ["", bob.as_str()] {
        assert_eq!(node.json_as(who, "GET", &list, &Value::Null).await.0, StatusCode::NOT_FOUND);
        assert_eq!(node.json_as(who, "GET", &format!("/songs/{adas}"), &Value::Null).await.0, StatusCode::NOT_FOUND);
    }
    assert_eq!(ids(&get(&node, &bob, "/songs/?favourite=true").await), [0u64; 0]);
    // A deleted song is removed from the playlist.
    assert_eq!(node.json_as(&ada, "DELETE", &format!("/songs/{adas}"), &Value::Null).await.0, StatusCode::OK);
    assert_eq!(entries(&ada, "").await.0, [(3, open), (2, roots)]);
    assert_eq!(
        node.json_as(&ada, "PATCH", &list, &json!({ "name": "Rest" })).await.1["data"]["playlist"]["name"],
        "Rest"
    );
    assert_eq!(node.json_as(&root, "DELETE", &list, &Value::Null).await.0, StatusCode::OK);
    assert_eq!(get(&node, &ada, "/playlists").await["playlists"], json!([]));
}

#[tokio::test(flavor = "multi_thread")]
async fn plays_are_counted_and_sorted_by_time() {
    let node = Node::start().await;
    let ada = person(&node, "Ada").await;
    let (one, two) = (song(&node, "", 0, &json!({})).await, song(&node, "", 1, &json!({})).await);
    let play = async |who: &str, id: u64| node.json_as(who, "POST", &format!("/songs/{id}/plays"), &Value::Null).await;
    for (who, id, plays) in [("", one, 1), (&ada, two, 1), (&ada, one, 2), ("", one, 3)] {
        let (status, body) = play(who, id).await;
        assert_eq!((status, &body["data"]["song"]["plays"]), (StatusCode::OK, &json!(plays)), "{body}");
        assert_eq!(body["data"]["song"]["last_played_at"].is_null(), who.is_empty());
        // Plays are ordered by milliseconds.
        let played = std::time::SystemTime::now();
        while played.elapsed().unwrap_or_default() < std::time::Duration::from_millis(2) {
            tokio::task::yield_now().await;
        }
    }
    assert_eq!(ids(&get(&node, &ada, "/songs/?sort=-played").await), [one, two]);
    assert_eq!(play(&ada, two).await.0, StatusCode::OK);
    assert_eq!(ids(&get(&node, &ada, "/songs/?sort=-played").await), [two, one]);
    assert_eq!(pages(&node, &ada, "/songs/?sort=played", 1).await, [one, two]);
    assert_eq!(ids(&get(&node, "", "/songs/?sort=-plays").await), [one, two]);
    let favourite = format!("/songs/{one}/favourite");
    for (method, expected) in [("PUT", vec![one]), ("PUT", vec![one]), ("DELETE", vec![]), ("DELETE", vec![])] {
        let (status, body) = node.json_as(&ada, method, &favourite, &Value::Null).await;
        assert_eq!((status, body["data"]["song"]["favourite"] == true), (StatusCode::OK, method == "PUT"));
        assert_eq!(ids(&get(&node, &ada, "/songs/?favourite=true").await), expected);
    }
    // 60 plays a minute per listener. If a minute ends during the requests, up to 120 are counted.
    let plays = futures_util::future::join_all((0..130).map(|_| play("", two))).await;
    let of = |status: StatusCode| plays.iter().filter(|(found, _)| *found == status).count();
    let (counted, refused) = (of(StatusCode::OK), of(StatusCode::TOO_MANY_REQUESTS));
    assert_eq!(counted + refused, 130);
    assert!((58..=120).contains(&counted), "{counted} plays were counted");
    assert_eq!(play(&ada, two).await.0, StatusCode::OK);
}

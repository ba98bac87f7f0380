//! Title, artist, album and cover from the tags of a file.

#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used)]

mod harness;

use std::process::Command;

use harness::{Cluster, permits, song};
use reqwest::multipart::{Form, Part};

#[tokio::test]
async fn title_and_cover_come_from_the_file() {
    let _permit = permits(1).await;
    let cluster = Cluster::start(3, None, "").await;
    let folder = tempfile::tempdir().unwrap();
    let (picture, tagged) = (folder.path().join("cover.png"), folder.path().join("tagged.mp3"));
    let ffmpeg = |words: &[&str]| {
        assert!(Command::new("ffmpeg").args(["-v", "error"]).args(words).status().unwrap().success());
    };
    ffmpeg(&["-f", "lavfi", "-i", "color=c=orange:s=64x64", "-frames:v", "1", picture.to_str().unwrap()]);
    let wav = song(3, 40);
    let inputs = ["-i", wav.to_str().unwrap(), "-i", picture.to_str().unwrap()];
    let tags = ["-metadata", "title=Blue Morning", "-metadata", "artist=The Testers", "-metadata", "album=First Light"];
    let shape = ["-map", "0", "-map", "1", "-c:v", "copy", "-disposition:v", "attached_pic"];
    ffmpeg(&[&inputs[..], &shape, &tags, &[tagged.to_str().unwrap()]].concat());

    let bytes = std::fs::read(&tagged).unwrap();
    let form = Form::new().part("file", Part::bytes(bytes).file_name("01.mp3"));
    let answer = cluster.client.post(cluster.url(0, "/songs/upload")).multipart(form).send().await.unwrap();
    let answer: serde_json::Value = answer.json().await.unwrap();
    let made = &answer["data"]["song"];
    for (field, expected) in [("title", "Blue Morning"), ("artist", "The Testers"), ("album", "First Light")] {
        assert_eq!(made[field], expected, "{answer}");
    }
    let cover = cluster.get(2, made["cover"].as_str().unwrap()).await.unwrap();
    assert_eq!(cover.headers()["content-type"], "image/png");
    assert_eq!(cover.bytes().await.unwrap(), std::fs::read(&picture).unwrap());

    // A given title overrides that of the file. The stems have the other tags.
    let (status, answer) = cluster.try_upload(1, "Mine", std::fs::read(&tagged).unwrap(), "01.mp3").await;
    assert!(status.is_success());
    assert_eq!(answer["data"]["song"]["title"], "Mine");
    cluster.wait_until_split(1, &answer["data"]["song"]).await;
    let stem = folder.path().join("stem.mp3");
    std::fs::write(&stem, cluster.download(1, made, "drums.mp3").await).unwrap();
    let (tags, _) = audio::sandbox::Sandbox::none().tags_of(&stem).unwrap();
    assert_eq!(tags.title.as_deref(), Some("Blue Morning (drums)"));
    assert_eq!(tags.artist.as_deref(), Some("The Testers"));

    // A file without a picture has no cover.
    let plain = cluster.upload(0, "Plain", &wav).await;
    assert!(plain["cover"].is_null() && plain["artist"].is_null());
    assert_eq!(cluster.get(0, &format!("/songs/{}/cover", plain["id"])).await.unwrap().status(), 404);
}

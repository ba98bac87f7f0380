//! Valid tags of every kind, and damaged ones.

#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used)]

use std::path::{Path, PathBuf};
use std::process::Command;

use audio::decode::DecodeError;
use audio::sandbox::Sandbox;
use audio::synth::compose;
use audio::tags::{Cover, MAX_COVER, MAX_TEXT, Tags};
use tempfile::TempDir;

const PNG: &[u8] = b"\x89PNG\r\n\x1a\n a picture";
const JPEG: &[u8] = b"\xff\xd8\xff\xe0 a picture";

struct Files(TempDir);

impl Files {
    fn new() -> Self {
        let files = Self(TempDir::new().unwrap());
        compose(17, 1.0).write(files.0.path()).unwrap();
        files
    }

    fn at(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// Makes `name` from `from` with ffmpeg's options; the first ones may name further inputs.
    fn convert(&self, from: &str, first: &str, then: &str, name: &str) -> PathBuf {
        let status = Command::new("ffmpeg")
            .args(["-v", "error", "-y", "-i"])
            .arg(self.at(from))
            .args(first.split_ascii_whitespace())
            .args(then.split_ascii_whitespace())
            .arg(self.at(name))
            .status()
            .expect("these tests need ffmpeg");
        assert!(status.success(), "ffmpeg cannot make {name}");
        self.at(name)
    }

    /// The bytes of a file without tags.
    fn bare(&self, options: &str, name: &str) -> Vec<u8> {
        let options = format!("-map_metadata -1 -fflags +bitexact {options}");
        std::fs::read(self.convert("song.wav", &options, "", name)).unwrap()
    }

    fn of(&self, bytes: &[u8]) -> Result<(Tags, Option<Cover>), DecodeError> {
        std::fs::write(self.at("made"), bytes).unwrap();
        Sandbox::none().tags_of(&self.at("made"))
    }

    fn tags(&self, bytes: &[u8]) -> Tags {
        self.of(bytes).unwrap().0
    }
}

fn read(path: &Path) -> (Tags, Option<Cover>) {
    Sandbox::none().tags_of(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn text(text: &str) -> Option<String> {
    Some(text.into())
}

fn texts(texts: &[&str]) -> Vec<String> {
    texts.iter().map(|text| (*text).into()).collect()
}

/// A number in four bytes of seven bits.
fn syncsafe(number: usize) -> [u8; 4] {
    [21, 14, 7, 0].map(|shift| (number >> shift & 0x7f) as u8)
}

/// An ID3v2 tag of a version with a flags byte.
fn id3(version: u8, flags: u8, frames: &[u8]) -> Vec<u8> {
    [b"ID3", &[version, 0, flags] as &[u8], &syncsafe(frames.len()), frames].concat()
}

/// A frame of ID3v2.2, 2.3 or 2.4 without flags.
fn frame(version: u8, id: &[u8], content: &[u8]) -> Vec<u8> {
    let plain = (content.len() as u32).to_be_bytes();
    match version {
        2 => [id, &plain[1..], content].concat(),
        3 => [id, &plain, &[0, 0], content].concat(),
        _ => [id, &syncsafe(content.len()), &[0, 0], content].concat(),
    }
}

/// An item of an APE tag.
fn item(name: &str, binary: bool, value: &[u8]) -> Vec<u8> {
    let head = [(value.len() as u32).to_le_bytes(), u32::to_le_bytes(if binary { 2 } else { 0 })];
    [&head.concat(), name.as_bytes(), &[0], value].concat()
}

/// An APE tag, optionally with a header.
fn ape(header: bool, items: &[Vec<u8>]) -> Vec<u8> {
    let content = items.concat();
    let end = |flags: u32| {
        let numbers = [2000, content.len() as u32 + 32, items.len() as u32, flags].map(u32::to_le_bytes);
        [b"APETAGEX", &numbers.concat() as &[u8], &[0; 8]].concat()
    };
    let has_header = u32::from(header) << 31;
    let front = if header { end(has_header | 1 << 29) } else { Vec::new() };
    [front, content.clone(), end(has_header)].concat()
}

/// An ID3v1.1 tag.
fn id3v1(title: &str, artist: &str, year: &str, track: u8, genre: u8) -> Vec<u8> {
    let padded = |text: &str, length: usize| {
        let mut bytes = text.as_bytes().to_vec();
        bytes.resize(length, 0);
        bytes
    };
    let comment = [&padded("comment", 28) as &[u8], &[0, track, genre]].concat();
    [b"TAG", &*padded(title, 30), &padded(artist, 30), &padded("", 30), &padded(year, 4), &comment].concat()
}

/// A RIFF chunk, with its padding.
fn chunk(id: &[u8; 4], content: &[u8]) -> Vec<u8> {
    let pad = vec![0; content.len() % 2];
    [id, &(content.len() as u32).to_le_bytes() as &[u8], content, &pad].concat()
}

/// An IFF chunk, with its padding.
fn iff_chunk(id: &[u8; 4], content: &[u8]) -> Vec<u8> {
    let pad = vec![0; content.len() % 2];
    [id, &(content.len() as u32).to_be_bytes() as &[u8], content, &pad].concat()
}

fn atom(kind: &[u8; 4], content: &[u8]) -> Vec<u8> {
    [&(content.len() as u32 + 8).to_be_bytes() as &[u8], kind, content].concat()
}

/// An item of an MP4 file with values of one type.
fn mp4_item(kind: &[u8; 4], value_type: u32, values: &[&[u8]]) -> Vec<u8> {
    let data = |value: &&[u8]| atom(b"data", &[&value_type.to_be_bytes() as &[u8], &[0; 4], value].concat());
    atom(kind, &values.iter().map(data).collect::<Vec<_>>().concat())
}

fn mp4(items: &[Vec<u8>]) -> Vec<u8> {
    let meta = [&[0u8; 4] as &[u8], &atom(b"hdlr", &[0; 25]), &atom(b"ilst", &items.concat())].concat();
    let movie = atom(b"moov", &atom(b"udta", &atom(b"meta", &meta)));
    [atom(b"ftyp", b"M4A \0\0\0\0"), movie].concat()
}

/// A FLAC block, optionally marked as the last.
fn block(kind: u8, last: bool, content: &[u8]) -> Vec<u8> {
    let size = (content.len() as u32).to_be_bytes();
    [&[kind | u8::from(last) << 7], &size[1..], content].concat()
}

fn flac_picture(kind: u32, bytes: &[u8]) -> Vec<u8> {
    let number = |number: usize| (number as u32).to_be_bytes();
    let head = [&kind.to_be_bytes() as &[u8], &number(9), b"image/png", &number(0), &[0; 16]].concat();
    [&head as &[u8], &number(bytes.len()), bytes].concat()
}

fn comments(comments: &[&[u8]]) -> Vec<u8> {
    let counted = |bytes: &[u8]| [&(bytes.len() as u32).to_le_bytes() as &[u8], bytes].concat();
    let list: Vec<u8> = comments.iter().flat_map(|comment| counted(comment)).collect();
    [counted(b"vendor"), (comments.len() as u32).to_le_bytes().to_vec(), list].concat()
}

#[test]
fn tags_and_covers_are_read_from_every_container() {
    let files = Files::new();
    files.convert("song.wav", "-filter_complex color=red:s=16x16:d=0.04 -frames:v 1", "", "cover.png");
    files.convert("cover.png", "-frames:v 1", "", "cover.jpg");
    let written = "-metadata title=Ein\u{a0}Lied -metadata artist=Sängerin -metadata album=Album -metadata track=3/12 \
                   -metadata date=1999-05-06 -metadata genre=Jazz";
    let wanted = Tags {
        title: text("Ein\u{a0}Lied"),
        artist: text("Sängerin"),
        album: text("Album"),
        track: text("3"),
        year: text("1999"),
        genre: text("Jazz"),
        ..Tags::default()
    };
    for (options, name, cover) in [
        ("-b:a 128k -id3v2_version 3", "3.mp3", "cover.jpg"),
        ("-b:a 128k -id3v2_version 4 -write_id3v1 1", "4.mp3", "cover.png"),
        ("-c:a flac", "tagged.flac", "cover.png"),
        ("-c:a aac -b:a 96k", "tagged.m4a", "cover.jpg"),
        ("-c:a libvorbis", "tagged.ogg", ""),
        ("-c:a libopus", "tagged.opus", ""),
        ("-c:a flac", "flac.ogg", ""),
        ("-c:a libopus", "tagged.webm", ""),
        ("-c:a flac", "tagged.mka", ""),
        ("-c:a pcm_s16be", "tagged.caf", ""),
        ("-c:a pcm_s16le", "tagged.wav", ""),
        ("-c:a pcm_s16be -write_id3v2 1", "tagged.aiff", ""),
    ] {
        let with_cover = format!(
            "-i {} -map 0:a -map 1:v -c:v copy -disposition:v attached_pic {options}",
            files.at(cover).display()
        );
        let options = if cover.is_empty() { options } else { &with_cover };
        let (tags, found) = read(&files.convert("song.wav", options, written, name));
        assert_eq!(tags, wanted, "{name}");
        match (found, cover) {
            (found, "") => assert_eq!(found, None, "{name}"),
            (found, cover) => {
                let found = found.unwrap_or_else(|| panic!("{name} has no cover"));
                assert!(found.bytes == std::fs::read(files.at(cover)).unwrap(), "{name}: another picture");
                let mime = if cover == "cover.png" { "image/png" } else { "image/jpeg" };
                assert_eq!(found.mime, mime, "{name}");
            }
        }
    }
    let attached = format!("-attach {} -metadata:s:t mimetype=image/jpeg -c:a flac", files.at("cover.jpg").display());
    let (_, cover) = read(&files.convert("song.wav", &attached, "", "cover.mka"));
    assert_eq!(cover.map(|cover| cover.mime), Some("image/jpeg"));
    // QuickTime has its own texts.
    let (tags, _) = read(&files.convert("song.wav", "-c:a aac", written, "tagged.mov"));
    assert_eq!((tags.title, tags.artist, tags.year), (wanted.title, wanted.artist, wanted.year));

    for (options, written, name, bpm, key) in [
        ("-b:a 128k -id3v2_version 3", "-metadata TBPM=127.5 -metadata TKEY=Gbm", "3-timed.mp3", 12_750, true),
        ("-b:a 128k -id3v2_version 4", "-metadata TBPM=128 -metadata TKEY=F#m", "4-timed.mp3", 12_800, true),
        ("-c:a pcm_s16be -write_id3v2 1", "-metadata TBPM=96 -metadata TKEY=F#m", "timed.aiff", 9_600, true),
        ("-c:a flac", "-metadata BPM=127.5 -metadata INITIALKEY=11A", "timed.flac", 12_750, true),
        ("-c:a libvorbis", "-metadata bpm=90 -metadata initialkey=f#min", "timed.ogg", 9_000, true),
        ("-c:a libopus", "-metadata bpm=90 -metadata initial_key=f#min", "timed.mka", 9_000, true),
        ("-c:a aac -b:a 96k", "-metadata tmpo=127", "timed.m4a", 12_700, false),
    ] {
        let (tags, _) = read(&files.convert("song.wav", options, written, name));
        assert_eq!(tags.bpm, Some(bpm), "{name}");
        assert_eq!(tags.key, key.then(|| "F# minor".parse().unwrap()), "{name}");
    }
    let lies = "-metadata TBPM=0 -metadata TKEY=o";
    let path = files.convert("song.wav", "-b:a 128k -id3v2_version 4", lies, "lies.mp3");
    assert_eq!(read(&path), (Tags::default(), None));
}

#[test]
fn files_without_tags_have_none() {
    let files = Files::new();
    for (options, name) in
        [("-b:a 128k", "bare.mp3"), ("-c:a flac", "bare.flac"), ("-c:a libvorbis", "bare.ogg"), ("", "bare.wav")]
    {
        assert_eq!(files.of(&files.bare(options, name)).unwrap(), (Tags::default(), None), "{name}");
    }
    for bytes in [b"" as &[u8], b"ID3", b"TAG", &b"Only words here. ".repeat(5000), &[0; 1000], &[0xff; 1000]] {
        assert_eq!(files.of(bytes).unwrap(), (Tags::default(), None));
    }
}

#[test]
fn every_version_of_id3v2_is_read() {
    let files = Files::new();
    let wanted = Tags { title: text("Tïtel"), artist: text("Künstler"), track: text("4"), ..Tags::default() };
    for version in 2..=4u8 {
        let ids: [&[u8]; 4] =
            if version == 2 { [b"TT2", b"TP1", b"TRK", b"PIC"] } else { [b"TIT2", b"TPE1", b"TRCK", b"APIC"] };
        let front: &[u8] = if version == 2 { b"\0PNG\x03d\0" } else { b"\0image/png\0\x03d\0" };
        let back: &[u8] =
            if version == 2 { b"\x01JPG\x04\xff\xfed\0\0\0" } else { b"\x01image/jpeg\0\x04\xff\xfed\0\0\0" };
        let frames = [
            frame(version, ids[3], &[back, JPEG].concat()),
            frame(version, ids[0], b"\x01\xff\xfeT\0\xef\0t\0e\0l\0\0\0"),
            frame(version, ids[1], b"\0K\xfcnstler\0"),
            frame(version, ids[2], b"\x0304/12"),
            frame(version, ids[3], &[front, PNG].concat()),
            vec![0; 100],
        ]
        .concat();
        for sound in
            [files.bare("-b:a 96k", "bare.mp3"), files.bare("-c:a aac", "bare.aac"), files.bare("", "bare.flac")]
        {
            let (tags, cover) = files.of(&[id3(version, 0, &frames), sound].concat()).unwrap();
            assert_eq!(tags, wanted, "version {version}");
            assert_eq!(cover.unwrap().bytes, PNG, "version {version}");
        }
        // Zeros after each 0xff: in the whole tag before version 4, in every frame since.
        let unsynchronized = |bytes: &[u8]| {
            bytes.iter().flat_map(|byte| if *byte == 0xff { vec![0xff, 0] } else { vec![*byte] }).collect::<Vec<_>>()
        };
        let content = b"\x01\xff\xfeT\0\xef\0t\0e\0l\0";
        let title = if version == 4 {
            frame(4, ids[0], &unsynchronized(content))
        } else {
            unsynchronized(&frame(version, ids[0], content))
        };
        let jpeg = [front, JPEG].concat();
        let picture = if version == 4 {
            frame(4, ids[3], &unsynchronized(&jpeg))
        } else {
            unsynchronized(&frame(version, ids[3], &jpeg))
        };
        let (tags, cover) = files.of(&id3(version, 0x80, &[picture, title].concat())).unwrap();
        assert_eq!(
            (tags.title, cover.map(|cover| cover.bytes)),
            (text("Tïtel"), Some(JPEG.into())),
            "version {version}"
        );
    }
    // Extended headers, one of them announced but missing.
    let title = frame(3, b"TIT2", b"\0A");
    for (version, header) in [(3, b"\0\0\0\x06\0\0\0\0\0\0" as &[u8]), (4, b"\0\0\0\x06\x01\0"), (3, b"")] {
        let tag = id3(version, 0x40, &[header, &title].concat());
        assert_eq!(files.tags(&tag).title, text("A"), "version {version}");
    }
    // Groups, data lengths, compression and encryption.
    let flagged = |version, flags: u8, content: &[u8]| {
        let mut frame = frame(version, b"TIT2", content);
        frame[9] = flags;
        files.tags(&id3(version, 0, &frame)).title
    };
    assert_eq!(flagged(3, 0x20, b"g\0A"), text("A"));
    assert_eq!(flagged(4, 0x41, b"g\0\0\0\x02\0A"), text("A"));
    assert_eq!(flagged(4, 0x03, b"\0\0\0\x05\x01\xff\0\xfeA\0"), text("A"));
    for (version, flags) in [(3, 0x80), (3, 0x40), (4, 0x08), (4, 0x04)] {
        assert_eq!(flagged(version, flags, b"\0A"), None);
    }
    // An unknown version, and a tag longer than the file.
    assert_eq!(files.tags(&id3(5, 0, &title)), Tags::default());
    let mut long = id3(3, 0, &title);
    long[7] = 1;
    assert_eq!(files.tags(&long).title, text("A"));
}

#[test]
fn plain_sizes_in_id3v2_4_are_read() {
    let files = Files::new();
    let plain = |id: &[u8], content: &[u8]| frame(3, id, content);
    let long = [b"\0" as &[u8], &[b'a'; 300]].concat();
    // Zeros in the picture at the place where it would end if its size were not plain.
    let picture = [b"\0image/png\0\x03\0" as &[u8], PNG, &[0; 1000]].concat();
    let frames = [plain(b"APIC", &picture), plain(b"TALB", &long), plain(b"TIT2", b"\0A"), vec![0; 50]].concat();
    let (tags, cover) = files.of(&id3(4, 0, &frames)).unwrap();
    assert_eq!((tags.title, tags.album), (text("A"), text(&"a".repeat(300))));
    assert_eq!(cover.unwrap().bytes.len(), PNG.len() + 1000);
    let frames = [frame(4, b"APIC", &picture), frame(4, b"TALB", &long), frame(4, b"TIT2", b"\0A")].concat();
    assert_eq!(files.tags(&id3(4, 0, &frames)).title, text("A"));
}

#[test]
fn several_values_are_kept() {
    let files = Files::new();
    let wanted = Tags {
        artist: text("Ann"),
        artists: texts(&["Ann", "Ben"]),
        genre: text("Rock"),
        genres: texts(&["Rock", "Blues"]),
        ..Tags::default()
    };
    let frames = [frame(4, b"TPE1", b"\x03Ann\0Ben"), frame(4, b"TCON", b"\x0317\0Blues\0")].concat();
    assert_eq!(files.tags(&id3(4, 0, &frames)), wanted);
    let utf16 = frame(4, b"TPE1", b"\x01\xff\xfeA\0n\0n\0\0\0\xff\xfeB\0e\0n\0");
    assert_eq!(files.tags(&id3(4, 0, &utf16)).artists, wanted.artists);

    let items = [item("Artist", false, b"Ann\0Ben"), item("GENRE", false, b"Rock\0Blues")];
    assert_eq!(files.tags(&ape(true, &items)), wanted);

    let list = comments(&[b"ARTIST=Ann", b"artist=Ben", b"Genre=Rock", b"GENRE=Blues"]);
    let bare = files.bare("", "bare.flac");
    let flac = [&b"fLaC"[..], &block(0, false, &bare[8..42]), &block(4, true, &list)].concat();
    assert_eq!(files.tags(&flac), wanted);

    let items = [
        mp4_item(b"\xa9ART", 1, &[b"Ann", b"Ben"]),
        mp4_item(b"gnre", 0, &[&[0, 18]]),
        mp4_item(b"\xa9gen", 1, &[b"Blues"]),
    ];
    assert_eq!(files.tags(&mp4(&items)), wanted);

    // Lists are one value.
    let list = frame(4, b"TPE1", b"\x03Ann; Ben / Cleo");
    let tags = files.tags(&id3(4, 0, &list));
    assert_eq!((tags.artist, tags.artists), (text("Ann; Ben / Cleo"), Vec::new()));
}

#[test]
fn the_album_artist_replaces_a_missing_artist() {
    let files = Files::new();
    let album = frame(3, b"TPE2", b"\0Various");
    assert_eq!(files.tags(&id3(3, 0, &album)).artist, text("Various"));
    let both = [album.clone(), frame(3, b"TPE1", b"\0Ann")].concat();
    assert_eq!(files.tags(&id3(3, 0, &both)).artist, text("Ann"));
    let empty = [album, frame(3, b"TPE1", b"\x01\xff\xfe\x0b\x20 \0")].concat();
    assert_eq!(files.tags(&id3(3, 0, &empty)).artist, text("Various"));
    assert_eq!(files.tags(&mp4(&[mp4_item(b"aART", 1, &[b"Various"])])).artist, text("Various"));
    assert_eq!(files.tags(&ape(false, &[item("Album Artist", false, b"Various")])).artist, text("Various"));
}

#[test]
fn the_tag_nearest_to_the_sound_has_priority() {
    let files = Files::new();
    let sound = files.bare("-b:a 96k", "bare.mp3");
    let far = id3(3, 0, &[frame(3, b"TIT2", b"\0Far"), frame(3, b"TALB", b"\0Far album")].concat());
    let near = id3(4, 0, &frame(4, b"TIT2", b"\0Near"));
    let picture = item("Cover Art (Front)", true, &[b"cover.png\0", PNG].concat());
    let items = [item("Title", false, b"Ape"), item("Artist", false, b"Ape artist"), picture];
    let old = id3v1("Old", "Old artist", "1990", 7, 17);
    for header in [true, false] {
        let file = [&*far, &near, &sound, &ape(header, &items), &old].concat();
        let (tags, cover) = files.of(&file).unwrap();
        let wanted = Tags {
            title: text("Near"),
            artist: text("Ape artist"),
            album: text("Far album"),
            track: text("7"),
            year: text("1990"),
            genre: text("Rock"),
            ..Tags::default()
        };
        assert_eq!(tags, wanted);
        assert_eq!(cover.unwrap().bytes, PNG);
    }
    // Lyrics between APE and ID3v1, and an APE tag before the sound.
    let lyrics = b"LYRICSBEGIN some lyrics000023LYRICS200";
    let file = [&sound, &*ape(false, &items), lyrics, &old].concat();
    assert_eq!(files.tags(&file).title, text("Ape"));
    assert_eq!(files.tags(&[&ape(true, &items), &*sound].concat()).title, text("Ape"));
    // In FLAC files, comments are nearest.
    let bare = files.bare("", "bare.flac");
    let list = block(4, true, &comments(&[b"TITLE=Comment"]));
    let flac = [&*far, b"fLaC", &block(0, false, &bare[8..42]), &list, &old].concat();
    let tags = files.tags(&flac);
    assert_eq!((tags.title, tags.album, tags.year), (text("Comment"), text("Far album"), text("1990")));
}

#[test]
fn wav_and_aiff_have_texts_and_id3_tags() {
    let files = Files::new();
    let wav = files.bare("", "bare.wav");
    let info = |artist: &[u8]| {
        let list = [b"INFO" as &[u8], &chunk(b"INAM", b"Odd\0"), &chunk(b"IART", artist), &chunk(b"ITRK", b"03/9\0")];
        chunk(b"LIST", &list.concat())
    };
    // Windows-1252 as Windows writes it, UTF-8 as ffmpeg does.
    for artist in [b"K\xfcnstler\0" as &[u8], "Künstler\0junk".as_bytes()] {
        let tags = files.tags(&[&*wav, &info(artist)].concat());
        assert_eq!((tags.title, tags.artist, tags.track), (text("Odd"), text("Künstler"), text("3")));
    }
    let tag =
        id3(4, 0, &[frame(4, b"TPE1", b"\x03Ann\0Ben"), frame(4, b"APIC", &[b"\0\0\x03\0", PNG].concat())].concat());
    for id in [b"id3 ", b"ID3 "] {
        let (tags, cover) = files.of(&[&*wav, &info(b"Other"), &chunk(id, &tag)].concat()).unwrap();
        assert_eq!((tags.title, tags.artists), (text("Odd"), texts(&["Ann", "Ben"])));
        assert_eq!(cover.unwrap().bytes, PNG);
        let aiff = files.bare("", "bare.aiff");
        let texts_of_aiff = [iff_chunk(b"NAME", b"Odd"), iff_chunk(b"AUTH", b"K\xfcnstler")].concat();
        let tags = files.tags(&[&*aiff, &texts_of_aiff].concat());
        assert_eq!((tags.title, tags.artist), (text("Odd"), text("Künstler")));
        let tags = files.tags(&[&*aiff, &texts_of_aiff, &iff_chunk(id, &tag)].concat());
        assert_eq!((tags.title, tags.artists), (text("Odd"), texts(&["Ann", "Ben"])));
    }
}

#[test]
fn mp4_items_are_read() {
    let files = Files::new();
    let free = |name: &[u8], value: &[u8]| {
        let data = atom(b"data", &[&[0u8, 0, 0, 1, 0, 0, 0, 0] as &[u8], value].concat());
        let mean = atom(b"mean", b"\0\0\0\0com.apple.iTunes");
        atom(b"----", &[mean, atom(b"name", &[b"\0\0\0\0", name].concat()), data].concat())
    };
    let items = [
        mp4_item(b"covr", 14, &[PNG, JPEG]),
        mp4_item(b"\xa9nam", 2, &[b"\0O\0d\0d"]),
        mp4_item(b"trkn", 0, &[&[0, 0, 0, 3, 0, 9, 0, 0]]),
        mp4_item(b"\xa9day", 1, &[b"2001-02-03T00:00:00Z"]),
        mp4_item(b"tmpo", 21, &[&[0, 128]]),
        mp4_item(b"gnre", 0, &[&[0, 9]]),
        free(b"initialkey", b"11A"),
        free(b"STEM", b"bass"),
        free(b"comment", b"no"),
    ];
    let (tags, cover) = files.of(&mp4(&items)).unwrap();
    let wanted = Tags {
        title: text("Odd"),
        track: text("3"),
        year: text("2001"),
        genre: text("Jazz"),
        bpm: Some(12_800),
        key: "F# minor".parse().ok(),
        stem: text("bass"),
        ..Tags::default()
    };
    assert_eq!(tags, wanted);
    assert_eq!(cover.unwrap().bytes, PNG);
}

#[test]
fn pictures_in_comments_are_read_and_damaged_ones_ignored() {
    let files = Files::new();
    let bare = files.bare("", "bare.flac");
    let of = |blocks: &[Vec<u8>]| {
        let list = block(4, true, &comments(&[b"TITLE=A"]));
        let flac = [b"fLaC", &*block(0, false, &bare[8..42]), &blocks.concat(), &list].concat();
        let (tags, cover) = files.of(&flac).unwrap();
        assert_eq!(tags.title, text("A"));
        cover.map(|cover| cover.bytes)
    };
    let picture = |kind, bytes: &[u8]| block(6, false, &flac_picture(kind, bytes));
    assert_eq!(of(&[picture(4, JPEG), picture(3, PNG)]), Some(PNG.into()));
    assert_eq!(of(&[picture(4, JPEG)]), Some(JPEG.into()));
    let mut damaged = flac_picture(3, PNG);
    damaged[4] = 0xff;
    let short = &flac_picture(3, PNG)[..20];
    assert_eq!(of(&[block(6, false, &damaged), block(6, false, short), block(6, false, b"")]), None);
    assert_eq!(of(&[block(6, false, &damaged), picture(4, JPEG)]), Some(JPEG.into()));
    assert_eq!(of(&[picture(3, b"<svg onload=alert(1)>")]), None);
    let mut large = PNG.to_vec();
    large.resize(MAX_COVER + 1, 0);
    assert_eq!(of(&[picture(3, &large), picture(4, JPEG)]), Some(JPEG.into()));

    // In Ogg the block is a comment in base64 across several pages; ffmpeg copies it there.
    files.convert("song.wav", "-filter_complex testsrc=s=256x256:d=0.04 -frames:v 1", "", "cover.png");
    let png = std::fs::read(files.at("cover.png")).unwrap();
    let mut noisy = png.clone();
    noisy.extend((0..150_000u32).map(|at| (at.wrapping_mul(2_654_435_761) >> 24) as u8));
    let comment = format!("METADATA_BLOCK_PICTURE={}", base64(&flac_picture(3, &noisy)));
    let list = comments(&[b"TITLE=A", comment.as_bytes(), b"ARTIST=B"]);
    for (magic, codec) in [(b"\x03vorbis" as &[u8], b"\x01vorbis" as &[u8]), (b"OpusTags", b"OpusHead")] {
        let head = [codec, &[0; 20]].concat();
        let file = [ogg(2, &head), ogg(0, &[magic, &list].concat())].concat();
        let (tags, cover) = files.of(&file).unwrap();
        assert_eq!((tags.title, tags.artist), (text("A"), text("B")));
        assert!(cover.unwrap().bytes == noisy);
    }
}

/// The pages of one packet of an Ogg stream, without checksums.
fn ogg(flags: u8, packet: &[u8]) -> Vec<u8> {
    let mut lengths = vec![255; packet.len() / 255];
    lengths.push((packet.len() % 255) as u8);
    let (mut pages, mut rest) = (Vec::new(), packet);
    for lengths in lengths.chunks(255) {
        let (body, behind) = rest.split_at(lengths.iter().map(|length| usize::from(*length)).sum());
        rest = behind;
        pages.extend([b"OggS\0" as &[u8], &[flags], &[0; 20], &[lengths.len() as u8], lengths, body].concat());
    }
    pages
}

fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let group = |group: &[u8]| {
        let number = group.iter().chain(&[0; 2]).take(3).fold(0, |number, byte| number << 8 | usize::from(*byte));
        let digit = |at: usize| if at <= group.len() { DIGITS[number >> (18 - 6 * at) & 63] as char } else { '=' };
        [0, 1, 2, 3].map(digit)
    };
    bytes.chunks(3).flat_map(group).collect()
}

#[test]
fn texts_are_cleaned_before_one_is_chosen() {
    let files = Files::new();
    let frames =
        [frame(3, b"TIT2", b"\0 A\x01\tB\r\n"), frame(3, b"TALB", &[b"\0" as &[u8], &[b'x'; 70_000]].concat())];
    let tags = files.tags(&id3(3, 0, &frames.concat()));
    assert_eq!((tags.title, tags.album.map(|album| album.len())), (text("A B"), Some(MAX_TEXT)));
    // A title without visible characters is ignored; the next tag's title is used.
    let blank = id3(3, 0, &frame(3, b"TIT2", b"\x01\xff\xfe\x0b\x20\0\0"));
    let file = [&*blank, &[0xff, 0xfb, 0x90, 0], &id3v1("Old", "", "", 0, 255)].concat();
    assert_eq!(files.tags(&file), Tags { title: text("Old"), ..Tags::default() });
}

#[test]
fn harmful_id3_tags_are_refused_in_words() {
    let files = Files::new();
    let chapter = |inside: &[u8]| frame(3, b"CHAP", &[b"c\0" as &[u8], &[0; 16], inside].concat());
    let table =
        |id: &str, child: &str| frame(3, b"CTOC", &[id.as_bytes(), b"\0\x01\x01", child.as_bytes(), b"\0"].concat());
    let title = frame(3, b"TIT2", b"\0A");
    // A podcast: a table of contents and hundreds of chapters with titles and pictures.
    let picture = frame(3, b"APIC", &[b"\0image/png\0\0\0", PNG].concat());
    let podcast = [table("t", "c"), chapter(&[&*title, &picture].concat()).repeat(900), title.clone()].concat();
    let (tags, cover) = files.of(&id3(3, 0, &podcast)).unwrap();
    assert_eq!((tags.title, cover), (text("A"), None));

    let chain = |count: usize| (0..count).flat_map(|at| table(&format!("{at:x}"), &format!("{:x}", at + 1))).collect();
    let nested = (0..3000).fold(Vec::new(), |inside: Vec<u8>, _| chapter(&inside));
    let wav = files.bare("", "bare.wav");
    let aiff = files.bare("", "bare.aiff");
    for (frames, reason) in [
        (chain(5000), "chapters"),
        (chain(1090), "chapters"),
        (nested, "chapters within chapters"),
        (chapter(&table("t", "c")), "chapters within chapters"),
        (chapter(&[]).repeat(2001), "chapters"),
        (frame(3, b"TXXX", b"\0\0").repeat(10_001), "10000 frames"),
        (chapter(&title.repeat(20)).repeat(600), "10000 frames"),
    ] {
        let tag = id3(3, 0, &[frames, title.clone()].concat());
        for file in [&tag, &[&*wav, &chunk(b"id3 ", &tag)].concat(), &[&*aiff, &iff_chunk(b"ID3 ", &tag)].concat()] {
            match files.of(file) {
                Err(error @ DecodeError::Tag(_)) => {
                    let words = error.to_string();
                    assert!(words.contains(reason) && words.contains("tag editor"), "{words}");
                }
                other => panic!("{reason}: {other:?}"),
            }
        }
    }
}

#[test]
fn damaged_tags_cause_no_panic() {
    let files = Files::new();
    let written = "-metadata title=A -metadata artist=B -metadata genre=Jazz -metadata track=3";
    let mut state = 7u64;
    let mut random = |below: usize| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as usize % below
    };
    for (options, name) in [
        ("-b:a 32k -id3v2_version 3 -write_id3v1 1", "3.mp3"),
        ("-b:a 32k -id3v2_version 4 -write_apetag 1", "4.mp3"),
        ("-c:a flac", "a.flac"),
        ("-c:a aac -b:a 32k -movflags +faststart", "a.m4a"),
        ("-c:a libvorbis", "a.ogg"),
        ("-c:a libopus -b:a 16k", "a.webm"),
        ("-c:a pcm_u8", "a.wav"),
        ("-c:a pcm_s16be -write_id3v2 1", "a.aiff"),
        ("-c:a pcm_s8", "a.caf"),
    ] {
        let whole = std::fs::read(files.convert("song.wav", options, written, name)).unwrap();
        for _ in 0..300 {
            let mut bytes = whole.clone();
            // Tags are at the beginning or the end.
            for _ in 0..=random(4) {
                let from = random(600.min(bytes.len()));
                let at = if random(2) == 0 { from } else { bytes.len() - 1 - from };
                bytes[at] = [0, 0xff, 0x7f, random(256) as u8][random(4)];
            }
            if random(4) == 0 {
                bytes.truncate(random(whole.len()));
            }
            match files.of(&bytes) {
                Ok(_) | Err(DecodeError::Tag(_)) => {}
                Err(error) => panic!("{name}: {error}"),
            }
        }
    }
}

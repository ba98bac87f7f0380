//! Reads the tags of any file.

#![no_main]

use audio::tags::{MAX_COVER, MAX_TEXT, tags_of};
use audio_fuzz::{checksums, input};
use libfuzzer_sys::{fuzz_mutator, fuzz_target, fuzzer_mutate};

fuzz_mutator!(|data: &mut [u8], size: usize, max_size: usize, _seed: u32| {
    let size = fuzzer_mutate(data, size, max_size);
    checksums::mend_ogg(&mut data[..size]);
    size
});

fuzz_target!(init: input::choose_panics(), |bytes: &[u8]| {
    input::as_file(bytes, |file| {
        let Ok((tags, cover)) = tags_of(file) else { return };
        let single = [&tags.title, &tags.artist, &tags.album, &tags.genre].into_iter().flatten();
        for text in single.chain(&tags.artists) {
            assert!(text.len() <= MAX_TEXT && !text.chars().any(char::is_control), "{text:?}");
        }
        assert!(cover.is_none_or(|cover| cover.bytes.len() <= MAX_COVER));
    });
});

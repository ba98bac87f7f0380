//! Decodes any file to its end, like an upload.

#![no_main]

use audio::decode::{Limits, probe};
use audio_fuzz::{checksums, input};
use libfuzzer_sys::{fuzz_mutator, fuzz_target, fuzzer_mutate};

/// A few bytes can mean hours of silence; after a minute the code paths repeat.
const LIMITS: Limits = Limits { max_seconds: 60 };

fuzz_mutator!(|data: &mut [u8], size: usize, max_size: usize, _seed: u32| {
    let size = fuzzer_mutate(data, size, max_size);
    checksums::mend_ogg(&mut data[..size]);
    size
});

fuzz_target!(init: input::choose_panics(), |bytes: &[u8]| {
    input::as_file(bytes, |file| {
        let _ = probe(file, &LIMITS);
    });
});

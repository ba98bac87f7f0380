//! Reads the archive of a song's stems from an external worker.

#![no_main]

#[path = "../../../../web/src/files/archive/entries.rs"]
mod entries;

use std::pin::pin;
use std::task::{Context, Poll, Waker};

use audio_fuzz::{checksums, input};
use libfuzzer_sys::{fuzz_mutator, fuzz_target, fuzzer_mutate};

/// The limit on a stem, smaller than the largest input, so that inputs can exceed it.
const MOST: u64 = 5_000;

fuzz_mutator!(|data: &mut [u8], size: usize, max_size: usize, _seed: u32| {
    let size = fuzzer_mutate(data, size, max_size);
    checksums::mend_tar(&mut data[..size]);
    size
});

fuzz_target!(init: input::choose_panics(), |bytes: &[u8]| {
    let names = ["bass".to_owned(), "drums".to_owned()];
    // Bytes in memory are always ready, so no runtime is needed.
    let mut reading = pin!(received(bytes, &names));
    let Poll::Ready(read) = reading.as_mut().poll(&mut Context::from_waker(Waker::noop())) else {
        panic!("reading from memory has to wait");
    };
    if let Ok(read) = read {
        assert_eq!(read.len(), names.len(), "{read:?}");
        assert!(read.iter().all(|(name, size)| names.contains(name) && *size <= MOST), "{read:?}");
    }
});

/// The names and sizes of the files, which are read in parts.
async fn received(bytes: &[u8], names: &[String]) -> Result<Vec<(String, u64)>, entries::EntryError> {
    let (mut files, mut gathered) = (Vec::new(), Vec::new());
    let mut archive = entries::Entries::new(bytes, names, MOST);
    while let Some(entry) = archive.next().await? {
        let mut size = 0;
        while size < entry.size {
            archive.read(&mut gathered, 1_000).await?;
            size += gathered.len() as u64;
        }
        files.push((entry.stem, size));
    }
    Ok(files)
}

//! Makes a decoder misbehave on demand, for tests, in the dev profile only.
//!
//! `FAILPOINTS=decode.child=return(abort)` in the environment of the child makes it abort before it reads the file.
//! [`reach`] has the other values.

use std::fs::File;
use std::io::{self, Write};

/// The name of the failpoint.
const STEP: &str = "decode.child";

/// Called when the process is confined and has not read the file.
pub(super) fn reach(samples: Option<&File>) {
    let wanted = std::env::var("FAILPOINTS").unwrap_or_default();
    let actions = wanted.split(';').filter_map(|part| part.split_once('=')).find(|(name, _)| name.trim() == STEP);
    let Some((_, actions)) = actions else { return };
    if fail::cfg(STEP, actions.trim()).is_err() {
        return;
    }
    fail::fail_point!(STEP, |word| misbehave(word.as_deref().unwrap_or_default(), samples));
}

#[allow(clippy::panic)]
fn misbehave(word: &str, samples: Option<&File>) {
    match word {
        "abort" => std::process::abort(),
        "allocate" => drop(std::hint::black_box(vec![1u8; 2 << 30])),
        "overflow" => drop(overflow(0)),
        "panic" => panic!("a decoder panics"),
        "spin" => loop {
            std::hint::spin_loop();
        },
        "sleep" => loop {
            std::thread::park();
        },
        "exit" => std::process::exit(0),
        "nonsense" => {
            let _ = io::stdout().write_all(b"invalid bytes, enough to be read as an answer");
            std::process::exit(0);
        }
        "flood" => loop {
            let _ = io::stdout().write_all(&[0; 1 << 16]);
        },
        "write" => {
            let zeros = vec![0; 1 << 20];
            while samples.is_some_and(|mut file| file.write_all(&zeros).is_ok()) {}
        }
        // Actions that reach out of the process.
        "reach" => {
            let tried = [
                std::net::TcpStream::connect("127.0.0.1:1").map(drop),
                std::net::UdpSocket::bind("127.0.0.1:0").map(drop),
                File::open("/etc/passwd").map(drop),
                File::create("reached").map(drop),
                std::fs::remove_file("reached"),
                std::process::Command::new("/bin/true").spawn().map(drop),
                std::thread::Builder::new().spawn(|| {}).map(drop),
                rustix::process::test_kill_process(rustix::process::Pid::INIT).map_err(io::Error::from),
            ];
            if !tried.iter().all(|tried| matches!(tried, Err(error) if error.kind() == io::ErrorKind::PermissionDenied))
            {
                std::process::abort();
            }
        }
        _ => std::process::exit(3),
    }
}

/// Uses more stack with each call.
fn overflow(depth: u64) -> u64 {
    let frame = std::hint::black_box([depth; 128]);
    if depth == u64::MAX { 0 } else { overflow(depth + 1) + frame[0] }
}

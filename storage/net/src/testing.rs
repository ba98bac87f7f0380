//! Endpoints on the loopback for tests.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;

use crate::{Peer, PeerConfig, Secret};

/// A cluster secret: `text` eight times. `text` must have at least four characters.
pub fn secret(text: &str) -> Secret {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("secret");
    std::fs::write(&path, text.repeat(8)).unwrap();
    Secret::read(&path).unwrap()
}

/// `count` endpoints of one cluster on free ports of the loopback. Their ids are 0, 1, and so on.
pub fn peers(count: u64) -> Vec<Peer> {
    let secret = secret("swordfish");
    let bind = |id| {
        let listen = "127.0.0.1:0".parse().unwrap();
        let secret = secret.clone();
        Peer::bind(PeerConfig { id, listen, members: BTreeMap::new(), secret, consensus_runtime: None }).unwrap()
    };
    let peers: Vec<Peer> = (0..count).map(bind).collect();
    for peer in &peers {
        for other in &peers {
            peer.set_address(other.id(), other.local_addr().unwrap().to_string());
        }
    }
    peers
}

//! Tests with the example file `cluster.toml`.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use work::settings::ExternalSettings;

use super::*;

const EXAMPLE: &str = include_str!("../../../cluster.toml");

fn load(text: &str, id: NodeId) -> Result<Configuration, String> {
    let path = Path::new("/etc/quartet/cluster.toml");
    parse(text, path).and_then(|file| Configuration::build(file, path, id)).map_err(|error| error.to_string())
}

#[test]
fn example_is_valid_and_has_the_defaults() {
    let read = load(EXAMPLE, 1).unwrap();
    assert_eq!(read.members.len(), 3);
    assert_eq!(read.me().data, Path::new("/etc/quartet/data/node-1"));
    let standalone = Configuration::standalone("x".into(), "127.0.0.1:8080".into(), None, None);
    assert_eq!(format!("{:?}", read.limits), format!("{:?}", standalone.limits));
    assert_eq!(format!("{:?}", read.workers), format!("{:?}", standalone.workers));
    assert_eq!(format!("{:?}", read.accounts), format!("{:?}", standalone.accounts));
    assert_eq!(format!("{:?}", read.http), format!("{:?}", standalone.http));
    assert_eq!(format!("{:?}", read.consensus), format!("{:?}", standalone.consensus));
}

#[test]
fn unknown_keys_are_reported_with_their_line() {
    let line = EXAMPLE.lines().position(|line| line.starts_with("slots")).unwrap() + 1;
    let error = load(&EXAMPLE.replace("slots = 1 ", "slotz = 1 "), 0).unwrap_err();
    assert!(error.contains("slotz") && error.contains(&format!("line {line}")), "{error}");
}

#[test]
fn slots_of_demonstrations_are_counted() {
    let plain = load(EXAMPLE, 0).unwrap().workers;
    assert_eq!((plain.healthy_slots(), plain.all_slots()), (1, 1));
    let with = EXAMPLE.replace("slots = 1 ", "healthy = 2\nunhealthy = 3\ncrash_after = 7\nslots = 1 ");
    let shown = load(&with, 0).unwrap().workers;
    assert_eq!((shown.healthy_slots(), shown.all_slots(), shown.crash_after), (2, 5, 7));
}

#[test]
fn collect_unsafely_allows_a_short_grace_period() {
    let grace = |line: &str| load(&EXAMPLE.replace("collect_grace_seconds = 120", line), 0);
    assert_eq!(grace("collect_grace_seconds = 30").unwrap().collect_grace(), Duration::from_secs(30));
    assert!(grace("collect_grace_seconds = 1").is_err());
    assert_eq!(
        grace("collect_unsafely = true\ncollect_grace_seconds = 1").unwrap().collect_grace(),
        Duration::from_secs(1)
    );
}

#[test]
fn certificate_paths_are_relative_to_the_cluster_file() {
    let tls = EXAMPLE.replace("# [http.tls]", "[http.tls]").replace("# certificate =", "certificate =");
    let tls = load(&tls.replace("# key =", "key ="), 0).unwrap().http.tls.unwrap();
    assert_eq!(tls.certificate, Path::new("/etc/quartet/tls/certificate.pem"));
    assert_eq!(tls.key, Path::new("/etc/quartet/tls/key.pem"));
}

/// The example with its section `[outside]`, which is commented out there.
fn with_outside() -> String {
    let mut within = false;
    let lines = EXAMPLE.lines().map(|line| {
        within = line == "# [outside]" || (within && line.starts_with('#'));
        if within { line.trim_start_matches("# ") } else { line }
    });
    lines.collect::<Vec<_>>().join("\n")
}

#[test]
fn external_workers_are_off_by_default_and_documented() {
    assert!(load(EXAMPLE, 0).unwrap().external.is_none());
    let shown = load(&with_outside(), 0).unwrap().external.unwrap();
    assert_eq!(shown.token_sha256.len(), 1);
    let shown = ExternalSettings { token_sha256: Vec::new(), ..shown };
    assert_eq!(format!("{shown:?}"), format!("{:?}", ExternalSettings::default()));
    for (from, to, word) in [
        ("[broker]", "[broken]", "broken"),
        ("max_bytes = 16777216", "max_bytes = 0", "max_bytes"),
        ("patience_seconds = 600", "patience_seconds = 0", "patience_seconds"),
        ("queue = \"vocalizer_queue\"", "queue = \"\"", "queue"),
        ("token_sha256 = [", "token_sha256 = [] # [", "at least one token"),
        ("token_sha256 = [\"", "token_sha256 = [\"secret", "token_sha256"),
    ] {
        assert!(with_outside().contains(from), "{from}");
        let error = load(&with_outside().replace(from, to), 0).unwrap_err();
        assert!(error.contains(word), "{to}: {error}");
    }
    let without = with_outside().replace("[broker]\nurl", "#").replace("\nprefix =", "\n#");
    assert!(load(&without, 0).unwrap_err().contains("add the section [broker]"));
}

#[test]
fn path_of_the_brokers_ca_is_relative_to_the_cluster_file() {
    assert_eq!(load(EXAMPLE, 0).unwrap().broker.unwrap().ca, None);
    let broker = load(&EXAMPLE.replace("# ca =", "ca ="), 0).unwrap().broker.unwrap();
    assert_eq!(broker.ca.unwrap(), Path::new("/etc/quartet/tls/authority.pem"));
}

#[test]
fn reset_exchange_has_the_prefix_of_the_cluster() {
    let mut broker = load(EXAMPLE, 0).unwrap().broker.unwrap();
    assert_eq!(broker.reset_exchange(), "reset");
    broker.prefix = "band".into();
    assert_eq!(broker.reset_exchange(), "band.reset");
}

#[test]
fn invalid_values_are_rejected() {
    for (from, to, word) in [
        ("id = 2", "id = 1", "listed twice"),
        ("127.0.0.1:8082", "127.0.0.1:8081", "use a different address"),
        ("127.0.0.1:7402", "127.0.0.1", "host:port"),
        ("max_attempts = 5", "max_attempts = 0", "at least 1"),
        ("slots = 1 ", "slots = 5000 ", "at most 1024"),
        ("task_floor_seconds = 300", "task_floor_seconds = 0", "at least 1"),
        ("collect_grace_seconds = 120", "collect_grace_seconds = 29", "at least 30"),
        ("scrub_days = 30 ", "scrub_days = 0 ", "above 0"),
        ("scrub_days = 30 ", "scrub_days = nan ", "above 0"),
        ("model = \"spectral\"", "model = \"../magic\"", "magic"),
        ("registration = \"open\"", "registration = \"sometimes\"", "sometimes"),
        ("trusted_proxies = []", "trusted_proxies = [\"proxy\"]", "10.0.0.0/8"),
        ("amqp://guest:guest@127.0.0.1:5672/%2f", "rabbit:5672", "broker.url: not an address of RabbitMQ"),
        ("election_max_ms = 350", "election_max_ms = 100", "election_max_ms above election_min_ms"),
    ] {
        let error = load(&EXAMPLE.replace(from, to), 0).unwrap_err();
        assert!(error.contains(word), "{to}: {error}");
    }
    assert!(load(EXAMPLE, 9).unwrap_err().contains("only 0, 1, 2"));
}

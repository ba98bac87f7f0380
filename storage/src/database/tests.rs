#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::fs::File;
use std::path::{Path, PathBuf};

use super::*;

#[test]
fn synced_writes_survive_reopening() {
    let folder = tempfile::tempdir().unwrap();
    {
        let database = Database::open(folder.path()).unwrap();
        let mut batch = Batch::new();
        for key in [1u8, 2, 3, 4] {
            batch.put(Table::Log, [key], [key * 10]);
        }
        batch.put(Table::Meta, b"a", b"b");
        database.write(batch).unwrap();
        let mut batch = Batch::new();
        batch.delete_range(Table::Log, [2], [4]);
        batch.delete(Table::Meta, b"a");
        database.write(batch).unwrap();
    }
    let database = Database::open(folder.path()).unwrap();
    assert_eq!(database.get(Table::Meta, b"a").unwrap(), None);
    let keys: Vec<_> = database.scan(Table::Log, &[0], &[9]).unwrap().map(|pair| pair.unwrap().0).collect();
    assert_eq!(keys, [[1], [4]]);
    assert_eq!(database.last(Table::Log, &[0], &[4]).unwrap(), Some((vec![1], vec![10])));
}

#[test]
fn recycled_log_files_lose_no_writes() {
    let folder = tempfile::tempdir().unwrap();
    let (original, copy) = (folder.path().join("original"), folder.path().join("copy"));
    let database = Database::open(&original).unwrap();
    let (value, fewest) = (vec![7; 1 << 20], 4 * (WAL_BYTES >> 20));
    let reused = || std::fs::read_to_string(original.join("LOG")).unwrap().contains("from recycle list");
    // A log file can be recycled once its entries are in tables, which takes a while on a busy machine.
    let mut count = 0u64;
    while count < fewest || !reused() {
        assert!(count < 16 * fewest, "no log file was recycled");
        for _ in 0..WAL_BYTES >> 22 {
            let mut batch = Batch::new();
            batch.put(Table::Log, count.to_be_bytes(), value.clone());
            database.write_unsynced(batch).unwrap();
            count += 1;
        }
    }
    let mut batch = Batch::new();
    batch.put(Table::Meta, b"last", b"written");
    database.write(batch).unwrap();
    // RocksDB must not create or delete files while the test copies them.
    database.0.rocks.wait_for_compact(&rocksdb::WaitForCompactOptions::default()).unwrap();
    database.0.rocks.disable_file_deletions().unwrap();
    // The files that a killed process would leave.
    std::fs::create_dir(&copy).unwrap();
    for file in std::fs::read_dir(&original).unwrap() {
        let file = file.unwrap();
        std::fs::copy(file.path(), copy.join(file.file_name())).unwrap();
    }
    let recovered = Database::open(&copy).unwrap();
    assert_eq!(recovered.get(Table::Meta, b"last").unwrap(), Some(b"written".to_vec()));
    let keys = recovered.scan(Table::Log, &[], &[255]).unwrap().filter(Result::is_ok).count() as u64;
    assert_eq!(keys, count);
}

/// The only file in the folder with this extension.
fn file(folder: &Path, extension: &str) -> PathBuf {
    let files = std::fs::read_dir(folder).unwrap().map(|file| file.unwrap().path());
    let mut found: Vec<_> = files.filter(|file| file.extension().is_some_and(|found| found == extension)).collect();
    assert_eq!(found.len(), 1, "{found:?}");
    found.remove(0)
}

fn put(database: &Database, key: u8) {
    let mut batch = Batch::new();
    batch.put(Table::Log, [key], vec![key; 1000]);
    database.write_unsynced(batch).unwrap();
}

#[test]
fn lost_synced_writes_are_detected_and_torn_unsynced_ones_are_not() {
    let folder = tempfile::tempdir().unwrap();
    let database = Database::open(folder.path()).unwrap();
    (1..=9).for_each(|key| put(&database, key));
    let mut vote = Batch::new();
    vote.put(Table::Meta, b"vote", b"7");
    database.write(vote).unwrap();
    put(&database, 10);
    drop(database);
    let log = file(folder.path(), "log");
    let bytes = std::fs::read(&log).unwrap();
    let reason = || match Database::open(folder.path()).err() {
        Some(DatabaseError::Damaged { reason, .. }) => reason,
        other => panic!("{other:?}"),
    };
    // RocksDB ignores everything after a flipped bit.
    let mut flipped = bytes.clone();
    flipped[bytes.len() / 2] ^= 1;
    std::fs::write(&log, &flipped).unwrap();
    assert!(reason().contains("write 10 was on disk"));
    // RocksDB has truncated its log now, and the database still does not open.
    reason();
    // Only the last write was not synced. A crash may tear it.
    let folder = tempfile::tempdir().unwrap();
    let database = Database::open(folder.path()).unwrap();
    put(&database, 1);
    database.sync().unwrap();
    put(&database, 2);
    drop(database);
    let log = file(folder.path(), "log");
    let torn = File::options().write(true).open(&log).unwrap();
    torn.set_len(torn.metadata().unwrap().len() - 1).unwrap();
    let database = Database::open(folder.path()).unwrap();
    assert!(database.get(Table::Log, &[1]).unwrap().is_some());
    assert_eq!(database.get(Table::Log, &[2]).unwrap(), None);
}

#[tokio::test]
async fn damaged_and_missing_table_files_are_detected() {
    let folder = tempfile::tempdir().unwrap();
    let database = Database::open(folder.path()).unwrap();
    (1..=9).for_each(|key| put(&database, key));
    drop(database);
    // Opening moves the contents of the log into a table file.
    drop(Database::open(folder.path()).unwrap());
    let table = file(folder.path(), "sst");
    let mut bytes = std::fs::read(&table).unwrap();
    bytes[20] ^= 1;
    std::fs::write(&table, &bytes).unwrap();
    let database = Database::open(folder.path()).unwrap();
    assert_eq!(database.damage(), None);
    assert!(matches!(database.get(Table::Log, &[1]), Err(DatabaseError::Read(_))));
    assert!(database.wait_for_damage().await.contains("mismatch"));
    drop(database);
    std::fs::remove_file(&table).unwrap();
    assert!(matches!(Database::open(folder.path()), Err(DatabaseError::Damaged { .. })));
}

#[test]
fn a_database_in_use_does_not_open_again() {
    let folder = tempfile::tempdir().unwrap();
    let _first = Database::open(folder.path()).unwrap();
    let error = Database::open(folder.path()).err().unwrap().to_string();
    assert!(error.contains("another node"), "{error}");
}

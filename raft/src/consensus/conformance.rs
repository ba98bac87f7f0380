//! openraft's own suite for stores, run on ours.

use openraft::testing::{StoreBuilder, Suite};
use storage::database::Database;
use tempfile::TempDir;

use super::log::Log;
use super::machine::Machine;
use super::{StorageError, Types};

struct Builder;

impl StoreBuilder<Types, Log, Machine, TempDir> for Builder {
    async fn build(&self) -> Result<(TempDir, Log, Machine), StorageError> {
        let folder = TempDir::new().unwrap();
        let database = Database::open(&folder.path().join("database")).unwrap();
        let log = Log::open(database.clone()).unwrap();
        let machine = Machine::open(database, log.flushed().clone(), folder.path().join("snapshots")).unwrap();
        Ok((folder, log, machine))
    }
}

#[test]
fn our_store_does_what_openraft_expects() {
    Suite::test_all(Builder).unwrap();
}

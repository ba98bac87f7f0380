//! openraft's conformance suite for stores, run on this log and state machine.

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
        let machine = Machine::open(database, log.flusher().clone(), folder.path().join("snapshots")).unwrap();
        Ok((folder, log, machine))
    }
}

#[test]
fn stores_pass_the_openraft_suite() {
    Suite::test_all(Builder).unwrap();
}

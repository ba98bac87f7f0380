//! The identity of this node's disk, and the record that the node left its cluster.
//!
//! The first start gives the disk a random name. The membership holds the name of each member's disk, so a replaced or
//! emptied disk is detected: a node without its old disk could vote twice in one term.

use net::NodeId;
use serde::{Deserialize, Serialize};
use storage::database::{Batch, Database, DatabaseError, Table};
use uuid::Uuid;

use crate::error::StartError;

const DISK: &[u8] = b"node/disk";
const LEFT: &[u8] = b"node/left";

#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
struct Disk {
    name: Uuid,
    node: NodeId,
}

/// Returns the name of this node's disk; creates and stores one if the disk has none.
pub(crate) fn open(database: &Database, node: NodeId) -> Result<Uuid, StartError> {
    if let Some(bytes) = database.get(Table::Meta, DISK)? {
        let disk: Disk = codec::decode(&bytes)?;
        if disk.node != node {
            return Err(StartError::AnothersDisk { node, owner: disk.node });
        }
        if database.get(Table::Meta, LEFT)?.is_some() {
            return Err(StartError::Left(node));
        }
        return Ok(disk.name);
    }
    let disk = Disk { name: Uuid::new_v4(), node };
    let mut batch = Batch::new();
    batch.put(Table::Meta, DISK, codec::encode(&disk)?);
    database.write(batch)?;
    Ok(disk.name)
}

/// Records that this node left its cluster: later starts fail with [`StartError::Left`].
pub(crate) fn mark_left(database: &Database) -> Result<(), DatabaseError> {
    let mut batch = Batch::new();
    batch.put(Table::Meta, LEFT, [1]);
    database.write(batch)
}

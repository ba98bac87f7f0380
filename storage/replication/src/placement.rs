//! Which nodes should hold a blob: rendezvous hashing (Thaler and Ravishankar, 1998).
//!
//! Every node ranks the members by a hash of blob and member, so all nodes compute the same order without agreement. A
//! member that joins or leaves moves only the blobs for which it ranks high.

use sha2::{Digest, Sha256};

use net::NodeId;
use storage::blobs::Hash;

/// The members in the order in which they should hold the blob.
pub(crate) fn order(hash: &Hash, members: &[NodeId]) -> Vec<NodeId> {
    let mut order = members.to_vec();
    order.sort_by_cached_key(|member| {
        let score: [u8; 32] =
            Sha256::new().chain_update(hash.as_bytes()).chain_update(member.to_be_bytes()).finalize().into();
        (score, *member)
    });
    order
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_nodes_compute_the_same_balanced_order() {
        let mut firsts = [0; 3];
        for blob in 0..300u32 {
            let hash = Hash::of(&blob.to_be_bytes());
            let ranked = order(&hash, &[0, 1, 2]);
            assert_eq!(ranked, order(&hash, &[2, 0, 1]));
            // Without the last member, the others keep their order.
            assert_eq!(ranked[..2], order(&hash, &ranked[..2])[..]);
            firsts[usize::try_from(ranked[0]).unwrap_or_default()] += 1;
        }
        assert!(firsts.iter().all(|count| *count > 60), "{firsts:?}");
    }
}

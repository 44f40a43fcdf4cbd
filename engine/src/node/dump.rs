//! Pages of what this node holds, for `lru_crawler metadump` and `mgdump`.
//!
//! A pure read between requests: whoever lists asks for page after page, and may take as long as it likes over each.
//! Must not know how a page is sent.

use memring_protocol::key::Partition;

use super::Node;
use crate::now::Now;
use crate::store::Listing;

/// Partitions that one page looks into: bounds the time of a page of a store that is nearly empty.
const DUMP_PARTITIONS_MAX: usize = 512;

/// Where a listing goes on; by default at its start.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct DumpCursor {
    partition: usize,
    token: u64,
}

impl Node {
    /// The next items of this node's whole store, other homes' copies included: about `items_max`, possibly none, and
    /// where to go on; `None` at the end. What is written meanwhile may be listed or not. No value is copied, and nothing is
    /// counted as read.
    pub fn dump(&self, now: Now, from: DumpCursor, items_max: usize) -> (Vec<Listing>, Option<DumpCursor>) {
        let (mut listings, mut token) = (Vec::new(), from.token);
        let end = from.partition + DUMP_PARTITIONS_MAX;
        for (index, partition) in Partition::all().enumerate().skip(from.partition) {
            let missing = items_max.saturating_sub(listings.len());
            if missing == 0 || index == end {
                return (listings, Some(DumpCursor { partition: index, token }));
            }
            let (page, next) = self.shared.store.list(now.cluster, partition, token, missing);
            listings.extend(page);
            if let Some(token) = next {
                return (listings, Some(DumpCursor { partition: index, token }));
            }
            token = 0;
        }
        (listings, None)
    }
}

//! The answer to `me`: what is known of an item.
//!
//! Must not know how the item was found (`meta`).

use memring_protocol::entry::{Marks, UnixMillis};
use memring_protocol::key::{KEY_BYTES_MAX, Key};
use memring_protocol::message::Fetched;
use memring_protocol::text::{Response, put_base64};

use super::meta::ttl;

/// `ME <key> exp= la= cas= fetch= cls= size=`
pub(super) fn debug_response(now: UnixMillis, key: &Key, fetched: &Fetched) -> Response {
    let Fetched { item, seen, .. } = fetched;
    let mut shown = Vec::with_capacity(KEY_BYTES_MAX);
    if item.marks.has(Marks::BINARY_KEY) {
        put_base64(key.as_bytes(), &mut shown);
    } else {
        shown.extend_from_slice(key.as_bytes());
    }
    let size = crate::store::item_size(key.len(), item.value.len());
    let facts = format!(
        " exp={} la={} cas={} fetch={} cls={} size={size}\r\n",
        ttl(item.expiry, now),
        seen.idle_s,
        item.cas,
        if seen.fetched { "yes" } else { "no" },
        crate::store::class_of(size),
    );
    Response::Text([b"ME ", &shown[..], facts.as_bytes()].concat().into())
}

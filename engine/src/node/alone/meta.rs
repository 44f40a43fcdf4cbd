//! Meta commands that this node answers alone and at once: mg of a plain item, ms as a set.
//!
//! Must not know what makes a read or a write its own: `alone` does.

use bytes::{BufMut, BytesMut};
use memring_protocol::entry::{Expiry, Marks};
use memring_protocol::key::KeyRef;
use memring_protocol::limits::COPIED_VALUE_BYTES_MAX;
use memring_protocol::text::{MetaCode, MetaFacts, MetaRequest, Response, VALUE_OVERHEAD, put_meta_line};

use super::{Answered, Moment, NewValue, Unset, Upshot};
use crate::node::Node;
use crate::node::meta_answers::ttl;
use crate::store::{ItemView, Look};

/// Flags of mg that may change the item, or ask for more than its copy here.
const RARE_GET_FLAGS: &[u8] = b"NRTCL";

/// Flags of ms that make it more than a set.
const RARE_SET_FLAGS: &[u8] = b"CEILN";

impl Node {
    pub(super) fn meta_get_alone(
        &self,
        moment: &Moment<'_>,
        request: &MetaRequest<'_>,
        key: KeyRef<'_>,
        out: &mut BytesMut,
    ) -> Option<Answered> {
        let now = moment.now;
        if request.has_any(RARE_GET_FLAGS) {
            return None;
        }
        let level = self.shared.read_level(moment.topology, key.as_bytes());
        if !self.shared.reads_alone(moment.topology, key, Some(level)) {
            return None;
        }
        let put = |item: &ItemView<'_>| {
            let (value_len, marks) = (item.value_len(), item.marks());
            // A stale item, or one whose lease is out, is for its serializer to serve.
            let is_plain = !marks.has(Marks::STALE) && !marks.has(Marks::WON);
            if value_len > COPIED_VALUE_BYTES_MAX || !is_plain {
                return None;
            }
            let seen = item.seen();
            let facts = MetaFacts {
                key: key.as_bytes(),
                binary_key: Some(marks.has(Marks::BINARY_KEY)),
                size: Some(value_len),
                ttl: Some(ttl(item.expiry(), now)),
                token: Some(item.cas()),
                flags: Some(item.flags()),
                idle: Some(seen.idle_s),
                fetched: Some(seen.fetched),
                ..MetaFacts::default()
            };
            if request.wants_value() {
                out.reserve(VALUE_OVERHEAD + 2 * key.len() + value_len);
                put_meta_line(MetaCode::Value(value_len), request, &facts, out);
                item.copy_value(out);
                out.put_slice(b"\r\n");
            } else {
                put_meta_line(MetaCode::Done, request, &facts, out);
            }
            Some(value_len)
        };
        match self.shared.store.look(now, key, !request.is_unnoticed(), put) {
            Look::Declined => None,
            Look::Found(value_len) => {
                self.count_reads(false, 1, 0);
                self.count_hit(false, key.len(), value_len);
                self.count_in_namespace(key.as_bytes(), true);
                Some(Answered { upshot: Upshot::Hit, level: Some(level) })
            }
            Look::Absent => {
                self.count_reads(false, 0, 1);
                self.count_in_namespace(key.as_bytes(), false);
                if !request.is_quiet() {
                    let facts = MetaFacts { key: key.as_bytes(), ..MetaFacts::default() };
                    put_meta_line(MetaCode::Miss, request, &facts, out);
                }
                Some(Answered { upshot: Upshot::Miss, level: Some(level) })
            }
        }
    }

    pub(super) fn meta_set_alone(
        &self,
        moment: &Moment<'_>,
        request: &MetaRequest<'_>,
        key: KeyRef<'_>,
        value: &[u8],
        out: &mut BytesMut,
    ) -> Option<Answered> {
        if request.has_any(RARE_SET_FLAGS) {
            return None;
        }
        let level = self.shared.write_level(moment.topology, key.as_bytes());
        let expiry = request.exptime().map_or(Expiry::NEVER, |exptime| Expiry::from_exptime(exptime, moment.now));
        let new = NewValue { value, flags: request.flags(), expiry };
        match self.put_alone(moment, key, level, &new) {
            Ok(_) if request.is_quiet() => {}
            Ok(token) => {
                let (size, token) = (Some(value.len()), Some(token));
                let facts = MetaFacts { key: key.as_bytes(), size, token, ..MetaFacts::default() };
                put_meta_line(MetaCode::Done, request, &facts, out);
            }
            Err(Unset::Declined) => return None,
            Err(Unset::Refused(error)) => {
                Response::Failed(error).encode(out);
                return Some(Answered { upshot: Upshot::Error, level: Some(level) });
            }
        }
        Some(Answered { upshot: Upshot::Hit, level: Some(level) })
    }
}

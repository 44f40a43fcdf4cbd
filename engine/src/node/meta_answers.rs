//! What meta commands answer: from what came of them to the facts of a line.
//!
//! Must not know how an item was found or changed (`meta`).

use bytes::Bytes;
use memring_protocol::entry::{Expiry, Marks, UnixMillis};
use memring_protocol::key::{KEY_BYTES_MAX, Key};
use memring_protocol::message::{Fetched, Mutation, Outcome};
use memring_protocol::text::{ErrorReply, MetaCode, MetaFacts, Response, meta_line, put_key_as_sent};

use super::meta::{Kind, MetaCall};

/// Whole seconds left, -1 for ever; 0 for what is past.
pub(super) fn ttl(expiry: Expiry, now: UnixMillis) -> i64 {
    expiry.seconds_left(now).map_or(-1, |left| left.max(0))
}

/// The answer to an mg that found an item.
pub(super) fn hit_response(now: UnixMillis, key: &Key, call: &MetaCall, fetched: Fetched) -> Response {
    let Fetched { item, seen, before, won, created } = fetched;
    let seen = call.seen.unwrap_or(seen);
    let facts = MetaFacts {
        key: key.as_bytes(),
        binary_key: Some(item.marks.has(Marks::BINARY_KEY)),
        size: Some(item.value.len()),
        ttl: Some(ttl(before, now)),
        ttl_touched: call.touched.map(|expiry| ttl(expiry, now)),
        ttl_created: call.vivified.filter(|_| created).map(|expiry| ttl(expiry, now)),
        token: Some(item.cas),
        flags: Some(item.flags),
        idle: Some(seen.idle_s),
        fetched: Some(seen.fetched),
        lost: item.marks.has(Marks::WON) && !won,
        stale: item.marks.has(Marks::STALE),
        won,
    };
    let sends_value = call.wants_value && call.known != Some(item.cas);
    if sends_value {
        Response::Meta(meta_line(MetaCode::Value(item.value.len()), &call.echo, &facts), Some(item.value))
    } else {
        Response::Meta(meta_line(MetaCode::Done, &call.echo, &facts), None)
    }
}

/// The answer to ms, md and ma.
pub(super) fn respond(now: UnixMillis, key: &Key, call: &MetaCall, mutation: &Mutation, outcome: &Outcome) -> Response {
    let mut facts = MetaFacts { key: key.as_bytes(), ..MetaFacts::default() };
    if let Kind::Set(bytes) = call.kind {
        facts.size = Some(bytes);
        facts.token = Some(0);
    }
    let numbered = |number: u64| {
        let value = call.wants_value.then(|| Bytes::from(number.to_string()));
        (value.as_ref().map_or(MetaCode::Done, |value| MetaCode::Value(value.len())), value)
    };
    let created = match mutation {
        Mutation::Count(count) => count.create,
        _ => None,
    };
    let (code, value) = match outcome {
        Outcome::Stored { token, .. } if let Some((number, _)) = created => {
            facts.token = Some(*token);
            facts.ttl = Some(ttl(Expiry::NEVER, now));
            facts.ttl_touched = call.touched.map(|expiry| ttl(expiry, now));
            facts.ttl_created = call.vivified.map(|expiry| ttl(expiry, now));
            numbered(number)
        }
        Outcome::Stored { token, bytes } => {
            facts.size = Some(*bytes as usize);
            facts.token = Some(*token);
            (MetaCode::Done, None)
        }
        Outcome::Number(counted) => {
            facts.token = Some(counted.token);
            facts.ttl = Some(ttl(counted.before, now));
            facts.ttl_touched = call.touched.map(|expiry| ttl(expiry, now));
            numbered(counted.number)
        }
        Outcome::Deleted | Outcome::Touched | Outcome::Item(_) | Outcome::Miss => (MetaCode::Done, None),
        Outcome::NotStored => (MetaCode::NotStored, None),
        Outcome::Exists => (MetaCode::Exists, None),
        Outcome::NotFound => (MetaCode::NotFound, None),
        Outcome::NonNumeric => return Response::Failed(ErrorReply::NonNumeric),
        Outcome::TooLarge => return Response::Failed(ErrorReply::ObjectTooLarge),
        Outcome::OutOfMemory => return Response::Failed(ErrorReply::OutOfMemoryStoring),
    };
    if call.quiet && matches!(code, MetaCode::Done | MetaCode::Value(_)) {
        return Response::Hidden;
    }
    Response::Meta(meta_line(code, &call.echo, &facts), value)
}

/// `ME <key> exp= la= cas= fetch= cls= size=`
pub(super) fn debug_response(now: UnixMillis, key: &Key, fetched: &Fetched) -> Response {
    let Fetched { item, seen, .. } = fetched;
    let mut shown = Vec::with_capacity(KEY_BYTES_MAX);
    put_key_as_sent(key.as_bytes(), item.marks.has(Marks::BINARY_KEY), &mut shown);
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

//! What a watcher is sent of an event: memcached 1.6.45's lines, letter for letter.
//!
//! Must not know who watches. Numbers, names and encoded keys only, so that no key can end its line early.

use std::fmt::Write;

use bytes::BytesMut;
use memring_engine::node::{Event, StoreStatus, StoreWord};
use memring_engine::store::Missing;
use memring_protocol::text::put_uri_encoded;

use super::CloseReason;
use crate::client_socket::Endpoint;

/// `ts=` and `gid=`. The microseconds are not padded, as in memcached.
pub(super) fn put_start(unix_us: u64, gid: u64, line: &mut BytesMut) {
    put(line, format_args!("ts={}.{} gid={gid} ", unix_us / 1_000_000, unix_us % 1_000_000));
}

pub(super) fn put_skipped(lines: u64, buffer: &mut BytesMut) {
    put(buffer, format_args!("skipped={lines}\n"));
}

pub(super) fn put_opened(connection: u64, from: &Endpoint, line: &mut BytesMut) {
    put(line, format_args!("type=conn_new "));
    put_endpoint(from, line);
    put(line, format_args!("cfd={connection}\n"));
}

pub(super) fn put_closed(connection: u64, from: &Endpoint, reason: CloseReason, line: &mut BytesMut) {
    let reason = match reason {
        CloseReason::Normal => "normal",
        CloseReason::Error => "error",
        CloseReason::IdleTimeout => "idle_timeout",
        CloseReason::Shutdown => "shutdown",
    };
    put(line, format_args!("type=conn_close "));
    put_endpoint(from, line);
    put(line, format_args!("reason={reason} cfd={connection}\n"));
}

pub(super) fn put_event(event: &Event, line: &mut BytesMut) {
    match event {
        Event::Fetched { connection, key, found, class } => {
            put_key("item_get", key, line);
            let (status, size) = match found {
                Ok(size) => ("found", *size),
                Err(Missing::Absent) => ("not_found", 0),
                Err(Missing::Expired) => ("expired", 0),
                Err(Missing::Flushed) => ("flushed", 0),
            };
            put(line, format_args!("status={status} clsid={class} cfd={connection} size={size}\n"));
        }
        Event::Stored { connection, key, status, word, ttl_s, class, size } => {
            put_key("item_store", key, line);
            let (status, word) = (status_name(*status), word_name(*word));
            put(line, format_args!("status={status} cmd={word} ttl={ttl_s} clsid={class} "));
            put(line, format_args!("cfd={connection} size={size}\n"));
        }
        Event::Deleted { key, meta, class, size } => {
            put_key("deleted", key, line);
            let command = if *meta { "md" } else { "delete" };
            put(line, format_args!("cmd={command} clsid={class} size={size}\n"));
        }
        Event::Evicted { key, fetched, ttl_s, idle_s, class, size } => {
            put_key("eviction", key, line);
            let fetched = if *fetched { "yes" } else { "no" };
            put(line, format_args!("fetch={fetched} ttl={ttl_s} la={idle_s} clsid={class} size={size}\n"));
        }
        // Told as lines that were skipped.
        Event::EvictionsMissed(_) => {}
    }
}

fn put_key(name: &str, key: &[u8], line: &mut BytesMut) {
    put(line, format_args!("type={name} key="));
    put_uri_encoded(key, line);
    put(line, format_args!(" "));
}

fn put_endpoint(from: &Endpoint, line: &mut BytesMut) {
    match from {
        Endpoint::Tcp(address) => {
            put(line, format_args!("rip={} rport={} transport=tcp ", address.ip(), address.port()));
        }
        Endpoint::Unix(_) => put(line, format_args!("rip=unix rport=0 transport=local ")),
    }
}

fn put(line: &mut BytesMut, text: std::fmt::Arguments<'_>) {
    line.write_fmt(text).expect("a buffer takes all that is written to it");
}

fn status_name(status: StoreStatus) -> &'static str {
    match status {
        StoreStatus::Stored => "stored",
        StoreStatus::NotStored => "not_stored",
        StoreStatus::Exists => "exists",
        StoreStatus::NotFound => "not_found",
        StoreStatus::TooLarge => "too_large",
        StoreStatus::NoMemory => "no_memory",
    }
}

fn word_name(word: StoreWord) -> &'static str {
    match word {
        StoreWord::Set => "set",
        StoreWord::Add => "add",
        StoreWord::Replace => "replace",
        StoreWord::Append => "append",
        StoreWord::Prepend => "prepend",
        StoreWord::Cas => "cas",
        StoreWord::Unknown => "na",
    }
}

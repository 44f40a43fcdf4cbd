//! A connection that is sent a list of the node's items: `lru_crawler metadump` and `mgdump`.
//!
//! Page by page, each made when the client has read most of the ones before, and one a turn, so that neither a slow
//! client nor a fast one is in anybody's way. Must not know how items are kept.

use std::io::Write;

use memring_engine::node::DumpCursor;
use memring_engine::now::Now;
use memring_engine::store::Listing;
use memring_protocol::entry::Marks;
use memring_protocol::text::{Classes, ErrorReply, Response, put_key_as_sent, put_uri_encoded};

use super::replies::Part;
use super::{Connection, Mode, Stall};

/// Bytes of a dump that wait for a client before it has to read: no page is made while there are so many.
pub(super) const DUMP_AHEAD_BYTES: usize = 64 * 1024;

/// Items of a page: at most about 110 KB of lines, with keys of 250 bytes that are all encoded.
const DUMP_PAGE_ITEMS: usize = 128;

/// What is sent of each item.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Form {
    /// All but its value.
    Metadump,
    /// A command that reads it.
    Mgdump,
}

/// A dump on its way.
#[derive(Debug)]
pub(super) struct Dump {
    form: Form,
    classes: Classes,
    cursor: DumpCursor,
}

impl Connection {
    /// Begins a dump, unless the client has not waited for the answers to what it said before.
    pub(super) fn start_dump(&mut self, form: Form, classes: Option<Classes>) -> Result<(), Stall> {
        let shared = &self.thread.surroundings.door.shared;
        let refusal = match classes {
            _ if !shared.is_crawler_enabled() => ErrorReply::CrawlerDisabled,
            _ if !shared.settings().dump_enabled => form.disabled(),
            _ if self.batched => form.pipelined(),
            _ if !self.shelf.replies.borrow().is_idle() => return Err(Stall::InFlight),
            None => ErrorReply::BadClass,
            Some(classes) => {
                self.mode = Mode::Dumping(Dump { form, classes, cursor: DumpCursor::default() });
                self.shelf.replies.borrow_mut().pass(Part::Whole, &Response::Ok);
                return Ok(());
            }
        };
        self.shelf.replies.borrow_mut().reject(refusal);
        Ok(())
    }

    /// Sends the next page if the client has read enough. Nothing else is in flight meanwhile.
    pub(super) fn advance_dump(&mut self, now: Now) -> Stall {
        let Mode::Dumping(dump) = &mut self.mode else { return Stall::Turn };
        if self.shelf.is_stopping() {
            self.ending = true;
            self.mode = Mode::Commands;
            return Stall::Input;
        }
        let mut replies = self.shelf.replies.borrow_mut();
        if replies.unsent() >= DUMP_AHEAD_BYTES {
            return Stall::Turn;
        }
        let (mut page, cursor) = (Vec::new(), dump.cursor);
        let mut next = None;
        self.thread.call_at(
            now,
            |node, now, _effects| {
                let (listings, more) = node.dump(now, cursor, DUMP_PAGE_ITEMS);
                for listing in listings.iter().filter(|listing| dump.classes.has(listing.class())) {
                    dump.form.put(listing, &mut page);
                }
                next = more;
            },
            |_effects| {},
        );
        let ended = next.is_none();
        if ended {
            page.extend_from_slice(dump.form.end());
        }
        dump.cursor = next.unwrap_or_default();
        replies.pass(Part::Whole, &Response::Text(page.into()));
        if ended {
            self.mode = Mode::Commands;
        }
        Stall::Turn
    }
}

impl Form {
    fn put(self, listing: &Listing, page: &mut Vec<u8>) {
        match self {
            Self::Metadump => {
                page.extend_from_slice(b"key=");
                put_uri_encoded(&listing.key, page);
                let expiry = listing.expiry.unix_seconds().map_or(-1, i64::from);
                let fetched = if listing.fetched { "yes" } else { "no" };
                writeln!(
                    page,
                    " exp={expiry} la={} cas={} fetch={fetched} cls={} size={} flags={} ",
                    listing.accessed_s,
                    listing.cas,
                    listing.class(),
                    listing.size(),
                    listing.flags,
                )
                .expect("memory takes all that is written to it");
            }
            Self::Mgdump => {
                page.extend_from_slice(b"mg ");
                let in_base64 = listing.marks.has(Marks::BINARY_KEY);
                put_key_as_sent(&listing.key, in_base64, page);
                page.extend_from_slice(if in_base64 { b" b\r\n" } else { b"\r\n" });
            }
        }
    }

    fn end(self) -> &'static [u8] {
        match self {
            Self::Metadump => b"END\r\n",
            Self::Mgdump => b"EN\r\n",
        }
    }

    fn disabled(self) -> ErrorReply {
        match self {
            Self::Metadump => ErrorReply::MetadumpDisabled,
            Self::Mgdump => ErrorReply::MgdumpDisabled,
        }
    }

    fn pipelined(self) -> ErrorReply {
        match self {
            Self::Metadump => ErrorReply::PipelinedMetadump,
            Self::Mgdump => ErrorReply::PipelinedMgdump,
        }
    }
}

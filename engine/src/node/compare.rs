//! Gets of several keys, of which this node has copies: the values are taken from its own store, straight into the bytes
//! of the reply, and the other homes that the level asks for are told which versions these are. Where they hold the same,
//! the reply stands.
//!
//! So a home confirms a hundred keys in one short message, and nothing is kept of a key but its place in that. Where any
//! home does not agree, or does not answer soon, the whole get is begun anew by `reads`, key by key, which settles what
//! differs. Must not know how that is done.

use bytes::{BufMut, Bytes, BytesMut};
use memring_protocol::entry::UnixMillis;
use memring_protocol::key::{Key, KeyRef};
use memring_protocol::limits::{COMPARED_KEYS_MAX, COPIED_VALUE_BYTES_MAX, READ_KEYS_MAX};
use memring_protocol::message::{CompareRequest, Holding, Holdings, Message, Reply, Request, RequestId};
use memring_protocol::ring::Epoch;
use memring_protocol::text::{Command, Keys, Response, VALUE_OVERHEAD, WatchKinds, put_value_line};
use memring_protocol::version::{Slot, Version};
use smallvec::SmallVec;

use super::calls::Purpose;
use super::effect::{Effect, LinkId, Ticket};
use super::gather::Read;
use super::hedging::HEDGE_AFTER_MAX;
use super::reads::Shape;
use super::replica::admit;
use super::shared::Shared;
use super::topology::Topology;
use super::turn::Turn;
use super::{Node, Op, OpId};
use crate::cluster::quorum::Slots;
use crate::now::Now;
use crate::store::{Look, WARMED_MAX};

/// The most bytes of values that are held ready; a get that comes to more takes the long way.
const BLOCKS_BYTES_MAX: usize = 2 * 1024 * 1024;

/// A get whose values are ready, and wait for other homes to agree.
#[derive(Debug)]
pub(crate) struct Comparing {
    ticket: Ticket,
    with_cas: bool,
    blocks: BytesMut,
    /// All keys, one behind the other.
    keys: Bytes,
    rows: Vec<Row>,
    /// Messages that are not answered.
    waiting: usize,
}

/// One key of a get.
#[derive(Clone, Copy, Debug)]
struct Row {
    key_len: u8,
    /// Bytes of the value, if there is one.
    found: Option<u32>,
}

/// What a home is asked; it may take several messages.
type Asked = SmallVec<[(Slot, Holdings); 2]>;

impl Node {
    /// A client's get of so many keys that their values might come to more than one request should keep ready. True: it is
    /// answered as by [`Node::on_request`], for the values that are here come to little. False: nothing was done.
    pub fn on_long_get(&mut self, now: Now, ticket: Ticket, command: &Command<'_>, effects: &mut Vec<Effect>) -> bool {
        let Command::Get { keys, with_cas } = command else { return false };
        let mut begun = false;
        if keys.count() <= READ_KEYS_MAX {
            self.turn(now, effects, |node, turn| begun = node.start_comparing(turn, ticket, keys, *with_cas));
        }
        begun
    }

    /// Begins a get of several keys, if this node has copies of all of them that count, and enough others can be asked.
    /// False: nothing was begun.
    pub(crate) fn start_comparing(
        &mut self,
        turn: &mut Turn<'_>,
        ticket: Ticket,
        keys: &Keys<'_>,
        with_cas: bool,
    ) -> bool {
        let count = keys.count();
        if count < 2 || self.shared.watched() != WatchKinds::NONE || self.shared.details.is_on() {
            return false;
        }
        let mut bytes = Vec::with_capacity(keys.iter().map(<[u8]>::len).sum());
        keys.iter().for_each(|key| bytes.extend_from_slice(key));
        let keys_bytes = Bytes::from(bytes);
        let mut reader = Reader {
            shared: &self.shared,
            turn,
            with_cas,
            blocks: self.spare.take(),
            rows: Vec::with_capacity(count),
            asked: Asked::new(),
            keys_bytes: &keys_bytes,
            at: 0,
        };
        let can = reader.read_all(keys);
        let Reader { blocks, rows, asked, .. } = reader;
        if !can {
            self.spare.put_back(blocks);
            return false;
        }
        let waiting = asked.len();
        let id = self.open(Op::Compare(Comparing { ticket, with_cas, blocks, keys: keys_bytes, rows, waiting }));
        self.set_timer(turn.mono().after(HEDGE_AFTER_MAX), id);
        for (slot, holdings) in asked {
            let compare = CompareRequest { epoch: turn.topology.epoch(), noticed: true, holdings };
            if !self.call(turn, slot, Purpose::Compare(id), Request::Compare(compare)) {
                self.read_anew(turn, id);
                break;
            }
        }
        true
    }

    /// A home has answered; `None` if it will not.
    pub(crate) fn on_compared(&mut self, turn: &mut Turn<'_>, id: OpId, reply: Option<Reply>) {
        let Some(Op::Compare(comparing)) = self.ops.get_mut(&id) else { return };
        if !matches!(reply, Some(Reply::Compare(true))) {
            return self.read_anew(turn, id);
        }
        comparing.waiting -= 1;
        if comparing.waiting == 0 {
            self.finish_comparing(turn, id);
        }
    }

    fn finish_comparing(&mut self, turn: &mut Turn<'_>, id: OpId) {
        let Some(Op::Compare(comparing)) = self.close(id) else { return };
        let (mut hits, mut at) = (0, 0);
        for row in &comparing.rows {
            let end = at + usize::from(row.key_len);
            self.count_in_namespace(&comparing.keys[at..end], row.found.is_some());
            at = end;
            if let Some(value_len) = row.found {
                hits += 1;
                self.count_hit(false, row.key_len.into(), value_len as usize);
            }
        }
        self.count_reads(false, hits, comparing.rows.len() as u64 - hits);
        let response = Response::Blocks(self.spare.give(comparing.blocks));
        turn.effects.push(Effect::Respond(comparing.ticket, response));
    }

    /// Gives up what was read, and reads every key for itself.
    pub(crate) fn read_anew(&mut self, turn: &mut Turn<'_>, id: OpId) {
        let Some(Op::Compare(Comparing { ticket, with_cas, blocks, keys, rows, .. })) = self.close(id) else { return };
        self.spare.put_back(blocks);
        let mut at = 0;
        let read = |row: &Row| {
            let bytes = keys.slice(at..at + usize::from(row.key_len));
            at += bytes.len();
            Read::of(Key::new(bytes).expect("it was a key when it was asked for"))
        };
        let reads = rows.iter().map(read).collect();
        let shape = Shape::Values { ticket, with_cas, touching: false };
        self.start_gather(turn, shape, reads, None, true);
    }

    /// As [`Node::on_peer_request`] for a comparison, whose keys may lie where the link has them.
    pub fn on_peer_compare<'k>(
        &mut self,
        now: Now,
        link: LinkId,
        id: RequestId,
        asked: (Epoch, bool),
        holdings: impl Iterator<Item = Holding<'k>>,
        effects: &mut Vec<Effect>,
    ) {
        let view = self.view.get_or_insert_with(|| self.shared.follow_topology());
        let same = holds_the_same(&self.shared, view.load(), now.cluster, asked, holdings);
        effects.push(Effect::Answer(link, Message::Reply(id, Reply::Compare(same))));
    }
}

/// Whether this node, as a home of each, holds these very versions.
pub(crate) fn holds_the_same<'k>(
    shared: &Shared,
    topology: &Topology,
    now: UnixMillis,
    (epoch, noticed): (Epoch, bool),
    mut holdings: impl Iterator<Item = Holding<'k>>,
) -> bool {
    loop {
        let together: SmallVec<[Holding<'_>; WARMED_MAX]> = holdings.by_ref().take(WARMED_MAX).collect();
        if together.is_empty() {
            return true;
        }
        let keys: SmallVec<[KeyRef<'_>; WARMED_MAX]> = together.iter().map(|(key, _)| *key).collect();
        shared.store.warm(&keys);
        let is_same = |(key, version): &Holding<'_>| {
            admit(topology, epoch, key.partition()).is_ok()
                && shared.standings.is_synced(key.partition())
                && shared.store.version(now, *key, noticed) == *version
        };
        if !together.iter().all(is_same) {
            return false;
        }
    }
}

/// Reads the keys of a get from this node's store, and notes whom to ask for each.
struct Reader<'a, 't> {
    shared: &'a Shared,
    turn: &'a Turn<'t>,
    with_cas: bool,
    blocks: BytesMut,
    rows: Vec<Row>,
    asked: Asked,
    keys_bytes: &'a Bytes,
    /// Where the next key begins.
    at: usize,
}

impl Reader<'_, '_> {
    /// False if there is a key that cannot be answered so.
    fn read_all(&mut self, keys: &Keys<'_>) -> bool {
        let mut rest = keys.iter();
        loop {
            let key_of = |bytes| KeyRef::new(bytes).expect("the grammar lets only keys of 1 to 250 bytes pass");
            let together: SmallVec<[KeyRef<'_>; WARMED_MAX]> = rest.by_ref().take(WARMED_MAX).map(key_of).collect();
            if together.is_empty() {
                return true;
            }
            // Most gets of a large cluster have a key of other homes: that is found before anything is touched.
            let (Some(layout), Some(me)) = (self.turn.topology.layout(), self.turn.topology.me()) else { return false };
            // Where a move is under way, each key is read with regard to it.
            let is_here = |partition| layout.homes(partition).contains(&me) && layout.next_homes(partition).is_none();
            if !together.iter().all(|key| is_here(key.partition())) {
                return false;
            }
            self.shared.store.warm(&together);
            let mut keys = together.iter();
            if !keys.all(|key| self.read(*key, layout.homes(key.partition()), me))
                || self.blocks.len() > BLOCKS_BYTES_MAX
            {
                return false;
            }
        }
    }

    fn read(&mut self, key: KeyRef<'_>, homes: &[Slot], me: Slot) -> bool {
        let needed = self.shared.read_level(self.turn.topology, key.as_bytes()).needed(homes.len());
        // Where one copy is enough there is nothing to compare, and what this node did not answer alone is too much.
        if needed < 2 || !self.shared.standings.is_synced(key.partition()) {
            return false;
        }
        let Some((version, found)) = self.put_block(key) else { return false };
        if !self.ask_others(homes, me, needed - 1, (key, version)) {
            return false;
        }
        self.at += key.len();
        self.rows.push(Row { key_len: key.len() as u8, found });
        true
    }

    /// What is held, its value behind the others; `None` if that is not to be copied.
    fn put_block(&mut self, key: KeyRef<'_>) -> Option<(Option<Version>, Option<u32>)> {
        let Self { blocks, with_cas, .. } = self;
        let (version, look) = self.shared.store.look_held(self.turn.cluster(), key, true, |item| {
            let value_len = item.value_len();
            if value_len > COPIED_VALUE_BYTES_MAX {
                return None;
            }
            blocks.reserve(VALUE_OVERHEAD + key.len() + value_len);
            put_value_line(key.as_bytes(), item.flags(), value_len, with_cas.then(|| item.cas()), blocks);
            item.copy_value(blocks);
            blocks.put_slice(b"\r\n");
            Some(value_len as u32)
        });
        match look {
            Look::Found(value_len) => Some((version, Some(value_len))),
            Look::Absent => Some((version, None)),
            Look::Declined => None,
        }
    }

    /// Notes a key for so many other homes: those that are asked already come first, so that there are few messages.
    fn ask_others(&mut self, homes: &[Slot], me: Slot, count: usize, holding: Holding<'_>) -> bool {
        let is_asked = |asked: &Asked, slot| asked.iter().any(|(asked, _)| *asked == slot);
        let others = homes.iter().copied().filter(|slot| *slot != me);
        let (asked, mut new): (Slots, Slots) = others.partition(|slot| is_asked(&self.asked, *slot));
        if !self.shared.peers.none_is_slow() {
            new.sort_by_key(|slot| self.shared.is_slow(self.turn.topology, *slot));
        }
        let usable = new.into_iter().filter(|slot| self.shared.is_usable(self.turn.topology, *slot));
        let chosen: Slots = asked.into_iter().chain(usable).take(count).collect();
        for slot in &chosen {
            let message = self.asked.iter_mut().rev().find(|(asked, _)| asked == slot);
            if !message.is_some_and(|(_, holdings)| holdings.push(self.at, holding)) {
                let mut holdings = Holdings::of_keys_in(self.keys_bytes.clone(), COMPARED_KEYS_MAX);
                holdings.push(self.at, holding);
                self.asked.push((*slot, holdings));
            }
        }
        chosen.len() == count
    }
}

//! Bodies of writes.
//!
//! ```text
//! request    epoch u64, copies u8, takeover u8, above u64, upto u64, patience u32, key, mutation
//! mutation   1 store: mode u8 (1 set | 2 add | 3 replace | 4 append | 5 prepend), compare?, accept older u8, token?,
//!            create u8, new | 2 count: step, compare?, token?, expiry?, create? (number u64, expiry)
//!            | 3 fetch: expiry?, recache? (expiry), recache after touch u8, create? (expiry), token?, unnoticed u8
//!            | 4 touch: expiry | 5 remove: compare?, instead? (stale u8, empty? (flags u32), expiry?, token?) | 6 confirm
//! step       1 up: u64 | 2 down: u64
//! new        flags u32, expiry u32 (0 never), binary key u8, value
//! reply      1 done: outcome | 2 redirect: slot u16 | 3 refused: refusal | 4 in doubt: acknowledged u8, needed u8
//!            | 5 deposed: slot u16
//! outcome    1 stored: token u64, bytes u32 | 2 not stored | 3 exists | 4 not found | 5 deleted | 6 touched
//!            | 7 number: u64, token u64, before, expiry | 8 item: item, seen, before (expiry), won u8, created u8
//!            | 9 miss | 10 not numeric | 11 too large | 12 out of memory
//! ```
//!
//! `x?` is an option; compare and token are u64. Must not know what a mutation does.

use super::FrameError;
use super::fields::{Writer, no};
use super::reader::Reader;
use crate::entry::ValueRef;
use crate::message::{
    Count, Counted, Fetch, Fetched, Invalidate, Mutation, NewValue, Outcome, Remove, Step, Store, StoreMode,
    WriteReply, WriteRequest,
};
use crate::ring::Epoch;
use crate::version::Ballot;

const STORE: u8 = 1;
const COUNT: u8 = 2;
const FETCH: u8 = 3;
const TOUCH: u8 = 4;
const REMOVE: u8 = 5;
const CONFIRM: u8 = 6;
const GET_AND_TOUCH: u8 = 7;

const SET: u8 = 1;
const ADD: u8 = 2;
const REPLACE: u8 = 3;
const APPEND: u8 = 4;
const PREPEND: u8 = 5;

const UP: u8 = 1;
const DOWN: u8 = 2;

const DONE: u8 = 1;
const REDIRECT: u8 = 2;
const REFUSED: u8 = 3;
const IN_DOUBT: u8 = 4;
const DEPOSED: u8 = 5;

const STORED: u8 = 1;
const NOT_STORED: u8 = 2;
const EXISTS: u8 = 3;
const NOT_FOUND: u8 = 4;
const DELETED: u8 = 5;
const TOUCHED: u8 = 6;
const NUMBER: u8 = 7;
const FOUND_ITEM: u8 = 8;
const MISS: u8 = 9;
const NON_NUMERIC: u8 = 10;
const TOO_LARGE: u8 = 11;
const OUT_OF_MEMORY: u8 = 12;

pub(super) fn put_request(request: &WriteRequest, writer: &mut Writer<'_>) -> Result<(), FrameError> {
    writer.u64(request.epoch.0);
    writer.u8(request.copies);
    writer.truth(request.takeover);
    writer.u64(request.above.0);
    writer.u64(request.upto.0);
    writer.u32(request.patience_ms);
    writer.key(&request.key)?;
    put_mutation(&request.mutation, writer)
}

pub(super) fn take_request(reader: &mut Reader<'_>) -> Result<WriteRequest, FrameError> {
    let epoch = Epoch(reader.u64()?);
    let copies = reader.u8()?;
    let takeover = reader.truth()?;
    let above = Ballot(reader.u64()?);
    let upto = Ballot(reader.u64()?);
    let patience_ms = reader.u32()?;
    let key = reader.key()?;
    let mutation = take_mutation(reader)?;
    Ok(WriteRequest { epoch, key, mutation, copies, takeover, above, upto, patience_ms })
}

fn put_mutation(mutation: &Mutation, writer: &mut Writer<'_>) -> Result<(), FrameError> {
    match mutation {
        Mutation::Store(store) => {
            writer.u8(STORE);
            put_store(store, writer)?;
        }
        Mutation::Count(count) => {
            writer.u8(COUNT);
            put_count(count, writer);
        }
        Mutation::Fetch(fetch) => {
            writer.u8(FETCH);
            put_fetch(fetch, writer);
        }
        Mutation::Touch(expiry) => {
            writer.u8(TOUCH);
            writer.expiry(*expiry);
        }
        Mutation::GetAndTouch(expiry) => {
            writer.u8(GET_AND_TOUCH);
            writer.expiry(*expiry);
        }
        Mutation::Remove(remove) => {
            writer.u8(REMOVE);
            put_remove(remove, writer);
        }
        Mutation::Confirm => writer.u8(CONFIRM),
    }
    Ok(())
}

fn take_mutation(reader: &mut Reader<'_>) -> Result<Mutation, FrameError> {
    Ok(match reader.u8()? {
        STORE => Mutation::Store(take_store(reader)?),
        COUNT => Mutation::Count(take_count(reader)?),
        FETCH => Mutation::Fetch(take_fetch(reader)?),
        TOUCH => Mutation::Touch(reader.expiry()?),
        GET_AND_TOUCH => Mutation::GetAndTouch(reader.expiry()?),
        REMOVE => Mutation::Remove(take_remove(reader)?),
        CONFIRM => Mutation::Confirm,
        other => return Err(no("mutation", other)),
    })
}

fn put_store(store: &Store, writer: &mut Writer<'_>) -> Result<(), FrameError> {
    writer.u8(match store.mode {
        StoreMode::Set => SET,
        StoreMode::Add => ADD,
        StoreMode::Replace => REPLACE,
        StoreMode::Append => APPEND,
        StoreMode::Prepend => PREPEND,
    });
    writer.option(store.compare, Writer::u64);
    writer.truth(store.accept_older);
    writer.option(store.token, Writer::u64);
    writer.truth(store.create);
    writer.u32(store.new.flags);
    writer.expiry(store.new.expiry);
    writer.truth(store.new.binary_key);
    writer.value(ValueRef::Whole(&store.new.value))
}

fn take_store(reader: &mut Reader<'_>) -> Result<Store, FrameError> {
    let mode = match reader.u8()? {
        SET => StoreMode::Set,
        ADD => StoreMode::Add,
        REPLACE => StoreMode::Replace,
        APPEND => StoreMode::Append,
        PREPEND => StoreMode::Prepend,
        other => return Err(no("way to store", other)),
    };
    let compare = reader.option(Reader::u64)?;
    let accept_older = reader.truth()?;
    let token = reader.option(Reader::u64)?;
    let create = reader.truth()?;
    let (flags, expiry, binary_key) = (reader.u32()?, reader.expiry()?, reader.truth()?);
    let new = NewValue { value: reader.value()?, flags, expiry, binary_key };
    Ok(Store { mode, new, compare, accept_older, token, create })
}

fn put_count(count: &Count, writer: &mut Writer<'_>) {
    let (direction, by) = match count.step {
        Step::Up(by) => (UP, by),
        Step::Down(by) => (DOWN, by),
    };
    writer.u8(direction);
    writer.u64(by);
    writer.option(count.compare, Writer::u64);
    writer.option(count.token, Writer::u64);
    writer.option(count.expiry, Writer::expiry);
    writer.option(count.create, |writer, (number, expiry)| {
        writer.u64(number);
        writer.expiry(expiry);
    });
}

fn take_count(reader: &mut Reader<'_>) -> Result<Count, FrameError> {
    let step = match (reader.u8()?, reader.u64()?) {
        (UP, by) => Step::Up(by),
        (DOWN, by) => Step::Down(by),
        (other, _) => return Err(no("step", other)),
    };
    let compare = reader.option(Reader::u64)?;
    let token = reader.option(Reader::u64)?;
    let expiry = reader.option(Reader::expiry)?;
    let create = reader.option(|reader| Ok((reader.u64()?, reader.expiry()?)))?;
    Ok(Count { step, compare, token, expiry, create })
}

fn put_fetch(fetch: &Fetch, writer: &mut Writer<'_>) {
    writer.option(fetch.expiry, Writer::expiry);
    writer.option(fetch.recache, Writer::expiry);
    writer.truth(fetch.recache_after_touch);
    writer.option(fetch.create, Writer::expiry);
    writer.option(fetch.token, Writer::u64);
    writer.truth(fetch.unnoticed);
}

fn take_fetch(reader: &mut Reader<'_>) -> Result<Fetch, FrameError> {
    Ok(Fetch {
        expiry: reader.option(Reader::expiry)?,
        recache: reader.option(Reader::expiry)?,
        recache_after_touch: reader.truth()?,
        create: reader.option(Reader::expiry)?,
        token: reader.option(Reader::u64)?,
        unnoticed: reader.truth()?,
    })
}

fn put_remove(remove: &Remove, writer: &mut Writer<'_>) {
    writer.option(remove.compare, Writer::u64);
    writer.option(remove.instead, |writer, instead| {
        writer.truth(instead.stale);
        writer.option(instead.empty, Writer::u32);
        writer.option(instead.expiry, Writer::expiry);
        writer.option(instead.token, Writer::u64);
    });
}

fn take_remove(reader: &mut Reader<'_>) -> Result<Remove, FrameError> {
    let compare = reader.option(Reader::u64)?;
    let instead = reader.option(|reader| {
        Ok(Invalidate {
            stale: reader.truth()?,
            empty: reader.option(Reader::u32)?,
            expiry: reader.option(Reader::expiry)?,
            token: reader.option(Reader::u64)?,
        })
    })?;
    Ok(Remove { compare, instead })
}

pub(super) fn put_reply(reply: &WriteReply, writer: &mut Writer<'_>) -> Result<(), FrameError> {
    match reply {
        WriteReply::Done(outcome) => {
            writer.u8(DONE);
            put_outcome(outcome, writer)?;
        }
        WriteReply::Redirect(slot) => {
            writer.u8(REDIRECT);
            writer.u16(slot.number());
        }
        WriteReply::Deposed(slot) => {
            writer.u8(DEPOSED);
            writer.u16(slot.number());
        }
        WriteReply::Refused(refusal) => {
            writer.u8(REFUSED);
            writer.refusal(*refusal);
        }
        WriteReply::InDoubt { acknowledged, needed } => {
            writer.u8(IN_DOUBT);
            writer.u8(*acknowledged);
            writer.u8(*needed);
        }
    }
    Ok(())
}

pub(super) fn take_reply(reader: &mut Reader<'_>) -> Result<WriteReply, FrameError> {
    Ok(match reader.u8()? {
        DONE => WriteReply::Done(take_outcome(reader)?),
        REDIRECT => WriteReply::Redirect(reader.slot()?),
        DEPOSED => WriteReply::Deposed(reader.slot()?),
        REFUSED => WriteReply::Refused(reader.refusal()?),
        IN_DOUBT => WriteReply::InDoubt { acknowledged: reader.u8()?, needed: reader.u8()? },
        other => return Err(no("reply to a write", other)),
    })
}

fn put_outcome(outcome: &Outcome, writer: &mut Writer<'_>) -> Result<(), FrameError> {
    match outcome {
        Outcome::Stored { token, bytes } => {
            writer.u8(STORED);
            writer.u64(*token);
            writer.u32(*bytes);
        }
        Outcome::NotStored => writer.u8(NOT_STORED),
        Outcome::Exists => writer.u8(EXISTS),
        Outcome::NotFound => writer.u8(NOT_FOUND),
        Outcome::Deleted => writer.u8(DELETED),
        Outcome::Touched => writer.u8(TOUCHED),
        Outcome::Number(counted) => {
            writer.u8(NUMBER);
            writer.u64(counted.number);
            writer.u64(counted.token);
            writer.expiry(counted.before);
            writer.expiry(counted.expiry);
        }
        Outcome::Item(fetched) => {
            writer.u8(FOUND_ITEM);
            writer.item(&(&fetched.item).into())?;
            writer.seen(fetched.seen);
            writer.expiry(fetched.before);
            writer.truth(fetched.won);
            writer.truth(fetched.created);
        }
        Outcome::Miss => writer.u8(MISS),
        Outcome::NonNumeric => writer.u8(NON_NUMERIC),
        Outcome::TooLarge => writer.u8(TOO_LARGE),
        Outcome::OutOfMemory => writer.u8(OUT_OF_MEMORY),
    }
    Ok(())
}

fn take_outcome(reader: &mut Reader<'_>) -> Result<Outcome, FrameError> {
    Ok(match reader.u8()? {
        STORED => Outcome::Stored { token: reader.u64()?, bytes: reader.u32()? },
        NOT_STORED => Outcome::NotStored,
        EXISTS => Outcome::Exists,
        NOT_FOUND => Outcome::NotFound,
        DELETED => Outcome::Deleted,
        TOUCHED => Outcome::Touched,
        NUMBER => Outcome::Number(Counted {
            number: reader.u64()?,
            token: reader.u64()?,
            before: reader.expiry()?,
            expiry: reader.expiry()?,
        }),
        FOUND_ITEM => Outcome::Item(Fetched {
            item: reader.item()?,
            seen: reader.seen()?,
            before: reader.expiry()?,
            won: reader.truth()?,
            created: reader.truth()?,
        }),
        MISS => Outcome::Miss,
        NON_NUMERIC => Outcome::NonNumeric,
        TOO_LARGE => Outcome::TooLarge,
        OUT_OF_MEMORY => Outcome::OutOfMemory,
        other => return Err(no("outcome", other)),
    })
}

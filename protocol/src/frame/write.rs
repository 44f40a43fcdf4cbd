//! Bodies of writes.
//!
//! ```text
//! request    epoch u64, copies u8, takeover u8, above u64, upto u64, patience u32, key, mutation
//! mutation   1 set: new | 2 add: new | 3 replace: new | 4 cas: token u64, new | 5 append: value | 6 prepend: value
//!            | 7 incr: u64 | 8 decr: u64 | 9 touch: expiry | 10 get and touch: expiry | 11 delete | 12 confirm
//! new        flags u32, expiry u32 (0 never), value
//! reply      1 done: outcome | 2 redirect: slot u16 | 3 refused: refusal | 4 in doubt: acknowledged u8, needed u8
//!            | 5 deposed: slot u16
//! outcome    1 stored | 2 not stored | 3 exists | 4 not found | 5 deleted | 6 touched | 7 number: u64 | 8 item: item
//!            | 9 miss | 10 not numeric | 11 too large | 12 out of memory
//! ```
//!
//! Must not know what a mutation does.

use super::FrameError;
use super::fields::{Reader, Writer, no};
use crate::message::{Mutation, NewValue, Outcome, WriteReply, WriteRequest};
use crate::ring::Epoch;
use crate::version::Ballot;

const SET: u8 = 1;
const ADD: u8 = 2;
const REPLACE: u8 = 3;
const CAS: u8 = 4;
const APPEND: u8 = 5;
const PREPEND: u8 = 6;
const INCR: u8 = 7;
const DECR: u8 = 8;
const TOUCH: u8 = 9;
const GET_AND_TOUCH: u8 = 10;
const DELETE: u8 = 11;
const CONFIRM: u8 = 12;

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
    writer.u8(match mutation {
        Mutation::Set(_) => SET,
        Mutation::Add(_) => ADD,
        Mutation::Replace(_) => REPLACE,
        Mutation::Cas(..) => CAS,
        Mutation::Append(_) => APPEND,
        Mutation::Prepend(_) => PREPEND,
        Mutation::Incr(_) => INCR,
        Mutation::Decr(_) => DECR,
        Mutation::Touch(_) => TOUCH,
        Mutation::GetAndTouch(_) => GET_AND_TOUCH,
        Mutation::Delete => DELETE,
        Mutation::Confirm => CONFIRM,
    });
    match mutation {
        Mutation::Set(new) | Mutation::Add(new) | Mutation::Replace(new) => put_new(new, writer)?,
        Mutation::Cas(new, token) => {
            writer.u64(*token);
            put_new(new, writer)?;
        }
        Mutation::Append(value) | Mutation::Prepend(value) => writer.value(value)?,
        Mutation::Incr(by) | Mutation::Decr(by) => writer.u64(*by),
        Mutation::Touch(expiry) | Mutation::GetAndTouch(expiry) => writer.expiry(*expiry),
        Mutation::Delete | Mutation::Confirm => {}
    }
    Ok(())
}

fn take_mutation(reader: &mut Reader<'_>) -> Result<Mutation, FrameError> {
    Ok(match reader.u8()? {
        SET => Mutation::Set(take_new(reader)?),
        ADD => Mutation::Add(take_new(reader)?),
        REPLACE => Mutation::Replace(take_new(reader)?),
        CAS => {
            let token = reader.u64()?;
            Mutation::Cas(take_new(reader)?, token)
        }
        APPEND => Mutation::Append(reader.value()?),
        PREPEND => Mutation::Prepend(reader.value()?),
        INCR => Mutation::Incr(reader.u64()?),
        DECR => Mutation::Decr(reader.u64()?),
        TOUCH => Mutation::Touch(reader.expiry()?),
        GET_AND_TOUCH => Mutation::GetAndTouch(reader.expiry()?),
        DELETE => Mutation::Delete,
        CONFIRM => Mutation::Confirm,
        other => return Err(no("mutation", other)),
    })
}

fn put_new(new: &NewValue, writer: &mut Writer<'_>) -> Result<(), FrameError> {
    writer.u32(new.flags);
    writer.expiry(new.expiry);
    writer.value(&new.value)
}

fn take_new(reader: &mut Reader<'_>) -> Result<NewValue, FrameError> {
    let (flags, expiry) = (reader.u32()?, reader.expiry()?);
    Ok(NewValue { value: reader.value()?, flags, expiry })
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
        Outcome::Stored => writer.u8(STORED),
        Outcome::NotStored => writer.u8(NOT_STORED),
        Outcome::Exists => writer.u8(EXISTS),
        Outcome::NotFound => writer.u8(NOT_FOUND),
        Outcome::Deleted => writer.u8(DELETED),
        Outcome::Touched => writer.u8(TOUCHED),
        Outcome::Number(number) => {
            writer.u8(NUMBER);
            writer.u64(*number);
        }
        Outcome::Item(item) => {
            writer.u8(FOUND_ITEM);
            writer.item(item)?;
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
        STORED => Outcome::Stored,
        NOT_STORED => Outcome::NotStored,
        EXISTS => Outcome::Exists,
        NOT_FOUND => Outcome::NotFound,
        DELETED => Outcome::Deleted,
        TOUCHED => Outcome::Touched,
        NUMBER => Outcome::Number(reader.u64()?),
        FOUND_ITEM => Outcome::Item(reader.item()?),
        MISS => Outcome::Miss,
        NON_NUMERIC => Outcome::NonNumeric,
        TOO_LARGE => Outcome::TooLarge,
        OUT_OF_MEMORY => Outcome::OutOfMemory,
        other => return Err(no("outcome", other)),
    })
}

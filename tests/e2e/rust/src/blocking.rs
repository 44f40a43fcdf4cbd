//! The crate `memcache`, with its text protocol.

use crate::script::{Broken, Script};
use memcache::{Client, CommandError, MemcacheError};
use std::collections::BTreeMap;
use std::slice;
use std::time::Duration;

const HUNDRED: usize = 100;

fn connect(addresses: &[String]) -> Result<Client, Broken> {
    let urls: Vec<String> = addresses
        .iter()
        .map(|address| format!("memcache://{address}?protocol=ascii&tcp_nodelay=true&timeout=10&connect_timeout=10"))
        .collect();
    Ok(Client::connect(urls.iter().map(String::as_str).collect::<Vec<_>>())?)
}

pub(crate) fn calls(s: &mut Script) -> Result<(), Broken> {
    let (to, from) = s.pair();
    let (writer, reader) = (connect(slice::from_ref(&to))?, connect(&[from])?);
    writer.set(&s.key("memcache", "short"), "x", 1)?;
    values(s, &writer, &reader)?;
    counters(s, &writer, &reader)?;
    many(s, &writer)?;
    let versions = writer.version()?;
    s.holds("version", versions.len() == 1 && versions[0].1.split('.').count() == 3, || format!("{versions:?}"));
    s.same("set_read_timeout", writer.set_read_timeout(Some(Duration::from_secs(9))).is_ok(), true);
    s.same("set_write_timeout", writer.set_write_timeout(Some(Duration::from_secs(9))).is_ok(), true);
    // This release reads one line of the statistics and leaves the rest: the connection is of no use afterwards.
    let stats = connect(&[to])?.stats()?;
    s.same("stats is of one server", stats.len(), 1);
    Ok(())
}

pub(crate) fn expired(s: &mut Script) -> Result<(), Broken> {
    let reader = connect(&[s.pair().1])?;
    s.same("get of what lived a second", reader.get::<String>(&s.key("memcache", "short"))?, None);
    Ok(())
}

fn values(s: &mut Script, writer: &Client, reader: &Client) -> Result<(), Broken> {
    let key = |s: &Script, name: &str| s.key("memcache", name);
    let large: Vec<u8> = (0..1_000_000_u32).map(|at| at.to_le_bytes()[0]).collect();
    for (name, value) in [("small", b"v".as_slice()), ("empty", b""), ("crlf", b"a\r\nEND\r\nb"), ("large", &large)] {
        writer.set(&key(s, name), value, 0)?;
        s.same(&format!("set {name}"), reader.get::<Vec<u8>>(&key(s, name))?, Some(value.to_vec()));
    }
    s.same("get of a missing key", reader.get::<String>(&key(s, "missing"))?, None);
    let name = key(s, "a");
    writer.add(&name, "1", 100)?;
    reader.add(&name, "2", 100)?;
    s.same("add, and again", reader.get(&name)?, Some("1".to_owned()));
    reader.replace(&name, "3", 100)?;
    writer.replace(&key(s, "missing"), "3", 100)?;
    s.same("replace", (writer.get(&name)?, writer.get(&key(s, "missing"))?), (Some("3".to_owned()), None::<String>));
    writer.append(&name, "4")?;
    reader.prepend(&name, "2")?;
    s.same("append", reader.get(&name)?, Some("234".to_owned()));
    s.same("prepend to nothing", writer.prepend(&key(s, "missing"), "4").is_ok(), true);
    let (value, flags, token): (String, u32, Option<u64>) = reader.get(&name)?.ok_or("no value with its token")?;
    s.same("get with a token", (value.as_str(), flags, token.is_some()), ("234", 0, true));
    let token = token.unwrap_or_default();
    s.same("cas", (writer.cas(&name, "b", 0, token)?, reader.cas(&name, "c", 0, token)?), (true, false));
    s.same("cas of nothing", writer.cas(&key(s, "missing"), "b", 0, token)?, false);
    s.same("touch", (writer.touch(&name, 100)?, writer.touch(&key(s, "missing"), 1)?), (true, false));
    s.same("delete", (reader.delete(&name)?, reader.delete(&name)?), (true, false));
    s.same("delete is seen", writer.get::<String>(&name)?, None);
    Ok(())
}

fn counters(s: &mut Script, writer: &Client, reader: &Client) -> Result<(), Broken> {
    let (name, missing) = (s.key("memcache", "n"), s.key("memcache", "missing"));
    writer.set(&name, 10_u64, 0)?;
    s.same("increment", (writer.increment(&name, 5)?, reader.increment(&name, 1)?), (15, 16));
    s.same("decrement", (reader.decrement(&name, 7)?, writer.decrement(&name, 100)?), (9, 0));
    let refused = writer.increment(&missing, 1);
    let is_missing = matches!(refused, Err(MemcacheError::CommandError(CommandError::KeyNotFound)));
    s.holds("increment of nothing", is_missing, || format!("{refused:?}"));
    writer.set(&name, "word", 0)?;
    let refused = writer.increment(&name, 1);
    let is_told =
        matches!(&refused, Err(MemcacheError::ClientError(error)) if error.to_string().contains("non-numeric"));
    s.holds("increment of a word", is_told, || format!("{refused:?}"));
    Ok(())
}

fn many(s: &mut Script, writer: &Client) -> Result<(), Broken> {
    let all = connect(s.addresses())?;
    let mut wanted = BTreeMap::new();
    for number in 0..HUNDRED {
        let name = s.key("memcache", &format!("many-{number}"));
        all.set(&name, number.to_string(), 0)?;
        wanted.insert(name, number.to_string());
    }
    let missing = s.key("memcache", "missing");
    let keys: Vec<&str> = wanted.keys().map(String::as_str).chain([missing.as_str()]).collect();
    for (what, client) in [("gets over all nodes", &all), ("gets through one node", writer)] {
        let found: BTreeMap<String, String> = client.gets(&keys)?.into_iter().collect();
        s.same(what, found, wanted.clone());
    }
    Ok(())
}

pub(crate) fn flush(s: &mut Script) -> Result<(), Broken> {
    let (to, from) = s.pair();
    let (writer, reader) = (connect(&[to])?, connect(&[from])?);
    let name = s.key("memcache", "flushed");
    writer.set(&name, "x", 0)?;
    reader.flush()?;
    s.same("flush", writer.get::<String>(&name)?, None);
    writer.set(&name, "x", 0)?;
    reader.flush_with_delay(60)?;
    s.same("flush_with_delay", writer.get(&name)?, Some("x".to_owned()));
    writer.flush()?;
    s.same("flush takes its place", reader.get::<String>(&name)?, None);
    Ok(())
}

//! The crate `async-memcached`: classic and meta commands.

use crate::script::{Broken, Script};
use async_memcached::{AsciiProtocol, Client, Error, ErrorKind, MetaProtocol, Status};
use tokio::runtime::{Builder, Runtime};

const HUNDRED: usize = 100;
const LIBRARY: &str = "async";

fn runtime() -> Result<Runtime, Broken> {
    Ok(Builder::new_current_thread().enable_all().build()?)
}

pub(crate) fn calls(s: &mut Script) -> Result<(), Broken> {
    runtime()?.block_on(async {
        let (to, from) = s.pair();
        let (mut writer, mut reader) = (connect(&to).await?, connect(&from).await?);
        writer.set(s.key(LIBRARY, "short"), "x", Some(1), None).await?;
        values(s, &mut writer, &mut reader).await?;
        counters(s, &mut writer, &mut reader).await?;
        many(s, &mut writer, &mut reader).await?;
        meta_values(s, &mut writer, &mut reader).await?;
        meta_stale(s, &mut writer, &mut reader).await?;
        meta_counters(s, &mut writer, &mut reader).await?;
        meta_many(s, &mut writer, &mut reader).await?;
        server(s, &mut writer).await?;
        dump(s).await?;
        Ok(())
    })
}

pub(crate) fn expired(s: &mut Script) -> Result<(), Broken> {
    runtime()?.block_on(async {
        let mut reader = connect(&s.pair().1).await?;
        let short = s.key(LIBRARY, "short");
        s.same("get of what lived a second", reader.get(&short).await?, None);
        Ok(())
    })
}

async fn connect(address: &str) -> Result<Client, Broken> {
    Ok(Client::new(format!("tcp://{address}")).await?)
}

/// The status that an answer came with.
fn status<T: std::fmt::Debug>(answer: Result<T, Error>) -> String {
    match answer {
        Ok(value) => format!("{value:?}"),
        Err(Error::Protocol(Status::Error(ErrorKind::Client(text)))) => text,
        Err(error) => error.to_string(),
    }
}

async fn values(s: &mut Script, writer: &mut Client, reader: &mut Client) -> Result<(), Broken> {
    let (name, missing) = (s.key(LIBRARY, "a"), s.key(LIBRARY, "missing"));
    let large: Vec<u8> = (0..1_000_000_u32).map(|at| at.to_le_bytes()[0]).collect();
    for (what, value) in [("small", b"v".as_slice()), ("empty", b""), ("crlf", b"a\r\nEND\r\nb"), ("large", &large)] {
        writer.set(&name, value, None, Some(7)).await?;
        let found = reader.get(&name).await?.ok_or("nothing is found")?;
        s.same(&format!("set {what}"), (found.data.unwrap_or_default(), found.flags), (value.to_vec(), Some(7)));
    }
    s.same("get of a missing key", reader.get(&missing).await?, None);
    writer.delete(&name).await?;
    s.same("delete of nothing", status(writer.delete(&name).await), "protocol: not found".to_owned());
    writer.add(&name, "1", Some(100), None).await?;
    s.same("add again", status(reader.add(&name, "2", None, None).await), "protocol: not stored".to_owned());
    writer.delete_no_reply(&name).await?;
    writer.version().await?;
    s.same("delete_no_reply", reader.get(&name).await?, None);
    Ok(())
}

async fn counters(s: &mut Script, writer: &mut Client, reader: &mut Client) -> Result<(), Broken> {
    let (name, missing) = (s.key(LIBRARY, "n"), s.key(LIBRARY, "missing"));
    writer.set(&name, 10_u64, None, None).await?;
    s.same("increment", (writer.increment(&name, 5).await?, reader.increment(&name, 1).await?), (15, 16));
    s.same("decrement", (reader.decrement(&name, 7).await?, writer.decrement(&name, 100).await?), (9, 0));
    writer.increment_no_reply(&name, 7).await?;
    writer.decrement_no_reply(&name, 2).await?;
    writer.version().await?;
    s.same("increment_no_reply", reader.increment(&name, 0).await?, 5);
    s.same("decrement_no_reply", writer.decrement(&name, 1).await?, 4);
    s.same("increment of nothing", status(writer.increment(&missing, 1).await), "protocol: not found".to_owned());
    writer.set(&name, "word", None, None).await?;
    let told = "cannot increment or decrement non-numeric value".to_owned();
    s.same("increment of a word", status(writer.increment(&name, 1).await), told);
    Ok(())
}

#[expect(deprecated, reason = "get_many is still offered")]
async fn many(s: &mut Script, writer: &mut Client, reader: &mut Client) -> Result<(), Broken> {
    let wanted: Vec<(String, String)> =
        (0..HUNDRED).map(|number| (s.key(LIBRARY, &format!("many-{number}")), number.to_string())).collect();
    let items: Vec<(&str, &str)> = wanted.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect();
    let keys: Vec<&str> = items.iter().map(|(key, _)| *key).collect();
    let stored = writer.set_multi(&items, Some(100), None).await?;
    s.same("set_multi", stored.values().filter(|one| one.is_ok()).count(), HUNDRED);
    drop(stored);
    let added = writer.add_multi(&items[..2], None, None).await?;
    s.same("add_multi of what is there", added.values().filter(|one| one.is_err()).count(), 2);
    drop(added);
    for (what, found) in [("get_multi", reader.get_multi(&keys).await?), ("get_many", writer.get_many(&keys).await?)] {
        let found: Vec<(String, String)> =
            found.into_iter().map(|one| (to_text(Some(one.key)), to_text(one.data))).collect();
        s.same(what, found, wanted.clone());
    }
    writer.delete_multi_no_reply(&keys[..50]).await?;
    writer.version().await?;
    s.same("delete_multi_no_reply", reader.get_multi(&keys).await?.len(), HUNDRED - 50);
    Ok(())
}

fn to_text(bytes: Option<Vec<u8>>) -> String {
    String::from_utf8_lossy(&bytes.unwrap_or_default()).into_owned()
}

async fn meta_values(s: &mut Script, writer: &mut Client, reader: &mut Client) -> Result<(), Broken> {
    let (name, missing) = (s.key(LIBRARY, "meta"), s.key(LIBRARY, "missing"));
    s.same("meta_set", writer.meta_set(&name, "hello", false, None, Some(&["T100", "F7"])).await?.is_none(), true);
    let flags = ["v", "h", "l", "t", "f", "s", "k", "c"];
    let found = reader.meta_get(&name, false, Some(b"7f"), Some(&flags)).await?.ok_or("mg finds nothing")?;
    s.same("meta_get", (to_text(found.data), to_text(found.key)), ("hello".to_owned(), name.clone()));
    s.same("meta_get numbers", (found.flags, found.size, found.hit_before), (Some(7), Some(5), Some(false)));
    s.holds("meta_get time", found.ttl_remaining.is_some_and(|t| (95..=100).contains(&t)), || {
        format!("{:?}", found.ttl_remaining)
    });
    s.same("meta_get opaque", to_text(found.opaque_token), "7f".to_owned());
    s.same("meta_get of a missing key", reader.meta_get(&missing, false, None, Some(&["v"])).await?, None);
    s.same("meta_get quietly", reader.meta_get(&missing, true, None, Some(&["v"])).await?, None);
    let found = reader.meta_get(&name, true, None, Some(&["v"])).await?;
    s.same("meta_get quietly, found", found.map(|one| to_text(one.data)), Some("hello".to_owned()));
    let token = found_token(writer, &name).await?;
    let (old, new) = (format!("C{}", token - 1), format!("C{token}"));
    s.same(
        "meta_set with a wrong token",
        told(writer.meta_set(&name, "x", false, None, Some(&[&old])).await),
        "exists".to_owned(),
    );
    s.same(
        "meta_set with the token",
        told(writer.meta_set(&name, "y", false, None, Some(&[&new])).await),
        "done".to_owned(),
    );
    for (mode, wanted) in [("MA", "yz"), ("MP", "zyz"), ("MR", "z")] {
        writer.meta_set(&name, "z", false, None, Some(&[mode])).await?;
        let found = reader.meta_get(&name, false, None, Some(&["v"])).await?;
        s.same(&format!("meta_set {mode}"), found.map(|one| to_text(one.data)), Some(wanted.to_owned()));
    }
    s.same("meta_set ME", told(reader.meta_set(&name, "e", false, None, Some(&["ME"])).await), "not stored".to_owned());
    s.same("meta_set quietly", told(writer.meta_set(&name, "q", true, None, None).await), "done".to_owned());
    s.same("meta_delete", told(reader.meta_delete(&name, false, None, None).await), "done".to_owned());
    s.same("meta_delete of nothing", told(writer.meta_delete(&name, false, None, None).await), "not found".to_owned());
    s.same("meta_delete quietly", told(writer.meta_delete(&missing, true, None, None).await), "not found".to_owned());
    Ok(())
}

/// `done`, the refusal, or what was told.
fn told<T: std::fmt::Debug>(answer: Result<Option<T>, Error>) -> String {
    match answer {
        Ok(None) => "done".to_owned(),
        Err(Error::Protocol(status)) => status.to_string(),
        other => format!("{other:?}"),
    }
}

async fn found_token(client: &mut Client, name: &str) -> Result<u64, Broken> {
    let found = client.meta_get(name, false, None, Some(&["c"])).await?;
    Ok(found.and_then(|one| one.cas).ok_or("mg c tells no token")?)
}

/// One reader wins a stale value, the next does not, whichever node is asked.
async fn meta_stale(s: &mut Script, writer: &mut Client, reader: &mut Client) -> Result<(), Broken> {
    let name = s.key(LIBRARY, "stale");
    writer.meta_set(&name, "old", false, None, Some(&["T100"])).await?;
    writer.meta_delete(&name, false, None, Some(&["I", "T30"])).await?;
    let first = reader.meta_get(&name, false, None, Some(&["v", "c"])).await?.ok_or("the stale value is gone")?;
    s.same("meta_get of a stale value", (first.is_stale, first.is_recache_winner), (Some(true), Some(true)));
    let second = writer.meta_get(&name, false, None, Some(&["v"])).await?.ok_or("the stale value is gone")?;
    s.same("meta_get of it again", (second.is_stale, second.is_recache_winner), (Some(true), Some(false)));
    let token = format!("C{}", first.cas.unwrap_or_default());
    s.same(
        "meta_set of the winner",
        told(reader.meta_set(&name, "new", false, None, Some(&[&token])).await),
        "done".to_owned(),
    );
    let third = writer.meta_get(&name, false, None, Some(&["v"])).await?.ok_or("the new value is gone")?;
    s.same("meta_get of the new value", (to_text(third.data), third.is_stale), ("new".to_owned(), None));
    let stub = s.key(LIBRARY, "made");
    writer.delete_no_reply(&stub).await?;
    let made = writer.meta_get(&stub, false, None, Some(&["v", "N30"])).await?.ok_or("N makes nothing")?;
    s.same("meta_get that makes an item", made.is_recache_winner, Some(true));
    Ok(())
}

async fn meta_counters(s: &mut Script, writer: &mut Client, reader: &mut Client) -> Result<(), Broken> {
    let (name, missing) = (s.key(LIBRARY, "meta-n"), s.key(LIBRARY, "missing"));
    // An earlier run may have left it: it lives for 100 seconds.
    writer.delete_no_reply(&name).await?;
    let made = writer.meta_increment(&name, false, None, None, Some(&["N100", "J10", "v"])).await?;
    s.same("meta_increment that makes", made.map(|one| to_text(one.data)), Some("10".to_owned()));
    let sum = reader.meta_increment(&name, false, Some(b"q1"), Some(5), Some(&["v", "t"])).await?.ok_or("no number")?;
    s.same("meta_increment", (to_text(sum.data), to_text(sum.opaque_token)), ("15".to_owned(), "q1".to_owned()));
    let rest = reader.meta_decrement(&name, false, None, Some(6), Some(&["v"])).await?;
    s.same("meta_decrement", rest.map(|one| to_text(one.data)), Some("9".to_owned()));
    s.same(
        "meta_decrement quietly",
        told(writer.meta_decrement(&name, true, None, Some(100), None).await),
        "done".to_owned(),
    );
    s.same("meta_increment is seen", reader.increment(&name, 1).await?, 1);
    s.same(
        "meta_increment of nothing",
        told(writer.meta_increment(&missing, false, None, None, None).await),
        "not found".to_owned(),
    );
    Ok(())
}

async fn meta_many(s: &mut Script, writer: &mut Client, reader: &mut Client) -> Result<(), Broken> {
    let wanted: Vec<(String, String)> =
        (0..HUNDRED).map(|number| (s.key(LIBRARY, &format!("meta-many-{number}")), number.to_string())).collect();
    let items: Vec<(&str, &str)> = wanted.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect();
    let mut keys: Vec<&str> = items.iter().map(|(key, _)| *key).collect();
    s.same("meta_set_multi", writer.meta_set_multi(&items, Some(&["T100"])).await?, Vec::new());
    let missing = s.key(LIBRARY, "missing");
    keys.insert(50, &missing);
    let found: Vec<(String, String)> = reader
        .meta_get_multi(&keys, Some(&["v"]))
        .await?
        .into_iter()
        .map(|one| (to_text(one.key), to_text(one.data)))
        .collect();
    s.same("meta_get_multi", found, wanted.clone());
    let refused = reader.meta_set_multi(&items[..3], Some(&["ME"])).await?;
    s.same("meta_set_multi of what is there", refused.len(), 3);
    Ok(())
}

async fn server(s: &mut Script, writer: &mut Client) -> Result<(), Broken> {
    let version = writer.version().await?;
    s.holds("version", version.trim().split('.').count() == 3, || version.clone());
    let stats = writer.stats().await?;
    let missing: Vec<&str> = ["pid", "uptime", "version", "curr_items", "cmd_get", "cmd_meta", "limit_maxbytes"]
        .into_iter()
        .filter(|name| !stats.contains_key(*name))
        .collect();
    s.same("stats has its fields", missing, Vec::new());
    Ok(())
}

/// This release does not know the OK with which memcached 1.6.45 opens a dump, and says so, as it would of any other
/// line; what the line is, the script of pymemcache looks at.
async fn dump(s: &mut Script) -> Result<(), Broken> {
    let mut client = connect(&s.pair().0).await?;
    let mut dump = client.dump_keys().await?;
    let first = dump.next().await.map(|entry| entry.map(|entry| to_text(Some(entry.key))));
    let is_ok_unknown = matches!(&first, Some(Err(Error::Protocol(Status::Error(_)))));
    s.holds("dump_keys", is_ok_unknown && !dump.is_complete(), || format!("{first:?}"));
    Ok(())
}

pub(crate) fn flush(s: &mut Script) -> Result<(), Broken> {
    runtime()?.block_on(async {
        let (to, from) = s.pair();
        let (mut writer, mut reader) = (connect(&to).await?, connect(&from).await?);
        let name = s.key(LIBRARY, "flushed");
        writer.set(&name, "x", None, None).await?;
        reader.flush_all().await?;
        s.same("flush_all", writer.get(&name).await?, None);
        Ok(())
    })
}

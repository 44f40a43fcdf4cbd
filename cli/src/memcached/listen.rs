//! What `-l` says: `proto[NAME]:tag[NAME]:ADDRESS:PORT` and shorter, as a list of `ADDRESS[:PORT]`.
//!
//! Must not look names up: that is done when the node listens.

use super::numbers::signed;

/// The most bytes of a tag.
const TAG_BYTES_MAX: usize = 8;

/// Adds a value's listeners to those of earlier ones; those that are there already stand once.
pub(super) fn add(listeners: &mut Vec<String>, value: &str) -> Result<(), String> {
    for part in value.split([',', ';']).filter(|part| !part.is_empty()) {
        for listener in listener(part)? {
            if !listeners.contains(&listener) {
                listeners.push(listener);
            }
        }
    }
    Ok(())
}

/// One part, as the addresses it stands for: a star is every address of both families.
fn listener(part: &str) -> Result<Vec<String>, String> {
    if let Some(prefix) = ["notls", "btls", "mtls"].into_iter().find(|prefix| part.starts_with(prefix)) {
        return Err(format!("{prefix} is about TLS, which is not there yet"));
    }
    let (host, port) = host_and_port(without_tag(without_protocol(part)?)?)?;
    let port = match port {
        None => None,
        // memcached's port for "any free one" is -1 beside 0.
        Some(text) => Some(match signed(text) {
            Some(-1) => 0,
            number => number.and_then(|number| u16::try_from(number).ok()).ok_or_else(|| no_port(text))?,
        }),
    };
    let with_port = |host: &str| match port {
        None => host.to_owned(),
        Some(port) if host.contains(':') => format!("[{host}]:{port}"),
        Some(port) => format!("{host}:{port}"),
    };
    match host {
        "" => Err(format!("{part:?} has no address")),
        "*" => Ok(vec![with_port("0.0.0.0"), with_port("::")]),
        host => Ok(vec![with_port(host)]),
    }
}

fn no_port(text: &str) -> String {
    format!("{text:?} is no port")
}

/// Only the text protocol is spoken: a listener for another one must not come up as if it were.
fn without_protocol(part: &str) -> Result<&str, String> {
    let Some(named) = part.strip_prefix("proto[") else { return Ok(part) };
    let (name, rest) = named.split_once(']').ok_or_else(|| format!("{part:?}: a ] is missing"))?;
    match name {
        "binary" => return Err("the binary protocol is not spoken".to_owned()),
        "proxy" => return Err("there is no proxy".to_owned()),
        // memcached takes any other name for its default.
        _ => {}
    }
    Ok(rest.strip_prefix(':').unwrap_or(rest))
}

/// A tag names a listener in memcached's proxy and log; nothing here asks for it.
fn without_tag(part: &str) -> Result<&str, String> {
    let (tagged, close) = match (part.strip_prefix("tag["), part.strip_prefix("tag_")) {
        (Some(tagged), _) => (tagged, ']'),
        (None, Some(tagged)) => (tagged, '_'),
        (None, None) => return Ok(part),
    };
    let (name, rest) = tagged.split_once(close).ok_or_else(|| format!("{part:?}: a {close} is missing"))?;
    if !(1..=TAG_BYTES_MAX).contains(&name.len()) {
        return Err(format!("a tag has 1 to {TAG_BYTES_MAX} bytes, not {name:?}"));
    }
    Ok(rest.strip_prefix(':').unwrap_or(rest))
}

/// The host without brackets, and the port if there is one.
fn host_and_port(part: &str) -> Result<(&str, Option<&str>), String> {
    if let Some(bracketed) = part.strip_prefix('[') {
        let (host, rest) = bracketed.split_once(']').ok_or_else(|| format!("{part:?}: a ] is missing"))?;
        return Ok((host, rest.split_once(':').map(|(_, port)| port)));
    }
    // Two colons or more, and no brackets: an IPv6 address without a port.
    Ok(match part.split_once(':') {
        Some((host, port)) if !port.contains(':') => (host, Some(port)),
        _ => (part, None),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn listeners_are_read_as_memcached_reads_them() {
        let cases: [(&str, Option<&[&str]>); 24] = [
            ("127.0.0.1", Some(&["127.0.0.1"])),
            ("127.0.0.1,::1", Some(&["127.0.0.1", "::1"])),
            ("127.0.0.1;::1", Some(&["127.0.0.1", "::1"])),
            (",127.0.0.1,,127.0.0.1", Some(&["127.0.0.1"])),
            ("[::1]", Some(&["::1"])),
            ("[::1]:11212", Some(&["[::1]:11212"])),
            ("localhost:11212", Some(&["localhost:11212"])),
            ("*", Some(&["0.0.0.0", "::"])),
            ("*:11212", Some(&["0.0.0.0:11212", "[::]:11212"])),
            ("127.0.0.1:-1", Some(&["127.0.0.1:0"])),
            ("proto[ascii]:127.0.0.1", Some(&["127.0.0.1"])),
            ("proto[negotiating]:127.0.0.1", Some(&["127.0.0.1"])),
            (
                "proto[ascii]:tag[services]:10.0.0.1:1,proto[ascii]:tag_tools_:10.0.0.1:2",
                Some(&["10.0.0.1:1", "10.0.0.1:2"]),
            ),
            ("127.0.0.1:x", None),
            ("127.0.0.1:", None),
            ("127.0.0.1:70000", None),
            (":11212", None),
            ("[::1", None),
            ("proto[binary]:127.0.0.1", None),
            ("proto[proxy]:127.0.0.1", None),
            ("proto[ascii:127.0.0.1", None),
            ("tag[]:127.0.0.1", None),
            ("tag[ninebytes]:127.0.0.1", None),
            ("notls:127.0.0.1:11211", None),
        ];
        for (value, expected) in cases {
            let mut listeners = Vec::new();
            let read = add(&mut listeners, value).ok().map(|()| listeners.as_slice());
            let read = read.map(|read| read.iter().map(String::as_str).collect::<Vec<_>>());
            assert_eq!(read.as_deref(), expected, "{value}");
        }
    }
}

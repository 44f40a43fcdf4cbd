//! Whom to join: `HOST[:PEERPORT],…`.
//!
//! Must not look names up: that is done again and again while the node runs.

use std::fmt;
use std::net::Ipv6Addr;

/// One place to look for nodes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct JoinTarget {
    /// A name, which stands for all its addresses, or an address.
    pub host: String,
    /// The peer port there; this node's own by default.
    pub port: Option<u16>,
}

/// The most places: they are looked up one after another, every few seconds.
const TARGETS_MAX: usize = 256;

impl fmt::Display for JoinTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.port {
            Some(port) => write!(f, "{}:{port}", self.host),
            None => f.write_str(&self.host),
        }
    }
}

pub(super) fn targets(text: &str) -> Result<Vec<JoinTarget>, String> {
    let targets: Vec<JoinTarget> =
        text.split(',').map(str::trim).filter(|part| !part.is_empty()).map(target).collect::<Result<_, _>>()?;
    if targets.len() > TARGETS_MAX {
        return Err(format!("{} places are more than {TARGETS_MAX}", targets.len()));
    }
    Ok(targets)
}

fn target(text: &str) -> Result<JoinTarget, String> {
    let expected = || format!("expected HOST[:PEERPORT], not {text:?}");
    let (host, port) = match text.strip_prefix('[') {
        Some(bracketed) => {
            let (host, rest) = bracketed.split_once(']').ok_or_else(expected)?;
            (host, if rest.is_empty() { None } else { Some(rest.strip_prefix(':').ok_or_else(expected)?) })
        }
        None if text.parse::<Ipv6Addr>().is_ok() => (text, None),
        None => text.split_once(':').map_or((text, None), |(host, port)| (host, Some(port))),
    };
    let port = match port {
        Some(port) => Some(port.parse::<u16>().ok().filter(|&port| port != 0).ok_or_else(expected)?),
        None => None,
    };
    if host.is_empty() || host.contains(['/', ' ', '[']) || (host.contains(':') && host.parse::<Ipv6Addr>().is_err()) {
        return Err(expected());
    }
    Ok(JoinTarget { host: host.to_owned(), port })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_is_a_host_and_perhaps_a_port() {
        type Case = (&'static str, Option<&'static [(&'static str, Option<u16>)]>);
        let cases: [Case; 12] = [
            ("", Some(&[])),
            ("a", Some(&[("a", None)])),
            ("a:1,b", Some(&[("a", Some(1)), ("b", None)])),
            ("a, b:2,", Some(&[("a", None), ("b", Some(2))])),
            ("10.0.0.1:11212", Some(&[("10.0.0.1", Some(11_212))])),
            ("::1", Some(&[("::1", None)])),
            ("[::1]:7", Some(&[("::1", Some(7))])),
            ("[::1]", Some(&[("::1", None)])),
            ("a:0", None),
            ("a:b", None),
            ("[::1", None),
            ("http://a", None),
        ];
        for (text, expected) in cases {
            let got = targets(text).ok();
            let got: Option<Vec<_>> = got.as_ref().map(|got| got.iter().map(|t| (t.host.as_str(), t.port)).collect());
            assert_eq!(got.as_deref(), expected, "{text}");
        }
    }
}

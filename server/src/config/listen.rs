//! Where clients are waited for: `ADDRESS[:PORT],…`.
//!
//! Must not look names up or bind anything (`sockets`).

use std::fmt;
use std::net::Ipv6Addr;

/// One place to listen for clients.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ListenAddress {
    /// An address or a name, which stands for all its addresses; `0.0.0.0` for every address of IPv4, `::` for every one.
    pub host: String,
    /// The port there; `--port` if absent.
    pub port: Option<u16>,
}

/// The most places: each is a socket, and there are no hosts with more addresses than this to tell apart.
const ADDRESSES_MAX: usize = 64;

/// memcached's word for a listener without TLS where others have it. All of ours are.
const PLAIN: &str = "notls:";

impl fmt::Display for ListenAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.port {
            Some(port) if self.host.contains(':') => write!(f, "[{}]:{port}", self.host),
            Some(port) => write!(f, "{}:{port}", self.host),
            None => f.write_str(&self.host),
        }
    }
}

/// Reads a list. Commas and semicolons separate, as in memcached.
pub(super) fn addresses(text: &str) -> Result<Vec<ListenAddress>, String> {
    let parts = text.split([',', ';']).map(str::trim).filter(|part| !part.is_empty());
    let addresses: Vec<_> = parts.map(address).collect::<Result<_, _>>()?;
    match addresses.len() {
        0 => Err("expected ADDRESS[:PORT],…".to_owned()),
        1..=ADDRESSES_MAX => Ok(addresses),
        count => Err(format!("{count} addresses are more than {ADDRESSES_MAX}")),
    }
}

fn address(text: &str) -> Result<ListenAddress, String> {
    let expected = || format!("expected ADDRESS[:PORT], not {text:?}");
    let text = text.strip_prefix(PLAIN).unwrap_or(text);
    let (host, port) = match text.strip_prefix('[') {
        Some(bracketed) => {
            let (host, rest) = bracketed.split_once(']').ok_or_else(expected)?;
            host.parse::<Ipv6Addr>().map_err(|_| expected())?;
            (host, if rest.is_empty() { None } else { Some(rest.strip_prefix(':').ok_or_else(expected)?) })
        }
        None if text.parse::<Ipv6Addr>().is_ok() => (text, None),
        None => text.split_once(':').map_or((text, None), |(host, port)| (host, Some(port))),
    };
    let port = match port {
        Some(port) => Some(port.parse::<u16>().map_err(|_| expected())?),
        None => None,
    };
    let host = if host == "*" { "0.0.0.0" } else { host };
    if host.is_empty() || host.contains(['/', ' ', '[', ']', '*']) {
        return Err(expected());
    }
    Ok(ListenAddress { host: host.to_owned(), port })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_may_have_a_port() {
        type Case = (&'static str, Option<&'static [(&'static str, Option<u16>)]>);
        let cases: [Case; 20] = [
            ("127.0.0.1", Some(&[("127.0.0.1", None)])),
            ("127.0.0.1:1", Some(&[("127.0.0.1", Some(1))])),
            ("a, b:0;c", Some(&[("a", None), ("b", Some(0)), ("c", None)])),
            ("::1", Some(&[("::1", None)])),
            ("[::1]", Some(&[("::1", None)])),
            ("[::1]:11211,::", Some(&[("::1", Some(11_211)), ("::", None)])),
            ("*", Some(&[("0.0.0.0", None)])),
            ("*:7", Some(&[("0.0.0.0", Some(7))])),
            ("notls:127.0.0.1:7", Some(&[("127.0.0.1", Some(7))])),
            ("notls:[::1]", Some(&[("::1", None)])),
            ("", None),
            (",", None),
            ("notls:", None),
            (":7", None),
            ("a:b", None),
            ("a:65536", None),
            ("a:", None),
            ("[::1", None),
            ("[a]:1", None),
            ("tcp://a", None),
        ];
        for (text, expected) in cases {
            let got = addresses(text).ok();
            let got: Option<Vec<_>> =
                got.as_ref().map(|got| got.iter().map(|at| (at.host.as_str(), at.port)).collect());
            assert_eq!(got.as_deref(), expected, "{text}");
        }
        assert!(addresses(&"a,".repeat(ADDRESSES_MAX)).is_ok());
        assert!(addresses(&"a,".repeat(ADDRESSES_MAX + 1)).is_err());
    }

    #[test]
    fn an_address_is_shown_as_it_may_be_given() {
        for text in ["127.0.0.1", "127.0.0.1:1", "::1", "[::1]:1"] {
            assert_eq!(addresses(text).map(|all| all[0].to_string()), Ok(text.to_owned()));
        }
    }
}

//! A node that is started like memcached: its arguments over the environment and the file, and memcached's defaults.
//!
//! Must not know how memcached's arguments are written: they come as options of `memring serve`, each with the words that
//! an error names it by.

use std::path::PathBuf;

use super::join;
use super::layers::{File, Given, Source, is_service_link, merge, parse_file, process_environment, text_of};
use super::options::{CHOICES, Choice};
use super::{Config, ConfigError};

/// One option of `memring serve` as memcached's arguments mean it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Meant {
    /// Its name: the flag without dashes.
    pub option: &'static str,
    /// Its value.
    pub value: String,
    /// memcached's argument: how an error names it.
    pub written: String,
}

/// memcached's own defaults.
const DEFAULTS: [(&str, &str); 4] =
    [("memory-limit", "64"), ("max-item-size", "1m"), ("conn-limit", "1024"), ("threads", "4")];

/// What holds for a node that joins nobody: several on one host must not collide, as memcached's do not, and nothing but
/// the client port is open to others.
const DEFAULTS_ALONE: [(&str, &str); 4] =
    [("replicas", "1"), ("peer-listen", "127.0.0.1"), ("peer-port", "0"), ("admin-port", "0")];

/// The config that memcached's arguments, this process's environment and the file that it names say. `all_addresses`
/// is what `listen` is by default.
pub fn from_memcached(meant: &[Meant], all_addresses: &str, pid_file: Option<PathBuf>) -> Result<Config, ConfigError> {
    let file = File::open(None)?;
    let config = over_defaults(meant, all_addresses, &process_environment, file.as_ref())?;
    Ok(Config { pid_file, ..config })
}

fn over_defaults(
    meant: &[Meant],
    all_addresses: &str,
    environment: &dyn Fn(&str) -> Option<String>,
    file: Option<&File>,
) -> Result<Config, ConfigError> {
    // Leaving one out in silence could leave the door open that it was to close.
    if let Some(Meant { option, written, .. }) = meant.iter().find(|meant| !is_option(meant.option)) {
        return Err(ConfigError(format!("{written}: there is no --{option}")));
    }
    let flags = |choice: &Choice| {
        let Meant { value, written, .. } = meant.iter().find(|meant| meant.option == choice.name)?.clone();
        Some(Given { source: Source::Memcached(written), name: choice.name, text: value })
    };
    let mut defaults = vec![("listen", all_addresses)];
    defaults.extend(DEFAULTS);
    if !joins(environment, file)? {
        defaults.extend(DEFAULTS_ALONE);
    }
    merge(&flags, environment, file, &defaults).map(|(config, _)| config)
}

fn is_option(name: &str) -> bool {
    CHOICES.iter().any(|choice| choice.name == name)
}

/// Whether the environment, or else the file, names nodes to join: memcached's arguments cannot.
fn joins(environment: &dyn Fn(&str) -> Option<String>, file: Option<&File>) -> Result<bool, ConfigError> {
    let in_file = match file {
        Some(file) => parse_file(file)?.get("join").and_then(text_of),
        None => None,
    };
    let text = environment("MEMRING_JOIN").filter(|text| !is_service_link(text)).or(in_file).unwrap_or_default();
    // A wrong text is told of with its source later.
    Ok(join::targets(&text).is_ok_and(|targets| !targets.is_empty()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(meant: &[(&'static str, &str, &str)], variables: &[(&str, &str)], file: &str) -> Result<Config, String> {
        let meant: Vec<Meant> = meant
            .iter()
            .map(|&(option, value, written)| Meant { option, value: value.to_owned(), written: written.to_owned() })
            .collect();
        let environment =
            |variable: &str| variables.iter().find(|(known, _)| *known == variable).map(|(_, text)| (*text).to_owned());
        let file = File { path: "memring.toml".to_owned(), text: file.to_owned() };
        over_defaults(&meant, "0.0.0.0,::", &environment, Some(&file)).map_err(|error| error.to_string())
    }

    #[test]
    fn alone_it_has_memcacheds_defaults_and_one_copy() {
        let config = check(&[], &[], "").expect("legal");
        assert_eq!((config.port, config.memory_limit_bytes, config.item_bytes_max), (11_211, 64 << 20, 1 << 20));
        assert_eq!((config.conn_limit, config.threads, config.replicas), (1024, Some(4), 1));
        assert_eq!((config.peer_port, config.admin_port, config.peer_host()), (0, 0, "127.0.0.1"));
        let listen: Vec<String> = config.listen.iter().map(ToString::to_string).collect();
        assert_eq!(listen, ["0.0.0.0", "::"]);
        for (name, _) in DEFAULTS.iter().chain(&DEFAULTS_ALONE) {
            assert!(is_option(name), "{name}");
        }
    }

    #[test]
    fn a_unix_socket_leaves_no_port_for_clients() {
        let socket: &[_] = &[("socket", "/a", "-s /a")];
        assert!(!check(socket, &[], "").expect("legal").tcp_for_clients);
        assert!(check(socket, &[("MEMRING_PORT", "11222")], "").expect("legal").tcp_for_clients);
    }

    #[test]
    fn one_that_joins_has_memrings_ports_and_copies() {
        for (variables, file, alone) in [
            (&[("MEMRING_JOIN", "a")][..], "", false),
            (&[][..], "join = ['a', 'b']", false),
            (&[("MEMRING_JOIN", "")][..], "join = 'a'", true),
            // A link to a Kubernetes service called memring-join.
            (&[("MEMRING_JOIN", "tcp://10.0.0.1:1")][..], "", true),
            (&[("MEMRING_JOIN", " , ")][..], "", true),
        ] {
            let config = check(&[], variables, file).expect("legal");
            let expected = if alone { (0, 0, 1) } else { (11_212, 11_213, 3) };
            assert_eq!((config.peer_port, config.admin_port, config.replicas), expected, "{variables:?} {file}");
            assert_eq!(config.peer_host(), if alone { "127.0.0.1" } else { "0.0.0.0" }, "{variables:?} {file}");
            assert_eq!(config.conn_limit, 1024, "the rest stays memcached's");
        }
    }

    #[test]
    fn arguments_win_over_variables_over_the_file_over_memcacheds_defaults() {
        let argument: &[_] = &[("memory-limit", "1", "-m 1")];
        let variable: &[_] = &[("MEMRING_MEMORY_LIMIT", "2")];
        let small = "max-item-size = 1024\n";
        for (meant, variables, file, megabytes) in [
            (argument, variable, "memory-limit = 3", 1),
            (&[][..], variable, "memory-limit = 3", 2),
            (&[][..], &[][..], "memory-limit = 3", 3),
            (&[][..], &[][..], "", 64),
        ] {
            let config = check(meant, variables, &[small, file].concat()).expect("legal");
            assert_eq!(config.memory_limit_bytes, megabytes << 20, "{meant:?} {variables:?} {file}");
        }
        let joined = check(&[], &[("MEMRING_JOIN", "a"), ("MEMRING_PEER_PORT", "7"), ("MEMRING_NAME", "n")], "");
        let joined = joined.expect("legal");
        assert_eq!((joined.peer_port, joined.name.map(|name| name.to_string()).as_deref()), (7, Some("n")));
    }

    #[test]
    fn an_error_names_the_argument_as_it_was_written() {
        for (meant, variables, error) in [
            (
                &[("conn-limit", "2000000", "-c 2000000")][..],
                &[][..],
                "-c 2000000: expected a number from 1 to 1000000",
            ),
            (
                &[("port", "11212", "--port 11212")][..],
                &[("MEMRING_JOIN", "a")][..],
                "--port 11212: the same as --peer-port 11212",
            ),
            (&[][..], &[("MEMRING_JOIN", "a:b")][..], "MEMRING_JOIN=a:b: expected HOST[:PEERPORT], not \"a:b\""),
            (&[("no-such", "true", "-q")][..], &[][..], "-q: there is no --no-such"),
            (&[][..], &[("MEMRING_WRITE", "2")][..], "MEMRING_WRITE=2: more than --replicas 1"),
        ] {
            assert_eq!(check(meant, variables, "").map(|_| ()), Err(error.to_owned()));
        }
    }
}

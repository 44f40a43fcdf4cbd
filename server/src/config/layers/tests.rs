//! Tables of what wins and what is refused. Must not touch the process's own environment.

use super::*;

/// Merges given sources: flags and variables as pairs, the file as text.
fn check(flags: &[(&str, &str)], variables: &[(&str, &str)], file: &str) -> Result<Config, String> {
    let find = |pairs: &[(&str, &str)], name: &str| {
        pairs.iter().find(|(known, _)| *known == name).map(|(_, text)| (*text).to_owned())
    };
    let file = File { path: "memring.toml".to_owned(), text: file.to_owned() };
    let flag =
        |choice: &Choice| Some(Given { source: Source::Flag, name: choice.name, text: find(flags, choice.name)? });
    let merged = merge(&flag, &|variable| find(variables, variable), Some(&file), &[]);
    merged.map(|(config, _)| config).map_err(|error| error.to_string())
}

#[test]
fn flags_win_over_variables_over_the_file_over_defaults() {
    let flag: &[(&str, &str)] = &[("port", "1")];
    let variable: &[(&str, &str)] = &[("MEMRING_PORT", "2")];
    for (flags, variables, file, port) in [
        (flag, variable, "port = 3", 1),
        (&[][..], variable, "port = 3", 2),
        (&[][..], &[][..], "port = 3", 3),
        (&[][..], &[][..], "", 11_211),
        // A link to a Kubernetes service called memring is no port.
        (&[][..], &[("MEMRING_PORT", "tcp://10.0.0.1:11211")][..], "port = 3", 3),
    ] {
        assert_eq!(check(flags, variables, file).map(|config| config.port), Ok(port), "{flags:?} {variables:?} {file}");
    }
}

#[test]
fn a_file_says_what_flags_say() {
    let config = check(
        &[],
        &[("MEMRING_REJOIN_EMPTY", "1")],
        "memory-limit = 128\nmax-item-size = '1m'\njoin = ['a', 'b:7']\nweight = 0.5\nrefound-after = '5s'\n\
         [[namespace]]\nprefix = 'lock:'\nread = 'all'\nwrite = 2\n",
    )
    .expect("legal");
    assert_eq!((config.memory_limit_bytes, config.item_bytes_max), (128 << 20, 1 << 20));
    assert_eq!(config.join.iter().map(ToString::to_string).collect::<Vec<_>>(), ["a", "b:7"]);
    assert_eq!((config.weight, config.refound_after.as_secs(), config.rejoin_empty), (50, 5, true));
    let namespace = &config.namespaces[0];
    assert_eq!((namespace.prefix.as_slice(), namespace.read), (&b"lock:"[..], Some(Level::All)));
    assert_eq!(namespace.write.map(|level| level.to_string()), Some("2".to_owned()));
}

#[test]
fn a_bad_value_is_one_line_that_names_it() {
    let flags: [(&[(&str, &str)], &str); 22] = [
        (&[("port", "65536")], "--port 65536: expected a number from 0 to 65535"),
        (&[("port", "-1")], "--port -1: expected a number from 0 to 65535"),
        (&[("port", "11212")], "--port 11212: the same as --peer-port 11212"),
        (&[("admin-port", "11211")], "--admin-port 11211: the same as --port 11211"),
        (&[("expect", "0")], "--expect 0: expected a number from 1 to 1024"),
        (&[("write", "4"), ("replicas", "3")], "--write 4: more than --replicas 3"),
        (&[("read", "4")], "--read 4: more than --replicas 3"),
        (&[("read", "most")], "--read most: a level is one, quorum, all or a number from 1 to 255"),
        (
            &[("memory-limit", "1m"), ("max-item-size", "600k")],
            "--max-item-size 600k: more than half of --memory-limit 1m",
        ),
        (&[("max-item-size", "512")], "--max-item-size 512: the least is 1k"),
        (&[("max-item-size", "2g")], "--max-item-size 2g: the most is 1024m"),
        (&[("max-item-size", "1g")], "--max-item-size 1g: more than half of --memory-limit 64m"),
        (&[("name", "a b")], "--name a b: a node name is 1 to 253 visible ASCII characters without space or comma"),
        (&[("listen", "a,b:x")], "--listen a,b:x: expected ADDRESS[:PORT], not \"b:x\""),
        (&[("listen", "")], "--listen : expected ADDRESS[:PORT],…"),
        (&[("peer-listen", "a,b")], "--peer-listen a,b: expected one address or host name"),
        (&[("socket", "")], "--socket : expected a path of 1 to 107 bytes"),
        (&[("socket-mode", "0800")], "--socket-mode 0800: expected octal digits from 0 to 777"),
        (&[("socket-mode", "1777")], "--socket-mode 1777: expected octal digits from 0 to 777"),
        (&[("socket-mode", "")], "--socket-mode : expected octal digits from 0 to 777"),
        (&[("idle-timeout", "1m")], "--idle-timeout 1m: expected a number from 0 to 1000000000"),
        (&[("enable-shutdown", "perhaps")], "--enable-shutdown perhaps: expected true or false"),
    ];
    for (flags, error) in flags {
        assert_eq!(check(flags, &[], "").map(|_| ()), Err(error.to_owned()));
    }
    assert_eq!(
        check(&[], &[("MEMRING_UNMET", "maybe")], "").map(|_| ()),
        Err("MEMRING_UNMET=maybe: expected miss or error".to_owned())
    );
    for (file, error) in [
        ("refound-after = 30", "memring.toml: refound-after = 30: expected a duration such as 500ms, 30s or 15m"),
        ("prot = 1", "memring.toml: unknown key prot"),
        ("[port]\na = 1", "memring.toml: port = { a = 1 }: expected one value"),
        ("[[namespace]]\nread = 'one'", "memring.toml: namespace: a prefix is needed"),
        ("[[namespace]]\nprefix = 'a'\nlevel = 1", "memring.toml: namespace \"a\": unknown key level"),
        ("[[namespace]]\nprefix = 'a'\nwrite = 9", "namespace \"a\": write = 9: more than --replicas 3"),
        ("namespace = 1", "memring.toml: write namespaces as [[namespace]]"),
    ] {
        assert_eq!(check(&[], &[], file).map(|_| ()), Err(error.to_owned()));
    }
    let broken = check(&[], &[], "port = 1\nname =\n").expect_err("no value");
    assert!(broken.starts_with("memring.toml: line 2: ") && !broken.contains('\n'), "{broken}");
}

#[test]
fn the_front_door_is_as_it_is_told() {
    let config = check(
        &[("listen", "*,[::1]:7"), ("socket", "/run/m.sock"), ("socket-mode", "770"), ("peer-listen", "[::1]")],
        &[("MEMRING_ENABLE_SHUTDOWN", "1"), ("MEMRING_IDLE_TIMEOUT", "60")],
        "disable-flush-all = true\ndisable-dumping = true\ndisable-watch = true\nmax-item-size = '7m'\n",
    )
    .expect("legal");
    assert_eq!(config.listen.iter().map(ToString::to_string).collect::<Vec<_>>(), ["0.0.0.0", "[::1]:7"]);
    assert_eq!((config.socket.as_deref(), config.socket_mode), (Some("/run/m.sock"), 0o770));
    assert_eq!((config.peer_host(), config.idle_timeout_s, config.item_bytes_max), ("::1", 60, 7 << 20));
    assert!(config.enable_shutdown && config.disable_flush_all && config.disable_dumping && config.disable_watch);
    assert_eq!(check(&[("listen", "a:1,b")], &[], "").expect("legal").peer_host(), "a");
    let listed = check(&[], &[], "listen = ['a', 'b:1']").expect("legal").listen;
    assert_eq!(listed.iter().map(ToString::to_string).collect::<Vec<_>>(), ["a", "b:1"]);
}

#[test]
fn a_unix_socket_takes_the_place_of_ports_that_are_not_asked_for() {
    let socket = ("socket", "/run/m.sock");
    for (flags, tcp) in [
        (&[][..], true),
        (&[("port", "0")][..], true),
        (&[socket][..], false),
        (&[socket, ("port", "11311")][..], true),
        (&[socket, ("listen", "127.0.0.1")][..], true),
        (&[socket, ("port", "0")][..], false),
        (&[socket, ("listen", "127.0.0.1"), ("port", "0")][..], false),
        // Without a port for clients there is none that could be taken.
        (&[socket, ("admin-port", "11211")][..], false),
    ] {
        assert_eq!(check(flags, &[], "").map(|config| config.tcp_for_clients), Ok(tcp), "{flags:?}");
    }
}

#[test]
fn an_auth_file_is_read_at_the_start() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("users").to_string_lossy().into_owned();
    let read = || check(&[("auth-file", &path)], &[], "").map(|config| config.auth_file);
    let refused = |why: &str| Err(format!("--auth-file {path}: {why}"));
    assert_eq!(read(), refused("No such file or directory (os error 2)"));
    for (text, why) in [
        ("", "empty: expected lines of user:password"),
        ("secret", "line 1: expected user:password"),
        (&"a:b\n".repeat(20_000), "more than 65536 bytes"),
    ] {
        std::fs::write(&path, text).expect("written");
        assert_eq!(read(), refused(why));
    }
    assert_eq!(
        check(&[("auth-file", "/dev/null")], &[], "").map(|_| ()),
        Err("--auth-file /dev/null: not a regular file".to_owned())
    );
    std::fs::write(&path, "bob:x\n").expect("written");
    let file = read().expect("legal").expect("there is one");
    assert!(file.path == path && file.accounts.hold(b"bob", b"x") && !file.accounts.hold(b"bob", b"y"));
}

#[test]
fn flags_can_be_handed_on() {
    let command = command(Command::new("serve"));
    let matches = command.clone().try_get_matches_from(["serve", "-m", "100", "-vv", "--rejoin-empty"]).expect("legal");
    let words: Vec<String> = given_flags(&matches).into_iter().flat_map(|(_, words)| words).collect();
    assert_eq!(words, ["--memory-limit", "100", "--rejoin-empty", "--verbose", "--verbose"]);
    let matches =
        command.try_get_matches_from(["serve", "-l", "a", "--listen", "b:1,c", "--join", "d"]).expect("legal");
    let words: Vec<String> = given_flags(&matches).into_iter().flat_map(|(_, words)| words).collect();
    assert_eq!(words, ["--listen", "a,b:1,c", "--join", "d"]);
}

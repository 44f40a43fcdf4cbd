//! Tables of what wins and what is refused. Must not touch the process's own environment.

use super::*;

/// Merges given sources: flags and variables as pairs, the file as text.
fn check(flags: &[(&str, &str)], variables: &[(&str, &str)], file: &str) -> Result<Config, String> {
    let find = |pairs: &[(&str, &str)], name: &str| {
        pairs.iter().find(|(known, _)| *known == name).map(|(_, text)| (*text).to_owned())
    };
    let file = File { path: "memring.toml".to_owned(), text: file.to_owned() };
    merge(&|choice| find(flags, choice.name), &|variable| find(variables, variable), Some(&file))
        .map_err(|error| error.to_string())
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
    let flags: [(&[(&str, &str)], &str); 13] = [
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
        (&[("max-item-size", "2g")], "--max-item-size 2g: the most is 1m"),
        (&[("name", "a b")], "--name a b: a node name is 1 to 253 visible ASCII characters without space or comma"),
        (&[("listen", "a,b")], "--listen a,b: expected one address or host name"),
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
fn flags_can_be_handed_on() {
    let command = command(Command::new("serve"));
    let matches = command.try_get_matches_from(["serve", "-m", "100", "-vv", "--rejoin-empty"]).expect("legal");
    let words: Vec<String> = given_flags(&matches).into_iter().flat_map(|(_, words)| words).collect();
    assert_eq!(words, ["--memory-limit", "100", "--rejoin-empty", "--verbose", "--verbose"]);
}

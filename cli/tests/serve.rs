//! `memring serve` told what cannot be, and asked what would hold: no node is run. Must not know how arguments are read.

use std::path::Path;
use std::process::{Command, Output};

mod real;

use real::{ended, memring};

const MEMRING: &str = env!("CARGO_BIN_EXE_memring");

/// A config file of its own for each test process.
fn config_file(name: &str, text: &str) -> String {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{name}-{}.toml", std::process::id()));
    std::fs::write(&path, text).expect("written");
    path.to_string_lossy().into_owned()
}

#[test]
fn a_level_above_the_copies_is_refused_at_the_start() {
    let file = config_file("serve", "[[namespace]]\nprefix = 'lock:'\nread = 'one'\nwrite = 4\n");
    let of_namespace = "memring: namespace \"lock:\": write = 4: more than --replicas 3\n";
    for (arguments, variable, line) in [
        (&["--write", "4", "--replicas", "3"][..], "", "memring: --write 4: more than --replicas 3\n"),
        (&["--read", "2", "--replicas", "1"], "", "memring: --read 2: more than --replicas 1\n"),
        (&["--write", "4"], "", "memring: --write 4: more than --replicas 3\n"),
        (&[], "MEMRING_READ=16", "memring: MEMRING_READ=16: more than --replicas 3\n"),
        (&["--config", &file], "", of_namespace),
        (&["--write", "0"], "", "memring: --write 0: a level is one, quorum, all or a number from 1 to 255\n"),
    ] {
        let mut command = Command::new(MEMRING);
        command.arg("serve").args(arguments);
        if let Some((name, value)) = variable.split_once('=') {
            command.env(name, value);
        }
        let Output { status, stdout, stderr } = command.output().expect("it runs");
        assert_eq!(String::from_utf8_lossy(&stderr), line, "{arguments:?} {variable}");
        assert_eq!((status.code(), stdout.len()), (Some(2), 0), "{arguments:?} {variable}");
    }
    std::fs::remove_file(file).expect("removed");
}

#[test]
fn a_check_shows_what_would_hold_and_where_it_comes_from() {
    let file = config_file("check", "memory-limit = '128m'\n[[namespace]]\nprefix = 'lock:'\nwrite = 'all'\n");
    let arguments = ["serve", "--check", "--config", &file, "--join", "no-such-host.invalid", "--threads", "2"];
    let (code, text, _) = ended(memring(&arguments).env("MEMRING_ZONE", "a"));
    assert_eq!(code, Some(0));
    for line in ["memory-limit = \"128m\"", "zone = \"a\"", "join = \"no-such-host.invalid\"", "# read: quorum"] {
        assert!(text.lines().any(|shown| shown.starts_with(line)), "{line} in {text}");
    }
    assert!(text.ends_with("\n[[namespace]]\nprefix = \"lock:\"\nwrite = \"all\"\n"), "{text}");
    // What is shown is itself a file that says the same.
    std::fs::write(&file, text).expect("written");
    let (code, json, _) = ended(&mut memring(&["serve", "--check", "--json", "--config", &file]));
    let shown: serde_json::Value = serde_json::from_str(&json).expect("JSON");
    let of = |name: &str| (shown["options"][name]["value"].clone(), shown["options"][name]["from"].clone());
    assert_eq!(code, Some(0));
    assert_eq!(of("zone"), ("a".into(), "file".into()));
    assert_eq!(of("socket"), (serde_json::Value::Null, "default".into()));
    assert_eq!(shown["namespaces"][0]["write"], "all");
    std::fs::remove_file(file).expect("removed");
}

#[test]
fn a_check_of_what_cannot_be_is_one_line() {
    for (arguments, line) in [
        (&["--port", "x"][..], "memring: --port x: expected a number from 0 to 65535\n"),
        (&["--join", "a:b"], "memring: --join a:b: "),
        (&["--socket", "/nowhere/socket"], "memring: --socket /nowhere/socket: No such file or directory"),
        (&["--data-dir", "/dev/null/x"], "memring: --data-dir /dev/null/x: "),
    ] {
        let (code, stdout, stderr) = ended(memring(&["serve", "--check"]).args(arguments));
        assert_eq!((code, stdout.as_str(), stderr.lines().count()), (Some(2), "", 1), "{stderr}");
        assert!(stderr.starts_with(line), "{stderr}");
    }
}

//! `memring serve` told what cannot be: one line, exit code 2, and no node. Must not know how arguments are read.

use std::path::Path;
use std::process::{Command, Output};

const MEMRING: &str = env!("CARGO_BIN_EXE_memring");

/// A config file of its own for each test process.
fn config_file(text: &str) -> String {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("serve-{}.toml", std::process::id()));
    std::fs::write(&path, text).expect("written");
    path.to_string_lossy().into_owned()
}

#[test]
fn a_level_above_the_copies_is_refused_at_the_start() {
    let file = config_file("[[namespace]]\nprefix = 'lock:'\nread = 'one'\nwrite = 4\n");
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

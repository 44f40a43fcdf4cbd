//! The binary in memcached's place: its name, its exit codes. Must not know how arguments are read (`cli/src/memcached`).

use std::path::Path;
use std::process::{Command, Output};

const MEMRING: &str = env!("CARGO_BIN_EXE_memring");

fn memcached(arguments: &[&str]) -> Command {
    let mut command = Command::new(MEMRING);
    command.arg("memcached").args(arguments);
    command
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).expect("text")
}

#[test]
fn a_link_called_memcached_is_memcached() {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("link-{}", std::process::id()));
    std::fs::create_dir_all(&folder).expect("a folder");
    let link = folder.join("memcached");
    std::os::unix::fs::symlink(MEMRING, &link).expect("a link");
    let linked = Command::new(&link).arg("-V").output().expect("it runs");
    let named = memcached(&["-V"]).output().expect("it runs");
    std::fs::remove_dir_all(&folder).expect("removed");
    for Output { status, stdout, .. } in [linked, named] {
        assert_eq!(status.code(), Some(0));
        assert!(text(&stdout).starts_with("memcached "), "{}", text(&stdout));
    }
    // By its own name it is memring.
    let memring = Command::new(MEMRING).arg("--version").output().expect("it runs");
    assert!(text(&memring.stdout).starts_with("memring "), "{}", text(&memring.stdout));
}

#[test]
fn what_is_wrong_is_one_line() {
    for (arguments, code) in [
        (&["-q"][..], 1),
        (&["-m"], 1),
        (&["--nope"], 1),
        (&["-o", "bogus"], 1),
        (&["-I", "5g"], 2),
        (&["-c", "0"], 2),
        (&["-c", "2000000"], 2),
        (&["-Z"], 2),
        (&["-S"], 2),
    ] {
        let Output { status, stdout, stderr } = memcached(arguments).output().expect("it runs");
        assert_eq!((status.code(), text(&stdout)), (Some(code), ""), "{arguments:?}");
        assert!(text(&stderr).starts_with("memring memcached: -"), "{}", text(&stderr));
        assert_eq!(text(&stderr).lines().count(), 1, "{}", text(&stderr));
    }
}

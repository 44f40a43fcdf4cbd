//! The binary in memcached's place: its name, its exit codes, a chart's arguments. Must not know how arguments are read (`cli/src/memcached`).

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::Duration;

mod real;

use real::{Process, memring};

const MEMRING: &str = env!("CARGO_BIN_EXE_memring");

fn memcached(arguments: &[&str]) -> Command {
    let mut command = memring(&["memcached"]);
    command.args(arguments);
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
    let own = memring(&["--version"]).output().expect("it runs");
    assert!(text(&own.stdout).starts_with("memring "), "{}", text(&own.stdout));
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

#[test]
fn a_chart_starts_a_node_that_takes_its_largest_chunks() {
    // Loki's list as its chart writes it; only where to listen is the test's own.
    let arguments = [
        "-m 8192",
        "--extended=modern,track_sizes,ext_path=/data/file:9G,ext_wbuf_size=16",
        "-I 5m",
        "-c 16384",
        "-v",
        "-u 11211",
        "-t 4",
        "-l 127.0.0.1",
        "-p -1",
    ];
    let mut node = Process::start(memcached(&arguments).stderr(Stdio::piped()));
    let mut lines = BufReader::new(node.0.stderr.take().expect("piped")).lines().map(|line| line.expect("text"));
    assert_eq!(
        lines.next().as_deref(),
        Some("memring memcached: no meaning here, ignored: -o modern, track_sizes, ext_path, ext_wbuf_size")
    );
    let hello = lines.find_map(|line| Some(line.split_once("clients on tcp:")?.1.to_owned())).expect("it listens");
    let address = hello.split(',').next().expect("one address");

    let mut client = TcpStream::connect(address).expect("it answers");
    client.set_read_timeout(Some(Duration::from_secs(30))).expect("a socket");
    let value = "x".repeat(1_500_000);
    write!(client, "set chunk 0 0 {}\r\n{value}\r\nget chunk\r\n", value.len()).expect("sent");
    let expected = format!("STORED\r\nVALUE chunk 0 {}\r\n{value}\r\nEND\r\n", value.len());
    let mut answer = vec![0; expected.len()];
    client.read_exact(&mut answer).expect("answered");
    assert!(answer == expected.as_bytes(), "{}", String::from_utf8_lossy(&answer[..80]));
}

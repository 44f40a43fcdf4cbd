//! Tables of what memcached's arguments mean and which are refused; the values are those that memcached 1.6.45 itself
//! took or refused when it was tried. Must not start anything.

use super::translate::{Asked, Translation, translate};
use super::*;

/// The options as memcached hands them to getopt_long, a colon behind those with a value.
const LETTERS: &str = "a:AZp:s:U:m:Mc:khiVrvdl:u:P:f:n:t:D:LR:Cb:B:I:SFXWY:e:o:N:";

fn words(line: &str) -> Vec<String> {
    line.split('|').map(str::to_owned).collect()
}

/// Words are separated by bars, since spaces belong to them.
fn serve(line: &str) -> Result<Translation, UsageError> {
    match translate(&words(line))? {
        Asked::Serve(translation) => Ok(translation),
        other => panic!("{line}: {other:?}"),
    }
}

#[track_caller]
fn check(line: &str, meant: &[(&str, &str)], warnings: &[&str]) {
    let translation = serve(line).unwrap_or_else(|error| panic!("{line}: {error:?}"));
    let got: Vec<(&str, &str)> = translation.meant.iter().map(|m| (m.option, m.value.as_str())).collect();
    assert_eq!(got, meant, "{line}");
    assert_eq!(translation.warnings, warnings, "{line}");
}

#[track_caller]
fn check_refused(line: &str, error: &str) {
    assert_eq!(serve(line).map(|_| ()), Err(UsageError::value(error.to_owned())), "{line}");
}

#[test]
fn every_option_has_a_row_and_every_row_an_option() {
    let mut rows: Vec<String> = table::ROWS
        .iter()
        .map(|row| match row.takes {
            table::Takes::Value(_) => format!("{}:", row.letter),
            table::Takes::Nothing | table::Takes::Perhaps => row.letter.to_string(),
        })
        .collect();
    let mut letters: Vec<String> = Vec::new();
    for letter in LETTERS.chars() {
        match letter {
            ':' => letters.last_mut().expect("an option before its colon").push(':'),
            letter => letters.push(letter.to_string()),
        }
    }
    rows.sort();
    letters.sort();
    assert_eq!(rows, letters);
    let help = help::help();
    for row in table::ROWS {
        assert!(help.lines().any(|line| line.trim_start().starts_with(&format!("-{}", row.letter))), "-{}", row.letter);
        assert!(row.long.is_empty() || help.contains(&format!("--{}", row.long)), "--{}", row.long);
    }
    assert!(help.lines().all(|line| line.len() <= 120), "{help}");
}

#[test]
fn each_option_alone() {
    for (line, option, value) in [
        ("-p|11222", "port", "11222"),
        ("-p|-1", "port", "0"),
        ("-l|127.0.0.1", "listen", "127.0.0.1"),
        ("-s|/run/a socket", "socket", "/run/a socket"),
        ("-a|0755", "socket-mode", "755"),
        ("-m|1024", "memory-limit", "1024"),
        ("-I|512k", "max-item-size", "524288"),
        ("-I|2M", "max-item-size", "2097152"),
        ("-I|1048576", "max-item-size", "1048576"),
        ("-M", "disable-evictions", "true"),
        ("-c|4096", "conn-limit", "4096"),
        ("-t|2", "threads", "2"),
        ("-Y|/run/logins", "auth-file", "/run/logins"),
        ("-A", "enable-shutdown", "true"),
        ("-F", "disable-flush-all", "true"),
        ("-X", "disable-dumping", "true"),
        ("-W", "disable-watch", "true"),
        ("-v", "verbose", "1"),
        ("-vvv", "verbose", "3"),
        ("-o|idle_timeout=60", "idle-timeout", "60"),
        ("-o|idle_timeout=-1", "idle-timeout", "0"),
    ] {
        check(line, &[(option, value)], &[]);
    }
    for line in ["-B|auto", "-B|ascii", "-U|0", "-u|memcache", "-o|maxconns_fast", "-o|", "word", "-", "--|-q"] {
        check(line, &[], &[]);
    }
    for (line, named) in [
        ("-k", "-k"),
        ("--lock-memory", "--lock-memory"),
        ("-r", "-r"),
        ("-L", "-L"),
        ("-C", "-C"),
        ("-D|:", "-D"),
        ("-f|1.25", "-f"),
        ("-n|100", "-n"),
        ("-R|20", "-R"),
        ("-b|1024", "-b"),
        ("-e|/mnt/items", "-e"),
        ("-N|4", "-N"),
        ("-o|modern", "-o modern"),
    ] {
        check(line, &[], &[&format!("no meaning here, ignored: {named}")]);
    }
    check("-d", &[], &["-d: stays in the foreground"]);
    check("-U|11222", &[("port", "11222")], &["-U 11222: UDP is not spoken"]);
    let translation = serve("-u|memcache|-P|/run/memcached.pid").expect("legal");
    assert_eq!(
        (translation.user.as_deref(), translation.pid_file.as_deref()),
        (Some("memcache"), Some("/run/memcached.pid"))
    );
    for (line, asked) in [("-h", "Help"), ("--help|-q", "Help"), ("-V", "Version"), ("-vi", "License")] {
        let got = translate(&words(line)).expect("legal");
        assert_eq!(format!("{got:?}"), asked, "{line}");
    }
}

#[test]
fn options_are_written_in_many_ways() {
    for line in [
        "-m|1024",
        "-m1024",
        "-m 1024",
        "-m  1024 ",
        "--memory-limit|1024",
        "--memory-limit=1024",
        "--memory-limit= 1024",
        "--memory-l=1024",
        "-m|1|-m|1024",
        "stray|-m|1024|words",
    ] {
        check(line, &[("memory-limit", "1024")], &[]);
    }
    check("-vMm 100", &[("disable-evictions", "true"), ("memory-limit", "100"), ("verbose", "1")], &[]);
    check("-dv", &[("verbose", "1")], &["-d: stays in the foreground"]);
    check("--verbose=3|--verbose|3", &[("verbose", "2")], &[]);
    check("-m|100|--|-m|200", &[("memory-limit", "100")], &[]);
}

#[test]
fn lists_of_charts() {
    // Loki's, chunks and results.
    check(
        "-m 8192|--extended=modern,track_sizes,ext_path=/data/file:9G,ext_wbuf_size=16|-I 5m|-c 16384|-v|-u 11211|-t 4",
        &[
            ("memory-limit", "8192"),
            ("max-item-size", "5242880"),
            ("conn-limit", "16384"),
            ("threads", "4"),
            ("verbose", "1"),
        ],
        &["no meaning here, ignored: -o modern, track_sizes, ext_path, ext_wbuf_size"],
    );
    check(
        "-m 1024|--extended=modern,track_sizes|-I 5m|-c 16384|-v|-u 11211",
        &[("memory-limit", "1024"), ("max-item-size", "5242880"), ("conn-limit", "16384"), ("verbose", "1")],
        &["no meaning here, ignored: -o modern, track_sizes"],
    );
    // Mimir's, with TLS and without.
    check(
        "-m 2048|-o modern|-I 5m|-c 16384|-v|-u 11211",
        &[("memory-limit", "2048"), ("max-item-size", "5242880"), ("conn-limit", "16384"), ("verbose", "1")],
        &["no meaning here, ignored: -o modern"],
    );
    check_refused(
        "-m 512|-Z|-o|ssl_chain_cert=/c,ssl_key=/k,ssl_ca_cert=/a,ssl_verify_mode=2,ssl_kernel_tls",
        "-Z: no TLS yet, and plain text where TLS was asked for would be unsafe",
    );
    // Tempo's, and Grafana's jsonnet.
    check(
        "-m 1024|-I 1m|-c 1024|-v",
        &[("memory-limit", "1024"), ("max-item-size", "1048576"), ("conn-limit", "1024"), ("verbose", "1")],
        &[],
    );
    check("-l 127.0.0.1,::1|-l|[::1]:11212", &[("listen", "127.0.0.1,::1,[::1]:11212")], &[]);
}

#[test]
fn unknown_options_end_with_memcacheds_code() {
    for (line, error) in [
        ("-q", "-q: no such option (see -h)"),
        ("-v 5", "- : no such option (see -h)"),
        ("-é", "-é: no such option (see -h)"),
        ("--nope", "--nope: no such option (see -h)"),
        ("--memory=10", "--memory: could be --memory-limit, --memory-file"),
        ("-m", "-m: a value is missing: -m NUMBER"),
        ("-vm", "-m: a value is missing: -m NUMBER"),
        ("--port", "--port: a value is missing: --port NUMBER"),
        ("--daemon=x", "--daemon: takes no value"),
        ("-o|bogus=1", "-o bogus=1: illegal suboption \"bogus=1\""),
        ("-o|modern, track_sizes", "-o  track_sizes: illegal suboption \" track_sizes\""),
        ("-o|modern\\,track_sizes", "-o modern\\: illegal suboption \"modern\\\\\""),
        ("-o|,modern", "-o : illegal suboption \"\""),
        ("-o|Modern", "-o Modern: illegal suboption \"Modern\""),
    ] {
        assert_eq!(serve(line).map(|_| ()), Err(UsageError::unknown(error.to_owned())), "{line}");
    }
}

#[test]
fn values_that_memcached_refuses_are_refused() {
    for (line, error) in [
        ("-p|65536", "-p 65536: 65536 is no port"),
        ("-p|-2", "-p -2: -2 is no port"),
        ("-p|0", "-p 0: nothing to listen on without TCP (or give -s)"),
        ("-p|abc", "-p abc: nothing to listen on without TCP (or give -s)"),
        ("-U|70000", "-U 70000: 70000 is no port"),
        ("-l|,", "-l ,: expected ADDRESS[:PORT],…"),
        ("-l|notls:127.0.0.1", "-l notls:127.0.0.1: notls is about TLS, which is not there yet"),
        ("-m|0", "-I 1m: more than half of -m 0"),
        ("-m|1", "-I 1m: more than half of -m 1"),
        ("-m|1g", "-I 1m: more than half of -m 1"),
        ("-m|-5", "-m -5: expected megabytes up to 2147483647"),
        ("-m|4294967296", "-m 4294967296: expected megabytes up to 2147483647"),
        ("-c|0", "-c 0: expected a number above 0"),
        ("-c|abc", "-c abc: expected a number above 0"),
        ("-t|0", "-t 0: expected a number above 0"),
        ("-t|-1", "-t -1: expected a number above 0"),
        ("-R|0", "-R 0: expected a number above 0"),
        ("-f|1.0", "-f 1.0: expected more than 1"),
        ("-f|abc", "-f abc: expected more than 1"),
        ("-n|0", "-n 0: expected a number above 0"),
        ("-N|0", "-N 0: expected a number above 0"),
        ("-N|5", "-N 5: more than -t 4"),
        ("-D|", "-D : expected a character"),
        ("-B|binary", "-B binary: the binary protocol is not spoken"),
        ("-B|Ascii", "-B Ascii: expected auto or ascii"),
        ("-I|512", "-I 512: the least is 1k (bytes, or a number with k or m)"),
        ("-I|5g", "-I 5g: the least is 1k (bytes, or a number with k or m)"),
        ("-I|", "-I : the least is 1k (bytes, or a number with k or m)"),
        ("-I|33m", "-I 33m: more than half of -m 64"),
        ("-m|4096|--max-item-size=1025m", "--max-item-size 1025m: the most is 1024m"),
        ("-I|1k", "-I 1k: below -o slab_chunk_max=512, which can be given too"),
        ("-I|600k", "-I 600k: no multiple of -o slab_chunk_max=512, which can be given too"),
        ("-I|100k|-o|slab_chunk_max=100", "-o slab_chunk_max=100: 1024 is no multiple of it"),
        ("-I|512k|-o|no_modern", "-I 512k: below -o slab_chunk_max=1024, which can be given too"),
        ("-Y|/a|-B|auto", "-Y /a: not with -B auto"),
        ("-Y|/a|-U|1", "-Y /a: not with -U 1"),
        ("-S", "-S: SASL belongs to the binary protocol; -Y protects the text protocol"),
        ("-Z", "-Z: no TLS yet, and plain text where TLS was asked for would be unsafe"),
    ] {
        check_refused(line, error);
    }
}

#[test]
fn values_of_suboptions_are_checked_as_memcached_checks_them() {
    for (taken, refused, why) in [
        ("hashpower=20", "hashpower", "a value is missing: hashpower=VALUE"),
        ("hashpower=32x", "hashpower=33", "expected a number from 12 to 32"),
        ("hash_algorithm=xxh3", "hash_algorithm=md5", "expected one of jenkins, murmur3, xxh3"),
        ("slab_automove", "slab_automove=3", "expected a number from 0 to 2"),
        ("slab_automove_ratio=1", "slab_automove_ratio=1.1", "expected a number above 0 and up to 1"),
        ("slab_automove_window=1800", "slab_automove_window=1801", "expected a number from 3 to 1800"),
        ("slab_automove_freeratio=0.01", "slab_automove_freeratio=x", "expected a number"),
        ("tail_repair_time=10", "tail_repair_time=9", "expected a number from 10"),
        ("lru_crawler_sleep=1000000", "lru_crawler_sleep=-1", "expected a number from 0 to 1000000"),
        ("lru_crawler_tocrawl= 5 x", "lru_crawler_tocrawl=5x", "expected a number"),
        ("hot_lru_pct=40", "hot_lru_pct=80", "expected a number from 1 to 79"),
        ("hot_max_factor=.5", "hot_max_factor=0", "expected a number above 0"),
        ("temporary_ttl=x", "temporary_ttl", "a value is missing: temporary_ttl=VALUE"),
        ("idle_timeout=", "idle_timeout", "a value is missing: idle_timeout=VALUE"),
        ("worker_logbuf_size=64", "worker_logbuf_size=64k", "expected a number"),
        ("slab_chunk_max=1024", "slab_chunk_max=1025", "expected kilobytes from 1 to 1024"),
        ("read_buf_mem_limit=64", "read_buf_mem_limit=x", "expected a number"),
        ("ext_threads=1", "ext_threads=-1", "expected a number"),
        ("ext_max_frag=0.8", "ext_max_frag=x", "expected a number"),
        (
            "ext_path=/a:64M:old",
            "ext_path=/a:64k",
            "expected FILE:SIZE[:BUCKET], such as ext_path=/data/file:64m (m, g, t or p)",
        ),
        ("modern=1", "ssl_key=/k", "there is no TLS yet, and plain text where it was asked for would be unsafe"),
        ("modern,", "proxy_config=/p", "there is no proxy: any node answers for any key"),
    ] {
        serve(&format!("-o|{taken}")).unwrap_or_else(|error| panic!("{taken}: {error:?}"));
        check_refused(&format!("-o|track_sizes,{refused}"), &format!("-o {refused}: {why}"));
    }
    for (line, error) in [
        ("-o|hot_lru_pct=41", "-o hot_lru_pct=41,warm_lru_pct=40: more than 80 together"),
        ("-o|temporary_ttl=60|-o|no_modern", "-o temporary_ttl: not without lru_maintainer"),
        ("-o|slab_sizes=", "-o slab_sizes=: expected sizes, such as 100-200-400"),
        ("-o|slab_sizes=10-100", "-o slab_sizes=10-100: \"10\" is no size from 48 to 524288"),
        ("-o|slab_sizes=100-105", "-o slab_sizes=100-105: 105: each must be more than 8 above the one before"),
        ("-I|5m|-o|ext_path=/a:1G", "-I 5m: larger than -o ext_wbuf_size=4"),
        ("-U|1|-o|ext_path=/a:1G", "-o ext_path: not with -U"),
        ("-o|ext_path=/a:63m", "-o ext_path: smaller than one page (ext_page_size=64)"),
    ] {
        check_refused(line, error);
    }
    for line in [
        "-o|no_modern,temporary_ttl=60,lru_maintainer",
        "-o|slab_sizes=100-200-300",
        "-o|hot_lru_pct=79,warm_lru_pct=1",
        "-I|128k|-o|slab_chunk_max=64",
        "-I|3584k|-o|no_chunked_items",
    ] {
        serve(line).unwrap_or_else(|error| panic!("{line}: {error:?}"));
    }
}

#[test]
fn what_is_taken_otherwise_than_meant_is_told_once() {
    check(
        "-k|-k|-f|1.25|-o|modern|-o|track_sizes,modern|-d|-d",
        &[],
        &["-d: stays in the foreground", "no meaning here, ignored: -k, -f, -o modern, track_sizes"],
    );
    check(
        "-m|1024MB|-c|16k",
        &[("memory-limit", "1024"), ("conn-limit", "16")],
        &["only the number at the beginning counts: -m 1024MB, -c 16k"],
    );
    check("-t|65", &[("threads", "65")], &["-t 65: more threads than cores make it slower"]);
    check("-t|300", &[("threads", "256")], &["-t 300: counts as 256, the most"]);
}

#[test]
fn a_unix_socket_takes_the_place_of_tcp() {
    check("-s|/a|-a|777|-p|11222|-l|127.0.0.1", &[("socket", "/a"), ("socket-mode", "777")], &[]);
    check("-s|/a|-p|0", &[("socket", "/a")], &[]);
}

#[test]
fn no_value_is_too_odd_to_be_told_apart() {
    let (ignored, refused) = extended::names();
    let suboptions: Vec<&str> = ignored.into_iter().chain(refused).chain(["idle_timeout", "maxconns_fast"]).collect();
    for value in [
        "",
        " ",
        "-",
        "é",
        "1é",
        "ék",
        "-1",
        "1",
        "99999999999999999999999",
        "-99999999999999999999999m",
        "=",
        ",",
        ":",
        "::1:",
        "[",
        "]",
        "[]:1",
        "tag[",
        "proto[]",
        "/a:é",
        "/a:m",
        "/a:99999999999999999999p",
        "1-2",
    ] {
        for row in table::ROWS {
            for written in [format!("-{}|{value}", row.letter), format!("-{}{value}", row.letter)] {
                check_ends(&written);
            }
            check_ends(&format!("--{}={value}", row.long));
        }
        for name in &suboptions {
            check_ends(&format!("-o|{name}={value}"));
        }
    }
}

/// Whatever it says, it is said in one line.
fn check_ends(line: &str) {
    if let Err(UsageError { line: error, code }) = translate(&words(line)) {
        assert!(!error.is_empty() && !error.contains('\n') && (1..=2).contains(&code), "{line}: {error}");
    }
}

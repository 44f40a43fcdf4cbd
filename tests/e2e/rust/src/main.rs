//! Every text-protocol call of two clients of crates.io, through each node in turn: written through one, read through
//! the next. `memring-e2e async-memcached|memcache calls|flush ADDRESS ADDRESS ADDRESS`; what it prints is told in
//! ../calls/script.py. It knows nothing of memring.

mod asynchronous;
mod blocking;
mod script;

use script::Script;
use std::process::ExitCode;

fn main() -> ExitCode {
    let mut words = std::env::args().skip(1);
    let (library, mode) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let addresses: Vec<String> = words.collect();
    let mut script = Script::new(addresses);
    match (library.as_str(), mode.as_str()) {
        ("async-memcached", "calls") => script.tell_twice(asynchronous::calls, asynchronous::expired),
        ("async-memcached", "flush") => script.tell(asynchronous::flush),
        ("memcache", "calls") => script.tell_twice(blocking::calls, blocking::expired),
        ("memcache", "flush") => script.tell(blocking::flush),
        _ => {
            eprintln!("usage: memring-e2e async-memcached|memcache calls|flush ADDRESS…");
            return ExitCode::from(2);
        }
    }
    script.done()
}

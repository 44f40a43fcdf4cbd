//! A client of one connection that pipelines: it knows of memcached's protocol what these comparisons ask.
//!
//! Must not know which server answers. Whatever it did not expect is an error that quotes it.

use std::collections::VecDeque;
use std::io::{Error, Read, Result, Write};
use std::net::TcpStream;
use std::time::Duration;

use crate::clock::Deadline;
use crate::items::{KEY_BYTES, Sizes, key_number, put_decimal, put_key};

/// A server that says nothing for so long is given up.
const SILENCE_MAX: Duration = Duration::from_secs(30);

/// Requests sent at once: their short replies fit into any socket's buffer, so that neither side waits for the other.
const BURST_REQUESTS_MAX: usize = 256;

/// Bytes of requests sent at once.
const BURST_BYTES_MAX: usize = 64 << 10;

/// Bursts that are on their way while the oldest one's replies are read.
const BURSTS_MAX: usize = 2;

/// What is read at once, at least.
const READ_BYTES: usize = 256 << 10;

/// One write.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Store {
    pub(crate) key: u64,
    /// The length of the value, in bytes.
    pub(crate) bytes: usize,
    /// Seconds to live, or 0 for ever.
    pub(crate) seconds: u32,
}

/// How writes were answered.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Stored {
    /// Those that were answered at all.
    pub(crate) writes: u64,
    /// Those answered otherwise than STORED.
    pub(crate) refused: u64,
}

impl std::ops::AddAssign for Stored {
    fn add_assign(&mut self, other: Self) {
        self.writes += other.writes;
        self.refused += other.refused;
    }
}

/// What a server really holds: by asking for every key that was written.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Held {
    pub(crate) items: u64,
    /// Of keys and values.
    pub(crate) bytes: u64,
}

/// One connection.
pub(crate) struct Client {
    stream: TcpStream,
    out: Vec<u8>,
    value: Vec<u8>,
    replies: Replies,
}

/// What has come and was not read yet: `bytes[start..end]`.
struct Replies {
    bytes: Vec<u8>,
    start: usize,
    end: usize,
}

impl Client {
    /// For values of at most so many bytes.
    pub(crate) fn new(stream: TcpStream, value_bytes_max: usize) -> Result<Self> {
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(SILENCE_MAX))?;
        stream.set_write_timeout(Some(SILENCE_MAX))?;
        let replies = Replies { bytes: vec![0; 2 * READ_BYTES], start: 0, end: 0 };
        Ok(Self { stream, out: Vec::new(), value: vec![b'v'; value_bytes_max], replies })
    }

    /// Sets all, or as many as the time allows.
    pub(crate) fn store(&mut self, writes: impl Iterator<Item = Store>, deadline: Deadline) -> Result<Stored> {
        let mut stored = Stored::default();
        let put = |client: &mut Self, write| client.put_set(write);
        self.pipeline(writes, Some(deadline), put, |line| {
            stored.writes += 1;
            stored.refused += u64::from(line != b"STORED");
            Ok(())
        })?;
        Ok(stored)
    }

    /// Asks for the length of every key's value: `mg`, with the flag `s`, brings no value along.
    pub(crate) fn held(&mut self, keys: impl Iterator<Item = u64>) -> Result<Held> {
        let mut held = Held::default();
        let put = |client: &mut Self, key| {
            client.out.extend_from_slice(b"mg ");
            put_key(&mut client.out, key);
            client.out.extend_from_slice(b" s\r\n");
        };
        self.pipeline(keys, None, put, |line| {
            if let Some(bytes) = line.strip_prefix(b"HD s").and_then(decimal) {
                held.items += 1;
                held.bytes += (KEY_BYTES + bytes) as u64;
            } else if line != b"EN" {
                return Err(unexpected(line));
            }
            Ok(())
        })?;
        Ok(held)
    }

    /// Sends what `put` makes of each request, a few bursts ahead of the replies of one line, which `take` gets.
    fn pipeline<R>(
        &mut self,
        mut requests: impl Iterator<Item = R>,
        deadline: Option<Deadline>,
        put: impl Fn(&mut Self, R),
        mut take: impl FnMut(&[u8]) -> Result<()>,
    ) -> Result<()> {
        let mut bursts = VecDeque::new();
        loop {
            let is_over = deadline.is_some_and(Deadline::is_over);
            let mut burst = 0;
            while !is_over && burst < BURST_REQUESTS_MAX && self.out.len() < BURST_BYTES_MAX {
                let Some(request) = requests.next() else { break };
                put(self, request);
                burst += 1;
            }
            if burst > 0 {
                self.send()?;
                bursts.push_back(burst);
            }
            if burst == 0 || bursts.len() >= BURSTS_MAX {
                let Some(oldest) = bursts.pop_front() else { return Ok(()) };
                for _ in 0..oldest {
                    take(self.replies.line(&mut self.stream)?)?;
                }
            }
        }
    }

    /// One step of a read-through: first sets what the step before has missed, then gets `keys`, in one go, since a
    /// connection's commands are done in their order. Appends the keys that are not held, each once, to `missed`, and
    /// gives the number of hits and the answers of the sets.
    pub(crate) fn read_through(
        &mut self,
        keys: &[u32],
        sizes: Sizes,
        sets: &[u32],
        missed: &mut Vec<u32>,
    ) -> Result<(u64, Stored)> {
        for key in sets.iter().map(|key| u64::from(*key)) {
            self.put_set(Store { key, bytes: sizes.of(key), seconds: 0 });
        }
        // One get of many keys: an old memcached makes a system call for each of many gets.
        self.out.extend_from_slice(b"get");
        for key in keys {
            self.out.push(b' ');
            put_key(&mut self.out, u64::from(*key));
        }
        self.out.extend_from_slice(b"\r\n");
        self.send()?;
        let mut stored = Stored::default();
        for _ in sets {
            stored.writes += 1;
            stored.refused += u64::from(self.replies.line(&mut self.stream)? != b"STORED");
        }
        let (mut hits, mut asked) = (0, keys.iter());
        while let Some((found, bytes)) = self.replies.value(&mut self.stream)? {
            // Values come in the order of the keys: those passed over are not held.
            loop {
                match asked.next() {
                    Some(key) if u64::from(*key) == found => break,
                    Some(key) => miss(*key, missed),
                    None => return Err(Error::other(format!("key {found} was not asked for, or not there"))),
                }
            }
            if bytes != sizes.of(found) {
                return Err(Error::other(format!("key {found}: a value of {bytes} bytes was not set")));
            }
            hits += 1;
        }
        asked.for_each(|key| miss(*key, missed));
        Ok((hits, stored))
    }

    fn put_set(&mut self, write: Store) {
        self.out.extend_from_slice(b"set ");
        put_key(&mut self.out, write.key);
        self.out.extend_from_slice(b" 0 ");
        put_decimal(&mut self.out, u64::from(write.seconds));
        self.out.push(b' ');
        put_decimal(&mut self.out, write.bytes as u64);
        self.out.extend_from_slice(b"\r\n");
        self.out.extend_from_slice(&self.value[..write.bytes]);
        self.out.extend_from_slice(b"\r\n");
    }

    fn send(&mut self) -> Result<()> {
        self.stream.write_all(&self.out)?;
        self.out.clear();
        Ok(())
    }
}

impl Replies {
    /// The next line, without its end.
    fn line(&mut self, stream: &mut impl Read) -> Result<&[u8]> {
        let mut looked = self.start;
        loop {
            if let Some(at) = self.bytes[looked..self.end].iter().position(|byte| *byte == b'\n') {
                let line = self.start..looked + at;
                self.start = line.end + 1;
                return self.bytes[line].strip_suffix(b"\r").ok_or_else(|| Error::other("a line ends in a bare LF"));
            }
            let seen = self.end - self.start;
            self.read(stream)?;
            looked = self.start + seen;
        }
    }

    /// The next value of a get's answer, which is passed over: its key's number and its length; nothing at the end.
    fn value(&mut self, stream: &mut impl Read) -> Result<Option<(u64, usize)>> {
        let line = self.line(stream)?;
        if line == b"END" {
            return Ok(None);
        }
        let (key, bytes) = key_and_length(line).ok_or_else(|| unexpected(line))?;
        let mut left = bytes + 2;
        while left > self.end - self.start {
            left -= self.end - self.start;
            self.start = self.end;
            self.read(stream)?;
        }
        self.start += left;
        Ok(Some((key, bytes)))
    }

    /// Reads at least one more byte.
    fn read(&mut self, stream: &mut impl Read) -> Result<()> {
        if self.bytes.len() - self.end < READ_BYTES {
            self.bytes.copy_within(self.start..self.end, 0);
            (self.start, self.end) = (0, self.end - self.start);
            self.bytes.resize(self.bytes.len().max(self.end + READ_BYTES), 0);
        }
        match stream.read(&mut self.bytes[self.end..])? {
            0 => Err(Error::other("the server has closed the connection")),
            more => {
                self.end += more;
                Ok(())
            }
        }
    }
}

fn miss(key: u32, missed: &mut Vec<u32>) {
    if !missed.contains(&key) {
        missed.push(key);
    }
}

/// `VALUE <key> <flags> <bytes>`, of a key that is one of ours.
fn key_and_length(line: &[u8]) -> Option<(u64, usize)> {
    let mut words = line.strip_prefix(b"VALUE ")?.split(|byte| *byte == b' ');
    let key = words.next().and_then(key_number)?;
    Some((key, words.nth(1).and_then(decimal)?))
}

fn decimal(digits: &[u8]) -> Option<usize> {
    str::from_utf8(digits).ok()?.parse().ok()
}

fn unexpected(line: &[u8]) -> Error {
    Error::other(format!("unexpected answer: {}", String::from_utf8_lossy(line)))
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::{Ipv4Addr, TcpListener};

    use super::{Client, Held, Replies, Store, Stored};
    use crate::clock::Deadline;
    use crate::items::Sizes;

    /// Gives its bytes a few at a time.
    struct Dribble<'a>(&'a [u8]);

    impl Read for Dribble<'_> {
        fn read(&mut self, into: &mut [u8]) -> std::io::Result<usize> {
            let now = self.0.len().min(3);
            into[..now].copy_from_slice(&self.0[..now]);
            self.0 = &self.0[now..];
            Ok(now)
        }
    }

    fn replies() -> Replies {
        Replies { bytes: Vec::new(), start: 0, end: 0 }
    }

    #[test]
    fn replies_are_read_however_they_are_cut() {
        let mut stream = Dribble(b"VALUE side-by-side:00000000000000009 0 12\r\nEND\r\nVALUE 5\r\nEND\r\nSTORED\r\n");
        let mut replies = replies();
        assert_eq!(replies.value(&mut stream).expect("a value"), Some((9, 12)));
        assert_eq!(replies.value(&mut stream).expect("no value"), None);
        assert_eq!(replies.line(&mut stream).expect("a line"), b"STORED");
        assert!(replies.line(&mut stream).is_err(), "the stream has ended");
    }

    #[test]
    fn what_is_not_an_answer_to_a_get_is_an_error_that_quotes_it() {
        for line in ["SERVER_ERROR out of memory", "VALUE other:9 0 12", "VALUE side-by-side:00000000000000009 0"] {
            let error = replies().value(&mut Dribble(format!("{line}\r\n").as_bytes())).expect_err("no answer");
            assert!(error.to_string().contains(line), "{error}");
        }
    }

    /// A client of a server that takes `request` and answers `answer`.
    fn against<T>(request: &str, answer: &str, ask: impl FnOnce(&mut Client) -> T) -> T {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
        let address = listener.local_addr().expect("it is bound");
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let (mut stream, _) = listener.accept().expect("the client comes");
                let mut found = vec![0; request.len()];
                stream.read_exact(&mut found).expect("the client asks");
                assert_eq!(String::from_utf8_lossy(&found), request);
                stream.write_all(answer.as_bytes()).expect("the client listens");
            });
            let stream = std::net::TcpStream::connect(address).expect("the server listens");
            ask(&mut Client::new(stream, 100).expect("a socket's options"))
        })
    }

    fn soon() -> Deadline {
        Deadline::after(std::time::Duration::from_secs(60))
    }

    #[test]
    fn only_stored_counts_as_stored() {
        let request =
            "set side-by-side:00000000000000001 0 0 1\r\nv\r\nset side-by-side:00000000000000002 0 9 2\r\nvv\r\n";
        let writes = [Store { key: 1, bytes: 1, seconds: 0 }, Store { key: 2, bytes: 2, seconds: 9 }];
        let answer = "STORED\r\nSERVER_ERROR out of memory storing object\r\n";
        let stored = against(request, answer, |client| client.store(writes.into_iter(), soon()));
        assert_eq!(stored.expect("both are answered"), Stored { writes: 2, refused: 1 });
    }

    #[test]
    fn what_is_held_is_counted_with_its_keys_and_a_miss_is_not() {
        let request: String = (7..10).map(|key| format!("mg side-by-side:{key:017} s\r\n")).collect();
        let held = against(&request, "HD s100\r\nEN\r\nHD s5\r\n", |client| client.held(7..10));
        assert_eq!(held.expect("all are answered"), Held { items: 2, bytes: 2 * 30 + 105 });
    }

    #[test]
    fn a_step_sets_what_was_missed_before_it_gets_and_counts_each_missed_key_once() {
        let key = |number| format!("side-by-side:{number:017}");
        let request = format!("set {} 0 0 2\r\nvv\r\nget {} {} {} {}\r\n", key(4), key(5), key(6), key(5), key(7));
        let answer = format!("STORED\r\nVALUE {} 0 2\r\nvv\r\nEND\r\n", key(6));
        let mut missed = Vec::new();
        let step =
            against(&request, &answer, |client| client.read_through(&[5, 6, 5, 7], Sizes::Fixed(2), &[4], &mut missed));
        assert_eq!(step.expect("all are answered"), (1, Stored { writes: 1, refused: 0 }));
        assert_eq!(missed, [5, 7]);
    }
}

//! The load: connections of one thread, each of which sends its next batch when the last one's replies are complete.
//!
//! Must not know which server answers, nor what is made of the count.

use std::io::{Error, ErrorKind, Read, Result, Write};
use std::net::SocketAddr;
use std::time::Duration;

use mio::event::Event;
use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token};

use crate::chance::Chance;
use crate::clock::{Deadline, Stopwatch};
use crate::speed::replies::{Layout, Order, Progress};
use crate::speed::requests::Request;
use crate::speed::workloads::{Items, Workload};

/// Readiness that one call fetches at most.
const EVENTS_MAX: usize = 256;

/// What is read at once.
const READ_BYTES: usize = 128 << 10;

/// A server that answers nobody for so long is given up, with what it has said.
const SILENCE_MAX: Duration = Duration::from_secs(5);

/// Which keys are asked for.
pub(crate) enum Keys {
    /// Any of them, each as likely as the other, from a seed.
    Random { items: Items, chance: Chance },
    /// All of them, in their order, then again.
    InOrder { items: Items, next: u32 },
}

impl Keys {
    pub(crate) fn random(items: Items, seed: u64) -> Self {
        Self::Random { items, chance: Chance::new(seed) }
    }

    pub(crate) fn in_order(items: Items) -> Self {
        Self::InOrder { items, next: 0 }
    }

    fn draw(&mut self) -> u32 {
        match self {
            Self::Random { items, chance } => items.first + chance.below(u64::from(items.count)) as u32,
            Self::InOrder { items, next } => {
                let key = items.first + *next;
                *next = (*next + 1) % items.count;
                key
            }
        }
    }
}

/// When a run ends.
#[derive(Clone, Copy)]
enum Until {
    /// After this time; what is on its way then stays on its way.
    Over(Deadline),
    /// When so many batches have been answered.
    Answered(u64),
    /// When nothing is on its way.
    Drained,
}

struct Connection {
    stream: TcpStream,
    keys: Vec<u32>,
    progress: Progress,
    /// What of the request the socket had no room for.
    unsent: Vec<u8>,
    is_asking: bool,
}

/// Connections with a workload.
pub(crate) struct Generator {
    poll: Poll,
    events: Events,
    connections: Vec<Connection>,
    draw: Keys,
    request: Request,
    layout: Layout,
    scratch: Vec<u8>,
    operations_each: u64,
    /// Batches whose replies are complete.
    answered: u64,
    is_draining: bool,
}

impl Generator {
    /// Connects, taking the addresses in turn, as many times as the workload says.
    pub(crate) fn connect(workload: &Workload, addresses: &[SocketAddr], order: Order, draw: Keys) -> Result<Self> {
        let poll = Poll::new()?;
        let mut connections = Vec::with_capacity(workload.connections);
        for (at, address) in addresses.iter().cycle().take(workload.connections).enumerate() {
            let stream = std::net::TcpStream::connect(address)?;
            stream.set_nodelay(true)?;
            stream.set_nonblocking(true)?;
            let mut stream = TcpStream::from_std(stream);
            poll.registry().register(&mut stream, Token(at), Interest::READABLE)?;
            let keys = vec![0; workload.batch.keys()];
            connections.push(Connection {
                stream,
                keys,
                progress: Progress::default(),
                unsent: Vec::new(),
                is_asking: false,
            });
        }
        Ok(Self {
            poll,
            events: Events::with_capacity(EVENTS_MAX),
            connections,
            draw,
            request: Request::new(workload),
            layout: Layout::new(workload, order),
            scratch: vec![0; READ_BYTES],
            operations_each: workload.batch.operations(),
            answered: 0,
            is_draining: false,
        })
    }

    /// Asks for a time, and gives the operations that were answered in it, and how many seconds it really was. Requests are
    /// still on their way afterwards.
    pub(crate) fn run(&mut self, time: Duration) -> Result<(u64, f64)> {
        let (before, watch) = (self.answered, Stopwatch::start());
        self.go_on(Until::Over(Deadline::after(time)))?;
        Ok(((self.answered - before) * self.operations_each, watch.seconds()))
    }

    /// Asks until so many batches have been answered, and waits for what is on its way then.
    pub(crate) fn run_batches(&mut self, batches: u64) -> Result<()> {
        self.go_on(Until::Answered(self.answered + batches))?;
        self.drain()
    }

    /// Waits for what is on its way.
    pub(crate) fn drain(&mut self) -> Result<()> {
        self.is_draining = true;
        self.go_on(Until::Drained)?;
        self.is_draining = false;
        Ok(())
    }

    /// Operations answered since the connections were made.
    pub(crate) fn operations(&self) -> u64 {
        self.answered * self.operations_each
    }
    fn go_on(&mut self, until: Until) -> Result<()> {
        if !self.is_draining {
            for at in 0..self.connections.len() {
                if !self.connections[at].is_asking {
                    self.ask(at)?;
                }
            }
        }
        let mut events = std::mem::replace(&mut self.events, Events::with_capacity(0));
        let outcome = self.wait(&mut events, until);
        self.events = events;
        outcome
    }

    fn wait(&mut self, events: &mut Events, until: Until) -> Result<()> {
        loop {
            let is_over = match until {
                Until::Over(deadline) => deadline.is_over(),
                Until::Answered(batches) => self.answered >= batches,
                Until::Drained => !self.connections.iter().any(|connection| connection.is_asking),
            };
            if is_over {
                return Ok(());
            }
            match self.poll.poll(events, Some(SILENCE_MAX)) {
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                outcome => outcome?,
            }
            if events.is_empty() {
                return Err(self.silence());
            }
            for event in events.iter() {
                self.on_ready(event)?;
            }
        }
    }

    fn on_ready(&mut self, event: &Event) -> Result<()> {
        let at = event.token().0;
        if !self.connections[at].unsent.is_empty() && event.is_writable() {
            let unsent = std::mem::take(&mut self.connections[at].unsent);
            self.send(at, &unsent)?;
            if self.connections[at].unsent.is_empty() {
                self.poll.registry().reregister(&mut self.connections[at].stream, Token(at), Interest::READABLE)?;
            }
        }
        if event.is_readable() { self.receive(at) } else { Ok(()) }
    }

    /// Reads what there is. A read that does not fill the buffer has emptied the socket, and whatever comes after it is told
    /// anew.
    fn receive(&mut self, at: usize) -> Result<()> {
        loop {
            let connection = &mut self.connections[at];
            let read = match connection.stream.read(&mut self.scratch) {
                Ok(0) => return Err(Error::other("the server has closed a connection")),
                Ok(read) => read,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            };
            if !connection.is_asking {
                let bytes = self.scratch[..read].escape_ascii();
                return Err(Error::other(format!("a reply that nobody asked for: {bytes}")));
            }
            if self.layout.take(&mut connection.progress, &mut connection.keys, &self.scratch[..read])? {
                connection.is_asking = false;
                self.answered += 1;
                if !self.is_draining {
                    self.ask(at)?;
                }
            }
            if read < self.scratch.len() {
                return Ok(());
            }
        }
    }

    /// Draws keys and sends the request for them.
    fn ask(&mut self, at: usize) -> Result<()> {
        let connection = &mut self.connections[at];
        connection.keys.iter_mut().for_each(|key| *key = self.draw.draw());
        connection.is_asking = true;
        let bytes = self.request.of(&connection.keys);
        let sent = sent(&mut connection.stream, bytes)?;
        if sent < bytes.len() {
            connection.unsent.extend_from_slice(&bytes[sent..]);
            self.wait_for_room(at)?;
        }
        Ok(())
    }

    fn send(&mut self, at: usize, bytes: &[u8]) -> Result<()> {
        let connection = &mut self.connections[at];
        let sent = sent(&mut connection.stream, bytes)?;
        if sent < bytes.len() {
            connection.unsent.extend_from_slice(&bytes[sent..]);
            self.wait_for_room(at)?;
        }
        Ok(())
    }

    fn wait_for_room(&mut self, at: usize) -> Result<()> {
        let interest = Interest::READABLE | Interest::WRITABLE;
        self.poll.registry().reregister(&mut self.connections[at].stream, Token(at), interest)
    }

    fn silence(&self) -> Error {
        let waiting = self.connections.iter().find(|connection| connection.is_asking);
        let so_far = waiting.map(|connection| connection.progress.so_far()).unwrap_or_default();
        Error::other(format!("no reply for {} s; so far {so_far}", SILENCE_MAX.as_secs()))
    }
}

/// How much the socket has taken: all, or what it had room for.
fn sent(stream: &mut TcpStream, bytes: &[u8]) -> Result<usize> {
    let mut sent = 0;
    while sent < bytes.len() {
        match stream.write(&bytes[sent..]) {
            Ok(more) => sent += more,
            Err(error) if error.kind() == ErrorKind::WouldBlock => break,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(sent)
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Result, Write};
    use std::net::{Ipv4Addr, TcpListener};
    use std::time::Duration;

    use super::{Generator, Keys};
    use crate::speed::replies::Order;
    use crate::speed::workloads::{Batch, Items, SET_PIPELINE, Workload};

    const ITEMS: Items = Items { first: 7, count: 3, value_bytes: 30 };

    const SETS: Workload = Workload { items: ITEMS, batch: Batch::Pipeline(2), connections: 1, ..SET_PIPELINE };

    fn set(key: u32) -> String {
        format!("set side-by-side:{key:017} 0 0 30\r\nside-by-side:{key:017}\r\n")
    }

    /// What comes of a generator whose server takes `request` and answers `replies`, one a turn, then closes.
    fn against<T>(replies: &[&str], ask: impl FnOnce(&mut Generator) -> Result<T>) -> (Result<T>, String) {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
        let address = listener.local_addr().expect("it is bound");
        std::thread::scope(|scope| {
            let server = scope.spawn(|| {
                let (mut stream, _) = listener.accept().expect("the generator comes");
                let mut asked = vec![0; replies.len() * 2 * set(0).len()];
                for (asked, reply) in asked.chunks_mut(2 * set(0).len()).zip(replies) {
                    stream.read_exact(asked).expect("the generator asks");
                    stream.write_all(reply.as_bytes()).expect("the generator listens");
                }
                String::from_utf8(asked).expect("requests are text")
            });
            let keys = Keys::in_order(ITEMS);
            let mut generator = Generator::connect(&SETS, &[address], Order::AsAsked, keys).expect("it listens");
            let outcome = ask(&mut generator);
            (outcome, server.join().expect("the server has no reason to panic"))
        })
    }

    #[test]
    fn the_next_batch_is_sent_when_the_last_one_is_answered_and_each_request_is_an_operation() {
        let reply = "STORED\r\nSTORED\r\n";
        let (operations, asked) = against(&[reply, reply], |generator| {
            generator.run_batches(1)?;
            Ok(generator.operations())
        });
        // The second batch was on its way when the first was answered.
        assert_eq!(operations.expect("all is answered"), 4);
        assert_eq!(asked, [7, 8, 9, 7].map(set).concat());
    }

    #[test]
    fn an_error_or_a_closed_connection_ends_a_run() {
        let run = |generator: &mut Generator| generator.run(Duration::from_secs(60));
        let (outcome, _) = against(&["STORED\r\nSERVER_ERROR out of memory\r\n"], run);
        let error = outcome.expect_err("an error was answered").to_string();
        assert_eq!(error, r"unexpected reply: SERVER_ERROR out of memory\r\n");
        let (outcome, _) = against(&["STORED\r\nSTORED\r\n"], run);
        outcome.expect_err("the server is gone");
    }

    #[test]
    fn random_keys_are_of_their_size() {
        let mut keys = Keys::random(ITEMS, 1);
        let mut seen = [0; 3];
        (0..300).for_each(|_| seen[keys.draw() as usize - 7] += 1);
        assert!(seen.iter().all(|times| *times > 50), "{seen:?}");
    }
}

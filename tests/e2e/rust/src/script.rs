//! Counts and prints checks. The first word of a check's name is the call it makes.

use std::collections::BTreeSet;
use std::error::Error;
use std::fmt::Debug;
use std::process::ExitCode;
use std::thread::sleep;
use std::time::Duration;

/// Characters shown of an answer.
const SHOWN_MAX: usize = 200;

/// After this, what was stored for one second is gone: times count in whole seconds.
const SECOND_OVER: Duration = Duration::from_millis(2100);

/// What ends a story early.
pub(crate) type Broken = Box<dyn Error>;

pub(crate) struct Script {
    addresses: Vec<String>,
    at: usize,
    called: BTreeSet<String>,
    checks: usize,
    failed: bool,
}

impl Script {
    pub(crate) fn new(addresses: Vec<String>) -> Self {
        Self { addresses, at: 0, called: BTreeSet::new(), checks: 0, failed: false }
    }

    /// Tells the story through every node: one that ends early does not hide the others.
    pub(crate) fn tell(&mut self, story: impl Fn(&mut Self) -> Result<(), Broken>) {
        for at in 0..self.addresses.len() {
            self.at = at;
            if let Err(error) = story(self) {
                self.fail(&format!("the story ends: {error}"));
            }
        }
    }

    /// A story, and what there is to see when the time of what lives a second is over.
    #[expect(clippy::disallowed_methods, reason = "a client that waits, in a program of its own")]
    pub(crate) fn tell_twice(
        &mut self,
        story: impl Fn(&mut Self) -> Result<(), Broken>,
        later: impl Fn(&mut Self) -> Result<(), Broken>,
    ) {
        self.tell(story);
        sleep(SECOND_OVER);
        self.tell(later);
    }

    /// The addresses of the node written through and of the one read through.
    pub(crate) fn pair(&self) -> (String, String) {
        (self.addresses[self.at].clone(), self.addresses[(self.at + 1) % self.addresses.len()].clone())
    }

    pub(crate) fn addresses(&self) -> &[String] {
        &self.addresses
    }

    pub(crate) fn key(&self, library: &str, name: &str) -> String {
        format!("{library}-{}-{name}", self.at)
    }

    pub(crate) fn same<T: PartialEq + Debug>(&mut self, what: &str, found: T, wanted: T) {
        let held = found == wanted;
        self.holds(what, held, || format!("{}, not {}", shown(&found), shown(&wanted)));
    }

    pub(crate) fn holds(&mut self, what: &str, held: bool, why: impl Fn() -> String) {
        self.checks += 1;
        self.called.insert(what.split(' ').next().unwrap_or_default().to_owned());
        if !held {
            self.fail(&format!("{what}: {}", why()));
        }
    }

    fn fail(&mut self, text: &str) {
        self.failed = true;
        println!("FAIL n{}: {}", self.at + 1, text.replace('\n', " | "));
    }

    pub(crate) fn done(&self) -> ExitCode {
        println!("DONE calls={} checks={}", self.called.len(), self.checks);
        if self.failed { ExitCode::FAILURE } else { ExitCode::SUCCESS }
    }
}

fn shown(value: &impl Debug) -> String {
    let text = format!("{value:?}");
    match text.char_indices().nth(SHOWN_MAX) {
        Some((end, _)) => format!("{}… ({} bytes)", &text[..end], text.len()),
        None => text,
    }
}

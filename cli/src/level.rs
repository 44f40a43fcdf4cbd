//! The level of one request, on the command line: how many copies a read or a write waits for.
//!
//! Must not know what a level promises (docs/consistency.md).

use clap::{Arg, ArgMatches};
use memring_client::{Answer, Connection, Error, Level, Pipeline};

use crate::outcome::Failure;

const LEVEL: &str = "level";

/// The `--level` flag.
pub(crate) fn argument() -> Arg {
    Arg::new(LEVEL)
        .long(LEVEL)
        .value_name("LEVEL")
        .help("Copies to wait for: one, quorum, all or a number [the node's; memcached has none and passes over it]")
}

/// The level that was given, if one was.
pub(crate) fn of(matches: &ArgMatches) -> Result<Option<Level>, Failure> {
    let Some(text) = matches.get_one::<String>(LEVEL) else { return Ok(None) };
    text.parse().map(Some).map_err(|error| Failure::Usage(format!("--level {text}: {error}")))
}

/// The answers to requests of this level, in their order; the first that was refused or failed is the error.
pub(crate) async fn ask(
    connection: &mut Connection,
    level: Option<Level>,
    add: impl FnOnce(&mut Pipeline) -> Result<(), Error>,
) -> Result<Vec<Answer>, Error> {
    let mut requests = Pipeline::new();
    requests.ask_level(level);
    add(&mut requests)?;
    let answers = connection.run(&requests).await?.into_iter().map(|answer| match answer {
        Answer::Refused(words) => Err(Error::Refused(words)),
        Answer::Failed(words) => Err(Error::Failed(words)),
        answered => Ok(answered),
    });
    answers.collect()
}

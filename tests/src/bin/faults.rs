//! Runs real clusters through faults: `faults --binary PATH [--seed N] [--writes N] [--seconds N] [--older PATH --mixed N]
//! [STORY…]`.
//!
//! With `--older` the first N of the three nodes (one by default) run another release; the story `upgrade` replaces one by
//! the other. Stories: calm, weak, kills, restarts, minority, partitions, relay, upgrade; all but `calm` and `upgrade` by
//! default. Those with namespaces (minority, partitions) need
//! root, and run in a copy of this program that is started in a namespace of its own. Ends with 1 if a promise was broken.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use memring_tests::real::kills;
use memring_tests::real::namespaces::{Namespaces, Owned};
use memring_tests::real::restarts;
use memring_tests::real::stories::{self, Options};
use memring_tests::real::upgrade;

/// The stories in their order, and whether each needs namespaces.
const STORIES: [(&str, bool); 8] = [
    ("calm", false),
    ("weak", false),
    ("kills", false),
    ("restarts", false),
    ("minority", true),
    ("partitions", true),
    ("relay", false),
    ("upgrade", false),
];

/// Those that run where none is named.
const BY_DEFAULT: std::ops::Range<usize> = 1..7;

struct Arguments {
    options: Options,
    stories: Vec<String>,
    /// The process that has made the namespaces in which this one is.
    inside: Option<u32>,
}

fn main() -> ExitCode {
    let outcome = arguments().and_then(|arguments| run(&arguments));
    match outcome {
        Ok(0) => ExitCode::SUCCESS,
        Ok(_) => ExitCode::FAILURE,
        Err(why) => {
            eprintln!("faults: {why}");
            ExitCode::from(2)
        }
    }
}

fn arguments() -> Result<Arguments, String> {
    let mut words = std::env::args().skip(1);
    let logs = std::env::temp_dir().join(format!("memring-faults-{}", std::process::id()));
    let options =
        Options { binary: String::new(), older: None, seed: 1, writes: 100_000, fault: Duration::from_secs(5), logs };
    let mut found = Arguments { options, stories: Vec::new(), inside: None };
    while let Some(word) = words.next() {
        let mut value = || words.next().ok_or_else(|| format!("{word} needs a value"));
        let number = |text: String| text.parse::<u64>().map_err(|_| format!("{word}: {text} is no number"));
        match word.as_str() {
            "--binary" => found.options.binary = value()?,
            "--older" => found.options.older = Some((value()?, 1)),
            "--mixed" => match &mut found.options.older {
                Some((_, count)) => *count = number(value()?)? as usize,
                None => return Err("--mixed needs --older PATH before it".to_owned()),
            },
            "--logs" => found.options.logs = PathBuf::from(value()?),
            "--seed" => found.options.seed = number(value()?)?,
            "--writes" => found.options.writes = number(value()?)?,
            "--seconds" => found.options.fault = Duration::from_secs(number(value()?)?),
            "--inside" => found.inside = Some(number(value()?)? as u32),
            story if STORIES.iter().any(|(name, _)| *name == story) => found.stories.push(word),
            _ => {
                let known = "calm, weak, kills, restarts, minority, partitions, relay or upgrade";
                return Err(format!("{word} is no story: {known}"));
            }
        }
    }
    if found.options.binary.is_empty() {
        return Err("--binary PATH names the program memring".to_owned());
    }
    if found.stories.is_empty() {
        found.stories = STORIES[BY_DEFAULT].iter().map(|(name, _)| (*name).to_owned()).collect();
    }
    Ok(found)
}

/// How many stories went wrong.
fn run(arguments: &Arguments) -> Result<usize, String> {
    let Arguments { options, stories, inside } = arguments;
    if inside.is_none() {
        println!("faults: seed {}, logs in {}", options.seed, options.logs.display());
    }
    let mut wrong = 0;
    for (story, needs_namespaces) in STORIES.iter().filter(|(story, _)| stories.iter().any(|name| name == story)) {
        let outcome = match (needs_namespaces, inside) {
            (false, _) => tell(story, options, None),
            (true, Some(made_by)) => tell(story, options, Some(&Namespaces::made_by(*made_by))),
            (true, None) => tell_apart(story, options),
        };
        if let Err(why) = outcome {
            println!("{story}: FAILED: {why}");
            wrong += 1;
        }
    }
    if inside.is_none() && wrong == 0 {
        // What is of no use is not left behind.
        let _ = std::fs::remove_dir_all(&options.logs);
        println!("faults: every promise held");
    }
    Ok(wrong)
}

fn tell(story: &str, options: &Options, namespaces: Option<&Namespaces>) -> Result<(), String> {
    match (story, namespaces) {
        ("calm", _) => stories::calm(options),
        ("weak", _) => stories::weak(options),
        ("kills", _) => kills::kills(options),
        ("upgrade", _) => upgrade::upgrade(options),
        ("restarts", _) => restarts::restarts(options),
        ("relay", _) => stories::relayed(options),
        ("minority", Some(namespaces)) => stories::minority(options, namespaces),
        (_, Some(namespaces)) => stories::partitions(options, namespaces),
        _ => Err("needs namespaces".to_owned()),
    }
}

/// In a copy of this program: all its threads, and what it starts, are in the hub.
fn tell_apart(story: &str, options: &Options) -> Result<(), String> {
    let made = Owned::make().map_err(|why| format!("needs root, iproute2 and nftables ({why})"))?;
    let own = std::env::current_exe().map_err(|error| error.to_string())?;
    // Caught so that an interrupted run still removes its namespaces; the copy is interrupted by itself.
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(|error| error.to_string())?;
    let _entered = runtime.enter();
    let _interrupt = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::interrupt());
    let mut command = made.in_hub();
    command.arg(own).args(["--binary", &options.binary, "--inside", &std::process::id().to_string(), story]);
    command.args(["--logs", &options.logs.to_string_lossy(), "--seed", &options.seed.to_string()]);
    command.args(["--seconds", &options.fault.as_secs().to_string()]);
    if let Some((older, count)) = &options.older {
        command.args(["--older", older, "--mixed", &count.to_string()]);
    }
    let status = command.status().map_err(|error| format!("ip netns exec: {error}"))?;
    if status.success() { Ok(()) } else { Err(format!("ended with {status}")) }
}

//! `memring bench`: puts load on memring or memcached, and times the answers.
//!
//! What to ask, when, and what came of it is decided by values that know no socket; `driver`, `connection` and `alarm` carry it
//! out. This file puts them together. Must not know what a server does with a key.
//!
//! ```text
//! options   flags -> Plan            workload  a connection's requests: keys, values, random
//! driver    one thread's loop        schedule  when requests are due, and what counts
//!   connection  one socket             replies   whose answer is this
//!   alarm       wakes on time          tally     counts and histograms, by second
//! fill      every key once           collect   all threads together         report  JSON, tables
//! ```

mod alarm;
mod collect;
mod connection;
mod driver;
mod fill;
mod keys;
mod options;
mod random;
mod replies;
mod report;
mod schedule;
mod tally;
mod values;
mod workload;

use std::io::IsTerminal;
use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use clap::{ArgMatches, Command};
use tokio::net::TcpStream;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;

use self::collect::Collector;
use self::driver::{Driver, Orders, Pace, Told};
use self::keys::{Names, Sampler};
use self::options::{Length, Loop, Plan};
use self::report::Report;
use self::schedule::{Arrivals, Timeline, share};
use self::workload::Mix;
use crate::outcome::{self, FAILED, Failure, INTERRUPTED};
use crate::say;

/// How long connecting may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);

/// What threads have told and nobody has listened to: some seconds of each.
const TOLD_MAX: usize = 256;

pub(crate) fn command() -> Command {
    options::command()
}

pub(crate) fn run(matches: &ArgMatches) -> ExitCode {
    outcome::of(async {
        let plan = Plan::from_arguments(matches).map_err(Failure::Usage)?;
        bench(&plan).await
    })
}

async fn bench(plan: &Plan) -> Result<ExitCode, Failure> {
    let mix = Arc::new(Mix {
        names: Names::new(&plan.prefix),
        sampler: Sampler::new(plan.distribution, plan.keys),
        block: values::block(plan.sizes.largest(), plan.seed),
        sizes: plan.sizes.clone(),
        gets: plan.gets,
        sets: plan.sets,
        keys_per_get: plan.keys_per_get,
        ttl_s: plan.ttl_s,
        seed: plan.seed,
    });
    if plan.fill {
        tokio::select! {
            filled = fill::fill(&plan.servers, plan.keys, &mix) => filled?,
            _ = tokio::signal::ctrl_c() => {
                eprintln!("memring: stopped while filling: nothing was measured");
                return Ok(ExitCode::from(INTERRUPTED));
            }
        }
    }
    let (total, interrupted) = load(plan, &mix).await?;
    say(&if plan.as_json { total.json() } else { total.tables() });
    Ok(match (interrupted, total.has_answers()) {
        (true, _) => ExitCode::from(INTERRUPTED),
        (false, true) => ExitCode::SUCCESS,
        (false, false) => ExitCode::from(FAILED),
    })
}

/// The load itself: what it has shown, and whether Ctrl-C ended it.
async fn load(plan: &Plan, mix: &Arc<Mix>) -> Result<(Report, bool), Failure> {
    let sockets = connect(plan).await?;
    let mut interrupts = signal(SignalKind::interrupt()).map_err(|error| error.to_string())?;
    let stop = Arc::new(AtomicBool::new(false));
    let (told, mut heard) = mpsc::channel(TOLD_MAX);
    let (threads, start) = start(plan, mix, sockets, &stop, &told).map_err(|error| error.to_string())?;
    drop(told);
    let is_open = matches!(plan.requests, Loop::Open { .. });
    let (mut collector, mut progress) = (Collector::new(plan.threads, is_open), Progress::new());
    let mut stopped_at = None;
    loop {
        tokio::select! {
            told = heard.recv() => match told {
                Some(Told::Interval(second, interval)) => {
                    if let Some(row) = collector.on_interval(second, &interval) {
                        progress.show(&row.sentence());
                    }
                }
                Some(Told::Ended { last_answer }) => collector.on_ended(last_answer),
                Some(Told::Failed(error)) => {
                    stop.store(true, Ordering::Relaxed);
                    return Err(Failure::Failed(error.to_string()));
                }
                None => break,
            },
            _ = interrupts.recv() => {
                if stopped_at.is_some() {
                    return Err(Failure::Failed("stopped without a report".to_owned()));
                }
                stopped_at = Some(driver::now().saturating_duration_since(start));
                stop.store(true, Ordering::Relaxed);
            }
        }
    }
    progress.end();
    for thread in threads {
        thread.join().map_err(|_| "a thread has panicked".to_owned())?;
    }
    let (total, series, last_answer) = collector.finish();
    let seconds = measured(plan, stopped_at, Duration::from_nanos(last_answer)).as_secs_f64();
    Ok((Report::new(plan, &total, seconds, stopped_at.is_some(), series), stopped_at.is_some()))
}

/// The time that what was counted took: as long as was planned, or until the last answer where that came later.
fn measured(plan: &Plan, stopped_at: Option<Duration>, last_answer: Duration) -> Duration {
    let answered = last_answer.saturating_sub(plan.warm_up);
    match (stopped_at, plan.length) {
        (Some(stopped), _) => answered.max(stopped.saturating_sub(plan.warm_up)),
        (None, Length::For(length)) => answered.max(length),
        (None, Length::Operations(_)) => answered,
    }
}

/// All connections, dealt over the servers in turn.
async fn connect(plan: &Plan) -> Result<Vec<(std::net::TcpStream, SocketAddr)>, String> {
    let mut sockets = Vec::with_capacity(plan.connections);
    for server in plan.servers.iter().cycle().take(plan.connections) {
        let wrong = |why: String| format!("cannot connect to {server}: {why}");
        let stream = tokio::time::timeout(CONNECT_TIMEOUT, TcpStream::connect(server.as_str())).await;
        let stream =
            stream.map_err(|_| wrong("no answer in time".to_owned()))?.map_err(|error| wrong(error.to_string()))?;
        let address = stream.peer_addr().map_err(|error| wrong(error.to_string()))?;
        sockets.push((stream.into_std().map_err(|error| wrong(error.to_string()))?, address));
    }
    Ok(sockets)
}

/// Starts the threads, each with its share of connections and requests.
fn start(
    plan: &Plan,
    mix: &Arc<Mix>,
    sockets: Vec<(std::net::TcpStream, SocketAddr)>,
    stop: &Arc<AtomicBool>,
    told: &mpsc::Sender<Told>,
) -> std::io::Result<(Vec<JoinHandle<()>>, Instant)> {
    let length = match plan.length {
        Length::For(length) => Some(length),
        Length::Operations(_) => None,
    };
    let mut shares: Vec<Vec<(u64, std::net::TcpStream, SocketAddr)>> = (0..plan.threads).map(|_| Vec::new()).collect();
    for (number, (stream, address)) in sockets.into_iter().enumerate() {
        shares[number % plan.threads].push((number as u64, stream, address));
    }
    let mut drivers = Vec::with_capacity(plan.threads);
    for (thread, share_of_sockets) in shares.into_iter().enumerate() {
        let (thread, threads) = (thread as u64, plan.threads as u64);
        let pace = match plan.requests {
            Loop::Closed { pipeline } => Pace::Closed { pipeline },
            Loop::Open { rate } => Pace::Open(Arrivals::new(rate, thread, threads)),
        };
        let budget = match plan.length {
            Length::For(_) => u64::MAX,
            Length::Operations(count) => share(count, thread, threads),
        };
        let timeline = Timeline::new(plan.warm_up, length);
        let orders = Orders { pace, timeline, budget, patience: plan.patience };
        drivers.push(Driver::new(orders, mix, share_of_sockets, Arc::clone(stop), told.clone())?);
    }
    let start = driver::now();
    let threads = drivers.into_iter().enumerate().map(|(thread, driver)| {
        std::thread::Builder::new().name(format!("bench-{thread}")).spawn(move || driver.run(start))
    });
    Ok((threads.collect::<std::io::Result<_>>()?, start))
}

/// A line that changes every second, where there is a terminal.
struct Progress {
    on_terminal: bool,
}

impl Progress {
    fn new() -> Self {
        let on_terminal = std::io::stderr().is_terminal();
        if on_terminal {
            eprint!("warming up");
        }
        Self { on_terminal }
    }

    fn show(&mut self, line: &str) {
        if self.on_terminal {
            eprint!("\r\x1b[K{line}");
        }
    }

    fn end(&mut self) {
        self.show("");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_that_counts_is_the_plan_s_or_until_the_last_answer() {
        let plan = |words: &str| {
            let words = std::iter::once("bench").chain(words.split_whitespace());
            Plan::from_arguments(&command().try_get_matches_from(words).expect("legal flags")).expect("a plan")
        };
        let seconds = Duration::from_secs;
        let timed = plan("--duration 10s --warm-up 2s");
        assert_eq!(measured(&timed, None, seconds(11)), seconds(10));
        assert_eq!(measured(&timed, None, seconds(15)), seconds(13));
        assert_eq!(measured(&timed, Some(seconds(5)), seconds(4)), seconds(3));
        assert_eq!(measured(&timed, Some(seconds(1)), seconds(0)), seconds(0));
        assert_eq!(measured(&plan("--operations 5 --warm-up 2s"), None, seconds(7)), seconds(5));
    }
}

//! Commands for whoever runs the node: stats, the crawler, the memory limit, who is in the cluster.
//!
//! Must not hold a thread for long: what walks the whole store does so in steps, a timer apart.

use std::sync::atomic::Ordering;
use std::time::Duration;

use memring_protocol::text::{Command, Crawler, ErrorReply, Response};

use super::effect::{Effect, Ticket};
use super::stats;
use super::turn::Turn;
use super::{Node, Op, OpId};

/// Places that one step of a crawl looks at: well under a millisecond.
const CRAWL_STEP: usize = 4096;

/// Records that one step of a shrinking store drops from each shard: with 16 shards a fraction of a millisecond.
const SHRINK_STEP: usize = 32;

/// Between two steps, so that clients come first.
const STEP_AFTER: Duration = Duration::from_millis(1);

/// Work on the whole store, under way.
#[derive(Debug)]
pub(crate) enum Chore {
    /// So many places are left to look at.
    Crawl(usize),
    /// The store does not keep to its limit yet.
    Shrink,
}

impl Node {
    /// Answers at once, but for `stats cluster`.
    pub(crate) fn administer(&mut self, turn: &mut Turn<'_>, ticket: Ticket, command: &Command<'_>) {
        let response = match command {
            Command::Stats { arguments: b"cluster" } => return self.start_sum(turn, ticket),
            Command::Stats { arguments } => stats::respond(&self.shared, turn.cluster(), arguments),
            Command::MemoryLimit { megabytes, .. } => self.set_memory_limit(turn, *megabytes),
            Command::Crawler(what) => self.crawl(turn, *what),
            Command::ConfigGetCluster => self.shared.discovery(),
            Command::ConfigGetRing => self.shared.told_ring(),
            _ => Response::Failed(ErrorReply::Unknown),
        };
        turn.effects.push(Effect::Respond(ticket, response));
    }

    fn set_memory_limit(&mut self, turn: &mut Turn<'_>, megabytes: u32) -> Response {
        let bytes = usize::try_from(u64::from(megabytes) << 20).unwrap_or(usize::MAX);
        if !self.shared.store.set_limit(bytes) {
            return Response::Failed(ErrorReply::MemoryLimitFailed);
        }
        self.start_chore(turn, Chore::Shrink);
        Response::Ok
    }

    fn crawl(&mut self, turn: &mut Turn<'_>, what: Crawler) -> Response {
        let enabled = &self.shared.crawler_enabled;
        match what {
            Crawler::Enable if enabled.swap(true, Ordering::Relaxed) => Response::Failed(ErrorReply::CrawlerRuns),
            Crawler::Disable if !enabled.swap(false, Ordering::Relaxed) => Response::Failed(ErrorReply::CrawlerStopped),
            Crawler::Enable | Crawler::Disable => Response::Ok,
            Crawler::Crawl if !enabled.load(Ordering::Relaxed) => Response::Failed(ErrorReply::CrawlerDisabled),
            Crawler::Crawl => {
                // One that is under way already does the same.
                if !self.shared.crawling.swap(true, Ordering::Relaxed) {
                    self.shared.crawls.fetch_add(1, Ordering::Relaxed);
                    let places = self.shared.store.places();
                    self.start_chore(turn, Chore::Crawl(places));
                }
                Response::Ok
            }
            // Listings of a whole store are not commands that one answer ends.
            Crawler::Metadump(_) | Crawler::Mgdump(_) => Response::Failed(ErrorReply::Unknown),
        }
    }

    fn start_chore(&mut self, turn: &mut Turn<'_>, chore: Chore) {
        let id = self.open(Op::Chore(chore));
        self.step_chore(turn, id);
    }

    /// The next step of a chore; the last one ends it.
    pub(crate) fn step_chore(&mut self, turn: &mut Turn<'_>, id: OpId) {
        let (store, now) = (&self.shared.store, turn.cluster());
        let done = match self.ops.get_mut(&id) {
            Some(Op::Chore(Chore::Crawl(left))) => {
                let step = CRAWL_STEP.min(*left);
                store.sweep(now, step);
                *left -= step;
                let done = *left == 0 || !self.shared.crawler_enabled.load(Ordering::Relaxed);
                if done {
                    self.shared.crawling.store(false, Ordering::Relaxed);
                }
                done
            }
            Some(Op::Chore(Chore::Shrink)) => store.fit(now, SHRINK_STEP),
            _ => return,
        };
        if done {
            self.close(id);
        } else {
            self.set_timer(turn.mono().after(STEP_AFTER), id);
        }
    }
}

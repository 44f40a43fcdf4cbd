//! How quickly membership probes, suspects and greets, and what each choice costs.
//!
//! Must not know the cluster's size: the defaults hold for three nodes and for a few hundred.

use std::num::{NonZeroU8, NonZeroUsize};
use std::time::Duration;

use memring_protocol::gossip::GOSSIP_BYTES_MAX;

/// The timing of membership. The defaults are for one data centre.
///
/// A crash is known to all once two members have probed in vain and `suspect_after` is over. A member finds out within
/// `2n - 2` periods among `n` nodes, and one more in which the probe fails; in larger clusters more of them probe, so that
/// it takes no longer: two seconds, as `tests/tests/detection.rs` measures, with what it costs. Each node sends two packets
/// a `probe_period`, and three a `gossip_period` while there is news. A process that stops for longer than
/// `suspect_after` and a period, and cannot say that it lives, is taken for failed until it speaks again.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct MembershipConfig {
    /// One random peer is probed in each period. More than twice `probe_rtt`, so that the indirect probes have time too.
    pub probe_period: Duration,
    /// How long a peer may take to answer before others are asked to try. Well above a loaded peer's slowest answers.
    pub probe_rtt: Duration,
    /// How long a suspect has to refute. Outlasts a pause of its process of about this length plus one period.
    pub suspect_after: Duration,
    /// How often a verdict that waits for reports is looked at again.
    pub recheck_after: Duration,
    /// How many members must report a failure before it counts; fewer when fewer are left that can report.
    pub reporters_needed: usize,
    /// How often news travel on, to three peers each time.
    pub gossip_period: Duration,
    /// How often a node asks a peer for all it knows, which repairs what gossip missed.
    pub announce_period: Duration,
    /// How often two failed members are tried again, so that the sides of a healed partition find each other.
    pub announce_to_failed_period: Duration,
    /// How often the join addresses are greeted while no peer is known to be alive.
    pub greet_period: Duration,
    /// How often join addresses that belong to no live peer are greeted otherwise: two clusters that started apart merge.
    pub greet_period_in_company: Duration,
    /// How long a failed member stays known. Long after the ring has removed it.
    pub forget_after: Duration,
}

impl Default for MembershipConfig {
    fn default() -> Self {
        Self {
            probe_period: Duration::from_millis(350),
            probe_rtt: Duration::from_millis(160),
            suspect_after: Duration::from_millis(1000),
            recheck_after: Duration::from_millis(50),
            reporters_needed: 2,
            gossip_period: Duration::from_millis(100),
            announce_period: Duration::from_secs(10),
            announce_to_failed_period: Duration::from_secs(5),
            greet_period: Duration::from_secs(1),
            greet_period_in_company: Duration::from_secs(10),
            forget_after: Duration::from_secs(24 * 60 * 60),
        }
    }
}

/// Peers asked for an indirect probe, and told of news in one gossip round.
const FANOUT: NonZeroUsize = NonZeroUsize::new(3).expect("not zero");

/// How many packets of one node carry one piece of news: 4 log10 n is the field's rule, so ten serve several hundred nodes.
const TRANSMISSIONS: NonZeroU8 = NonZeroU8::new(10).expect("not zero");

impl MembershipConfig {
    /// foca's settings in these terms.
    pub(super) fn to_foca(&self) -> foca::Config {
        let every = |frequency, members| Some(foca::PeriodicParams { frequency, num_members: members });
        foca::Config {
            probe_period: self.probe_period,
            probe_rtt: self.probe_rtt,
            num_indirect_probes: FANOUT,
            max_transmissions: TRANSMISSIONS,
            suspect_to_down_after: self.suspect_after,
            // Forgetting is membership's own: foca would keep a timer for each verdict, as many as a hostile sender likes.
            remove_down_after: None,
            max_packet_size: NonZeroUsize::new(GOSSIP_BYTES_MAX).expect("not zero"),
            notify_down_members: true,
            periodic_announce: every(self.announce_period, NonZeroUsize::MIN),
            periodic_announce_to_down_members: every(
                self.announce_to_failed_period,
                NonZeroUsize::MIN.saturating_add(1),
            ),
            periodic_gossip: every(self.gossip_period, FANOUT),
        }
    }

    /// foca's settings for the last words of a node that leaves: to everyone, not to a few.
    pub(super) fn to_foca_farewell(&self) -> foca::Config {
        foca::Config { num_indirect_probes: NonZeroUsize::MAX, max_transmissions: NonZeroU8::MAX, ..self.to_foca() }
    }

    /// Whether the periods make sense together; a machine with others would spin or never judge.
    pub(super) fn is_sound(&self) -> bool {
        let waits = [
            self.probe_rtt,
            self.suspect_after,
            self.recheck_after,
            self.gossip_period,
            self.announce_period,
            self.announce_to_failed_period,
            self.greet_period,
            self.greet_period_in_company,
        ];
        self.probe_rtt < self.probe_period
            && self.reporters_needed > 0
            && waits.iter().all(|wait| *wait >= Duration::from_millis(1))
    }
}

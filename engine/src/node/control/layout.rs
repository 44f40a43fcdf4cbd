//! A new ring config: where partitions lie from now on, and what this node has to copy or can forget.

use std::collections::BTreeMap;
use std::sync::Arc;

use memring_protocol::key::Partition;
use memring_protocol::ring::{Epoch, RingConfig, Standing};

use super::super::topology::Layout;
use super::Control;
use crate::cluster::quorum::Slots;
use crate::cluster::recovery::Recovery;
use crate::now::Now;

impl Control {
    pub(super) fn adopt(&mut self, now: Now, config: Arc<RingConfig>) {
        let before = self.shared.topology().epoch();
        let ring_before = self.shared.topology().layout().map(|layout| layout.config.ring_id);
        if ring_before == Some(config.ring_id) && config.epoch <= before {
            return;
        }
        tracing::info!(epoch = config.epoch.0, members = config.members.len(), ring = %config.ring_id, "ring config adopted");
        for level in self.shared.levels_above(config.replicas) {
            tracing::error!(
                "{level}: more than the {} copies of this ring; such requests are never met",
                config.replicas
            );
        }
        if let Some(uneven) = uneven_zones(&config) {
            tracing::warn!("{uneven}");
        }
        let layout = Arc::new(Layout::of(config));
        let topology = self.shared.topology().with_layout(Arc::clone(&layout), &self.shared.settings().name);
        let me = topology.me();
        self.shared.set_topology(topology);
        if ring_before != Some(layout.config.ring_id) {
            self.shared.touch.forget();
        }
        self.sum_up_touch();
        // Slots have moved: peers must be found anew before anyone is asked.
        let _ = self.refresh_members(now);
        if ring_before.is_some_and(|before| before != layout.config.ring_id) {
            // What was copied in another ring is no copy in this one.
            self.synced_told = Epoch(0);
            Partition::all().for_each(|partition| self.note_ownership(&layout, partition, false));
        }
        for partition in Partition::all() {
            let homes = layout.all_homes(partition);
            let owned = me.is_some_and(|me| homes.contains(&me));
            self.note_ownership(&layout, partition, owned);
        }
        self.share_repair(now, &layout, me);
        self.count_synced();
        self.recovery_moved = true;
        self.members_changed = true;
    }

    fn note_ownership(&mut self, layout: &Layout, partition: Partition, owned: bool) {
        let before = std::mem::replace(&mut self.owned[partition.index()], owned);
        let standings = &self.shared.standings;
        if !owned {
            self.recovery.forget(partition);
            if before {
                standings.set_synced(partition, false);
                // With the copy go the promises; should the partition come back, its old term must not go on.
                standings.forget(partition);
                self.shared.store.clear_partition(partition);
            }
            return;
        }
        let homes = layout.homes(partition);
        // Where a member leaves and nobody takes its place, its copy is one of the majority that holds a write, and there is
        // one less from then on: so those that stay compare theirs first. They count meanwhile, as they did.
        let dwindles = layout.next_homes(partition).is_some_and(|next| next.len() < homes.len());
        let whole = standings.is_synced(partition);
        if dwindles || !whole {
            let me = self.shared.topology().me();
            let sources: Slots = homes.iter().copied().filter(|slot| Some(*slot) != me).collect();
            // A copy that is complete is one of those that are needed; so a leaver that dies on its way out is not waited for.
            let needed = (Recovery::needed(homes.len()) - usize::from(whole)).max(1);
            let is_to_come = !me.is_some_and(|me| homes.contains(&me));
            self.recovery.begin(partition, &sources, needed, is_to_come);
        } else {
            self.recovery.forget(partition);
        }
    }

    /// Every copy must be compared again before this node is counted.
    pub(super) fn distrust_copies(&mut self) {
        let Some(layout) = self.shared.topology().layout().cloned() else { return };
        tracing::warn!("out of touch with the ring for long: comparing all copies");
        for partition in Partition::all() {
            if self.owned[partition.index()] {
                self.shared.standings.set_synced(partition, false);
                self.recovery.forget(partition);
                self.note_ownership(&layout, partition, true);
                self.recovery.distrust(partition);
            }
        }
        self.count_synced();
        self.recovery_moved = true;
    }
}

/// What is uneven about the zones of a ring, if anything: copies go to distinct zones first all the same.
fn uneven_zones(config: &RingConfig) -> Option<String> {
    let mut zones: BTreeMap<&str, u32> = BTreeMap::new();
    for member in config.members.iter().filter(|member| member.standing == Standing::Active) {
        *zones.entry(&member.share.zone).or_default() += member.share.weight;
    }
    let without = zones.remove("");
    if zones.is_empty() {
        return None;
    }
    if without.is_some() {
        return Some("some nodes have a zone and some have none: each of those counts as a zone of its own".to_owned());
    }
    let (least, most) = (zones.values().min()?, zones.values().max()?);
    let shares: Vec<String> =
        zones.iter().map(|(zone, weight)| format!("{zone} {}", f64::from(*weight) / 100.0)).collect();
    (least < most && zones.len() > 1)
        .then(|| format!("zones are uneven ({}): nodes of the smaller ones hold more copies each", shares.join(", ")))
}

#[cfg(test)]
mod tests {
    use memring_protocol::ring::{NodeName, RingId, RingMember, Share};
    use memring_protocol::version::Slot;

    use super::*;

    #[test]
    fn zones_that_are_uneven_or_missing_are_told() {
        let told = |zones: &[(&str, u32)]| {
            let members = zones.iter().enumerate().map(|(number, (zone, weight))| RingMember {
                name: NodeName::new(&format!("n{number}")).expect("a legal name"),
                slot: Slot::new(number as u16).expect("few nodes"),
                share: Share { zone: (*zone).to_owned(), weight: *weight },
                standing: Standing::Active,
            });
            let (ring_id, cluster) = (RingId(1), "memring".to_owned());
            let members = members.collect();
            uneven_zones(&RingConfig { ring_id, epoch: Epoch(1), cluster, replicas: 3, vnodes: 256, members })
        };
        assert_eq!(told(&[("", 100), ("", 50)]), None);
        assert_eq!(told(&[("a", 100), ("b", 50), ("b", 50)]), None);
        assert_eq!(told(&[("a", 100), ("a", 50)]), None, "one zone is none");
        let uneven = told(&[("a", 100), ("b", 100), ("b", 50)]).expect("uneven");
        assert!(uneven.contains("a 1, b 1.5"), "{uneven}");
        assert!(told(&[("a", 100), ("", 100)]).is_some_and(|text| text.contains("none")));
    }
}

#!/usr/bin/env bash
# `make mutants`: breaks one rule of the cluster at a time in a copy of the tree, and expects the simulator to notice.
# A mutant that nobody notices is a promise that nobody checks. MUTANTS="name name" runs some, SEEDS=n bounds the search.
set -uo pipefail
cd "$(dirname "$0")/.."
seeds=${SEEDS:-300}
work=$PWD/target/mutants
tree=$work/tree
survivors=0 caught=0 broken=0

export CARGO_TARGET_DIR=$work/target
# Mutants are built often and run for seconds.
export CARGO_INCREMENTAL=1
export CARGO_PROFILE_RELEASE_LTO=off CARGO_PROFILE_RELEASE_CODEGEN_UNITS=16 CARGO_PROFILE_RELEASE_DEBUG=false
export CARGO_PROFILE_RELEASE_OPT_LEVEL=2

# mutant NAME TEST FILE OLD NEW …: in FILE, each OLD (there exactly once) becomes its NEW; TEST must fail. TEST is `sim`, `leases`
# (the part of it that is about them), the name of a scenario or of a rule's story, or FILE/NAME for another file's story.
mutant() {
  local name=$1 test=$2 file=$3 log=$work/$1.log content changed start=$SECONDS
  shift 3
  if [ -n "${MUTANTS:-}" ] && [[ " $MUTANTS " != *" $name "* ]]; then return; fi
  content=$(cat "$tree/$file") changed=$content
  while [ $# -gt 1 ]; do
    if [ "$(grep -cF -- "$1" "$tree/$file")" != 1 ]; then
      printf '%-34s BROKEN    its line is not in %s exactly once\n' "$name" "$file"
      broken=$((broken + 1))
      return
    fi
    changed=${changed/"$1"/"$2"}
    shift 2
  done
  printf '%s\n' "$changed" >"$tree/$file"
  verdict "$name" "$test" "$log"
  printf '%s\n' "$content" >"$tree/$file"
  printf '%36s(%d s)\n' '' $((SECONDS - start))
}

verdict() {
  local name=$1 test=$2 log=$3 command
  command=(cargo test --quiet --release --locked --manifest-path "$tree/Cargo.toml" --package memring-tests)
  case $test in
    sim) command+=(--test sim no_acknowledged_write) ;;
    leases) command+=(--test sim each_lease) ;;
    */*) command+=(--test "${test%%/*}" "${test#*/}") ;;
    rule_*) command+=(--test rules "$test") ;;
    *) command+=(--test scenarios "$test") ;;
  esac
  if ! "${command[@]}" --no-run >"$log" 2>&1; then
    printf '%-34s BROKEN    does not compile: %s\n' "$name" "$log"
    broken=$((broken + 1))
  elif SIM_SEEDS=$seeds "${command[@]}" -- --nocapture >"$log" 2>&1; then
    printf '%-34s SURVIVED  %s, %d seeds\n' "$name" "$test" "$seeds"
    survivors=$((survivors + 1))
  else
    printf '%-34s caught    %s\n' "$name" "$(complaint "$log")"
    caught=$((caught + 1))
  fi
}

# The checker's line with its seed; or the first panic's message, which a scenario's assertion is.
complaint() {
  grep -m1 -E '^seed [0-9]+: ' "$1" || grep -m1 -A1 'panicked at' "$1" | tail -n 1
}

mkdir -p "$tree"
git ls-files -z --cached --others --exclude-standard | xargs -0 cp --parents --target-directory "$tree"

# Quorums counted one short.
mutant writes_one_short sim engine/src/cluster/quorum.rs \
  'let needed = wanted(current).max(majority(current.len()));' \
  'let needed = wanted(current).max(majority(current.len())) - usize::from(copies > 0);'
mutant promises_one_short sim engine/src/cluster/quorum.rs \
  'Self::of_writes(current, next, 0)' \
  'Self { current: HomeSet::new(current, majority(current.len()) - 1), next: next.map(|homes| Box::new(HomeSet::new(homes, 1))) }'
mutant reads_one_short sim engine/src/node/reads.rs \
  'reader.read_op(homes, next, needed)' \
  'reader.read_op(homes, next, needed - 1)'

# Terms not respected.
mutant entries_not_fenced sim engine/src/store/shard.rs \
  'return Applied::Fenced(promised);' \
  'let _ = promised;'
mutant outbid_looks_go_on rule_1_a_deposed_serializer_that_has_to_look engine/src/node/serializer.rs \
  'Some(ReadResult::Refused(Refusal::Fenced(later))) if later > ballot => {' \
  'Some(ReadResult::Refused(Refusal::Fenced(later))) if later < ballot => {'
mutant confirmations_not_fenced rule_1_a_deposed_serializer engine/src/node/replica.rs \
  'return Acknowledgement::Fenced(promised);' \
  'return held;'
mutant own_deposition_ignored sim engine/src/node/apply.rs \
  'if held.promised() != lead.ballot {' \
  'if held.promised() < lead.ballot {'
mutant unchanged_not_confirmed sim engine/src/node/spread.rs \
  'let (answered, outdated, again) = (false, false, 0);' \
  'let (answered, outdated, again) = (false, false, 0); let me = turn.topology.me().expect("a home"); let mut alone = Quorum::of_writes(&[me], None, 1); alone.yes(me, true); let quorum = if changed { quorum } else { alone };'

# A new term that does not look.
mutant never_looks rule_1_a_new_serializer engine/src/node/apply.rs \
  'if !seen && !blind && looked.is_none() {' \
  'if false && !seen && !blind && looked.is_none() {'
mutant always_whole sim engine/src/node/takeover.rs \
  'takeover.whole &= digest == takeover.digest;' \
  'let _ = digest;'
mutant looks_without_promise rule_1_a_home_that_is_looked_at engine/src/node/replica.rs \
  'shared.store.raise_promised(key.partition(), ballot);' \
  'let _ = ballot;'

# Recovering homes that count.
mutant recovering_acknowledges rule_2_a_recovering_home_acknowledges engine/src/node/replica.rs \
  'let held = Acknowledgement::Held { synced: shared.standings.is_synced(partition) };' \
  'let held = Acknowledgement::Held { synced: true };'
mutant recovering_promises rule_2_a_recovering_home_promises engine/src/node/replica.rs \
  'let synced = shared.standings.is_synced(partition);' \
  'let synced = true;'
mutant recovering_reads rule_2_a_recovering_home_does_not engine/src/node/replica.rs \
  'if !shared.standings.is_synced(key.partition()) {' \
  'if false {'
mutant recovering_orders rule_2_a_recovering_home_orders engine/src/node/serializer.rs \
  'self.shared.standings.is_synced(partition)' \
  'true'
mutant recovery_from_one_source one_dead_and_one_restarting engine/src/cluster/recovery.rs \
  'homes - majority(homes) + 1' \
  'usize::from(homes > 1)'
mutant recovery_forgets_promises rule_2_recovery_brings_back engine/src/node/control/recovering.rs \
  'self.shared.store.raise_promised(fetched.partition, state.promised);' \
  'let _ = state;'

# Repairs left out.
mutant read_repair_skipped rule_1_a_value_that_was_read engine/src/cluster/read.rs \
  'self.differs |= self.version != version;' \
  'self.differs |= self.version != version && (wanted_value || version > self.newest.version());'
mutant read_repair_reversed sim engine/src/node/serializer.rs \
  'if version(&other) > version(&one) { other } else { one }' \
  'if one.is_none() || (other.is_some() && version(&other) < version(&one)) { other } else { one }'
mutant hints_not_kept repair/what_hints_bring engine/src/cluster/hints/mod.rs \
  'let cost = cost(key);' \
  'let cost = cost(key); if cost > 0 { return true; }'

mutant evicted_comes_back repair/while_copies engine/src/cluster/repair/difference.rs \
  'here: list.agreed.max(evicted), there: list.agreed.max(list.evicted)' \
  'here: list.agreed.max(Stamp(evicted.0 & 0)), there: list.agreed'
mutant older_version_mends repair/copies_that_differ engine/src/cluster/repair/difference.rs \
  'their_newest.max(my_newest),' \
  'their_newest.min(my_newest).or(their_newest).or(my_newest),'
mutant all_holders_send repair/copies_that_differ engine/src/node/surveying.rs \
  'if !all && others.contains(&version.stamp.slot()) {' \
  'if false && others.contains(&version.stamp.slot()) {'
mutant missed_is_not_offered repair/an_entry_older engine/src/node/replay.rs \
  'Some(slot) if Some(slot) != turn.topology.me() => self.send_missed(turn, missed, entry, slot, promised),' \
  'Some(slot) if Some(slot) != turn.topology.me() => { let _ = entry; self.confirm_missed(turn, missed) }'
mutant fenced_is_not_offered repair/an_entry_older engine/src/node/replay.rs \
  'Some(entry) if entry.version == missed.version => self.offer(turn, missed, entry, ballot),' \
  'Some(entry) if entry.version == missed.version && ballot.holder().is_none() => self.offer(turn, missed, entry, ballot),'
mutant nothing_compared_after_a_heal repair/copies_that_differ engine/src/node/control/repairing.rs \
  'pair.mark_all();' \
  'let _ = pair;'

# Attempts of a write that was tried again.
mutant late_attempts_ordered sim engine/src/node/serializer.rs \
  'if lead.ballot > order.request.upto {' \
  'if false {'
mutant late_attempts_ordered_told a_set_that_was_passed_over engine/src/node/serializer.rs \
  'if lead.ballot > order.request.upto {' \
  'if false {'
mutant later_attempts_in_old_terms rule_1_a_write_that_is_tried_again engine/src/node/serializer.rs \
  'if lead.ballot <= order.request.above {' \
  'if false {'
mutant passed_over_success_counts sim engine/src/node/writes.rs \
  'if !awaited {' \
  'if !awaited && !matches!(reply, WriteReply::Done(_)) {'

# Leases: who is told to fetch a value anew.
mutant lease_not_marked rule_10_of_many_readers engine/src/cluster/mutation.rs \
  'let marks = if won { item.marks.with(Marks::WON) } else { item.marks };' \
  'let marks = item.marks;'
mutant lease_answered_at_once leases engine/src/node/spread.rs \
  'let (answered, outdated, again) = (false, false, 0);' \
  'let (answered, outdated, again) = (false, false, 0); let me = turn.topology.me().expect("a home"); let mut alone = Quorum::of_writes(&[me], None, 1); alone.yes(me, true); let quorum = if matches!(outcome, Outcome::Item(_)) { alone } else { quorum };'
mutant stale_lost_on_copy leases engine/src/node/replica.rs \
  'match shared.store.apply(now, replicate.key, replicate.fence, *entry) {' \
  'let mut entry = *entry; if let memring_protocol::entry::BodyRef::Item(item) = &mut entry.body { item.marks = item.marks.without(memring_protocol::entry::Marks::STALE); } match shared.store.apply(now, replicate.key, replicate.fence, entry) {'
mutant won_lost_on_copy leases engine/src/node/replica.rs \
  'match shared.store.apply(now, replicate.key, replicate.fence, *entry) {' \
  'let mut entry = *entry; if let memring_protocol::entry::BodyRef::Item(item) = &mut entry.body { item.marks = item.marks.without(memring_protocol::entry::Marks::WON); } match shared.store.apply(now, replicate.key, replicate.fence, entry) {'
mutant stale_read_does_not_ask leases engine/src/node/meta.rs \
  'call.kind == Kind::Get && marked(&item)' \
  'false && call.kind == Kind::Get && marked(&item)'
mutant invalidated_stays_won leases engine/src/cluster/mutation.rs \
  'next.marks = next.marks.with(Marks::STALE).without(Marks::WON);' \
  'next.marks = next.marks.with(Marks::STALE);'
mutant gat_takes_leases leases engine/src/node/requests.rs \
  'Mutation::GetAndTouch(expiry), parent, None' \
  'Mutation::Fetch(memring_protocol::message::Fetch { expiry: Some(expiry), ..Default::default() }), parent, None'
mutant loser_waits_for_itself leases engine/src/node/writes.rs \
  'if fetched.item.marks.has(Marks::WON) && !fetched.won => {' \
  'if false && fetched.item.marks.has(Marks::WON) && !fetched.won => {'
mutant deposed_lease_not_in_doubt leases engine/src/node/apply.rs \
  'Made::New(outcome, change, entry) => (change, Applied::Ordered(outcome, Some(entry), true)),' \
  'Made::New(outcome, change, entry) => {
                    let told = !matches!(outcome, Outcome::Item(_));
                    (change, Applied::Ordered(outcome, Some(entry), told))
                }'
mutant invalidation_tried_again leases engine/src/cluster/mutation.rs \
  'Mutation::Remove(remove) => *remove == Remove::default(),' \
  'Mutation::Remove(_) => true,'

# The ring: who founds it, who may change it, who is in it, where copies are while it changes.
mutant founders_ask_nobody rule_4_of_two engine/src/cluster/ring/bootstrap.rs \
  'founding.consenters.len() == founding.asked.len()' \
  'founding.consenters.len() <= founding.asked.len()'
mutant minority_changes_the_ring rule_3_a_minority engine/src/cluster/ring/acceptor.rs \
  'voters / 2 + 1' \
  'voters / 2'
mutant all_is_as_many_as_there_were rule_5_all_homes engine/src/node/writes.rs \
  'if level == Level::All && copies > 1 { COPIES_ALL }' \
  'if false && level == Level::All && copies > 1 { COPIES_ALL }'
mutant writes_pass_over_new_homes rule_5_a_write engine/src/node/spread.rs \
  'Some(Quorum::of_writes(layout.homes(partition), layout.next_homes(partition), request.copies))' \
  'Some(Quorum::of_writes(layout.homes(partition), None, request.copies))'
# Planned stops that lend nothing, or wait for nobody.
mutant stops_without_lending restarts/one_copy engine/src/node/control/departing.rs \
  'let lends = departing.is_leaving || (layout.replicas() == 1 && !staying.is_empty());' \
  'let lends = departing.is_leaving;'
mutant stops_without_copies restarts/a_stop_waits_until engine/src/cluster/departure.rs \
  'let needed = majority(homes).min(others.len());' \
  'let needed = 0;'
mutant reads_pass_over_new_homes rule_5_no_read engine/src/node/reads.rs \
  'let next = layout.and_then(|layout| layout.next_homes(read.key.partition()));' \
  'let next = None;'
mutant gone_at_once rule_11_a_member engine/src/cluster/ring/standing.rs \
  'ring.absent.insert(member.name.clone(), since);' \
  'ring.absent.insert(member.name.clone(), since); ring.removals.insert(member.name.clone());'
mutant leavers_copy_lost what_a_leaver_held engine/src/node/control/layout.rs \
  'let dwindles = layout.next_homes(partition).is_some_and(|next| next.len() < homes.len());' \
  'let dwindles = false;'
mutant dead_leaver_waited_for a_leaver_that_dies engine/src/node/control/layout.rs \
  'Recovery::needed(homes.len()) - usize::from(whole)' \
  'Recovery::needed(homes.len())'

# What must not come back.
mutant copies_count_down_themselves rule_6_an_item_ends engine/src/node/replica.rs \
  'match shared.store.apply(now, replicate.key, replicate.fence, *entry) {' \
  'let mut entry = *entry; if let memring_protocol::entry::BodyRef::Item(item) = &mut entry.body { if item.expiry.unix_seconds().is_some() { item.expiry = memring_protocol::entry::Expiry::from_exptime(6, now); } } match shared.store.apply(now, replicate.key, replicate.fence, entry) {'
mutant tombstones_by_age rule_7_what_was_deleted_is_remembered engine/src/store/proofs.rs \
  'age_ms > super::TOMBSTONE_LIFE_MS && self.is_settled(tombstone)' \
  'age_ms > super::TOMBSTONE_LIFE_MS'
mutant tombstones_for_a_moment rule_7_what_was_deleted_does_not engine/src/store/proofs.rs \
  'age_ms > super::TOMBSTONE_LIFE_MS && self.is_settled(tombstone)' \
  'age_ms > 1'
mutant expired_forgotten rule_6_what_has_expired engine/src/store/shard.rs \
  'if is_item && !is_flushed && !self.is_settled(self.record(place))' \
  'if false && is_item && !is_flushed'
mutant outdated_copy_kept rule_7_who_returns engine/src/node/control/recovering.rs \
  'if has_dropped && self.recovery.must_empty(partition)' \
  'if false && has_dropped && self.recovery.must_empty(partition)'
mutant sleeper_counts rule_7_who_returns engine/src/node/control/liveness.rs \
  'if now.mono.since(since) + IN_TOUCH >= self.shared.settings().refound_after' \
  'if false && now.mono.since(since) + IN_TOUCH >= self.shared.settings().refound_after'
mutant flush_not_told rule_9_what_was_flushed engine/src/node/control/liveness.rs \
  'self.shared.take_flush(status.flush);' \
  ''
mutant forgotten_hint_agrees a_hint_whose_value engine/src/node/replay.rs \
  'version.stamp.0.saturating_sub(1)' \
  'version.stamp.0.saturating_sub(0)'

mutant inherited_hint_forgets hint_disk/a_hint_of_a_write engine/src/node/replay.rs \
  'if missed.inherited || promised > missed.version.ballot' \
  'if promised > missed.version.ballot'
mutant disk_hints_not_read hint_disk/a_holder_that_was_stopped engine/src/cluster/hints/log.rs \
  'self.unscanned = segments.iter()' \
  'self.unscanned = segments.iter().skip(1)'

# A hint is no copy, and who has another ring config has no say.
mutant hints_count_as_copies rule_1_a_hint engine/src/node/spread.rs \
  'self.shared.keep_hint(from, &order.request.key, entry.version);' \
  'self.shared.keep_hint(from, &order.request.key, entry.version); spread.quorum.yes(from, true);'

mutant shares_change_at_once a_node_that_comes_back_with_another_weight engine/src/cluster/ring/change.rs \
  'member.standing = Standing::Changing(share.clone());' \
  'member.share = share.clone();'
mutant wrong_epoch_accepted rule_5_no_write engine/src/node/topology.rs \
  'layout.config.epoch == epoch || previous.is_some_and(|previous| layout.places_alike(previous, partition))' \
  'layout.config.epoch == epoch || previous.is_some()'

# Order within a term.
mutant rings_without_clocks_taken clocks/a_node_that_hears_of_a_ring_before engine/src/node/control/clocks.rs \
  'config.members.len() > 1 && self.time' \
  'config.members.is_empty() && self.time'
mutant stamps_from_the_wall_clock rule_8_writes_of_one_millisecond engine/src/clock.rs \
  'Stamp(latest).max(floor).next(slot).max(Stamp::at(now.0, slot))' \
  'Stamp::at(now.0, slot).max(Stamp(latest.min(floor.0).min(0)))'

# Flushes: what they reach, and what must not come back.
mutant flush_not_told_in_pings flush/a_flush_spreads engine/src/node/control/liveness.rs \
  'self.shared.take_flush(status.flush);' \
  'self.shared.clock.observe(status.flush.floor);'
mutant orders_out_of_touch flush/a_counter_that_was_flushed engine/src/node/serializer.rs \
  '&& (self.shared.is_in_touch(turn.mono(), turn.topology, partition) || is_unordered(request))' \
  '&& (turn.mono() >= crate::now::Mono(0) || is_unordered(request))'
mutant unreachable_not_waited_for flush/a_counter_that_was_flushed engine/src/node/flush.rs \
  '&& (!flush.committing || flush.took.len() == flush.members)' \
  ''
mutant replaced_flush_comes_back flush/a_delayed_flush_that_was_replaced engine/src/store/flush.rs \
  'state.applied = Some(identity);' \
  '(state.applied, state.flush.pending) = (Some(identity), None);'
mutant a_majority_of_the_ring_is_enough flush/a_flush_that_misses engine/src/node/flush.rs \
  'if is_on_each_majority(layout, &took) {' \
  'if is_on_each_majority(layout, &took) || took.len() >= needed {'

# Time: whose clock it is, and how it is followed.
mutant own_clock_kept clocks/an_expiry_comes engine/src/node/control/clocks.rs \
  'self.settle_time(now, base, effects);' \
  'self.settle_time(now, own, effects);'
mutant time_set_back clocks/a_nodes_time_never_runs_backwards engine/src/now.rs \
  '_ if base_ms >= shown => Self::of_base(base_ms),' \
  '_ if base_ms > 0 => Self::of_base(base_ms),'
mutant clocks_apart_found_a_ring clocks/two_nodes_with_clocks engine/src/cluster/clocks.rs \
  'if near * 2 > count {' \
  'if near > 0 {'

echo "mutants: $caught caught, $survivors survived, $broken could not be made"
[ $((survivors + broken)) -eq 0 ]

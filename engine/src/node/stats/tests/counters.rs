//! What each command counts: every row was taken from memcached 1.6.45, as the differences between `stats` before and
//! after the command.

use super::*;

/// Counts that say how much is held or how it moved inside, and so differ from memcached's.
const NOT_COMPARED: &[&str] = &[
    "bytes",
    "curr_items",
    "hash_bytes",
    "used_bytes",
    "tombstones",
    "takeovers",
    "lru_crawler_starts",
    "crawler_items_checked",
    "crawler_reclaimed",
    "moves_to_warm",
    "moves_within_lru",
    "direct_reclaims",
    "expired_unfetched",
];

/// Command, with `|` for a line's end, `CAS` for the key's token and `BIG` for as many bytes as announced; what it counts.
#[rustfmt::skip]
const TABLE: &[(&str, &str)] = &[
    ("set k 0 0 1|1", "cmd_set 1 total_items 1"),
    ("get k", "cmd_get 1 get_hits 1"),
    ("gets k", "cmd_get 1 get_hits 1"),
    ("get k k nope", "cmd_get 3 get_hits 2 get_misses 1"),
    ("get nope", "cmd_get 1 get_misses 1"),
    ("gat 0 k", "cmd_touch 1 touch_hits 1"),
    ("gats 0 k nope", "cmd_touch 2 touch_hits 1 touch_misses 1"),
    ("gat 0 nope", "cmd_touch 1 touch_misses 1"),
    ("touch k 0", "cmd_touch 1 touch_hits 1"),
    ("touch nope 0", "cmd_touch 1 touch_misses 1"),
    ("add k 0 0 1|x", "cmd_set 1"),
    ("add k2 0 0 1|1", "cmd_set 1 total_items 1"),
    ("replace k2 0 0 1|2", "cmd_set 1 total_items 1"),
    ("replace nope 0 0 1|2", "cmd_set 1"),
    ("append k2 0 0 1|2", "cmd_set 1 total_items 1"),
    ("append nope 0 0 1|2", "cmd_set 1"),
    ("prepend k2 0 0 1|2", "cmd_set 1 total_items 1"),
    ("prepend nope 0 0 1|2", "cmd_set 1"),
    ("cas k 0 0 1 999999|x", "cmd_set 1 cas_badval 1"),
    ("cas nope 0 0 1 1|x", "cmd_set 1 cas_misses 1"),
    ("cas k 0 0 1 CAS|5", "cmd_set 1 cas_hits 1 total_items 1"),
    ("incr k 1", "incr_hits 1"),
    ("incr nope 1", "incr_misses 1"),
    ("decr k 1", "decr_hits 1"),
    ("decr nope 1", "decr_misses 1"),
    ("set t 0 0 1|x", "cmd_set 1 total_items 1"),
    ("incr t 1", ""),
    ("decr t 1", ""),
    ("delete t", "delete_hits 1"),
    ("delete t", "delete_misses 1"),
    ("set c 0 0 1|12", "cmd_set 1"),
    ("set k 0 0 1 noreply|5", "cmd_set 1 total_items 1"),
    ("flush_all 100", "cmd_flush 1"),
    ("flush_all -1", "cmd_flush 1"),
    ("set k 0 0 1|5", "cmd_set 1 total_items 1"),
    ("set k2 0 0 1|5", "cmd_set 1 total_items 1"),
    ("mg k", "cmd_get 1 get_hits 1"),
    ("mg k v", "cmd_get 1 get_hits 1"),
    ("mg nope v", "cmd_get 1 get_misses 1"),
    ("mg k q v", "cmd_get 1 get_hits 1"),
    ("mg nope q", "cmd_get 1 get_misses 1"),
    ("mg k T0", "cmd_touch 1 touch_hits 1"),
    ("mg k T0 v", "cmd_touch 1 touch_hits 1"),
    ("mg nope T0", "cmd_get 1 get_misses 1"),
    ("mg vv N0 v", "cmd_get 1 get_hits 1 total_items 1"),
    ("mg vv N0 v", "cmd_get 1 get_hits 1"),
    ("mg vv v", "cmd_get 1 get_hits 1"),
    ("mg vv k", "cmd_get 1 get_hits 1"),
    ("ms m1 1|x", "cmd_set 1 total_items 1"),
    ("ms m1 1 ME|x", "cmd_set 1"),
    ("ms m2 1 ME|x", "cmd_set 1 total_items 1"),
    ("ms nope 1 MR|x", "cmd_set 1"),
    ("ms m1 1 MR|x", "cmd_set 1 total_items 1"),
    ("ms m1 1 MA|x", "cmd_set 1 total_items 1"),
    ("ms nope 1 MA|x", "cmd_set 1"),
    ("ms m3 1 MA N0|x", "cmd_set 1 total_items 1"),
    ("ms m1 1 MP|x", "cmd_set 1 total_items 1"),
    ("ms nope 1 MP|x", "cmd_set 1"),
    ("ms m1 1 C1|x", "cmd_set 1 cas_badval 1"),
    ("ms nope 1 C1|x", "cmd_set 1 cas_misses 1"),
    ("ms m1 1 CCAS|x", "cmd_set 1 cas_hits 1 total_items 1"),
    ("ms m1 1 I C1|x", "cmd_set 1 cas_hits 1 total_items 1"),
    ("ms m1 1 C18446744073709551615 I|x", "cmd_set 1 cas_badval 1"),
    ("ms m1 1 q|x", "cmd_set 1 total_items 1"),
    ("ms m1 1 z|x", ""),
    ("ms m1 1|xx", "cmd_set 1"),
    ("md nope", "delete_misses 1"),
    ("md m1 C1", "delete_misses 1"),
    ("md m1 I", ""),
    ("mg m1 v", "cmd_get 1 get_hits 1"),
    ("mg m1 v", "cmd_get 1 get_hits 1"),
    ("md m1 x", "delete_hits 1 total_items 1"),
    ("md m1", "delete_hits 1"),
    ("md m1", "delete_misses 1"),
    ("ma nope", "incr_misses 1"),
    ("ma k", "incr_hits 1"),
    ("ma k MD", "decr_hits 1"),
    ("ma nope MD", "decr_misses 1"),
    ("ma auto N0 J5", "total_items 1"),
    ("ma auto N0 J5", "incr_hits 1"),
    ("ma auto2 N0 MD J7", "total_items 1"),
    ("ma k C1", ""),
    ("ma k T0", "incr_hits 1"),
    ("ma m2", ""),
    ("me k", "cmd_meta 1"),
    ("me nope", "cmd_meta 1"),
    ("mn", ""),
    ("set e 0 1 1|x", "cmd_set 1 total_items 1"),
    ("set e2 0 1 1|x", "cmd_set 1 total_items 1"),
    ("set e3 0 1 1|x", "cmd_set 1 total_items 1"),
    ("set e4 0 1 1|x", "cmd_set 1 total_items 1"),
    ("set e5 0 1 1|x", "cmd_set 1 total_items 1"),
    ("set e6 0 1 1|x", "cmd_set 1 total_items 1"),
    ("set e7 0 1 1|x", "cmd_set 1 total_items 1"),
    ("set e8 0 1 1|x", "cmd_set 1 total_items 1"),
    ("set eb 0 1 1|x", "cmd_set 1 total_items 1"),
    ("set eg 0 1 1|x", "cmd_set 1 total_items 1"),
    ("SLEEP", ""),
    ("get e", "cmd_get 1 get_misses 1 get_expired 1"),
    ("get e", "cmd_get 1 get_misses 1"),
    ("gat 0 e2", "cmd_touch 1 get_expired 1 touch_misses 1"),
    ("touch e3 0", "cmd_touch 1 get_expired 1 touch_misses 1"),
    ("incr e4 1", "get_expired 1 incr_misses 1"),
    ("delete e5", "get_expired 1 delete_misses 1"),
    ("add e6 0 0 1|x", "cmd_set 1 get_expired 1 total_items 1"),
    ("mg e7 v", "cmd_get 1 get_misses 1 get_expired 1"),
    ("mg e7 v", "cmd_get 1 get_misses 1"),
    ("cas e8 0 0 1 1|x", "cmd_set 1 get_expired 1 cas_misses 1"),
    ("me eb", "cmd_meta 1 get_expired 1"),
    ("mg eg N0 v", "cmd_get 1 get_hits 1 get_expired 1 total_items 1"),
    ("set f1 0 0 1|x", "cmd_set 1 total_items 1"),
    ("set f2 0 0 1|x", "cmd_set 1 total_items 1"),
    ("set f3 0 0 1|x", "cmd_set 1 total_items 1"),
    ("set f4 0 0 1|x", "cmd_set 1 total_items 1"),
    ("set f5 0 0 1|x", "cmd_set 1 total_items 1"),
    ("SLEEP", ""),
    ("flush_all", "cmd_flush 1"),
    ("get f1", "cmd_get 1 get_misses 1 get_flushed 1"),
    ("get f1", "cmd_get 1 get_misses 1"),
    ("gat 0 f2", "cmd_touch 1 get_flushed 1 touch_misses 1"),
    ("touch f3 0", "cmd_touch 1 get_flushed 1 touch_misses 1"),
    ("incr f4 1", "get_flushed 1 incr_misses 1"),
    ("mg f5 v", "cmd_get 1 get_misses 1 get_flushed 1"),
    ("set neg 0 -1 1|x", "cmd_set 1 total_items 1"),
    ("get neg", "cmd_get 1 get_misses 1 get_expired 1"),
    ("get", ""),
    ("foo", ""),
    ("version", ""),
    ("verbosity 1", ""),
    ("stats settings", ""),
    ("set big 0 0 1048576|BIG", "store_too_large 1"),
    ("add big 0 0 1048576|BIG", "store_too_large 1"),
    ("ms big 1048576|BIG", "store_too_large 1"),
    ("set app 0 0 700000|BIG", "cmd_set 1 total_items 1"),
    ("append app 0 0 700000|BIG", "cmd_set 1"),
];

#[test]
fn every_command_counts_what_memcached_counts() {
    let mut alone = Alone::new();
    let mut rows = 0;
    for (row, expected) in TABLE {
        if *row == "SLEEP" {
            alone.sleep(2200);
            continue;
        }
        let words: Vec<&str> = row.split(' ').collect();
        let mut command = row.replace('|', "\r\n") + "\r\n";
        if row.contains("CAS") {
            let found = alone.ask(format!("gets {}\r\n", words[1]).as_bytes());
            let token = found.lines().next().and_then(|line| line.rsplit(' ').next()).expect("a value line");
            command = command.replace("CAS", token);
        }
        if row.ends_with(BIG) {
            let bytes = row.trim_end_matches(BIG).trim_end_matches('|').rsplit(' ').next().expect("a length");
            command = command.replace(BIG, &"x".repeat(bytes.parse().expect("a length")));
        }
        let before = alone.counts();
        alone.ask(command.as_bytes());
        let after = alone.counts();
        let expected: Vec<&str> = expected.split_whitespace().collect();
        let expected: BTreeMap<&str, u64> =
            expected.chunks(2).map(|pair| (pair[0], pair[1].parse().expect("a number"))).collect();
        let counted: BTreeMap<&str, u64> = after
            .iter()
            .filter(|(name, count)| before[*name] != **count && !NOT_COMPARED.contains(&&***name))
            .map(|(name, count)| (&**name, count - before[name]))
            .collect();
        assert_eq!(counted, expected, "{row}");
        rows += 1;
    }
    assert_eq!(rows, 133);
}

#[test]
fn no_class_counts_more_cas_than_sets_and_hits_are_counted_by_size() {
    let mut alone = Alone::new();
    for command in [
        "set k 0 0 3|abc",
        "cas k 0 0 3 1|abc",
        "get k k nope",
        "gat 0 k",
        "touch k 0",
        "set n 0 0 1|1",
        "incr n 1",
        "decr n 1",
        "ma n",
        "delete n",
        "set big 0 0 1000|BIG",
        "get big",
    ] {
        let command = command.replace('|', "\r\n").replace(BIG, &"x".repeat(1000));
        alone.ask(format!("{command}\r\n").as_bytes());
    }
    let slabs: BTreeMap<_, _> = alone.lines("stats slabs").into_iter().collect();
    let small = crate::store::class_of(crate::store::item_size(1, 3));
    let large = crate::store::class_of(crate::store::item_size(3, 1000));
    assert_ne!(small, large);
    for (name, value) in [
        ("get_hits", "2"),
        ("cmd_set", "3"),
        ("cas_badval", "1"),
        ("touch_hits", "2"),
        ("incr_hits", "2"),
        ("decr_hits", "1"),
        ("delete_hits", "1"),
        ("used_chunks", "1"),
    ] {
        assert_eq!(slabs[&format!("{small}:{name}")], value, "{name}");
    }
    assert_eq!((&*slabs[&format!("{large}:cmd_set")], &*slabs[&format!("{large}:get_hits")]), ("1", "1"));
    assert_eq!(slabs["active_slabs"], "2");
}

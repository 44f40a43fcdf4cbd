//! The names that memcached 1.6.45 prints, each list in its order, and the form that every line must keep.

use super::*;

const GENERAL: &str = "\
    pid uptime time version libevent pointer_size rusage_user rusage_system max_connections curr_connections \
    total_connections rejected_connections connection_structures response_obj_oom response_obj_count \
    response_obj_bytes read_buf_count read_buf_bytes read_buf_bytes_free read_buf_oom reserved_fds cmd_get \
    cmd_set cmd_flush cmd_touch cmd_meta get_hits get_misses get_expired get_flushed delete_misses delete_hits \
    incr_misses incr_hits decr_misses decr_hits cas_misses cas_hits cas_badval touch_hits touch_misses \
    store_too_large store_no_memory auth_cmds auth_errors bytes_read bytes_written limit_maxbytes \
    accepting_conns listen_disabled_num time_in_listen_disabled_us threads conn_yields hash_power_level \
    hash_bytes hash_is_expanding slab_reassign_rescues slab_reassign_chunk_rescues slab_reassign_inline_reclaim \
    slab_reassign_busy_items slab_reassign_busy_deletes slab_reassign_busy_nomem slab_reassign_last_busy_status \
    slab_reassign_running slabs_moved lru_crawler_running lru_crawler_starts lru_maintainer_juggles \
    malloc_fails log_worker_dropped log_worker_written log_watcher_skipped log_watcher_sent log_watchers \
    unexpected_napi_ids round_robin_fallback bytes curr_items total_items slab_global_page_pool \
    expired_unfetched evicted_unfetched evicted_active evictions reclaimed crawler_reclaimed \
    crawler_items_checked lrutail_reflocked moves_to_cold moves_to_warm moves_within_lru direct_reclaims \
    lru_bumps_dropped";

const SETTINGS: &str = "\
    maxbytes maxconns tcpport udpport inter verbosity oldest evictions domain_socket umask shutdown_command \
    growth_factor chunk_size num_threads num_threads_per_udp stat_key_prefix detail_enabled reqs_per_event \
    cas_enabled tcp_backlog binding_protocol auth_enabled_sasl auth_enabled_ascii item_size_max maxconns_fast \
    hashpower_init slab_reassign slab_automove slab_automove_ratio slab_automove_window slab_chunk_max \
    lru_crawler lru_crawler_sleep lru_crawler_tocrawl tail_repair_time flush_enabled dump_enabled \
    hash_algorithm lru_maintainer_thread lru_segmented hot_lru_pct warm_lru_pct hot_max_factor warm_max_factor \
    temp_lru temporary_ttl idle_timeout watcher_logbuf_size worker_logbuf_size read_buf_mem_limit track_sizes \
    inline_ascii_response ext_item_size ext_item_age ext_low_ttl ext_recache_rate ext_wbuf_size \
    ext_compact_under ext_drop_under ext_max_sleep ext_max_frag slab_automove_freeratio ext_drop_unread \
    num_napi_ids memory_file client_flags_size";

const ITEMS: &str = "\
    number number_hot number_warm number_cold age_hot age_warm age mem_requested evicted evicted_nonzero \
    evicted_time outofmemory tailrepairs reclaimed expired_unfetched evicted_unfetched evicted_active \
    crawler_reclaimed crawler_items_checked lrutail_reflocked moves_to_cold moves_to_warm moves_within_lru \
    direct_reclaims hits_to_hot hits_to_warm hits_to_cold hits_to_temp";

const SLABS: &str = "\
    chunk_size chunks_per_page total_pages total_chunks used_chunks free_chunks free_chunks_end get_hits \
    cmd_set delete_hits incr_hits decr_hits cas_hits cas_badval touch_hits active_slabs total_malloced";

/// Names in the order of the list come first; then come only plain ones, and every value is one word.
fn check(lines: &[(String, String)], expected: &str, prefix: &str) {
    let expected: Vec<String> = expected.split_whitespace().map(|name| format!("{prefix}{name}")).collect();
    let told: Vec<&str> = lines.iter().map(|(name, _)| &**name).collect();
    assert!(told.len() >= expected.len(), "{told:?}");
    for (told, expected) in told.iter().zip(&expected) {
        assert_eq!(told, expected);
    }
    for (name, value) in lines {
        assert!(!value.is_empty() && !value.contains(char::is_whitespace), "{name} is {value:?}");
    }
    for name in &told[expected.len()..] {
        assert!(!prefix.is_empty() || !name.contains(':'), "an exporter takes {name} for a slab");
        assert_eq!(told.iter().filter(|other| other == &name).count(), 1, "{name} is told once");
    }
}

#[test]
fn every_name_of_memcached_is_there_in_its_order_and_form() {
    let mut alone = Alone::with(|settings| {
        settings.listen = "127.0.0.1, ::1".to_owned();
        settings.socket = Some("/run/a place".to_owned());
    });
    alone.ask(b"set k 0 0 1\r\n1\r\n");
    let (general, settings) = (alone.lines("stats"), alone.lines("stats settings"));
    assert_eq!((GENERAL.split_whitespace().count(), SETTINGS.split_whitespace().count()), (93, 66));
    check(&general, GENERAL, "");
    check(&settings, SETTINGS, "");
    let class = crate::store::class_of(crate::store::item_size(1, 1));
    let items = alone.lines("stats items");
    check(&items, ITEMS, &format!("items:{class}:"));
    assert_eq!(items.len(), ITEMS.split_whitespace().count());
    let slabs = alone.lines("stats slabs");
    let of_class: Vec<_> = slabs.iter().filter(|(name, _)| name.contains(':')).cloned().collect();
    check(&of_class, &SLABS.replace("active_slabs", "").replace("total_malloced", ""), &format!("{class}:"));
    assert_eq!(slabs.len(), SLABS.split_whitespace().count());
    let last: Vec<&str> = slabs[slabs.len() - 2..].iter().map(|(name, _)| &**name).collect();
    assert_eq!(last, ["active_slabs", "total_malloced"]);
}

#[test]
fn an_empty_node_tells_of_no_class() {
    let mut alone = Alone::new();
    assert_eq!(alone.lines("stats items"), []);
    let slabs: Vec<String> = alone.lines("stats slabs").into_iter().map(|(name, _)| name).collect();
    assert_eq!(slabs, ["active_slabs", "total_malloced"]);
}

#[test]
fn settings_tell_what_the_node_was_told() {
    let mut alone = Alone::with(|settings| (settings.evict, settings.idle_timeout_s) = (false, 30));
    let settings: BTreeMap<_, _> = alone.lines("stats settings").into_iter().collect();
    for (name, value) in [
        ("maxbytes", "67108864"),
        ("evictions", "off"),
        ("idle_timeout", "30"),
        ("inter", "NULL"),
        ("lru_crawler", "yes"),
        ("lru_maintainer_thread", "no"),
        ("slab_reassign", "no"),
        ("cas_enabled", "yes"),
        ("admin_port", "11213"),
    ] {
        assert_eq!(settings[name], value, "{name}");
    }
    assert!(alone.counts().contains_key("idle_kicks"));
}

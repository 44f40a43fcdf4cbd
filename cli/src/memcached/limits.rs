//! What options mean together: the combinations that memcached does not start with.
//!
//! Some are about its slabs, which memring does not have: they are refused all the same, since a command line that works
//! with one should work with the other. Must not know how options are written beyond their flags.

use super::UsageError;
use super::extended::{Extended, SLAB_PAGE_BYTES};

/// What is compared.
#[derive(Debug)]
pub(super) struct Sizes<'a> {
    pub(super) memory_mb: i64,
    pub(super) item_bytes_max: i64,
    /// `-I` as it was written, or its default.
    pub(super) item_written: &'a str,
    /// `-n`
    pub(super) chunk_bytes_min: i64,
    pub(super) threads: i64,
    /// `-N`
    pub(super) napi_ids: i64,
    pub(super) udp: bool,
    pub(super) extended: &'a Extended,
}

/// The least and the most of `-I`.
const ITEM_BYTES: std::ops::RangeInclusive<i64> = 1024..=1024 * 1024 * 1024;

/// The most shares of the two lists together that `hot_lru_pct` and `warm_lru_pct` name.
const LRU_PERCENT_MAX: i64 = 80;

pub(super) fn check(sizes: &Sizes<'_>) -> Result<(), UsageError> {
    let Sizes { napi_ids, threads, .. } = sizes;
    if napi_ids > threads {
        return refuse(format!("-N {napi_ids}: more than -t {threads}"));
    }
    check_item(sizes)?;
    check_slabs(sizes)?;
    check_storage(sizes)?;
    let Extended { hot_lru_percent: hot, warm_lru_percent: warm, .. } = sizes.extended;
    if hot + warm > LRU_PERCENT_MAX {
        return refuse(format!("-o hot_lru_pct={hot},warm_lru_pct={warm}: more than {LRU_PERCENT_MAX} together"));
    }
    if sizes.extended.temporary_ttl && !sizes.extended.lru_maintainer {
        return refuse("-o temporary_ttl: not without lru_maintainer".to_owned());
    }
    Ok(())
}

fn check_item(sizes: &Sizes<'_>) -> Result<(), UsageError> {
    let Sizes { item_bytes_max: item, item_written: written, memory_mb, .. } = sizes;
    if item < ITEM_BYTES.start() {
        return refuse(format!("{written}: the least is 1k (bytes, or a number with k or m)"));
    }
    if *item > memory_mb.saturating_mul(1024 * 1024) / 2 {
        return refuse(format!("{written}: more than half of -m {memory_mb}"));
    }
    if item > ITEM_BYTES.end() {
        return refuse(format!("{written}: the most is 1024m"));
    }
    Ok(())
}

fn check_slabs(sizes: &Sizes<'_>) -> Result<(), UsageError> {
    let Sizes { item_bytes_max: item, item_written: written, .. } = sizes;
    let chunk = sizes.extended.chunk_bytes_for(*item);
    let kilobytes = chunk / 1024;
    if chunk > *item {
        return refuse(format!("{written}: below -o slab_chunk_max={kilobytes}, which can be given too"));
    }
    if item % chunk != 0 {
        return refuse(format!("{written}: no multiple of -o slab_chunk_max={kilobytes}, which can be given too"));
    }
    if SLAB_PAGE_BYTES % chunk != 0 {
        return refuse(format!("-o slab_chunk_max={kilobytes}: 1024 is no multiple of it"));
    }
    match &sizes.extended.slab_sizes {
        Some(list) => check_slab_sizes(list, sizes.chunk_bytes_min, chunk)
            .map_err(|why| UsageError::value(format!("-o slab_sizes={list}: {why}"))),
        None => Ok(()),
    }
}

/// Sizes of slabs, rising, with dashes between them.
fn check_slab_sizes(list: &str, least: i64, most: i64) -> Result<(), String> {
    const STEP_BYTES_MIN: i64 = 8;
    const SIZES_MAX: usize = 62;
    if list.is_empty() {
        return Err("expected sizes, such as 100-200-400".to_owned());
    }
    let mut before = 0;
    let parts = list.split('-').filter(|part| !part.is_empty());
    for (index, part) in parts.enumerate() {
        let size = super::numbers::unsigned(part).and_then(|size| i64::try_from(size).ok());
        let size = size.filter(|size| (least..=most).contains(size));
        let size = size.ok_or_else(|| format!("{part:?} is no size from {least} to {most}"))?;
        if size <= before + STEP_BYTES_MIN {
            return Err(format!("{size}: each must be more than {STEP_BYTES_MIN} above the one before"));
        }
        if index >= SIZES_MAX {
            return Err(format!("more than {SIZES_MAX} sizes"));
        }
        before = size;
    }
    Ok(())
}

fn check_storage(sizes: &Sizes<'_>) -> Result<(), UsageError> {
    let Extended { storage_bytes, storage_page_mb, storage_buffer_mb, .. } = sizes.extended;
    if storage_bytes.is_empty() {
        return Ok(());
    }
    if i128::from(sizes.item_bytes_max) > i128::from(*storage_buffer_mb) << 20 {
        return refuse(format!("{}: larger than -o ext_wbuf_size={storage_buffer_mb}", sizes.item_written));
    }
    if sizes.udp {
        return refuse("-o ext_path: not with -U".to_owned());
    }
    if storage_bytes.iter().any(|&bytes| *storage_page_mb == 0 || bytes < u128::from(*storage_page_mb) << 20) {
        return refuse(format!("-o ext_path: smaller than one page (ext_page_size={storage_page_mb})"));
    }
    Ok(())
}

fn refuse(line: String) -> Result<(), UsageError> {
    Err(UsageError::value(line))
}

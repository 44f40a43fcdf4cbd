//! What a heap allocation costs, in one place: every byte that the store counts goes through [`allocation`].
//!
//! Must not know what is allocated.

/// Bytes that an allocation of `bytes` costs: rounded up to 16, and 16 more for the allocator's own header and slack.
/// That is never less than what glibc takes (a size class every 16 bytes, 8 bytes of header); other allocators waste up
/// to an eighth at large sizes, which the process's headroom above `-m` covers.
pub(super) const fn allocation(bytes: usize) -> usize {
    if bytes == 0 { 0 } else { bytes.next_multiple_of(16) + 16 }
}

#[cfg(test)]
mod tests {
    use super::allocation;

    #[test]
    fn an_allocation_costs_its_size_class_and_a_header() {
        for (bytes, cost) in [(0, 0), (1, 32), (16, 32), (17, 48), (1000, 1024), (4096, 4112)] {
            assert_eq!(allocation(bytes), cost, "{bytes} bytes");
        }
    }
}

//! How the process holds memory.

/// Bounds the pools of the C library's allocator to one a processor.
///
/// The default is eight a processor. Columns of a batch are allocated on one thread and freed on another, so each pool keeps the most
/// that it ever held: two million rows took a quarter more memory, and the more rows the more, in no less time.
pub fn bound_pools() {
    #[cfg(target_env = "gnu")]
    {
        let pools = std::thread::available_parallelism().map_or(2, |count| i32::try_from(count.get()).unwrap_or(i32::MAX));
        // SAFETY: the function takes two numbers, and nothing else of this process sets what it sets. It is called before there are
        // threads. If it refuses, the default stays.
        #[expect(unsafe_code, reason = "the C library has no other interface")]
        unsafe {
            libc::mallopt(libc::M_ARENA_MAX, pools);
        }
    }
}

//! Memory of thread stacks.

use std::hint::black_box;

/// Bytes below the caller's frame that are left alone: more than the frames of this module's functions.
const MARGIN: usize = 8 * 1024;

/// Gives back to the system what this thread's stack has grown to and no longer uses: for a thread that is going to wait
/// for long. The pages come back, empty, when they are needed.
///
/// Does nothing in the first thread, whose stack is of another kind.
pub fn release_unused() {
    if crate::process::thread_id() == crate::process::id() {
        return;
    }
    let marker = 0_u8;
    let here = (&raw const *black_box(&marker)).addr();
    let Some(bottom) = bottom() else { return };
    // SAFETY: sysconf only answers.
    let page = usize::try_from(unsafe { libc::sysconf(libc::_SC_PAGESIZE) }).unwrap_or(4096);
    let end = here.saturating_sub(MARGIN) / page * page;
    let start = bottom.addr();
    if start < end && start % page == 0 {
        // SAFETY: the range is part of this thread's own stack, at least MARGIN bytes below every frame that is in use,
        // and on this architecture stacks grow downwards: nothing in it is read before it is written again.
        let _ = unsafe { libc::madvise(bottom, end - start, libc::MADV_DONTNEED) };
    }
}

/// The lowest address of this thread's stack.
fn bottom() -> Option<*mut libc::c_void> {
    // SAFETY: an all-zero pthread_attr_t is only storage, filled by the next call.
    let mut attributes: libc::pthread_attr_t = unsafe { std::mem::zeroed() };
    // SAFETY: pthread_self is this thread, and the storage is a live local.
    if unsafe { libc::pthread_getattr_np(libc::pthread_self(), &raw mut attributes) } != 0 {
        return None;
    }
    let (mut bottom, mut size) = (std::ptr::null_mut(), 0);
    // SAFETY: the attributes were filled above; both results are live locals.
    let failed =
        unsafe { libc::pthread_attr_getstack(&raw const attributes, &raw mut bottom, &raw mut size) };
    // SAFETY: filled above, and not used after this.
    unsafe { libc::pthread_attr_destroy(&raw mut attributes) };
    (failed == 0).then_some(bottom)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Uses a lot of stack, and says what it found there.
    #[inline(never)]
    fn deep(value: u8) -> usize {
        let block = black_box([value; 64 * 1024]);
        block.iter().map(|byte| usize::from(*byte)).sum()
    }

    #[test]
    fn frames_in_use_survive() {
        let thread = std::thread::Builder::new().stack_size(256 * 1024).spawn(|| {
            let mine = black_box([7_u8; 4096]);
            let first = deep(1);
            release_unused();
            let second = deep(2);
            (first, second, mine.iter().map(|byte| usize::from(*byte)).sum::<usize>())
        });
        let sums = thread.unwrap().join().unwrap();
        assert_eq!(sums, (64 * 1024, 2 * 64 * 1024, 7 * 4096));
        release_unused();
    }
}

//! Hints about memory.
#![expect(unsafe_code, reason = "madvise")]

use std::mem::MaybeUninit;

/// The size that x86 and Arm share; on others the hint may miss.
const HUGE_PAGE: usize = 2 * 1024 * 1024;

/// Asks for huge pages in the whole ones that the room holds.
pub(crate) fn prefer_huge_pages(room: &mut [MaybeUninit<u8>]) {
    let start = room.as_mut_ptr();
    let skip = start.align_offset(HUGE_PAGE);
    let whole = room.len().saturating_sub(skip) / HUGE_PAGE * HUGE_PAGE;
    if whole == 0 {
        return;
    }
    let first = room[skip..].as_mut_ptr();
    // SAFETY: a range of our own buffer; the advice changes how it is backed, not
    // what it holds. A kernel without huge pages refuses, which changes nothing.
    unsafe { libc::madvise(first.cast(), whole, libc::MADV_HUGEPAGE) };
}

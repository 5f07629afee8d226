//! Memory for large messages.

use std::hint::black_box;
use std::mem::MaybeUninit;
use std::sync::Once;

/// From so many bytes on a block is large.
const LARGE: usize = 32 * 1024;
/// Blocks up to this size are kept by the allocator; larger ones come in huge pages.
const RECYCLED: usize = 4 * 1024 * 1024;

/// Room for a frame as long as the last one.
pub(super) fn make_room(frame: &mut Vec<u8>, bytes: usize) {
    if frame.capacity() < bytes {
        frame.reserve(bytes);
        made(frame.spare_capacity_mut());
    }
}

/// To be told of new memory for a message.
///
/// What costs most about it are the page faults, more than what is done with it.
pub(super) fn made(room: &mut [MaybeUninit<u8>]) {
    if room.len() >= LARGE {
        teach_allocator();
        procession_sys::prefer_huge_pages(room);
    }
}

/// Lets the allocator keep what is given back.
///
/// The C library of Linux gives 128 KiB that are free back to the kernel, to fault them in
/// anew for the next message, until it sees that larger blocks come and go; of those it then
/// keeps twice as much (`mallopt`, `M_MMAP_THRESHOLD`). Whether it sees one by chance made a factor
/// of two for messages of 1 MiB. Others need no lesson.
fn teach_allocator() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| drop(black_box(Vec::<u8>::with_capacity(RECYCLED))));
}

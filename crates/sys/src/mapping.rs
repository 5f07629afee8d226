//! Memory of a descriptor, as long as it is held.
#![expect(unsafe_code, reason = "mmap, and what it gives as a slice")]

use std::fmt;
use std::io;
use std::num::NonZeroUsize;
use std::os::fd::BorrowedFd;
use std::ptr::{self, NonNull};
use std::sync::atomic::AtomicU32;

use rustix::mm::{MapFlags, ProtFlags, mmap, munmap};

/// A whole mapping, unmapped when it is dropped.
pub(crate) struct Mapping {
    /// Aligned to a page.
    pub(crate) start: NonNull<u8>,
    pub(crate) bytes: NonZeroUsize,
}

impl Mapping {
    pub(crate) fn new(
        fd: BorrowedFd<'_>,
        bytes: NonZeroUsize,
        protection: ProtFlags,
        flags: MapFlags,
    ) -> io::Result<Self> {
        // SAFETY: a new mapping at a place of the kernel's choice, so it takes nobody's memory.
        let start = unsafe { mmap(ptr::null_mut(), bytes.get(), protection, flags, fd, 0) }?;
        let start = NonNull::new(start.cast()).ok_or(io::ErrorKind::OutOfMemory)?;
        Ok(Self { start, bytes })
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: the mapping that `new` made, and every borrow of it has ended. It cannot fail.
        let _ = unsafe { munmap(self.start.as_ptr().cast(), self.bytes.get()) };
    }
}

/// Whole cells that other processes may change at any time.
pub(crate) struct MappedCells(Mapping);

// SAFETY: plain memory of the process, reachable only as atomics.
unsafe impl Send for MappedCells {}
// SAFETY: plain memory of the process, reachable only as atomics.
unsafe impl Sync for MappedCells {}

impl MappedCells {
    /// Maps the first so many bytes, a multiple of 4. The file must not shrink
    /// below that: whoever reads there is sent SIGBUS.
    pub(crate) fn new(fd: BorrowedFd<'_>, bytes: NonZeroUsize) -> io::Result<Self> {
        let both = ProtFlags::READ | ProtFlags::WRITE;
        Mapping::new(fd, bytes, both, MapFlags::SHARED).map(Self)
    }

    pub(crate) fn cells(&self) -> &[AtomicU32] {
        let count = self.0.bytes.get() / size_of::<AtomicU32>();
        let first = self.0.start.cast::<AtomicU32>();
        // SAFETY: mapped for reading and writing as long as we are borrowed, aligned
        // to a page; any bits are a value, and all access in this process is by atomics.
        unsafe { std::slice::from_raw_parts(first.as_ptr(), count) }
    }
}

impl fmt::Debug for MappedCells {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("MappedCells").field(&self.0.bytes).finish()
    }
}

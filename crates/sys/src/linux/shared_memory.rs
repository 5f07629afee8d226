//! Memory as a file without a name (memfd), and what the kernel is to refuse about it.
#![expect(unsafe_code, reason = "what is sealed is mapped as plain bytes")]

use std::fmt;
use std::io;
use std::num::NonZeroUsize;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::slice;
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::fs::{
    FallocateFlags, FileType, MemfdFlags, SealFlags, SeekFrom, fallocate, fcntl_add_seals,
    fcntl_get_seals, fstat, fstatfs, memfd_create, seek,
};
use rustix::io::Errno;
use rustix::mm::{MapFlags, ProtFlags};
use rustix::system::sysinfo;

use crate::fd_kind::fd_kind;
use crate::mapping::Mapping;
use crate::shared_memory::ForeignMemoryError;

pub(crate) const SIZES_ARE_SEALED: bool = true;

/// Its size never changes, and no seal is added.
const SIZE: SealFlags = SealFlags::SHRINK
    .union(SealFlags::GROW)
    .union(SealFlags::SEAL);

/// A file of no bytes in memory.
pub(crate) fn memory_file() -> io::Result<OwnedFd> {
    static IS_OLD: AtomicBool = AtomicBool::new(false);
    let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
    if !IS_OLD.load(Ordering::Relaxed) {
        match memfd_create(c"procession", flags | MemfdFlags::NOEXEC_SEAL) {
            // Before Linux 6.3.
            Err(Errno::INVAL) => IS_OLD.store(true, Ordering::Relaxed),
            made => return Ok(made?),
        }
    }
    Ok(memfd_create(c"procession", flags)?)
}

/// Gives the file its memory, so that no use of it later can fail, and keeps its size.
pub(crate) fn seal_size(file: &OwnedFd, bytes: u64) -> io::Result<()> {
    // More than the machine has would be given out page by page, until somebody is killed.
    let machine = sysinfo();
    if bytes / u64::from(machine.mem_unit.max(1)) > machine.totalram {
        return Err(Errno::NOMEM.into());
    }
    fallocate(file, FallocateFlags::empty(), 0, bytes)?;
    Ok(fcntl_add_seals(file, SIZE)?)
}

/// Nothing about the file changes any more. There must be no mapping to write by.
pub(crate) fn seal_bytes(file: &OwnedFd) -> io::Result<()> {
    Ok(fcntl_add_seals(file, SIZE | SealFlags::WRITE)?)
}

/// The size of cells that another process sent.
pub(crate) fn check_shared(file: BorrowedFd<'_>) -> Result<u64, ForeignMemoryError> {
    check(file, &[])
}

/// The size of bytes that another process sent.
pub(crate) fn check_sealed(file: BorrowedFd<'_>) -> Result<u64, ForeignMemoryError> {
    let size = check(file, &[(SealFlags::WRITE, "being written to")])?;
    // To read a hole takes memory. Nobody can make one any more.
    if size > 0 && seek(file, SeekFrom::Hole(0)).map_err(io::Error::from)? < size {
        return Err(ForeignMemoryError::Sparse);
    }
    Ok(size)
}

/// Whether it is a memfd with the seals of its size and these.
fn check(
    file: BorrowedFd<'_>,
    more: &[(SealFlags, &'static str)],
) -> Result<u64, ForeignMemoryError> {
    let stat = fstat(file).map_err(io::Error::from)?;
    let kind = fd_kind(file)?;
    let is_file = FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile;
    // hugetlbfs has seals too, but the use of its memory can fail at any time.
    if !is_file || fstatfs(file).map_err(io::Error::from)?.f_type != libc::TMPFS_MAGIC {
        return Err(ForeignMemoryError::Kind { kind });
    }
    let seals = match fcntl_get_seals(file) {
        Ok(seals) => seals,
        Err(Errno::INVAL) => SealFlags::empty(),
        Err(error) => return Err(io::Error::from(error).into()),
    };
    let size = [
        (SealFlags::SHRINK, "being shrunk"),
        (SealFlags::GROW, "being grown"),
        (SealFlags::SEAL, "other seals"),
    ];
    for (seal, against) in size.iter().chain(more) {
        if !seals.contains(*seal) {
            return Err(ForeignMemoryError::Unsealed { against });
        }
    }
    // After the seals: from now on it stays.
    let size = fstat(file).map_err(io::Error::from)?.st_size;
    Ok(u64::try_from(size).unwrap_or(u64::MAX))
}

/// The bytes of a sealed file, mapped.
pub(crate) struct ReadOnly(Option<Mapping>);

// SAFETY: memory of the process that is only read, by anybody.
unsafe impl Send for ReadOnly {}
// SAFETY: memory of the process that is only read, by anybody.
unsafe impl Sync for ReadOnly {}

impl ReadOnly {
    /// So many bytes of a file that is sealed.
    pub(crate) fn new(file: BorrowedFd<'_>, bytes: usize) -> io::Result<Self> {
        let Some(bytes) = NonZeroUsize::new(bytes) else {
            return Ok(Self(None));
        };
        // `as_slice` stands on these: they cannot be taken off again.
        let needed = SealFlags::WRITE | SealFlags::SHRINK;
        let size = u64::try_from(fstat(file)?.st_size).unwrap_or(0);
        if !fcntl_get_seals(file)?.contains(needed) || size < bytes.get() as u64 {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        // Private, for before Linux 6.7 a sealed file has no shared mappings; as nobody
        // writes it is the same memory.
        let map = Mapping::new(file, bytes, ProtFlags::READ, MapFlags::PRIVATE)?;
        Ok(Self(Some(map)))
    }

    pub(crate) fn as_slice(&self) -> &[u8] {
        let Some(Mapping { start, bytes }) = &self.0 else {
            return &[];
        };
        // SAFETY: mapped for reading as long as we are borrowed; `new` saw the seals
        // with which the kernel refuses every write and every smaller size for ever.
        unsafe { slice::from_raw_parts(start.as_ptr(), bytes.get()) }
    }
}

impl fmt::Debug for ReadOnly {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("ReadOnly")
            .field(&self.as_slice().len())
            .finish()
    }
}

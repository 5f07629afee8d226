//! Memory as a file whose name is taken away at once. Nothing keeps whoever has it
//! from changing its size, so bytes are copied, and cells need a sender that is trusted.

use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicU64, Ordering};

use rustix::fs::{FileType, Mode, OFlags, fstat, open, unlink};
use rustix::io::{Errno, pread, retry_on_intr};

use crate::fd_kind::fd_kind;
use crate::shared_memory::ForeignMemoryError;

pub(crate) const SIZES_ARE_SEALED: bool = false;

/// A file of no bytes that nobody else can open.
pub(crate) fn memory_file() -> io::Result<OwnedFd> {
    static NUMBER: AtomicU64 = AtomicU64::new(0);
    let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
    loop {
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let name = format!("procession-{}-{number}", std::process::id());
        let path = std::env::temp_dir().join(name);
        match open(&path, flags, Mode::RUSR | Mode::WUSR) {
            // Left by a program that died between the two calls and had our number.
            Err(Errno::EXIST) => {}
            made => {
                let file = made?;
                unlink(&path)?;
                return Ok(file);
            }
        }
    }
}

#[expect(clippy::unnecessary_wraps, reason = "the same name on each side")]
pub(crate) fn seal_size(_: &OwnedFd, _: u64) -> io::Result<()> {
    Ok(())
}

#[expect(clippy::unnecessary_wraps, reason = "the same name on each side")]
pub(crate) fn seal_bytes(_: &OwnedFd) -> io::Result<()> {
    Ok(())
}

/// The size of cells that another process sent.
pub(crate) fn check_shared(file: BorrowedFd<'_>) -> Result<u64, ForeignMemoryError> {
    let stat = fstat(file).map_err(io::Error::from)?;
    if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
        let kind = fd_kind(file)?;
        return Err(ForeignMemoryError::Kind { kind });
    }
    Ok(u64::try_from(stat.st_size).unwrap_or(u64::MAX))
}

/// The size of bytes that another process sent.
pub(crate) fn check_sealed(file: BorrowedFd<'_>) -> Result<u64, ForeignMemoryError> {
    check_shared(file)
}

/// The bytes of a file as they were when it was looked at, copied.
#[derive(Debug)]
pub(crate) struct ReadOnly(Vec<u8>);

impl ReadOnly {
    pub(crate) fn new(file: BorrowedFd<'_>, bytes: usize) -> io::Result<Self> {
        let mut copy = vec![0; bytes];
        let mut done = 0;
        while done < bytes {
            let room = &mut copy[done..];
            match retry_on_intr(|| pread(file, &mut *room, done as u64))? {
                0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                count => done += count,
            }
        }
        Ok(Self(copy))
    }

    pub(crate) fn as_slice(&self) -> &[u8] {
        &self.0
    }
}

//! Memory that several mappings have, and what a sender may not give us for it.
#![forbid(unsafe_code)]
#![expect(clippy::unwrap_used, reason = "a failing test is a panic")]

use std::io::Write as _;
use std::os::fd::{AsFd as _, OwnedFd};
use std::sync::atomic::Ordering::SeqCst;
use std::thread;
use std::time::Duration;

use procession_sys::{
    ForeignMemoryError, NOTIFIES_ARE_COUNTED, SIZES_ARE_SEALED, SealedBytes, SealedBytesWriter,
    SharedCells, Waited, WithdrawableWait, notify, wait,
};

/// Far more than anything here takes.
const LIMIT: Option<Duration> = Some(Duration::from_secs(20));
const SOON: Option<Duration> = Some(Duration::from_millis(2));
const MOST: usize = 1 << 20;

/// As another process would have it: another mapping, at another address.
fn again(cells: &SharedCells) -> SharedCells {
    let fd = cells.as_fd().try_clone_to_owned().unwrap();
    SharedCells::from_fd(fd, MOST).unwrap()
}

#[test]
fn a_change_is_seen_by_the_other_mapping_and_wakes_who_waits_there() {
    let ours = SharedCells::new(2).unwrap();
    let theirs = again(&ours);
    assert_ne!(ours.cells().as_ptr(), theirs.cells().as_ptr());
    assert_eq!(theirs.cells().len(), 2);
    let waits = thread::spawn(move || {
        for n in 0..1000 {
            while theirs.cells()[1].load(SeqCst) == n {
                assert_ne!(wait(&theirs.cells()[1], n, LIMIT), Waited::TimedOut);
            }
            theirs.cells()[0].store(n + 1, SeqCst);
            notify(&theirs.cells()[0], 1);
        }
    });
    for n in 0..1000 {
        ours.cells()[1].store(n + 1, SeqCst);
        notify(&ours.cells()[1], 1);
        while ours.cells()[0].load(SeqCst) == n {
            assert_ne!(wait(&ours.cells()[0], n, LIMIT), Waited::TimedOut);
        }
    }
    waits.join().unwrap();
}

#[test]
fn a_wait_ends_in_each_of_its_ways() {
    let cells = SharedCells::new(1).unwrap();
    let cell = &cells.cells()[0];
    assert_eq!(wait(cell, 1, LIMIT), Waited::NotEqual);
    assert_eq!(wait(cell, 0, SOON), Waited::TimedOut);
    assert_eq!(notify(cell, usize::MAX), 0, "nobody waits");
    let withdrawn = WithdrawableWait::default();
    withdrawn.withdraw(cell);
    assert_eq!(withdrawn.wait(cell, 0), Waited::Withdrawn);
    assert_eq!(WithdrawableWait::default().wait(cell, 1), Waited::NotEqual);
    if NOTIFIES_ARE_COUNTED {
        thread::scope(|scope| {
            let waits: Vec<_> = (0..3)
                .map(|_| scope.spawn(|| wait(cell, 0, LIMIT)))
                .collect();
            let mut woken = 0;
            while woken < 3 {
                woken += notify(cell, 2);
                thread::yield_now();
            }
            assert_eq!(woken, 3);
            for wait in waits {
                assert_eq!(wait.join().unwrap(), Waited::Ok);
            }
        });
    }
}

/// Of two that wait one is withdrawn while one is notified: the other must always hear of it.
#[test]
fn a_withdrawn_wait_takes_no_notification_with_it() {
    let cells = SharedCells::new(1).unwrap();
    let cell = &cells.cells()[0];
    let mut withdrawn = 0;
    for _ in 0..3000 {
        cell.store(0, SeqCst);
        let leaves = WithdrawableWait::default();
        thread::scope(|scope| {
            let leaver = scope.spawn(|| leaves.wait(cell, 0));
            let stays = scope.spawn(|| wait(cell, 0, LIMIT));
            let notifies = scope.spawn(|| {
                cell.store(1, SeqCst);
                notify(cell, 1);
            });
            leaves.withdraw(cell);
            notifies.join().unwrap();
            let stayed = stays.join().unwrap();
            assert!(
                matches!(stayed, Waited::Ok | Waited::NotEqual),
                "{stayed:?}"
            );
            withdrawn += usize::from(leaver.join().unwrap() == Waited::Withdrawn);
        });
    }
    assert!(withdrawn > 0, "the two never met");
}

#[test]
fn bytes_are_the_same_for_all_and_nobody_changes_them() {
    let mut writer = SealedBytesWriter::new().unwrap();
    writer.write_all(b"hello ").unwrap();
    writer.write_all(&vec![7; 300_000]).unwrap();
    let ours = writer.finish().unwrap();
    let fd = ours.as_fd().try_clone_to_owned().unwrap();
    let theirs = SealedBytes::from_fd(fd, MOST).unwrap();
    assert_eq!(ours.as_slice(), theirs.as_slice());
    assert_eq!(
        (&theirs.as_slice()[..6], theirs.as_slice().len()),
        (&b"hello "[..], 300_006)
    );
    if SIZES_ARE_SEALED {
        rustix::io::pwrite(ours.as_fd(), b"H", 0).unwrap_err();
        rustix::fs::ftruncate(ours.as_fd(), 1).unwrap_err();
        rustix::fs::ftruncate(ours.as_fd(), 1 << 20).unwrap_err();
    }
    let empty = SealedBytesWriter::new().unwrap().finish().unwrap();
    let fd = empty.as_fd().try_clone_to_owned().unwrap();
    assert_eq!(SealedBytes::from_fd(fd, 0).unwrap().as_slice(), b"");
}

fn said<T>(result: Result<T, ForeignMemoryError>) -> String {
    match result {
        Ok(_) => "taken".to_owned(),
        Err(error) => error.to_string(),
    }
}

#[test]
fn what_is_no_memory_or_too_much_of_it_is_refused() {
    let (pipe, _end) = procession_sys::pipe_pair().unwrap();
    let other = pipe.try_clone().unwrap();
    assert_eq!(
        said(SharedCells::from_fd(pipe, MOST)),
        "a pipe is no shared memory"
    );
    assert_eq!(
        said(SealedBytes::from_fd(other, MOST)),
        "a pipe is no shared memory"
    );
    let cells = SharedCells::new(4).unwrap();
    let fd = cells.as_fd().try_clone_to_owned().unwrap();
    assert_eq!(
        said(SharedCells::from_fd(fd, 15)),
        "shared memory of 16 bytes is above the limit of 15"
    );
    let mut writer = SealedBytesWriter::new().unwrap();
    writer.write_all(b"12345").unwrap();
    let fd: OwnedFd = writer
        .finish()
        .unwrap()
        .as_fd()
        .try_clone_to_owned()
        .unwrap();
    assert_eq!(
        said(SealedBytes::from_fd(fd, 4)),
        "shared memory of 5 bytes is above the limit of 4"
    );
    assert_eq!(
        SharedCells::new(0).unwrap_err().kind(),
        std::io::ErrorKind::InvalidInput
    );
    assert!(SharedCells::new(usize::MAX).is_err());
    assert!(SharedCells::new(usize::MAX / 8).is_err());
}

#[cfg(all(target_os = "linux", not(procession_portable)))]
mod seals {
    use std::os::fd::AsRawFd as _;

    use rustix::fs::{
        FallocateFlags, MemfdFlags, SealFlags, fallocate, fcntl_add_seals, ftruncate, memfd_create,
    };

    use super::*;

    const SIZE: SealFlags = SealFlags::SHRINK
        .union(SealFlags::GROW)
        .union(SealFlags::SEAL);

    fn memory(bytes: &[u8], size: u64, seals: SealFlags) -> OwnedFd {
        let fd = memfd_create(c"hostile", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING).unwrap();
        ftruncate(&fd, size).unwrap();
        rustix::io::pwrite(&fd, bytes, 0).unwrap();
        fcntl_add_seals(&fd, seals).unwrap();
        fd
    }

    #[test]
    fn memory_that_its_sender_can_still_change_is_refused() {
        let cells = |seals| said(SharedCells::from_fd(memory(b"12345678", 8, seals), MOST));
        let unsealed = |against| format!("shared memory that is not sealed against {against}");
        assert_eq!(cells(SIZE), "taken");
        assert_eq!(cells(SealFlags::empty()), unsealed("being shrunk"));
        assert_eq!(cells(SealFlags::GROW), unsealed("being shrunk"));
        assert_eq!(cells(SealFlags::SHRINK), unsealed("being grown"));
        assert_eq!(
            cells(SealFlags::SHRINK | SealFlags::GROW),
            unsealed("other seals")
        );
        // It cannot be mapped for writing.
        assert_eq!(cells(SIZE | SealFlags::WRITE), "cannot use shared memory");
        let bytes = |seals| said(SealedBytes::from_fd(memory(b"12345678", 8, seals), MOST));
        assert_eq!(bytes(SIZE | SealFlags::WRITE), "taken");
        assert_eq!(bytes(SIZE), unsealed("being written to"));
        // Who had it mapped before could still write.
        assert_eq!(
            bytes(SIZE | SealFlags::FUTURE_WRITE),
            unsealed("being written to")
        );
    }

    /// What a hostile sender can still do to cells.
    #[test]
    fn cells_stay_mapped_whatever_their_sender_does() {
        let cells = SharedCells::new(4096).unwrap();
        let theirs = again(&cells);
        ftruncate(cells.as_fd(), 0).unwrap_err();
        ftruncate(cells.as_fd(), 1 << 20).unwrap_err();
        fcntl_add_seals(cells.as_fd(), SealFlags::WRITE).unwrap_err();
        theirs.cells()[4095].store(7, SeqCst);
        let flags = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
        fallocate(cells.as_fd(), flags, 0, 16384).unwrap();
        assert_eq!(theirs.cells()[4095].swap(8, SeqCst), 0);
        drop(cells);
        assert_eq!(theirs.cells()[4095].load(SeqCst), 8);
    }

    #[test]
    fn odd_sizes_holes_and_files_are_refused() {
        let cells = memory(b"12345", 5, SIZE);
        assert_eq!(
            said(SharedCells::from_fd(cells, MOST)),
            "shared memory of 5 bytes does not consist of cells"
        );
        let cells = memory(b"", 0, SIZE);
        assert_eq!(
            said(SharedCells::from_fd(cells, MOST)),
            "shared memory of 0 bytes does not consist of cells"
        );
        let sparse = memory(b"1", 1 << 19, SIZE | SealFlags::WRITE);
        assert_eq!(
            said(SealedBytes::from_fd(sparse, MOST)),
            "shared memory with holes"
        );
        let huge = memory(b"1", 1 << 62, SIZE);
        assert!(said(SharedCells::from_fd(huge, usize::MAX)).starts_with("cannot use"));
        // Sealed as well, but to use its memory fails when no huge page is free.
        let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING | MemfdFlags::HUGETLB;
        if let Ok(huge) = memfd_create(c"huge", flags) {
            ftruncate(&huge, 1 << 21).unwrap();
            fcntl_add_seals(&huge, SIZE).unwrap();
            assert_eq!(
                said(SharedCells::from_fd(huge, usize::MAX)),
                "a regular file is no shared memory"
            );
        }
        let file = std::fs::File::open("/proc/self/exe").unwrap();
        assert_eq!(
            said(SharedCells::from_fd(file.into(), usize::MAX)),
            "a regular file is no shared memory"
        );
        let cells = memory(b"1234", 4, SIZE);
        let read_only = std::fs::File::open(format!("/proc/self/fd/{}", cells.as_raw_fd()));
        assert_eq!(
            said(SharedCells::from_fd(read_only.unwrap().into(), MOST)),
            "cannot use shared memory"
        );
    }
}

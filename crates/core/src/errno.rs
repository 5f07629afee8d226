//! Node's names for the errors of the system.
//!
//! `std::io::ErrorKind` folds many errors into few kinds; a program that is
//! ported from Node, or reports to one, wants `ENOENT`.

use std::io;

/// (name, number on Linux, number on Darwin).
const TABLE: [(&str, i32, i32); 44] = [
    ("EPERM", 1, 1),
    ("ENOENT", 2, 2),
    ("ESRCH", 3, 3),
    ("EINTR", 4, 4),
    ("EIO", 5, 5),
    ("ENXIO", 6, 6),
    ("E2BIG", 7, 7),
    ("ENOEXEC", 8, 8),
    ("EBADF", 9, 9),
    ("ECHILD", 10, 10),
    ("EAGAIN", 11, 35),
    ("ENOMEM", 12, 12),
    ("EACCES", 13, 13),
    ("EFAULT", 14, 14),
    ("EBUSY", 16, 16),
    ("EEXIST", 17, 17),
    ("EXDEV", 18, 18),
    ("ENODEV", 19, 19),
    ("ENOTDIR", 20, 20),
    ("EISDIR", 21, 21),
    ("EINVAL", 22, 22),
    ("ENFILE", 23, 23),
    ("EMFILE", 24, 24),
    ("ENOTTY", 25, 25),
    ("ETXTBSY", 26, 26),
    ("EFBIG", 27, 27),
    ("ENOSPC", 28, 28),
    ("ESPIPE", 29, 29),
    ("EROFS", 30, 30),
    ("EMLINK", 31, 31),
    ("EPIPE", 32, 32),
    ("ENAMETOOLONG", 36, 63),
    ("ENOSYS", 38, 78),
    ("ELOOP", 40, 62),
    ("ENOTSOCK", 88, 38),
    ("ENAMETOOLONG", 36, 63),
    ("EAFNOSUPPORT", 97, 47),
    ("EADDRINUSE", 98, 48),
    ("EADDRNOTAVAIL", 99, 49),
    ("ECONNRESET", 104, 54),
    ("ENOBUFS", 105, 55),
    ("ETIMEDOUT", 110, 60),
    ("ECONNREFUSED", 111, 61),
    ("ENOTSUP", 95, 45),
];

/// The name of an error, such as `ENOENT`, where it has one here.
#[must_use]
pub fn node_code(error: &io::Error) -> Option<&'static str> {
    let number = error.raw_os_error()?;
    let darwin = cfg!(target_vendor = "apple");
    let entry = TABLE
        .iter()
        .find(|entry| number == if darwin { entry.2 } else { entry.1 });
    entry.map(|entry| entry.0)
}

/// The system's number for a name that has one here.
#[must_use]
pub fn number(name: &str) -> Option<i32> {
    let darwin = cfg!(target_vendor = "apple");
    let entry = TABLE.iter().find(|entry| entry.0 == name);
    entry.map(|entry| if darwin { entry.2 } else { entry.1 })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_numbers_agree_with_std() {
        for (name, kind) in [
            ("ENOENT", io::ErrorKind::NotFound),
            ("EACCES", io::ErrorKind::PermissionDenied),
            ("EPIPE", io::ErrorKind::BrokenPipe),
            ("EADDRINUSE", io::ErrorKind::AddrInUse),
            ("ETIMEDOUT", io::ErrorKind::TimedOut),
            ("ETXTBSY", io::ErrorKind::ExecutableFileBusy),
            ("E2BIG", io::ErrorKind::ArgumentListTooLong),
        ] {
            let found = TABLE.iter().find(|entry| entry.0 == name).unwrap();
            let error = io::Error::from_raw_os_error(found.1);
            assert_eq!((node_code(&error), error.kind()), (Some(name), kind));
        }
        assert_eq!(node_code(&io::Error::other("own")), None);
    }
}

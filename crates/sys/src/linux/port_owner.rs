//! Who listens at an address, and where somebody listens, by what `/proc` says.

use std::collections::HashSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::{fs, io};

use super::proc_files::{all_processes, children_of};
use crate::status::PortOwner;

/// Finds out who listens where `address` could not be bound.
///
/// The address itself counts first, then a wildcard that covers it, then, if it
/// is a wildcard, whatever it would cover. Of several processes that share the
/// socket the one with the smallest number is told. `None` also when the owner
/// is another user's, of whom `/proc` says nothing. Blocks for the time of
/// reading the descriptors of every process, some milliseconds.
#[must_use]
pub fn port_owner(address: SocketAddr) -> Option<PortOwner> {
    let mut listeners = all_listeners();
    listeners.retain(|listener| listener.covers(address));
    listeners.sort_by_key(|listener| listener.distance(address.ip()));
    let mut pids = all_processes();
    pids.sort_unstable();
    listeners.iter().find_map(|listener| {
        let link = PathBuf::from(format!("socket:[{}]", listener.inode));
        let pid = *pids.iter().find(|pid| has_open(**pid, &link))?;
        let name = program_name(pid)?;
        Some(PortOwner { pid, name })
    })
}

/// Finds out where a process and all that descend from it listen by TCP; sorted,
/// and an address that several sockets share is told once.
///
/// Nothing about a process that is gone. Misses daemons that were re-parented.
/// Blocks for the time of reading the descriptors of these processes.
///
/// # Errors
///
/// `Unsupported` on the portable side.
pub fn listeners_of(root: u32) -> io::Result<Vec<SocketAddr>> {
    let mut sockets = HashSet::new();
    let mut family = vec![root];
    while let Some(pid) = family.pop() {
        family.extend(children_of(pid));
        sockets.extend(sockets_of(pid));
    }
    let listeners = all_listeners().into_iter();
    let mut addresses: Vec<SocketAddr> = listeners
        .filter(|listener| sockets.contains(&listener.inode))
        .map(|listener| listener.address)
        .collect();
    addresses.sort_unstable();
    addresses.dedup();
    Ok(addresses)
}

/// The inodes of the sockets that a process has open.
fn sockets_of(pid: u32) -> Vec<u64> {
    let Ok(fds) = fs::read_dir(format!("/proc/{pid}/fd")) else {
        return Vec::new();
    };
    let inode = |link: PathBuf| {
        let inode = link.to_str()?.strip_prefix("socket:[")?;
        inode.strip_suffix(']')?.parse().ok()
    };
    let links = fds.flatten().filter_map(|fd| fs::read_link(fd.path()).ok());
    links.filter_map(inode).collect()
}

/// Every listening TCP socket of this network namespace.
fn all_listeners() -> Vec<Listener> {
    ["tcp", "tcp6"]
        .iter()
        .filter_map(|family| fs::read_to_string(format!("/proc/self/net/{family}")).ok())
        .flat_map(|table| table.lines().filter_map(parse).collect::<Vec<_>>())
        .collect()
}

#[derive(Debug, PartialEq, Eq)]
struct Listener {
    address: SocketAddr,
    inode: u64,
}

impl Listener {
    /// Whether it may keep others from binding `wanted`. Whether `::` takes IPv4
    /// as well, the table does not tell.
    fn covers(&self, wanted: SocketAddr) -> bool {
        let (own, other) = (self.address.ip(), wanted.ip().to_canonical());
        let all = IpAddr::V6(Ipv6Addr::UNSPECIFIED);
        let one_family = own.is_ipv4() == other.is_ipv4();
        let wild = one_family && (own.is_unspecified() || other.is_unspecified());
        self.address.port() == wanted.port() && (own == other || wild || own == all || other == all)
    }

    /// How far it is from being the address itself.
    fn distance(&self, wanted: IpAddr) -> u8 {
        let (own, wanted) = (self.address.ip(), wanted.to_canonical());
        match (own == wanted, own.is_ipv4() == wanted.is_ipv4()) {
            (true, _) => 0,
            (false, true) => 1,
            (false, false) => 2,
        }
    }
}

fn parse(line: &str) -> Option<Listener> {
    /// `TCP_LISTEN` of the kernel.
    const LISTENS: &str = "0A";
    let fields: Vec<&str> = line.split_ascii_whitespace().collect();
    if *fields.get(3)? != LISTENS {
        return None;
    }
    let (ip, port) = fields.get(1)?.split_once(':')?;
    Some(Listener {
        address: (ip_of(ip)?, u16::from_str_radix(port, 16).ok()?).into(),
        inode: fields.get(9)?.parse().ok()?,
    })
}

/// Words of the network's byte order, printed as numbers of this machine's.
fn ip_of(hex: &str) -> Option<IpAddr> {
    let word = |at: usize| {
        let word = u32::from_str_radix(hex.get(at..at + 8)?, 16).ok()?;
        Some(word.to_ne_bytes())
    };
    if hex.len() == 8 {
        return Some(Ipv4Addr::from(word(0)?).into());
    }
    let words = [word(0)?, word(8)?, word(16)?, word(24)?];
    let bytes: [u8; 16] = words.concat().try_into().ok()?;
    Some(IpAddr::from(bytes).to_canonical())
}

fn has_open(pid: u32, link: &PathBuf) -> bool {
    // Another user's, or gone: nothing to see.
    let Ok(fds) = fs::read_dir(format!("/proc/{pid}/fd")) else {
        return false;
    };
    fds.flatten()
        .any(|fd| fs::read_link(fd.path()).is_ok_and(|target| target == *link))
}

/// The file name of a process's program; `None` when it is gone.
// `comm` is the name of the main thread, which Node changes.
#[must_use]
pub fn program_name(pid: u32) -> Option<String> {
    let program = fs::read_link(format!("/proc/{pid}/exe")).ok();
    if let Some(name) = program.as_ref().and_then(|program| program.file_name()) {
        let name = name.to_string_lossy();
        return Some(name.trim_end_matches(" (deleted)").to_owned());
    }
    let name = fs::read_to_string(format!("/proc/{pid}/comm")).ok()?;
    Some(name.trim_end().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listener(address: &str) -> Listener {
        Listener {
            address: address.parse().unwrap(),
            inode: 1,
        }
    }

    #[test]
    fn a_program_has_the_name_of_its_file() {
        let own = std::env::current_exe().unwrap();
        let name = program_name(std::process::id()).unwrap();
        assert_eq!(Some(&*name), own.file_name().and_then(|name| name.to_str()));
        assert_eq!(program_name(u32::MAX), None);
    }

    #[test]
    #[cfg(target_endian = "little")]
    fn a_line_of_the_table_is_read() {
        let line = "   0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 4711 1 0 100 0 0 10 0";
        let expected = Listener {
            inode: 4711,
            ..listener("127.0.0.1:8080")
        };
        assert_eq!(parse(line), Some(expected));
        assert_eq!(parse(&line.replace(" 0A ", " 01 ")), None);
        assert_eq!(parse("  sl  local_address rem_address   st"), None);
        let six = line.replace("0100007F", "B80D0120000000000000000001000000");
        assert_eq!(
            parse(&six).unwrap().address,
            "[2001:db8::1]:8080".parse().unwrap()
        );
        let mapped = line.replace("0100007F", "0000000000000000FFFF00000100007F");
        assert_eq!(
            parse(&mapped).unwrap().address,
            "127.0.0.1:8080".parse().unwrap()
        );
    }

    #[test]
    fn who_is_in_the_way() {
        let covers = |own: &str, wanted: &str| listener(own).covers(wanted.parse().unwrap());
        for (own, wanted) in [
            ("127.0.0.1:80", "127.0.0.1:80"),
            ("0.0.0.0:80", "127.0.0.1:80"),
            ("127.0.0.1:80", "0.0.0.0:80"),
            ("[::]:80", "127.0.0.1:80"),
            ("127.0.0.1:80", "[::]:80"),
            ("[::]:80", "[::1]:80"),
            ("127.0.0.1:80", "[::ffff:127.0.0.1]:80"),
        ] {
            assert!(covers(own, wanted), "{own} {wanted}");
        }
        for (own, wanted) in [
            ("127.0.0.1:80", "127.0.0.1:81"),
            ("127.0.0.1:80", "127.0.0.2:80"),
            ("0.0.0.0:80", "[::1]:80"),
            ("[::1]:80", "0.0.0.0:80"),
        ] {
            assert!(!covers(own, wanted), "{own} {wanted}");
        }
        let wanted = "127.0.0.1".parse().unwrap();
        let distances =
            ["127.0.0.1:80", "0.0.0.0:80", "[::]:80"].map(|own| listener(own).distance(wanted));
        assert_eq!(distances, [0, 1, 2]);
    }
}

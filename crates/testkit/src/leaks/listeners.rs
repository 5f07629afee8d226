//! Listening sockets of this process.

use std::collections::BTreeMap;
use std::fs;

/// What listens, by the inode of its socket: every listener of the network
/// namespace, of which the caller picks its own by its descriptors.
pub(super) fn by_inode() -> BTreeMap<u64, String> {
    let mut listeners = BTreeMap::new();
    for family in ["tcp", "tcp6"] {
        let table = fs::read_to_string(format!("/proc/self/net/{family}")).unwrap_or_default();
        listeners.extend(
            table
                .lines()
                .filter_map(parse_tcp)
                .map(|(inode, port)| (inode, format!("{family} port {port}"))),
        );
    }
    let table = fs::read_to_string("/proc/self/net/unix").unwrap_or_default();
    listeners.extend(table.lines().filter_map(parse_unix));
    listeners
}

/// How many sockets listen on a TCP port, whoever has them.
#[must_use]
pub fn listening_on(port: u16) -> usize {
    let names = [format!("tcp port {port}"), format!("tcp6 port {port}")];
    let all = by_inode();
    all.values().filter(|name| names.contains(name)).count()
}

/// The inode in the target of a descriptor's link, `socket:[INODE]`.
pub(super) fn inode(target: &str) -> Option<u64> {
    target
        .strip_prefix("socket:[")?
        .strip_suffix(']')?
        .parse()
        .ok()
}

fn parse_tcp(line: &str) -> Option<(u64, u16)> {
    /// `TCP_LISTEN` of the kernel.
    const LISTEN: &str = "0A";
    let fields: Vec<&str> = line.split_ascii_whitespace().collect();
    if *fields.get(3)? != LISTEN {
        return None;
    }
    let (_, port) = fields.get(1)?.rsplit_once(':')?;
    Some((
        fields.get(9)?.parse().ok()?,
        u16::from_str_radix(port, 16).ok()?,
    ))
}

fn parse_unix(line: &str) -> Option<(u64, String)> {
    /// `__SO_ACCEPTCON` of the kernel.
    const ACCEPTS: u32 = 1 << 16;
    let mut fields = line.split_ascii_whitespace();
    let flags = u32::from_str_radix(fields.nth(3)?, 16).ok()?;
    let inode = fields.nth(2)?.parse().ok()?;
    let path = fields.next().unwrap_or("without a name");
    (flags & ACCEPTS != 0).then(|| (inode, format!("unix {path}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_listening_tcp_sockets_count() {
        let listening = "   0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 4711 1 0 100 0 0 10 0";
        assert_eq!(parse_tcp(listening), Some((4711, 8080)));
        assert_eq!(parse_tcp(&listening.replace(" 0A ", " 01 ")), None);
        assert_eq!(
            parse_tcp("  sl  local_address rem_address   st tx_queue rx_queue"),
            None
        );
    }

    #[test]
    fn only_listening_unix_sockets_count() {
        let listening = "0000000000000000: 00000002 00000000 00010000 0001 01 4712 /run/x.sock";
        assert_eq!(
            parse_unix(listening),
            Some((4712, "unix /run/x.sock".into()))
        );
        assert_eq!(parse_unix(&listening.replace("00010000", "00000000")), None);
        assert_eq!(
            parse_unix("Num       RefCount Protocol Flags    Type St Inode Path"),
            None
        );
    }

    #[test]
    fn only_sockets_have_an_inode() {
        assert_eq!(inode("socket:[99]"), Some(99));
        assert_eq!(inode("pipe:[99]"), None);
    }
}

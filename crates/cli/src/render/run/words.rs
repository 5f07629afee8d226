//! How things are called.

use std::time::Duration;

use procession::cluster::{Address, AddressType};

/// `0.4 s`, `30 s`.
pub(crate) fn seconds(time: Duration) -> String {
    let seconds = time.as_secs_f64();
    if seconds >= 10.0 || time.subsec_millis() == 0 {
        format!("{seconds:.0} s")
    } else {
        format!("{seconds:.1} s")
    }
}

/// `1 worker`, `2 workers`.
pub(crate) fn workers(count: usize) -> String {
    format!("{count} worker{}", if count == 1 { "" } else { "s" })
}

/// As the library says it, but every interface is `*`.
pub(crate) fn address(at: &Address) -> String {
    match at.port {
        Some(port) if is_everywhere(at) => format!("*:{port}"),
        Some(_) | None => at.to_string(),
    }
}

fn is_everywhere(at: &Address) -> bool {
    matches!(at.address.as_deref(), None | Some("0.0.0.0" | "::" | ""))
}

/// What to look at with a browser, as far as that can be known: a port is taken
/// for HTTP's, and those that end in 443 for HTTPS's unless the system chose them.
pub(crate) fn url(at: &Address) -> String {
    let is_udp = matches!(at.address_type, Some(AddressType::Udp4 | AddressType::Udp6));
    let Some(port) = at.port else {
        return at.to_string();
    };
    if is_udp {
        return format!("udp {}", address(at));
    }
    let scheme = scheme(port);
    if is_everywhere(at) {
        format!("{scheme}://localhost:{port}")
    } else {
        format!("{scheme}://{at}")
    }
}

fn scheme(port: u16) -> &'static str {
    /// From here on are the ports that a system chooses, if it is set as usual.
    const EPHEMERAL: u16 = 32_768;
    if port < EPHEMERAL && port % 1000 == 443 {
        "https"
    } else {
        "http"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_short() {
        let said = |ms| seconds(Duration::from_millis(ms));
        assert_eq!(
            [0, 90, 1500, 3000, 30_250].map(said),
            ["0 s", "0.1 s", "1.5 s", "3 s", "30 s"]
        );
    }

    #[test]
    fn a_port_that_the_system_chose_says_nothing_of_https() {
        assert_eq!([443, 8443].map(scheme), ["https"; 2]);
        // Of a thousand servers on port 0 one was told wrong.
        assert_eq!([80, 8000, 36_443].map(scheme), ["http"; 3]);
    }
}

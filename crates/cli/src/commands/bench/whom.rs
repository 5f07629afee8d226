//! Whom to ask: from what was typed to targets.

use std::env;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use procession_load::{Target, Via};

use crate::args::Bench;
use crate::exit::Exit;
use crate::failure::Failure;

/// What stands for a port that is not known yet.
const SOME_PORT: u16 = 1;

/// A URL as it was typed, and which port it means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Url {
    /// It says everything.
    Whole(String),
    /// A path, or a host without a port: the port that the program opens.
    Opened(String),
}

impl Url {
    /// The target, if need be at what the program has opened.
    pub(super) fn target(&self, opened: SocketAddr) -> Result<Target, Failure> {
        match self {
            Self::Whole(url) => parsed(url),
            Self::Opened(url) => {
                let mut target = parsed(&with_port(url, opened.port()))?;
                target.via = Via::Ip(reachable(opened.ip()), opened.port());
                Ok(target)
            }
        }
    }

    /// The port that has to be opened before anybody is asked; `None` for any.
    pub(super) fn port(&self) -> Option<u16> {
        match self {
            Self::Opened(_) => None,
            Self::Whole(url) => match parsed(url).ok()?.via {
                Via::Name(_, port) | Via::Ip(_, port) => Some(port),
                Via::Unix(_) => None,
            },
        }
    }
}

/// Reads all URLs, or takes one that is known otherwise. Those that wait for a port
/// are checked with some port.
pub(super) fn urls(bench: &Bench, known: Option<String>) -> Result<Vec<Url>, Failure> {
    let typed = if bench.urls.is_empty() {
        vec![default_url(bench, known)?]
    } else {
        bench.urls.clone()
    };
    let urls: Vec<Url> = typed
        .into_iter()
        .map(|url| url_of(bench, url))
        .collect::<Result<_, _>>()?;
    for url in &urls {
        url.target((Ipv4Addr::LOCALHOST, SOME_PORT).into())?;
    }
    Ok(urls)
}

fn default_url(bench: &Bench, known: Option<String>) -> Result<String, Failure> {
    if !bench.command.is_empty() || bench.place.socket_path.is_some() {
        return Ok("/".into());
    }
    known.ok_or_else(|| {
        Failure::new(
            Exit::Usage,
            "there is no URL to ask",
            "`procession bench http://127.0.0.1:8000`, or `procession bench -- node server.js`",
        )
    })
}

fn url_of(bench: &Bench, url: String) -> Result<Url, Failure> {
    if bench.place.socket_path.is_some() {
        let host = if is_path(&url) {
            "http://localhost"
        } else {
            ""
        };
        return Ok(Url::Whole(format!("{host}{url}")));
    }
    if !bench.command.is_empty() && !has_port(&url) {
        return Ok(Url::Opened(url));
    }
    if !is_path(&url) {
        return Ok(Url::Whole(url));
    }
    let port = port_of_variable(&url, env::var("PORT").ok().as_deref())?;
    Ok(Url::Whole(with_port(&url, port)))
}

fn port_of_variable(url: &str, variable: Option<&str>) -> Result<u16, Failure> {
    let hint = "`procession bench http://127.0.0.1:8000/path`, or a program after `--`";
    let Some(port) = variable.filter(|port| !port.is_empty()) else {
        let message = format!("`{url}` is only a path, and the variable PORT is not set");
        return Err(Failure::new(Exit::Usage, message, hint));
    };
    let number = port.parse().ok().filter(|port| *port > 0);
    number.ok_or_else(|| {
        let message = format!("`{url}` is only a path, and the variable PORT is `{port}`");
        Failure::new(Exit::Usage, message, hint)
    })
}

fn parsed(url: &str) -> Result<Target, Failure> {
    Target::parse(url).map_err(|error| {
        let hint = "`http://127.0.0.1:8000/path`, `https://host`, `host:port`, `unix:./app.sock`";
        Failure::new(Exit::Usage, error.to_string(), hint)
    })
}

fn is_path(url: &str) -> bool {
    url.starts_with('/')
}

/// Host, and port if there is one: what stands between `//` and the path.
fn authority(url: &str) -> &str {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    rest.split(['/', '?', '#']).next().unwrap_or_default()
}

fn has_port(url: &str) -> bool {
    let host = authority(url);
    // The colons within an IPv6 address are none of a port.
    let tail = host.rsplit(']').next().unwrap_or_default();
    !is_path(url) && tail.contains(':')
}

/// The URL with this port; a path is one of this machine's.
fn with_port(url: &str, port: u16) -> String {
    if is_path(url) {
        return format!("http://localhost:{port}{url}");
    }
    let host = authority(url);
    let end = url.find(host).map_or(url.len(), |at| at + host.len());
    let (before, after) = url.split_at(end);
    format!("{before}:{port}{after}")
}

/// Where one who listens everywhere can be reached.
fn reachable(ip: IpAddr) -> IpAddr {
    match ip {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        IpAddr::V4(_) | IpAddr::V6(_) => ip,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_is_put_where_there_is_none() {
        for (url, has, with) in [
            ("/a?b=c:d", false, "http://localhost:81/a?b=c:d"),
            ("http://host/a", false, "http://host:81/a"),
            ("https://host", false, "https://host:81"),
            ("host?q", false, "host:81?q"),
            ("http://[::1]/", false, "http://[::1]:81/"),
        ] {
            assert_eq!((has_port(url), with_port(url, 81)), (has, with.to_owned()));
        }
        for url in ["http://host:1/a", "host:1", "http://[::1]:1", ":1/"] {
            assert!(has_port(url), "{url}");
        }
    }

    #[test]
    fn what_a_program_opened_is_reached_where_it_is() {
        let target = |url: &str, at: &str| {
            let url = Url::Opened(url.into());
            url.target(at.parse().unwrap()).unwrap()
        };
        let everywhere = target("/x", "0.0.0.0:81");
        assert_eq!(everywhere.via, Via::Ip(Ipv4Addr::LOCALHOST.into(), 81));
        assert_eq!(
            (&*everywhere.host, &*everywhere.path),
            ("localhost:81", "/x")
        );
        let six = target("https://host/y", "[::]:82");
        assert_eq!(six.via, Via::Ip(Ipv6Addr::LOCALHOST.into(), 82));
        assert_eq!((&*six.host, six.tls), ("host:82", true));
        let url = Url::Whole("http://127.0.0.1:83".into());
        assert_eq!(url.port(), Some(83));
    }

    #[test]
    fn a_path_needs_the_variable() {
        let port = |variable| port_of_variable("/x", variable).map_err(|e| e.to_string());
        assert_eq!(port(Some("8000")), Ok(8000));
        for variable in [None, Some(""), Some("0"), Some("65536"), Some("x")] {
            assert!(port(variable).is_err(), "{variable:?}");
        }
    }
}

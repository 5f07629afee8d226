//! Whom to ask: a URL, taken apart.

use std::borrow::Cow;
use std::fmt::Write as _;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::PathBuf;

use crate::Protocol;

/// Whom to ask: a URL, taken apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// How it is reached.
    pub via: Via,
    /// TLS is spoken.
    pub tls: bool,
    /// The value of the header `Host`: with the port, unless it is the scheme's own. Without it
    /// and without brackets it is the name of the server for TLS.
    pub host: String,
    /// Path and query, with the leading slash.
    pub path: String,
}

/// How a target is reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Via {
    /// By TCP: a name, to be resolved once before the start, and a port.
    Name(String, u16),
    /// By TCP: an address and a port.
    Ip(IpAddr, u16),
    /// A Unix socket.
    Unix(PathBuf),
}

/// A URL that is none, or not one that can be asked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("bad URL `{url}`: {wrong}")]
pub struct BadUrl {
    /// The URL, without credentials.
    pub url: String,
    /// What is wrong with it.
    pub wrong: String,
}

impl Target {
    /// Takes a URL apart.
    ///
    /// These are URLs: `http://host:port/path?query`, `https://…`, the same without a scheme
    /// (`localhost:8000/path`), a port alone (`:8000/path`, on `localhost`), `tcp://host:port`,
    /// which is for [`Protocol::Echo`], and `unix:/run/app.sock` or `unix:/run/app.sock:/path`.
    /// A fragment is dropped; what is percent-encoded stays so.
    ///
    /// # Errors
    ///
    /// [`BadUrl`] says what is wrong. Credentials are refused: they would end in reports. The
    /// header `Authorization` is for them.
    pub fn parse(url: &str) -> Result<Self, BadUrl> {
        parse(url).map_err(|wrong| BadUrl {
            url: without_credentials(url),
            wrong,
        })
    }

    /// As a URL, for a report.
    #[must_use]
    pub fn url(&self, protocol: Protocol) -> String {
        if let Via::Unix(socket) = &self.via {
            return format!("unix:{}:{}", socket.display(), self.path);
        }
        match (protocol, self.tls) {
            (Protocol::Echo, _) => format!("tcp://{}", self.host),
            (Protocol::Http1, true) => format!("https://{}{}", self.host, self.path),
            (Protocol::Http1, false) => format!("http://{}{}", self.host, self.path),
        }
    }

    /// The name that TLS asks for: `host` without its port and its brackets.
    #[must_use]
    pub fn server_name(&self) -> &str {
        let host = self.host.as_str();
        if let Some(rest) = host.strip_prefix('[') {
            return rest.split(']').next().unwrap_or(rest);
        }
        host.rsplit_once(':').map_or(host, |(name, _)| name)
    }
}

fn parse(url: &str) -> Result<Target, String> {
    if let Some(strange) = url.chars().find(|c| c.is_whitespace() || c.is_control()) {
        return Err(if strange == ' ' {
            "it has a space; write %20".into()
        } else {
            format!("it has the character {strange:?}")
        });
    }
    if let Some(rest) = without_prefix(url, "unix:") {
        return unix(rest);
    }
    let (scheme, rest) = match url.split_once("://") {
        // What is before a slash only is a scheme.
        Some((scheme, rest)) if !scheme.contains(['/', '?', '#']) => (Some(scheme), rest),
        _ => (None, url),
    };
    let (tls, port) = match scheme.map(str::to_ascii_lowercase).as_deref() {
        None | Some("http") => (false, Some(80)),
        Some("https") => (true, Some(443)),
        Some("tcp") => (false, None),
        Some(other) => return Err(format!("unknown scheme `{other}`")),
    };
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (authority, path) = rest.split_at(end);
    if scheme.is_none() && authority.is_empty() {
        return Err("it has no host".into());
    }
    // A port alone is short for one's own machine.
    let authority = match (scheme, authority.strip_prefix(':')) {
        (None, Some(_)) => Cow::Owned(format!("localhost{authority}")),
        _ => Cow::Borrowed(authority),
    };
    let (via, host) = reach(&authority, port)?;
    let path = origin_form(path)?;
    Ok(Target {
        via,
        tls,
        host,
        path,
    })
}

/// `/run/app.sock`, with or without `:/path` behind it.
fn unix(rest: &str) -> Result<Target, String> {
    let rest = rest.strip_prefix("//").unwrap_or(rest);
    let (socket, path) = match rest.find(":/") {
        Some(colon) => (&rest[..colon], &rest[colon + 1..]),
        None => (rest, ""),
    };
    if socket.is_empty() {
        return Err("it names no socket".into());
    }
    Ok(Target {
        via: Via::Unix(socket.into()),
        tls: false,
        host: "localhost".into(),
        path: origin_form(path)?,
    })
}

/// How to get to `authority`, and what to call it in the header `Host`.
fn reach(authority: &str, default: Option<u16>) -> Result<(Via, String), String> {
    if authority.contains('@') {
        return Err("credentials are not taken; give a header `Authorization`".into());
    }
    let (host, port) = if let Some(rest) = authority.strip_prefix('[') {
        let (inner, after) = rest.split_once(']').ok_or("its `[` is not closed")?;
        match after.strip_prefix(':') {
            Some(port) => (&authority[..inner.len() + 2], Some(port)),
            None if after.is_empty() => (authority, None),
            None => return Err(format!("`{after}` is behind its address")),
        }
    } else {
        match authority.split_once(':') {
            Some((_, rest)) if rest.contains(':') => {
                return Err("an IPv6 address is written in brackets".into());
            }
            Some((host, port)) => (host, Some(port)),
            None => (authority, None),
        }
    };
    let port = match (port, default) {
        (None | Some(""), Some(port)) => port,
        (None | Some(""), None) => return Err("it has no port".into()),
        (Some(digits), _) => number(digits)?,
    };
    let name = host.to_ascii_lowercase();
    let via = via(&name, port)?;
    let shown = if Some(port) == default {
        name
    } else {
        format!("{name}:{port}")
    };
    Ok((via, shown))
}

fn number(digits: &str) -> Result<u16, String> {
    let is_number = digits.bytes().all(|b| b.is_ascii_digit());
    match digits.parse() {
        Ok(port) if is_number && port > 0 => Ok(port),
        _ => Err(format!("its port `{digits}` is not one of 1 to 65535")),
    }
}

fn via(host: &str, port: u16) -> Result<Via, String> {
    if let Some(inner) = host.strip_prefix('[') {
        let inner = inner.trim_end_matches(']');
        let address: Ipv6Addr = inner
            .parse()
            .map_err(|_| format!("`{inner}` is no IPv6 address"))?;
        return Ok(Via::Ip(address.into(), port));
    }
    if let Ok(address) = host.parse::<Ipv4Addr>() {
        return Ok(Via::Ip(address.into(), port));
    }
    if host.is_empty() {
        return Err("it has no host".into());
    }
    let odd = |c: &char| !c.is_ascii_alphanumeric() && !matches!(c, '-' | '.' | '_');
    match host.chars().find(odd) {
        Some(c) if !c.is_ascii() => Err(format!("its host has {c:?}; write its ASCII form, xn--…")),
        Some(c) => Err(format!("its host has {c:?}")),
        None if host.len() > 253 => Err("its host is longer than 253 characters".into()),
        None => Ok(Via::Name(host.into(), port)),
    }
}

/// Path and query as they are sent: with a leading slash, without a fragment, and in ASCII.
pub(crate) fn origin_form(path: &str) -> Result<String, String> {
    let path = path.split('#').next().unwrap_or_default();
    let mut form = String::with_capacity(path.len() + 1);
    if !path.starts_with('/') {
        form.push('/');
    }
    for c in path.chars() {
        if c.is_whitespace() || c.is_control() {
            return Err(format!("it has the character {c:?}"));
        }
        if c.is_ascii() {
            form.push(c);
            continue;
        }
        for byte in c.encode_utf8(&mut [0; 4]).bytes() {
            // A String takes all that is written to it.
            let _ = write!(form, "%{byte:02X}");
        }
    }
    Ok(form)
}

fn without_prefix<'a>(text: &'a str, prefix: &str) -> Option<&'a str> {
    let head = text.get(..prefix.len())?;
    head.eq_ignore_ascii_case(prefix)
        .then(|| &text[prefix.len()..])
}

/// A password does not belong into a message.
fn without_credentials(url: &str) -> String {
    let start = url.find("://").map_or(0, |at| at + 3);
    let end = url[start..]
        .find(['/', '?', '#'])
        .map_or(url.len(), |at| start + at);
    match url[start..end].rfind('@') {
        Some(at) => format!("{}…{}", &url[..start], &url[start + at..]),
        None => url.into(),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn name(host: &str, port: u16) -> Via {
        Via::Name(host.into(), port)
    }

    fn ip(address: &str, port: u16) -> Via {
        Via::Ip(address.parse().unwrap(), port)
    }

    #[test]
    fn urls_are_taken_apart() {
        let cases = [
            (
                "http://example.com",
                name("example.com", 80),
                "example.com",
                "/",
            ),
            (
                "HTTP://Example.COM:80/",
                name("example.com", 80),
                "example.com",
                "/",
            ),
            (
                "http://example.com:/a",
                name("example.com", 80),
                "example.com",
                "/a",
            ),
            (
                "http://127.0.0.1:8000",
                ip("127.0.0.1", 8000),
                "127.0.0.1:8000",
                "/",
            ),
            (
                "http://[::1]:8000/a?b=c",
                ip("::1", 8000),
                "[::1]:8000",
                "/a?b=c",
            ),
            ("http://[FE80::1]", ip("fe80::1", 80), "[fe80::1]", "/"),
            ("http://h?q=1", name("h", 80), "h", "/?q=1"),
            ("http://h#top", name("h", 80), "h", "/"),
            (
                "http://h/a%20b?x=%2F#top",
                name("h", 80),
                "h",
                "/a%20b?x=%2F",
            ),
            ("http://h/ä", name("h", 80), "h", "/%C3%A4"),
            ("http://h/a@b:c", name("h", 80), "h", "/a@b:c"),
            (
                "localhost:3000/x",
                name("localhost", 3000),
                "localhost:3000",
                "/x",
            ),
            ("localhost", name("localhost", 80), "localhost", "/"),
            ("h/http://other", name("h", 80), "h", "/http://other"),
            (":8000/x", name("localhost", 8000), "localhost:8000", "/x"),
            (":8000", name("localhost", 8000), "localhost:8000", "/"),
            ("tcp://my_host:9", name("my_host", 9), "my_host:9", "/"),
        ];
        for (url, via, host, path) in cases {
            let target = Target::parse(url).unwrap_or_else(|bad| panic!("{bad}"));
            let expected = Target {
                via,
                tls: false,
                host: host.into(),
                path: path.into(),
            };
            assert_eq!(target, expected, "{url}");
        }
    }

    #[test]
    fn https_is_tls_with_a_port_of_its_own() {
        for (url, host, server_name) in [
            ("https://a.test/x", "a.test", "a.test"),
            ("https://a.test:8443", "a.test:8443", "a.test"),
            ("https://[::1]:8443", "[::1]:8443", "::1"),
            ("https://[::1]", "[::1]", "::1"),
        ] {
            let target = Target::parse(url).unwrap();
            assert!(target.tls);
            assert_eq!(
                (target.host.as_str(), target.server_name()),
                (host, server_name)
            );
        }
        assert_eq!(
            Target::parse("https://a.test").unwrap().via,
            name("a.test", 443)
        );
        // 80 is not the port of https: it is told.
        assert_eq!(
            Target::parse("https://a.test:80").unwrap().host,
            "a.test:80"
        );
    }

    #[test]
    fn a_socket_may_have_a_path_behind_it() {
        for (url, socket, path) in [
            ("unix:/run/app.sock", "/run/app.sock", "/"),
            ("unix:/run/app.sock:/a?b", "/run/app.sock", "/a?b"),
            ("UNIX:///run/app.sock:/", "/run/app.sock", "/"),
            ("unix:./here", "./here", "/"),
        ] {
            let target = Target::parse(url).unwrap();
            assert_eq!(target.via, Via::Unix(socket.into()), "{url}");
            assert_eq!(
                (target.path.as_str(), target.host.as_str()),
                (path, "localhost")
            );
        }
    }

    #[test]
    fn a_bad_url_is_named_with_what_is_wrong() {
        let cases = [
            ("", "bad URL ``: it has no host"),
            ("http://", "bad URL `http://`: it has no host"),
            ("http://:80/", "bad URL `http://:80/`: it has no host"),
            ("/path", "bad URL `/path`: it has no host"),
            (
                "http://a b/",
                "bad URL `http://a b/`: it has a space; write %20",
            ),
            (
                "http://a/\n",
                "bad URL `http://a/\n`: it has the character '\\n'",
            ),
            ("ftp://a/", "bad URL `ftp://a/`: unknown scheme `ftp`"),
            (
                "http://a:0",
                "bad URL `http://a:0`: its port `0` is not one of 1 to 65535",
            ),
            (
                "http://a:65536",
                "bad URL `http://a:65536`: its port `65536` is not one of 1 to 65535",
            ),
            (
                "http://a:+8",
                "bad URL `http://a:+8`: its port `+8` is not one of 1 to 65535",
            ),
            (
                "http://::1/",
                "bad URL `http://::1/`: an IPv6 address is written in brackets",
            ),
            (
                "http://[::1/",
                "bad URL `http://[::1/`: its `[` is not closed",
            ),
            (
                "http://[::1]x/",
                "bad URL `http://[::1]x/`: `x` is behind its address",
            ),
            (
                "http://[a]/",
                "bad URL `http://[a]/`: `a` is no IPv6 address",
            ),
            ("http://a,b/", "bad URL `http://a,b/`: its host has ','"),
            (
                "http://ä/",
                "bad URL `http://ä/`: its host has 'ä'; write its ASCII form, xn--…",
            ),
            ("tcp://a", "bad URL `tcp://a`: it has no port"),
            ("unix:", "bad URL `unix:`: it names no socket"),
            (
                "http://me:secret@a/",
                "bad URL `http://…@a/`: credentials are not taken; give a header `Authorization`",
            ),
        ];
        for (url, message) in cases {
            assert_eq!(Target::parse(url).unwrap_err().to_string(), message);
        }
    }

    proptest! {
        #[test]
        fn any_text_is_a_target_or_an_error(url in "(http://|https://|tcp://|unix:|:)?\\PC{0,40}") {
            if let Ok(target) = Target::parse(&url) {
                prop_assert!(target.path.starts_with('/') && target.path.is_ascii());
                // What is shown is read again as the same.
                let protocol = if url.starts_with("tcp:") { Protocol::Echo } else { Protocol::Http1 };
                let again = Target::parse(&target.url(protocol)).unwrap();
                prop_assert_eq!(&again.via, &target.via);
                prop_assert_eq!(&again.host, &target.host);
            }
        }
    }
}

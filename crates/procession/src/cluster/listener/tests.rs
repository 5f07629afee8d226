use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::*;

fn parse(text: &str) -> Option<Listen> {
    text.parse().ok()
}

fn tcp(ip: impl Into<IpAddr>, port: u16) -> Option<Listen> {
    Some(Listen::Tcp(SocketAddr::new(ip.into(), port)))
}

#[test]
fn a_place_is_written_in_many_ways() {
    assert_eq!(parse("8000"), tcp(Ipv6Addr::UNSPECIFIED, 8000));
    assert_eq!(parse(":8000"), tcp(Ipv6Addr::UNSPECIFIED, 8000));
    assert_eq!(parse("127.0.0.1:80"), tcp(Ipv4Addr::LOCALHOST, 80));
    assert_eq!(parse("[::1]:80"), tcp(Ipv6Addr::LOCALHOST, 80));
    assert_eq!(parse("./a"), Some(Listen::Unix("./a".into())));
    for text in ["", "a", "65536", "localhost", "127.0.0.1", "::1:80:"] {
        let error = text.parse::<Listen>().unwrap_err();
        assert!(
            error
                .to_string()
                .starts_with(&format!("`{text}` is no place"))
        );
    }
}

#[tokio::test(flavor = "current_thread")]
async fn alone_it_listens_on_all_addresses_of_both_families() {
    let mut listener = Listener::bind(parse("0").unwrap()).unwrap();
    let Listen::Tcp(at) = *listener.local_addr() else {
        panic!("{listener:?}");
    };
    let client = tokio::net::TcpStream::connect((Ipv4Addr::LOCALHOST, at.port()));
    let (client, accepted) = tokio::join!(client, listener.accept());
    let (mut stream, peer) = accepted.unwrap().unwrap();
    let mut client = client.unwrap();
    assert_eq!(peer.unwrap().port(), client.local_addr().unwrap().port());
    stream.write_all(b"hello").await.unwrap();
    drop(stream);
    let mut text = String::new();
    client.read_to_string(&mut text).await.unwrap();
    assert_eq!(text, "hello");
    let again = Listener::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, at.port())));
    assert_eq!(again.unwrap_err().node_code(), Some("EADDRINUSE"));
}

#[tokio::test(flavor = "current_thread")]
async fn the_file_of_a_unix_socket_is_there_as_long_as_the_listener() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("app.sock");
    let mut listener = Listener::bind(path.as_path()).unwrap();
    let other = Listener::bind(path.as_path()).unwrap_err();
    assert_eq!(other.node_code(), Some("EADDRINUSE"));
    let (client, accepted) =
        tokio::join!(tokio::net::UnixStream::connect(&path), listener.accept());
    client.unwrap();
    assert!(matches!(accepted.unwrap(), Some((Stream::Unix(_), None))));
    drop(listener);
    assert!(!path.exists());
}

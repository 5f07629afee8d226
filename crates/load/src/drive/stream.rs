//! The bytes to and from a server, whatever carries them.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpSocket, TcpStream, UnixStream};
use tokio::time::sleep;

use crate::Class;

/// Between two tries at a Unix socket whose queue is full.
const FULL_PAUSE: Duration = Duration::from_millis(2);

#[cfg(feature = "tls")]
type TlsStream = tokio_rustls::client::TlsStream<Plain>;

/// A connection that is there.
#[derive(Debug)]
pub(super) enum Stream {
    Plain(Plain),
    #[cfg(feature = "tls")]
    Tls(Box<TlsStream>),
}

/// Without TLS.
#[derive(Debug)]
pub(super) enum Plain {
    Tcp(TcpStream),
    Unix(UnixStream),
}

/// Where a server is reached.
#[derive(Debug)]
pub(super) enum Place {
    /// All addresses of a name; the second number is the one that last answered.
    Tcp(Vec<SocketAddr>, AtomicUsize),
    Unix(PathBuf),
}

/// How a server is reached.
#[derive(Debug)]
pub(super) struct Way {
    pub(super) place: Place,
    #[cfg(feature = "tls")]
    pub(super) tls: Option<TlsWay>,
}

#[cfg(feature = "tls")]
pub(super) struct TlsWay {
    pub(super) connector: tokio_rustls::TlsConnector,
    pub(super) name: tokio_rustls::rustls::pki_types::ServerName<'static>,
}

#[cfg(feature = "tls")]
impl std::fmt::Debug for TlsWay {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("TlsWay").field(&self.name).finish()
    }
}

/// No connection.
#[derive(Debug)]
pub(super) struct NoConnection {
    pub(super) class: Class,
    pub(super) error: io::Error,
}

impl Way {
    pub(super) async fn connect(&self) -> Result<Stream, NoConnection> {
        let plain = self.place.connect().await.map_err(|error| NoConnection {
            class: class_of(&error),
            error,
        })?;
        #[cfg(feature = "tls")]
        if let Some(TlsWay { connector, name }) = &self.tls {
            let stream = connector.connect(name.clone(), plain).await;
            return match stream {
                Ok(stream) => Ok(Stream::Tls(Box::new(stream))),
                Err(error) => Err(NoConnection {
                    class: Class::Tls,
                    error,
                }),
            };
        }
        Ok(Stream::Plain(plain))
    }
}

impl Place {
    async fn connect(&self) -> io::Result<Plain> {
        match self {
            Self::Unix(path) => loop {
                match UnixStream::connect(path).await {
                    // The listener's queue is full, for which the kernel waits with TCP only.
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                        sleep(FULL_PAUSE).await;
                    }
                    connected => return connected.map(Plain::Unix),
                }
            },
            Self::Tcp(addresses, last) => {
                let begin = last.load(Ordering::Relaxed);
                let mut refused = io::ErrorKind::AddrNotAvailable.into();
                // `localhost` has two addresses, and a server may listen at either.
                for number in (begin..begin + addresses.len()).map(|at| at % addresses.len()) {
                    match connect(addresses[number]).await {
                        Ok(stream) => {
                            last.store(number, Ordering::Relaxed);
                            return Ok(Plain::Tcp(stream));
                        }
                        Err(error) => refused = error,
                    }
                }
                Err(refused)
            }
        }
    }
}

async fn connect(address: SocketAddr) -> io::Result<TcpStream> {
    let socket = match address {
        SocketAddr::V4(_) => TcpSocket::new_v4()?,
        SocketAddr::V6(_) => TcpSocket::new_v6()?,
    };
    socket.set_nodelay(true)?;
    socket.connect(address).await
}

/// Why there is no connection.
fn class_of(error: &io::Error) -> Class {
    let kind = error.kind();
    // A Unix socket that is not there is a port where nobody listens.
    if matches!(
        kind,
        io::ErrorKind::ConnectionRefused | io::ErrorKind::NotFound
    ) {
        Class::Refused
    } else if kind == io::ErrorKind::ConnectionReset {
        Class::Reset
    } else if kind == io::ErrorKind::TimedOut {
        Class::TimedOut
    } else {
        Class::Unreachable
    }
}

impl Stream {
    /// Reads what is there, and says how much it is: 0 at the end.
    pub(super) fn poll_read(
        &mut self,
        cx: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        let mut buffer = ReadBuf::new(buffer);
        let done = match self {
            Self::Plain(Plain::Tcp(stream)) => Pin::new(stream).poll_read(cx, &mut buffer),
            Self::Plain(Plain::Unix(stream)) => Pin::new(stream).poll_read(cx, &mut buffer),
            #[cfg(feature = "tls")]
            Self::Tls(stream) => Pin::new(stream).poll_read(cx, &mut buffer),
        };
        ready!(done)?;
        Poll::Ready(Ok(buffer.filled().len()))
    }

    /// Writes what finds room, and says how much it is.
    pub(super) fn poll_write(
        &mut self,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        match self {
            Self::Plain(Plain::Tcp(stream)) => Pin::new(stream).poll_write(cx, bytes),
            Self::Plain(Plain::Unix(stream)) => Pin::new(stream).poll_write(cx, bytes),
            #[cfg(feature = "tls")]
            Self::Tls(stream) => Pin::new(stream).poll_write(cx, bytes),
        }
    }

    /// Sends what TLS has taken and not yet sent; nothing without TLS.
    pub(super) fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Self::Plain(_) => {
                // Nothing is kept back.
                let _ = cx;
                Poll::Ready(Ok(()))
            }
            #[cfg(feature = "tls")]
            Self::Tls(stream) => Pin::new(stream).poll_flush(cx),
        }
    }
}

impl AsyncRead for Plain {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_read(cx, buffer),
            Self::Unix(stream) => Pin::new(stream).poll_read(cx, buffer),
        }
    }
}

impl AsyncWrite for Plain {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_write(cx, bytes),
            Self::Unix(stream) => Pin::new(stream).poll_write(cx, bytes),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_shutdown(cx),
            Self::Unix(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `localhost` has two addresses, and a server may listen at either.
    #[test]
    fn the_address_that_answers_is_found_and_remembered() {
        let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let dead = free.local_addr().unwrap();
        drop(free);
        let server = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let addresses = vec![dead, server.local_addr().unwrap(), dead];
        let place = Place::Tcp(addresses, AtomicUsize::new(0));
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_io()
            .build()
            .unwrap();
        runtime.block_on(place.connect()).unwrap();
        let Place::Tcp(_, last) = &place else {
            unreachable!()
        };
        assert_eq!(last.load(Ordering::Relaxed), 1);
        drop(server);
        let refused = runtime.block_on(place.connect()).unwrap_err();
        assert_eq!(class_of(&refused), Class::Refused);
    }
}

//! What travels with messages: one end of everything, and what flows through it afterwards.

use std::io::{PipeWriter, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::{AsFd as _, AsRawFd as _, OwnedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;

use procession::ipc::Handle;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};

use crate::side::{Failure, Side};

/// What we keep of something that we gave.
#[derive(Debug)]
pub(crate) enum Outside {
    Tcp(TcpStream),
    Unix(UnixStream),
    TcpAt(SocketAddr),
    UnixAt(PathBuf),
    UdpAt(SocketAddr),
    Pipe(PipeWriter),
}

/// What we were given.
#[derive(Debug)]
pub(crate) struct Taken(Handle);

impl Side {
    /// Blocking, all of them: the library must change that.
    pub(crate) fn make(&mut self, kind: &str) -> Result<Handle, Failure> {
        self.made += 1;
        let (handle, outside): (Handle, _) = match kind {
            "tcp" => {
                let listener = TcpListener::bind("127.0.0.1:0")?;
                let outside = TcpStream::connect(listener.local_addr()?)?;
                (listener.accept()?.0.into(), Outside::Tcp(outside))
            }
            "unix" => {
                let (inside, outside) = UnixStream::pair()?;
                (inside.into(), Outside::Unix(outside))
            }
            "tcp-server" => {
                let listener = TcpListener::bind("127.0.0.1:0")?;
                let address = listener.local_addr()?;
                (listener.into(), Outside::TcpAt(address))
            }
            "unix-server" => {
                let name = format!("{}-{}.sock", self.role.name(), self.made);
                let path = self.scratch.join(name);
                let listener = UnixListener::bind(&path)?;
                (listener.into(), Outside::UnixAt(path))
            }
            "udp4" | "udp6" => {
                let host = if kind == "udp4" {
                    "127.0.0.1:0"
                } else {
                    "[::1]:0"
                };
                let socket = UdpSocket::bind(host)?;
                let address = socket.local_addr()?;
                (socket.into(), Outside::UdpAt(address))
            }
            "pipe" => {
                let (reader, writer) = std::io::pipe()?;
                (
                    Handle::try_from(OwnedFd::from(reader))?,
                    Outside::Pipe(writer),
                )
            }
            _ => return Err(format!("no handle of kind {kind}").into()),
        };
        self.outside.push_back(outside);
        Ok(handle)
    }

    /// Keeps what came, if it is that.
    pub(crate) fn keep(&mut self, kind: &str, handle: Option<Handle>) -> Result<(), Failure> {
        let handle = handle.ok_or("a message without its handle")?;
        let fits = matches!(
            (kind, &handle),
            ("tcp", Handle::TcpStream(_))
                | ("unix", Handle::UnixStream(_))
                | ("tcp-server", Handle::TcpListener(_))
                | ("unix-server", Handle::UnixListener(_))
                | ("udp4" | "udp6", Handle::UdpSocket(_))
                | ("pipe", Handle::Pipe(_))
        );
        if !fits {
            return Err(format!("{handle:?} for {kind}").into());
        }
        if blocks(&handle)? {
            return Err("a handle that blocks".into());
        }
        self.taken.push_back(Taken(handle));
        Ok(())
    }
}

/// Asks the kernel, where it tells.
fn blocks(handle: &Handle) -> Result<bool, Failure> {
    const NONBLOCK: u32 = 0o4000;
    let path = format!("/proc/self/fdinfo/{}", handle.as_fd().as_raw_fd());
    let Ok(info) = std::fs::read_to_string(path) else {
        return Ok(false);
    };
    let flags = info.lines().find_map(|line| line.strip_prefix("flags:"));
    let flags = u32::from_str_radix(flags.ok_or("no flags")?.trim(), 8)?;
    Ok(flags & NONBLOCK == 0)
}

impl Taken {
    /// The inner side.
    pub(crate) async fn talk(self) -> Result<(), Failure> {
        match self.0 {
            Handle::TcpStream(stream) => answer(tokio::net::TcpStream::from_std(stream)?).await,
            Handle::UnixStream(stream) => answer(tokio::net::UnixStream::from_std(stream)?).await,
            Handle::TcpListener(listener) => {
                let listener = tokio::net::TcpListener::from_std(listener)?;
                answer(listener.accept().await?.0).await
            }
            Handle::UnixListener(listener) => {
                let listener = tokio::net::UnixListener::from_std(listener)?;
                answer(listener.accept().await?.0).await
            }
            Handle::UdpSocket(socket) => {
                let socket = tokio::net::UdpSocket::from_std(socket)?;
                let mut text = [0; 16];
                let (length, from) = socket.recv_from(&mut text).await?;
                expect(&text[..length], b"ping")?;
                socket.send_to(b"pong", from).await?;
                Ok(())
            }
            Handle::Pipe(fd) => {
                let mut text = [0; 4];
                let mut pipe = tokio::net::unix::pipe::Receiver::from_owned_fd(fd)?;
                pipe.read_exact(&mut text).await?;
                expect(&text, b"ping")
            }
            Handle::TcpBound(_) => Err("it does not listen yet".into()),
            _ => Err("a handle of a later version".into()),
        }
    }
}

impl Outside {
    pub(crate) async fn talk(self) -> Result<(), Failure> {
        match self {
            Self::Tcp(stream) => {
                stream.set_nonblocking(true)?;
                call(tokio::net::TcpStream::from_std(stream)?).await
            }
            Self::Unix(stream) => {
                stream.set_nonblocking(true)?;
                call(tokio::net::UnixStream::from_std(stream)?).await
            }
            Self::TcpAt(address) => call(tokio::net::TcpStream::connect(address).await?).await,
            Self::UnixAt(path) => call(tokio::net::UnixStream::connect(path).await?).await,
            Self::UdpAt(address) => {
                let host = if address.is_ipv4() {
                    "127.0.0.1:0"
                } else {
                    "[::1]:0"
                };
                let socket = tokio::net::UdpSocket::bind(host).await?;
                socket.send_to(b"ping", address).await?;
                let mut text = [0; 16];
                let length = socket.recv(&mut text).await?;
                expect(&text[..length], b"pong")
            }
            Self::Pipe(mut writer) => Ok(writer.write_all(b"ping")?),
        }
    }
}

async fn answer(mut stream: impl AsyncRead + AsyncWrite + Unpin) -> Result<(), Failure> {
    let mut text = [0; 4];
    stream.read_exact(&mut text).await?;
    expect(&text, b"ping")?;
    stream.write_all(b"pong").await?;
    Ok(stream.shutdown().await?)
}

async fn call(mut stream: impl AsyncRead + AsyncWrite + Unpin) -> Result<(), Failure> {
    stream.write_all(b"ping").await?;
    let mut text = [0; 4];
    stream.read_exact(&mut text).await?;
    expect(&text, b"pong")
}

fn expect(text: &[u8], expected: &[u8]) -> Result<(), Failure> {
    if text == expected {
        return Ok(());
    }
    Err(format!("\"{}\" came", text.escape_ascii()).into())
}

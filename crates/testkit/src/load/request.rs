//! One request after the other.

use std::io::{self, ErrorKind, Read as _, Write as _};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use super::answer::{self, Parsed};
use super::{Connection, Failure, Load};

/// An answer longer than this is none of our servers'.
const LONGEST_ANSWER: usize = 16 * 1024 * 1024;

/// One client.
#[derive(Debug)]
pub(super) struct Client<'a> {
    load: &'a Load,
    request: String,
    /// That the server keeps.
    kept: Option<TcpStream>,
}

/// Who answered.
#[derive(Debug)]
pub(super) struct Answered {
    /// 0 when the body has no number.
    pub(super) pid: u32,
    /// Whether it came over a new connection.
    pub(super) connected: bool,
}

/// What went wrong, and who had begun to answer.
type Lost = (Failure, Option<u32>);

impl<'a> Client<'a> {
    pub(super) fn new(load: &'a Load) -> Self {
        let header = match load.connection {
            Connection::Close => "Connection: close\r\n",
            Connection::KeepAlive => "",
        };
        let request = format!(
            "GET {} HTTP/1.1\r\nHost: localhost\r\n{header}\r\n",
            load.path
        );
        Self {
            load,
            request,
            kept: None,
        }
    }

    /// Makes a request and waits for the whole answer.
    pub(super) fn ask(&mut self) -> Result<Answered, Lost> {
        let end = Instant::now() + self.load.limit;
        let kept = self.kept.take();
        let connected = kept.is_none();
        let connection = match kept {
            Some(connection) => connection,
            None => TcpStream::connect_timeout(&self.load.at, self.load.limit)
                .map_err(|error| (of_silence(&error), None))?,
        };
        let mut bytes = Vec::new();
        self.exchange(&connection, end, &mut bytes)
            .map_err(|failure| match (failure, connected, bytes.is_empty()) {
                (Failure::Reset | Failure::Ended, false, true) => Failure::Stale,
                (Failure::Reset | Failure::Ended, _, false) => Failure::Half,
                (failure, ..) => failure,
            })
            .and_then(|answer| {
                if !matches!(answer.status, 200..300) {
                    return Err(Failure::Status(answer.status));
                }
                if answer.kept && self.load.connection == Connection::KeepAlive {
                    self.kept = Some(connection);
                }
                let pid = answer::first_number(&answer.body).unwrap_or(0);
                Ok(Answered { pid, connected })
            })
            .map_err(|failure| (failure, answer::pid_of_half(&bytes)))
    }

    fn exchange(
        &self,
        mut connection: &TcpStream,
        end: Instant,
        bytes: &mut Vec<u8>,
    ) -> Result<answer::Answer, Failure> {
        // Errors of the options show in the exchange itself.
        let _ = connection.set_nodelay(true);
        let _ = connection.set_write_timeout(Some(self.load.limit));
        let sent = connection.write_all(self.request.as_bytes());
        sent.map_err(|error| of_silence(&error))?;
        let mut part = [0; 4096];
        loop {
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() || bytes.len() > LONGEST_ANSWER {
                return Err(Failure::Hung);
            }
            let _ = connection.set_read_timeout(Some(left.max(Duration::from_millis(1))));
            let length = match connection.read(&mut part) {
                Ok(length) => length,
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) => return Err(of_silence(&error)),
            };
            bytes.extend_from_slice(&part[..length]);
            match answer::parse(bytes, length == 0) {
                Parsed::Whole(answer) => return Ok(answer),
                Parsed::NotHttp => return Err(Failure::NotHttp),
                Parsed::Partial { .. } if length == 0 => return Err(Failure::Ended),
                Parsed::Partial { .. } => {}
            }
        }
    }
}

/// What an error means when nothing was answered yet.
fn of_silence(error: &io::Error) -> Failure {
    let kind = error.kind();
    if kind == ErrorKind::ConnectionRefused {
        Failure::Refused
    } else if matches!(kind, ErrorKind::ConnectionReset | ErrorKind::BrokenPipe) {
        Failure::Reset
    } else if matches!(kind, ErrorKind::TimedOut | ErrorKind::WouldBlock) {
        Failure::Hung
    } else {
        Failure::Other(error.raw_os_error().unwrap_or(0))
    }
}

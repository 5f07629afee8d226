//! Loads an HTTP/1.1 server and tells the truth about it.
//!
//! A [`Spec`] says what to ask of whom, [`start`] begins, a [`Running`] tells how
//! it goes, and the [`Report`] keeps apart what others add up: who was refused,
//! who was cut off, who got half an answer, who was never answered.
//!
//! ```
//! # use std::io::{Read as _, Write as _};
//! # let server = std::net::TcpListener::bind("127.0.0.1:0")?;
//! # let url = format!("http://{}/", server.local_addr()?);
//! # let server = std::thread::spawn(move || {
//! #     let (mut client, _) = server.accept()?;
//! #     while client.read(&mut [0; 1024])? > 0 {
//! #         client.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")?;
//! #     }
//! #     std::io::Result::Ok(())
//! # });
//! use procession_load::{Spec, Target, Until, start};
//!
//! let mut spec = Spec::new(Target::parse(&url)?);
//! spec.connections = 1;
//! spec.until = Until::Requests(100.try_into()?);
//! let report = start(spec)?.report_blocking();
//! assert_eq!((report.answers, report.lost()), (100, 0));
//! # server.join().unwrap()?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! What decides (the reader of answers, the schedule, the tally) does no I/O
//! and reads no clock; `drive` does both.
#![forbid(unsafe_code)]

mod drive;
mod error;
mod histogram;
mod http1;
mod json;
mod probe;
mod report;
mod running;
mod schedule;
mod spec;
mod spread;
mod tally;
mod target;
#[cfg(feature = "tls")]
mod tls;

pub use drive::Event;
pub use error::{ProbeError, StartError, TlsError};
pub use histogram::Histogram;
pub use http1::BadRequest;
pub use json::json;
pub use probe::probe;
pub use report::{Class, Client, Limit, Report, Sample, Seen};
pub use running::{Running, start};
pub use spec::{Keep, Protocol, Rate, Request, Spec, Tls, Until, Warmup};
pub use spread::Spread;
pub use target::{BadUrl, Target, Via};

//! What procession decides, without I/O, clock, threads or `unsafe`.
//!
//! Every machine here takes events and the time and answers with actions and
//! deadlines; drivers in `procession` read, write, wait and carry out. So one
//! implementation serves async and blocking callers, and its tests need no
//! process and no sleep:
//!
//! * [`lifecycle`]: when a child is asked to end, when it is killed, when it is gone;
//! * [`order`]: in which order its events are told (Node's);
//! * [`capture`]: what is kept of its output, and when there is too much;
//! * [`lines`]: where its lines end;
//! * [`ipc`]: Node's channel: frames, messages, handles;
//! * [`cluster`]: a primary and its workers;
//! * [`pool`]: which worker runs which task;
//! * [`signal`] and [`errno`]: names and numbers as data.
#![forbid(unsafe_code)]

pub mod capture;
pub mod cluster;
pub mod errno;
pub mod ipc;
pub mod lifecycle;
pub mod lines;
pub mod order;
pub mod pool;
pub mod signal;

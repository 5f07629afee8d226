//! A message there and back through a pair of ports, beside crossbeam's and tokio's channels.

use std::thread;

use procession::worker_threads::{MessageChannel, MessagePort};
use tokio::sync::mpsc;

use super::Failure;
use super::measure::{Clock, Job, Round, Task};

/// As many as a port has room for.
const ROOM: usize = 1024;

/// One end of a way there and a way back.
trait End: Send + 'static {
    fn send(&mut self, message: u64) -> Result<(), Failure>;
    fn receive(&mut self) -> Option<u64>;
}

impl End for MessagePort<u64, u64> {
    fn send(&mut self, message: u64) -> Result<(), Failure> {
        Ok(self.post_blocking(message)?)
    }

    fn receive(&mut self) -> Option<u64> {
        self.recv_blocking()
    }
}

struct Crossbeam {
    tx: crossbeam_channel::Sender<u64>,
    rx: crossbeam_channel::Receiver<u64>,
}

impl End for Crossbeam {
    fn send(&mut self, message: u64) -> Result<(), Failure> {
        Ok(self.tx.send(message)?)
    }

    fn receive(&mut self) -> Option<u64> {
        self.rx.recv().ok()
    }
}

struct Tokio {
    tx: mpsc::Sender<u64>,
    rx: mpsc::Receiver<u64>,
}

impl End for Tokio {
    fn send(&mut self, message: u64) -> Result<(), Failure> {
        Ok(self.tx.blocking_send(message)?)
    }

    fn receive(&mut self) -> Option<u64> {
        self.rx.blocking_recv()
    }
}

pub(crate) fn round(job: &Job) -> Result<Round, Failure> {
    match job.contender.as_str() {
        "ours" => {
            let MessageChannel { port1, port2 } = MessageChannel::new();
            exchange(job, port1, port2)
        }
        "crossbeam" => {
            let (there, at_there) = crossbeam_channel::bounded(ROOM);
            let (back, at_back) = crossbeam_channel::bounded(ROOM);
            let here = Crossbeam {
                tx: there,
                rx: at_back,
            };
            let far = Crossbeam {
                tx: back,
                rx: at_there,
            };
            exchange(job, here, far)
        }
        "tokio" => {
            let (there, at_there) = mpsc::channel(ROOM);
            let (back, at_back) = mpsc::channel(ROOM);
            let here = Tokio {
                tx: there,
                rx: at_back,
            };
            let far = Tokio {
                tx: back,
                rx: at_there,
            };
            exchange(job, here, far)
        }
        other => Err(format!("{other} is no channel").into()),
    }
}

fn exchange<E: End>(job: &Job, mut here: E, mut far: E) -> Result<Round, Failure> {
    if job.task == Task::PortAlone {
        let mut run = |count: u32| {
            for number in 0..u64::from(count) {
                here.send(number)?;
                let there = far.receive().ok_or("closed")?;
                far.send(there)?;
                is_same(here.receive(), number)?;
            }
            Ok::<(), Failure>(())
        };
        run(job.warm_up())?;
        let clock = Clock::start();
        run(job.count)?;
        return Ok(clock.stop(job.count));
    }
    let peer = thread::spawn(move || {
        while let Some(message) = far.receive() {
            if far.send(message).is_err() {
                break;
            }
        }
    });
    let mut run = |count: u32| {
        for number in 0..u64::from(count) {
            here.send(number)?;
            is_same(here.receive(), number)?;
        }
        Ok::<(), Failure>(())
    };
    run(job.warm_up())?;
    let clock = Clock::start();
    run(job.count)?;
    let round = clock.stop(job.count);
    drop(here);
    peer.join().map_err(|_panic| "the peer panicked")?;
    Ok(round)
}

fn is_same(seen: Option<u64>, sent: u64) -> Result<(), Failure> {
    if seen == Some(sent) {
        Ok(())
    } else {
        Err("a message came back as another".into())
    }
}

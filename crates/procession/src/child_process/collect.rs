//! Reads a child's outputs and feeds its input, all at once, so that no full
//! pipe can block another.

use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::Poll;
use std::thread;

use bytes::Bytes;
use tokio::io::AsyncWriteExt;
use tokio::sync::{mpsc, oneshot};

use super::pipes::{ChildDuplex, ChildOutput, ChildStdin, MOST_IN_PIPE};
use super::sink::{Sink, Taken, write_to_all};

/// Chunks that may wait for a slow target of a tee; then the child waits.
const TEE_QUEUE: usize = 16;

/// One stream that is read.
#[derive(Debug)]
pub(super) enum Source {
    Output(ChildOutput),
    Duplex(ChildDuplex),
}

impl Source {
    async fn read_some(&mut self, buffer: &mut Vec<u8>) -> io::Result<usize> {
        match self {
            Self::Output(output) => output.read_some(buffer).await,
            Self::Duplex(duplex) => duplex.read_some(buffer).await,
        }
    }

    fn read_now(&mut self, buffer: &mut Vec<u8>) -> io::Result<Option<usize>> {
        match self {
            Self::Output(output) => output.read_now(buffer),
            Self::Duplex(duplex) => duplex.read_now(buffer),
        }
    }
}

/// A stream with the place its bytes go to.
#[derive(Debug)]
pub(super) struct Stream {
    pub(super) source: Source,
    pub(super) sink: Sink,
    tee: Option<Tee>,
    ended: bool,
}

/// What collecting needs to tell somebody at once.
pub(super) type Overrun = (u32, usize);

impl Stream {
    pub(super) fn new(source: Source, sink: Sink) -> Self {
        let tee = Tee::start(&sink);
        Self {
            source,
            sink,
            tee,
            ended: false,
        }
    }

    /// Reads to the end.
    ///
    /// Cancel safe: what was read is in the sink, and in the tee or on its way there.
    async fn pump(&mut self, overruns: &mpsc::Sender<Overrun>) -> io::Result<()> {
        if let Some(tee) = &mut self.tee {
            tee.flush().await;
        }
        while !self.ended {
            let count = self.source.read_some(self.sink.buffer()).await?;
            let taken = self.took(count)?;
            self.pass_on(taken, overruns).await?;
        }
        match &mut self.tee {
            Some(tee) => tee.finish().await,
            None => Ok(()),
        }
    }

    /// Whether all was read and passed on.
    fn is_done(&self) -> bool {
        self.ended && self.tee.as_ref().is_none_or(Tee::is_finished)
    }

    fn took(&mut self, count: usize) -> io::Result<Taken> {
        self.ended = count == 0;
        if self.ended {
            self.sink.finish()
        } else {
            self.sink.take(count)
        }
    }

    async fn pass_on(&mut self, taken: Taken, overruns: &mpsc::Sender<Overrun>) -> io::Result<()> {
        if taken.overrun {
            // Full: somebody has already been told.
            let _ = overruns.try_send((self.sink.index, self.sink.limit()));
        }
        match (&mut self.tee, taken.pass_on) {
            (Some(tee), Some(bytes)) => tee.send(bytes).await,
            _ => Ok(()),
        }
    }

    /// Takes what is in the pipe now; what a child wrote before its end is never lost.
    async fn last_look(&mut self, overruns: &mpsc::Sender<Overrun>) -> io::Result<()> {
        if let Some(tee) = &mut self.tee {
            tee.flush().await;
        }
        let mut seen = 0;
        // A descendant may fill it as fast as we read: one pipe's worth is the child's.
        while !self.ended && seen < MOST_IN_PIPE {
            let Some(count) = self.source.read_now(self.sink.buffer())? else {
                break;
            };
            seen += count;
            let taken = self.took(count)?;
            self.pass_on(taken, overruns).await?;
        }
        match &mut self.tee {
            Some(tee) => tee.finish().await,
            None => Ok(()),
        }
    }
}

/// All streams of one child.
#[derive(Debug, Default)]
pub(super) struct Collector {
    pub(super) streams: Vec<Stream>,
    pub(super) inputs: Vec<(ChildStdin, Bytes)>,
}

type Pump<'s> = Pin<Box<dyn Future<Output = io::Result<()>> + Send + 's>>;

impl Collector {
    /// Runs until every stream has ended and the inputs are fed, or the child has closed them.
    ///
    /// Cancel safe: what was read is in the sinks. The inputs are not taken up
    /// again: a second call, after the child's end, only reads.
    pub(super) async fn run(&mut self, overruns: &mpsc::Sender<Overrun>) -> io::Result<()> {
        let inputs = std::mem::take(&mut self.inputs).into_iter();
        let feeding = inputs.map(|input| Box::pin(feed(input)) as _);
        let reading = self.streams.iter_mut().filter(|stream| !stream.is_done());
        let mut pumps: Vec<Pump<'_>> = reading
            .map(|stream| Box::pin(stream.pump(overruns)) as _)
            .chain(feeding)
            .collect();
        poll_fn(|cx| {
            let mut failure = None;
            pumps.retain_mut(|pump| match pump.as_mut().poll(cx) {
                Poll::Pending => true,
                Poll::Ready(Ok(())) => false,
                Poll::Ready(Err(error)) => {
                    failure = Some(error);
                    false
                }
            });
            match failure {
                Some(error) => Poll::Ready(Err(error)),
                None if pumps.is_empty() => Poll::Ready(Ok(())),
                None => Poll::Pending,
            }
        })
        .await
    }

    /// Takes what is there now, and says which streams something still holds open.
    pub(super) async fn last_look(
        &mut self,
        overruns: &mpsc::Sender<Overrun>,
    ) -> io::Result<Vec<u32>> {
        for stream in self.streams.iter_mut().filter(|stream| !stream.is_done()) {
            stream.last_look(overruns).await?;
        }
        Ok(self
            .streams
            .iter()
            .filter(|s| !s.ended)
            .map(|s| s.sink.index)
            .collect())
    }
}

async fn feed((mut stdin, bytes): (ChildStdin, Bytes)) -> io::Result<()> {
    match stdin.write_all(&bytes).await {
        // A child need not read all of its input.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        result => result,
    }
}

/// A thread that writes to the targets of a tee: a slow terminal blocks nobody else.
#[derive(Debug)]
struct Tee {
    chunks: Option<mpsc::Sender<Bytes>>,
    /// A chunk that waits for room in the queue.
    unsent: Option<Bytes>,
    done: Option<oneshot::Receiver<io::Result<()>>>,
}

impl Tee {
    fn start(sink: &Sink) -> Option<Self> {
        if sink.targets().is_empty() {
            return None;
        }
        let targets = sink.targets().to_vec();
        let (chunks, mut arriving) = mpsc::channel::<Bytes>(TEE_QUEUE);
        let (finished, done) = oneshot::channel();
        let finished = Arc::new(Mutex::new(Some(finished)));
        let answer = Arc::clone(&finished);
        let run = move || {
            let mut result = Ok(());
            while let Some(chunk) = arriving.blocking_recv() {
                result = write_to_all(&targets, &chunk);
                if result.is_err() {
                    break;
                }
            }
            tell(&answer, result);
        };
        let thread = thread::Builder::new().name("procession-tee".into());
        if let Err(error) = thread.stack_size(64 * 1024).spawn(run) {
            tell(&finished, Err(error));
        }
        Some(Self {
            chunks: Some(chunks),
            unsent: None,
            done: Some(done),
        })
    }

    /// Sends a chunk; nothing may be waiting.
    ///
    /// Cancel safe: the chunk goes on waiting for room.
    async fn send(&mut self, chunk: Bytes) -> io::Result<()> {
        self.unsent = Some(chunk);
        self.flush().await;
        match &self.chunks {
            Some(_) => Ok(()),
            None => self.finish().await,
        }
    }

    /// Sends what waits; a thread that is gone has left its reason for [`Tee::finish`].
    async fn flush(&mut self) {
        let (Some(chunks), Some(_)) = (&self.chunks, &self.unsent) else {
            return;
        };
        let sent = match chunks.reserve().await {
            Ok(room) => self.unsent.take().map(|chunk| room.send(chunk)),
            Err(_) => None,
        };
        if sent.is_none() {
            self.chunks = None;
        }
    }

    fn is_finished(&self) -> bool {
        self.done.is_none()
    }

    /// Waits until everything is written; gives the first error, once.
    async fn finish(&mut self) -> io::Result<()> {
        self.flush().await;
        self.chunks = None;
        match &mut self.done {
            Some(done) => {
                let result = done.await.unwrap_or(Ok(()));
                self.done = None;
                result
            }
            None => Ok(()),
        }
    }
}

type Answer = Arc<Mutex<Option<oneshot::Sender<io::Result<()>>>>>;

fn tell(answer: &Answer, result: io::Result<()>) {
    if let Some(answer) = answer.lock().unwrap_or_else(PoisonError::into_inner).take() {
        // The collector may have been dropped.
        let _ = answer.send(result);
    }
}

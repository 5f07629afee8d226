//! Asking a cluster for something.

use serde::Serialize;
use tokio::sync::{mpsc, oneshot};

use procession_core::cluster::WorkerId;
use procession_core::signal::Signal;

use super::error::ControlError;
use super::status::Status;
use crate::ipc::{Handle, SendError, Sender};

/// Requests that may wait for the primary's task.
const QUEUE: usize = 64;

/// A cluster, to be asked for something; clones ask the same one.
#[derive(Clone, Debug)]
pub struct Control {
    requests: mpsc::Sender<Request>,
}

/// What a primary is asked.
#[derive(Debug)]
pub(super) enum Request {
    Scale(u32),
    Add(i64),
    Stop,
    Kill,
    Retire(WorkerId),
    Restart(WorkerId),
    Signal(WorkerId, Signal, oneshot::Sender<bool>),
    Channel(WorkerId, oneshot::Sender<Option<Sender>>),
    Status(oneshot::Sender<Status>),
}

impl Control {
    pub(super) fn new() -> (Self, mpsc::Receiver<Request>) {
        let (requests, receiver) = mpsc::channel(QUEUE);
        (Self { requests }, receiver)
    }

    async fn ask(&self, request: Request) -> Result<(), ControlError> {
        let sent = self.requests.send(request).await;
        sent.map_err(|_| ControlError::Over)
    }

    /// There are to be so many workers.
    ///
    /// # Errors
    ///
    /// [`ControlError::Over`].
    ///
    /// # Cancel safety
    ///
    /// All of these: a dropped request was not made, or is carried out.
    pub async fn scale(&self, workers: u32) -> Result<(), ControlError> {
        self.ask(Request::Scale(workers)).await
    }

    /// There are to be so many more workers, or fewer; at least one.
    ///
    /// # Errors
    ///
    /// [`ControlError::Over`].
    pub async fn add(&self, workers: i64) -> Result<(), ControlError> {
        self.ask(Request::Add(workers)).await
    }

    /// Stops everything: no new connections, what is queued is still served, then
    /// each worker by [`Spec::stop`](super::Spec::stop). A second call kills.
    /// [`Event::Over`](super::Event::Over) tells when nobody is left and the ports are free.
    ///
    /// # Errors
    ///
    /// [`ControlError::Over`].
    ///
    /// # Node
    ///
    /// `cluster.disconnect`, which has no deadline.
    pub async fn stop(&self) -> Result<(), ControlError> {
        self.ask(Request::Stop).await
    }

    /// Kills all workers and their trees.
    ///
    /// # Errors
    ///
    /// [`ControlError::Over`].
    pub async fn kill(&self) -> Result<(), ControlError> {
        self.ask(Request::Kill).await
    }

    /// Stops one worker, which is not replaced: there is to be one fewer. The cluster
    /// goes on without any, and can grow again.
    ///
    /// # Errors
    ///
    /// [`ControlError::Over`].
    ///
    /// # Node
    ///
    /// `worker.disconnect`, with a deadline.
    pub async fn disconnect(&self, worker: WorkerId) -> Result<(), ControlError> {
        self.ask(Request::Retire(worker)).await
    }

    /// Stops one worker; another takes its place.
    ///
    /// # Errors
    ///
    /// [`ControlError::Over`].
    pub async fn restart(&self, worker: WorkerId) -> Result<(), ControlError> {
        self.ask(Request::Restart(worker)).await
    }

    /// Sends a signal to one worker's process; `false` when it is gone.
    ///
    /// # Errors
    ///
    /// [`ControlError::Over`].
    ///
    /// # Node
    ///
    /// `worker.kill`.
    pub async fn signal(&self, worker: WorkerId, signal: Signal) -> Result<bool, ControlError> {
        let (answer, answered) = oneshot::channel();
        self.ask(Request::Signal(worker, signal, answer)).await?;
        answered.await.map_err(|_| ControlError::Over)
    }

    /// Sends a message to a worker.
    ///
    /// # Errors
    ///
    /// [`ControlError`].
    ///
    /// # Node
    ///
    /// `worker.send`.
    pub async fn send<T: Serialize + ?Sized>(
        &self,
        worker: WorkerId,
        message: &T,
    ) -> Result<(), ControlError> {
        let sent = self.channel(worker).await?.send(message).await;
        sent.map_err(|source| failed(worker, source))
    }

    /// Sends a message with a handle to a worker, and waits until it has it.
    ///
    /// # Errors
    ///
    /// [`ControlError::Send`]; [`ControlError::into_handle`] is the handle, still open.
    pub async fn send_with_handle<T: Serialize + ?Sized>(
        &self,
        worker: WorkerId,
        message: &T,
        handle: impl Into<Handle>,
    ) -> Result<(), ControlError> {
        let handle = handle.into();
        let sent = match self.channel(worker).await {
            Ok(channel) => channel.send_with_handle(message, handle).await,
            // As good as closed, and the handle must not be lost.
            Err(gone) => Err(SendError::Closed {
                peer: format!("worker {worker} ({gone})"),
                handle: Some(handle),
            }),
        };
        sent.map_err(|source| failed(worker, source))
    }

    /// The sending half of a worker's channel.
    ///
    /// # Errors
    ///
    /// [`ControlError`]. It must not be kept longer than the worker: it keeps the channel open.
    pub async fn channel(&self, worker: WorkerId) -> Result<Sender, ControlError> {
        let (answer, answered) = oneshot::channel();
        self.ask(Request::Channel(worker, answer)).await?;
        let channel = answered.await.map_err(|_| ControlError::Over)?;
        channel.ok_or(ControlError::NoWorker(worker))
    }

    /// How things stand.
    ///
    /// # Errors
    ///
    /// [`ControlError::Over`].
    pub async fn status(&self) -> Result<Status, ControlError> {
        let (answer, answered) = oneshot::channel();
        self.ask(Request::Status(answer)).await?;
        answered.await.map_err(|_| ControlError::Over)
    }
}

fn failed(worker: WorkerId, source: SendError) -> ControlError {
    ControlError::Send {
        worker,
        source: Box::new(source),
    }
}

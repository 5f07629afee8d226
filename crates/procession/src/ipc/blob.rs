//! Bytes that processes share instead of copying them through a channel.

use std::fmt;
use std::io::{self, BufWriter, Write};
use std::ops::Deref;
use std::os::fd::AsFd as _;
use std::sync::Arc;

use bytes::Bytes;
use procession_sys::{ForeignMemoryError, SealedBytes, SealedBytesWriter};
use serde::Serialize;

use super::envelope::{self, Content};
use super::{Handle, Message, SendError, Sender};

/// How much is gathered before it is written.
const GATHERED: usize = 64 * 1024;

/// Bytes that were written once, and that any number of processes read where they are.
///
/// It travels with a message as a handle: to send 64 MiB costs what 64 bytes do.
/// Each costs some ten calls of the kernel, a descriptor and a mapping, so small
/// values are better off in a message. A clone is the same bytes. The memory is
/// free when the last process that has it is gone.
///
/// The other side needs no trust: the kernel has sealed the bytes, so nobody,
/// whoever made them, can change them or take them away any more, and a
/// descriptor without these seals is [refused](MemoryError).
///
/// # Platform
///
/// Without seals (the portable side), what comes from another process is copied.
///
/// # Node
///
/// `Blob`, which travels between threads only.
///
/// # Examples
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use procession::ipc::{Blob, Channel, Serialization};
///
/// let (ours, mut theirs) = Channel::pair(Serialization::Json)?;
/// let blob = Blob::new(&vec![7; 1_000_000])?;
/// let (sent, received) = tokio::join!(ours.tx.send_with_blob("picture", &blob), theirs.rx.recv());
/// sent?;
/// let mut message = received?.ok_or("closed")?;
/// let same = message.take_blob(2_000_000)?.ok_or("no blob")?;
/// assert_eq!(same.len(), 1_000_000);
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Blob(Arc<SealedBytes>);

impl Blob {
    /// Copies bytes into memory that can be shared.
    ///
    /// # Errors
    ///
    /// `ENOMEM`, `ENOSPC`, `EMFILE`, `ENFILE`.
    pub fn new(bytes: &[u8]) -> io::Result<Self> {
        let mut writer = SealedBytesWriter::new()?;
        writer.write_all(bytes)?;
        Ok(Self(Arc::new(writer.finish()?)))
    }

    /// Writes them piece by piece, without a copy elsewhere.
    ///
    /// # Errors
    ///
    /// `EMFILE`, `ENFILE`, `ENOMEM`.
    pub fn writer() -> io::Result<BlobWriter> {
        let writer = SealedBytesWriter::new()?;
        Ok(BlobWriter(BufWriter::with_capacity(GATHERED, writer)))
    }

    /// Something that travels with a message, to be made a blob again by
    /// [`Blob::from_handle`] there. Only for programs of procession.
    ///
    /// # Errors
    ///
    /// `EMFILE`, `ENFILE`.
    pub fn to_handle(&self) -> io::Result<Handle> {
        envelope::seal(Content::Blob, self.0.as_fd())
    }

    /// What came as a handle, if it is a blob of at most so many bytes. Never waits.
    ///
    /// # Errors
    ///
    /// [`MemoryError`].
    pub fn from_handle(handle: Handle, most: usize) -> Result<Self, MemoryError> {
        let fd = envelope::open(Content::Blob, handle).map_err(|handle| MemoryError::Other {
            wanted: "blob",
            handle,
        })?;
        Ok(Self(Arc::new(SealedBytes::from_fd(fd, most)?)))
    }
}

impl Deref for Blob {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        self.0.as_slice()
    }
}

impl AsRef<[u8]> for Blob {
    fn as_ref(&self) -> &[u8] {
        self
    }
}

/// Without a copy.
impl From<Blob> for Bytes {
    fn from(blob: Blob) -> Self {
        Self::from_owner(blob)
    }
}

impl fmt::Debug for Blob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Blob")
            .field("bytes", &self.len())
            .finish_non_exhaustive()
    }
}

/// Writes a [`Blob`].
#[derive(Debug)]
pub struct BlobWriter(BufWriter<SealedBytesWriter>);

impl BlobWriter {
    /// The blob of all that was written.
    ///
    /// # Errors
    ///
    /// `ENOMEM`, `ENOSPC`.
    pub fn finish(self) -> io::Result<Blob> {
        let writer = self
            .0
            .into_inner()
            .map_err(io::IntoInnerError::into_error)?;
        Ok(Blob(Arc::new(writer.finish()?)))
    }
}

impl Write for BlobWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

/// What came as a handle is not the memory that was expected.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MemoryError {
    /// It is something else, and comes back as it was.
    #[error("the handle is no {wanted}")]
    Other {
        /// `blob`, `shared array buffer`.
        wanted: &'static str,
        /// The handle.
        handle: Handle,
    },
    /// It is not sealed, too large, or no memory at all.
    #[error(transparent)]
    Foreign(#[from] ForeignMemoryError),
}

impl Sender {
    /// Sends a message with a blob, and waits until the peer has it. Ours stays.
    ///
    /// The peer has to be a program of procession, which takes it by [`Message::take_blob`].
    ///
    /// # Errors
    ///
    /// [`SendError`]; [`SendError::Handle`] if there is no descriptor left to send it by.
    ///
    /// # Cancel safety
    ///
    /// As [`Sender::send_with_handle`].
    pub async fn send_with_blob<T: Serialize + ?Sized>(
        &self,
        message: &T,
        blob: &Blob,
    ) -> Result<(), SendError> {
        let handle = blob.to_handle().map_err(|source| SendError::Handle {
            peer: self.shared.peer.clone(),
            source,
        })?;
        self.send_with_handle(message, handle).await
    }
}

impl Message {
    /// Takes the blob that travelled with it, of at most so many bytes; `None` if nothing did.
    ///
    /// # Errors
    ///
    /// [`MemoryError`].
    pub fn take_blob(&mut self, most: usize) -> Result<Option<Blob>, MemoryError> {
        self.take_handle()
            .map(|handle| Blob::from_handle(handle, most))
            .transpose()
    }
}

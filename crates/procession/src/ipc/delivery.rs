//! A handle that is sent without waiting for anything.

use serde::Serialize;

use super::Handle;
use super::Sender;
use super::error::SendError;
use super::message;
use super::shared::{NotSent, Receipt};

/// A handle that is on its way, which dropping this does not change.
///
/// Like a clone of the [`Sender`], it keeps the channel open.
#[derive(Debug)]
pub struct Delivery {
    sender: Sender,
    answer: Receipt,
}

impl Delivery {
    /// Waits until the peer has the handle. Ours is closed then.
    ///
    /// # Errors
    ///
    /// [`SendError::NotReceived`] and [`SendError::Closed`], with the handle.
    ///
    /// # Cancel safety
    ///
    /// When the future is dropped the handle may still arrive.
    pub async fn received(self) -> Result<(), SendError> {
        self.sender.delivered(self.answer).await
    }
}

impl Sender {
    /// Sends a message with a handle if there is room for it, and waits for nothing:
    /// [`Delivery::received`] does.
    ///
    /// ```
    /// # tokio::runtime::Runtime::new()?.block_on(async {
    /// use procession::ipc::{Channel, Serialization};
    ///
    /// let (one, mut other) = Channel::pair(Serialization::Json)?;
    /// let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
    /// let delivery = one.tx.try_send_with_handle("serve this", listener)?;
    /// let message = other.rx.recv().await?.ok_or("closed")?;
    /// assert!(message.handle().is_some());
    /// delivery.received().await?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// # })?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// As [`Sender::try_send`]; the handle comes back in all.
    pub fn try_send_with_handle<T: Serialize + ?Sized>(
        &self,
        message: &T,
        handle: impl Into<Handle>,
    ) -> Result<Delivery, SendError> {
        let handle = handle.into();
        let made = message::hand_over_frame(self.shared.serialization, message, &handle);
        let (kind, frame) = match made {
            Ok(made) => made,
            Err(source) => return Err(self.cannot_encode(source, Some(handle))),
        };
        let pushed = self.shared.push_handle(&kind, frame, handle.into_fd());
        match pushed.map_err(|(why, _)| why) {
            Ok(answer) => Ok(Delivery {
                sender: self.clone(),
                answer,
            }),
            Err(NotSent::Full(back)) => Err(self.full(back.and_then(|fd| Handle::of(fd).ok()))),
            Err(NotSent::Closed(back)) => Err(self.closed(back.and_then(|fd| Handle::of(fd).ok()))),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::super::{Channel, Limits, Serialization};
    use super::*;

    fn listener() -> TcpListener {
        TcpListener::bind("127.0.0.1:0").unwrap()
    }

    fn pair() -> (Channel, Channel) {
        let (one, other) = procession_sys::channel_pair().unwrap();
        let mut limits = Limits::default();
        limits.max_queue = 256 * 1024;
        let end = |fd| Channel::new(fd, Serialization::Json, limits, "it".into()).unwrap();
        (end(one), end(other))
    }

    #[tokio::test]
    async fn what_has_no_room_comes_back_open() {
        let (one, mut other) = pair();
        let much = "x".repeat(100 * 1024);
        let mut sent = 0;
        // Nobody receives at the other side.
        while one.tx.try_send(&much).is_ok() {
            tokio::task::yield_now().await;
            sent += 1;
        }
        let port = listener();
        let at = port.local_addr().unwrap();
        let error = one.tx.try_send_with_handle(&much, port).unwrap_err();
        assert!(matches!(error, SendError::Full { .. }), "{error:?}");
        let Some(Handle::TcpListener(port)) = error.into_handle() else {
            panic!("it comes back")
        };
        assert_eq!(port.local_addr().unwrap(), at);
        for _ in 0..sent {
            assert!(other.rx.recv().await.unwrap().is_some());
        }
        let delivery = one.tx.try_send_with_handle("now", port).unwrap();
        let message = other.rx.recv().await.unwrap().unwrap();
        assert!(message.handle.is_some());
        delivery.received().await.unwrap();
    }

    #[tokio::test]
    async fn what_nobody_will_take_comes_back_open() {
        let (one, other) = pair();
        let delivery = one.tx.try_send_with_handle("?", listener()).unwrap();
        drop(other);
        let error = delivery.received().await.unwrap_err();
        assert!(error.into_handle().is_some());
        let error = one.tx.try_send_with_handle("?", listener()).unwrap_err();
        assert!(matches!(error, SendError::Closed { .. }), "{error:?}");
        assert!(error.into_handle().is_some());
    }
}

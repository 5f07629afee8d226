//! Bytes that are too many to be copied through a channel.

use std::cell::RefCell;
use std::fmt;
use std::io::{self, Write};
use std::ops::Deref;

use bytes::Bytes;
use serde::de::{self, Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde::ser::{Error as _, Serialize, SerializeMap, Serializer};

use crate::ipc::{Blob, BlobWriter, Serialization};

/// From so many bytes on, they are shared instead of sent: that costs some 0.1 ms,
/// whatever their number.
const LARGE: usize = 64 * 1024;

/// The same where bytes are a list of numbers, which is long in coming.
const LARGE_IN_JSON: usize = 2 * 1024;

/// The most that is taken from the other side: what it has made is there already.
pub(super) const MOST: usize = isize::MAX as usize;

/// What stands for shared bytes in a message: where they begin, and how many they are.
const PLACE: &str = "procession:payload";

/// What Node's `Buffer` is in JSON: `{"type":"Buffer","data":[…]}`.
const DATA: &str = "data";

/// The most of a message's numbers that room is made for in advance.
const TRUSTED: usize = 64 * 1024;

/// Bytes in a task or in a result, wherever in it they are.
///
/// Over threads they are moved. Between processes of procession all large
/// payloads of a message travel in one [`Blob`]: they are copied once, into
/// memory that the other side reads where it is, and that is free when the last
/// payload of the message is dropped. Large is from 64 KiB on, in JSON from
/// 2 KiB on. Smaller ones, and those for Node, travel in the message. A clone
/// is the same bytes.
///
/// ```
/// # tokio::runtime::Builder::new_current_thread().build()?.block_on(async {
/// use procession::pool::{Limits, Payload, Pool};
///
/// let pool = Pool::threads(Limits::new(1..=1), |picture: Payload| {
///     picture.iter().map(|byte| u64::from(*byte)).sum::<u64>()
/// })?;
/// assert_eq!(pool.run(Payload::from(vec![1; 1_000_000])).await?, 1_000_000);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Payload(Bytes);

impl Deref for Payload {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.0
    }
}

impl From<Vec<u8>> for Payload {
    fn from(bytes: Vec<u8>) -> Self {
        Self(bytes.into())
    }
}

impl From<Bytes> for Payload {
    fn from(bytes: Bytes) -> Self {
        Self(bytes)
    }
}

impl From<Payload> for Bytes {
    fn from(payload: Payload) -> Self {
        payload.0
    }
}

impl fmt::Debug for Payload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Payload")
            .field("bytes", &self.len())
            .finish()
    }
}

thread_local! {
    /// The payloads of the message that is being written, if they may be shared.
    static OUT: RefCell<Option<Outgoing>> = const { RefCell::new(None) };
    /// Those of the message that is being read.
    static IN: RefCell<Incoming> = const { RefCell::new(Incoming::NONE) };
}

struct Outgoing {
    large: usize,
    writer: Option<BlobWriter>,
    length: usize,
}

struct Incoming {
    bytes: Option<Bytes>,
    /// They were looked for in vain.
    is_missing: bool,
}

impl Incoming {
    const NONE: Self = Self {
        bytes: None,
        is_missing: false,
    };
}

impl Outgoing {
    /// Copies bytes to where they are shared; `None` if they have to be sent.
    fn put(&mut self, bytes: &[u8]) -> Option<Result<usize, String>> {
        if self.writer.is_none() {
            // Without a descriptor for it, they are sent.
            self.writer = Some(Blob::writer().ok()?);
        }
        let start = self.length;
        self.length += bytes.len();
        let written = self.writer.as_mut()?.write_all(bytes);
        Some(
            written.map(|()| start).map_err(|error| {
                format!("there is no memory to share {} bytes: {error}", bytes.len())
            }),
        )
    }
}

/// Writes a message, with what its large payloads are in.
///
/// # Errors
///
/// `ENOMEM`, `ENOSPC`.
pub(super) fn write<X>(
    serialization: Serialization,
    encode: impl FnOnce() -> X,
) -> io::Result<(X, Option<Blob>)> {
    /// Even if a user's code panics.
    struct Reset;
    impl Drop for Reset {
        fn drop(&mut self) {
            OUT.set(None);
        }
    }
    OUT.set(Some(Outgoing {
        large: match serialization {
            Serialization::Json => LARGE_IN_JSON,
            Serialization::Advanced => LARGE,
        },
        writer: None,
        length: 0,
    }));
    let reset = Reset;
    let written = encode();
    let outgoing = OUT.take();
    drop(reset);
    let writer = outgoing.and_then(|outgoing| outgoing.writer);
    Ok((written, writer.map(BlobWriter::finish).transpose()?))
}

/// Whether the message that is being written has large payloads.
pub(super) fn is_shared() -> bool {
    OUT.with_borrow(|outgoing| outgoing.as_ref().is_some_and(|it| it.writer.is_some()))
}

/// Reads a message, with what its large payloads are in; says whether that is missing.
pub(super) fn read<X>(blob: Option<Blob>, decode: impl FnOnce() -> X) -> (X, bool) {
    struct Reset;
    impl Drop for Reset {
        fn drop(&mut self) {
            IN.set(Incoming::NONE);
        }
    }
    IN.set(Incoming {
        bytes: blob.map(Bytes::from),
        is_missing: false,
    });
    let reset = Reset;
    let read = decode();
    let is_missing = IN.with_borrow(|incoming| incoming.is_missing);
    drop(reset);
    (read, is_missing)
}

impl Serialize for Payload {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let shared = OUT.with_borrow_mut(|outgoing| match outgoing {
            Some(outgoing) if self.len() >= outgoing.large => outgoing.put(self),
            Some(_) | None => None,
        });
        match shared {
            None => serializer.serialize_bytes(self),
            Some(Err(reason)) => Err(S::Error::custom(reason)),
            Some(Ok(start)) => {
                let mut map = serializer.serialize_map(Some(1))?;
                map.serialize_entry(PLACE, &(start, self.len()))?;
                map.end()
            }
        }
    }
}

impl<'de> Deserialize<'de> for Payload {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Read).map(Self)
    }
}

struct Read;

impl<'de> Visitor<'de> for Read {
    type Value = Bytes;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("bytes")
    }

    fn visit_bytes<E: de::Error>(self, bytes: &[u8]) -> Result<Bytes, E> {
        Ok(Bytes::copy_from_slice(bytes))
    }

    fn visit_byte_buf<E: de::Error>(self, bytes: Vec<u8>) -> Result<Bytes, E> {
        Ok(bytes.into())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut numbers: A) -> Result<Bytes, A::Error> {
        let room = numbers.size_hint().unwrap_or(0).min(TRUSTED);
        let mut bytes = Vec::with_capacity(room);
        while let Some(byte) = numbers.next_element::<u8>()? {
            bytes.push(byte);
        }
        Ok(bytes.into())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Bytes, A::Error> {
        let mut found = None;
        while let Some(key) = map.next_key::<String>()? {
            match key.as_str() {
                PLACE => found = Some(shared(map.next_value()?).map_err(de::Error::custom)?),
                DATA => found = Some(Bytes::from(map.next_value::<Vec<u8>>()?)),
                _ => drop(map.next_value::<de::IgnoredAny>()?),
            }
        }
        found.ok_or_else(|| de::Error::missing_field(DATA))
    }
}

/// The bytes at this place of what came with the message.
fn shared((start, length): (usize, usize)) -> Result<Bytes, &'static str> {
    IN.with_borrow_mut(|incoming| match &incoming.bytes {
        None => {
            incoming.is_missing = true;
            Err("its bytes did not come with it")
        }
        Some(bytes) => {
            let end = start.checked_add(length).filter(|end| *end <= bytes.len());
            let end = end.ok_or("it is longer than the bytes that came with it")?;
            Ok(bytes.slice(start..end))
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn through_json(payloads: &[Payload]) -> (String, Option<Blob>) {
        let (text, blob) = write(Serialization::Json, || {
            serde_json::to_string(payloads).unwrap()
        })
        .unwrap();
        (text, blob)
    }

    #[test]
    fn large_payloads_share_a_blob_and_small_ones_travel() {
        let sent = [
            Payload::from(vec![1; LARGE_IN_JSON]),
            Payload::from(vec![2; 3]),
            Payload::from(vec![3; LARGE_IN_JSON + 1]),
        ];
        let (text, blob) = through_json(&sent);
        assert!(text.len() < 200, "{text}");
        assert_eq!(
            blob.as_ref().map(|blob| blob.len()),
            Some(2 * LARGE_IN_JSON + 1)
        );
        let (got, is_missing) = read(blob, || serde_json::from_str::<Vec<Payload>>(&text));
        assert_eq!(got.unwrap(), sent);
        assert!(!is_missing);
        let (got, is_missing) = read(None, || serde_json::from_str::<Vec<Payload>>(&text));
        assert!(got.is_err() && is_missing);
    }

    #[test]
    fn without_a_place_to_share_them_all_travel() {
        let sent = Payload::from(vec![7; LARGE_IN_JSON]);
        let text = serde_json::to_string(&sent).unwrap();
        assert_eq!(serde_json::from_str::<Payload>(&text).unwrap(), sent);
        let (_, blob) = through_json(&[Payload::from(vec![1; LARGE_IN_JSON - 1])]);
        assert!(blob.is_none());
    }

    #[test]
    fn what_is_large_depends_on_how_it_would_travel() {
        for (serialization, large) in [
            (Serialization::Json, LARGE_IN_JSON),
            (Serialization::Advanced, LARGE),
        ] {
            for (length, is_shared) in [(large - 1, false), (large, true)] {
                let payload = Payload::from(vec![1; length]);
                let (_, blob) =
                    write(serialization, || serde_json::to_string(&payload).unwrap()).unwrap();
                assert_eq!(blob.is_some(), is_shared, "{length} bytes");
            }
        }
    }

    #[test]
    fn a_place_beyond_the_end_is_refused() {
        let blob = Blob::new(&[0; 8]).unwrap();
        for place in ["[4,5]", "[9,0]", "[18446744073709551615,2]"] {
            let text = format!("{{\"{PLACE}\":{place}}}");
            let (got, _) = read(Some(blob.clone()), || {
                serde_json::from_str::<Payload>(&text)
            });
            assert!(got.is_err(), "{place}");
        }
    }

    #[test]
    fn nodes_buffer_is_a_payload() {
        let text = r#"{"type":"Buffer","data":[1,2,3]}"#;
        assert_eq!(
            *serde_json::from_str::<Payload>(text).unwrap(),
            [1_u8, 2, 3]
        );
    }
}

//! What a worker wants to listen on.

use std::fmt;

use serde::de::{self, Deserialize, Deserializer, Visitor};
use serde::{Serialize, Serializer};
use serde_json::Value;

/// What a worker wants to listen on.
///
/// # Node
///
/// The options of `cluster._getServer`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Query {
    /// How many times the worker has asked for the same before, from 0: two
    /// listeners on port 0 are two ports.
    pub index: u32,
    /// What the worker would give to all others that listen there.
    pub data: Option<Value>,
    /// An IP address or an absolute path; none for all interfaces, and for [`fd`](Self::fd).
    pub address: Option<String>,
    /// 0 to 65535; -1 for a path.
    pub port: Option<i32>,
    /// What kind of address; none for [`fd`](Self::fd).
    pub address_type: Option<AddressType>,
    /// A descriptor of the primary's.
    pub fd: Option<i32>,
    /// libuv's: 1 is IPv6 only; for UDP, 4 is to share the address.
    pub flags: u32,
    /// How many connections may wait; none if the worker does not mind (511).
    pub backlog: Option<u32>,
    /// The path can be read by all users.
    pub readable_all: bool,
    /// The path can be written by all users.
    pub writable_all: bool,
}

impl Query {
    /// A name for this listener, the same for all workers that ask alike.
    ///
    /// # Node
    ///
    /// As its versions from 22.23 have it: with the index for port 0 only.
    #[must_use]
    pub fn key(&self) -> String {
        let address = self.address.as_deref().unwrap_or("null");
        let port = self
            .port
            .map_or_else(|| "null".into(), |port| port.to_string());
        let kind = self.address_type.map_or("null", AddressType::spelling);
        let fd = match self.fd {
            Some(fd) => &*fd.to_string(),
            None if self.is_udp() => "-1",
            None => "undefined",
        };
        let mut key = format!("{address}:{port}:{kind}:{fd}");
        if self.port == Some(0) {
            key.push_str(&format!(":{}", self.index));
        }
        key
    }

    /// Whether it is about datagrams.
    #[must_use]
    pub fn is_udp(&self) -> bool {
        match self.address_type {
            Some(AddressType::Udp4 | AddressType::Udp6) => true,
            Some(AddressType::V4 | AddressType::V6 | AddressType::Path) | None => false,
        }
    }
}

/// Node's `addressType`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum AddressType {
    /// `4`: TCP over IPv4; without an address, over both.
    V4,
    /// `6`: TCP over IPv6.
    V6,
    /// `-1`: a path of a Unix socket.
    Path,
    /// `udp4`.
    Udp4,
    /// `udp6`.
    Udp6,
}

impl AddressType {
    /// As JavaScript makes a text of it.
    fn spelling(self) -> &'static str {
        match self {
            Self::V4 => "4",
            Self::V6 => "6",
            Self::Path => "-1",
            Self::Udp4 => "udp4",
            Self::Udp6 => "udp6",
        }
    }
}

impl Serialize for AddressType {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::V4 => serializer.serialize_i32(4),
            Self::V6 => serializer.serialize_i32(6),
            Self::Path => serializer.serialize_i32(-1),
            Self::Udp4 | Self::Udp6 => serializer.serialize_str(self.spelling()),
        }
    }
}

impl<'de> Deserialize<'de> for AddressType {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(AnAddressType)
    }
}

struct AnAddressType;

impl Visitor<'_> for AnAddressType {
    type Value = AddressType;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("4, 6, -1, \"udp4\" or \"udp6\"")
    }

    fn visit_i64<E: de::Error>(self, number: i64) -> Result<AddressType, E> {
        match number {
            4 => Ok(AddressType::V4),
            6 => Ok(AddressType::V6),
            -1 => Ok(AddressType::Path),
            _ => Err(E::invalid_value(de::Unexpected::Signed(number), &self)),
        }
    }

    fn visit_u64<E: de::Error>(self, number: u64) -> Result<AddressType, E> {
        self.visit_i64(i64::try_from(number).unwrap_or(i64::MAX))
    }

    fn visit_str<E: de::Error>(self, name: &str) -> Result<AddressType, E> {
        match name {
            "udp4" => Ok(AddressType::Udp4),
            "udp6" => Ok(AddressType::Udp6),
            _ => Err(E::invalid_value(de::Unexpected::Str(name), &self)),
        }
    }
}

/// What a program may have written anything for, such as `backlog`: JavaScript's
/// idea of it as a number, and 0 for all that is none.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Loose(pub(super) u32);

impl<'de> Deserialize<'de> for Loose {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Anything)
    }
}

struct Anything;

impl<'de> Visitor<'de> for Anything {
    type Value = Loose;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a number or nothing")
    }

    fn visit_bool<E>(self, is: bool) -> Result<Loose, E> {
        Ok(Loose(u32::from(is)))
    }

    fn visit_i64<E>(self, number: i64) -> Result<Loose, E> {
        Ok(Loose(u32::try_from(number.max(0)).unwrap_or(u32::MAX)))
    }

    fn visit_u64<E>(self, number: u64) -> Result<Loose, E> {
        Ok(Loose(u32::try_from(number).unwrap_or(u32::MAX)))
    }

    fn visit_f64<E: de::Error>(self, number: f64) -> Result<Loose, E> {
        #[expect(clippy::cast_possible_truncation, reason = "it saturates")]
        self.visit_i64(number as i64)
    }

    fn visit_str<E>(self, text: &str) -> Result<Loose, E> {
        Ok(Loose(text.trim().parse().unwrap_or(0)))
    }

    fn visit_none<E>(self) -> Result<Loose, E> {
        Ok(Loose(0))
    }

    fn visit_unit<E>(self) -> Result<Loose, E> {
        Ok(Loose(0))
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Loose, D::Error> {
        deserializer.deserialize_any(self)
    }
}

//! From words to bytes.

use std::net::SocketAddr;

use serde::{Serialize, Serializer};
use serde_json::Value;

use super::{AddressType, Listener, Query, ToWorker, WorkerAct};
use crate::ipc::advanced::{self, Dialect};
use crate::ipc::{Serialization, json};

const CMD: &str = "NODE_CLUSTER";

/// Appends what a primary says to a worker as a body; `seq` is its number.
///
/// # Panics
///
/// If a text is longer than the 4 GiB that V8's format can say.
pub fn encode_to_worker(serialization: Serialization, seq: u64, act: &ToWorker, out: &mut Vec<u8>) {
    let order = |act| Order {
        cmd: CMD,
        act: Some(act),
        key: None,
        ack: None,
        accepted: None,
        seq,
    };
    match act {
        ToWorker::NewConn { key } => match serialization {
            Serialization::Json => new_conn(seq, key, out),
            Serialization::Advanced => {
                let key = Some(&**key);
                let order = order("newconn");
                encode(serialization, &Order { key, ..order }, out);
            }
        },
        ToWorker::Disconnect => encode(serialization, &order("disconnect"), out),
        ToWorker::Unknown { act } => encode(serialization, &order(act), out),
        ToWorker::Listener(listener) => {
            encode(serialization, &ListenerWire::of(listener, seq), out);
        }
        ToWorker::ExitAllowed { ack } => {
            let answer = Order {
                act: None,
                ack: Some(*ack),
                ..order("")
            };
            encode(serialization, &answer, out);
        }
    }
}

/// Appends what a worker says to its primary as a body; `seq` is its number.
///
/// # Panics
///
/// If a text is longer than the 4 GiB that V8's format can say.
pub fn encode_to_primary(
    serialization: Serialization,
    seq: u64,
    act: &WorkerAct,
    out: &mut Vec<u8>,
) {
    let order = |act| Order {
        cmd: CMD,
        act: Some(act),
        key: None,
        ack: None,
        accepted: None,
        seq,
    };
    match act {
        WorkerAct::Online => encode(serialization, &order("online"), out),
        WorkerAct::QueryServer(query) => {
            encode(
                serialization,
                &QueryWire::of("queryServer", query, seq),
                out,
            );
        }
        WorkerAct::Listening(query) => {
            encode(serialization, &QueryWire::of("listening", query, seq), out);
        }
        WorkerAct::Close { key } => {
            let key = Some(&**key);
            let order = order("close");
            encode(serialization, &Order { key, ..order }, out);
        }
        WorkerAct::ExitedAfterDisconnect => {
            encode(serialization, &order("exitedAfterDisconnect"), out);
        }
        WorkerAct::Answer { ack, accepted } => {
            let answer = Order {
                act: None,
                ack: Some(*ack),
                accepted: *accepted,
                ..order("")
            };
            encode(serialization, &answer, out);
        }
        WorkerAct::Unknown { act } => encode(serialization, &order(act), out),
    }
}

fn encode<T: Serialize>(serialization: Serialization, said: &T, out: &mut Vec<u8>) {
    match serialization {
        Serialization::Json => {
            json::encode(said, out).expect("texts, numbers and JSON have a JSON text");
        }
        Serialization::Advanced => {
            advanced::to_writer(out, said, Dialect::Ipc).expect("no text has 4 GiB");
        }
    }
}

/// By hand, as there is one for each connection.
fn new_conn(seq: u64, key: &str, out: &mut Vec<u8>) {
    out.extend_from_slice(br#"{"cmd":"NODE_CLUSTER","act":"newconn","key":"#);
    encode(Serialization::Json, &key, out);
    out.extend_from_slice(br#","seq":"#);
    encode(Serialization::Json, &seq, out);
    out.push(b'}');
}

/// Every message that is neither a wish to listen nor the answer to one.
#[derive(Serialize)]
struct Order<'a> {
    cmd: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    act: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    key: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ack: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    accepted: Option<bool>,
    seq: u64,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct QueryWire<'a> {
    cmd: &'static str,
    act: &'static str,
    index: u32,
    #[serde(serialize_with = "or_null")]
    data: Option<&'a Value>,
    #[serde(serialize_with = "or_null")]
    address: Option<&'a str>,
    #[serde(serialize_with = "or_null")]
    port: Option<i32>,
    #[serde(serialize_with = "or_null")]
    address_type: Option<AddressType>,
    #[serde(skip_serializing_if = "Option::is_none")]
    fd: Option<i32>,
    flags: u32,
    backlog: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    readable_all: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    writable_all: Option<bool>,
    seq: u64,
}

impl<'a> QueryWire<'a> {
    fn of(act: &'static str, query: &'a Query, seq: u64) -> Self {
        let yes = |is: bool| is.then_some(true);
        Self {
            cmd: CMD,
            act,
            index: query.index,
            data: query.data.as_ref(),
            address: query.address.as_deref(),
            port: query.port,
            address_type: query.address_type,
            fd: query.fd.or_else(|| query.is_udp().then_some(-1)),
            flags: query.flags,
            backlog: query.backlog.unwrap_or(0),
            readable_all: yes(query.readable_all),
            writable_all: yes(query.writable_all),
            seq,
        }
    }
}

#[derive(Serialize)]
struct ListenerWire<'a> {
    cmd: &'static str,
    #[serde(serialize_with = "or_null")]
    errno: Option<i32>,
    key: &'a str,
    ack: u64,
    #[serde(serialize_with = "or_null")]
    data: Option<&'a Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    sockname: Option<SockName>,
    seq: u64,
}

impl<'a> ListenerWire<'a> {
    fn of(listener: &'a Listener, seq: u64) -> Self {
        // Node says `null` where connections come one by one, and 0 with a handle.
        let one_by_one = listener.errno == 0 && listener.sockname.is_some();
        Self {
            cmd: CMD,
            errno: (!one_by_one).then_some(listener.errno),
            key: &listener.key,
            ack: listener.ack,
            data: listener.data.as_ref(),
            sockname: listener.sockname.map(SockName::of),
            seq,
        }
    }
}

#[derive(Serialize)]
struct SockName {
    address: String,
    family: &'static str,
    port: u16,
}

impl SockName {
    fn of(addr: SocketAddr) -> Self {
        Self {
            address: addr.ip().to_string(),
            family: if addr.is_ipv4() { "IPv4" } else { "IPv6" },
            port: addr.port(),
        }
    }
}

/// V8's format tells `null`, which Node says here, from `undefined`.
fn or_null<T: Serialize, S: Serializer>(
    value: &Option<T>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    match value {
        Some(value) => value.serialize(serializer),
        None => serializer.serialize_unit(),
    }
}

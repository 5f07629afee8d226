//! From bytes to words.

use std::net::{IpAddr, SocketAddr};

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::query::Loose;
use super::{
    AddressType, BadClusterMessage, FromPrimary, FromWorker, Listener, Query, ToWorker, WorkerAct,
};
use crate::ipc::advanced::{self, Dialect};
use crate::ipc::internal::PlainAnswer;
use crate::ipc::{Serialization, json};

/// How deep a worker's `data` may nest; what Node's servers give is flat.
const MAX_DEPTH: usize = 100;

/// Reads what a worker says.
///
/// # Errors
///
/// [`BadClusterMessage`]; the worker is to be given up, the others are not concerned.
pub fn decode_from_worker(
    serialization: Serialization,
    body: &[u8],
) -> Result<FromWorker, BadClusterMessage> {
    if serialization == Serialization::Json
        && let Some(plain) = PlainAnswer::read(body)
    {
        let PlainAnswer { ack, accepted, seq } = plain;
        let accepted = Some(accepted);
        return Ok(FromWorker {
            seq,
            act: WorkerAct::Answer { ack, accepted },
        });
    }
    let said: FromWorkerWire = decode(serialization, body)?;
    let seq = said.seq;
    let act = said.act()?;
    let seq = match &act {
        WorkerAct::QueryServer(_) | WorkerAct::ExitedAfterDisconnect => {
            seq.ok_or(missing("seq"))?
        }
        // Nobody answers these, and Bun's have none.
        WorkerAct::Online
        | WorkerAct::Listening(_)
        | WorkerAct::Close { .. }
        | WorkerAct::Answer { .. }
        | WorkerAct::Unknown { .. } => seq.unwrap_or(0),
    };
    Ok(FromWorker { seq, act })
}

/// Reads what a primary says.
///
/// # Errors
///
/// [`BadClusterMessage`].
pub fn decode_from_primary(
    serialization: Serialization,
    body: &[u8],
) -> Result<FromPrimary, BadClusterMessage> {
    let said: FromPrimaryWire = decode(serialization, body)?;
    let seq = said.seq.ok_or(missing("seq"))?;
    let act = said.act()?;
    Ok(FromPrimary { seq, act })
}

fn decode<T: DeserializeOwned>(
    serialization: Serialization,
    body: &[u8],
) -> Result<T, BadClusterMessage> {
    match serialization {
        // One pass for what is sound: there is such a message for each
        // connection. The other way knows of all that JavaScript allows.
        Serialization::Json => Ok(match serde_json::from_slice(body) {
            Ok(said) => said,
            Err(_) => json::decode(body, MAX_DEPTH)?,
        }),
        Serialization::Advanced => {
            let limits = advanced::Limits { depth: MAX_DEPTH };
            Ok(advanced::from_slice_with(body, Dialect::Ipc, &limits)?)
        }
    }
}

fn missing(member: &'static str) -> BadClusterMessage {
    BadClusterMessage::Missing { member }
}

/// All members of all messages of a worker's. What an acknowledgement has, needs no allocation.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct FromWorkerWire {
    seq: Option<u64>,
    ack: Option<u64>,
    accepted: Option<bool>,
    act: Option<String>,
    key: Option<Box<str>>,
    index: Option<u32>,
    data: Option<Value>,
    address: Option<String>,
    port: Option<i64>,
    address_type: Option<AddressType>,
    fd: Option<i32>,
    flags: Option<u32>,
    #[serde(default)]
    backlog: Loose,
    #[serde(default)]
    readable_all: Loose,
    #[serde(default)]
    writable_all: Loose,
}

impl FromWorkerWire {
    fn act(self) -> Result<WorkerAct, BadClusterMessage> {
        if let Some(ack) = self.ack {
            let accepted = self.accepted;
            return Ok(WorkerAct::Answer { ack, accepted });
        }
        let act = self.act.as_deref().ok_or(missing("act"))?;
        Ok(match act {
            "online" => WorkerAct::Online,
            "queryServer" => WorkerAct::QueryServer(self.query()?.into()),
            "listening" => WorkerAct::Listening(self.query()?.into()),
            "close" => WorkerAct::Close {
                key: self.key.ok_or(missing("key"))?.into(),
            },
            "exitedAfterDisconnect" => WorkerAct::ExitedAfterDisconnect,
            unknown => WorkerAct::Unknown {
                act: unknown.to_owned(),
            },
        })
    }

    fn query(self) -> Result<Query, BadClusterMessage> {
        Ok(Query {
            index: self.index.unwrap_or(0),
            data: self.data,
            address: self.address,
            port: self.port.map(port).transpose()?,
            address_type: self.address_type,
            // -1 is how UDP says that there is none.
            fd: self.fd.filter(|fd| *fd >= 0),
            flags: self.flags.unwrap_or(0),
            backlog: Some(self.backlog.0).filter(|backlog| *backlog > 0),
            readable_all: self.readable_all.0 > 0,
            writable_all: self.writable_all.0 > 0,
        })
    }
}

fn port(value: i64) -> Result<i32, BadClusterMessage> {
    match i32::try_from(value) {
        Ok(port @ -1..=0xFFFF) => Ok(port),
        Ok(_) | Err(_) => Err(BadClusterMessage::OutOfRange {
            member: "port",
            value,
        }),
    }
}

/// All members of all messages of a primary's.
#[derive(Deserialize)]
struct FromPrimaryWire {
    seq: Option<u64>,
    ack: Option<u64>,
    act: Option<String>,
    key: Option<Box<str>>,
    errno: Option<i32>,
    sockname: Option<SockName>,
    data: Option<Value>,
}

/// Node leaves its members out where the system does not know.
#[derive(Deserialize)]
struct SockName {
    address: Option<String>,
    port: Option<u16>,
}

impl FromPrimaryWire {
    fn act(self) -> Result<ToWorker, BadClusterMessage> {
        if let Some(ack) = self.ack {
            return Ok(match self.key {
                None => ToWorker::ExitAllowed { ack },
                Some(key) => ToWorker::Listener(Box::new(Listener {
                    ack,
                    key: key.into(),
                    errno: self.errno.unwrap_or(0),
                    sockname: self.sockname.and_then(SockName::addr),
                    data: self.data,
                })),
            });
        }
        let act = self.act.ok_or(missing("act"))?;
        Ok(match &*act {
            "newconn" => ToWorker::NewConn {
                key: self.key.ok_or(missing("key"))?.into(),
            },
            "disconnect" => ToWorker::Disconnect,
            _ => ToWorker::Unknown { act },
        })
    }
}

impl SockName {
    fn addr(self) -> Option<SocketAddr> {
        let address = self.address?;
        let ip: IpAddr = address.split('%').next()?.parse().ok()?;
        Some(SocketAddr::new(ip, self.port?))
    }
}

//! The messages that programs never see.
//!
//! Node's own begin with `NODE_` and pass handles, cluster orders and the
//! counts of shared sockets. One command more is ours, [`Procession`]:
//! questions with answers, and messages that are confirmed. An unmodified
//! Node ignores it; a Node program can take part with a few lines:
//!
//! ```js
//! process.on('internalMessage', ({ cmd, kind, id, msg }) => {
//!   if (cmd === 'NODE_PROCESSION' && kind === 'request')
//!     process._send({ cmd, kind: 'reply', id, msg: answer(msg) });
//! });
//! ```

mod advanced;
mod json;
mod plain;

#[cfg(test)]
mod tests;

use bytes::Bytes;

use super::{BadMessage, Serialization};
pub use plain::PlainAnswer;

/// A message that programs never see.
///
/// Messages inside are bodies of their own, in the channel's serialization.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Internal {
    /// `NODE_HANDLE`: a message with a descriptor.
    Handle(HandOver),
    /// `NODE_HANDLE_ACK`: the descriptor has arrived.
    Ack,
    /// `NODE_HANDLE_NACK`: the message has arrived without its descriptor.
    Nack,
    /// `NODE_CLUSTER`: the whole message.
    Cluster(Bytes),
    /// `NODE_SOCKET_NOTIFY_CLOSE`: tell when no socket of that server is left.
    SocketNotifyClose {
        /// The server's key.
        key: String,
    },
    /// `NODE_SOCKET_ALL_CLOSED`: no socket of that server is left.
    SocketAllClosed {
        /// The server's key.
        key: String,
    },
    /// `NODE_SOCKET_GET_COUNT`: how many sockets of that server are open?
    SocketGetCount {
        /// The server's key.
        key: String,
    },
    /// `NODE_SOCKET_COUNT`: so many sockets of that server are open.
    SocketCount {
        /// The server's key.
        key: String,
        /// How many.
        count: u64,
    },
    /// `NODE_PROCESSION`: ours.
    Procession(Procession),
    /// A command that this version does not know, to be ignored.
    Unknown {
        /// The command.
        cmd: String,
    },
}

/// A message with a descriptor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HandOver {
    /// What the descriptor is.
    pub kind: HandleKind,
    /// The program's message; none if it is `undefined`.
    pub message: Option<Bytes>,
    /// The server that the socket came from, if its closing is to be told.
    pub key: Option<String>,
    /// For datagram sockets: which family.
    pub dgram_type: Option<DgramType>,
}

/// What a descriptor that travels is, by Node's names.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum HandleKind {
    /// `net.Socket`: a connection, TCP or Unix.
    Socket,
    /// `net.Server`: a listener.
    Server,
    /// `net.Native`: either, without an object around it.
    Native,
    /// `dgram.Socket`: UDP.
    DgramSocket,
    /// `dgram.Native`: UDP, without an object around it.
    DgramNative,
    /// `net.BoundSocket`: bound and not yet listening; since Node 26.
    BoundSocket,
    /// A kind that this version does not know.
    Unknown(String),
}

impl HandleKind {
    const NAMED: [(Self, &'static str); 6] = [
        (Self::Socket, "net.Socket"),
        (Self::Server, "net.Server"),
        (Self::Native, "net.Native"),
        (Self::DgramSocket, "dgram.Socket"),
        (Self::DgramNative, "dgram.Native"),
        (Self::BoundSocket, "net.BoundSocket"),
    ];

    /// As Node has it: `net.Socket`.
    #[must_use]
    pub fn name(&self) -> &str {
        if let Self::Unknown(name) = self {
            return name;
        }
        let named = Self::NAMED.iter().find(|(kind, _)| kind == self);
        named.map_or("", |(_, name)| name)
    }

    /// The kind of that name.
    #[must_use]
    pub fn from_name(name: &str) -> Self {
        let named = Self::NAMED.into_iter().find(|(_, own)| *own == name);
        named.map_or_else(|| Self::Unknown(name.to_owned()), |(kind, _)| kind)
    }
}

/// The family of a datagram socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DgramType {
    /// `udp4`.
    Udp4,
    /// `udp6`.
    Udp6,
}

impl DgramType {
    /// As Node has it: `udp4` or `udp6`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Udp4 => "udp4",
            Self::Udp6 => "udp6",
        }
    }

    /// The family of that name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        match name {
            "udp4" => Some(Self::Udp4),
            "udp6" => Some(Self::Udp6),
            _ => None,
        }
    }
}

/// Questions with answers, and messages that are confirmed.
///
/// `id` is the sender's number for it, and comes back with the answer. A
/// message that is `undefined` is read as one: `null` in `json`.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Procession {
    /// `request`: wants a [`Reply`](Self::Reply) or [`Refuse`](Self::Refuse).
    Request {
        /// The question's number.
        id: u64,
        /// The question.
        message: Bytes,
    },
    /// `reply`: the answer.
    Reply {
        /// The question's number.
        id: u64,
        /// The answer.
        message: Bytes,
    },
    /// `refuse`: no answer will come, or nobody took the message.
    Refuse {
        /// The number of the question or message.
        id: u64,
        /// Why, for people.
        reason: String,
    },
    /// `send`: wants an [`Ack`](Self::Ack) when a listener has taken it.
    Send {
        /// The message's number.
        id: u64,
        /// The message.
        message: Bytes,
    },
    /// `ack`: a listener has taken the message.
    Ack {
        /// The message's number.
        id: u64,
    },
}

/// A message inside that cannot be put into an internal one.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EncodeError {
    /// It is no body in the channel's serialization.
    #[error("the message inside is malformed")]
    Malformed(#[source] BadMessage),
    /// It cannot be written again.
    #[error("the message inside cannot be written")]
    Unwritable(#[source] super::advanced::WriteError),
}

/// Reads a message that a check found to be [internal](super::Shape::internal).
///
/// In `json`, messages inside are parts of `frame` and are not copied.
///
/// # Errors
///
/// [`BadMessage`]: no object with a `cmd`, or a known command without what belongs to it.
pub fn parse(serialization: Serialization, frame: &Bytes) -> Result<Internal, BadMessage> {
    match serialization {
        Serialization::Json if frame.starts_with(CLUSTER_JSON) => {
            Ok(Internal::Cluster(frame.clone()))
        }
        Serialization::Json => interpret(&json::Members::of(frame)?, frame),
        Serialization::Advanced => interpret(&advanced::Members::of(frame)?, frame),
    }
}

/// Appends a message as a body, in Node's order of members; without newline or length.
///
/// # Errors
///
/// [`EncodeError`], and `out` is as it was before.
pub fn encode(
    serialization: Serialization,
    message: &Internal,
    out: &mut Vec<u8>,
) -> Result<(), EncodeError> {
    if let Internal::Cluster(whole) = message {
        out.extend_from_slice(whole);
        return Ok(());
    }
    let members = members_of(message);
    match serialization {
        Serialization::Json => json::write(&members, out),
        Serialization::Advanced => advanced::write(&members, out),
    }
}

/// A message's members by name. `undefined`, `null`, a wrong type and nothing are alike.
trait Members {
    fn text(&self, name: Name) -> Option<String>;
    fn count(&self, name: Name) -> Option<u64>;
    /// The member as a body of its own; only `undefined` is none.
    fn body(&self, name: Name) -> Result<Option<Bytes>, BadMessage>;
    /// The body of `undefined`, or what is closest to it.
    fn undefined() -> Bytes;
    /// The error of a member that is missing or of a wrong type.
    fn bad(&self, name: Name, wanted: &'static str) -> BadMessage;
}

/// What is said in a member.
enum Said<'a> {
    Text(&'a str),
    Count(u64),
    Body(Option<&'a Bytes>),
}

/// The members that are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Name {
    Cmd,
    Type,
    Msg,
    Key,
    DgramType,
    Count,
    Kind,
    Id,
    Reason,
}

impl Name {
    const ALL: [Self; 9] = [
        Self::Cmd,
        Self::Type,
        Self::Msg,
        Self::Key,
        Self::DgramType,
        Self::Count,
        Self::Kind,
        Self::Id,
        Self::Reason,
    ];

    fn as_str(self) -> &'static str {
        match self {
            Self::Cmd => "cmd",
            Self::Type => "type",
            Self::Msg => "msg",
            Self::Key => "key",
            Self::DgramType => "dgramType",
            Self::Count => "count",
            Self::Kind => "kind",
            Self::Id => "id",
            Self::Reason => "reason",
        }
    }
}

/// How a cluster's message begins as Node writes it. There are two for each connection
/// that is handed over, and what else is in them is the cluster's.
const CLUSTER_JSON: &[u8] = br#"{"cmd":"NODE_CLUSTER","#;

const HANDLE: &str = "NODE_HANDLE";
const ACK: &str = "NODE_HANDLE_ACK";
const NACK: &str = "NODE_HANDLE_NACK";
const CLUSTER: &str = "NODE_CLUSTER";
const NOTIFY_CLOSE: &str = "NODE_SOCKET_NOTIFY_CLOSE";
const ALL_CLOSED: &str = "NODE_SOCKET_ALL_CLOSED";
const GET_COUNT: &str = "NODE_SOCKET_GET_COUNT";
const COUNT: &str = "NODE_SOCKET_COUNT";
const PROCESSION: &str = "NODE_PROCESSION";

fn interpret<M: Members>(members: &M, frame: &Bytes) -> Result<Internal, BadMessage> {
    let need_key = || {
        members
            .text(Name::Key)
            .ok_or_else(|| members.bad(Name::Key, "a key"))
    };
    let cmd = members
        .text(Name::Cmd)
        .ok_or_else(|| members.bad(Name::Cmd, "a command"))?;
    Ok(match &*cmd {
        HANDLE => Internal::Handle(hand_over(members)?),
        ACK => Internal::Ack,
        NACK => Internal::Nack,
        CLUSTER => Internal::Cluster(frame.clone()),
        NOTIFY_CLOSE => Internal::SocketNotifyClose { key: need_key()? },
        ALL_CLOSED => Internal::SocketAllClosed { key: need_key()? },
        GET_COUNT => Internal::SocketGetCount { key: need_key()? },
        COUNT => Internal::SocketCount {
            key: need_key()?,
            count: members
                .count(Name::Count)
                .ok_or_else(|| members.bad(Name::Count, "a count"))?,
        },
        PROCESSION => return procession(members, cmd),
        _ => Internal::Unknown { cmd },
    })
}

fn hand_over<M: Members>(members: &M) -> Result<HandOver, BadMessage> {
    let kind = members.text(Name::Type);
    let kind = kind.ok_or_else(|| members.bad(Name::Type, "the type of a handle"))?;
    Ok(HandOver {
        kind: HandleKind::from_name(&kind),
        message: members.body(Name::Msg)?,
        key: members.text(Name::Key),
        dgram_type: members
            .text(Name::DgramType)
            .and_then(|name| DgramType::from_name(&name)),
    })
}

fn procession<M: Members>(members: &M, cmd: String) -> Result<Internal, BadMessage> {
    let kind = members.text(Name::Kind).unwrap_or_default();
    let id = || {
        members
            .count(Name::Id)
            .ok_or_else(|| members.bad(Name::Id, "a number"))
    };
    let message = || Ok(members.body(Name::Msg)?.unwrap_or_else(M::undefined));
    Ok(Internal::Procession(match &*kind {
        "request" => Procession::Request {
            id: id()?,
            message: message()?,
        },
        "reply" => Procession::Reply {
            id: id()?,
            message: message()?,
        },
        "refuse" => Procession::Refuse {
            id: id()?,
            reason: members.text(Name::Reason).unwrap_or_default(),
        },
        "send" => Procession::Send {
            id: id()?,
            message: message()?,
        },
        "ack" => Procession::Ack { id: id()? },
        // A later version's.
        _ => return Ok(Internal::Unknown { cmd }),
    }))
}

fn members_of(message: &Internal) -> Vec<(Name, Said<'_>)> {
    let of_socket = |cmd, key| vec![(Name::Cmd, Said::Text(cmd)), (Name::Key, Said::Text(key))];
    match message {
        Internal::Handle(hand_over) => members_of_hand_over(hand_over),
        Internal::Ack => vec![(Name::Cmd, Said::Text(ACK))],
        Internal::Nack => vec![(Name::Cmd, Said::Text(NACK))],
        Internal::Cluster(_) => vec![(Name::Cmd, Said::Text(CLUSTER))],
        Internal::SocketNotifyClose { key } => of_socket(NOTIFY_CLOSE, key),
        Internal::SocketAllClosed { key } => of_socket(ALL_CLOSED, key),
        Internal::SocketGetCount { key } => of_socket(GET_COUNT, key),
        Internal::SocketCount { key, count } => {
            let mut members = of_socket(COUNT, key);
            members.push((Name::Count, Said::Count(*count)));
            members
        }
        Internal::Procession(own) => members_of_procession(own),
        Internal::Unknown { cmd } => vec![(Name::Cmd, Said::Text(cmd))],
    }
}

fn members_of_hand_over(hand_over: &HandOver) -> Vec<(Name, Said<'_>)> {
    let mut members = vec![
        (Name::Cmd, Said::Text(HANDLE)),
        (Name::Type, Said::Text(hand_over.kind.name())),
        (Name::Msg, Said::Body(hand_over.message.as_ref())),
    ];
    members.extend(
        hand_over
            .key
            .as_deref()
            .map(|key| (Name::Key, Said::Text(key))),
    );
    let dgram_type = hand_over.dgram_type.map(DgramType::name);
    members.extend(dgram_type.map(|name| (Name::DgramType, Said::Text(name))));
    members
}

fn members_of_procession(own: &Procession) -> Vec<(Name, Said<'_>)> {
    let (kind, id, last) = match own {
        Procession::Request { id, message } => {
            ("request", id, Some((Name::Msg, Said::Body(Some(message)))))
        }
        Procession::Reply { id, message } => {
            ("reply", id, Some((Name::Msg, Said::Body(Some(message)))))
        }
        Procession::Refuse { id, reason } => {
            ("refuse", id, Some((Name::Reason, Said::Text(reason))))
        }
        Procession::Send { id, message } => {
            ("send", id, Some((Name::Msg, Said::Body(Some(message)))))
        }
        Procession::Ack { id } => ("ack", id, None),
    };
    let mut members = vec![
        (Name::Cmd, Said::Text(PROCESSION)),
        (Name::Kind, Said::Text(kind)),
        (Name::Id, Said::Count(*id)),
    ];
    members.extend(last);
    members
}

//! What kind of message it is: the program's own, or one that programs never see.

use procession::ipc::v8::{Document, Object, Value};

use super::json;

/// What a message is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Message,
    /// It takes a descriptor along.
    Handle,
    /// The descriptor has arrived, or has not.
    HandleAck,
    HandleNack,
    /// Between a cluster's primary and its workers.
    Cluster,
    /// About sockets that came from a server.
    Socket,
    /// procession's own questions and answers.
    Procession,
    /// A command that is not known here.
    Internal,
}

impl Kind {
    /// For people.
    pub(super) fn label(self) -> &'static str {
        match self {
            Self::HandleAck => "taken",
            Self::HandleNack => "missed",
            Self::Message
            | Self::Handle
            | Self::Cluster
            | Self::Socket
            | Self::Procession
            | Self::Internal => self.name(),
        }
    }

    /// For programs.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Message => "message",
            Self::Handle => "handle",
            Self::HandleAck => "handle_ack",
            Self::HandleNack => "handle_nack",
            Self::Cluster => "cluster",
            Self::Socket => "socket",
            Self::Procession => "request",
            Self::Internal => "internal",
        }
    }

    fn of(cmd: &str) -> Self {
        match cmd {
            "NODE_HANDLE" => Self::Handle,
            "NODE_HANDLE_ACK" => Self::HandleAck,
            "NODE_HANDLE_NACK" => Self::HandleNack,
            "NODE_CLUSTER" => Self::Cluster,
            "NODE_PROCESSION" => Self::Procession,
            _ if cmd.starts_with("NODE_SOCKET_") => Self::Socket,
            _ => Self::Internal,
        }
    }
}

/// A message, understood.
#[derive(Debug)]
pub(super) struct Meaning {
    pub(super) kind: Kind,
    /// The order, if it is one of Node's own.
    pub(super) title: Option<String>,
    /// The type of the handle that it takes along.
    pub(super) handle: Option<String>,
    /// What it says; members that the title tells are left out.
    pub(super) value: Option<Value>,
}

impl Meaning {
    pub(super) fn of(document: &Document) -> Self {
        let root = document.root();
        let outer = kind_of(document, root);
        if outer != Kind::Handle {
            return Self::inside(document, root, outer, None);
        }
        let kind = text(document, root, "type");
        let inner = member(document, root, "msg").unwrap_or(&Value::Undefined);
        let mut kind_inside = kind_of(document, inner);
        if kind_inside == Kind::Message {
            kind_inside = Kind::Handle;
        }
        Self::inside(document, inner, kind_inside, Some(kind.unwrap_or_default()))
    }

    fn inside(document: &Document, value: &Value, kind: Kind, handle: Option<String>) -> Self {
        let get = |name: &str| text(document, value, name);
        let title = match kind {
            Kind::Message | Kind::Handle | Kind::HandleAck | Kind::HandleNack => None,
            Kind::Cluster => Some(cluster_title(&get)),
            Kind::Procession => Some(format!(
                "{} #{}",
                get("kind").unwrap_or_default(),
                get("id").unwrap_or_default()
            )),
            Kind::Socket | Kind::Internal => get("cmd"),
        };
        let silent = matches!(kind, Kind::HandleAck | Kind::HandleNack);
        let value = (!silent).then(|| value.clone());
        Self {
            kind,
            title: title.map(|title| super::escaped(&title)),
            handle,
            value,
        }
    }

    /// The members that the title tells.
    pub(super) fn omitted(&self) -> &'static [&'static str] {
        match self.kind {
            Kind::Message | Kind::Handle | Kind::HandleAck | Kind::HandleNack => &[],
            Kind::Cluster => &["cmd", "act", "seq", "ack"],
            Kind::Procession => &["cmd", "kind", "id"],
            Kind::Socket | Kind::Internal => &["cmd"],
        }
    }

    /// The same members for programs, as JSON.
    pub(super) fn members(&self, document: &Document) -> Vec<(&'static str, String)> {
        let (Some(value), Kind::Cluster) = (&self.value, self.kind) else {
            return Vec::new();
        };
        ["act", "seq", "ack"]
            .into_iter()
            .filter_map(|name| Some((name, json::value(document, member(document, value, name)?))))
            .collect()
    }
}

/// `queryServer #3`, `answer to #3`, `newconn #4`.
fn cluster_title(get: &dyn Fn(&str) -> Option<String>) -> String {
    let number = get("seq").map_or_else(String::new, |seq| format!(" #{seq}"));
    match (get("act"), get("ack")) {
        (Some(act), None) => format!("{act}{number}"),
        (Some(act), Some(ack)) => format!("{act}{number} to #{ack}"),
        (None, Some(ack)) => format!("answer to #{ack}"),
        (None, None) => number.trim_start().to_owned(),
    }
}

/// What `cmd` says. As Node has it: a string longer than 5 that begins with `NODE_`.
fn kind_of(document: &Document, value: &Value) -> Kind {
    let cmd = member(document, value, "cmd").and_then(Value::as_str);
    match cmd {
        Some(cmd) if cmd.len() > 5 && cmd.starts_with("NODE_") => Kind::of(&cmd),
        _ => Kind::Message,
    }
}

fn member<'d>(document: &'d Document, value: &Value, name: &str) -> Option<&'d Value> {
    let object = document.object(value.as_object()?)?;
    let is_plain = matches!(object, Object::Plain(_));
    object.get(name).filter(|_| is_plain)
}

/// A member as text, if it is a string or a number.
fn text(document: &Document, value: &Value, name: &str) -> Option<String> {
    let value = member(document, value, name)?;
    let text = value.as_str().map(std::borrow::Cow::into_owned);
    text.or_else(|| value.as_f64().map(super::inspect::number))
}

//! Internal messages in V8's format. What is inside is written anew: objects
//! are numbered through a whole message, so a part of it is no message.

use bytes::Bytes;

use super::{EncodeError, Name, Said};
use crate::ipc::BadMessage;
use crate::ipc::advanced::{self, Dialect, Document, Limits, Object, Value};

pub(super) struct Members<'a> {
    frame: &'a Bytes,
    document: Document,
}

impl<'a> Members<'a> {
    pub(super) fn of(frame: &'a Bytes) -> Result<Self, BadMessage> {
        let mut document = read(frame)?;
        // At most once for each: a hostile one is inside itself.
        for _ in 0..document.objects().len() {
            let Some(inner) = inside_native(&document) else {
                break;
            };
            document.set_root(inner);
        }
        Ok(Self { frame, document })
    }

    fn value(&self, name: Name) -> Option<&Value> {
        self.document.get(name.as_str())
    }
}

/// Node looks at what is in a native object.
fn inside_native(document: &Document) -> Option<Value> {
    match document.object(document.root().as_object()?)? {
        Object::Native(inner) => Some(inner.clone()),
        Object::Plain(_) | Object::Array(_) | Object::Sparse(_) | Object::Map(_) => None,
        Object::Set(_) | Object::Date(_) | Object::RegExp(_) | Object::Boxed(_) => None,
        Object::Error(_) | Object::ArrayBuffer(_) | Object::View(_) => None,
    }
}

/// The depth was limited when the frame arrived.
fn read(bytes: &[u8]) -> Result<Document, BadMessage> {
    let limits = Limits { depth: usize::MAX };
    advanced::read(bytes, Dialect::Ipc, &limits)
}

impl super::Members for Members<'_> {
    fn text(&self, name: Name) -> Option<String> {
        self.value(name)?.as_str().map(String::from)
    }

    fn count(&self, name: Name) -> Option<u64> {
        u64::try_from(self.value(name)?.as_i64()?).ok()
    }

    fn body(&self, name: Name) -> Result<Option<Bytes>, BadMessage> {
        let Some(value) = self.value(name).filter(|value| !value.is_undefined()) else {
            return Ok(None);
        };
        let mut inner = self.document.clone();
        inner.set_root(value.clone());
        let mut body = Vec::new();
        advanced::write(&inner, Dialect::Ipc, &Default::default(), &mut body)
            .map_err(|_| self.bad(name, "a message that can be written again"))?;
        Ok(Some(body.into()))
    }

    fn undefined() -> Bytes {
        Bytes::from_static(b"\xff\x0f_")
    }

    fn bad(&self, _name: Name, wanted: &'static str) -> BadMessage {
        BadMessage::new(self.frame, 0, wanted)
    }
}

pub(super) fn write(members: &[(Name, Said<'_>)], out: &mut Vec<u8>) -> Result<(), EncodeError> {
    let mut document = Document::default();
    let mut properties = Vec::with_capacity(members.len());
    for (name, said) in members {
        let value = match said {
            Said::Text(text) => Value::from(*text),
            Said::Count(count) => Value::from(*count),
            Said::Body(None) => Value::Undefined,
            Said::Body(Some(body)) => document.graft(read(body).map_err(EncodeError::Malformed)?),
        };
        properties.push((name.as_str(), value));
    }
    let root = document.add_object(properties);
    document.set_root(root);
    let start = out.len();
    advanced::write(&document, Dialect::Ipc, &Default::default(), out).map_err(|error| {
        out.truncate(start);
        EncodeError::Unwritable(error)
    })
}

//! Values as JSON; what JSON has no word for is an object with `$type`.

use std::collections::HashMap;

use procession::ipc::v8::{Boxed, Document, ErrorValue, Object, ObjectId, Properties, Value};
use serde::Serialize;

use super::date::iso;
use super::inspect::number;

/// An object under way. Members stay in the order in which they are added.
#[derive(Debug)]
pub(super) struct Members(String);

impl Members {
    pub(super) fn new() -> Self {
        Self("{".to_owned())
    }

    /// Adds a member that JSON has a word for.
    pub(super) fn add(&mut self, name: &str, value: impl Serialize) {
        let value = serde_json::to_string(&value);
        self.add_text(
            name,
            &value.expect("texts, numbers and their kin have JSON"),
        );
    }

    /// Adds a member whose JSON is at hand.
    pub(super) fn add_text(&mut self, name: &str, json: &str) {
        if self.0.len() > 1 {
            self.0.push(',');
        }
        self.0.push_str(&text(name));
        self.0.push(':');
        self.0.push_str(json);
    }

    pub(super) fn end(mut self) -> String {
        self.0.push('}');
        self.0
    }

    fn typed(name: &str) -> Self {
        let mut members = Self::new();
        members.add("$type", name);
        members
    }
}

fn text(text: &str) -> String {
    serde_json::to_string(text).expect("a text has JSON")
}

fn list(items: impl Iterator<Item = String>) -> String {
    format!("[{}]", items.collect::<Vec<_>>().join(","))
}

/// The value, whole.
///
/// An object that appears again is `{"$type":"seen","object":N}`, counted in
/// the order of appearance: so cycles end, and what is shared is not unfolded.
pub(super) fn value(document: &Document, value: &Value) -> String {
    let mut writer = Writer {
        document,
        seen: HashMap::new(),
    };
    writer.value(value)
}

struct Writer<'d> {
    document: &'d Document,
    /// The number of each object that has appeared.
    seen: HashMap<ObjectId, usize>,
}

impl Writer<'_> {
    fn value(&mut self, value: &Value) -> String {
        match value {
            Value::Undefined => Members::typed("undefined").end(),
            Value::Null => "null".to_owned(),
            Value::Bool(value) => value.to_string(),
            Value::Int(value) => value.to_string(),
            Value::Number(value) => of_number(*value),
            Value::BigInt(value) => {
                let mut members = Members::typed("bigint");
                members.add("value", value.to_string());
                members.end()
            }
            Value::String(string) => text(&string.to_str()),
            Value::Object(id) => self.appear(*id),
        }
    }

    fn appear(&mut self, id: ObjectId) -> String {
        let Some(object) = self.document.object(id) else {
            return "null".to_owned();
        };
        let next = self.seen.len();
        if let Some(number) = self.seen.get(&id) {
            let mut members = Members::typed("seen");
            members.add("object", number);
            return members.end();
        }
        self.seen.insert(id, next);
        self.object(id, object)
    }

    fn object(&mut self, id: ObjectId, object: &Object) -> String {
        match object {
            Object::Plain(properties) => self.members(properties),
            Object::Array(array) => {
                let items = list(array.items.iter().map(|item| match item {
                    Some(value) => self.value(value),
                    None => self.value(&Value::Undefined),
                }));
                if array.extra.is_empty() {
                    return items;
                }
                let mut members = Members::typed("Array");
                members.add_text("items", &items);
                members.add_text("members", &self.members(&array.extra));
                members.end()
            }
            Object::Sparse(array) => {
                let mut members = Members::typed("Array");
                members.add("length", array.length);
                members.add_text("members", &self.members(&array.properties));
                members.end()
            }
            Object::Map(entries) => {
                let entries = entries
                    .iter()
                    .map(|(key, value)| list([self.value(key), self.value(value)].into_iter()));
                let mut members = Members::typed("Map");
                members.add_text("entries", &list(entries));
                members.end()
            }
            Object::Set(values) => {
                let mut members = Members::typed("Set");
                members.add_text(
                    "values",
                    &list(values.iter().map(|value| self.value(value))),
                );
                members.end()
            }
            Object::Date(at) => {
                let mut members = Members::typed("Date");
                members.add("value", iso(*at));
                members.end()
            }
            Object::RegExp(regexp) => {
                let mut members = Members::typed("RegExp");
                members.add("source", regexp.source.to_str());
                members.add("flags", regexp.flags());
                members.end()
            }
            Object::Boxed(boxed) => of_boxed(boxed),
            Object::Error(error) => self.error(error),
            Object::ArrayBuffer(_) => self.bytes(id, "ArrayBuffer"),
            Object::View(view) => self.bytes(id, view.kind.class()),
            Object::Native(value) => {
                let mut members = Members::typed("native");
                members.add_text("value", &self.value(value));
                members.end()
            }
        }
    }

    fn members(&mut self, properties: &Properties) -> String {
        let mut members = Members::new();
        for (key, value) in properties.iter() {
            members.add_text(&key.to_string(), &self.value(value));
        }
        members.end()
    }

    fn error(&mut self, error: &ErrorValue) -> String {
        let mut members = Members::typed(error.name.as_str());
        if let Some(message) = &error.message {
            members.add("message", message.to_str());
        }
        if let Some(stack) = &error.stack {
            members.add("stack", stack.to_str());
        }
        if let Some(cause) = &error.cause {
            members.add_text("cause", &self.value(cause));
        }
        members.end()
    }

    fn bytes(&self, id: ObjectId, class: &str) -> String {
        let bytes = self.document.bytes(id).unwrap_or_default();
        let mut hex = String::with_capacity(bytes.len() * 2);
        for byte in bytes {
            let digits = [byte >> 4, byte & 15];
            hex.extend(digits.map(|digit| char::from(b"0123456789abcdef"[usize::from(digit)])));
        }
        let mut members = Members::typed(class);
        members.add("hex", hex);
        members.end()
    }
}

fn of_number(value: f64) -> String {
    let is_negative_zero = value == 0.0 && value.is_sign_negative();
    if value.is_finite() && !is_negative_zero {
        return number(value);
    }
    let mut members = Members::typed("number");
    members.add("value", number(value));
    members.end()
}

fn of_boxed(boxed: &Boxed) -> String {
    let (class, value) = match boxed {
        Boxed::Bool(value) => ("Boolean", value.to_string()),
        Boxed::Number(value) => ("Number", of_number(*value)),
        Boxed::BigInt(value) => ("BigInt", text(&value.to_string())),
        Boxed::String(string) => ("String", text(&string.to_str())),
    };
    let mut members = Members::typed(class);
    members.add_text("value", &value);
    members.end()
}

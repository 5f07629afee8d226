//! Values as `util.inspect` shows them, on one line.

use std::fmt::Write as _;

use procession::ipc::v8::{Boxed, Document, ErrorValue, Key, Object, ObjectId, Properties, Value};

use super::date::iso;

/// Bytes of a buffer that are shown.
const BYTES: usize = 50;

/// Shows a value until the text is longer than `limit`; its own members of these names are left out.
pub(super) fn inspect(
    document: &Document,
    value: &Value,
    omitted: &[&str],
    limit: usize,
) -> String {
    let mut inspect = Inspect {
        document,
        out: String::new(),
        limit: limit.saturating_mul(4),
        above: Vec::new(),
    };
    inspect.root(value, omitted);
    inspect.out
}

struct Inspect<'d> {
    document: &'d Document,
    out: String,
    /// In bytes, which is enough for as many characters.
    limit: usize,
    /// The objects that the current one is inside of.
    above: Vec<ObjectId>,
}

impl Inspect<'_> {
    fn root(&mut self, value: &Value, omitted: &[&str]) {
        let object = value.as_object().and_then(|id| self.document.object(id));
        match object {
            Some(Object::Plain(properties)) if !omitted.is_empty() => {
                let mut left = properties
                    .iter()
                    .filter(|(key, _)| !omitted.iter().any(|name| key.is(name)))
                    .peekable();
                // An order that says all in its title.
                if left.peek().is_some() {
                    self.between("{", "}", left, |own, (key, value)| own.member(key, value));
                }
            }
            _ => self.value(value),
        }
    }

    fn is_full(&self) -> bool {
        self.out.len() > self.limit
    }

    fn value(&mut self, value: &Value) {
        match value {
            Value::Undefined => self.out.push_str("undefined"),
            Value::Null => self.out.push_str("null"),
            Value::Bool(value) => self.say(value),
            Value::Int(_) | Value::Number(_) => {
                let text = number(value.as_f64().unwrap_or(f64::NAN));
                self.out.push_str(&text);
            }
            Value::BigInt(value) => self.say(format_args!("{value}n")),
            Value::String(text) => quote(&text.to_str(), &mut self.out, self.limit),
            Value::Object(id) if self.above.contains(id) => self.out.push_str("[Circular]"),
            Value::Object(id) => {
                if let Some(object) = self.document.object(*id) {
                    self.above.push(*id);
                    self.object(*id, object);
                    self.above.pop();
                }
            }
        }
    }

    fn say(&mut self, text: impl std::fmt::Display) {
        // Writing to a string cannot fail.
        let _ = write!(self.out, "{text}");
    }

    fn object(&mut self, id: ObjectId, object: &Object) {
        match object {
            Object::Plain(properties) => self.members(properties),
            Object::Array(array) => {
                let extra = array
                    .extra
                    .iter()
                    .map(|(key, value)| (Some(key), Some(value)));
                let items = array.items.iter().map(|item| (None, item.as_ref()));
                self.between("[", "]", items.chain(extra), |own, (key, value)| {
                    match (key, value) {
                        (Some(key), Some(value)) => own.member(key, value),
                        (_, Some(value)) => own.value(value),
                        (_, None) => own.out.push_str("<hole>"),
                    }
                });
            }
            Object::Sparse(array) => {
                self.say(format_args!("Array({}) ", array.length));
                self.members(&array.properties);
            }
            Object::Map(entries) => {
                self.say(format_args!("Map({}) ", entries.len()));
                self.between("{", "}", entries.iter(), |own, (key, value)| {
                    own.value(key);
                    own.out.push_str(" => ");
                    own.value(value);
                });
            }
            Object::Set(values) => {
                self.say(format_args!("Set({}) ", values.len()));
                self.between("{", "}", values.iter(), Self::value);
            }
            Object::Date(milliseconds) => {
                let date = iso(*milliseconds);
                self.out.push_str(date.as_deref().unwrap_or("Invalid Date"));
            }
            Object::RegExp(regexp) => {
                let source = escaped(&regexp.source.to_str());
                self.say(format_args!("/{source}/{}", regexp.flags()));
            }
            Object::Boxed(boxed) => self.boxed(boxed),
            Object::Error(error) => self.error(error),
            Object::ArrayBuffer(_) => self.bytes(id, "ArrayBuffer", 1),
            Object::View(view) => self.bytes(id, view.kind.class(), view.kind.element_size()),
            Object::Native(value) => {
                self.out.push_str("[native] ");
                self.value(value);
            }
        }
    }

    fn members(&mut self, properties: &Properties) {
        self.between("{", "}", properties.iter(), |own, (key, value)| {
            own.member(key, value);
        });
    }

    /// A list in brackets, as long as there is room.
    fn between<I: Iterator>(
        &mut self,
        open: &str,
        close: &str,
        items: I,
        mut show: impl FnMut(&mut Self, I::Item),
    ) {
        self.out.push_str(open);
        let mut any = false;
        for item in items {
            self.out.push_str(if any { ", " } else { " " });
            any = true;
            if self.is_full() {
                return;
            }
            show(self, item);
        }
        if any {
            self.out.push(' ');
        }
        self.out.push_str(close);
    }

    fn member(&mut self, key: &Key, value: &Value) {
        let name = key.to_string();
        if is_plain(&name) {
            self.out.push_str(&name);
        } else {
            quote(&name, &mut self.out, self.limit);
        }
        self.out.push_str(": ");
        self.value(value);
    }

    fn boxed(&mut self, boxed: &Boxed) {
        match boxed {
            Boxed::Bool(value) => self.say(format_args!("[Boolean: {value}]")),
            Boxed::Number(value) => self.say(format_args!("[Number: {}]", number(*value))),
            Boxed::BigInt(value) => self.say(format_args!("[BigInt: {value}n]")),
            Boxed::String(text) => {
                self.out.push_str("[String: ");
                quote(&text.to_str(), &mut self.out, self.limit);
                self.out.push(']');
            }
        }
    }

    fn error(&mut self, error: &ErrorValue) {
        self.say(format_args!("[{}", error.name.as_str()));
        if let Some(message) = &error.message {
            let message = escaped(&message.to_str());
            self.say(format_args!(": {message}"));
        }
        self.out.push(']');
        if let Some(cause) = &error.cause {
            self.out.push_str(" { cause: ");
            self.value(cause);
            self.out.push_str(" }");
        }
    }

    fn bytes(&mut self, id: ObjectId, class: &str, element: usize) {
        let bytes = self.document.bytes(id).unwrap_or_default();
        if class == "Buffer" {
            self.out.push_str("<Buffer");
        } else {
            self.say(format_args!("{class}({}) <", bytes.len() / element));
        }
        for (index, byte) in bytes.iter().take(BYTES).enumerate() {
            let space = if index > 0 || class == "Buffer" {
                " "
            } else {
                ""
            };
            self.say(format_args!("{space}{byte:02x}"));
        }
        if bytes.len() > BYTES {
            self.say(format_args!(" … {} more", bytes.len() - BYTES));
        }
        self.out.push('>');
    }
}

/// A number as JavaScript writes it.
pub(super) fn number(value: f64) -> String {
    if value.is_infinite() {
        return if value > 0.0 { "Infinity" } else { "-Infinity" }.to_owned();
    }
    if value == 0.0 && value.is_sign_negative() {
        return "-0".to_owned();
    }
    match value.abs() {
        0.0 | 1e-6..1e21 => format!("{value}"),
        1e21.. => format!("{value:e}").replace('e', "e+"),
        _ => format!("{value:e}"),
    }
}

/// Whether a name needs no quotes.
fn is_plain(name: &str) -> bool {
    let word = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '$';
    !name.is_empty() && name.chars().all(word)
}

fn quote(text: &str, out: &mut String, limit: usize) {
    out.push('\'');
    // What is beyond the limit is not looked at.
    for c in text.chars().take(limit) {
        match c {
            '\'' | '\\' => {
                out.push('\\');
                out.push(c);
            }
            c => escape(c, out),
        }
    }
    out.push('\'');
}

/// A text without characters that a terminal would obey.
pub(super) fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    text.chars().for_each(|c| escape(c, &mut out));
    out
}

fn escape(c: char, out: &mut String) {
    /// Characters that turn the direction of the text around.
    const TURNING: [char; 9] = [
        '\u{202a}', '\u{202b}', '\u{202c}', '\u{202d}', '\u{202e}', '\u{2066}', '\u{2067}',
        '\u{2068}', '\u{2069}',
    ];
    match c {
        '\n' => out.push_str("\\n"),
        '\r' => out.push_str("\\r"),
        '\t' => out.push_str("\\t"),
        c if c.is_control() || TURNING.contains(&c) || matches!(c, '\u{2028}' | '\u{2029}') => {
            // Writing to a string cannot fail.
            let _ = write!(out, "\\u{{{:x}}}", u32::from(c));
        }
        c => out.push(c),
    }
}

//! What Node wrote, recorded by `interop/golden/advanced.mjs`.

use std::fmt::Write as _;

use serde::Deserialize;

use super::*;

#[derive(Debug, Deserialize)]
pub(super) struct Row {
    pub(super) name: String,
    dialect: String,
    node: Vec<u32>,
    hex: String,
    value: String,
}

impl Row {
    pub(super) fn dialect(&self) -> Dialect {
        if self.dialect == "ipc" {
            Dialect::Ipc
        } else {
            Dialect::V8
        }
    }

    pub(super) fn bytes(&self) -> Vec<u8> {
        hex(&self.hex)
    }
}

pub(super) fn rows() -> Vec<Row> {
    let table = include_str!("../../../../../../interop/golden/advanced.json");
    serde_json::from_str(table).unwrap()
}

/// As `describe` in `advanced.mjs` has it.
struct Describe<'d> {
    document: &'d Document,
    seen: Vec<ObjectId>,
    out: String,
}

pub(super) fn describe(document: &Document) -> String {
    let mut describe = Describe {
        document,
        seen: Vec::new(),
        out: String::new(),
    };
    describe.value(&document.root);
    describe.out
}

fn bits(value: f64) -> String {
    let value = if value.is_nan() { f64::NAN } else { value };
    format!("{:016x}", value.to_bits())
}

fn units(string: &JsString) -> String {
    let units: Vec<String> = string.units().map(|unit| format!("{unit:04x}")).collect();
    if units.len() > 1000 {
        assert!(
            units.iter().all(|unit| *unit == units[0]),
            "long strings repeat one unit"
        );
        return format!("{}*{}", units[0], units.len());
    }
    units.concat()
}

fn bytes(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

impl Describe<'_> {
    fn value(&mut self, value: &Value) {
        let text = match value {
            Value::Undefined => "undefined".into(),
            Value::Null => "null".into(),
            Value::Bool(value) => value.to_string(),
            Value::Int(value) => format!("n{}", bits(f64::from(*value))),
            Value::Number(value) => format!("n{}", bits(*value)),
            Value::String(value) => format!("s{}", units(value)),
            Value::BigInt(value) => {
                let sign = if value.is_negative() { "-" } else { "" };
                let digits: String = value
                    .digits()
                    .iter()
                    .rev()
                    .map(|digit| format!("{digit:016x}"))
                    .collect();
                let digits = digits.trim_start_matches('0');
                format!("i{sign}{}", if digits.is_empty() { "0" } else { digits })
            }
            Value::Object(id) => return self.object(*id),
        };
        self.out.push_str(&text);
    }

    fn properties<'v, I: Iterator<Item = (Key, &'v Value)>>(&mut self, properties: I) {
        for (at, (key, value)) in properties.into_iter().enumerate() {
            let comma = if at == 0 { "" } else { "," };
            write!(self.out, "{comma}{}:", units(&key.to_string().into())).unwrap();
            self.value(value);
        }
    }

    fn list<'v, I: IntoIterator<Item = &'v Value>>(&mut self, values: I, separators: [&str; 2]) {
        for (at, value) in values.into_iter().enumerate() {
            if at > 0 {
                self.out.push_str(separators[at % 2]);
            }
            self.value(value);
        }
    }

    fn object(&mut self, id: ObjectId) {
        if let Some(number) = self.seen.iter().position(|seen| *seen == id) {
            write!(self.out, "^{number}").unwrap();
            return;
        }
        self.seen.push(id);
        let object = self.document.object(id).unwrap().clone();
        let own =
            |properties: &Properties| -> Vec<(Key, Value)> { properties.iter().cloned().collect() };
        match &object {
            Object::Plain(properties) => {
                self.out.push_str("O{");
                self.properties(
                    own(properties)
                        .iter()
                        .map(|(key, value)| (key.clone(), value)),
                );
                self.out.push('}');
            }
            Object::Array(array) => {
                write!(self.out, "A{}[", array.items.len()).unwrap();
                let items = array.items.iter().enumerate().filter_map(|(at, item)| {
                    Some((Key::from(u32::try_from(at).unwrap()), item.as_ref()?))
                });
                let extra = array.extra.iter().map(|(key, value)| (key.clone(), value));
                self.properties(items.chain(extra));
                self.out.push(']');
            }
            Object::Sparse(array) => {
                write!(self.out, "A{}[", array.length).unwrap();
                self.properties(
                    array
                        .properties
                        .iter()
                        .map(|(key, value)| (key.clone(), value)),
                );
                self.out.push(']');
            }
            Object::Map(entries) => {
                self.out.push_str("M[");
                self.list(
                    entries.iter().flat_map(|(key, value)| [key, value]),
                    [",", ">"],
                );
                self.out.push(']');
            }
            Object::Set(values) => {
                self.out.push_str("S[");
                self.list(values, [",", ","]);
                self.out.push(']');
            }
            Object::Error(error) => self.error(error),
            Object::Native(value) => {
                self.out.push('N');
                self.value(value);
            }
            Object::Boxed(_) | Object::Date(_) | Object::RegExp(_) => self.leaf(id, &object),
            Object::ArrayBuffer(_) | Object::View(_) => self.leaf(id, &object),
        }
    }

    fn leaf(&mut self, id: ObjectId, object: &Object) {
        match object {
            Object::Boxed(boxed) => {
                self.out.push('P');
                self.value(&match boxed.clone() {
                    Boxed::Bool(value) => value.into(),
                    Boxed::Number(value) => value.into(),
                    Boxed::BigInt(value) => value.into(),
                    Boxed::String(value) => value.into(),
                });
            }
            Object::Date(value) => write!(self.out, "D{}", bits(*value)).unwrap(),
            Object::RegExp(regexp) => {
                write!(self.out, "R{}/{}", units(&regexp.source), regexp.flags()).unwrap();
            }
            Object::ArrayBuffer(buffer) => {
                write!(self.out, "B{}", bytes(&buffer.bytes)).unwrap();
                if let Some(max) = buffer.max {
                    write!(self.out, "/{max}").unwrap();
                }
            }
            Object::View(view) => {
                let shown = bytes(self.document.bytes(id).unwrap());
                write!(self.out, "V{}/{shown}", view.kind.class()).unwrap();
            }
            Object::Plain(_) | Object::Array(_) | Object::Sparse(_) | Object::Map(_) => {}
            Object::Set(_) | Object::Error(_) | Object::Native(_) => {}
        }
    }

    fn error(&mut self, error: &ErrorValue) {
        write!(self.out, "E{}(", error.name.as_str()).unwrap();
        let text = |text: &Option<JsString>| text.clone().map(Value::String);
        let parts = [
            ("m=", text(&error.message)),
            ("c=", error.cause.clone()),
            ("s=", text(&error.stack)),
        ];
        let mut comma = "";
        for (letter, part) in parts {
            if let Some(part) = part {
                write!(self.out, "{comma}{letter}").unwrap();
                self.value(&part);
                comma = ",";
            }
        }
        self.out.push(')');
    }
}

/// Only Node before 22 writes an error's cause before its stack.
fn options(row: &Row) -> WriteOptions {
    let errors = if row.node.iter().all(|major| *major < 22) {
        ErrorOrder::CauseFirst
    } else {
        ErrorOrder::StackFirst
    };
    WriteOptions { errors }
}

#[test]
fn what_node_wrote_is_read_as_what_it_meant() {
    for row in rows() {
        let document = read_all(&row.bytes(), row.dialect());
        assert_eq!(
            describe(&document),
            row.value,
            "{} {}",
            row.dialect,
            row.name
        );
    }
}

#[test]
fn what_node_wrote_is_written_byte_for_byte() {
    for row in rows() {
        // Bytes in front: a string is aligned to where the message begins, not to the vector.
        let mut out = vec![7; 3];
        let document = read_all(&row.bytes(), row.dialect());
        write(&document, row.dialect(), &options(&row), &mut out).unwrap();
        assert_eq!(bytes(&out[3..]), row.hex, "{} {}", row.dialect, row.name);
    }
}

#[test]
fn the_versions_from_13_to_16_are_read_and_no_others() {
    for row in rows() {
        let mut bytes = row.bytes();
        let document = read_all(&bytes, row.dialect());
        for version in 0..128 {
            bytes[1] = version;
            let again = read(&bytes, row.dialect(), &Limits { depth: usize::MAX });
            let flags_are_missing = version == 13 && row.dialect == "v8-views";
            if (13..=16).contains(&version) && !flags_are_missing {
                assert_eq!(again.as_ref(), Ok(&document), "{}", row.name);
            } else if !flags_are_missing {
                assert_eq!(again.unwrap_err().wanted, "V8's version 13 to 16");
            }
        }
    }
    // Version 13 has no flags behind a view.
    let view = read_all(&hex("ff0d 42 04 01020304 56 42 01 02"), Dialect::V8);
    assert_eq!(describe(&view), "VUint8Array/0203");
}

#[test]
fn every_truncation_is_an_error_where_it_ends() {
    for row in rows() {
        let bytes = row.bytes();
        // A view after a buffer may be missing: the buffer alone is a message then.
        let buffer_alone = row.dialect == "v8-views" && row.value.starts_with('V');
        for end in (0..bytes.len()).filter(|end| bytes.len() < 5_000 || end % 97 == 0) {
            let cut = &bytes[..end];
            let (seen, looked) = (
                read(cut, row.dialect(), &Limits { depth: usize::MAX }),
                check(cut, row.dialect()),
            );
            assert_eq!(
                seen.as_ref().err(),
                looked.as_ref().err(),
                "{} {end}",
                row.name
            );
            match seen {
                Ok(_) => assert!(buffer_alone, "{} {} {end}", row.dialect, row.name),
                Err(bad) => assert!(bad.offset <= end),
            }
        }
    }
}

#[test]
fn the_internal_messages_are_told_from_the_others() {
    for row in rows() {
        let shape = check(&row.bytes(), row.dialect()).unwrap();
        assert_eq!(
            shape.internal,
            row.name.starts_with("internal"),
            "{}",
            row.name
        );
        let nothing_nests = ["n", "s", "i", "V", "D", "R", "P", "B"]
            .iter()
            .any(|one| row.value.starts_with(one));
        assert_eq!(
            shape.depth == 0,
            nothing_nests || ["null", "undefined", "true", "false"].contains(&&*row.value),
            "{}",
            row.name
        );
    }
    let deep = rows().into_iter().find(|row| row.name == "deep").unwrap();
    assert_eq!(check(&deep.bytes(), deep.dialect()).unwrap().depth, 201);
}

/// The typed way reads all that the other way reads, but for cycles.
#[test]
fn the_typed_way_takes_what_node_wrote() {
    for row in rows() {
        let skipped: Result<serde::de::IgnoredAny, _> = from_slice(&row.bytes(), row.dialect());
        assert!(skipped.is_ok(), "{} {}", row.dialect, row.name);
        let value: Result<serde_json::Value, _> = from_slice(&row.bytes(), row.dialect());
        match value {
            Ok(_) => assert!(!row.name.starts_with("cycle"), "{}", row.name),
            Err(error) if row.name.starts_with("cycle") => {
                assert_eq!(
                    error.problem,
                    DecodeProblem::Cycle,
                    "{} {}",
                    row.name,
                    error
                );
            }
            Err(error) => {
                let expected = match &*row.name {
                    "array very sparse" => matches!(error.problem, DecodeProblem::TooManyHoles(_)),
                    // serde_json has no such integers and no such keys.
                    name => name.starts_with("bigint") || name == "map",
                };
                assert!(expected, "{} {}: {error}", row.dialect, row.name);
            }
        }
    }
}

//! A form as autocannon's `-F` describes it, and the body that it makes.

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, Visitor};

use crate::exit::Exit;
use crate::failure::Failure;

const HINT: &str = "`-F '{\"name\": {\"type\": \"text\", \"value\": \"x\"}, \
                    \"upload\": {\"type\": \"file\", \"path\": \"photo.png\"}}'`";

/// A body and the value of its `Content-Type`.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Body {
    pub(super) content_type: String,
    pub(super) bytes: Vec<u8>,
}

/// Fields in their order.
#[derive(Debug)]
struct Fields(Vec<(String, Field)>);

#[derive(Debug, Deserialize)]
#[serde(tag = "type", rename_all = "lowercase")]
enum Field {
    Text {
        value: String,
    },
    File {
        path: PathBuf,
        options: Option<Options>,
    },
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Options {
    filename: Option<String>,
    filepath: Option<String>,
    content_type: Option<String>,
}

impl<'de> Deserialize<'de> for Fields {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct InOrder;

        impl<'de> Visitor<'de> for InOrder {
            type Value = Fields;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object of fields")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Fields, A::Error> {
                let mut fields = Vec::new();
                while let Some(field) = map.next_entry()? {
                    fields.push(field);
                }
                Ok(Fields(fields))
            }
        }

        deserializer.deserialize_map(InOrder)
    }
}

/// Reads the description, JSON or the name of a file with it, and the files that it names.
pub(super) fn body(described: &str) -> Result<Body, Failure> {
    let json = if described.trim_start().starts_with('{') {
        described.to_owned()
    } else {
        let text = read(Path::new(described))?;
        String::from_utf8_lossy(&text).into_owned()
    };
    let Fields(fields) = serde_json::from_str(&json).map_err(|error| {
        Failure::new(Exit::Usage, "`-F` describes no form", HINT).caused_by(&error)
    })?;
    let parts: Vec<Vec<u8>> = fields
        .into_iter()
        .map(|(name, field)| part(&name, field))
        .collect::<Result<_, _>>()?;
    Ok(joined(&parts))
}

fn read(path: &Path) -> Result<Vec<u8>, Failure> {
    fs::read(path).map_err(|error| {
        let message = format!("`-F`: cannot read `{}`", path.display());
        Failure::new(Exit::Usage, message, HINT).caused_by(&error)
    })
}

/// Head and content of a part.
fn part(name: &str, field: Field) -> Result<Vec<u8>, Failure> {
    let head = format!("Content-Disposition: form-data; name=\"{}\"", quoted(name));
    match field {
        Field::Text { value } => Ok(format!("{head}\r\n\r\n{value}").into_bytes()),
        Field::File { path, options } => {
            let options = options.unwrap_or_default();
            let own = path.file_name().unwrap_or_default().to_string_lossy();
            let called = options.filepath.or(options.filename);
            let called = quoted(called.as_deref().unwrap_or(&own));
            let kind = options.content_type;
            let kind = kind.as_deref().unwrap_or("application/octet-stream");
            let kind = quoted(kind);
            let head = format!("{head}; filename=\"{called}\"\r\nContent-Type: {kind}\r\n\r\n");
            Ok([head.into_bytes(), read(&path)?].concat())
        }
    }
}

/// What would end the quotes or the line is written as browsers write it.
fn quoted(text: &str) -> String {
    text.replace('"', "%22")
        .replace('\r', "%0D")
        .replace('\n', "%0A")
}

fn joined(parts: &[Vec<u8>]) -> Body {
    let boundary = boundary(parts);
    let mut bytes = Vec::new();
    for part in parts {
        bytes.extend(format!("--{boundary}\r\n").bytes());
        bytes.extend(part);
        bytes.extend(b"\r\n");
    }
    bytes.extend(format!("--{boundary}--\r\n").bytes());
    Body {
        content_type: format!("multipart/form-data; boundary={boundary}"),
        bytes,
    }
}

/// One that is in no part.
fn boundary(parts: &[Vec<u8>]) -> String {
    let mut boundary = "procession-form".to_owned();
    let holds = |part: &Vec<u8>, text: &str| part.windows(text.len()).any(|w| w == text.as_bytes());
    while parts.iter().any(|part| holds(part, &boundary)) {
        boundary.push('-');
    }
    boundary
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_keep_their_order_and_files_their_bytes() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("a.bin");
        fs::write(&file, b"\xff--procession-form\r\n").unwrap();
        let json = format!(
            "{{\"z\": {{\"type\": \"text\", \"value\": \"1\"}}, \"a\\\"b\": {{\"type\": \"file\", \
             \"path\": {:?}, \"options\": {{\"filename\": \"other\"}}}}}}",
            file
        );
        let made = body(&json).unwrap();
        let boundary = "procession-form-";
        assert_eq!(
            made.content_type,
            format!("multipart/form-data; boundary={boundary}")
        );
        let expected = [
            format!("--{boundary}\r\nContent-Disposition: form-data; name=\"z\"\r\n\r\n1\r\n")
                .into_bytes(),
            format!(
                "--{boundary}\r\nContent-Disposition: form-data; name=\"a%22b\"; \
                 filename=\"other\"\r\nContent-Type: application/octet-stream\r\n\r\n"
            )
            .into_bytes(),
            b"\xff--procession-form\r\n".to_vec(),
            format!("\r\n--{boundary}--\r\n").into_bytes(),
        ];
        assert_eq!(made.bytes, expected.concat());

        let described = folder.path().join("form.json");
        fs::write(&described, &json).unwrap();
        assert_eq!(body(described.to_str().unwrap()).unwrap(), made);
        for bad in [
            "{",
            "[]",
            "{\"a\": 1}",
            "{\"a\": {\"type\": \"x\"}}",
            "/no/such/file",
        ] {
            assert_eq!(body(bad).unwrap_err().exit(), Exit::Usage, "{bad}");
        }
    }
}

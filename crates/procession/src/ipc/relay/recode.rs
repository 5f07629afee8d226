//! Reading a message into a value and writing it again.

use bytes::Bytes;
use procession_core::ipc::advanced::{self, Dialect, Document, ErrorOrder, WriteOptions};
use procession_core::ipc::{Limits, Serialization, json};

use super::Recoded;
use super::json::Json;

/// Reads a message into a value, writes that, and compares.
#[must_use]
pub fn recode(serialization: Serialization, body: &Bytes) -> Recoded {
    let written = match serialization {
        Serialization::Json => json_again(body),
        Serialization::Advanced => advanced_again(body),
    };
    match written {
        Ok(written) if written == *body => Recoded::Same,
        Ok(written) => Recoded::Differs(written.into()),
        Err(reason) => Recoded::Impossible(reason),
    }
}

fn json_again(body: &[u8]) -> Result<Vec<u8>, String> {
    let value = decode(body)?;
    let mut written = Vec::with_capacity(body.len());
    json::encode(&value, &mut written).map_err(|error| error.to_string())?;
    Ok(written)
}

fn decode(body: &[u8]) -> Result<Json, String> {
    json::decode(body, Limits::default().max_depth).map_err(|error| error.to_string())
}

fn advanced_again(body: &[u8]) -> Result<Vec<u8>, String> {
    let document = read(body)?;
    let mut written = Vec::with_capacity(body.len());
    let orders = [ErrorOrder::StackFirst, ErrorOrder::CauseFirst];
    for errors in orders {
        written.clear();
        let options = WriteOptions { errors };
        advanced::write(&document, Dialect::Ipc, &options, &mut written)
            .map_err(|error| error.to_string())?;
        if written == body {
            break;
        }
    }
    Ok(written)
}

fn read(body: &[u8]) -> Result<Document, String> {
    let limits = advanced::Limits {
        depth: Limits::default().max_depth,
    };
    advanced::read(body, Dialect::Ipc, &limits).map_err(|error| error.to_string())
}

/// What a message says, in either serialization, as JavaScript values.
///
/// # Errors
///
/// What is wrong with it, for people: malformed, or deeper than 1,024.
pub fn document(serialization: Serialization, body: &[u8]) -> Result<Document, String> {
    match serialization {
        Serialization::Json => {
            let value = decode(body)?.with_doubles();
            let written = advanced::to_vec(&value, Dialect::Ipc);
            read(&written.map_err(|error| error.to_string())?)
        }
        Serialization::Advanced => read(body),
    }
}

//! The table of scenarios, and the values that it names.

use serde::Deserialize;
use serde_json::Value;

use crate::side::Failure;

const TABLE: &str = include_str!("../../../../../interop/ipc/scenarios.json");
const VALUES: &str = include_str!("../../../../../interop/ipc/values.json");
const GOLDEN: &str = include_str!("../../../../../interop/golden/advanced.json");

/// The oldest Node that takes part: what that one knows all know.
const OLDEST: u32 = 18;

/// A verb and its words.
pub(crate) type Step = Vec<Value>;

/// What two sides do with each other.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Scenario {
    pub(crate) name: String,
    pub(crate) parent: Vec<Step>,
    pub(crate) child: Vec<Step>,
    #[serde(default)]
    mirror: bool,
    /// The child's code.
    #[serde(default)]
    pub(crate) exit: i32,
    /// The channel's descriptor.
    #[serde(default = "usual")]
    pub(crate) at: u32,
}

fn usual() -> u32 {
    3
}

impl Scenario {
    /// The scenario of that name, or of its mirror image.
    pub(crate) fn named(name: &str) -> Result<Self, Failure> {
        let (plain, mirrored) = match name.strip_suffix(", from the child") {
            Some(plain) => (plain, true),
            None => (name, false),
        };
        let table: Vec<Self> = serde_json::from_str(TABLE)?;
        let found = table
            .into_iter()
            .find(|one| one.name == plain && (one.mirror || !mirrored));
        let mut found = found.ok_or_else(|| format!("no scenario `{name}`"))?;
        if mirrored {
            std::mem::swap(&mut found.parent, &mut found.child);
            name.clone_into(&mut found.name);
        }
        Ok(found)
    }
}

/// What stands for a message in the table.
pub(crate) fn value(written: &Value) -> Value {
    let repeat = written.get("$repeat").and_then(Value::as_array);
    match repeat.map(Vec::as_slice) {
        Some([Value::String(text), times]) => {
            let times = times.as_u64().and_then(|times| usize::try_from(times).ok());
            text.repeat(times.unwrap_or(0)).into()
        }
        _ => written.clone(),
    }
}

/// Values for `json`.
pub(crate) fn json_values() -> Result<Vec<Value>, Failure> {
    Ok(serde_json::from_str(VALUES)?)
}

/// Messages in `advanced` that every Node has written: name and bytes.
pub(crate) fn advanced_messages() -> Result<Vec<(String, Vec<u8>)>, Failure> {
    #[derive(Deserialize)]
    struct Row {
        name: String,
        dialect: String,
        node: Vec<u32>,
        hex: String,
    }
    let rows: Vec<Row> = serde_json::from_str(GOLDEN)?;
    rows.into_iter()
        .filter(|row| row.dialect == "ipc" && row.node.contains(&OLDEST))
        .map(|row| Ok((row.name, bytes_of(&row.hex)?)))
        .collect()
}

/// Bytes from two digits each.
pub(crate) fn bytes_of(hex: &str) -> Result<Vec<u8>, Failure> {
    let pairs = (0..hex.len()).step_by(2).map(|at| hex.get(at..at + 2));
    pairs
        .map(|pair| Ok(u8::from_str_radix(pair.ok_or("an odd digit")?, 16)?))
        .collect()
}

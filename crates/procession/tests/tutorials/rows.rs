//! `interop/tutorials/rows.json`: which programs are run, where, and what they print.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

/// One run of a tutorial's program, and of ours.
pub(crate) struct Run {
    /// For messages: the row and the file of the transcript.
    pub(crate) name: String,
    /// The row's folder.
    pub(crate) folder: PathBuf,
    data: Value,
}

/// In which order a transcript is compared.
pub(crate) enum Order {
    /// As it came.
    Seen,
    /// Sorted.
    Any,
    /// By the sides that talk, told by these beginnings of their lines.
    Sides(Vec<String>),
}

/// The directories of all rows, which are the names of our examples too.
pub(crate) fn dirs() -> Vec<String> {
    rows().iter().map(|row| string(&row["dir"])).collect()
}

/// The runs of a row.
pub(crate) fn runs(dir: &str) -> Vec<Run> {
    let rows = rows();
    let row = rows.iter().find(|row| row["dir"] == dir);
    let row = row.unwrap_or_else(|| panic!("no row {dir} in rows.json"));
    let runs = row["runs"].as_array().unwrap().iter();
    runs.map(|data| Run {
        name: format!("{} {}", string(&row["row"]), string(&data["expected"])),
        folder: root().join(dir),
        data: data.clone(),
    })
    .collect()
}

fn rows() -> Vec<Value> {
    let text = fs::read_to_string(root().join("rows.json")).unwrap();
    let table: Value = serde_json::from_str(&text).unwrap();
    table["rows"].as_array().unwrap().clone()
}

/// The folder of all rows.
pub(crate) fn root() -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../interop/tutorials");
    fs::canonicalize(root).unwrap()
}

impl Run {
    /// The tutorial's program.
    pub(crate) fn program(&self) -> PathBuf {
        self.folder.join(string(&self.data["program"]))
    }

    /// What our example is told.
    pub(crate) fn words(&self) -> Vec<String> {
        self.list("example_args")
    }

    /// What Node was recorded to print.
    pub(crate) fn recorded(&self) -> String {
        self.file(&self.data["expected"])
    }

    /// What ours prints, where that is something better.
    pub(crate) fn better(&self) -> Option<String> {
        match string(&self.data["ours"]).as_str() {
            "same" => None,
            "better" => Some(self.file(&self.data["better"])),
            other => panic!("{}: `ours` is neither same nor better: {other}", self.name),
        }
    }

    fn file(&self, name: &Value) -> String {
        let path = self.folder.join(string(name));
        fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
    }

    /// Programs without which there is nothing to compare.
    pub(crate) fn needs(&self) -> Vec<String> {
        self.list("needs")
    }

    /// For a program that never ends: what it prints last.
    pub(crate) fn until(&self) -> Option<String> {
        self.data.get("until").map(string)
    }

    /// What ours prints over our own child, where a child of the tutorial can be ours.
    pub(crate) fn rust_child(&self) -> Option<String> {
        self.data.get("rust_child").map(|name| self.file(name))
    }

    /// What is left of the order in which lines may come.
    pub(crate) fn order(&self) -> Order {
        match string(&self.data["order"]).as_str() {
            "seen" => Order::Seen,
            "any" => Order::Any,
            "sides" => Order::Sides(self.list("sides")),
            other => panic!("{}: no order is `{other}`", self.name),
        }
    }

    /// Of two kinds of lines, the n-th of the second never comes before the n-th of the first.
    pub(crate) fn before(&self) -> Vec<(String, String)> {
        let pairs = self.data["before"].as_array().into_iter().flatten();
        let pairs = pairs.map(|pair| (string(&pair[0]), string(&pair[1])));
        pairs.collect()
    }

    /// Further variables of the environment.
    pub(crate) fn env(&self) -> Vec<(String, String)> {
        self.map("env")
    }

    /// Files that are copied from the row's folder.
    pub(crate) fn files(&self) -> Vec<String> {
        self.list("files")
    }

    /// Further files, by name and content.
    pub(crate) fn texts(&self) -> Vec<(String, String)> {
        self.map("texts")
    }

    /// Small programs that come first on `PATH`.
    pub(crate) fn stubs(&self) -> Vec<(String, String)> {
        self.map("stubs")
    }

    fn list(&self, key: &str) -> Vec<String> {
        let items = self.data[key].as_array().into_iter().flatten();
        items.map(string).collect()
    }

    fn map(&self, key: &str) -> Vec<(String, String)> {
        let entries = self.data[key].as_object().into_iter().flatten();
        entries.map(|(k, v)| (k.clone(), string(v))).collect()
    }
}

fn string(value: &Value) -> String {
    value.as_str().unwrap().to_owned()
}

//! `cargo xtask features`: each library with no feature, with each alone, with all.

use serde_json::Value;

use crate::cargo::{cargo, metadata, run as run_cargo};
use crate::outcome::Outcome;

/// Checks every one of them, warnings included, and what a feature adds.
pub(crate) fn run(_: &[String]) -> Outcome {
    check().into()
}

/// The libraries that have features.
const LIBRARIES: [&str; 2] = ["procession", "procession-load"];

fn check() -> Result<(), String> {
    let metadata = metadata()?;
    for library in LIBRARIES {
        let all = ["".to_owned(), "--all-features".to_owned()];
        for feature in all.into_iter().chain(features(&metadata, library)) {
            let mut command = cargo(&["clippy", "--quiet", "--package", library]);
            match feature.as_str() {
                "" => command.arg("--no-default-features"),
                "--all-features" => command.arg("--all-features"),
                feature => command.args(["--no-default-features", "--features", feature]),
            };
            run_cargo(command.args(["--", "-D", "warnings"]))?;
        }
    }
    // The tests that need a feature; the others run without. Their children are testkit's.
    run_cargo(&mut cargo(&[
        "build",
        "--quiet",
        "--package",
        "procession-testkit",
        "--bins",
    ]))?;
    let words = [
        "test",
        "--quiet",
        "--package",
        "procession",
        "--all-features",
        "--test",
        "tracing",
    ];
    run_cargo(&mut cargo(&words))
}

/// The features of a library, without `default`.
fn features(metadata: &Value, library: &str) -> Vec<String> {
    let packages = metadata["packages"].as_array().into_iter().flatten();
    let package = packages.filter(|package| package["name"] == library);
    let features = package.filter_map(|package| package["features"].as_object());
    features
        .flat_map(|features| features.keys())
        .filter(|name| *name != "default")
        .cloned()
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_features_are_those_of_the_library() {
        let metadata: Value = serde_json::from_str(
            r#"{ "packages": [
                { "name": "other", "features": { "x": [] } },
                { "name": "procession", "features": { "default": [], "tracing": ["dep:tracing"] } } ] }"#,
        )
        .unwrap();
        assert_eq!(features(&metadata, "procession"), ["tracing"]);
    }
}

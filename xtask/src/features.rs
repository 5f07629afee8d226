//! `cargo xtask features`: procession with no feature, with each alone, with all.

use serde_json::Value;

use crate::cargo::{cargo, metadata, run as run_cargo};
use crate::outcome::Outcome;

/// Checks every one of them, warnings included, and what a feature adds.
pub(crate) fn run(_: &[String]) -> Outcome {
    check().into()
}

fn check() -> Result<(), String> {
    for feature in ["".to_owned(), "--all-features".to_owned()]
        .into_iter()
        .chain(features(&metadata()?))
    {
        let mut command = cargo(&["clippy", "--quiet", "--package", "procession"]);
        match feature.as_str() {
            "" => command.arg("--no-default-features"),
            "--all-features" => command.arg("--all-features"),
            feature => command.args(["--no-default-features", "--features", feature]),
        };
        run_cargo(command.args(["--", "-D", "warnings"]))?;
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

/// The features of procession, without `default`.
fn features(metadata: &Value) -> Vec<String> {
    let packages = metadata["packages"].as_array().into_iter().flatten();
    let procession = packages.filter(|package| package["name"] == "procession");
    let features = procession.filter_map(|package| package["features"].as_object());
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
    fn the_features_are_those_of_procession() {
        let metadata: Value = serde_json::from_str(
            r#"{ "packages": [
                { "name": "other", "features": { "x": [] } },
                { "name": "procession", "features": { "default": [], "tracing": ["dep:tracing"] } } ] }"#,
        )
        .unwrap();
        assert_eq!(features(&metadata), ["tracing"]);
    }
}

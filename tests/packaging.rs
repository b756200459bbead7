//! Do version, dependencies and scripts agree, wherever they are named?

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::Value;

fn read(path: &str) -> String {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    fs::read_to_string(file).unwrap_or_else(|error| panic!("{path}: {error}"))
}

#[test]
fn changelog_has_the_version() {
    let changelog = read("CHANGELOG.md");
    let mut headings = changelog.lines().filter_map(|line| line.strip_prefix("## ["));
    assert_eq!(headings.next(), Some("Unreleased]"));
    let newest = headings.next().and_then(|heading| heading.split_once(']')).expect("a release").0;
    assert_eq!(newest, env!("CARGO_PKG_VERSION"));
}

#[test]
fn oldest_rust_is_the_same_everywhere() {
    let rust = env!("CARGO_PKG_RUST_VERSION");
    for (file, text) in [
        ("scripts/setup.sh", format!("rust_needed={rust}\n")),
        ("packaging/debian/control", format!("rustc (>= {rust})")),
        ("packaging/debian/control", format!("cargo (>= {rust})")),
        ("README.md", format!("Rust {rust} or later")),
    ] {
        assert!(read(file).contains(&text), "{file} lacks \"{text}\"");
    }
}

/// `cargo update` takes versions that the oldest Rust does not compile, where a dependency insists.
#[test]
fn every_crate_compiles_with_the_oldest_rust() {
    let arguments = ["metadata", "--format-version=1", "--locked", "--filter-platform=x86_64-unknown-linux-gnu"];
    let output =
        Command::new(env!("CARGO")).args(arguments).current_dir(env!("CARGO_MANIFEST_DIR")).output().expect("cargo");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let metadata: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let needed: BTreeSet<_> = metadata["resolve"]["nodes"]
        .as_array()
        .expect("nodes")
        .iter()
        .map(|node| &node["id"])
        .map(Value::to_string)
        .collect();
    let parse = |version: &str| version.split('.').map(|part| part.parse().expect("a number")).collect::<Vec<u32>>();
    let oldest = parse(&format!("{}.0", env!("CARGO_PKG_RUST_VERSION")));
    let mut seen = 0;
    for package in metadata["packages"].as_array().expect("packages") {
        let Some(rust) = package["rust_version"].as_str().filter(|_| needed.contains(&package["id"].to_string()))
        else {
            continue;
        };
        assert!(parse(rust) <= oldest, "{} {} needs Rust {rust}", package["name"], package["version"]);
        seen += 1;
    }
    assert!(seen > 50, "only {seen} crates seen");
}

/// Names in the tables of Cargo.toml that end with `dependencies`.
fn crates() -> BTreeSet<String> {
    let manifest = read("Cargo.toml");
    let tables =
        manifest.split("\n[").filter(|table| table.lines().next().is_some_and(|l| l.ends_with("dependencies]")));
    let lines = tables.flat_map(|table| table.lines().skip(1));
    lines
        .filter_map(|line| line.split_once(" = "))
        .filter(|(name, _)| !name.starts_with('#'))
        .map(|(name, _)| name.into())
        .collect()
}

#[test]
fn every_dependency_has_a_reason() {
    let contributing = read("CONTRIBUTING.md");
    let table = contributing.split_once("## Dependencies\n").expect("the section").1;
    let rows = table.lines().filter_map(|line| line.strip_prefix("| ")).skip(1);
    let mut named = BTreeSet::new();
    for row in rows {
        let (names, reason) = row.split_once(" | ").expect("a reason");
        assert!(reason.len() > 4, "{names} has no reason");
        let names = names.rsplit(":* ").next().expect("names");
        // "rustls (ring)": the crate, and a feature of it
        named.extend(names.split(", ").map(|name| name.split(' ').next().expect("a name").to_owned()));
    }
    assert_eq!(named, crates());
}

#[test]
fn scripts_that_are_named_exist() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut named = 0;
    for file in ["README.md", "CONTRIBUTING.md", "CHANGELOG.md", ".github/workflows/ci.yml", "scripts/release.sh"] {
        let text = read(file);
        for (at, directory) in ["scripts/", "packaging/"].iter().flat_map(|directory| text.match_indices(directory)) {
            let path = text[at..]
                .split(|c: char| !(c.is_ascii_alphanumeric() || "/.-_".contains(c)))
                .next()
                .unwrap_or(directory);
            let path = path.trim_end_matches('.');
            assert!(root.join(path).exists(), "{file} names {path}");
            named += 1;
        }
    }
    assert!(named > 20, "only {named} found");
}

#[test]
fn every_script_is_explained() {
    let told = read("README.md") + &read("CONTRIBUTING.md");
    for entry in fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts")).expect("scripts") {
        let name = entry.expect("an entry").file_name().into_string().expect("a name in UTF-8");
        // what others have in common
        if name != "parts" {
            assert!(
                told.contains(&format!("scripts/{name}")),
                "neither README nor CONTRIBUTING says what {name} is for"
            );
        }
    }
}
